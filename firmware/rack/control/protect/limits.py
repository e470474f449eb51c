"""Available power: how much the rack may be charged and discharged now, and the reason for each limit.

A limit that comes late means lithium plating, a cell over its voltage or a fire; a limit that returns at once makes
the request chatter. So limits fall at once and rise slowly. Each limit is a knot table over one quantity, in permille
of the rack's power; the lowest applies and is reported.
"""

from array import array

import micropython
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
    LIM_NONE,
    LIM_RISING,
    LIM_SOC,
    LIM_STATE,
    LIM_TEMP_HIGH,
    LIM_TEMP_LOW,
)
from rack.base.viper import ptr32
from rack.control.interpolate import interpolate


@micropython.viper
def _look_up(image, temp, temp_ints: int, best: int, cell, cell_ints: int, cell_signal: int, soc, soc_ints: int, words):
    """Write TABLE and TABLE_BY of `words`. Tables with their lengths; best: temperature of the temp table's maximum.

    Below `best` the limit is LIM_TEMP_LOW, above it LIM_TEMP_HIGH.
    """
    signals = ptr32(image)
    output = ptr32(words)
    coldest = signals[I.TEMP_MIN_ddegC]
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
    output[W.TABLE] = lowest
    output[W.TABLE_BY] = by


@micropython.viper
def apply_limit(words: ptr32, signals: ptr32, derate: int, rise: int, power: int, reason: int):
    """Fall at once to the limit of tables and alarms, or rise by `rise`, permille * ms / s.

    derate: permille with a derate-level alarm; power, reason: indices of the signals to write.
    """
    target = words[W.TABLE]
    by = words[W.TABLE_BY]
    if signals[I.ACTIONS] & words[W.DERATE_ACTION] and derate < target:
        target = derate
        by = LIM_ALARM
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

    def __init__(self, temp, cell, soc, cell_signal, derate_action, max_W):
        self._temp = temp
        best = 1
        for at in range(1, len(temp), 2):
            if temp[at] > temp[best]:
                best = at
        self._best_ddegC = temp[best - 1]
        self._cell = cell
        self._soc = soc
        self._cell_signal = cell_signal
        self.words = array("i", [0, LIM_NONE, 0, 0, derate_action, max_W])

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
        self.charge = Side(
            p.limit_charge_temp, p.limit_charge_cell, p.limit_charge_soc, I.CELL_MAX_mV,
            ACT_LIMIT_CHARGE, p.rack_power_max_W,
        )  # fmt: skip
        self.discharge = Side(
            p.limit_discharge_temp, p.limit_discharge_cell, p.limit_discharge_soc, I.CELL_MIN_mV,
            ACT_LIMIT_DISCHARGE, p.rack_power_max_W,
        )  # fmt: skip
        self._charge = self.charge.words
        self._discharge = self.discharge.words

    def fixed(self):
        """Words that never change: (array, first, end)."""
        return tuple([(words, W.DERATE_ACTION, W.MAX_W + 1) for words in (self._charge, self._discharge)])

    def start(self):
        """Begin at the limits of the tables: the slow rise is for a limit that has been low."""
        for side in (self.charge, self.discharge):
            side.look_up(self._s)
            side.words[W.PERMILLE] = side.words[W.TABLE]

    def slot(self, side):
        """Read the tables of one side, 0 charge, 1 discharge; several times a second. Does not allocate."""
        (self.discharge if side else self.charge).look_up(self._s)

    def scan(self, dt):
        """Apply alarms and the slow rise; dt: ms since the last scan, up to 1000."""
        s = self._s
        p = self._p
        derate = p.limit_derate_permille
        rise = p.limit_rise_permilleps * dt
        apply_limit(self._charge, s, derate, rise, I.LIMIT_CHARGE_W, I.LIMIT_CHARGE_BY)
        apply_limit(self._discharge, s, derate, rise, I.LIMIT_DISCHARGE_W, I.LIMIT_DISCHARGE_BY)
