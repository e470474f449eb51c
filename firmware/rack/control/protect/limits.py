"""Available power: how much the rack may be charged and discharged now, and what says so.

A limit that comes late is lithium plating, a cell over its voltage or a fire; a limit that comes
back at once makes the request chatter. So limits fall at once and rise slowly. Each limit is a
knot table over one quantity, in permille of the rack's power; the lowest wins and is named.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
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

# words of a Side
TABLE = const(0)            # permille, from the tables
TABLE_BY = const(1)         # LIM_* of the lowest of them
PERMILLE = const(2)         # available, after the slow rise
_REST = const(3)            # of the rise, permille * ms / s
_DERATE_ACTION = const(4)
_MOST_W = const(5)


@micropython.viper
def _look_up(s, temp, temps: int, best: int, cell, cells: int, signal: int, soc, socs: int, out):
    """out: TABLE and TABLE_BY, words of a Side; best: where the heat begins."""
    v = ptr32(s)
    o = ptr32(out)
    coldest = v[I.TEMP_MIN_ddegC]
    hottest = v[I.TEMP_MAX_ddegC]
    least = 1000
    by = LIM_NONE
    x = int(interpolate(temp, temps, coldest))
    if x < least:
        least = x
        by = LIM_TEMP_LOW if coldest < best else LIM_TEMP_HIGH
    x = int(interpolate(temp, temps, hottest))
    if x < least:
        least = x
        by = LIM_TEMP_LOW if hottest < best else LIM_TEMP_HIGH
    x = int(interpolate(temp, temps, v[I.CORE_MAX_ddegC]))
    if x < least:
        least = x
        by = LIM_CORE
    x = int(interpolate(cell, cells, v[signal]))
    if x < least:
        least = x
        by = LIM_CELL
    x = int(interpolate(soc, socs, v[I.SOC_cpct]))
    if x < least:
        least = x
        by = LIM_SOC
    o[TABLE] = least
    o[TABLE_BY] = by


@micropython.viper
def _apply(w: ptr32, s: ptr32, derate: int, grow: int, power: int, reason: int):
    """Fall at once to what tables and alarms allow, rise by `grow`; power, reason: the signals that this goes into."""
    target = w[TABLE]
    by = w[TABLE_BY]
    if s[I.ACTIONS] & w[_DERATE_ACTION] and derate < target:
        target = derate
        by = LIM_ALARM
    if target <= w[PERMILLE]:
        w[PERMILLE] = target
        w[_REST] = 0
    else:
        grown = w[_REST] + grow
        w[PERMILLE] += grown // 1000
        w[_REST] = grown % 1000
        if w[PERMILLE] >= target:
            w[PERMILLE] = target
            w[_REST] = 0
        else:
            by = LIM_RISING
    permille = w[PERMILLE]
    if s[I.ACTIONS] & (ACT_OPEN | ACT_ZERO):    # nothing is available, and afterwards no rise from nothing
        permille = 0
        by = LIM_STATE
    s[power] = w[_MOST_W] // 1000 * permille + w[_MOST_W] % 1000 * permille // 1000
    s[reason] = by


class Side:
    """One direction. words: TABLE, TABLE_BY and PERMILLE, and what the kernel needs beside them."""

    def __init__(self, temp, cell, soc, cell_signal, derate_action, most_W):
        self._temp = temp
        best = 1
        for at in range(1, len(temp), 2):
            if temp[at] > temp[best]:
                best = at
        self._best_ddegC = temp[best - 1]   # below it the cold limits, above it the heat
        self._cell = cell
        self._soc = soc
        self._cell_signal = cell_signal
        self.words = array("i", [0, LIM_NONE, 0, 0, derate_action, most_W])

    def look_up(self, s):
        """Read the tables at the present cell state: 5 interpolations, a slot of the scan."""
        temp = self._temp
        cell = self._cell
        soc = self._soc
        _look_up(s, temp, len(temp), self._best_ddegC, cell, len(cell), self._cell_signal, soc, len(soc), self.words)


class Limits:
    """Both directions; `slot` reads the tables, `scan` applies them and writes W and reasons."""

    def __init__(self, params, s):
        self._s = s
        self._p = params
        p = params
        self.charge = Side(
            p.limit_charge_temp, p.limit_charge_cell, p.limit_charge_soc, I.CELL_MAX_mV,
            ACT_LIMIT_CHARGE, p.rack_power_max_W,
        )
        self.discharge = Side(
            p.limit_discharge_temp, p.limit_discharge_cell, p.limit_discharge_soc, I.CELL_MIN_mV,
            ACT_LIMIT_DISCHARGE, p.rack_power_max_W,
        )
        self._charge = self.charge.words
        self._discharge = self.discharge.words

    def start(self):
        """Begin at what the tables allow: the slow rise is for a limit that has been low."""
        for side in (self.charge, self.discharge):
            side.look_up(self._s)
            side.words[PERMILLE] = side.words[TABLE]

    def slot(self, side):
        """Read the tables of one side, 0 charge, 1 discharge; several times a second, no allocation."""
        (self.discharge if side else self.charge).look_up(self._s)

    def scan(self, dt):
        """Apply alarms and the slow rise; dt: ms since the last scan, up to 1000."""
        s = self._s
        p = self._p
        derate = p.limit_derate_permille
        grow = p.limit_rise_permilleps * dt
        _apply(self._charge, s, derate, grow, I.LIMIT_CHARGE_W, I.LIMIT_CHARGE_BY)
        _apply(self._discharge, s, derate, grow, I.LIMIT_DISCHARGE_W, I.LIMIT_DISCHARGE_BY)
