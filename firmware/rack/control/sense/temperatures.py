"""Plausible cell temperatures and their extremes.

A broken sensor must neither hide a hot cell nor stop a healthy rack. A lost sensor takes the value of the worst
sensor of its module, is counted and raises an alarm; it is used again after it has been good for a while. A sensor
that is too hot is always used. Refused is only a value that a cell cannot have (a jump) or that would hide heat (cold
or frozen compared with its module). A jump upwards that the second reading confirms is heat. A sensor that is too cold
for its module still counts for charging, because a cold cell is damaged by charge.
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
# good_ms of a sensor of which the last reading jumped up: while it was in use, while it was lost
_JUMPED = const(-1)
_LOST_JUMPED = const(-2)
_WORST_FROM = const(250)    # the worst sensor is the one furthest from here
NEUTRAL_ddegC = const(250)  # inside every limit


@micropython.viper
def _judge_alone(raw: ptr32, last: ptr32, why: ptr8, good_ms: ptr32, words: ptr32, dt: int):  # noqa: C901 one pass
    """Find the faults that one sensor shows alone: no value, outside the NTC's range, a jump.

    why: LOST_* of each sensor, 0 while it is used; good_ms: time that a lost sensor has been good, or _JUMPED.
    """
    count = words[W.SENSORS]
    jump = words[W.JUMP]
    words[W.JUMPED_AT] = -1
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
        elif before > _NONE and now - before > jump:
            if good_ms[sensor] < 0:     # twice in a row: the heat of a jet of vent gas
                why[sensor] = 0
                words[W.JUMPED_AT] = sensor
            else:
                good_ms[sensor] = _JUMPED if why[sensor] == 0 else _LOST_JUMPED
                why[sensor] = LOST_JUMP
                sensor += 1
                continue
        elif before > _NONE and before - now > jump:
            fault = LOST_JUMP
        elif good_ms[sensor] == _JUMPED:    # the second reading confirms the first
            why[sensor] = 0
        if fault != 0:
            why[sensor] = fault
            good_ms[sensor] = 0
        elif why[sensor] == 0:
            good_ms[sensor] = 0
        elif good_ms[sensor] < 0:
            good_ms[sensor] = dt
        else:
            good_ms[sensor] += dt
        sensor += 1


@micropython.viper
def _find_still(  # noqa: C901 one pass
    raw: ptr32, last: ptr32, why: ptr8, good_ms: ptr32, lows: ptr32, since: ptr32, words: ptr32
):
    """Lose a module of which no reading changes while the two modules next to it move the same way.

    lows: second lowest temperature of each module, NO_VALUE with fewer than two sensors; since: those of the two when
    the module last moved, NO_VALUE before.
    """
    modules = words[W.MODULES]
    if modules == 1:
        return
    group = words[W.GROUP]
    limit = words[W.STILL]
    module = 0
    while module < modules:
        first = module * group
        end = first + group
        one = module - 1
        if one < 0:
            one = 2 if modules > 2 else 1
        other = module + 1
        if other == modules:
            other = module - 2 if modules > 2 else module - 1
        still = 1
        sensor = first
        while sensor < end:
            if raw[sensor] != last[sensor]:
                still = 0
                sensor = end
            sensor += 1
        at = 2 * module
        if still == 0:
            since[at] = _NONE           # `lows` still belongs to the scan before: the next scan takes it
        elif since[at] <= _NONE or since[at + 1] <= _NONE:
            since[at] = lows[one]
            since[at + 1] = lows[other]
        elif lows[one] > _NONE and lows[other] > _NONE:
            moved = lows[one] - since[at]
            too = lows[other] - since[at + 1]
            if (moved > limit and too > limit) or (moved < 0 - limit and too < 0 - limit):
                sensor = first
                while sensor < end:
                    if why[sensor] == 0 or good_ms[sensor] > 0:
                        why[sensor] = LOST_FROZEN
                        good_ms[sensor] = 0
                    sensor += 1
        module += 1


@micropython.viper
def _compare(  # noqa: C901 one pass
    raw: ptr32, last: ptr32, why: ptr8, good_ms: ptr32, anchor: ptr32, lows: ptr32, words: ptr32
):
    """Compare each sensor with its module: colder than all others, or frozen. Lost sensors return after their time.

    anchor: second lowest temperature of the module when the sensor last moved. A sensor is frozen when that
    temperature has drifted away since. lows: see _find_still.
    """
    count = words[W.SENSORS]
    group = words[W.GROUP]
    module = 0
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
        lows[module] = second if second != _BEYOND else _NONE
        module += 1
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
def _replace(raw: ptr32, why: ptr8, good_ms: ptr32, used: ptr32, words: ptr32):  # noqa: C901 one pass over the sensors
    """Give lost sensors the worst used value of their module, or of the rack. Then find the extremes."""
    count = words[W.SENSORS]
    group = words[W.GROUP]
    words[W.LOST] = 0
    words[W.LOST_AT] = -1
    words[W.BLIND] = 0
    words[W.BLIND_AT] = -1
    high = _NONE
    low = _BEYOND
    cold = _BEYOND
    first = 0
    while first < count:
        far = -1
        worst = _NONE
        lost = 0
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
            else:
                lost = 1
            sensor += 1
        sensor = first if lost != 0 else first + group
        while sensor < first + group:
            if why[sensor] != 0:
                is_cold = why[sensor] == LOST_COLD or (why[sensor] == LOST_JUMP and good_ms[sensor] > 0)
                if is_cold and raw[sensor] < cold:
                    cold = raw[sensor]
                used[sensor] = worst
                words[W.LOST] += 1
                if words[W.LOST_AT] < 0:
                    words[W.LOST_AT] = sensor
            sensor += 1
        if far < 0:
            words[W.BLIND] += 1
            if words[W.BLIND_AT] < 0:
                words[W.BLIND_AT] = first // group
        first += group
    if words[W.LOST] < count:
        words[W.MAX] = high
        words[W.MIN] = low
    words[W.COLDEST] = cold if cold < words[W.MIN] else words[W.MIN]
    sensor = 0 if words[W.BLIND] != 0 else count
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
        self._lows = array("i", [NO_VALUE] * params.afe_devices)
        self._since = array("i", [NO_VALUE] * (2 * params.afe_devices))
        self._words = w = array("i", [0] * W.WORDS)
        self._group = params.afe_temps_per_device
        self._modules = params.afe_devices
        w[W.STILL] = params.plausible_module_dK
        w[W.JUMPED_AT] = -1
        w[W.JUMP] = params.plausible_jump_dK
        w[W.COLD] = params.plausible_disagree_dK
        w[W.FROZEN] = params.plausible_frozen_dK
        w[W.RETURN_ms] = params.plausible_return_ms
        w[W.MAX] = w[W.MIN] = NEUTRAL_ddegC
        s[I.CHARGE_TEMP_MAX_ddegC] = s[I.CHARGE_TEMP_MIN_ddegC] = NEUTRAL_ddegC
        s[I.TEMP_MAX_ddegC] = s[I.TEMP_MIN_ddegC] = s[I.CORE_MAX_ddegC] = NEUTRAL_ddegC
        s[I.TEMP_COLD_ddegC] = NEUTRAL_ddegC
        s[I.TEMPS_LOST_AT] = s[I.MODULE_BLIND_AT] = -1

    @property
    def jumped_at(self):
        """Sensor that has jumped up twice in a row in this scan, -1 without one."""
        return self._words[W.JUMPED_AT]

    def fixed(self):
        """Words that never change: (array, first, end)."""
        return ((self._words, W.JUMP, W.STILL + 1),)

    def judge(self, dt):
        """First half: each sensor alone, and frozen modules; dt: ms since the scan before. Does not allocate."""
        w = self._words
        w[W.SENSORS] = self.n       # again each time: the kernels index with them, and a bit may flip in RAM
        w[W.GROUP] = self._group
        w[W.MODULES] = self._modules
        _judge_alone(self._raw, self._last, self.why, self._good_ms, w, dt)
        _find_still(self._raw, self._last, self.why, self._good_ms, self._lows, self._since, w)

    def compare(self):
        """Second half: each sensor against its module, then the extremes.

        With every sensor lost the extremes keep their last values: the count of lost sensors trips.
        """
        w = self._words
        _compare(self._raw, self._last, self.why, self._good_ms, self._anchor, self._lows, w)
        _replace(self._raw, self.why, self._good_ms, self.used, w)
        s = self._s
        s[I.TEMPS_LOST] = w[W.LOST]
        s[I.TEMPS_LOST_AT] = at = w[W.LOST_AT]
        s[I.TEMPS_LOST_WHY] = self.why[at] if at >= 0 else 0
        s[I.TEMP_MAX_ddegC] = w[W.MAX]
        s[I.TEMP_MAX_AT] = w[W.MAX_AT]
        s[I.TEMP_MIN_ddegC] = w[W.MIN]
        s[I.TEMP_MIN_AT] = w[W.MIN_AT]
        s[I.TEMP_COLD_ddegC] = w[W.COLDEST]
        s[I.MODULES_BLIND] = w[W.BLIND]
        s[I.MODULE_BLIND_AT] = w[W.BLIND_AT]
        s[I.TEMP_SPREAD_ddegC] = w[W.MAX] - w[W.MIN]
