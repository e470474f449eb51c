"""Three phases in place of one: whose period it is, when it ended, and how many samples it stands for.

The hazard is a lost phase: with two thirds of the samples, time would run slow and RoCoF read half too much. So each
phase's counts add up to a clock of its own, and the newest of these is the response's time, whichever phases there
are; and the windows get a sample each share of a period, where a phase is away the value before.
Loaded only where there is more than one phase.
"""

import micropython

from rack.generated import response_state as K
from rack.base.viper import ptr32
from rack.control.response.request_kernel import period_kernel


@micropython.viper
def _samples(state, count: int) -> int:  # noqa: C901 - in an interrupt a call costs as much as ten branches
    """Samples that a count of phase k[PHASE] stands for, 0 when it is no period; their time and period into k."""
    k = ptr32(state)
    phase = k[K.PHASE]
    now = k[K.PHASE_CLOCKS + phase]
    most = k[K.MOST]
    if count <= 0 or count > most + most:
        now = -1
    elif now >= 0:
        now = (now + count) & K.CLOCK
    k[K.PHASE_CLOCKS + phase] = now
    if k[K.OWNED] != 0:
        return 0
    # One missing edge is forgiven; pieces too short are none: the clock has them.
    period = count
    if count > most and count <= most + most:
        period >>= 1
        k[K.REJECTED] += 1
    if period < k[K.LEAST] or period > most:
        k[K.REJECTED] += 1
        return 0
    k[K.PHASE_SEEN + phase] = (k[K.PHASE_SEEN + phase] + 1) & K.CLOCK
    phases = k[K.PHASES]
    ticks = (now - k[K.PHASE_NOW]) & K.CLOCK
    if now < 0 or (ticks > most << 2 and ticks < K.BACKWARDS):
        # Not heard before: it belongs so many shares of a period behind the phase before it.
        ticks = phase - k[K.PHASE_LAST]
        if ticks <= 0:
            ticks += phases
        if k[K.FILLED] == 0:
            ticks = 1
        ticks = period * ticks // phases
    elif ticks >= K.BACKWARDS:
        ticks = 0
    now = (k[K.PHASE_NOW] + ticks) & K.CLOCK
    k[K.PHASE_CLOCKS + phase] = now
    k[K.PHASE_NOW] = now
    k[K.PHASE_LAST] = phase
    behind = k[K.PHASE_BEHIND] + ticks * phases
    samples = 0
    while samples < phases and behind + behind >= period:
        behind -= period
        samples += 1
    if behind + behind >= period:
        behind = 0
    k[K.PHASE_BEHIND] = behind
    ticks += k[K.PHASE_REST]
    if samples != 0:
        elapsed = ticks // 625
        k[K.PHASE_ELAPSED] = elapsed
        ticks -= elapsed * 625
    else:
        k[K.SEEN] = (k[K.SEEN] + 1) & K.CLOCK
    k[K.PHASE_REST] = ticks
    k[K.PHASE_PERIOD] = period
    k[K.SAMPLES] = samples
    return samples


@micropython.viper
def phase_kernel(state, ring, knots, count: int) -> int:
    """`period_kernel` for a count of phase k[PHASE]. Interrupt context."""
    k = ptr32(state)
    if int(_samples(state, count)) == 0:
        return k[K.REQUEST]
    return int(period_kernel(state, ring, knots, k[K.PHASE_PERIOD]))
