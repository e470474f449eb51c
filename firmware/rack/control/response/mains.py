"""Age of the mains: how old the newest period is, whether the mains is lost, and which phases are lost.

The hazards are a response to a grid that the rack no longer measures, and a lost phase without an alarm. A loss is
found by age, in whole scans; the age starts with the scan after an edge.
"""

import micropython

from rack.base.clock import TICKS_MASK
from rack.base.viper import ptr32
from rack.control.response import frequency
from rack.generated import response_state as K


def set_up(k, params):
    """Set the words of the response's state `k` that the functions below use."""
    period_ms = frequency.period_ms(params)
    # The time between two scans can read a millisecond short: leave a margin of half a scan.
    k[K.LOSS_ms] = loss_ms = 3 * period_ms - params.rack_scan_ms * 3 // 2
    # After a late scan the true age of an edge is unknown: assume at most a period less than a loss.
    k[K.LATE_ms] = loss_ms - period_ms - params.rack_scan_ms // 2
    k[K.SCAN_ms] = params.rack_scan_ms
    k[K.HOLD_ms] = params.response_hold_ms
    k[K.WINDOW_ms] = params.grid_window_ms
    k[K.LAST_ms] = -1
    k[K.LOST] = 1
    for phase in range(K.MAX_PHASES):
        k[K.PHASE_CLOCKS + phase] = -1


@micropython.viper
def _update_phase_ages(state, elapsed: int, lost: int):
    """Advance the age of each phase by `elapsed` ms and set PHASES_LOST; lost 1: no mains at all, no single phase."""
    k = ptr32(state)
    silent = 0
    phase = 0
    phases = k[K.PHASES]
    if phases > 3:          # a bit may flip in RAM
        phases = 3
    while phase < phases:
        seen = k[K.PHASE_SEEN + phase]
        age = k[K.PHASE_AGES + phase]
        if seen != k[K.PHASE_SEEN_BEFORE + phase]:
            k[K.PHASE_SEEN_BEFORE + phase] = seen
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
def mains_age_kernel(state, now_ms: int) -> int:
    """Update age and loss of the mains and of its phases; return 1 if the mains was lost in this call.

    now_ms wraps at 2**30. Scan context; the interrupt may take a period between any two lines.
    """
    k = ptr32(state)
    elapsed = 0
    if k[K.LAST_ms] >= 0:
        elapsed = (now_ms - k[K.LAST_ms]) & TICKS_MASK
    k[K.LAST_ms] = now_ms
    if elapsed > 100:
        elapsed = 100               # a late scan counts as at most ten punctual scans
    total = k[K.ELAPSED_ms] + elapsed       # the second half of a scan may follow two calls of this kernel
    k[K.ELAPSED_ms] = 100 if total > 100 else total
    age = k[K.AGE_ms]
    seen = k[K.SEEN]
    if seen != k[K.SEEN_BEFORE]:    # after a late scan the edge may be older than a scan
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
        _update_phase_ages(state, elapsed, lost)
    if lost == k[K.LOST]:
        return 0
    k[K.LOST] = lost
    return lost


@micropython.viper
def recheck_edges(k: ptr32) -> int:
    """Clear the age if an edge came since the first half of the scan, and set HOLD; return 1 if the frequency is known.

    HOLD lasts for the configured time, and one window longer while the mains is present. A mains that comes and goes
    does not restart this time, so that flicker cannot hold a response forever. Scan context.
    """
    seen = k[K.SEEN]
    if seen != k[K.SEEN_BEFORE]:
        k[K.SEEN_BEFORE] = seen
        k[K.AGE_ms] = 0
    hold_ms = k[K.HOLD_ms]
    if k[K.LOST] == 0:
        if k[K.FILLED] >= k[K.WINDOW]:
            k[K.UNKNOWN_ms] = 0
            return 1
        hold_ms += k[K.WINDOW_ms]
    if k[K.UNKNOWN_ms] < 60_000:
        k[K.UNKNOWN_ms] += k[K.ELAPSED_ms]
    k[K.HOLD] = 1 if k[K.UNKNOWN_ms] < hold_ms else 0
    return 0
