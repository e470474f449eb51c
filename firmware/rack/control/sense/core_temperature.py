"""Core temperature of each module: what the sensor at the surface will show only minutes later.

A cell is two nodes: its core takes I^2 R and gives it to the surface through a thermal resistance.
The surface is measured, the core follows from it: C dT/dt = I^2 R - (T - surface) / Rth. Limits and
alarms that read the core act before the surface knows. The heat is that of the coldest, most
resistive cell, so that the estimate errs upwards.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.base.viper import ptr32
from rack.control.interpolate import interpolate

_STEP_ms = const(1000)
_NOT_YET = const(-30_000)
_UNKNOWN = const(-1_000_000)
_HEAT_MOST_mW = const(500_000)
_RISE_MOST_mK = const(100_000)
_RESISTANCE_MOST_uohm = const(20_000)


@micropython.viper
def _follow(used, core, rest, groups: int, m: int, out, rise_mK: int, ms: int, tau_ms: int):
    """Advance every module's core by ms; out: highest of core and surface in 0.1 degC, its module, lowest core."""
    u = ptr32(used)
    c = ptr32(core)
    r = ptr32(rest)
    o = ptr32(out)
    best = -30000
    least = 30000
    g = 0
    i = 0
    while g < groups:
        surface = u[i]
        end = i + m
        while i < end:
            if u[i] > surface:
                surface = u[i]
            i += 1
        if c[g] == _UNKNOWN:
            c[g] = surface * 100
        flow = (rise_mK + surface * 100 - c[g]) * ms + r[g]
        c[g] += flow // tau_ms
        r[g] = flow - flow // tau_ms * tau_ms
        hottest = c[g] // 100
        if hottest < least:
            least = hottest
        if surface > hottest:
            hottest = surface
        if hottest > best:
            best = hottest
            o[1] = g
        g += 1
    o[0] = best
    o[2] = least


class Core:
    """`slot` once a second or faster; the first temperatures set the cores."""

    def __init__(self, params, s, temperatures, current):
        self._s = s
        self._p = params
        self._used = temperatures.used
        self._current = current
        n = params.afe_devices
        self.core_mdegC = array("i", [_UNKNOWN] * n)    # 0.001 degC, per module
        self._rest = array("i", [0] * n)
        self._out = array("i", [0, 0, _NOT_YET])
        self._tau_ms = max(4000, params.core_rth_mKpW * params.core_heat_JpK)
        self._ms = 0

    def slot(self, ms):
        """Advance by the ms since the last call; acts once a second. Does not allocate."""
        self._ms += ms
        if self._ms < _STEP_ms:
            return
        ms = min(self._ms, 2000)
        self._ms = 0
        s = self._s
        p = self._p
        heat_mW = self._heat(self._current.take_mean_square(ms))
        s[I.HEAT_W] = heat_mW // 1000
        rise_mK = min(heat_mW // 10 * p.core_rth_mKpW // 100, _RISE_MOST_mK)
        _follow(self._used, self.core_mdegC, self._rest, p.afe_devices, p.afe_temps_per_device,
                self._out, rise_mK, ms, self._tau_ms)  # fmt: skip
        s[I.CORE_MAX_ddegC] = self._out[0]
        s[I.CORE_MAX_AT] = self._out[1]

    def _heat(self, square_A2):
        """Heat of one cell in mW at a mean square current, at the coldest core's resistance."""
        table = self._p.cell_resistance
        coldest = self._out[2]
        if coldest == _NOT_YET:
            coldest = self._s[I.TEMP_MIN_ddegC]
        uohm = min(interpolate(table, len(table), coldest), _RESISTANCE_MOST_uohm)
        if square_A2 > 50_000:
            return min(square_A2 // 1000 * uohm, _HEAT_MOST_mW)
        return min(square_A2 * uohm // 1000, _HEAT_MOST_mW)
