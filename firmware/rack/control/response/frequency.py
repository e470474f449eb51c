"""Constants of the frequency measurement, worked out once from the parameters.

Frequency is 1e12 / (16 ns x count) mHz = 6.25e10 / count, which leaves the small-integer range. The
kernel works on the deviation instead: 6.25e10 / count - nominal = 1e4 x (6.25e6 - factor x count) / count
mHz, with factor = nominal / 10 Hz. That is exact for every nominal that is a multiple of 10 Hz, and the long
division in two steps stays below 2**30.

The frequency over a window is the least-squares slope of the edge times, which is a mean of the
periods weighted by i x (n + 1 - i). Against the plain mean it lowers the effect of edge jitter by a
third at ten periods, as the plain mean rests on its two outer edges alone; both delay by half the window.
RoCoF is the least-squares slope of the period frequencies. Running sums make both cost the same at
any window length.
"""

from array import array

_WINDOW_MOST = 48       # keeps the weighted sum below 2**30
_SLOPE_MOST = 100


def ticks(mHz):
    """Length of a period in ticks of 16 ns, rounded down; mHz: 40_000..70_000."""
    # 6.25e10 / mHz in two steps of a long division
    quotient, rest = divmod(62_500_000, mHz)
    return quotient * 1000 + rest * 1000 // mHz


def period_ms(params):
    """Nominal period, ms, rounded down."""
    return 1_000_000 // params.grid_nominal_mHz


def rate(params):
    """Samples in a second at nominal frequency."""
    return params.grid_nominal_mHz // 1000 * params.grid_phases


def samples(params, ms):
    """Samples in `ms` (up to 600 000) at nominal frequency, at least 1."""
    return max(1, ms * rate(params) // 1000)


def window(params):
    """Samples in the frequency window."""
    return min(_WINDOW_MOST, samples(params, params.grid_window_ms))


def slope_window(params):
    """Samples in the RoCoF window, at least 3: a slope needs them."""
    return min(_SLOPE_MOST, max(3, samples(params, params.grid_rocof_ms)))


def slope_mul(params):
    """RoCoF = sum x slope_mul / slope_div mHz/s, from deviations in 0.1 mHz."""
    return 6 * rate(params) // 10


def slope_div(params):
    """Divisor of the RoCoF, see `slope_mul`; 24 to 999 900."""
    n = slope_window(params)
    return n * (n * n - 1)


def knots(table):
    """The droop table (deviation mHz, permille) as the kernel wants it: index of the last knot, then
    (0.1 mHz, permille) pairs. Raises ValueError unless deviations rise and power falls or stays.
    """
    count = len(table) // 2
    if count < 2:
        raise ValueError("response_curve needs two knots or more")
    curve = array("i", [2 * count - 1])
    for i in range(count):
        if i and (table[2 * i] <= table[2 * i - 2] or table[2 * i + 1] > table[2 * i - 1]):
            raise ValueError("response_curve: deviations must rise, power must not")
        curve.append(table[2 * i] * 10)
        curve.append(table[2 * i + 1])
    return curve
