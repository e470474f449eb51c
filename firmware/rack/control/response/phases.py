"""Three phases: the samples that a count of one phase stands for, and the end of its period.

The hazard is a lost phase: with two thirds of the samples, the clock would run slow and RoCoF would read half too
much. So the counts of each phase add up to a clock of its own, and the newest of these clocks is the time of the
response, whichever phases are present. The windows get one sample per third of a period; where a phase is missing,
the sample before is repeated. Loaded only on a rack that measures more than one phase.
"""

import micropython

from rack.base.viper import ptr32
from rack.control.response.measure_kernel import measure_kernel
from rack.generated import response_state as K


@micropython.viper
def _samples(state, count: int) -> int:  # noqa: C901 - in an interrupt a call costs as much as ten branches
    """Return how many samples a count of phase PHASE stands for, 0 if it is not a valid period.

    Stores the period and the time since the last sample in the state.
    """
    k = ptr32(state)
    phase = k[K.PHASE]
    now = k[K.PHASE_CLOCKS + phase]
    max_period = k[K.MAX_PERIOD]
    if count <= 0 or count > max_period + max_period:
        now = -1
    elif now >= 0:
        now = (now + count) & K.CLOCK_MASK
    k[K.PHASE_CLOCKS + phase] = now
    if k[K.LOCKED] != 0:
        return 0
    # One missing edge is accepted. A piece that is too short is not a period, but its time is in the clock.
    period = count
    if count > max_period and count <= max_period + max_period:
        period >>= 1
        k[K.REJECTED] += 1
    if period < k[K.MIN_PERIOD] or period > max_period:
        k[K.REJECTED] += 1
        return 0
    k[K.PHASE_SEEN + phase] = (k[K.PHASE_SEEN + phase] + 1) & K.CLOCK_MASK
    phases = k[K.PHASES]
    ticks = (now - k[K.NEWEST_TICKS]) & K.CLOCK_MASK
    if now < 0 or (ticks > max_period << 2 and ticks < K.CLOCK_HALF):
        # First period of this phase: place it (phase - newest phase) / phases of a period after the newest one.
        ticks = phase - k[K.NEWEST_PHASE]
        if ticks <= 0:
            ticks += phases
        if k[K.FILLED] == 0:
            ticks = 1
        ticks = period * ticks // phases
    elif ticks >= K.CLOCK_HALF:
        ticks = 0
    now = (k[K.NEWEST_TICKS] + ticks) & K.CLOCK_MASK
    k[K.PHASE_CLOCKS + phase] = now
    k[K.NEWEST_TICKS] = now
    k[K.NEWEST_PHASE] = phase
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
        k[K.ELAPSED] = elapsed
        ticks -= elapsed * 625
    else:
        k[K.SEEN] = (k[K.SEEN] + 1) & K.CLOCK_MASK
    k[K.PHASE_REST] = ticks
    k[K.PHASE_PERIOD] = period
    k[K.SAMPLES] = samples
    return samples


@micropython.viper
def phase_kernel(state, rings, count: int) -> int:
    """Run `measure_kernel` for a count of phase PHASE, with the same arguments and result. Interrupt context."""
    k = ptr32(state)
    if int(_samples(state, count)) == 0:
        return 0
    return int(measure_kernel(state, rings, k[K.PHASE_PERIOD]))
