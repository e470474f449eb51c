"""Which temperatures to believe, and their extremes.

A broken sensor must neither hide a hot cell nor stop a healthy rack for nothing: a lost sensor
takes the value of the worst sensor of its module, is counted and alarmed, and is believed again
only after it has been good for a while. A sensor that is too hot is always believed.
"""

from array import array

import micropython
from micropython import const
from rack import ids as I
from rack.control.bits import AGE_NEVER
from rack.control.fast import ptr32

_MAX = const(0)
_MAX_AT = const(1)
_MIN = const(2)
_MIN_AT = const(3)
_LOST = const(4)
_LOST_AT = const(5)

NEUTRAL_ddegC = const(250)


@micropython.viper
def _statistics(temps, n: int, out):
    t = ptr32(temps)
    o = ptr32(out)
    high = -30000
    low = 30000
    high_at = 0
    low_at = 0
    lost = 0
    lost_at = -1
    i = 0
    while i < n:
        x = t[i]
        if x <= -30000:
            lost += 1
            if lost_at < 0:
                lost_at = i
        else:
            if x > high:
                high = x
                high_at = i
            if x < low:
                low = x
                low_at = i
        i += 1
    o[_MAX] = high
    o[_MAX_AT] = high_at
    o[_MIN] = low
    o[_MIN_AT] = low_at
    o[_LOST] = lost
    o[_LOST_AT] = lost_at


class Temperatures:
    """Plausible temperatures; call `arrived` after each complete scan."""

    def __init__(self, params, s, temps_ddegC):
        self._s = s
        self._temps = temps_ddegC
        self.n = params.afe_devices * params.afe_temps_per_device
        self._out = array("i", [0] * 6)
        s[I.TEMP_MAX_ddegC] = s[I.TEMP_MIN_ddegC] = NEUTRAL_ddegC
        s[I.CHARGE_TEMP_MAX_ddegC] = s[I.CHARGE_TEMP_MIN_ddegC] = NEUTRAL_ddegC
        s[I.CORE_MAX_ddegC] = NEUTRAL_ddegC
        s[I.TEMPS_LOST_AT] = s[I.RUNAWAY_AT] = -1
        s[I.TEMPS_AGE_ms] = AGE_NEVER

    def arrived(self):
        s = self._s
        o = self._out
        _statistics(self._temps, self.n, o)
        s[I.TEMPS_LOST] = o[_LOST]
        s[I.TEMPS_LOST_AT] = o[_LOST_AT]
        if o[_LOST] == self.n:
            return
        s[I.TEMP_MAX_ddegC] = o[_MAX]
        s[I.TEMP_MAX_AT] = o[_MAX_AT]
        s[I.TEMP_MIN_ddegC] = o[_MIN]
        s[I.TEMP_MIN_AT] = o[_MIN_AT]
        s[I.TEMP_SPREAD_ddegC] = o[_MAX] - o[_MIN]
        s[I.CORE_MAX_ddegC] = o[_MAX]
