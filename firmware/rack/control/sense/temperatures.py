"""Which temperatures to believe, and their extremes.

A broken sensor must neither hide a hot cell nor stop a healthy rack for nothing: a lost sensor
takes the value of the worst sensor of its module, is counted and alarmed, and is believed again
only after it has been good for a while. A sensor that is too hot is always believed: only what
no cell can do (a jump) or what would hide heat (cold or frozen beside its module) is refused.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.definitions.codes import NO_VALUE
from rack.base.viper import ptr8, ptr32

# words of the kernels' configuration and results
_SENSORS = const(0)
_GROUP = const(1)           # sensors in a module
_JUMP = const(2)
_COLD = const(3)
_FROZEN = const(4)
_RETURN_ms = const(5)
_MAX = const(6)
_MAX_AT = const(7)
_MIN = const(8)
_MIN_AT = const(9)
_LOST = const(10)
_LOST_AT = const(11)
_WORDS = const(12)

# LOST_* of rack.definitions.codes: a viper kernel inlines only constants of its own module
_OPEN = const(1)
_SHORT = const(2)
_UNREAD = const(3)
_JUMPED = const(4)
_TOO_COLD = const(5)
_STILL = const(6)

_NONE = const(-30_000)      # at and below: no value, NO_*
_LEAST = const(-600)        # an NTC reading outside this is a broken wire, 0.1 degC: engineering judgement
_MOST = const(2_000)
_WORST_FROM = const(250)    # the worst sensor is the one furthest from here
NEUTRAL_ddegC = const(250)


@micropython.viper
def _single(raw, last, why, good_ms, words, dt: int):
    """What one sensor says about itself: no value, outside the NTC's range, a jump."""
    x = ptr32(raw)
    p = ptr32(last)
    w = ptr8(why)
    g = ptr32(good_ms)
    o = ptr32(words)
    n = o[_SENSORS]
    jump = o[_JUMP]
    i = 0
    while i < n:
        now = x[i]
        before = p[i]
        fault = 0
        if now < _LEAST or now > _MOST:
            fault = _OPEN
            if now == -32768:
                fault = _UNREAD
            elif now == -32766 or now > _MOST:
                fault = _SHORT
        elif before > _NONE and (now - before > jump or before - now > jump):
            fault = _JUMPED
        if fault != 0:
            w[i] = fault
            g[i] = 0
        elif w[i] != 0:
            g[i] += dt
        i += 1


@micropython.viper
def _by_module(raw, last, why, good_ms, anchor, words):  # noqa: C901 one pass over the sensors
    """What its module says about a sensor: colder than all others, frozen; and who has recovered."""
    x = ptr32(raw)
    p = ptr32(last)
    w = ptr8(why)
    g = ptr32(good_ms)
    a = ptr32(anchor)
    o = ptr32(words)
    n = o[_SENSORS]
    m = o[_GROUP]
    first = 0
    while first < n:
        lowest = 30000
        second = 30000
        i = first
        while i < first + m:
            now = x[i]
            if now > _NONE and (w[i] == 0 or g[i] > 0):
                if now < lowest:
                    second = lowest
                    lowest = now
                elif now < second:
                    second = now
            i += 1
        i = first
        while i < first + m:
            now = x[i]
            if now > _NONE and (w[i] == 0 or g[i] > 0):
                if second == 30000 or now != p[i] or a[i] <= _NONE:
                    a[i] = second if second != 30000 else _NONE
                drift = second - a[i]
                if second != 30000 and second - now > o[_COLD]:
                    w[i] = _TOO_COLD
                    g[i] = 0
                elif second != 30000 and (drift > o[_FROZEN] or drift < 0 - o[_FROZEN]):
                    w[i] = _STILL
                    g[i] = 0
                elif w[i] != 0 and g[i] >= o[_RETURN_ms]:
                    w[i] = 0
            else:
                a[i] = _NONE        # what its module did meanwhile is no proof that it is frozen
            p[i] = now
            i += 1
        first += m


@micropython.viper
def _replace(raw, why, used, words):  # noqa: C901 one pass over the sensors
    """Lost sensors take the worst believed value of their module, or of the rack; then the extremes."""
    x = ptr32(raw)
    w = ptr8(why)
    u = ptr32(used)
    o = ptr32(words)
    n = o[_SENSORS]
    m = o[_GROUP]
    o[_LOST] = 0
    o[_LOST_AT] = -1
    high = _NONE
    low = 30000
    first = 0
    while first < n:
        far = -1
        worst = _NONE
        i = first
        while i < first + m:
            if w[i] == 0:
                now = x[i]
                u[i] = now
                if now > high:
                    high = now
                    o[_MAX_AT] = i
                if now < low:
                    low = now
                    o[_MIN_AT] = i
                d = now - _WORST_FROM
                if d < 0:
                    d = 0 - d
                if d > far:
                    far = d
                    worst = now
            i += 1
        i = first
        while i < first + m:
            if w[i] != 0:
                u[i] = worst
                o[_LOST] += 1
                if o[_LOST_AT] < 0:
                    o[_LOST_AT] = i
            i += 1
        first += m
    if o[_LOST] < n:
        o[_MAX] = high
        o[_MIN] = low
    i = 0
    while i < n:
        if u[i] == _NONE:
            u[i] = o[_MAX]
        i += 1


class Temperatures:
    """Plausible temperatures in `used`, why a sensor is lost in `why`; call `arrived` after each complete scan."""

    def __init__(self, params, s, temps_ddegC):
        self._s = s
        self._raw = temps_ddegC
        self.n = n = params.afe_devices * params.afe_temps_per_device
        self.used = array("i", [NEUTRAL_ddegC] * n)
        self.why = bytearray(n)
        self._last = array("i", [NO_VALUE] * n)
        self._anchor = array("i", [NO_VALUE] * n)
        self._good_ms = array("i", [0] * n)
        self._words = w = array("i", [0] * _WORDS)
        w[_SENSORS] = n
        w[_GROUP] = params.afe_temps_per_device
        w[_JUMP] = params.plausible_jump_dK
        w[_COLD] = params.plausible_disagree_dK
        w[_FROZEN] = params.plausible_frozen_dK
        w[_RETURN_ms] = params.plausible_return_ms
        w[_MAX] = w[_MIN] = NEUTRAL_ddegC
        s[I.CHARGE_TEMP_MAX_ddegC] = s[I.CHARGE_TEMP_MIN_ddegC] = NEUTRAL_ddegC
        s[I.TEMP_MAX_ddegC] = s[I.TEMP_MIN_ddegC] = s[I.CORE_MAX_ddegC] = NEUTRAL_ddegC
        s[I.TEMPS_LOST_AT] = -1

    def arrived(self, dt):
        """Judge a complete scan; dt: ms since the one before. Does not allocate.

        With every sensor lost the extremes keep their last values: the count trips.
        """
        w = self._words
        _single(self._raw, self._last, self.why, self._good_ms, w, dt)
        _by_module(self._raw, self._last, self.why, self._good_ms, self._anchor, w)
        _replace(self._raw, self.why, self.used, w)
        s = self._s
        s[I.TEMPS_LOST] = w[_LOST]
        s[I.TEMPS_LOST_AT] = at = w[_LOST_AT]
        s[I.TEMPS_LOST_WHY] = self.why[at] if at >= 0 else 0
        s[I.TEMP_MAX_ddegC] = w[_MAX]
        s[I.TEMP_MAX_AT] = w[_MAX_AT]
        s[I.TEMP_MIN_ddegC] = w[_MIN]
        s[I.TEMP_MIN_AT] = w[_MIN_AT]
        s[I.TEMP_SPREAD_ddegC] = w[_MAX] - w[_MIN]
