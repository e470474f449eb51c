"""Constants of the frequency measurement, computed once from the parameters.

Frequency is 1e12 / (16 ns x count) mHz = 6.25e10 / count, which leaves the small-integer range. The kernel computes
the deviation instead: 6.25e10 / count - nominal = 1e4 x (6.25e6 - factor x count) / count mHz, with
factor = nominal / 10 Hz. That is exact for every nominal frequency that is a multiple of 10 Hz, and the long division
in two steps stays below 2**30.

The frequency over a window is the least-squares slope of the edge times, which is a mean of the periods weighted by
i x (n + 1 - i). Compared with the plain mean, it lowers the effect of edge jitter by a third at ten periods, because
the plain mean depends on its two outer edges alone. Both delay by half the window. RoCoF is the least-squares slope of
the period frequencies. With running sums, both cost the same at any window length.
"""

from array import array

from micropython import const

MAX_WINDOW = const(48)          # samples: keeps the weighted sum below 2**30
MAX_SLOPE_WINDOW = const(100)   # samples: keeps the sum of the slope below 2**30


def ticks(mHz):
    """Return the length of a period in ticks of 16 ns, rounded down; mHz: 40_000..70_000."""
    # 6.25e10 / mHz, as a long division in two steps
    quotient, rest = divmod(62_500_000, mHz)
    return quotient * 1000 + rest * 1000 // mHz


def period_ms(params):
    """Return the nominal period, ms, rounded down."""
    return 1_000_000 // params.grid_nominal_mHz


def rate(params):
    """Return the samples in a second at nominal frequency."""
    return params.grid_nominal_mHz // 1000 * params.grid_phases


def samples(params, ms):
    """Return the samples in `ms` (up to 600 000) at nominal frequency, at least 1."""
    return max(1, ms * rate(params) // 1000)


def window(params):
    """Return the samples in the frequency window."""
    return min(MAX_WINDOW, samples(params, params.grid_window_ms))


def slope_window(params):
    """Return the samples in the RoCoF window, at least 3, which a slope needs."""
    return min(MAX_SLOPE_WINDOW, max(3, samples(params, params.grid_rocof_ms)))


def slope_mul(params):
    """Return the factor in RoCoF = sum x slope_mul / slope_div mHz/s, from deviations in 0.1 mHz."""
    return 6 * rate(params) // 10


def slope_div(params):
    """Return the divisor of the RoCoF, see `slope_mul`; 24 to 999 900."""
    n = slope_window(params)
    return n * (n * n - 1)


def knots(table):
    """Convert the droop table (deviation mHz, permille) for the kernel: index of the last knot, then pairs.

    A pair is (0.1 mHz, permille). Raises ValueError unless deviations rise and power falls or stays.
    """
    count = len(table) // 2
    if count < 2:
        raise ValueError("response_curve needs two knots or more")
    curve = array("i", [2 * count - 1])
    for i in range(count):
        if i and (table[2 * i] <= table[2 * i - 2] or table[2 * i + 1] > table[2 * i - 1]):
            raise ValueError("response_curve: deviations must rise, power must not rise")
        curve.append(table[2 * i] * 10)
        curve.append(table[2 * i + 1])
    return curve
