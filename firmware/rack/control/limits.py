"""Available power: how much the rack may be charged and discharged now, and what says so.

A limit that comes late is lithium plating, a cell over its voltage or a fire; a limit that comes
back at once makes the request chatter. So limits fall at once and rise slowly. Each limit is a
knot table over one quantity, in permille of the rack's power; the lowest wins and is named.
"""

from array import array

import micropython
from rack import ids as I
from rack.control.bits import (
    ACT_LIMIT_CHARGE,
    ACT_LIMIT_DISCHARGE,
    LIM_ALARM,
    LIM_CELL,
    LIM_CORE,
    LIM_NONE,
    LIM_RISING,
    LIM_SOC,
    LIM_TEMP_HIGH,
    LIM_TEMP_LOW,
)
from rack.control.fast import ptr32
from rack.control.interp import interpolate, scale


@micropython.viper
def _look_up(s, temp, temps: int, best: int, cell, cells: int, signal: int, soc, socs: int, out):
    """out: the lowest permille of the tables, and LIM_* of the one it comes from; best: where the heat begins."""
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
    o[0] = least
    o[1] = by


class Side:
    """One direction. permille, power_W: available; by: LIM_* that was the lowest."""

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
        self._derate_action = derate_action
        self.permille = 0       # available, after the slow rise
        self.by = LIM_RISING
        self.table = 0         # from the tables
        self.table_by = LIM_NONE
        self._rest = 0          # of the rise, permille * ms / s
        self._most_W = most_W
        self._scaled = -1       # the permille that power_W was made from
        self.power_W = 0
        self._out = array("i", [0, 0])

    def look_up(self, s):
        """Read the tables at the present cell state: 5 interpolations, a slot of the scan."""
        temp = self._temp
        cell = self._cell
        soc = self._soc
        out = self._out
        _look_up(s, temp, len(temp), self._best_ddegC, cell, len(cell), self._cell_signal, soc, len(soc), out)
        self.table = out[0]
        self.table_by = out[1]

    def apply(self, actions, derate, rise, dt):
        """Fall at once to what tables and alarms allow, rise by `rise` permille per second."""
        target = self.table
        by = self.table_by
        if actions & self._derate_action and derate < target:
            target = derate
            by = LIM_ALARM
        if target <= self.permille:
            self.permille = target
            self._rest = 0
        else:
            grown = self._rest + rise * dt
            self.permille += grown // 1000
            self._rest = grown % 1000
            if self.permille >= target:
                self.permille = target
                self._rest = 0
            else:
                by = LIM_RISING
        self.by = by
        if self.permille != self._scaled:
            self._scaled = self.permille
            self.power_W = scale(self._most_W, self.permille, 1000)


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

    def start(self):
        """Begin at what the tables allow: the slow rise is for a limit that has been low."""
        self.slot(0)
        self.slot(1)
        self.charge.permille = self.charge.table
        self.discharge.permille = self.discharge.table

    def slot(self, side):
        """Read the tables of one side, 0 charge, 1 discharge; several times a second, no allocation."""
        (self.discharge if side else self.charge).look_up(self._s)

    def scan(self, dt):
        """Apply alarms and the slow rise; dt: ms since the last scan, up to 1000."""
        s = self._s
        p = self._p
        actions = s[I.ACTIONS]
        derate = p.limit_derate_permille
        rise = p.limit_rise_permilleps
        side = self.charge
        side.apply(actions, derate, rise, dt)
        s[I.LIMIT_CHARGE_W] = side.power_W
        s[I.LIMIT_CHARGE_BY] = side.by
        side = self.discharge
        side.apply(actions, derate, rise, dt)
        s[I.LIMIT_DISCHARGE_W] = side.power_W
        s[I.LIMIT_DISCHARGE_BY] = side.by
