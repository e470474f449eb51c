"""Slow rise: how much each sensor has warmed against its module, and its module against the rack.

A polyanion sodium cell may self-heat below 1 degC/min (Carter et al., Energies 2025 18 661). In the first ten minutes
its neighbours warm by less than a sensor resolves. So a rise counts over minutes and needs no witness. The rise of a
sensor is a sum of its steps against the median of its module. The sum forgets within `runaway_slow_ms`, so a slow
difference of healthy cells stays small, and a step of one reading counts only up to a limit.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.generated import slow_rise as W
from rack.base.viper import ptr8, ptr32

_STEP_ms = const(20_000)        # from one reference to the next: engineering judgement
_NO_REFERENCE = const(-30_000)  # below every temperature
_BELOW = const(-(1 << 28))      # below every sum
_SCALE = const(64)              # sums count in 1/64 of 0.1 K
_FORGET = const(1024)           # unit of the share that a step forgets
_UP = const(320)                # of one step count at most 0.5 K up and 1.0 K down, so that noise and a loose contact
_DOWN = const(-640)             # do not add up to a rise: engineering judgement
_MIN_NEIGHBOUR = const(192)     # 0.3 K: a smaller rise of a neighbour does not count, engineering judgement


@micropython.viper
def _median(used: ptr32, why: ptr8, sensor: int, end: int) -> int:
    """Lower median of the sensors in use from `sensor` on, before `end`, 0.1 degC; _NO_REFERENCE without one."""
    first = sensor
    count = 0
    while sensor < end:
        if why[sensor] == 0:
            count += 1
        sensor += 1
    rank = (count - 1) // 2
    sensor = first
    while sensor < end:
        if why[sensor] == 0:
            value = used[sensor]
            below = 0
            other = first
            while other < end:
                if why[other] == 0 and (used[other] < value or (used[other] == value and other < sensor)):
                    below += 1
                other += 1
            if below == rank:
                return value
        sensor += 1
    return _NO_REFERENCE


@micropython.viper
def _same(why: ptr8, before: ptr32, sensor: int, end: int) -> int:
    """1 when the same sensors are in use as at the last reference."""
    while sensor < end:
        if why[sensor] == 0:
            if before[sensor] <= _NO_REFERENCE:
                return 0
        elif before[sensor] > _NO_REFERENCE:
            return 0
        sensor += 1
    return 1


@micropython.viper
def _advance(used: ptr32, why: ptr8, before: ptr32, risen: ptr32, words: ptr32, sensor: int):
    """Add one step of a module, take the new reference, find the highest rise. sensor: the first of the module.

    words: MOVED, SAME and OVER of this module; NEED and NEED_RACK hold for this pass.
    """
    end = sensor + words[W.GROUP]
    while sensor < end:
        rise = risen[sensor]
        rise -= (rise * words[W.SHARE]) >> 10
        if why[sensor] != 0:
            before[sensor] = _NO_REFERENCE
        else:
            if words[W.SAME] != 0:
                step = (used[sensor] - before[sensor] - words[W.MOVED]) * _SCALE
                rise += _UP if step > _UP else _DOWN if step < _DOWN else step
            before[sensor] = used[sensor]
            apart = used[sensor] - words[W.MEDIAN]
            if apart < 0:
                apart = 0 - apart
            if apart > words[W.DRIFT]:
                words[W.DRIFT] = apart
                words[W.DRIFT_AT] = sensor
            if rise > words[W.HIGHEST]:
                words[W.HIGHEST] = rise
            if (rise >= words[W.NEED] or rise + words[W.OVER] >= words[W.NEED_RACK]) and rise > words[W.FOUND]:
                words[W.FOUND] = rise
                words[W.FOUND_AT] = sensor
        risen[sensor] = rise
        sensor += 1


@micropython.viper
def _finish(moved: ptr32, over: ptr32, words: ptr32):
    """End a pass: how far the rack and each module against it have warmed."""
    modules = words[W.MODULES]
    total = 0
    module = 0
    while module < modules:
        total += moved[module]
        module += 1
    mean = total * _SCALE // modules
    others = modules - 1 if modules > 1 else 1
    share = words[W.SHARE]
    step = -_DOWN if mean > -_DOWN else _DOWN if mean < _DOWN else mean
    words[W.WARMING] += step - ((words[W.WARMING] * share) >> 10)
    module = 0
    while module < modules:
        step = 0
        if modules > 1:
            step = (moved[module] * modules - total) * _SCALE // others     # against the mean of the other modules
        step = _UP if step > _UP else _DOWN if step < _DOWN else step
        over[module] += step - ((over[module] * share) >> 10)
        module += 1


def _sum_of(mKpmin, ms):
    """The sum that a rise of mKpmin over ms makes."""
    return mKpmin * (ms // 1000) // 60 * _SCALE // 100


class SlowRise:
    """Call `arrived` after each judged temperature scan: it judges one module. Writes rise_slow_mKpmin, temp_drift_*.

    before: reference of each sensor, 0.1 degC; at: sensor with a slow runaway, -1 without one; has_neighbour: another
    sensor of its module has risen against the rack by a tenth of its rise or more.
    """

    def __init__(self, params, s, temperatures):
        p = params
        self._s = s
        self._p = p
        self._t = temperatures
        self._group = p.afe_temps_per_device
        self._modules = p.afe_devices
        n = temperatures.n
        self.at = s[I.TEMP_DRIFT_AT] = -1
        self.has_neighbour = False
        self.before = array("i", [_NO_REFERENCE] * n)
        self._risen = array("i", [0] * n)
        self._median = array("i", [_NO_REFERENCE] * p.afe_devices)
        self._moved = array("i", [0] * p.afe_devices)
        self._over = array("i", [0] * p.afe_devices)    # of each module against the rack
        self._words = array("i", [0] * W.WORDS)
        self._need = _sum_of(p.runaway_slow_mKpmin, p.runaway_slow_ms)
        self._need_rack = _sum_of(p.runaway_slow_rack_mKpmin, p.runaway_slow_ms)
        self._elapsed_ms = _STEP_ms      # so that the first scan becomes the first reference
        self._module = p.afe_devices    # the next one of this pass

    def arrived(self, dt):
        """dt: ms since the temperature scan before this one."""
        self._elapsed_ms += dt
        module = self._module
        if module < self._modules:
            self._judge(module)
            self._module = module + 1
            if self._module == self._modules:
                self._end_pass()
        elif self._elapsed_ms >= _STEP_ms:
            self._begin_pass()

    def _begin_pass(self):
        w = self._words
        w[W.SHARE] = min(_FORGET // 2, min(self._elapsed_ms, 600_000) * _FORGET // self._p.runaway_slow_ms)
        self._elapsed_ms = 0
        allowed = max(0, w[W.WARMING]) * self._p.runaway_slow_warming_pct // 100
        w[W.NEED] = self._need + allowed
        w[W.NEED_RACK] = self._need_rack + allowed
        w[W.HIGHEST] = w[W.FOUND] = _BELOW
        w[W.DRIFT] = 0
        w[W.FOUND_AT] = w[W.DRIFT_AT] = -1
        self._module = 0

    def _judge(self, module):
        t = self._t
        w = self._words
        first = module * self._group
        end = first + self._group
        median = _median(t.used, t.why, first, end)
        same = median > _NO_REFERENCE and _same(t.why, self.before, first, end)
        moved = median - self._median[module] if same else 0
        self._median[module] = median
        self._moved[module] = w[W.MOVED] = moved
        w[W.SAME] = 1 if same else 0
        w[W.MEDIAN] = median
        w[W.OVER] = self._over[module]
        w[W.GROUP] = self._group    # each time: a kernel indexes with it, and a bit may flip in RAM
        _advance(t.used, t.why, self.before, self._risen, w, first)

    def _end_pass(self):
        w = self._words
        w[W.MODULES] = self._modules
        _finish(self._moved, self._over, w)
        self.at = at = w[W.FOUND_AT]
        self.has_neighbour = False
        if at >= 0:
            module = at // self._group
            need = max(_MIN_NEIGHBOUR, self._risen[at] // 10) - self._over[module]
            for sensor in range(module * self._group, (module + 1) * self._group):
                if sensor != at and self._risen[sensor] >= need:
                    self.has_neighbour = True
        self._s[I.TEMP_DRIFT_dK] = w[W.DRIFT]
        self._s[I.TEMP_DRIFT_AT] = w[W.DRIFT_AT]
        self._s[I.RISE_SLOW_mKpmin] = max(0, w[W.HIGHEST]) * 100 // _SCALE * 60 // (self._p.runaway_slow_ms // 1000)
