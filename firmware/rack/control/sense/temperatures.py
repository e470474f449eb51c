"""Plausible cell temperatures and their extremes.

A broken sensor must neither hide a hot cell nor stop a healthy rack. A lost sensor takes the value of the worst
sensor of its module, is counted and raises an alarm; it is used again after it has been good for a while. A sensor
that is too hot is always used. Refused is only a value that a cell cannot have (a jump) or that would hide heat (cold
or frozen compared with its module).
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.generated import temperatures_state as W
from rack.definitions.codes import (
    LOST_COLD, LOST_FROZEN, LOST_JUMP, LOST_OPEN, LOST_SHORT, LOST_UNREAD, NO_SHORT, NO_VALUE,
)  # fmt: skip
from rack.base.viper import ptr8, ptr32

_NONE = const(-30_000)      # at and below: no value, NO_*
_BEYOND = const(30_000)     # above every value
_MIN = const(-600)          # an NTC reading outside this range is a broken wire, 0.1 degC: engineering judgement
_MAX = const(2_000)
_WORST_FROM = const(250)    # the worst sensor is the one furthest from here
NEUTRAL_ddegC = const(250)  # inside every limit


@micropython.viper
def _judge_alone(raw: ptr32, last: ptr32, why: ptr8, good_ms: ptr32, words: ptr32, dt: int):
    """Find the faults that one sensor shows alone: no value, outside the NTC's range, a jump.

    why: LOST_* of each sensor, 0 while it is used; good_ms: time that a lost sensor has been good.
    """
    count = words[W.SENSORS]
    jump = words[W.JUMP]
    sensor = 0
    while sensor < count:
        now = raw[sensor]
        before = last[sensor]
        fault = 0
        if now < _MIN or now > _MAX:
            fault = LOST_OPEN
            if now == NO_VALUE:
                fault = LOST_UNREAD
            elif now == NO_SHORT or now > _MAX:
                fault = LOST_SHORT
        elif before > _NONE and (now - before > jump or before - now > jump):
            fault = LOST_JUMP
        if fault != 0:
            why[sensor] = fault
            good_ms[sensor] = 0
        elif why[sensor] != 0:
            good_ms[sensor] += dt
        sensor += 1


@micropython.viper
def _compare(raw: ptr32, last: ptr32, why: ptr8, good_ms: ptr32, anchor: ptr32, words: ptr32):  # noqa: C901 one pass
    """Compare each sensor with its module: colder than all others, or frozen. Lost sensors return after their time.

    anchor: second lowest temperature of the module when the sensor last moved. A sensor is frozen when that
    temperature has drifted away since.
    """
    count = words[W.SENSORS]
    group = words[W.GROUP]
    first = 0
    while first < count:
        lowest = _BEYOND
        second = _BEYOND
        sensor = first
        while sensor < first + group:
            now = raw[sensor]
            if now > _NONE and (why[sensor] == 0 or good_ms[sensor] > 0):
                if now < lowest:
                    second = lowest
                    lowest = now
                elif now < second:
                    second = now
            sensor += 1
        sensor = first
        while sensor < first + group:
            now = raw[sensor]
            if now > _NONE and (why[sensor] == 0 or good_ms[sensor] > 0):
                if second == _BEYOND or now != last[sensor] or anchor[sensor] <= _NONE:
                    anchor[sensor] = second if second != _BEYOND else _NONE
                drift = second - anchor[sensor]
                if second != _BEYOND and second - now > words[W.COLD]:
                    why[sensor] = LOST_COLD
                    good_ms[sensor] = 0
                elif second != _BEYOND and (drift > words[W.FROZEN] or drift < 0 - words[W.FROZEN]):
                    why[sensor] = LOST_FROZEN
                    good_ms[sensor] = 0
                elif why[sensor] != 0 and good_ms[sensor] >= words[W.RETURN_ms]:
                    why[sensor] = 0
            else:
                anchor[sensor] = _NONE      # the module's drift during this time does not prove a frozen sensor
            last[sensor] = now
            sensor += 1
        first += group


@micropython.viper
def _replace(raw: ptr32, why: ptr8, used: ptr32, words: ptr32):  # noqa: C901 one pass over the sensors
    """Give lost sensors the worst used value of their module, or of the rack. Then find the extremes."""
    count = words[W.SENSORS]
    group = words[W.GROUP]
    words[W.LOST] = 0
    words[W.LOST_AT] = -1
    high = _NONE
    low = _BEYOND
    first = 0
    while first < count:
        far = -1
        worst = _NONE
        sensor = first
        while sensor < first + group:
            if why[sensor] == 0:
                now = raw[sensor]
                used[sensor] = now
                if now > high:
                    high = now
                    words[W.MAX_AT] = sensor
                if now < low:
                    low = now
                    words[W.MIN_AT] = sensor
                distance = now - _WORST_FROM
                if distance < 0:
                    distance = 0 - distance
                if distance > far:
                    far = distance
                    worst = now
            sensor += 1
        sensor = first
        while sensor < first + group:
            if why[sensor] != 0:
                used[sensor] = worst
                words[W.LOST] += 1
                if words[W.LOST_AT] < 0:
                    words[W.LOST_AT] = sensor
            sensor += 1
        first += group
    if words[W.LOST] < count:
        words[W.MAX] = high
        words[W.MIN] = low
    sensor = 0
    while sensor < count:
        if used[sensor] == _NONE:
            used[sensor] = words[W.MAX]
        sensor += 1


class Temperatures:
    """Plausible temperatures in `used`, LOST_* of each sensor in `why`; call `arrived` after each complete scan."""

    def __init__(self, params, s, temps_ddegC):
        self._s = s
        self._raw = temps_ddegC
        self.n = n = params.afe_devices * params.afe_temps_per_device
        self.used = array("i", [NEUTRAL_ddegC] * n)
        self.why = bytearray(n)
        self._last = array("i", [NO_VALUE] * n)
        self._anchor = array("i", [NO_VALUE] * n)
        self._good_ms = array("i", [0] * n)
        self._words = w = array("i", [0] * W.WORDS)
        w[W.SENSORS] = n
        self._group = params.afe_temps_per_device
        w[W.JUMP] = params.plausible_jump_dK
        w[W.COLD] = params.plausible_disagree_dK
        w[W.FROZEN] = params.plausible_frozen_dK
        w[W.RETURN_ms] = params.plausible_return_ms
        w[W.MAX] = w[W.MIN] = NEUTRAL_ddegC
        s[I.CHARGE_TEMP_MAX_ddegC] = s[I.CHARGE_TEMP_MIN_ddegC] = NEUTRAL_ddegC
        s[I.TEMP_MAX_ddegC] = s[I.TEMP_MIN_ddegC] = s[I.CORE_MAX_ddegC] = NEUTRAL_ddegC
        s[I.TEMPS_LOST_AT] = -1

    def fixed(self):
        """Words that never change: (array, first, end)."""
        return ((self._words, W.JUMP, W.RETURN_ms + 1),)

    def arrived(self, dt):
        """Judge a complete scan; dt: ms since the one before. Does not allocate.

        With every sensor lost the extremes keep their last values: the count of lost sensors trips.
        """
        w = self._words
        w[W.SENSORS] = self.n       # again each time: the kernels index with both, and a bit may flip in RAM
        w[W.GROUP] = self._group
        _judge_alone(self._raw, self._last, self.why, self._good_ms, w, dt)
        _compare(self._raw, self._last, self.why, self._good_ms, self._anchor, w)
        _replace(self._raw, self.why, self.used, w)
        s = self._s
        s[I.TEMPS_LOST] = w[W.LOST]
        s[I.TEMPS_LOST_AT] = at = w[W.LOST_AT]
        s[I.TEMPS_LOST_WHY] = self.why[at] if at >= 0 else 0
        s[I.TEMP_MAX_ddegC] = w[W.MAX]
        s[I.TEMP_MAX_AT] = w[W.MAX_AT]
        s[I.TEMP_MIN_ddegC] = w[W.MIN]
        s[I.TEMP_MIN_AT] = w[W.MIN_AT]
        s[I.TEMP_SPREAD_ddegC] = w[W.MAX] - w[W.MIN]
