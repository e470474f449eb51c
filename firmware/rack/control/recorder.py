"""What happened around an event: a ring of frequency, request, power and limits, one entry per period.

Written in the interrupt, frozen after a trigger with its past kept, read by the console as CSV. An
event that nobody recorded is argued about for months.
"""

from array import array

import micropython
from micropython import const

from rack import ids as I
from rack.control import response_state as K
from rack.control.fast import ptr32

FIELDS = ("deviation_dmHz", "response_W", "request_W", "pcs_W", "charge_W", "discharge_W", "elapsed_10us")

_ENTRIES = const(256)
_NEXT = const(255)
_WIDTH = const(8)       # ints an entry takes, a power of two

# The state
_AT = const(0)          # where the next entry goes
_COUNT = const(1)       # entries written, up to _ENTRIES
_LEFT = const(2)        # entries until frozen; -1: not triggered
_TRIGGER = const(3)     # deviation that triggers, 0.1 mHz
_AFTER = const(4)       # entries after the trigger
_CAUSE = const(5)
_PCS_W = const(6)       # the scan leaves it here
_CLOCK_WAS = const(7)
_STATES = const(8)

CAUSE_NONE = const(0)
CAUSE_FREQUENCY = const(1)
CAUSE_TRIP = const(2)
CAUSE_COMMAND = const(3)


@micropython.viper
def record_kernel(m: ptr32, ring: ptr32, k: ptr32):
    """Append one entry unless frozen. m: state; k: the response's state. Interrupt context."""
    left = m[_LEFT]
    if left != 0:
        deviation = k[K.DEVIATION]
        if left > 0:
            m[_LEFT] = left - 1
        elif deviation > m[_TRIGGER] or deviation < 0 - m[_TRIGGER]:
            m[_LEFT] = m[_AFTER]
            m[_CAUSE] = 1
        at = m[_AT]
        e = at * _WIDTH
        ring[e] = deviation
        ring[e + 1] = k[K.RESPONSE]
        ring[e + 2] = k[K.REQUEST]
        ring[e + 3] = m[_PCS_W]
        ring[e + 4] = k[K.CHARGE]
        ring[e + 5] = k[K.DISCHARGE]
        ring[e + 6] = (k[K.CLOCK_NOW] - m[_CLOCK_WAS]) & 0xFFF_FFFF
        m[_CLOCK_WAS] = k[K.CLOCK_NOW]
        m[_AT] = (at + 1) & _NEXT
        if m[_COUNT] < _ENTRIES:
            m[_COUNT] += 1


class Recorder:
    """on_period after the request is on its way; scan each scan; rows() in idle time."""

    def __init__(self, params, response, s):
        self._s = s
        self._response_state = response.state
        self._ring = array("i", [0] * (_ENTRIES * _WIDTH))
        self._m = array("i", [0] * _STATES)
        self._m[_TRIGGER] = params.recorder_trigger_mHz * 10
        self._m[_AFTER] = params.recorder_after
        self._m[_LEFT] = -1
        self._tripped = False

    def on_period(self):
        """Interrupt context, does not allocate."""
        record_kernel(self._m, self._ring, self._response_state)

    def scan(self):
        """Pass on the PCS's power and let a new trip trigger. Scan context, does not allocate."""
        s = self._s
        self._m[_PCS_W] = s[I.PCS_POWER_W]
        tripped = s[I.TRIP_CODE] != 0
        if tripped and not self._tripped:
            self.trigger(CAUSE_TRIP)
        self._tripped = tripped

    def trigger(self, cause):
        """Freeze after the configured number of periods; a trace already triggered keeps its cause."""
        m = self._m
        if m[_LEFT] < 0:
            m[_CAUSE] = cause
            m[_LEFT] = m[_AFTER]

    def rearm(self):
        """Forget the frozen trace and record again."""
        m = self._m
        m[_LEFT] = 0
        m[_CAUSE] = CAUSE_NONE
        m[_COUNT] = 0
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
        """Copy entry `index` (0 the oldest) into a list or array of len(FIELDS). Only sound when frozen."""
        m = self._m
        at = ((m[_AT] - m[_COUNT] + index) & _NEXT) * _WIDTH
        for i in range(len(FIELDS)):
            into[i] = self._ring[at + i]

    def lines(self):
        """The trace as CSV lines, oldest first, with the time in ms against the trigger. Idle context, allocates."""
        yield "t_ms," + ",".join(FIELDS[:-1])
        row = [0] * len(FIELDS)
        first = 0
        for index in range(max(0, len(self) - self._m[_AFTER])):
            self.entry(index, row)
            first -= row[-1] if index else 0
        at = first
        for index in range(len(self)):
            self.entry(index, row)
            at += row[-1] if index else 0
            yield "%d," % (at // 100) + ",".join([str(value) for value in row[:-1]])
