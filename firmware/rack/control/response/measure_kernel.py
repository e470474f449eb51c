"""The measurement kernel: the count of one mains period into deviation, RoCoF and the rings of samples.

It runs in the interrupt of each period. When it returns 1, the caller runs the request kernel in the same interrupt:
a call from this kernel would cost about 3 us more. The hazard is an edge that noise has made: a count that is not a
valid period must move neither the frequency nor the clock.

Units: ticks of 16 ns, deviation from the nominal frequency in 0.1 mHz, time in 10 us.
"""

import micropython

from rack.base.viper import ptr32
from rack.generated import response_state as K


@micropython.viper
def measure_kernel(state, rings, count: int) -> int:  # noqa: C901 - a call costs 7 us
    """Measure one mains period; return 1 if the request kernel must follow, 0 for a count that is not a period.

    state, rings: array('i') made by `Response`, or their addresses. count: ticks, any value. Does not divide by zero,
    because `Response` keeps every divisor above zero. Interrupt context.
    """
    k = ptr32(state)
    ring = ptr32(rings)
    if k[K.LOCKED] != 0:
        return 0
    # Edges: a piece that is too short is added to the next count; one missing edge is accepted.
    if count <= 0 or count > k[K.MAX_PERIOD] + k[K.MAX_PERIOD]:
        k[K.REJECTED] += 1
        k[K.PENDING] = 0
        k[K.PIECES] = 0
        return 0
    period = count + k[K.PENDING]
    if period < k[K.MIN_PERIOD]:
        k[K.PENDING] = period
        k[K.PIECES] += 1
        k[K.REJECTED] += 1
        return 0
    pieces = k[K.PIECES]
    elapsed = period // 625
    samples = 1
    k[K.PENDING] = 0
    k[K.PIECES] = 0
    if period > k[K.MAX_PERIOD]:
        period >>= 1
        if k[K.FILLED] != 0:         # otherwise the sample before is from before a loss of mains
            samples = 2              # the windows keep their length in time
        k[K.REJECTED] += 1
    if pieces > 2 or period < k[K.MIN_PERIOD] or period > k[K.MAX_PERIOD]:
        k[K.REJECTED] += 1
        return 0
    k[K.SEEN] = (k[K.SEEN] + 1) & K.CLOCK_MASK
    if k[K.PHASES] == 1:             # otherwise phases.py has set both
        k[K.ELAPSED] = elapsed
        k[K.SAMPLES] = samples
    samples = k[K.SAMPLES]

    # Deviation of this period, rounded to 0.1 mHz: exact, see frequency.py.
    difference = 6_250_000 - k[K.FACTOR] * period
    scaled = difference * 1000
    quotient = scaled // period
    sample = quotient * 100 + ((scaled - quotient * period) * 100 + (period >> 1)) // period
    k[K.REAL_DEVIATION] = sample
    sample += k[K.INJECTED]
    if sample > K.MAX_DEVIATION:
        sample = K.MAX_DEVIATION
    elif sample < 0 - K.MAX_DEVIATION:
        sample = 0 - K.MAX_DEVIATION

    window = k[K.WINDOW]
    slope_window = k[K.SLOPE_WINDOW]
    jump = k[K.JUMP]
    while samples > 0:
        samples -= 1
        # Least-squares frequency over the window, by running sums.
        last = k[K.NEWEST] & K.RING_MASK
        before = ring[last]
        newest = (last + 1) & K.RING_MASK
        if k[K.DUE] == newest:
            k[K.DUE] = (newest + 1) & K.RING_MASK
        value = sample
        if samples > 0:              # repeat the sample before: a step still needs two periods
            value = before
            ring[K.TARGETS + newest] = ring[K.TARGETS + last]
            ring[K.STAMPS + newest] = k[K.CLOCK_NOW]
        held = k[K.HELD]
        leaving = 0
        if held == window:
            leaving = ring[(newest - window) & K.RING_MASK]
        k[K.SUM_BY_WEIGHT] += window * (k[K.SUM] + value) - 2 * k[K.SUM_BY_AGE]
        k[K.SUM_BY_AGE] += k[K.SUM] - (window + 1) * leaving + value
        k[K.SUM] += value - leaving
        if held < window:
            held += 1
            k[K.HELD] = held
            k[K.WEIGHT] += held * (window + 1 - held)
        deviation = (k[K.SUM_BY_WEIGHT] + (k[K.WEIGHT] >> 1)) // k[K.WEIGHT]
        # Two periods far off on the same side are a step: the window starts again with both, or with the newest alone
        # if the step fell into the first. With three phases these are two periods of one phase and all between them:
        # one odd period in each phase is a jump of the angle, an odd phase is a fault. Repeated samples do not count.
        side = 0
        if value > deviation + jump and before > deviation + jump:
            side = 1
        elif value < deviation - jump and before < deviation - jump:
            side = -1
        if side != 0 and samples == 0 and (ring[(newest - k[K.PHASES]) & K.RING_MASK] - deviation) * side > jump:
            held = 1
            k[K.SUM] = value
            k[K.SUM_BY_AGE] = value
            k[K.SUM_BY_WEIGHT] = window * value
            k[K.WEIGHT] = window
            deviation = value
            spread = value - before
            if spread + spread < jump and spread + spread > 0 - jump:
                held = 2
                k[K.SUM] += before
                k[K.SUM_BY_AGE] += 2 * before
                k[K.SUM_BY_WEIGHT] += 2 * (window - 1) * before
                k[K.WEIGHT] += 2 * (window - 1)
                deviation = (value + before) >> 1
            k[K.HELD] = held
        filled = k[K.FILLED]
        leaving = 0
        if filled >= slope_window:
            leaving = ring[(newest - slope_window) & K.RING_MASK]
        k[K.SLOPE_SUM_BY_AGE] += k[K.SLOPE_SUM] - (slope_window + 1) * leaving + value
        k[K.SLOPE_SUM] += value - leaving
        ring[newest] = value
        k[K.NEWEST] = newest
        if filled < K.RING:
            filled += 1
            k[K.FILLED] = filled
    k[K.DEVIATION] = deviation
    slope = 0
    if filled >= slope_window:
        slope = (slope_window + 1) * k[K.SLOPE_SUM] - 2 * k[K.SLOPE_SUM_BY_AGE]
    k[K.SLOPE] = slope
    return 1
