"""Services with slow time: step response, delivery duration, energy recovery, the station's setpoint.

They run in the scan and hand the kernel three numbers: a step in ppm, the share of the response that
may still be delivered, and the power beside the response. The hazards: a step that never ends, a rack
drained by a service that outlasts its contract, recovery that works against the grid.
"""

import micropython
from micropython import const

from rack import ids as I

_PPM = const(1_000_000)

STEP_READY = const(0)
STEP_ACTIVE = const(1)
STEP_RELEASE = const(2)
STEP_SPENT = const(3)

_MOST_MS = const(100_000_000)


@micropython.viper
def _within(setpoint_W: int, charge_W: int, discharge_W: int, reserve_W: int) -> int:
    """The setpoint within limits that leave room for reserve_W in both directions."""
    most = discharge_W - reserve_W
    if most < 0:
        most = 0
    if setpoint_W > most:
        setpoint_W = most
    most = charge_W - reserve_W
    if most < 0:
        most = 0
    if setpoint_W < 0 - most:
        setpoint_W = 0 - most
    return setpoint_W


class Services:
    def __init__(self, params):
        p = self._p = params
        self.power_W = p.split_power_W if p.split_role else p.rack_power_max_W
        self.step_ppm = 0
        self.authority = 1000       # permille
        self.base_W = 0
        self.step_state = STEP_READY
        self.recovering = 0         # -1 charging, 1 discharging towards the target
        self._step_ms = 0
        self._delivered_ms = 0      # at full power; positive discharged
        self._delivered_rest = 0
        self._rest_ms = 0
        self._fade = _PPM
        self._base_rest = 0
        share = p.response_recovery_permille
        self._recovery_W = self.power_W // 1000 * share + self.power_W % 1000 * share // 1000
        self._base_per_s = self.power_W * p.response_setpoint_permille_ps // 1000

    def scan(self, elapsed_ms, deviation, response_W, valid, s, charge_W, discharge_W):
        """One scan: elapsed_ms 0..100; deviation 0.1 mHz; valid: the frequency is known; s: process image."""
        p = self._p
        rest = p.response_rest_mHz * 10
        if not valid or deviation > rest or deviation < -rest:
            self._rest_ms = 0
        elif self._rest_ms < _MOST_MS:
            self._rest_ms += elapsed_ms
        if p.response_step_permille:
            self._step(elapsed_ms, deviation, valid)
        if p.response_duration_s:
            self._duration(elapsed_ms, response_W, deviation)
        recovery_W = self._recovery(s[I.SOC_cpct]) if p.response_recovery_permille else 0
        self._base(elapsed_ms, s[I.SETPOINT_W], recovery_W, valid, charge_W, discharge_W)

    def _step(self, elapsed_ms, deviation, valid):
        """Ready, active for its hold time, release at its rate, spent until the grid has recovered."""
        p = self._p
        self._step_ms += elapsed_ms
        state = self.step_state
        if state == STEP_READY:
            if not valid or deviation > -p.response_step_below_mHz * 10:
                self._step_ms = 0
            elif self._step_ms >= p.response_step_delay_ms:
                self.step_ppm = p.response_step_permille * 1000
                self._enter(STEP_ACTIVE)
        elif state == STEP_ACTIVE:
            if self._step_ms >= p.response_step_hold_ms:
                self._enter(STEP_RELEASE)
        elif state == STEP_RELEASE:
            self.step_ppm -= p.response_step_release_permille_ps * elapsed_ms
            if self.step_ppm <= 0:
                self.step_ppm = 0
                self._enter(STEP_SPENT)
        else:
            if not valid or deviation < -p.response_step_rearm_mHz * 10:
                self._step_ms = 0
            elif self._step_ms >= p.response_step_rearm_ms:
                self._enter(STEP_READY)

    def _enter(self, state):
        self.step_state = state
        self._step_ms = 0

    def _duration(self, elapsed_ms, response_W, deviation):
        """Fade the response in the direction whose energy is spent, until it comes back or the grid has rested.

        Energy, not time: a grid that swings about its nominal frequency takes and gives.
        """
        p = self._p
        if self._rest_ms and self._rest_ms >= p.response_recovery_delay_s * 1000:
            self._delivered_ms = self._delivered_rest = 0
            self._fade = _PPM
        else:
            energy = response_W * elapsed_ms + self._delivered_rest
            delivered_ms = energy // self.power_W
            self._delivered_rest = energy - delivered_ms * self.power_W
            self._delivered_ms = max(-_MOST_MS, min(_MOST_MS, self._delivered_ms + delivered_ms))
        most_ms = p.response_duration_s * 1000
        step = p.response_release_permille_ps * elapsed_ms
        if -most_ms < self._delivered_ms < most_ms:
            self._fade = min(_PPM, self._fade + step)
        else:
            self._fade = max(0, self._fade - step)
        other_way = deviation > 0 if self._delivered_ms > 0 else deviation < 0  # low frequency discharges
        self.authority = 1000 if other_way else self._fade // 1000

    def _recovery(self, soc_cpct):
        """Power towards the target SoC, only while the grid rests; stops at the target, starts outside the band."""
        p = self._p
        off = soc_cpct - p.response_recovery_target_cpct
        if self._rest_ms < p.response_recovery_delay_s * 1000 or self._rest_ms == 0:
            self.recovering = 0
        elif off > p.response_recovery_band_cpct:
            self.recovering = 1
        elif off < -p.response_recovery_band_cpct:
            self.recovering = -1
        elif self.recovering * off <= 0:
            self.recovering = 0
        return self.recovering * self._recovery_W

    def _base(self, elapsed_ms, setpoint_W, recovery_W, valid, charge_W, discharge_W):
        """Setpoint and recovery, ramped; with priority 1 the setpoint leaves room for the whole response."""
        reserve = self.power_W if self._p.response_priority else 0
        wanted = _within(setpoint_W, charge_W, discharge_W, reserve) + recovery_W if valid else 0
        travel = self._base_per_s * elapsed_ms + self._base_rest
        step = travel // 1000
        self._base_rest = travel - step * 1000
        base = self.base_W
        if wanted > base:
            base += step
            if base > wanted:
                base = wanted
            self.base_W = base
        elif wanted < base:
            base -= step
            if base < wanted:
                base = wanted
            self.base_W = base
