"""Cross-checks of current, PCS and DC bus: two sources for one quantity, so that neither is accepted alone.

The hazards are a dead, reversed or wrongly scaled current sensor, a PCS that does not follow its requests, and a bus
that is not connected to the rack: each of them leaves a closed rack at full power. This module publishes the
disagreements, and rows of rack.definitions.alarms judge them. All are 0 while the rack is not closed.
"""

from array import array

import micropython
from micropython import const
from rack.generated import cross_checks_state as W
from rack.generated import ids as I
from rack.base.viper import ptr32
from rack.definitions.codes import STATE_CLOSED

_MAX_DT_ms = const(100)
_MAX_PERMILLE = const(10_000)
_MAX_AGE_ms = const(60_000)
_SMALL_W = const(100_000)       # up to this tolerance ten times its thousandfold stays within 31 bits


@micropython.viper
def in_tolerance(error_W: int, power_W: int, words: ptr32) -> int:
    """An error in permille of the tolerance at a power, 0..10 000; both 0 to 2**24. words: cross_checks_state."""
    tolerance = power_W * words[W.TOLERANCE_PERMILLE] // 1000
    if tolerance < words[W.TOLERANCE_W]:
        tolerance = words[W.TOLERANCE_W]
    if error_W >= 10 * tolerance:
        return _MAX_PERMILLE
    if tolerance > _SMALL_W:
        return error_W // (tolerance // 1000)
    return error_W * 1000 // tolerance


@micropython.viper
def _approach(value: int, target: int, dt: int, words: ptr32) -> int:
    """A bound that falls to its target with the settling time and the ramp of the PCS; both 0 or more."""
    if value <= target:
        return target
    fall = value - target
    if dt < words[W.SETTLE_ms]:
        fall = fall * dt // words[W.SETTLE_ms] + 1
    if fall > words[W.RAMP_Wpms] * dt:
        fall = words[W.RAMP_Wpms] * dt
    return value - fall


@micropython.viper
def _moving(words: ptr32, request: int, dt: int) -> int:
    """1 for the settling time after a step of the request: current and status then show different moments.

    The time ends before another step may begin it again, so a request that moves without end hides no error.
    """
    step = request - words[W.REQUEST_W]
    words[W.REQUEST_W] = request
    if words[W.MOVING_ms] > 0:
        words[W.MOVING_ms] -= dt
        return 1
    if step > 2 * words[W.TOLERANCE_W] or step < 0 - 2 * words[W.TOLERANCE_W]:
        words[W.MOVING_ms] = words[W.SETTLE_ms]
        return 1
    return 0


@micropython.viper
def _check_power(s: ptr32, words: ptr32, dt: int):
    """Write power_error_permille and delivery_permille of a closed rack. dt: ms, up to 100."""
    measured = s[I.RACK_dV] * s[I.CURRENT_dA] // 100
    power = s[I.PCS_POWER_W] if words[W.REPORTS_POWER] else measured
    error = power - measured
    size = measured if measured >= 0 else 0 - measured
    reported = power if power >= 0 else 0 - power
    if reported > size:
        size = reported
    request = s[I.REQUEST_W]
    if int(_moving(words, request, dt)) == 0:
        s[I.POWER_ERROR_PERMILLE] = int(in_tolerance(error if error >= 0 else 0 - error, size, words))
    words[W.DISCHARGE_W] = int(_approach(words[W.DISCHARGE_W], request if request > 0 else 0, dt, words))
    words[W.CHARGE_W] = int(_approach(words[W.CHARGE_W], 0 if request > 0 else 0 - request, dt, words))
    allowed = words[W.DISCHARGE_W] if power >= 0 else words[W.CHARGE_W]
    s[I.DELIVERY_PERMILLE] = int(in_tolerance(reported - allowed, allowed, words)) if reported > allowed else 0


@micropython.viper
def _check(s: ptr32, words: ptr32, dt: int):
    """Write all disagreements; dt: ms since the last call, up to 1000."""
    if s[I.STATE] != STATE_CLOSED:
        s[I.POWER_ERROR_PERMILLE] = s[I.DELIVERY_PERMILLE] = s[I.BUS_ERROR_PERMILLE] = s[I.PCS_ECHO_AGE_ms] = 0
        words[W.CHARGE_W] = words[W.DISCHARGE_W] = words[W.REQUEST_W] = words[W.MOVING_ms] = 0
        return
    _check_power(s, words, dt if dt < _MAX_DT_ms else _MAX_DT_ms)
    error = s[I.BUS_dV] - s[I.RACK_dV]
    if error < 0:
        error = 0 - error
    s[I.BUS_ERROR_PERMILLE] = error * 1000 // s[I.RACK_dV] if error < s[I.RACK_dV] else 1000
    if s[I.PCS_ECHO] != words[W.ECHO]:
        words[W.ECHO] = s[I.PCS_ECHO]
        s[I.PCS_ECHO_AGE_ms] = 0
    elif s[I.PCS_ECHO_AGE_ms] < _MAX_AGE_ms:
        s[I.PCS_ECHO_AGE_ms] += dt


class CrossChecks:
    """`scan` once a scan, after the contactors and before the request. Writes four signals. Does not allocate."""

    def __init__(self, params, s):
        p = params
        self._s = s
        self.words = array("i", [0] * W.WORDS)      # layout cross_checks_state
        self.words[W.REPORTS_POWER] = p.pcs_reports_power
        self.words[W.TOLERANCE_PERMILLE] = p.pcs_tolerance_permille
        self.words[W.TOLERANCE_W] = p.pcs_tolerance_W
        self.words[W.SETTLE_ms] = p.pcs_settle_ms
        self.words[W.RAMP_Wpms] = max(1, p.rack_power_max_W // 100 * (p.pcs_ramp_permille_ps // 10) // 1000)

    def scan(self, dt):
        """Compare the newest values; dt: ms since the last call, up to 1000."""
        _check(self._s, self.words, dt)
