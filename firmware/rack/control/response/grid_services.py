"""Grid services with slow time: step response, delivery duration, energy recovery, the EMS's setpoint.

They run once per scan and give the request kernel three numbers: a step in ppm, the part of the response that may
still be delivered, and the power beyond the response. The hazards are a step that does not end, a rack that a
service drains beyond its contract, and a recovery that works against the grid.

State and parameters are one array (rack.generated.grid_services_state); viper functions work on it, because every
scan runs all of them.
"""

from array import array

import micropython
from micropython import const

from rack.base.viper import ptr32
from rack.generated import grid_services_state as G
from rack.generated import ids as I
from rack.generated import response_state as K

STEP_READY = const(0)
STEP_ACTIVE = const(1)
STEP_RELEASE = const(2)     # the step ramps down
STEP_SPENT = const(3)       # until the grid has recovered

_PPM = const(1_000_000)
_MAX_MS = const(100_000_000)


def contracted_W(params):
    """Return the power that 1000 permille of the curve stand for: of the pair, or of this rack."""
    return params.pair_power_W if params.pair_role else params.rack_power_max_W


def make(params):
    """Return the array that `grid_services_kernel` works on."""
    p = params
    power_W = contracted_W(p)
    share = p.response_recovery_permille
    v = array("i", [0] * G.STATES)
    for index, value in (
        (G.AUTHORITY, 1000),
        (G.FADE, _PPM),
        (G.POWER_W, power_W),
        (G.RECOVERY_W, power_W // 1000 * share + power_W % 1000 * share // 1000),
        (G.BASE_PER_S, power_W * p.response_setpoint_permille_ps // 1000),
        (G.RESERVE_W, power_W if p.response_priority else 0),
        (G.REST_BAND, p.response_rest_mHz * 10),
        (G.STEP_POWER, p.response_step_permille),
        (G.STEP_BELOW, -p.response_step_below_mHz * 10),
        (G.STEP_DELAY_ms, p.response_step_delay_ms),
        (G.STEP_HOLD_ms, p.response_step_hold_ms),
        (G.STEP_RELEASE, p.response_step_release_permille_ps),
        (G.STEP_REARM, -p.response_step_rearm_mHz * 10),
        (G.STEP_REARM_ms, p.response_step_rearm_ms),
        (G.DURATION_ms, p.response_duration_s * 1000),
        (G.RELEASE, p.response_release_permille_ps),
        (G.RECOVERY_ms, p.response_recovery_delay_s * 1000),
        (G.TARGET_cpct, p.response_recovery_target_cpct),
        (G.BAND_cpct, p.response_recovery_band_cpct),
    ):
        v[index] = value
    return v


@micropython.viper
def _step(state, elapsed_ms: int, deviation: int, valid: int):  # noqa: C901 - one state machine
    """Ready, active for its hold time, release at its rate, spent until the grid has recovered."""
    v = ptr32(state)
    now = v[G.STEP_STATE]
    after = now
    ms = v[G.STEP_ms] + elapsed_ms
    if now == STEP_READY:
        if valid == 0 or deviation > v[G.STEP_BELOW]:
            ms = 0
        elif ms >= v[G.STEP_DELAY_ms]:
            v[G.STEP_ppm] = v[G.STEP_POWER] * 1000
            after = STEP_ACTIVE
    elif now == STEP_ACTIVE:
        if ms >= v[G.STEP_HOLD_ms]:
            after = STEP_RELEASE
    elif now == STEP_RELEASE:
        v[G.STEP_ppm] -= v[G.STEP_RELEASE] * elapsed_ms
        if v[G.STEP_ppm] <= 0:
            v[G.STEP_ppm] = 0
            after = STEP_SPENT
    elif valid == 0 or deviation < v[G.STEP_REARM]:
        ms = 0
    elif ms >= v[G.STEP_REARM_ms]:
        after = STEP_READY
    if after != now:
        v[G.STEP_STATE] = after
        ms = 0
    v[G.STEP_ms] = ms


@micropython.viper
def _duration(state, elapsed_ms: int, response_W: int):
    """Fade out the response in the direction whose energy is spent, until energy returns or the grid has rested.

    The limit counts energy and not time, because a grid that swings about its nominal frequency takes and returns.
    """
    v = ptr32(state)
    fade = v[G.FADE]
    delivered = v[G.DELIVERED_ms]
    if v[G.REST_ms] != 0 and v[G.REST_ms] >= v[G.RECOVERY_ms]:
        delivered = 0
        v[G.DELIVERED_REST] = 0
        fade = _PPM
    else:
        energy = response_W * elapsed_ms + v[G.DELIVERED_REST]
        more = energy // v[G.POWER_W]
        v[G.DELIVERED_REST] = energy - more * v[G.POWER_W]
        delivered += more
        if delivered > _MAX_MS:
            delivered = _MAX_MS
        elif delivered < 0 - _MAX_MS:
            delivered = 0 - _MAX_MS
    v[G.DELIVERED_ms] = delivered
    step = v[G.RELEASE] * elapsed_ms
    if delivered < v[G.DURATION_ms] and delivered > 0 - v[G.DURATION_ms]:
        fade += step
        if fade > _PPM:
            fade = _PPM
    else:
        fade -= step
        if fade < 0:
            fade = 0
    direction = 1 if delivered > 0 else 0 - 1
    if direction != v[G.SPENT_DIRECTION]:   # all energy has returned: the other direction has its full authority
        v[G.SPENT_DIRECTION] = direction
        fade = _PPM
    v[G.FADE] = fade
    v[G.AUTHORITY] = fade // 1000


@micropython.viper
def _recovery(state, soc_cpct: int, rest_ms: int) -> int:
    """Return the power towards the target state of charge, W, and keep its direction in RECOVERING.

    Recovery runs only while the grid rests. It starts outside the band and stops at the target.
    """
    v = ptr32(state)
    difference = soc_cpct - v[G.TARGET_cpct]
    direction = v[G.RECOVERING]
    if rest_ms < v[G.RECOVERY_ms] or rest_ms == 0:
        direction = 0
    elif difference > v[G.BAND_cpct]:
        direction = 1
    elif difference < 0 - v[G.BAND_cpct]:
        direction = -1
    elif direction * difference <= 0:
        direction = 0
    v[G.RECOVERING] = direction
    return direction * v[G.RECOVERY_W]


@micropython.viper
def grid_services_kernel(state, k: ptr32, s: ptr32, elapsed_ms: int, valid: int):  # noqa: C901 - a call costs 7 us
    """Run all services for one scan of 0..100 ms.

    state: from `make`; k: the response's state; s: process image; valid 1: the frequency is known. Scan context.
    """
    v = ptr32(state)
    deviation = k[K.DEVIATION]
    rest_ms = 0
    if valid != 0 and deviation <= v[G.REST_BAND] and deviation >= 0 - v[G.REST_BAND]:
        rest_ms = v[G.REST_ms]
        if rest_ms < _MAX_MS:
            rest_ms += elapsed_ms
    v[G.REST_ms] = rest_ms
    if v[G.STEP_POWER] != 0:
        _step(state, elapsed_ms, deviation, valid)
    if v[G.DURATION_ms] != 0:
        _duration(state, elapsed_ms, k[K.RESPONSE])
    # The setpoint within the limits, reduced by the reserve for the response.
    wanted = s[I.SETPOINT_W]
    limit = k[K.DISCHARGE_LIMIT] - v[G.RESERVE_W]
    if limit < 0:
        limit = 0
    if wanted > limit:
        wanted = limit
    limit = k[K.CHARGE_LIMIT] - v[G.RESERVE_W]
    if limit < 0:
        limit = 0
    if wanted < 0 - limit:
        wanted = 0 - limit
    if v[G.RECOVERY_W] != 0:
        wanted += int(_recovery(state, s[I.SOC_cpct], rest_ms))
        if wanted > k[K.DISCHARGE_LIMIT]:
            wanted = k[K.DISCHARGE_LIMIT]
        elif wanted < 0 - k[K.CHARGE_LIMIT]:
            wanted = 0 - k[K.CHARGE_LIMIT]
    if valid == 0:
        wanted = 0
    if k[K.PERMITTED] == 0:         # after a new permission the ramp starts at zero
        v[G.BASE_W] = 0
        wanted = 0
    # BASE_W follows at its ramp; the remainder is carried, so no fraction of a watt is lost.
    travel = v[G.BASE_PER_S] * elapsed_ms + v[G.BASE_REST]
    step = travel // 1000
    v[G.BASE_REST] = travel - step * 1000
    base = v[G.BASE_W]
    if wanted > base:
        base += step
        if base > wanted:
            base = wanted
    elif wanted < base:
        base -= step
        if base < wanted:
            base = wanted
    v[G.BASE_W] = base
