"""Available power: how much the rack may be charged and discharged now, and the reason for each limit.

A limit that comes late means lithium plating, a cell over its voltage or a fire; a limit that returns at once makes
the request chatter. So limits fall at once and rise slowly. Each limit is a knot table over one quantity, in permille
of the rack's power, or the power at which the current would reach its derate alarm; the lowest applies and is reported.

A limit that rose again to where it raised an alarm would hunt for ever. So each derate alarm leaves a ceiling, a step
below the limit at which it came. The ceiling goes when less than half of it has been requested for a while.
"""

from array import array

import micropython
from micropython import const
from rack.generated import alarm_levels as L
from rack.generated import ids as I
from rack.generated import limit_side as W
from rack.definitions.codes import (
    ACT_LIMIT_CHARGE,
    ACT_LIMIT_DISCHARGE,
    ACT_OPEN,
    ACT_ZERO,
    LIM_ALARM,
    LIM_CELL,
    LIM_CORE,
    LIM_CURRENT,
    LIM_HELD,
    LIM_NONE,
    LIM_RISING,
    LIM_SOC,
    LIM_STATE,
    LIM_TEMP_HIGH,
    LIM_TEMP_LOW,
)
from rack.base.viper import ptr32
from rack.control.interpolate import interpolate

_CHARGE_DERATE = const(L.WIDTH * (I.ALARM_CHARGE_CURRENT_DERATE - 1) + L.SET)       # in alarms_levels
_DISCHARGE_DERATE = const(L.WIDTH * (I.ALARM_DISCHARGE_CURRENT_DERATE - 1) + L.SET)


@micropython.viper
def _look_up(image, temp, temp_ints: int, best: int, cell, cell_ints: int, cell_signal: int, soc, soc_ints: int, words):
    """Write TABLE and TABLE_BY of `words`. Tables with their lengths; best: temperature of the temp table's maximum.

    Below `best` the limit is LIM_TEMP_LOW, above it LIM_TEMP_HIGH.
    """
    signals = ptr32(image)
    output = ptr32(words)
    coldest = signals[I.TEMP_MIN_ddegC]
    if cell_signal == I.CELL_MAX_mV:    # charge damages a cold cell, also one whose sensor is too cold for its module
        coldest = signals[I.TEMP_COLD_ddegC]
    hottest = signals[I.TEMP_MAX_ddegC]
    lowest = 1000
    by = LIM_NONE
    permille = int(interpolate(temp, temp_ints, coldest))
    if permille < lowest:
        lowest = permille
        by = LIM_TEMP_LOW if coldest < best else LIM_TEMP_HIGH
    permille = int(interpolate(temp, temp_ints, hottest))
    if permille < lowest:
        lowest = permille
        by = LIM_TEMP_LOW if hottest < best else LIM_TEMP_HIGH
    permille = int(interpolate(temp, temp_ints, signals[I.CORE_MAX_ddegC]))
    if permille < lowest:
        lowest = permille
        by = LIM_CORE
    permille = int(interpolate(cell, cell_ints, signals[cell_signal]))
    if permille < lowest:
        lowest = permille
        by = LIM_CELL
    permille = int(interpolate(soc, soc_ints, signals[I.SOC_cpct]))
    if permille < lowest:
        lowest = permille
        by = LIM_SOC
    rack_dV = signals[I.RACK_dV]
    if rack_dV > 0:     # else not measured yet; without a voltage later the sum of the cells contradicts it
        permille = output[W.CURRENT_dA] * rack_dV // (output[W.MAX_W] // 10)
        if permille < lowest:
            lowest = permille
            by = LIM_CURRENT
    output[W.TABLE] = lowest
    output[W.TABLE_BY] = by


@micropython.viper
def _lift(words: ptr32, request: int, ms: int, hold_ms: int):
    """Remove the ceiling after `hold_ms` with less than half of it requested. request: W in this direction."""
    if words[W.CEILING] < 1000 and request < words[W.MAX_W] // 1000 * words[W.CEILING] // 2:
        words[W.EASY_ms] += ms
        if words[W.EASY_ms] >= hold_ms:
            words[W.CEILING] = 1000
    else:
        words[W.EASY_ms] = 0


@micropython.viper
def apply_limit(words: ptr32, signals: ptr32, derate: int, held: int, rise: int, power: int, reason: int):
    """Fall at once to the limit of tables and alarms, or rise by `rise`, permille * ms / s.

    derate: permille with a derate-level alarm; held: permille of the present limit that the ceiling gets when such an
    alarm comes; power, reason: indices of the signals to write.
    """
    target = words[W.TABLE]
    by = words[W.TABLE_BY]
    if signals[I.ACTIONS] & words[W.DERATE_ACTION]:
        if words[W.DERATED] == 0:
            words[W.DERATED] = 1
            ceiling = words[W.PERMILLE] * held // 1000
            if ceiling < derate:
                ceiling = derate
            if ceiling < words[W.CEILING]:
                words[W.CEILING] = ceiling
        if derate < target:
            target = derate
            by = LIM_ALARM
    else:
        words[W.DERATED] = 0
    if words[W.CEILING] < target:
        target = words[W.CEILING]
        by = LIM_HELD
    if target <= words[W.PERMILLE]:
        words[W.PERMILLE] = target
        words[W.REST] = 0
    else:
        risen = words[W.REST] + rise
        words[W.PERMILLE] += risen // 1000
        words[W.REST] = risen % 1000
        if words[W.PERMILLE] >= target:
            words[W.PERMILLE] = target
            words[W.REST] = 0
        else:
            by = LIM_RISING
    permille = words[W.PERMILLE]
    if signals[I.ACTIONS] & (ACT_OPEN | ACT_ZERO):  # zero power, but afterwards the limit does not rise from zero
        permille = 0
        by = LIM_STATE
    signals[power] = words[W.MAX_W] // 1000 * permille + words[W.MAX_W] % 1000 * permille // 1000
    signals[reason] = by


class Side:
    """One direction. words: layout limit_side."""

    def __init__(self, temp, cell, soc, cell_signal, derate_action, max_W, current_dA):
        self._temp = temp
        best = 1
        for at in range(1, len(temp), 2):
            if temp[at] > temp[best]:
                best = at
        self._best_ddegC = temp[best - 1]
        self._cell = cell
        self._soc = soc
        self._cell_signal = cell_signal
        self.words = array("i", [0, LIM_NONE, 0, 0, derate_action, max_W, current_dA, 1000, 0, 0])

    def look_up(self, s):
        """Read the tables at the present cell state: 5 interpolations, a slot of the scan."""
        temp = self._temp
        cell = self._cell
        soc = self._soc
        _look_up(s, temp, len(temp), self._best_ddegC, cell, len(cell), self._cell_signal, soc, len(soc), self.words)


class Limits:
    """Both directions: `slot` reads the tables, `scan` applies them and writes power and reason of each limit."""

    def __init__(self, params, s):
        self._s = s
        self._p = params
        p = params
        levels = p.alarms_levels
        part = p.limit_current_permille
        self.charge = Side(
            p.limit_charge_temp, p.limit_charge_cell, p.limit_charge_soc, I.CELL_MAX_mV,
            ACT_LIMIT_CHARGE, p.rack_power_max_W, -levels[_CHARGE_DERATE] * part // 1000,
        )  # fmt: skip
        self.discharge = Side(
            p.limit_discharge_temp, p.limit_discharge_cell, p.limit_discharge_soc, I.CELL_MIN_mV,
            ACT_LIMIT_DISCHARGE, p.rack_power_max_W, levels[_DISCHARGE_DERATE] * part // 1000,
        )  # fmt: skip
        self._charge = self.charge.words
        self._discharge = self.discharge.words

    def fixed(self):
        """Words that never change: (array, first, end)."""
        return tuple([(words, W.DERATE_ACTION, W.CURRENT_dA + 1) for words in (self._charge, self._discharge)])

    def start(self):
        """Begin at the limits of the tables: the slow rise is for a limit that has been low."""
        for side in (self.charge, self.discharge):
            side.look_up(self._s)
            side.words[W.PERMILLE] = side.words[W.TABLE]
            side.words[W.CEILING] = 1000

    def slot(self, side, ms):
        """Read the tables of one side, 0 charge, 1 discharge, ms after the last time. Does not allocate."""
        s = self._s
        hold_ms = self._p.limit_hold_ms
        if side:
            self.discharge.look_up(s)
            _lift(self._discharge, s[I.REQUEST_W], ms, hold_ms)
        else:
            self.charge.look_up(s)
            _lift(self._charge, -s[I.REQUEST_W], ms, hold_ms)

    def scan(self, dt):
        """Apply alarms and the slow rise; dt: ms since the last scan, up to 1000."""
        s = self._s
        p = self._p
        derate = p.limit_derate_permille
        rise = p.limit_rise_permilleps * dt
        held = 1000 - p.limit_hold_permille
        apply_limit(self._charge, s, derate, held, rise, I.LIMIT_CHARGE_W, I.LIMIT_CHARGE_BY)
        apply_limit(self._discharge, s, derate, held, rise, I.LIMIT_DISCHARGE_W, I.LIMIT_DISCHARGE_BY)
