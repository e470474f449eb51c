"""What happened around an event: a ring of frequency, request, power and limits, one entry per period.

Written in the interrupt, frozen after a trigger with its past kept, read by the console as CSV. An
event that nobody recorded is argued about for months. Memory is dear on the board: an entry is seven
16-bit numbers, powers in units of 1/30 000 of the contracted power. Noise on the mains input must not push the past
out of the ring: an entry wants a period's time since the one before, whatever edges there are and of how many phases.
"""

from array import array

import micropython
from micropython import const

from rack.generated import ids as I
from rack.generated import response_state as K
from rack.base.viper import ptr16, ptr32

FIELDS = ("deviation_dmHz", "response_W", "request_W", "pcs_W", "charge_W", "discharge_W", "clock")
COLUMNS = "t_ms," + ",".join(FIELDS[:-1])

_ENTRIES = const(256)
_NEXT = const(255)
_WIDTH = const(7)
_POWERS = const(5)
_MOST = const(32_767)
_CLOCK = const(0xFFFF)          # of 160 us: 10 s before and after the trigger
_FULL_SCALE = const(30_000)
_PERIOD = const(1_500)          # of 10 us, between 2/3 of a period and a whole one from 45 to 66 Hz
_SILENCE_ms = const(1_000)      # without mains for so long no entry comes any more: mains is lost

# The state
_AT = const(0)          # where the next entry goes
_COUNT = const(1)       # entries written, up to _ENTRIES
_LEFT = const(2)        # entries until frozen; -1: not triggered
_TRIGGER = const(3)     # deviation that triggers, 0.1 mHz
_AFTER = const(4)       # entries after the trigger
_CAUSE = const(5)
_UNIT_W = const(6)
_ROW = const(7)         # the powers of one entry; the scan leaves the PCS's here
_PCS_W = const(9)
_SINCE = const(12)      # entries since the trigger
_TRIPPED = const(13)    # a trip was latched at the last scan
_LAST = const(14)       # the response's clock at the newest entry
_SILENT = const(15)     # no mains at the last scan
_STATES = const(16)

CAUSE_NONE = const(0)
CAUSE_FREQUENCY = const(1)
CAUSE_TRIP = const(2)
CAUSE_COMMAND = const(3)
CAUSES = b"none|frequency|trip|command"     # texts of CAUSE_*, in their order


@micropython.viper
def record_kernel(m: ptr32, ring: ptr16, k: ptr32):
    """Append one entry a period unless frozen. m: state; k: the response's state. Interrupt context.

    Only what was measured: while mains is lost the scan moves the clock, and an edge is no period.
    """
    left = m[_LEFT]
    clock = k[K.CLOCK_NOW]
    if left != 0 and k[K.FILLED] != 0 and (clock - m[_LAST]) & K.CLOCK >= _PERIOD:
        m[_LAST] = clock
        deviation = k[K.DEVIATION]
        if left > 0:
            m[_LEFT] = left - 1
            m[_SINCE] += 1
        elif k[K.FILLED] >= k[K.WINDOW] and (deviation > m[_TRIGGER] or deviation < 0 - m[_TRIGGER]):
            m[_LEFT] = m[_AFTER]
            m[_CAUSE] = 1
        at = m[_AT]
        e = at * _WIDTH
        value = deviation
        if value > _MOST:
            value = _MOST
        elif value < 0 - _MOST:
            value = 0 - _MOST
        ring[e] = value
        m[_ROW] = k[K.RESPONSE]
        m[_ROW + 1] = k[K.REQUEST]
        m[_ROW + 3] = k[K.CHARGE]
        m[_ROW + 4] = k[K.DISCHARGE]
        unit = m[_UNIT_W]
        i = 0
        while i < _POWERS:
            value = m[_ROW + i] // unit
            if value > _MOST:
                value = _MOST
            elif value < 0 - _MOST:
                value = 0 - _MOST
            i += 1
            ring[e + i] = value
        ring[e + 6] = ((clock >> 4) & _CLOCK) - _MOST - 1
        m[_AT] = (at + 1) & _NEXT
        if m[_COUNT] < _ENTRIES:
            m[_COUNT] += 1


@micropython.viper
def _watch(m: ptr32, s: ptr32):
    """Pass on the PCS's power; a new trip triggers as Recorder.trigger, a loss of mains ends the trace.

    Were the ring to go on behind the loss, the next minute would push out what led to it, and times would wrap.
    """
    m[_PCS_W] = s[I.PCS_POWER_W]
    tripped = 1 if s[I.TRIP_CODE] != 0 else 0
    silent = 1 if s[I.GRID_AGE_ms] > _SILENCE_ms else 0
    if m[_LEFT] < 0 and m[_COUNT] > 0:      # an empty trace would hold the place of the next event
        if tripped > m[_TRIPPED]:
            m[_CAUSE] = CAUSE_TRIP
            m[_SINCE] = 0
            m[_LEFT] = m[_AFTER]
        elif silent > m[_SILENT]:           # mains that returns is still told as lost with its first entry
            m[_CAUSE] = CAUSE_FREQUENCY
            m[_SINCE] = 0
            m[_LEFT] = 0
    if silent != 0 and m[_LEFT] > 0:
        m[_LEFT] = 0
    m[_TRIPPED] = tripped
    m[_SILENT] = silent


class Recorder:
    """on_period after the request is on its way; scan each scan; lines() in idle time."""

    def __init__(self, params, response, s):
        self._s = s
        self._response_state = response.state
        self._ring = array("h", bytes(2 * _ENTRIES * _WIDTH))
        self._m = m = array("i", [0] * _STATES)
        m[_TRIGGER] = params.recorder_trigger_mHz * 10
        m[_AFTER] = params.recorder_after
        m[_LEFT] = -1
        m[_UNIT_W] = max(params.rack_power_max_W, response.contracted_W) // _FULL_SCALE + 1
        m[_SILENT] = 1          # mains that was never there is not lost
        m[_TRIPPED] = 1         # so a trip that was kept over a restart triggers nothing

    @property
    def arrays(self):
        """State and ring: what `on_period` gives to record_kernel, for a port that calls it itself."""
        return self._m, self._ring

    def on_period(self):
        """Interrupt context, does not allocate."""
        record_kernel(self._m, self._ring, self._response_state)

    def scan(self):
        """Pass on the PCS's power and let a new trip trigger. Scan context, does not allocate."""
        _watch(self._m, self._s)

    def trigger(self, cause):
        """Freeze after the configured number of periods; a trace already triggered keeps its cause."""
        m = self._m
        if m[_LEFT] < 0:
            m[_CAUSE] = cause
            m[_SINCE] = 0
            m[_LEFT] = m[_AFTER]

    def freeze(self):
        """Freeze what is there now."""
        self.trigger(CAUSE_COMMAND)
        self._m[_LEFT] = 0

    def rearm(self):
        """Forget the frozen trace and record again."""
        m = self._m
        m[_LEFT] = 0
        m[_CAUSE] = CAUSE_NONE
        m[_COUNT] = 0
        m[_SINCE] = 0
        m[_LEFT] = -1

    @property
    def frozen(self):
        return self._m[_LEFT] == 0

    @property
    def cause(self):
        """CAUSE_* of the trigger, CAUSE_NONE while waiting for one."""
        return self._m[_CAUSE]

    def __len__(self):
        return self._m[_COUNT]

    def entry(self, index, into):
        """Copy entry `index` (0 the oldest) into a list or array of len(FIELDS), powers in W to within the unit.

        The last field is a clock in units of 160 us that wraps at 2**16. Only sound when frozen.
        """
        m = self._m
        at = ((m[_AT] - m[_COUNT] + index) & _NEXT) * _WIDTH
        for i in range(_WIDTH):
            value = self._ring[at + i]
            into[i] = value * m[_UNIT_W] if 1 <= i <= _POWERS else value

    def lines(self):
        """CSV lines under COLUMNS, oldest first, time in ms against the trigger. Idle context, allocates."""
        row = [0] * _WIDTH
        trigger = max(0, len(self) - 1 - self._m[_SINCE])
        self.entry(trigger, row)
        origin = row[-1]
        for index in range(len(self)):
            self.entry(index, row)
            at = -((origin - row[-1]) & _CLOCK) if index < trigger else (row[-1] - origin) & _CLOCK
            yield "%d" % (at * 16 // 100) + ",%d,%d,%d,%d,%d,%d" % tuple(row[:-1])
