"""Cooling and preheating: keep the cells in their temperature range, without chattering pumps or a dry heater.

A heater without coolant flow burns, and a heater on a hot rack feeds a fire. So the heater needs a running pump,
measured flow, cool coolant and a rack without a trip; it goes off at once when one of them is missing, while the pump
keeps running. Everything else runs and rests for a minimum time. LFP is heated before it is charged in the cold.
"""

from micropython import const

from rack.generated import ids as I
from rack.definitions.codes import ACT_OPEN, IN_COOLANT_FLOW, NO_SHORT

FAN_MIN_pct = const(30)     # a fan or pump does not start below: engineering judgement
_MAX_TIME_ms = const(10_000_000)


class Switch:
    """On/off with a minimum run and a minimum pause."""

    def __init__(self, min_ms):
        self._min_ms = min_ms
        self._ms = min_ms       # time in this state; the first change need not wait
        self.on = False

    def follow(self, wanted, ms):
        """Change to `wanted` after the minimum time in the present state; ms since the last call."""
        if self._ms < _MAX_TIME_ms:
            self._ms += ms
        if wanted != self.on and self._ms >= self._min_ms:
            self.on = wanted
            self._ms = 0
        return self.on

    def stop(self):
        """Switch off now; the minimum pause begins."""
        if self.on:
            self.on = False
            self._ms = 0


class Cooling:
    """`slot` runs up to ten times a second and writes fan_pct, pump_pct, heater and coolant_stopped."""

    def __init__(self, params, s):
        self._s = s
        self._p = params
        self._cool = Switch(params.cooling_run_ms)
        self._heat = Switch(params.cooling_run_ms)
        self._cooling = False   # result of the hysteresis, before the minimum times
        self._heating = False
        self._dry_ms = 0        # pump on without flow
        self._flow_ms = 0       # pump on with flow

    def slot(self, ms):
        """Switch fan, pump and heater; ms since the last call."""
        s = self._s
        self._want_cooling()
        self._want_heating()
        cool = self._cool.follow(self._cooling, ms)
        heat = self._heat.follow(self._heating and not cool, ms)
        if heat and (cool or not self._may_heat()):
            self._heat.stop()
            heat = False
        s[I.FAN_pct] = self._duty() if cool else 0
        s[I.PUMP_pct] = 100 if heat else s[I.FAN_pct]
        self._watch_flow(ms)
        s[I.HEATER] = 1 if heat and self._flow_ms else 0

    def _want_cooling(self):
        """Hysteresis on the hotter of sensor and core estimate."""
        hot = max(self._s[I.TEMP_MAX_ddegC], self._s[I.CORE_MAX_ddegC])
        p = self._p
        if hot >= p.cooling_cool_on_ddegC:
            self._cooling = True
        elif hot <= p.cooling_cool_off_ddegC:
            self._cooling = False

    def _want_heating(self):
        """Hysteresis on the coldest sensor; at higher temperatures while the EMS asks for charge."""
        s = self._s
        p = self._p
        cold = s[I.TEMP_MIN_ddegC]
        on = p.cooling_heat_on_ddegC
        off = p.cooling_heat_off_ddegC
        if s[I.SETPOINT_W] < 0:
            off += max(0, p.cooling_preheat_ddegC - on)
            on = max(on, p.cooling_preheat_ddegC)
        if cold <= on:
            self._heating = True
        elif cold >= off:
            self._heating = False

    def _may_heat(self):
        s = self._s
        limit = self._p.cooling_heater_max_ddegC
        return (
            s[I.ACTIONS] & ACT_OPEN == 0
            and s[I.TEMP_MAX_ddegC] < limit
            and NO_SHORT < s[I.COOLANT_ddegC] < limit
        )

    def _duty(self):
        """FAN_MIN_pct where cooling starts, full duty at cooling_cool_full_ddegC."""
        p = self._p
        hot = max(self._s[I.TEMP_MAX_ddegC], self._s[I.CORE_MAX_ddegC])
        span = max(1, p.cooling_cool_full_ddegC - p.cooling_cool_on_ddegC)
        share = min(span, max(0, hot - p.cooling_cool_on_ddegC))
        return FAN_MIN_pct + (100 - FAN_MIN_pct) * share // span

    def _watch_flow(self, ms):
        """Set coolant_stopped after cooling_flow_ms of pumping without flow; flow clears it."""
        s = self._s
        if s[I.IN_bits] & IN_COOLANT_FLOW:
            self._dry_ms = 0
            s[I.COOLANT_STOPPED] = 0
            self._flow_ms = min(self._flow_ms + ms, _MAX_TIME_ms) if s[I.PUMP_pct] else 0
            return
        self._flow_ms = 0
        if not s[I.PUMP_pct]:
            self._dry_ms = 0
            return
        if self._dry_ms < _MAX_TIME_ms:
            self._dry_ms += ms
        if self._dry_ms >= self._p.cooling_flow_ms:
            s[I.COOLANT_STOPPED] = 1
