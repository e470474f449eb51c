"""The request kernel: the measured deviation and RoCoF into one request for power, within the limits.

Droop curve, inertia, delay, ramps, pair and the limits of the protection core are one function, so that every
request has passed all of them. It runs in the interrupt of each mains period, after the measurement; without mains
the scan calls it.

Units: deviation from the nominal frequency in 0.1 mHz, power in ppm of the contracted power, time in 10 us. Positive
power discharges; a low frequency asks for positive power.
"""

import micropython

from rack.base.viper import ptr32
from rack.generated import response_state as K


@micropython.viper
def request_kernel(k: ptr32, ring: ptr32, knots: ptr32):  # noqa: C901 - a call costs 7 us
    """Set REQUEST in the state, in W, after the ELAPSED time and the number of SAMPLES in the state.

    k, ring, knots: array('i') made by `Response`, or their addresses. SAMPLES 0: the scan calls without
    mains. Does not divide by zero, because `Response` keeps every divisor above zero. Interrupt context, or scan
    context while LOCKED is set.
    """
    elapsed = k[K.ELAPSED]
    samples = k[K.SAMPLES]
    target = 0
    valid = 0
    if samples != 0 and k[K.FILLED] >= k[K.WINDOW]:
        valid = 1
        # Droop between the knots, saturated at the ends. knots[0]: index of the last knot.
        deviation = k[K.DEVIATION]
        last = knots[0]
        knot = 1
        while knot < last and deviation > knots[knot + 2]:
            knot += 2
        if deviation <= knots[1]:
            target = knots[2] * 1000
        elif knot >= last:
            target = knots[last + 1] * 1000
        else:
            span = knots[knot + 2] - knots[knot]
            scaled = (deviation - knots[knot]) * (knots[knot + 3] - knots[knot + 1])
            quotient = scaled // span
            target = (knots[knot + 1] + quotient) * 1000 + (scaled - quotient * span) * 1000 // span
        if k[K.INERTIA] != 0:
            slope = k[K.SLOPE]
            quotient = slope // k[K.SLOPE_DIV]      # in two steps: SLOPE x SLOPE_MUL does not fit 31 bits
            slope -= quotient * k[K.SLOPE_DIV]
            slope = quotient * k[K.SLOPE_MUL] + slope * k[K.SLOPE_MUL] // k[K.SLOPE_DIV]
            band = k[K.INERTIA_BAND]
            if slope > band:
                target -= (slope - band) * k[K.INERTIA]
            elif slope < 0 - band:
                target -= (slope + band) * k[K.INERTIA]
        target += k[K.STEP]
        if target > K.PPM:
            target = K.PPM
        elif target < 0 - K.PPM:
            target = 0 - K.PPM
        if k[K.AUTHORITY] != 1000 and target * k[K.SPENT_DIRECTION] >= 0:
            target = target * k[K.AUTHORITY] // 1000
    elif k[K.HOLD] != 0:
        target = k[K.RESPONSE_PPM]

    clock = (k[K.CLOCK_NOW] + elapsed) & K.CLOCK_MASK
    k[K.CLOCK_NOW] = clock
    if samples != 0:
        # Each target waits in the ring until DELAY has passed.
        newest = k[K.NEWEST] & K.RING_MASK      # masked in each kernel, as a bit may flip in RAM
        ring[K.TARGETS + newest] = target
        ring[K.STAMPS + newest] = clock
        due = k[K.DUE] & K.RING_MASK
        while due != newest and (clock - ring[K.STAMPS + ((due + 1) & K.RING_MASK)]) & K.CLOCK_MASK >= k[K.DELAY]:
            due = (due + 1) & K.RING_MASK
        k[K.DUE] = due
        target = ring[K.TARGETS + due]
    else:
        samples = 1

    # Ramps: away from zero at RAMP_UP, back at RAMP_DOWN; a call that reaches zero stops there.
    power = k[K.RESPONSE_PPM]
    if k[K.PERMITTED] == 0:
        power = 0
        k[K.LOW_PASS] = 0            # after a new permission the low-pass starts at zero, too
        k[K.LOW_PASS_REST] = 0
    elif target != power:
        step = k[K.RAMP_DOWN]
        if valid == 0:
            step = k[K.RAMP_RELEASE]
        if power == 0 or (power > 0 and target > power) or (power < 0 and target < power):
            step = k[K.RAMP_UP]
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
    k[K.RESPONSE_PPM] = power

    # ppm to W: exact at 0 and at full power, monotone between them.
    watt = 0
    if power != 0:
        quotient = power // 1000
        rest = power - quotient * 1000
        watt = quotient * k[K.POWER_kW] + (quotient * k[K.POWER_REST_W] + rest * k[K.POWER_kW]) // 1000
    k[K.RESPONSE] = watt
    if k[K.PAIR_ROLE] != 0:
        rest = (watt - k[K.LOW_PASS]) * samples + k[K.LOW_PASS_REST]
        quotient = rest // k[K.LOW_PASS_TAU]
        low_pass = k[K.LOW_PASS] + quotient
        k[K.LOW_PASS] = low_pass
        k[K.LOW_PASS_REST] = rest - quotient * k[K.LOW_PASS_TAU]
        quotient = low_pass // 1000
        rest = low_pass - quotient * 1000
        share = quotient * k[K.PAIR_SHARE] + rest * k[K.PAIR_SHARE] // 1000 + k[K.PAIR_BIAS]
        if k[K.PAIR_ROLE] == 1:
            watt -= share
        elif k[K.PAIR_ROLE] == 2:
            watt = share
    watt += k[K.BASE]
    k[K.WANTED] = watt
    if watt > k[K.DISCHARGE_LIMIT]:
        watt = k[K.DISCHARGE_LIMIT]
    elif watt < 0 - k[K.CHARGE_LIMIT]:
        watt = 0 - k[K.CHARGE_LIMIT]
    if k[K.PERMITTED] == 0:
        watt = 0
    k[K.REQUEST] = watt
