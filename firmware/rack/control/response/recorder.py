"""The recorder keeps a trace of frequency, request, power and limits around a trigger, one entry per mains period.

Written in the interrupt, frozen some time after a trigger with the past before it, read by the console as CSV. Without
a trace, the cause of a disturbance stays a matter of opinion. RAM is scarce on the board: an entry is seven 16-bit
numbers, with powers in units of about 1/30 000 of the contracted power. Noise on the mains input must not push the
past out of the ring, so an entry comes only a period's time after the one before, at any number of edges.
"""

from array import array

import micropython
from micropython import const

from rack.base.viper import ptr16, ptr32
from rack.generated import ids as I
from rack.generated import recorder_state as R
from rack.generated import response_state as K

FIELDS = ("deviation_dmHz", "response_W", "request_W", "pcs_W", "charge_W", "discharge_W", "clock")
COLUMNS = "t_ms," + ",".join(FIELDS[:-1])

_ENTRIES = const(256)
_RING_MASK = const(255)
_WIDTH = const(7)
_POWERS = const(5)
_MAX = const(32_767)
_CLOCK_MASK = const(0xFFFF)     # of 160 us: 10 s before and after the trigger
_FULL_SCALE = const(30_000)
_PERIOD = const(1_500)          # of 10 us: between 2/3 of a period and a whole one, from 45 to 66 Hz
_SILENCE_ms = const(1_000)      # after this time without a period the trace ends

CAUSE_NONE = const(0)
CAUSE_FREQUENCY = const(1)
CAUSE_TRIP = const(2)
CAUSE_COMMAND = const(3)
CAUSES = b"none|frequency|trip|command"     # texts of CAUSE_*, in their order


@micropython.viper
def record_kernel(m: ptr32, ring: ptr16, k: ptr32):
    """Append an entry unless the trace is frozen. m: recorder_state; k: the response's state. Interrupt context.

    Records only measured periods: without mains the scan moves the clock, and the first edge is not a period.
    """
    left = m[R.LEFT]
    clock = k[K.CLOCK_NOW]
    if left != 0 and k[K.FILLED] != 0 and (clock - m[R.LAST]) & K.CLOCK_MASK >= _PERIOD:
        m[R.LAST] = clock
        deviation = k[K.DEVIATION]
        if left > 0:
            m[R.LEFT] = left - 1
            m[R.SINCE] += 1
        elif k[K.FILLED] >= k[K.WINDOW] and (deviation > m[R.TRIGGER] or deviation < 0 - m[R.TRIGGER]):
            m[R.LEFT] = m[R.AFTER]
            m[R.CAUSE] = CAUSE_FREQUENCY
        at = m[R.NEXT]
        entry = at * _WIDTH
        value = deviation
        if value > _MAX:
            value = _MAX
        elif value < 0 - _MAX:
            value = 0 - _MAX
        ring[entry] = value
        m[R.RESPONSE_W] = k[K.RESPONSE]
        m[R.REQUEST_W] = k[K.REQUEST]
        m[R.CHARGE_W] = k[K.CHARGE_LIMIT]
        m[R.DISCHARGE_W] = k[K.DISCHARGE_LIMIT]
        unit = m[R.UNIT_W]
        i = 0
        while i < _POWERS:
            value = m[R.RESPONSE_W + i] // unit
            if value > _MAX:
                value = _MAX
            elif value < 0 - _MAX:
                value = 0 - _MAX
            i += 1
            ring[entry + i] = value
        ring[entry + 6] = ((clock >> 4) & _CLOCK_MASK) - _MAX - 1
        m[R.NEXT] = (at + 1) & _RING_MASK
        if m[R.COUNT] < _ENTRIES:
            m[R.COUNT] += 1


@micropython.viper
def _watch(m: ptr32, s: ptr32):
    """Keep the PCS's power for the next entry; trigger on a new trip, end the trace at a loss of mains.

    After a loss, later entries would overwrite the history of the loss, and the time stamps would wrap.
    """
    m[R.PCS_W] = s[I.PCS_POWER_W]
    tripped = 1 if s[I.TRIP_CODE] != 0 else 0
    silent = 1 if s[I.GRID_AGE_ms] > _SILENCE_ms else 0
    if m[R.LEFT] < 0 and m[R.COUNT] > 0:    # an empty trace would block the recording of the next trigger
        if tripped > m[R.TRIPPED]:
            m[R.CAUSE] = CAUSE_TRIP
            m[R.SINCE] = 0
            m[R.LEFT] = m[R.AFTER]
        elif silent > m[R.SILENT]:          # GRID_AGE_ms can still show the loss at the first entry after it
            m[R.CAUSE] = CAUSE_FREQUENCY
            m[R.SINCE] = 0
            m[R.LEFT] = 0
    if silent != 0 and m[R.LEFT] > 0:
        m[R.LEFT] = 0
    m[R.TRIPPED] = tripped
    m[R.SILENT] = silent


class Recorder:
    """Call on_period() after each request was sent, scan() once per scan, lines() when idle."""

    def __init__(self, params, response, s):
        self._s = s
        self._response_state = response.state
        self._ring = array("h", bytes(2 * _ENTRIES * _WIDTH))
        self._m = m = array("i", [0] * R.STATES)
        m[R.TRIGGER] = params.recorder_trigger_mHz * 10
        m[R.AFTER] = params.recorder_after
        m[R.LEFT] = -1
        m[R.UNIT_W] = max(params.rack_power_max_W, response.contracted_W) // _FULL_SCALE + 1
        m[R.SILENT] = 1         # mains that was absent since the start is not a loss
        m[R.TRIPPED] = 1        # a trip that was latched before the restart does not trigger

    @property
    def arrays(self):
        """State and ring: the arguments of record_kernel, for a port that calls it itself."""
        return self._m, self._ring

    def on_period(self):
        """Record the newest period. Interrupt context, does not allocate."""
        record_kernel(self._m, self._ring, self._response_state)

    def scan(self):
        """Keep the PCS's power, and trigger on a new trip or a loss of mains. Scan context, does not allocate."""
        _watch(self._m, self._s)

    def trigger(self, cause):
        """Freeze the trace after the configured number of periods; a trace already triggered keeps its cause."""
        m = self._m
        if m[R.LEFT] < 0:
            m[R.CAUSE] = cause
            m[R.SINCE] = 0
            m[R.LEFT] = m[R.AFTER]

    def freeze(self):
        """Freeze the trace at once."""
        self.trigger(CAUSE_COMMAND)
        self._m[R.LEFT] = 0

    def rearm(self):
        """Discard the trace and record again."""
        m = self._m
        m[R.LEFT] = 0           # first, as an interrupt may come between any two lines
        m[R.CAUSE] = CAUSE_NONE
        m[R.COUNT] = 0
        m[R.SINCE] = 0
        m[R.LEFT] = -1

    @property
    def frozen(self):
        """True when the trace is complete."""
        return self._m[R.LEFT] == 0

    @property
    def cause(self):
        """CAUSE_* of the trigger, CAUSE_NONE before one."""
        return self._m[R.CAUSE]

    def __len__(self):
        return self._m[R.COUNT]

    def entry(self, index, into):
        """Copy entry `index` (0 the oldest) into a list or array of len(FIELDS), powers in W rounded to the unit.

        The last field is a clock in units of 160 us that wraps at 2**16. Only consistent when frozen.
        """
        m = self._m
        at = ((m[R.NEXT] + index - m[R.COUNT]) & _RING_MASK) * _WIDTH
        for i in range(_WIDTH):
            value = self._ring[at + i]
            into[i] = value * m[R.UNIT_W] if 1 <= i <= _POWERS else value

    def lines(self):
        """Yield CSV lines under COLUMNS, oldest first, time in ms from the trigger. Idle context, allocates."""
        row = [0] * _WIDTH
        trigger = max(0, len(self) - 1 - self._m[R.SINCE])
        self.entry(trigger, row)
        origin = row[-1]
        for index in range(len(self)):
            self.entry(index, row)
            at = -((origin - row[-1]) & _CLOCK_MASK) if index < trigger else (row[-1] - origin) & _CLOCK_MASK
            yield "%d" % (at * 16 // 100) + ",%d,%d,%d,%d,%d,%d" % tuple(row[:-1])
