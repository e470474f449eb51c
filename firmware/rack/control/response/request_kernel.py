"""The kernel of the fast response: one mains period into one power request, without leaving the interrupt.

All of it is one function over integer arrays, so that nothing can be half-done between measuring and
asking, and the limits of the protection core are applied in the same call as the droop curve.

Units: deviation from nominal frequency in 0.1 mHz, power in ppm of the contracted power, time in
10 us. Positive power discharges; low frequency asks for positive power.
"""

import micropython

from rack.generated import response_state as K
from rack.base.viper import ptr32


@micropython.viper
def period_kernel(k: ptr32, ring: ptr32, knots: ptr32, count: int) -> int:  # noqa: C901 - one kernel: see above
    """One mains period into one power request in W; count K.WITHOUT_MAINS: a scan without mains.

    k, ring, knots: array('i') made by `Response`. count: ticks, any value. Rejects what is no
    period; never divides by zero as `Response` keeps every divisor above zero. Interrupt context.
    """
    elapsed = k[K.SCAN_TIME]
    target = k[K.NOW_PPM]
    valid = 0
    samples = 1
    if count != K.WITHOUT_MAINS:
        if k[K.OWNED] != 0:
            return k[K.REQUEST]
        # Edges: a piece too short is added to the next; one missing edge is forgiven.
        if count <= 0 or count > k[K.MOST] + k[K.MOST]:
            k[K.REJECTED] += 1
            k[K.PENDING] = 0
            k[K.PIECES] = 0
            return k[K.REQUEST]
        period = count + k[K.PENDING]
        if period < k[K.LEAST]:
            k[K.PENDING] = period
            k[K.PIECES] += 1
            k[K.REJECTED] += 1
            return k[K.REQUEST]
        pieces = k[K.PIECES]
        elapsed = period // 625
        k[K.PENDING] = 0
        k[K.PIECES] = 0
        if period > k[K.MOST]:
            period >>= 1
            if k[K.FILLED] != 0:         # else what would be filled in is from before a loss
                samples = 2              # the windows cover the time that they should
            k[K.REJECTED] += 1
        if pieces > 2 or period < k[K.LEAST] or period > k[K.MOST]:
            k[K.REJECTED] += 1
            return k[K.REQUEST]
        k[K.SEEN] = (k[K.SEEN] + 1) & K.CLOCK
        if k[K.PHASES] != 1:             # see phases.py
            elapsed = k[K.PHASE_ELAPSED]
            samples = k[K.SAMPLES]

        # Deviation of this period, rounded to 0.1 mHz: exact, see frequency.py.
        off = 6_250_000 - k[K.FACTOR] * period
        scaled = off * 1000
        quotient = scaled // period
        sample = quotient * 100 + ((scaled - quotient * period) * 100 + (period >> 1)) // period
        k[K.REAL] = sample
        sample += k[K.INJECT]
        if sample > K.FAR:
            sample = K.FAR
        elif sample < 0 - K.FAR:
            sample = 0 - K.FAR

        n = k[K.WINDOW]
        slope_n = k[K.SLOPE_N]
        jump = k[K.JUMP]
        left = samples
        while left > 0:
            left -= 1
            # Least-squares frequency over the window, by running sums.
            before = ring[k[K.AT]]
            at = (k[K.AT] + 1) & K.NEXT
            if k[K.OUT] == at:
                k[K.OUT] = (at + 1) & K.NEXT
            value = sample
            if left > 0:                 # filled in: what was known before, so that a step needs two periods still
                value = before
                ring[K.TARGETS + at] = ring[K.TARGETS + k[K.AT]]
                ring[K.STAMPS + at] = k[K.CLOCK_NOW]
            held = k[K.HELD]
            leaving = 0
            if held == n:
                leaving = ring[(at - n) & K.NEXT]
            k[K.SUM_WEIGHT] += n * (k[K.SUM] + value) - 2 * k[K.SUM_AGE]
            k[K.SUM_AGE] += k[K.SUM] - (n + 1) * leaving + value
            k[K.SUM] += value - leaving
            if held < n:
                held += 1
                k[K.HELD] = held
                k[K.WEIGHT] += held * (n + 1 - held)
            deviation = (k[K.SUM_WEIGHT] + (k[K.WEIGHT] >> 1)) // k[K.WEIGHT]
            # Two periods far off on the same side are no noise: the window begins anew with the newest samples, or
            # with the last alone if the step fell inside the one before. With three phases two periods of one of
            # them and what lies between: one odd period in each is a jump of their angle, an odd phase is a fault.
            # What is filled in is no second period.
            far = 0
            if value > deviation + jump and before > deviation + jump:
                far = 1
            elif value < deviation - jump and before < deviation - jump:
                far = -1
            if far != 0 and left == 0 and (ring[(at - k[K.PHASES]) & K.NEXT] - deviation) * far > jump:
                held = 1
                k[K.SUM] = value
                k[K.SUM_AGE] = value
                k[K.SUM_WEIGHT] = n * value
                k[K.WEIGHT] = n
                deviation = value
                spread = value - before
                if spread + spread < jump and spread + spread > 0 - jump:
                    held = 2
                    k[K.SUM] += before
                    k[K.SUM_AGE] += 2 * before
                    k[K.SUM_WEIGHT] += 2 * (n - 1) * before
                    k[K.WEIGHT] += 2 * (n - 1)
                    deviation = (value + before) >> 1
                k[K.HELD] = held
            filled = k[K.FILLED]
            leaving = 0
            if filled >= slope_n:
                leaving = ring[(at - slope_n) & K.NEXT]
            k[K.SLOPE_AGE] += k[K.SLOPE_SUM] - (slope_n + 1) * leaving + value
            k[K.SLOPE_SUM] += value - leaving
            ring[at] = value
            k[K.AT] = at
            if filled < K.RING:
                filled += 1
                k[K.FILLED] = filled
        target = 0
        if filled >= n:
            valid = 1
            # Droop between the knots, saturated at the ends. knots[0]: index of the last knot.
            last = knots[0]
            j = 1
            while j < last and deviation > knots[j + 2]:
                j += 2
            if deviation <= knots[1]:
                target = knots[2] * 1000
            elif j >= last:
                target = knots[last + 1] * 1000
            else:
                span = knots[j + 2] - knots[j]
                scaled = (deviation - knots[j]) * (knots[j + 3] - knots[j + 1])
                quotient = scaled // span
                target = (knots[j + 1] + quotient) * 1000 + (scaled - quotient * span) * 1000 // span
        k[K.DEVIATION] = deviation
        slope = 0
        if filled >= slope_n:
            slope = (slope_n + 1) * k[K.SLOPE_SUM] - 2 * k[K.SLOPE_AGE]
        k[K.SLOPE] = slope
        if valid != 0:
            if k[K.INERTIA] != 0:
                quotient = slope // k[K.SLOPE_DIV]      # in two steps: the product of both leaves 31 bits
                slope -= quotient * k[K.SLOPE_DIV]
                slope = quotient * k[K.SLOPE_MUL] + slope * k[K.SLOPE_MUL] // k[K.SLOPE_DIV]
                band = k[K.BAND]
                if slope > band:
                    target -= (slope - band) * k[K.INERTIA]
                elif slope < 0 - band:
                    target -= (slope + band) * k[K.INERTIA]
            target += k[K.STEP]
            if target > K.PPM:
                target = K.PPM
            elif target < 0 - K.PPM:
                target = 0 - K.PPM
            if k[K.AUTHORITY] != 1000 and target * k[K.SPENT] >= 0:
                target = target * k[K.AUTHORITY] // 1000
        elif k[K.HOLD] != 0:
            target = k[K.NOW_PPM]        # mains is back within the hold: until it is measured, stay

        # The target waits for its time.
        clock = (k[K.CLOCK_NOW] + elapsed) & K.CLOCK
        k[K.CLOCK_NOW] = clock
        ring[K.TARGETS + at] = target
        ring[K.STAMPS + at] = clock
        out = k[K.OUT]
        while out != at and ((clock - ring[K.STAMPS + ((out + 1) & K.NEXT)]) & K.CLOCK) >= k[K.DELAY]:
            out = (out + 1) & K.NEXT
        k[K.OUT] = out
        target = ring[K.TARGETS + out]
    else:
        k[K.CLOCK_NOW] = (k[K.CLOCK_NOW] + elapsed) & K.CLOCK
        if k[K.HOLD] == 0:
            target = 0

    # Ramps: away from zero at most K.UP, back at most K.DOWN, through zero only in two steps.
    power = k[K.NOW_PPM]
    if k[K.PERMIT] == 0:
        power = 0
        k[K.LOW] = 0                     # of the pair: what comes back begins anew
        k[K.LOW_REST] = 0
    elif target != power:
        step = k[K.DOWN]
        if valid == 0:
            step = k[K.RELEASE]
        if power == 0 or (power > 0 and target > power) or (power < 0 and target < power):
            step = k[K.UP]
        step = step * elapsed // 100
        if target > power:
            step += power
            if power < 0 and step > 0:
                step = 0
            if step > target:
                step = target
        else:
            step = power - step
            if power > 0 and step < 0:
                step = 0
            if step < target:
                step = target
        power = step
    k[K.NOW_PPM] = power

    # ppm to W, exact at 0 and at full power and monotone between.
    watt = 0
    if power != 0:
        quotient = power // 1000
        watt = quotient * k[K.POWER_HI] + (quotient * k[K.POWER_LO] + (power - quotient * 1000) * k[K.POWER_HI]) // 1000
    k[K.RESPONSE] = watt
    if k[K.ROLE] != 0:
        rest = (watt - k[K.LOW]) * samples + k[K.LOW_REST]
        quotient = rest // k[K.TAU]
        low = k[K.LOW] + quotient
        k[K.LOW] = low
        k[K.LOW_REST] = rest - quotient * k[K.TAU]
        quotient = low // 1000
        share = quotient * k[K.SHARE] + (low - quotient * 1000) * k[K.SHARE] // 1000 + k[K.BIAS]
        if k[K.ROLE] == 1:
            watt -= share
        elif k[K.ROLE] == 2:
            watt = share
    watt += k[K.BASE]
    k[K.WANTED] = watt
    if watt > k[K.DISCHARGE]:
        watt = k[K.DISCHARGE]
    elif watt < 0 - k[K.CHARGE]:
        watt = 0 - k[K.CHARGE]
    if k[K.PERMIT] == 0:
        watt = 0
    k[K.REQUEST] = watt
    return watt
