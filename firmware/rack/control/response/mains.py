"""What the scan knows of the mains: how old its newest period is, whether it is lost, which phases are.

The hazards are a response to a grid that nobody measures any more, and a lost phase that nobody is told of. A loss is
found by age, in whole scans; age begins with the scan after an edge.
"""

import micropython

from rack.control.response import frequency
from rack.generated import response_state as K
from rack.base.viper import ptr32


def set_up(k, params):
    """The parts of the response's state that `look_kernel` works with."""
    period_ms = frequency.period_ms(params)
    # Scans may seem a millisecond short: half a scan of room.
    k[K.LOSS_ms] = loss_ms = 3 * period_ms - params.rack_scan_ms * 3 // 2
    # Edges since a late scan are taken to be at most so old: a period less than a loss.
    k[K.LATE_ms] = loss_ms - period_ms - params.rack_scan_ms // 2
    k[K.SCAN_ms] = params.rack_scan_ms
    k[K.HOLD_ms] = params.response_hold_ms
    k[K.WINDOW_ms] = params.grid_window_ms
    k[K.LAST_ms] = -1
    k[K.LOST] = 1
    for phase in range(K.MOST_PHASES):
        k[K.PHASE_CLOCKS + phase] = -1


@micropython.viper
def _look_at_phases(state, elapsed: int, lost: int):
    """Age of each phase, and which of them are silent while another is not. lost: without mains at all that is told."""
    k = ptr32(state)
    silent = 0
    phase = 0
    while phase < k[K.PHASES]:
        seen = k[K.PHASE_SEEN + phase]
        age = k[K.PHASE_AGES + phase]
        if seen != k[K.PHASE_BEFORE + phase]:
            k[K.PHASE_BEFORE + phase] = seen
            age = 0
        elif age < 60_000:
            age += elapsed
        k[K.PHASE_AGES + phase] = age
        if age >= k[K.LOSS_ms]:
            k[K.PHASE_CLOCKS + phase] = -1
            silent |= 1 << phase
        phase += 1
    k[K.PHASES_LOST] = 0 if lost else silent


@micropython.viper
def look_kernel(state, now_ms: int) -> int:
    """Age and loss of the mains and of its phases; now_ms wraps at 2**30. Returns 1 when the mains has just been lost.

    Scan context; the interrupt may take a period between any two lines.
    """
    k = ptr32(state)
    elapsed = 0
    if k[K.LAST_ms] >= 0:
        elapsed = (now_ms - k[K.LAST_ms]) & K.NOW_WRAP
    k[K.LAST_ms] = now_ms
    if elapsed > 100:
        elapsed = 100               # a late scan moves no further than ten punctual ones
    unseen = k[K.ELAPSED_ms] + elapsed      # of the response's second half, which may serve two looks
    k[K.ELAPSED_ms] = 100 if unseen > 100 else unseen
    age = k[K.AGE_ms]
    seen = k[K.SEEN]
    if seen != k[K.SEEN_BEFORE]:    # since a scan that was late they may be older
        k[K.SEEN_BEFORE] = seen
        age = elapsed - k[K.SCAN_ms]
        if age > k[K.LATE_ms]:
            age = k[K.LATE_ms]
        if age < 0:
            age = 0
    elif age < 60_000:
        age += elapsed
    k[K.AGE_ms] = age
    lost = 1 if age >= k[K.LOSS_ms] else 0
    if k[K.PHASES] > 1:
        _look_at_phases(state, elapsed, lost)
    if lost == k[K.LOST]:
        return 0
    k[K.LOST] = lost
    return lost


@micropython.viper
def second_look(k: ptr32) -> int:
    """Edges since the scan's first half, and whether an unknown frequency keeps the response as it is.

    It does for the hold's time, and a window more if mains is back; the time runs on through a mains that comes and
    goes, so that flicker does not hold for ever. Returns 1 while the frequency is known.
    """
    seen = k[K.SEEN]
    if seen != k[K.SEEN_BEFORE]:
        k[K.SEEN_BEFORE] = seen
        k[K.AGE_ms] = 0
    most = k[K.HOLD_ms]
    if k[K.LOST] == 0:
        if k[K.FILLED] >= k[K.WINDOW]:
            k[K.UNKNOWN_ms] = 0
            return 1
        most += k[K.WINDOW_ms]
    if k[K.UNKNOWN_ms] < 60_000:
        k[K.UNKNOWN_ms] += k[K.ELAPSED_ms]
    k[K.HOLD] = 1 if k[K.UNKNOWN_ms] < most else 0
    return 0
