"""Core temperature of each module: the sensor at the surface follows only minutes later.

A cell has two nodes: its core takes I^2 R and gives it to the surface through a thermal resistance. The surface is
measured and the core is estimated from it: C dT/dt = I^2 R - (T - surface) / Rth. Limits and alarms on the core
temperature act before the surface warms. The heat is that of the coldest, most resistive cell, so that the error of
the estimate is upwards.
"""

from array import array

import micropython
from micropython import const
from rack.generated import core_temperatures as O
from rack.generated import ids as I
from rack.base.viper import ptr32
from rack.control.interpolate import interpolate

_STEP_ms = const(1000)
_NOT_YET = const(-30_000)           # lowest core temperature before the first step
_UNKNOWN = const(-1_000_000)        # core temperature before the first step
_MAX_HEAT_mW = const(500_000)
_MAX_RISE_mK = const(100_000)
_MAX_RESISTANCE_uohm = const(20_000)


@micropython.viper
def _follow(
    used: ptr32, core: ptr32, rest: ptr32, modules: int, sensors: int, output: ptr32, rise_mK: int, ms: int, tau_ms: int
):
    """Advance the core of each module by ms. output: layout core_temperatures.

    used: temperatures of the sensors, `sensors` in each module; core, rest: 0.001 degC of each module, remainder;
    rise_mK: of the core above the surface in the steady state.
    """
    highest = -30000
    lowest = 30000
    module = 0
    sensor = 0
    while module < modules:
        surface = used[sensor]
        end = sensor + sensors
        while sensor < end:
            if used[sensor] > surface:
                surface = used[sensor]
            sensor += 1
        if core[module] == _UNKNOWN:
            core[module] = surface * 100
        flow = (rise_mK + surface * 100 - core[module]) * ms + rest[module]
        core[module] += flow // tau_ms
        rest[module] = flow - flow // tau_ms * tau_ms
        hottest = core[module] // 100
        if hottest < lowest:
            lowest = hottest
        if surface > hottest:
            hottest = surface
        if hottest > highest:
            highest = hottest
            output[O.MAX_AT] = module
        module += 1
    output[O.MAX_ddegC] = highest
    output[O.MIN_ddegC] = lowest


class CoreTemperature:
    """`slot` once a second or faster; the first temperatures set the cores."""

    def __init__(self, params, s, temperatures, overcurrent):
        self._s = s
        self._p = params
        self._used = temperatures.used
        self._overcurrent = overcurrent
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
        heat_mW = self._heat(self._overcurrent.take_mean_square(ms))
        s[I.HEAT_W] = heat_mW // 1000
        rise_mK = min(heat_mW // 10 * p.core_rth_mKpW // 100, _MAX_RISE_mK)
        _follow(self._used, self.core_mdegC, self._rest, p.afe_devices, p.afe_temps_per_device,
                self._out, rise_mK, ms, self._tau_ms)  # fmt: skip
        s[I.CORE_MAX_ddegC] = self._out[O.MAX_ddegC]
        s[I.CORE_MAX_AT] = self._out[O.MAX_AT]

    def _heat(self, square_A2):
        """Heat of one cell in mW at a mean square current, at the coldest core's resistance."""
        table = self._p.cell_resistance
        coldest = self._out[O.MIN_ddegC]
        if coldest == _NOT_YET:
            coldest = self._s[I.TEMP_MIN_ddegC]
        uohm = min(interpolate(table, len(table), coldest), _MAX_RESISTANCE_uohm)
        if square_A2 > 50_000:
            return min(square_A2 // 1000 * uohm, _MAX_HEAT_mW)
        return min(square_A2 * uohm // 1000, _MAX_HEAT_mW)
