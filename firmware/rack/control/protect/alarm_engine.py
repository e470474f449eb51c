"""The loop over all alarms: debounce, hysteresis, latching, and what they demand together.

The hazard is an alarm that is handled differently from the others; here there is one kernel over
flat rows, and each row is data. Times are counted from the elapsed milliseconds of each scan and
saturate, so the wrap of the clock does not exist here.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.base.viper import ptr8, ptr32
from rack.generated.tables import ALARM_ROWS, ALARMS

# columns of a row of ALARM_ROWS, bytes
_ABOVE = const(1)           # 1 sets above, 0 below; it clears the other way round. Column 0: the signal
_LEVEL = const(2)
_ACTIONS = const(3)
_LATCH = const(4)           # 1 always, 2 when energised
_COLUMNS = const(5)

# columns of alarms_levels; column 0: set
_CLEAR = const(1)
_SET_ms = const(2)
_CLEAR_ms = const(3)
_LIMITS = const(4)

# state of an alarm; 0: off
ON = const(1)
LATCHED = const(2)          # with ON: stays until reset

# words of `out`
OUT_COUNT = const(0)        # rows
OUT_TRIP = const(1)         # code of the first latched trip
OUT_LATCHED = const(2)      # how many alarms are latched
OUT_EVENTS = const(3)       # alarms that came or went in this scan
OUT_EVENT = const(4)        # their codes, negative when it went
EVENTS = const(16)          # room for so many

MODE_ENERGISED = const(1)
MODE_RESET = const(2)
_TIME_MOST = const(1 << 28)


@micropython.viper
def _evaluate(i: int, x: int, t: ptr32, v: ptr32, r: ptr8, q: ptr32, a: ptr32, o: ptr32, dt: int, mode: int):  # noqa: C901 one loop
    """i, x: 0, as the first three arguments live in registers. t: timers, v: signals, r: rows, q: limits, a: active."""
    n = o[OUT_COUNT]
    actions = 0
    level = 0
    latched = 0
    events = 0
    row = 0
    limits = 0
    while i < n:
        x = v[r[row]]
        above = int(r[row + _ABOVE])
        limit = q[limits]
        state = a[i]
        if state != 0:
            above = 1 - above
            limit = q[limits + _CLEAR]
        met = 0
        if above != 0:
            if x >= limit:
                met = 1
        elif x <= limit:
            met = 1
        if met == 0:
            t[i] = -1
        else:
            x = t[i]
            if x < 0:
                x = 0
            elif x < _TIME_MOST:
                x += dt
            t[i] = x
            wanted = q[limits + _SET_ms]
            if state != 0:
                wanted = q[limits + _CLEAR_ms]
            if x >= wanted:
                change = 0
                if state == 0:
                    state = 1
                    kind = int(r[row + _LATCH])
                    if kind == 1 or (kind == 2 and (mode & MODE_ENERGISED)):
                        state = 3
                        if o[OUT_TRIP] == 0 and int(r[row + _LEVEL]) == 3:
                            o[OUT_TRIP] = i + 1
                    change = i + 1
                elif state == 1 or (mode & MODE_RESET):
                    state = 0
                    change = -1 - i
                if change != 0:
                    a[i] = state
                    t[i] = -1
                    if events < EVENTS:
                        o[OUT_EVENT + events] = change
                    events += 1
        if state != 0:
            actions |= int(r[row + _ACTIONS])
            if int(r[row + _LEVEL]) > level:
                level = int(r[row + _LEVEL])
            if state == 3:
                latched += 1
        i += 1
        row += _COLUMNS
        limits += _LIMITS
    o[OUT_LATCHED] = latched
    o[OUT_EVENTS] = events
    if latched == 0:
        o[OUT_TRIP] = 0
    v[I.ACTIONS] = actions
    v[I.ALARM_LEVEL] = level
    v[I.TRIP_CODE] = o[OUT_TRIP]


class Alarms:
    """All alarms of a rack. `active` holds a state per row, `out` the OUT_* words of the last scan."""

    def __init__(self, params, s):
        self._s = s
        self._limits = params.alarms_levels
        self._timers = array("i", [-1] * ALARMS)
        self.active = array("i", [0] * ALARMS)
        self.out = array("i", [0] * (OUT_EVENT + EVENTS))
        self.out[OUT_COUNT] = ALARMS

    def scan(self, dt, energised, reset):
        """Evaluate every row; dt: ms since the last scan; reset: release latched rows whose cause is gone."""
        mode = (MODE_ENERGISED if energised else 0) | (MODE_RESET if reset else 0)
        _evaluate(0, 0, self._timers, self._s, ALARM_ROWS, self._limits, self.active, self.out, dt, mode)

    def latch(self, code):
        """Restore an alarm that was latched before the power went; 0 or a code that there is not does nothing."""
        if 0 < code <= ALARMS and ALARM_ROWS[5 * code - 1]:
            self.active[code - 1] = ON | LATCHED
            self._timers[code - 1] = -1
            if self.out[OUT_TRIP] == 0:
                self.out[OUT_TRIP] = code
