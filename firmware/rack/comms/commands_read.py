"""Console commands that read: views of the process image, the scheduler and the log, as generators.

rack.comms.console_protocol runs them. Commands that act are in commands_act, those of the frequency response in
commands_response.
"""

import gc
import sys
from array import array

from micropython import const

from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.comms.commands_act import HELP as HELP_ACTING
from rack.comms.commands_act import ActingCommands
from rack.comms.commands_response import HELP as HELP_RESPONSE
from rack.comms.commands_response import ResponseCommands
from rack.comms.console_protocol import quote
from rack.definitions.codes import REASONS, TASK_SCAN
from rack.control.protect.alarm_engine import LATCHED
from rack.control.protect import reasons as why
from rack.control.protect.reasons import piece
from rack.generated import alarm_row as R
from rack.generated.tables import ALARM_ROWS, ALARM_TEXTS, ALARMS, SIGNAL_NAMES
from rack.generated.texts import LEVELS, RESETS, STATES
from rack.generated.version import VERSION

_REASON = const(144)        # characters of the reason for standby
_TRIES = const(100)         # slices that an answer waits; a slice comes at least every 5 ms: engineering judgement

# help texts; one text, because the board uses a long text directly from flash
HELP = (
    "version:firmware, rack, config, mode, health|status:state and every signal|cells:cell voltages in mV"
    "|temps:temperatures in 0.1 degC|alarms:active and latched alarms"
    "|why:why it is open, not closing or derated|tasks:times of the tasks in us"
    "|log:newest records of the log"
)


def _ints(name, values):
    """A JSON list, eight numbers a piece: single numbers would leave three times the garbage."""
    yield ',"%s":[' % name
    whole = len(values) & ~7
    for at in range(0, whole, 8):
        yield ("%d" if at == 0 else ",%d") % values[at] + ",%d,%d,%d,%d,%d,%d,%d" % tuple(values[at + 1 : at + 8])
    for at in range(whole, len(values)):
        yield (",%d" if at else "%d") % values[at]
    yield "]"


class Commands:
    """table: {name: handler}; help: texts of all commands. app: rack.app.App; None in standby, with its `reason`."""

    help = (HELP, HELP_ACTING, HELP_RESPONSE)

    def __init__(self, app, reason="", port=None, enter_maintenance=None):
        self._app = app
        self._reason = reason
        self._port = port if app is None else app.port
        self._reset = "unknown"
        if self._port:
            self._reset = piece(RESETS, self._port.reset_reason() if app is None else app.reset_reason)
        self.table = ActingCommands(app, self._port, enter_maintenance).table
        self.table["version"] = self._version
        if app is not None:
            self.table.update(
                {
                    "status": self._status,
                    "cells": self._cells,
                    "temps": self._temps,
                    "alarms": self._alarms,
                    "why": self._why,
                    "tasks": (self._tasks, "clear"),
                    "log": (self._log, ""),
                }
            )
            self.table.update(ResponseCommands(app).table)

    # -- views

    def _version(self, words):
        app = self._app
        yield ',"firmware":%s,"mode":"%s"' % (quote(VERSION), "run" if app else "standby")
        yield ',"healthy":%s' % ("true" if app and app.scan.healthy else "false")
        yield ',"reason":"'
        for at in range(0, min(len(self._reason), _REASON), 24):
            yield quote(self._reason[at : at + 24])[1:-1]
        yield '"'
        yield ',"reset":"%s","hung":%d' % (self._reset, self._port.scratch.task_before if self._port else -1)
        if app:
            yield ',"scans":%d' % app.scheduler.runs(app.scheduler.index_of(TASK_SCAN))
            yield ',"rack":' + quote(app.params.rack_name[:32])
            yield ',"config":"%08x"' % app.config_crc
        yield ',"micropython":"%d.%d.%d"' % tuple(sys.implementation.version[:3])
        yield from self._heap("heap_free", gc.mem_free)
        yield from self._heap("heap_used", gc.mem_alloc)

    def _heap(self, name, count):
        """Count the heap, 5 ms, at a moment that does not delay a scan.

        It waits _TRIES slices at most: with scans of less than 6 ms, or a busy processor, no such moment comes.
        """
        app = self._app
        for _ in range(_TRIES):
            if not app or app.console_task.scan_is_far():
                break
            yield ""
        yield ',"%s":%d' % (name, count())

    def _status(self, words):
        s = self._app.controller.s
        yield ',"state":"%s","level":"%s"' % (piece(STATES, s[I.STATE]), piece(LEVELS, s[I.ALARM_LEVEL]))
        yield ',"signals":{'
        at = 0
        for index in range(len(s)):
            end = SIGNAL_NAMES.find(b"|", at)
            name = str(SIGNAL_NAMES[at:] if end < 0 else SIGNAL_NAMES[at:end], "ascii")
            at = end + 1
            yield '%s"%s":%d' % ("," if index else "", name, s[index])
        yield "}"

    def _cells(self, words):
        return _ints("mV", self._app.controller.cells_mV)

    def _temps(self, words):
        return _ints("ddegC", self._app.controller.temps_ddegC)

    def _alarms(self, words):
        """Active and latched alarms; a code is the row of rack.definitions.alarms plus one."""
        active = self._app.controller.alarms.active
        yield ',"alarms":['
        comma = ""
        for index in range(ALARMS):
            if active[index]:
                level = piece(LEVELS, ALARM_ROWS[R.WIDTH * index + R.LEVEL])
                yield '%s{"code":%d,"level":"%s"' % (comma, index + 1, level)
                yield ',"latched":%s' % ("true" if active[index] & LATCHED else "false")
                yield ',"text":"%s"}' % piece(ALARM_TEXTS, index)
                comma = ","
        yield "]"

    def _why(self, words):
        reasons = why.Reasons(self._app.controller, array("i", [0] * REASONS))
        yield ',"why":['
        for index in range(reasons.list()):
            yield ("," if index else "") + quote(why.text(reasons.codes[index]))
        yield "]"
        if not self._app.params.insulation_monitor:
            yield ',"unwatched":"insulation: [insulation] monitor = false"'

    def _tasks(self, words):
        app = self._app
        scheduler = app.scheduler
        yield from self._heap("heap_free", gc.mem_free)     # first, without the garbage of this answer
        yield ',"tasks":['
        for index in range(len(scheduler.names)):
            yield '%s{"name":"%s"' % ("," if index else "", scheduler.names[index])
            row = scheduler.row(index)      # few pieces, because each leaves garbage in the heap
            yield ',"period":%d,"worst":%d,"mean":%d' % row[:3]
            yield ',"budget":%d,"runs":%d' % row[3:5]
            yield ',"late":%d,"overrun":%d}' % row[5:]
        link = app.pcs.state
        yield '],"collect_us":%d,"edge_faults":%d' % (app.collector.longest_us, link[L.FAULTS])
        yield ',"judge_us":%d,"afe_scan_us":%d' % (app.afe_task.judge_us, app.afe_task.scan_us)
        yield ',"busy_permille":%d' % app.slow.busy_permille
        yield ',"crc_errors":%d,"timeouts":%d' % (app.afe.crc_errors, app.afe.timeouts)
        yield ',"sent":%d,"unsent":%d' % (link[L.SENT], link[L.UNSENT])
        if app.modbus:
            yield ',"modbus_answers":%d,"modbus_faults":%d' % (app.modbus.answers, app.modbus.faults)
        if words:
            app.clear()

    def _log(self, words):
        """The newest records (default 32): sequence, boot, ms, kind, code, four values (rack.storage.retention)."""
        if words and not (len(words) == 1 and words[0].isdigit()):
            raise ValueError("log takes a number of records")
        return self._records(int(words[0]) if words else 32)

    def _records(self, count):
        storage = self._app.storage
        log = storage.log
        yield ',"lost":%d,"bad":%d,"log":[' % (storage.lost + log.lost, storage.bad)
        comma = ""
        for sequence in range(max(log.oldest(), log.head - count), log.head):
            record = log.read(sequence)
            if not record:
                yield ""        # a slice of its own: an FRAM that does not answer takes time, too
            else:
                yield comma + "[%d,%d,%d,%d,%d" % record[:5]
                yield ",%d,%d,%d,%d]" % record[5:]
                comma = ","
        yield "]"
