"""The loop over all alarms: debounce, hysteresis, latching, and what they demand together.

The hazard is an alarm that is handled differently from the others; here there is one kernel over
flat rows, and each row is data. Times are counted from the elapsed milliseconds of each scan and
saturate, so the wrap of the clock does not exist here.
"""

from array import array

import micropython
from micropython import const
from rack import ids as I
from rack.control.fast import ptr32
from rack.tables import ALARM_ROWS, ALARMS

# columns of a row
_SIGNAL = const(0)
_SIGN = const(1)            # 1 above, -1 below: a row compares sign * value
_SET = const(2)
_CLEAR = const(3)
_SET_ms = const(4)
_CLEAR_ms = const(5)
_FLAGS = const(6)           # level | latched << 2 | actions << 4
_SHIFT = const(3)           # 8 columns

# state of an alarm
OFF = const(0)
ON = const(1)
LATCHED = const(2)          # with ON: stays until reset

# words of `out`
OUT_COUNT = const(0)        # rows
OUT_ACTIONS = const(1)
OUT_LEVEL = const(2)
OUT_TRIP = const(3)         # code of the first latched trip
OUT_LATCHED = const(4)      # how many alarms are latched
OUT_EVENTS = const(5)       # alarms that came or went in this scan
OUT_EVENT = const(6)        # their codes, negative when it went
EVENTS = const(16)          # room for so many

MODE_ENERGISED = const(1)
MODE_RESET = const(2)
_TIME_MOST = const(1 << 28)


@micropython.viper
def _evaluate(rows, s, timers, active, out, dt: int, mode: int):  # noqa: C901 one loop over all alarms
    r = ptr32(rows)
    v = ptr32(s)
    t = ptr32(timers)
    a = ptr32(active)
    o = ptr32(out)
    n = o[OUT_COUNT]
    actions = 0
    level = 0
    latched = 0
    events = 0
    i = 0
    while i < n:
        b = i << _SHIFT
        x = v[r[b + _SIGNAL]] * r[b + _SIGN]
        flags = r[b + _FLAGS]
        state = a[i]
        if state == 0:
            wanted = r[b + _SET_ms]
            met = 1 if x >= r[b + _SET] else 0
        else:
            wanted = r[b + _CLEAR_ms]
            met = 1 if x <= r[b + _CLEAR] else 0
        if met == 0:
            t[i] = -1
        else:
            if t[i] < 0:
                t[i] = 0
            elif t[i] < _TIME_MOST:
                t[i] = t[i] + dt
            if t[i] >= wanted:
                kind = (flags >> 2) & 3
                if state == 0:
                    state = 1
                    if kind == 1 or (kind == 2 and (mode & MODE_ENERGISED)):
                        state = 3
                        if o[OUT_TRIP] == 0 and (flags & 3) == 3:
                            o[OUT_TRIP] = i + 1
                    change = i + 1
                elif state == 1 or (mode & MODE_RESET):
                    state = 0
                    change = -1 - i
                else:
                    change = 0
                if change != 0:
                    a[i] = state
                    t[i] = -1
                    if events < EVENTS:
                        o[OUT_EVENT + events] = change
                    events += 1
        if state != 0:
            actions |= flags >> 4
            if (flags & 3) > level:
                level = flags & 3
            if state == 3:
                latched += 1
        i += 1
    o[OUT_ACTIONS] = actions
    o[OUT_LEVEL] = level
    o[OUT_LATCHED] = latched
    o[OUT_EVENTS] = events
    if latched == 0:
        o[OUT_TRIP] = 0


class Alarms:
    """All alarms of a rack. `active` holds a state per row, `out` the OUT_* words of the last scan."""

    def __init__(self, params, s):
        self._s = s
        n = ALARMS
        self._rows = array("i", [0] * (n << _SHIFT))
        self._timers = array("i", [-1] * n)
        self.active = array("i", [0] * n)
        self.out = array("i", [0] * (OUT_EVENT + EVENTS))
        self.out[OUT_COUNT] = n
        for at in range(n):
            self._store_row(at, ALARM_ROWS[5 * at : 5 * at + 5], params.alarms_levels)

    def _store_row(self, at, row, levels):
        b = at << _SHIFT
        sign = 1 if row[1] else -1
        self._rows[b + _SIGNAL] = row[0]
        self._rows[b + _SIGN] = sign
        self._rows[b + _SET] = sign * levels[4 * at]
        self._rows[b + _CLEAR] = sign * levels[4 * at + 1]
        self._rows[b + _SET_ms] = levels[4 * at + 2]
        self._rows[b + _CLEAR_ms] = levels[4 * at + 3]
        self._rows[b + _FLAGS] = row[2] | row[4] << 2 | row[3] << 4

    def scan(self, dt, energised, reset):
        """Evaluate every row; dt: ms since the last scan; reset: release latched rows whose cause is gone."""
        mode = (MODE_ENERGISED if energised else 0) | (MODE_RESET if reset else 0)
        _evaluate(self._rows, self._s, self._timers, self.active, self.out, dt, mode)
        s = self._s
        s[I.ACTIONS] = self.out[OUT_ACTIONS]
        s[I.ALARM_LEVEL] = self.out[OUT_LEVEL]
        s[I.TRIP_CODE] = self.out[OUT_TRIP]

    def latch(self, code):
        """Restore an alarm that was latched before the power went, as the deep discharge is."""
        if ALARM_ROWS[5 * code - 1]:
            self.active[code - 1] = ON | LATCHED
            self._timers[code - 1] = -1
            if self.out[OUT_TRIP] == 0:
                self.out[OUT_TRIP] = code

    def clearable(self):
        """True when a reset would release every latched alarm now: their causes have been gone long enough."""
        rows = self._rows
        for at in range(self.out[OUT_COUNT]):
            if self.active[at] & LATCHED and (self._timers[at] < rows[(at << _SHIFT) + _CLEAR_ms]):
                return False
        return True
