"""Cross-checks of current, PCS and DC bus: two sources for one quantity, so that neither is accepted alone.

The hazards are a dead, reversed or wrongly scaled current sensor, a PCS that does not follow its requests, and a bus
that is not connected to the rack: each of them leaves a closed rack at full power. This module publishes the
disagreements, and rows of rack.definitions.alarms judge them. All are 0 while the rack is not closed.
"""

from array import array

from micropython import const
from rack.generated import cross_checks_state as W
from rack.generated import ids as I
from rack.control.interpolate import interpolate
from rack.definitions.codes import STATE_CLOSED

_MAX_PERMILLE = const(10_000)
_MAX_AGE_ms = const(60_000)
_STEADY_ms = const(400)         # after a step: status, current and cells of one moment
_TIMES = const(4)               # a step of the cells within this factor of current times resistance agrees
_SMALL_W = const(100_000)       # up to this tolerance ten times its thousandfold stays within 31 bits


def in_tolerance(error_W, power_W, words):
    """An error in permille of the tolerance at a power, 0..10 000; both 0 to 2**24. words: cross_checks_state."""
    tolerance = max(power_W * words[W.TOLERANCE_PERMILLE] // 1000, words[W.TOLERANCE_W])
    if error_W >= 10 * tolerance:
        return _MAX_PERMILLE
    if tolerance > _SMALL_W:
        return error_W // (tolerance // 1000)
    return error_W * 1000 // tolerance


class CrossChecks:
    """Writes its signals in a slot of the scan: the judgements take a second or more. Does not allocate."""

    def __init__(self, params, s):
        p = params
        self._s = s
        self._step_mV = p.pcs_step_mV
        self._resistance = p.cell_resistance
        ramp = max(1, p.rack_power_max_W // 100 * (p.pcs_ramp_permille_ps // 10) // 1000)
        self.words = array("i", [       # layout cross_checks_state
            0, 0, 0, 0, 0, p.pcs_reports_power, p.pcs_tolerance_permille, p.pcs_tolerance_W, p.pcs_settle_ms, ramp,
            0, 0, 0, 0, 0, 0, 0, 0,
        ])  # fmt: skip

    def slot(self, ms):
        """Compare the newest values; ms: time since the last call, up to 1000."""
        s = self._s
        words = self.words
        if s[I.STATE] != STATE_CLOSED:
            s[I.POWER_ERROR_PERMILLE] = s[I.DELIVERY_PERMILLE] = s[I.BUS_ERROR_PERMILLE] = s[I.PCS_ECHO_AGE_ms] = 0
            words[W.CHARGE_W] = words[W.DISCHARGE_W] = words[W.REQUEST_W] = words[W.MOVING_ms] = 0
            words[W.STEADY_ms] = words[W.MEAN_mV] = s[I.STEP_ERRORS] = 0
            words[W.LOW_W] = words[W.HIGH_W] = words[W.LOW_BEFORE_W] = words[W.HIGH_BEFORE_W] = 0
            return
        self._check_power(s, words, ms)
        error = abs(s[I.BUS_dV] - s[I.RACK_dV])
        s[I.BUS_ERROR_PERMILLE] = error * 1000 // s[I.RACK_dV] if error < s[I.RACK_dV] else 1000
        if s[I.PCS_ECHO] != words[W.ECHO]:
            words[W.ECHO] = s[I.PCS_ECHO]
            s[I.PCS_ECHO_AGE_ms] = 0
        else:
            s[I.PCS_ECHO_AGE_ms] = min(s[I.PCS_ECHO_AGE_ms] + ms, _MAX_AGE_ms)

    def _check_power(self, s, words, ms):
        """Current against the power of the PCS, and this power against the requests."""
        measured = s[I.RACK_dV] * s[I.CURRENT_dA] // 100
        power = s[I.PCS_POWER_W] if words[W.REPORTS_POWER] else measured
        request = s[I.REQUEST_W]
        if words[W.REPORTS_POWER]:
            error = self._apart(words, power, measured, ms)
            s[I.POWER_ERROR_PERMILLE] = in_tolerance(error, max(abs(power), abs(measured)), words)
        else:
            self._note_moves(words, request, ms)
            self._check_step(s, words, ms)
        self._allow(words, W.DISCHARGE_W, max(request, 0), ms)
        self._allow(words, W.CHARGE_W, max(-request, 0), ms)
        allowed = words[W.DISCHARGE_W if power >= 0 else W.CHARGE_W]
        s[I.DELIVERY_PERMILLE] = in_tolerance(max(abs(power) - allowed, 0), allowed, words)

    def _check_step(self, s, words, ms):
        """Compare a step of the mean cell voltage with the step of the current, when both are steady again."""
        words[W.STEADY_ms] = 0 if words[W.MOVING_ms] > 0 else min(words[W.STEADY_ms] + ms, _STEADY_ms)
        if words[W.STEADY_ms] < _STEADY_ms:
            return
        mean_mV = s[I.CELL_MEAN_mV]
        step_mV = mean_mV - words[W.MEAN_mV]
        amps = (words[W.CURRENT_dA] - s[I.CURRENT_dA]) // 10
        expected_mV = amps * interpolate(self._resistance, len(self._resistance), s[I.TEMP_MIN_ddegC]) // 1000
        if words[W.MEAN_mV] and max(abs(step_mV), abs(expected_mV)) >= self._step_mV:
            if expected_mV < 0:
                expected_mV, step_mV = -expected_mV, -step_mV
            agrees = step_mV * _TIMES >= expected_mV and step_mV <= expected_mV * _TIMES
            s[I.STEP_ERRORS] = 0 if agrees else min(s[I.STEP_ERRORS] + 1, 100)
        words[W.MEAN_mV] = mean_mV
        words[W.CURRENT_dA] = s[I.CURRENT_dA]

    def _note_moves(self, words, request, ms):
        """Start the settling time again after each step of the request: the cells and the current then differ."""
        step = request - words[W.REQUEST_W]
        words[W.REQUEST_W] = request
        if abs(step) > words[W.TOLERANCE_W]:
            words[W.MOVING_ms] = words[W.SETTLE_ms]
        elif words[W.MOVING_ms] > 0:
            words[W.MOVING_ms] -= ms

    def _apart(self, words, power, measured, ms):
        """How far the PCS's power, W, is from the powers measured within the last one to two settling times.

        The status is older than the current. A power that moves was inside this band a moment ago, however fast it
        moves; a dead, reversed or stuck sensor leaves it.
        """
        words[W.BAND_ms] += ms
        if words[W.BAND_ms] + ms // 2 > words[W.SETTLE_ms]:
            words[W.BAND_ms] = 0
            words[W.LOW_BEFORE_W] = words[W.LOW_W]
            words[W.HIGH_BEFORE_W] = words[W.HIGH_W]
            words[W.LOW_W] = words[W.HIGH_W] = measured
        words[W.LOW_W] = low = min(words[W.LOW_W], measured)
        words[W.HIGH_W] = high = max(words[W.HIGH_W], measured)
        return max(power - max(high, words[W.HIGH_BEFORE_W]), min(low, words[W.LOW_BEFORE_W]) - power, 0)

    def _allow(self, words, at, target, ms):
        """Raise the allowed power `at` to the target at once, or lower it with settling time and ramp of the PCS."""
        fall = words[at] - target
        if fall > 0:
            if ms < words[W.SETTLE_ms]:
                fall = fall * ms // words[W.SETTLE_ms] + 1
            target = words[at] - min(fall, words[W.RAMP_Wpms] * ms)
        words[at] = target
