"""Reasons why the rack is open, does not close or is limited: one ordered list for console, log and Modbus.

A technician who has to guess opens the wrong cabinet. The first reason is the one to act on.
Codes below 1000 are alarms (rack.definitions.alarms, row = code - 1), others WHY_* of rack.definitions.codes.
"""

import micropython
from micropython import const
from rack.generated import ids as I
from rack.generated import alarm_output as O
from rack.generated import alarm_row as R
from rack.control.protect.alarm_engine import LATCHED
from rack.definitions.codes import (
    ACT_LIMIT_CHARGE,
    ACT_LIMIT_DISCHARGE,
    ACT_OPEN,
    ACT_ZERO,
    LIM_ALARM,
    LIM_NONE,
    LIM_STATE,
    STATE_CLOSED,
    STATE_OPENING,
    STATE_PRECHARGE,
    WHY_ALARM,
    WHY_CHARGE,
    WHY_CLOSING,
    WHY_DISCHARGE,
    WHY_OPENING,
    WHY_TRIPPED,
)
from rack.base.viper import ptr8, ptr32
from rack.generated.tables import ALARM_ROWS, ALARM_TEXTS, ALARMS

_ANY = const(0xFF)      # actions
_SEPARATOR = const(124)  # "|"

# Texts from WHY_TRIPPED on, and from LIM_NONE on. Each list is one text: long ones are used in place, in flash.
TEXTS = (
    b"tripped: reset when the cause is gone|locked out after repeated trips: unlock|not asked to close"
    b"|waiting before closing|precharge resistor cools|DC bus still charged|no rack voltage|closing|opening"
    b"|an alarm holds it open|opened by a person or the emergency stop: close it on the console"
)
LIMITS = b"rated power|cold|hot|core hot|cell voltage|SoC|alarm|tripped|rising"


@micropython.viper
def _next(active: ptr32, rows: ptr8, at: int, latched: int, actions: int) -> int:
    """The first active alarm from `at` on with one of the actions, or ALARMS.

    latched: LATCHED for latched alarms, 0 for the others.
    """
    while at < ALARMS:
        state = int(active[at])
        if state and state & LATCHED == latched and int(rows[R.WIDTH * at + R.ACTIONS]) & actions:
            return at
        at += 1
    return at


@micropython.viper
def _begin(joined, size: int, index: int) -> int:
    """Position of the first character of text `index`."""
    characters = ptr8(joined)
    at = 0
    while index > 0 and at < size:
        if int(characters[at]) == _SEPARATOR:
            index -= 1
        at += 1
    return at


def piece(joined, index):
    """Text `index` of a list that "|" joins, in bytes. Allocates.

    Bytes, because a search in a str counts characters from its beginning: 18 ms for the last alarm.
    """
    begin = _begin(joined, len(joined), index)
    end = joined.find(b"|", begin)
    return str(joined[begin:] if end < 0 else joined[begin:end], "ascii")


def text(code):
    """The text of a reason. Allocates; not for the scan."""
    if code <= ALARMS:
        return piece(ALARM_TEXTS, code - 1)
    if code >= WHY_DISCHARGE:
        return "discharge limited: " + piece(LIMITS, code - WHY_DISCHARGE)
    if code >= WHY_CHARGE:
        return "charge limited: " + piece(LIMITS, code - WHY_CHARGE)
    return piece(TEXTS, code - WHY_TRIPPED)


class Reasons:
    """`list` fills `codes`. Does not allocate after construction, so the log may use it in a scan."""

    def __init__(self, controller, codes):
        self._c = controller
        self.codes = codes      # array('i'); its length limits the list
        self.count = 0

    def list(self):
        """Fill `codes`, most urgent first, and return their number.

        Order: latched trips, beginning with the first one; alarms that hold the rack open or at zero; the step that
        the contactor sequence waits in; alarms that limit; the limit of each direction.
        """
        s = self._c.s
        self.count = 0
        first = s[I.TRIP_CODE]
        if first:
            self._add(first)
        self._alarms(LATCHED, first, _ANY)
        if first:
            self._add(WHY_TRIPPED)
        self._alarms(0, first, ACT_OPEN | ACT_ZERO)
        self._sequence(s)
        self._limits(s)
        return self.count

    def _add(self, code):
        if self.count < len(self.codes):
            self.codes[self.count] = code
            self.count += 1

    def _alarms(self, latched, first, actions):
        """Add latched alarms, or unlatched alarms that demand one of `actions`; skip `first`.

        The search is long. It is skipped without a match or without room: the log asks in a scan, with room for one.
        """
        wanted = self._c.alarms.out[O.LATCHED] if latched else actions & self._c.s[I.ACTIONS]
        if not wanted or self.count == len(self.codes):
            return
        active = self._c.alarms.active
        at = _next(active, ALARM_ROWS, 0, latched, actions)
        while at < ALARMS:
            if at + 1 != first:
                self._add(at + 1)
            at = _next(active, ALARM_ROWS, at + 1, latched, actions)

    def _sequence(self, s):
        state = s[I.STATE]
        if state == STATE_PRECHARGE:
            self._add(WHY_CLOSING)
        elif state == STATE_OPENING:
            self._add(WHY_OPENING)
        elif state != STATE_CLOSED:
            code = self._c.contactors.blocked()
            if code and code != WHY_ALARM:
                self._add(code)

    def _limits(self, s):
        if s[I.STATE] != STATE_CLOSED:
            return
        derating = ACT_LIMIT_CHARGE if s[I.LIMIT_CHARGE_BY] == LIM_ALARM else 0
        if s[I.LIMIT_DISCHARGE_BY] == LIM_ALARM:
            derating |= ACT_LIMIT_DISCHARGE
        self._alarms(0, 0, derating)
        if s[I.LIMIT_CHARGE_BY] != LIM_NONE and s[I.LIMIT_CHARGE_BY] != LIM_STATE:
            self._add(WHY_CHARGE + s[I.LIMIT_CHARGE_BY])
        if s[I.LIMIT_DISCHARGE_BY] != LIM_NONE and s[I.LIMIT_DISCHARGE_BY] != LIM_STATE:
            self._add(WHY_DISCHARGE + s[I.LIMIT_DISCHARGE_BY])
