"""What the console can be asked, as a table of generators; see rack.comms.console.

Answers are read-only views of the process image and of the scheduler; the few commands that act
go through Controller.command or through the authenticated entry to service mode.
"""

import gc
import sys
from array import array

from micropython import const

from rack import ids as I
from rack.comms import link_state as L
from rack.comms.commands_response import ResponseCommands
from rack.comms.console import quote
from rack.comms.service import Challenge
from rack.comms.station import INSULATION, SETPOINT
from rack.control import bits
from rack.control.alarm_engine import LATCHED
from rack.control import why
from rack.control.why import piece
from rack.tables import ALARM_ROWS, ALARM_TEXTS, ALARMS, SIGNAL_NAMES
from rack.version import VERSION

_REASONS = const(12)
_REASON = const(144)        # characters of the reason for standby
_TRIES = const(100)         # slices of an answer that wait; a slice comes every 5 ms at least: engineering judgement

_STATES = ("open", "precharge", "closed", "opening", "fault", "locked_out")
_LEVELS = ("none", "warn", "derate", "trip")
_REFUSED = (
    "",
    "no such command",
    "a trip is latched: find its cause, then reset",
    "locked out after repeated trips: a service right is needed",
    "the cause of a trip is still there",
    "not in this state",
)
_RESETS = ("power", "hang", "service", "command")


def _ints(name, values):
    yield ',"%s":[' % name
    for index in range(len(values)):
        yield ("," if index else "") + str(values[index])
    yield "]"


class Commands:
    """app: rack.app.App, or None in standby for `reason`."""

    def __init__(self, app, reason="", port=None):
        self._app = app
        self._reason = reason
        self._port = port if app is None else app.port
        self._reset = "unknown"
        if self._port:
            self._reset = _RESETS[self._port.reset_reason() if app is None else app.reset_reason]
        self.table = {
            "version": (self._version, "firmware, rack, config, mode, health"),
            "service": (self._service, "ask for a nonce, or answer it, to enter service mode"),
        }
        self._challenge = None
        if app is not None:
            self._challenge = Challenge(app.params.service_key, _random)
            self.table.update(
                {
                    "status": (self._status, "state and every signal"),
                    "cells": (self._cells, "cell voltages in mV"),
                    "temps": (self._temps, "temperatures in 0.1 degC"),
                    "alarms": (self._alarms, "active and latched alarms"),
                    "why": (self._why, "why it is open, not closing or derated"),
                    "tasks": (self._tasks, "times of the tasks in us"),
                    "logs": (self._logs, "newest records of the event log"),
                    "close": (self._close, "close the contactors"),
                    "open": (self._open, "open the contactors"),
                    "reset": (self._acknowledge, "acknowledge latched trips"),
                    "unlock": (self._unlock, "leave the lock-out, with the answer to a nonce"),
                    "setpoint": (self._setpoint, "station power in W, positive discharges"),
                    "insulation": (self._insulation, "what the station's monitor measures, in kohm"),
                }
            )
            self.table.update(ResponseCommands(app).table)

    # -- views

    def _version(self, words):
        app = self._app
        yield ',"firmware":%s,"mode":"%s"' % (quote(VERSION), "run" if app else "standby")
        yield ',"healthy":%s' % ("true" if app and app.healthy else "false")
        yield ',"reason":"'
        for at in range(0, min(len(self._reason), _REASON), 24):
            yield quote(self._reason[at : at + 24])[1:-1]
        yield '"'
        yield ',"reset":"%s","hung":%d' % (self._reset, self._port.scratch.task_before if self._port else -1)
        if app:
            yield ',"scans":%d' % app.scheduler.runs(0)
            yield ',"rack":' + quote(app.params.rack_name[:32])
            yield ',"config":"%08x"' % app.config_crc
        yield ',"micropython":"%d.%d.%d"' % tuple(sys.implementation.version[:3])
        yield from self._heap("heap_free", gc.mem_free)
        yield from self._heap("heap_used", gc.mem_alloc)

    def _heap(self, name, count):
        """Counting the heap takes 5 ms: it waits for a moment in which no scan has to wait for it.

        Not for ever: scans of less than 6 ms, or a processor that is busy after each, leave no such moment.
        """
        app = self._app
        for _ in range(_TRIES):
            if not app or app.scan_is_far():
                break
            yield ""
        yield ',"%s":%d' % (name, count())

    def _status(self, words):
        s = self._app.controller.s
        yield ',"state":"%s","level":"%s"' % (_STATES[s[I.STATE]], _LEVELS[s[I.ALARM_LEVEL]])
        yield ',"signals":{'
        at = 0
        for index in range(len(s)):
            end = SIGNAL_NAMES.find("|", at)
            name = SIGNAL_NAMES[at:] if end < 0 else SIGNAL_NAMES[at:end]
            at = end + 1
            yield '%s"%s":%d' % ("," if index else "", name, s[index])
        yield "}"

    def _cells(self, words):
        return _ints("mV", self._app.controller.cells_mV)

    def _temps(self, words):
        return _ints("ddegC", self._app.controller.temps_ddegC)

    def _alarms(self, words):
        """Codes are those of rack.alarms: the row's place plus one."""
        active = self._app.controller.alarms.active
        yield ',"alarms":['
        comma = ""
        for index in range(ALARMS):
            if active[index]:
                level = _LEVELS[ALARM_ROWS[5 * index + 2]]
                yield '%s{"code":%d,"level":"%s"' % (comma, index + 1, level)
                yield ',"latched":%s' % ("true" if active[index] & LATCHED else "false")
                yield ',"text":"%s"}' % piece(ALARM_TEXTS, index)
                comma = ","
        yield "]"

    def _why(self, words):
        reasons = why.Reasons(self._app.controller, array("i", [0] * _REASONS))
        yield ',"why":['
        for index in range(reasons.list()):
            yield ("," if index else "") + quote(why.text(reasons.codes[index]))
        yield "]"

    def _tasks(self, words):
        app = self._app
        scheduler = app.scheduler
        yield ',"tasks":['
        for index in range(len(scheduler.names)):
            yield '%s{"name":"%s"' % ("," if index else "", scheduler.names[index])
            row = scheduler.row(index)      # few pieces: each leaves garbage in the heap
            yield ',"period":%d,"worst":%d,"mean":%d' % row[:3]
            yield ',"budget":%d,"runs":%d' % row[3:5]
            yield ',"late":%d,"overrun":%d}' % row[5:]
        link = app.pcs.state
        yield '],"collect_us":%d,"edge_faults":%d' % (app.collect_us, link[L.FAULTS])
        yield ',"judge_us":%d,"afe_scan_us":%d' % (app.judge_us, app.afe_scan_us)
        yield ',"busy_permille":%d' % app.busy_permille
        yield ',"crc_errors":%d,"timeouts":%d' % (app.afe.crc_errors, app.afe.timeouts)
        yield ',"sent":%d,"unsent":%d' % (link[L.SENT], link[L.UNSENT])
        if app.modbus:
            yield ',"modbus_answers":%d,"modbus_faults":%d' % (app.modbus.answers, app.modbus.faults)
        yield from self._heap("heap_free", gc.mem_free)
        if words == ["clear"]:
            app.clear()

    def _logs(self, words):
        """A number of records, else 32; each: sequence, boot, ms, kind, code, and four values (rack.storage.memory)."""
        if words and not words[0].isdigit():
            raise ValueError("logs takes a number of records")
        return self._records(int(words[0]) if words else 32)

    def _records(self, count):
        memory = self._app.memory
        log = memory.log
        yield ',"lost":%d,"bad":%d,"log":[' % (memory.lost + log.lost, memory.bad)
        comma = ""
        for sequence in range(max(log.oldest(), log.head - count), log.head):
            record = log.read(sequence)
            if record:
                yield comma + "[%d,%d,%d,%d,%d" % record[:5]
                yield ",%d,%d,%d,%d]" % record[5:]
                comma = ","
        yield "]"

    # -- commands

    def _do(self, command, words):
        if words and command != bits.CMD_OPEN:      # half a garbled line must not close anything
            raise ValueError("takes no words")
        app = self._app
        refused = app.acknowledge() if command == bits.CMD_RESET else app.controller.command(command)
        if refused:
            raise ValueError(_REFUSED[refused])
        return (',"ok":true',)

    def _close(self, words):
        return self._do(bits.CMD_CLOSE, words)

    def _open(self, words):
        return self._do(bits.CMD_OPEN, words)

    def _acknowledge(self, words):
        return self._do(bits.CMD_RESET, words)

    def _setpoint(self, words):
        return self._said(SETPOINT, words, "setpoint in W")

    def _insulation(self, words):
        return self._said(INSULATION, words, "insulation in kohm")

    def _said(self, at, words, what):
        """A word of the station; from then on its silence is an alarm (`station_lost`)."""
        station = self._app.station
        least, most = station.least[at], station.most[at]
        try:
            (text,) = words
            value = int(text)
            if not least <= value <= most:      # before an array of 32 bits can cut it
                raise ValueError
        except ValueError:
            raise ValueError("%s: one whole number, %d to %d" % (what, least, most))
        station.values[at] = value
        station.say(at, at + 1)
        return (',"ok":true',)

    def _service(self, words):
        """Nonce without words; with the nonce's HMAC: into service mode, unless current flows."""
        if self._challenge is None:         # no config, so no key, and nothing that could close
            self._enter_service()
        if not words:
            return (',"nonce":"%s"' % self._challenge.ask(),)
        self._prove(words)
        s = self._app.controller.s
        if abs(s[I.CURRENT_dA]) > self._app.params.contactor_low_dA:
            raise ValueError("under load: %d dA flow; take the load off first" % s[I.CURRENT_dA])
        return self._enter_service()

    def _prove(self, words):
        if not words or not self._challenge.accepts(words[0]):
            raise ValueError("wrong answer: ask for a new nonce")

    def _unlock(self, words):
        """A service right: takes the HMAC of a nonce, as service does."""
        self._prove(words)
        return self._do(bits.CMD_UNLOCK, ())

    def _enter_service(self):
        if self._port is not None:
            self._port.reset_to_service()
        from rack.ports.rp2 import enter_service

        enter_service()


def _random(count):
    import os

    return os.urandom(count)
