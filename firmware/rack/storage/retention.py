"""Data that survives a loss of power: state of charge, counters, latches, and the log.

It is in FRAM and not in flash (rule R6): a flash erase stops the interpreter while contactors are closed. A task of
its own writes it, one short transfer a call, so that a scan does not wait for it.

FRAM: two copies of the retained words from address 0, the note of an opening, the log from _LOG_AT to the end.
"""

import struct
from array import array

from micropython import const

from rack.generated import alarm_output as O
from rack.generated import alarm_row as R
from rack.generated import ids as I
from rack.generated import retained_words as W
from rack.control.protect import reasons as why
from rack.control.protect.authority import RIGHTS
from rack.definitions.codes import (
    BY_CONSOLE,
    CMD_OPEN,
    KIND_CAME,
    KIND_START,
    KIND_STATE,
    KIND_WENT,
    REASON_HANG,
    RIGHT_HELD,
)
from rack.drivers.crc16 import TABLE, crc16
from rack.drivers.fram import Fram
from rack.storage.event_log import EventLog
from rack.storage.int_store import IntStore
from rack.generated.tables import ALARM_ROWS

_BOOT = W.WORDS                  # word after those of the controller: number of this start
_HEAD = W.WORDS + 1              # sequence at which the search for the newest log record begins
_NOTE_AT = const(108)
_NOTE_BYTES = const(14)          # sequence of the retained words that it amends, two of its words, CRC-16
_READS = const(3)                # attempts to read the note, as rack.storage.int_store
_LOG_AT = const(128)
_LOG_RECORDS = const(1020)
_FIELDS = const(7)                  # kind, code, ms, value, current, rack voltage, request
_QUEUE = const(24)                  # log records that can wait; a trip brings a dozen
_SAVE_POLLS = const(250)            # 5 s
_LOST_MAX = const(0x3FFFFFFF)       # the scan counts lost records with the heap locked

BAD_LOST = const(1)                 # the retained data could not be read at the start
BAD_SILENT = const(2)               # a write to the FRAM has failed


class RetainedStore:
    """i2c: a machine.I2C; controller: gives and takes `retained`. log: the EventLog.

    lost: log records dropped because the queue was full. bad: BAD_* bits.
    """

    def __init__(self, i2c, controller):
        self.lost = 0
        self.bad = 0
        fram = Fram(i2c)
        self.log = EventLog(fram, _LOG_AT, _LOG_RECORDS)
        self._store = IntStore(fram, 0, W.WORDS + 2)
        self._fram = fram
        self._note = bytearray(_NOTE_BYTES)
        self._words = array("i", [0] * (W.WORDS + 2))    # as last staged
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

    def start(self, reason, task, commissioned=False):
        """Restore the retained data and find the end of the log, before the first scan.

        reason: REASON_* of this start; task: TASK_* that hung, -1 unknown. A start that the watchdog has caused latches
        the trip "task too late", which an operator must acknowledge. commissioned: the board has run before.

        An empty FRAM is a new one on a new board only. Unreadable data, or an empty FRAM on a board that has run, is an
        alarm until a person's reset, and only a person closes the rack, because a latch may be lost.
        """
        words = self._words
        head = -1
        if self._store.load(words):
            self._amend(words)
            self._controller.restore(words)
            head = words[_HEAD]
        else:
            if self._store.empty():
                head = 0
            if head or commissioned:
                self.bad = BAD_LOST
                self._controller.command(CMD_OPEN, BY_CONSOLE)
        if reason == REASON_HANG:         # the dead-man has opened the contactors: a restart must not close them again
            self._controller.alarms.latch(I.ALARM_LATE_TRIP)
        words[_BOOT] = (words[_BOOT] + 1) & 0xFFFF
        words[W.TRIPS] = -1      # save at once
        self.log.open(words[_BOOT], head)
        self._put(KIND_START, reason, 0, task)

    def scan(self, now_ms):
        """Queue the transitions of this scan for the log; after a change of state, update the retained words.

        Does not allocate.
        """
        s = self._s
        out = self._out
        for at in range(min(out[O.TRANSITIONS], O.MAX_TRANSITIONS)):
            code = out[O.TRANSITION + at]
            if code > 0:
                self._put(KIND_CAME, code, now_ms, s[ALARM_ROWS[R.WIDTH * (code - 1)]])
            else:
                self._put(KIND_WENT, -code, now_ms, s[ALARM_ROWS[R.WIDTH * (-code - 1)]])
        if s[I.STATE] != self._state:
            # Now and not in its slot: it is written within four polls (80 ms). If [contactor] aux_ms is longer, a
            # precharge is retained before its coil is on.
            self._controller.keep()
            reason = self._why.codes[0] if self._why.list() else 0
            self._put(KIND_STATE, s[I.STATE], now_ms, self._state | reason << 4)
            self._state = s[I.STATE]

    def busy(self):
        """True if this scan has a transition that `scan` should queue."""
        return self._out[O.TRANSITIONS] or self._s[I.STATE] != self._state

    def poll(self, now_us):
        """One step of at most one transfer, each 20 ms: new latches and heat first, then log records, then the rest."""
        if self._step:
            self._save()
        elif self._latched():
            self._stage()
        elif self._count:
            self._write_record()
        elif self._due():
            self._stage()
        self._s[I.FRAM_BAD] = self.bad

    def acknowledge(self, who):
        """BY_* acknowledges that the retained data is lost. True if it was, and if this is a person at the rack."""
        if not self.bad & BAD_LOST or not RIGHTS[who] & RIGHT_HELD:
            return False
        self.bad &= ~BAD_LOST
        return True

    def note_opening(self, _):
        """Write the latches before the coils drop: the short that has caused a trip may end the supply at once.

        One transfer of 17 bytes, 0.2 ms; a whole copy of the retained words would take half of a scan. A start uses
        the note if it belongs to the newest copy. Scan task, with the heap unlocked.
        """
        self._controller.keep()
        note = self._note
        kept = self._kept
        sequence = self._store.sequence
        if self._step == 1:         # staged before this opening: stage again
            self._step = 0
            self._words[W.TRIPS] = -1
        elif self._step == 2:       # written and not read back: a start finds this copy
            sequence += 1
        struct.pack_into("<iii", note, 0, sequence, kept[W.LATCHED], kept[W.TRIPS])
        struct.pack_into("<H", note, _NOTE_BYTES - 2, crc16(note, 0, _NOTE_BYTES - 2, TABLE))
        self._fram.write(_NOTE_AT, note)

    def _amend(self, words):
        """Replace the latches of the words by those of the note, if it was written after them."""
        note = self._note
        for _ in range(_READS):
            if self._fram.read_into(_NOTE_AT, note) and not crc16(note, 0, _NOTE_BYTES, TABLE):
                sequence, latched, trips = struct.unpack_from("<iii", note, 0)
                if 0 <= sequence - self._store.sequence <= 1:
                    words[W.LATCHED] = latched
                    words[W.TRIPS] = trips
                return

    # -- log

    def _put(self, kind, code, now_ms, value):
        """Queue a log record with the measurements of now."""
        if self._count == _QUEUE:
            if self.lost < _LOST_MAX:
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

    def _write_record(self):
        q = self._queue
        at = self._first * _FIELDS
        self._done(self.log.append(q[at + 2], q[at], q[at + 1], q[at + 3], q[at + 4], q[at + 5], q[at + 6]))
        self._first = (self._first + 1) % _QUEUE
        self._count -= 1

    # -- retained words

    def _latched(self):
        """True if a latch, the counted trips or the resistor's heat has changed.

        They go first, because the cause of a trip may end the supply before all records are written.
        """
        w = self._words
        k = self._kept
        return w[W.LATCHED] != k[W.LATCHED] or w[W.TRIPS] != k[W.TRIPS]

    def _due(self):
        """True each 5 s, if a retained word has changed."""
        w = self._words
        k = self._kept
        self._polls += 1
        if self._polls < _SAVE_POLLS:
            return False
        self._polls = 0
        if self.bad & BAD_SILENT:       # a log record may have found it silent while no retained word has changed
            return True
        for at in range(W.WORDS):  # noqa: SIM110 - a generator allocates
            if w[at] != k[at]:
                return True
        return False

    def _stage(self):
        w = self._words
        for at in range(W.WORDS):
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
