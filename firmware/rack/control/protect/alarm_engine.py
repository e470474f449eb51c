"""Evaluate all alarms: debounce, hysteresis, latching, and the actions that they demand together.

The hazard is an alarm that is handled differently from the others. So one kernel runs over flat rows, and each row
is data. Timers count the milliseconds of each scan and saturate, so they do not depend on the wrap of the clock.
"""

from array import array

import micropython
from micropython import const
from rack.generated import alarm_levels as L
from rack.generated import alarm_output as O
from rack.generated import alarm_row as R
from rack.generated import ids as I
from rack.base.viper import ptr8, ptr32
from rack.definitions.codes import LEVEL_TRIP
from rack.generated.tables import ALARM_ROWS, ALARMS

# state of an alarm; 0: off
ON = const(1)
LATCHED = const(2)          # with ON: stays until reset
_ON_AND_LATCHED = const(3)

MODE_ENERGISED = const(1)   # bit 0 of LATCH_*; the other bits of a mode are the rights of a reset, RIGHT_*
_RIGHTS = const(0xFE)

# answer of `releasable`, besides the rights of the latched rows that a reset releases
CAUSE_THERE = const(1 << 8)     # a row could be released, but its cause is still there
MISSING_SHIFT = const(16)       # rights that other latched rows need
_MAX_TIME_ms = const(1 << 28)


@micropython.viper
def _evaluate(  # noqa: C901 one loop
    row: int, value: int, timers: ptr32, signals: ptr32, rows: ptr8, levels: ptr32, active: ptr32, output: ptr32,
    dt: int, mode: int,
):  # fmt: skip
    """Evaluate every row; mode: MODE_ENERGISED and the rights of a reset.

    Pass 0 as `row` and `value`: the first three arguments live in registers.

    timers: ms that each alarm has met its present threshold, -1 if it does not.
    """
    actions = 0
    highest = 0
    latched = 0
    transitions = 0
    column = 0
    limits = 0
    while row < ALARMS:
        value = signals[rows[column]]
        above = int(rows[column + R.ABOVE])
        limit = levels[limits]
        state = active[row]
        if state != 0:
            above = 1 - above
            limit = levels[limits + L.CLEAR]
        met = 0
        if above != 0:
            if value >= limit:
                met = 1
        elif value <= limit:
            met = 1
        if met == 0:
            timers[row] = -1
        else:
            value = timers[row]
            if value < 0:
                value = 0
            elif value < _MAX_TIME_ms:
                value += dt
            timers[row] = value
            wanted = levels[limits + L.SET_ms]
            if state != 0:
                wanted = levels[limits + L.CLEAR_ms]
            if value >= wanted:
                change = 0
                if state == 0:
                    state = ON
                    latch = int(rows[column + R.LATCH])
                    if latch != 0 and (latch & MODE_ENERGISED == 0 or mode & MODE_ENERGISED):
                        state = _ON_AND_LATCHED
                        if output[O.TRIP] == 0 and int(rows[column + R.LEVEL]) == LEVEL_TRIP:
                            output[O.TRIP] = row + 1
                    change = row + 1
                elif state == ON or (mode & int(rows[column + R.LATCH]) & _RIGHTS):
                    state = 0
                    change = -1 - row
                if change != 0:
                    active[row] = state
                    timers[row] = -1
                    if transitions < O.MAX_TRANSITIONS:
                        output[O.TRANSITION + transitions] = change
                    transitions += 1
        if state != 0:
            actions |= int(rows[column + R.ACTIONS])
            if int(rows[column + R.LEVEL]) > highest:
                highest = int(rows[column + R.LEVEL])
            if state == _ON_AND_LATCHED:
                latched += 1
        row += 1
        column += R.WIDTH
        limits += L.WIDTH
    output[O.LATCHED] = latched
    output[O.TRANSITIONS] = transitions
    if latched == 0:
        output[O.TRIP] = 0
    signals[I.ACTIONS] = actions
    signals[I.ALARM_LEVEL] = highest
    signals[I.TRIP_CODE] = output[O.TRIP]


@micropython.viper
def _releasable(
    active: ptr32, rows: ptr8, levels: ptr32, timers: ptr32, signals: ptr32, count: int, dt: int, rights: int,
) -> int:  # fmt: skip
    """Sort the latched rows by the effect of a reset dt ms later; see CAUSE_THERE and MISSING_SHIFT."""
    answer = 0
    row = 0
    while row < count:
        if active[row] == _ON_AND_LATCHED:
            column = R.WIDTH * row
            latch = int(rows[column + R.LATCH]) & _RIGHTS
            value = signals[rows[column]]
            clear = levels[L.WIDTH * row + L.CLEAR]
            wait = levels[L.WIDTH * row + L.CLEAR_ms]
            gone = 0
            if int(rows[column + R.ABOVE]):
                if value <= clear:
                    gone = 1
            elif value >= clear:
                gone = 1
            if latch & rights == 0:
                answer |= latch << MISSING_SHIFT
            elif gone != 0 and (wait == 0 or timers[row] + dt >= wait):
                answer |= latch
            else:
                answer |= CAUSE_THERE
        row += 1
    return answer


class Alarms:
    """All alarms of a rack. `active` holds a state for each row, `out` the alarm_output words of the last scan."""

    def __init__(self, params, s):
        self._s = s
        self._levels = params.alarms_levels
        self._scan_ms = params.rack_scan_ms
        self.timers = array("i", [-1] * ALARMS)
        self.active = array("i", [0] * ALARMS)
        self.out = array("i", [0] * O.WORDS)

    def scan(self, dt, energised, rights):
        """Evaluate every row; dt: ms since the last scan.

        rights: RIGHT_* of a reset, which release latched rows whose cause is gone; 0 without a reset.
        """
        mode = (MODE_ENERGISED if energised else 0) | rights & _RIGHTS
        _evaluate(0, 0, self.timers, self._s, ALARM_ROWS, self._levels, self.active, self.out, dt, mode)

    def releasable(self, rights):
        """Rights of the latched rows that a reset with these rights would release in the next scan.

        Also CAUSE_THERE, and the rights that other rows need from bit MISSING_SHIFT on. Main loop, no allocation.
        """
        dt = self._scan_ms
        return _releasable(self.active, ALARM_ROWS, self._levels, self.timers, self._s, ALARMS, dt, rights)

    def latch(self, code):
        """Restore an alarm that was latched before the power loss; ignores 0 and codes that cannot latch."""
        if 0 < code <= ALARMS and ALARM_ROWS[R.WIDTH * (code - 1) + R.LATCH]:
            self.active[code - 1] = ON | LATCHED
            self.timers[code - 1] = -1
            if self.out[O.TRIP] == 0:
                self.out[O.TRIP] = code
