"""What the rack must still know when the power comes back: charge, counters, latches, and the log of its events.

All of it lives in FRAM, never in flash (rule R6: an erase would stop the interpreter while contactors are
closed). It is written by a task of its own, one short transfer a call, so that no scan waits for it.

FRAM: two copies of the kept words from address 0, the log from _LOG_AT to the end.
"""

from array import array

from micropython import const

from rack.generated import ids as I
from rack.control.protect import reasons as why
from rack.control.protect.alarm_engine import EVENTS, OUT_EVENT, OUT_EVENTS
from rack.definitions.codes import CMD_OPEN, KIND_CAME, KIND_START, KIND_STATE, KIND_WENT, REASON_HANG
from rack.control.sense.soc import KEEP_LATCHED, KEEP_TRIPS, KEEP_WORDS
from rack.drivers.fram import Fram
from rack.storage.event_log import EventLog
from rack.storage.int_store import IntStore
from rack.generated.tables import ALARM_ROWS

_BOOT = KEEP_WORDS                  # words behind the controller's own
_HEAD = KEEP_WORDS + 1              # where the log's newest record is looked for
_LOG_AT = const(128)
_LOG_RECORDS = const(1020)
_FIELDS = const(7)                  # kind, code, ms, value, current, rack voltage, request
_QUEUE = const(24)                  # events that wait; a trip brings a dozen
_SAVE_POLLS = const(250)            # 5 s

BAD_LOST = const(1)                 # what was kept could not be read at the start
BAD_SILENT = const(2)               # the FRAM does not take what is written


class RetainedStore:
    """i2c: a machine.I2C; controller: gives and takes `retained`. log: the EventLog. lost: events without room."""

    def __init__(self, i2c, controller):
        self.lost = 0
        self.bad = 0
        fram = Fram(i2c)
        self.log = EventLog(fram, _LOG_AT, _LOG_RECORDS)
        self._store = IntStore(fram, 0, KEEP_WORDS + 2)
        self._words = array("i", [0] * (KEEP_WORDS + 2))    # as last staged
        self._kept = controller.retained
        self._controller = controller
        self._s = controller.s
        self._out = controller.alarms.out
        self._why = why.Reasons(controller, array("i", [0]))
        self._queue = array("i", [0] * (_QUEUE * _FIELDS))
        self._first = 0
        self._count = 0
        self._state = 0
        self._polls = 0
        self._step = 0

    def start(self, reason, task):
        """Before the first scan: restore what was kept and find the end of the log. reason, task: of this start.

        A start that the watchdog has caused counts as a task overrun, to be acknowledged.

        An empty FRAM is a new one; one that holds something unreadable is an alarm until the operator's reset, and the
        rack does not close by itself: nobody knows what was latched.
        """
        words = self._words
        head = -1
        if self._store.load(words):
            self._controller.restore(words)
            head = words[_HEAD]
        elif self._store.empty():
            head = 0
        else:
            self.bad = BAD_LOST
            self._controller.command(CMD_OPEN)
        if reason == REASON_HANG:         # the dead-man has opened what was closed: no restart closes it again
            self._controller.alarms.latch(I.ALARM_LATE_TRIP)
        words[_BOOT] = (words[_BOOT] + 1) & 0xFFFF
        words[KEEP_TRIPS] = -1      # save at once
        self.log.open(words[_BOOT], head)
        self._put(KIND_START, reason, 0, task)

    def scan(self, now_ms):
        """Queue what the alarms and the contactors did in this scan; with a new state, have what is kept brought up to
        date. Does not allocate."""
        s = self._s
        out = self._out
        for at in range(min(out[OUT_EVENTS], EVENTS)):
            code = out[OUT_EVENT + at]
            if code > 0:
                self._put(KIND_CAME, code, now_ms, s[ALARM_ROWS[5 * code - 5]])
            else:
                self._put(KIND_WENT, -code, now_ms, s[ALARM_ROWS[-5 * code - 5]])
        if s[I.STATE] != self._state:
            # now, not in its slot: written within four polls, so a precharge is known before its coil is on where
            # [contactor] aux_ms is longer than these 80 ms
            self._controller.keep()
            reason = self._why.codes[0] if self._why.list() else 0
            self._put(KIND_STATE, s[I.STATE], now_ms, self._state | reason << 4)
            self._state = s[I.STATE]

    def busy(self):
        """Is there something in this scan that `scan` should see?"""
        return self._out[OUT_EVENTS] or self._s[I.STATE] != self._state

    def poll(self, now_us):
        """One step of at most one transfer, every 20 ms: new latches and heat at once, then events, then what else is
        kept."""
        if self._step:
            self._save()
        elif self._latched():
            self._stage()
        elif self._count:
            self._write_event()
        elif self._due():
            self._stage()
        self._s[I.FRAM_BAD] = self.bad

    def acknowledge(self):
        """The operator knows that what was kept is lost."""
        self.bad &= ~BAD_LOST

    # -- events

    def _put(self, kind, code, now_ms, value):
        if self._count == _QUEUE:
            self.lost += 1
            return
        s = self._s
        q = self._queue
        at = (self._first + self._count) % _QUEUE * _FIELDS
        self._count += 1
        q[at] = kind
        q[at + 1] = code
        q[at + 2] = now_ms
        q[at + 3] = value
        q[at + 4] = s[I.CURRENT_dA]
        q[at + 5] = s[I.RACK_dV]
        q[at + 6] = s[I.REQUEST_W]

    def _write_event(self):
        q = self._queue
        at = self._first * _FIELDS
        self._done(self.log.append(q[at + 2], q[at], q[at + 1], q[at + 3], q[at + 4], q[at + 5], q[at + 6]))
        self._first = (self._first + 1) % _QUEUE
        self._count -= 1

    # -- kept words

    def _latched(self):
        """Has a latch, the counted trips or the resistor's heat changed?

        What tripped the rack may end the supply before all is logged.
        """
        w = self._words
        k = self._kept
        return w[KEEP_LATCHED] != k[KEEP_LATCHED] or w[KEEP_TRIPS] != k[KEEP_TRIPS]

    def _due(self):
        """Every 5 s when anything changed."""
        w = self._words
        k = self._kept
        self._polls += 1
        if self._polls < _SAVE_POLLS:
            return False
        self._polls = 0
        if self.bad & BAD_SILENT:       # an event may have found it silent with nothing else to save
            return True
        for at in range(KEEP_WORDS):  # noqa: SIM110 - a generator allocates
            if w[at] != k[at]:
                return True
        return False

    def _stage(self):
        w = self._words
        for at in range(KEEP_WORDS):
            w[at] = self._kept[at]
        w[_HEAD] = self.log.head
        self._store.stage(w)
        self._step = 1

    def _save(self):
        if self._step == 1:
            self._step = 2 if self._done(self._store.write()) else 0
        else:
            self._step = 0
            self._done(self._store.confirm())

    def _done(self, ok):
        self.bad = self.bad & BAD_LOST if ok else self.bad | BAD_SILENT
        return ok
