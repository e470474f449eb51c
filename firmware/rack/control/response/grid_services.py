"""Services with slow time: step response, delivery duration, energy recovery, the EMS's setpoint.

They run in the scan and hand the kernel three numbers: a step in ppm, the share of the response that
may still be delivered, and the power beside the response. The hazards: a step that never ends, a rack
drained by a service that outlasts its contract, recovery that works against the grid.

State and parameters are one array, the decisions viper functions over it: every scan runs all of them.
"""

from array import array

import micropython
from micropython import const

from rack.generated import ids as I
from rack.generated import response_state as K
from rack.base.viper import ptr32

_PPM = const(1_000_000)

STEP_READY = const(0)
STEP_ACTIVE = const(1)
STEP_RELEASE = const(2)
STEP_SPENT = const(3)

_MOST_MS = const(100_000_000)

# The state; read by others: STEP_STATE and the four after it, SPENT
STEP_STATE = const(0)
STEP_ppm = const(1)
AUTHORITY = const(2)        # permille
BASE_W = const(3)
RECOVERING = const(4)       # -1 charging, 1 discharging towards the target
_STEP_ms = const(5)
_REST_ms = const(6)         # since the grid has left the rest band
_DELIVERED_ms = const(7)    # at full power; positive discharged
_DELIVERED_REST = const(8)
_FADE = const(9)
_BASE_REST = const(10)
# Parameters
_POWER_W = const(11)
_RECOVERY_W = const(12)
_BASE_PER_S = const(13)
_RESERVE_W = const(14)      # room that a setpoint leaves in both directions
_REST_BAND = const(15)      # frequencies in 0.1 mHz
_STEP_POWER = const(16)     # permille; 0: no such service
_STEP_BELOW = const(17)
_STEP_DELAY_ms = const(18)
_STEP_HOLD_ms = const(19)
_STEP_RELEASE = const(20)   # permille/s
_STEP_REARM = const(21)
_STEP_REARM_ms = const(22)
_DURATION_ms = const(23)    # 0: as long as energy lasts
_RELEASE = const(24)        # permille/s
_RECOVERY_ms = const(25)    # rest before recovery, and before spent energy is forgotten
_TARGET_cpct = const(26)
_BAND_cpct = const(27)
SPENT = const(28)           # direction of AUTHORITY: 1 discharging, -1 charging, 0 both
_STATES = const(29)


def contracted_W(params):
    """The power that 1000 permille of the curve mean."""
    return params.pair_power_W if params.pair_role else params.rack_power_max_W


def make(params):
    """The array that `grid_services_kernel` works with."""
    p = params
    power_W = contracted_W(p)
    share = p.response_recovery_permille
    v = array("i", [0] * _STATES)
    for index, value in (
        (AUTHORITY, 1000),
        (_FADE, _PPM),
        (_POWER_W, power_W),
        (_RECOVERY_W, power_W // 1000 * share + power_W % 1000 * share // 1000),
        (_BASE_PER_S, power_W * p.response_setpoint_permille_ps // 1000),
        (_RESERVE_W, power_W if p.response_priority else 0),
        (_REST_BAND, p.response_rest_mHz * 10),
        (_STEP_POWER, p.response_step_permille),
        (_STEP_BELOW, -p.response_step_below_mHz * 10),
        (_STEP_DELAY_ms, p.response_step_delay_ms),
        (_STEP_HOLD_ms, p.response_step_hold_ms),
        (_STEP_RELEASE, p.response_step_release_permille_ps),
        (_STEP_REARM, -p.response_step_rearm_mHz * 10),
        (_STEP_REARM_ms, p.response_step_rearm_ms),
        (_DURATION_ms, p.response_duration_s * 1000),
        (_RELEASE, p.response_release_permille_ps),
        (_RECOVERY_ms, p.response_recovery_delay_s * 1000),
        (_TARGET_cpct, p.response_recovery_target_cpct),
        (_BAND_cpct, p.response_recovery_band_cpct),
    ):
        v[index] = value
    return v


@micropython.viper
def _step(state, elapsed_ms: int, deviation: int, valid: int):  # noqa: C901 - one state machine
    """Ready, active for its hold time, release at its rate, spent until the grid has recovered."""
    v = ptr32(state)
    now = v[STEP_STATE]
    after = now
    ms = v[_STEP_ms] + elapsed_ms
    if now == STEP_READY:
        if valid == 0 or deviation > v[_STEP_BELOW]:
            ms = 0
        elif ms >= v[_STEP_DELAY_ms]:
            v[STEP_ppm] = v[_STEP_POWER] * 1000
            after = STEP_ACTIVE
    elif now == STEP_ACTIVE:
        if ms >= v[_STEP_HOLD_ms]:
            after = STEP_RELEASE
    elif now == STEP_RELEASE:
        v[STEP_ppm] -= v[_STEP_RELEASE] * elapsed_ms
        if v[STEP_ppm] <= 0:
            v[STEP_ppm] = 0
            after = STEP_SPENT
    elif valid == 0 or deviation < v[_STEP_REARM]:
        ms = 0
    elif ms >= v[_STEP_REARM_ms]:
        after = STEP_READY
    if after != now:
        v[STEP_STATE] = after
        ms = 0
    v[_STEP_ms] = ms


@micropython.viper
def _duration(state, elapsed_ms: int, response_W: int):
    """Fade the response in the direction whose energy is spent, until it comes back or the grid has rested.

    Energy, not time: a grid that swings about its nominal frequency takes and gives.
    """
    v = ptr32(state)
    fade = v[_FADE]
    delivered = v[_DELIVERED_ms]
    if v[_REST_ms] != 0 and v[_REST_ms] >= v[_RECOVERY_ms]:
        delivered = 0
        v[_DELIVERED_REST] = 0
        fade = _PPM
    else:
        energy = response_W * elapsed_ms + v[_DELIVERED_REST]
        more = energy // v[_POWER_W]
        v[_DELIVERED_REST] = energy - more * v[_POWER_W]
        delivered += more
        if delivered > _MOST_MS:
            delivered = _MOST_MS
        elif delivered < 0 - _MOST_MS:
            delivered = 0 - _MOST_MS
    v[_DELIVERED_ms] = delivered
    step = v[_RELEASE] * elapsed_ms
    if delivered < v[_DURATION_ms] and delivered > 0 - v[_DURATION_ms]:
        fade += step
        if fade > _PPM:
            fade = _PPM
    else:
        fade -= step
        if fade < 0:
            fade = 0
    way = 1 if delivered > 0 else 0 - 1
    if way != v[SPENT]:             # all of it is back: in the other direction nothing is spent
        v[SPENT] = way
        fade = _PPM
    v[_FADE] = fade
    v[AUTHORITY] = fade // 1000


@micropython.viper
def grid_services_kernel(state, k: ptr32, s: ptr32, elapsed_ms: int, valid: int):  # noqa: C901 - a call costs as much as a branch
    """One scan of 0..100 ms. state: `make`; k: the response's; s: process image; valid: the frequency is known."""
    v = ptr32(state)
    deviation = k[K.DEVIATION]
    rest_ms = 0
    if valid != 0 and deviation <= v[_REST_BAND] and deviation >= 0 - v[_REST_BAND]:
        rest_ms = v[_REST_ms]
        if rest_ms < _MOST_MS:
            rest_ms += elapsed_ms
    v[_REST_ms] = rest_ms
    if v[_STEP_POWER] != 0:
        _step(state, elapsed_ms, deviation, valid)
    if v[_DURATION_ms] != 0:
        _duration(state, elapsed_ms, k[K.RESPONSE])
    # The setpoint within the limits, less the room for the response.
    wanted = s[I.SETPOINT_W]
    most = k[K.DISCHARGE] - v[_RESERVE_W]
    if most < 0:
        most = 0
    if wanted > most:
        wanted = most
    most = k[K.CHARGE] - v[_RESERVE_W]
    if most < 0:
        most = 0
    if wanted < 0 - most:
        wanted = 0 - most
    # Recovery towards the target SoC, only while the grid rests; stops at the target, starts outside the band.
    if v[_RECOVERY_W] != 0:
        off = s[I.SOC_cpct] - v[_TARGET_cpct]
        way = v[RECOVERING]
        if rest_ms < v[_RECOVERY_ms] or rest_ms == 0:
            way = 0
        elif off > v[_BAND_cpct]:
            way = 1
        elif off < 0 - v[_BAND_cpct]:
            way = -1
        elif way * off <= 0:
            way = 0
        v[RECOVERING] = way
        wanted += way * v[_RECOVERY_W]
        if wanted > k[K.DISCHARGE]:
            wanted = k[K.DISCHARGE]
        elif wanted < 0 - k[K.CHARGE]:
            wanted = 0 - k[K.CHARGE]
    if valid == 0:
        wanted = 0
    if k[K.PERMIT] == 0:            # what comes back begins its ramp at zero
        v[BASE_W] = 0
        wanted = 0
    # The power beside the response follows at its ramp; no fraction of a watt is lost.
    travel = v[_BASE_PER_S] * elapsed_ms + v[_BASE_REST]
    step = travel // 1000
    v[_BASE_REST] = travel - step * 1000
    base = v[BASE_W]
    if wanted > base:
        base += step
        if base > wanted:
            base = wanted
    elif wanted < base:
        base -= step
        if base < wanted:
            base = wanted
    v[BASE_W] = base
