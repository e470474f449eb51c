"""Thermal runaway: detected by its rise, confirmed by a second witness.

GB 38031-2025 C.5.3.7: (25 % voltage drop OR the maker's maximum temperature) AND 1 degC/s for more than 3 s. One
broken sensor can show heat and rise at once, so a rise without a voltage drop also needs a neighbour that warms, or
gas. A slow runaway has no witness for its first minutes, see rack.control.sense.slow_rise.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.generated import runaway_tier as O
from rack.definitions.codes import (
    EV_DROP,
    EV_GAS,
    EV_HOT,
    EV_NEIGHBOUR,
    EV_RISE,
    EV_SLOW,
    RUN_FAST,
    RUN_NONE,
    RUN_SLOW,
    RUN_SUSPECT,
)
from rack.base.viper import ptr8, ptr32
from rack.control.sense.slow_rise import SlowRise

_STEP_ms = const(500)
_NO_REFERENCE = const(-30_000)
_NO_RISE = const(-30_000)   # below every rise
_MIN_RISE = const(2)        # 0.1 K: a neighbour warms by at least this in a step,
_MIN_WARMING = const(3)     # or by this above the rack's mean since the slow tier's reference; engineering judgement


@micropython.viper
def _risen(
    used: ptr32, why: ptr8, before: ptr32, risen_ms: ptr32, output: ptr32, count: int, need: int, dt: int
):
    """Count how long each sensor has risen by `need` in each step; find the longest. 0.1 K.

    before: reference of the step; output: layout runaway_tier.
    """
    fastest = _NO_RISE
    fastest_at = 0
    longest = 0
    candidate = -1
    sensor = 0
    while sensor < count:
        if why[sensor] != 0 or before[sensor] <= _NO_REFERENCE:
            risen_ms[sensor] = 0
        else:
            rise = used[sensor] - before[sensor]
            if rise > fastest:
                fastest = rise
                fastest_at = sensor
            if rise >= need:
                time = risen_ms[sensor] + dt
                risen_ms[sensor] = time
                if time > longest or (time == longest and rise > used[candidate] - before[candidate]):
                    longest = time
                    candidate = sensor
            else:
                risen_ms[sensor] = 0
        sensor += 1
    output[O.FASTEST] = fastest if fastest > _NO_RISE else 0
    output[O.AT] = fastest_at
    output[O.CANDIDATE] = candidate


@micropython.viper
def _mean_rise(used: ptr32, why: ptr8, before: ptr32, count: int) -> int:
    """Mean rise of the sensors in use since `before`, 0.1 K."""
    total = 0
    counted = 0
    sensor = 0
    while sensor < count:
        if why[sensor] == 0 and before[sensor] > _NO_REFERENCE:
            total += used[sensor] - before[sensor]
            counted += 1
        sensor += 1
    if counted == 0:
        return 0
    return total // counted


@micropython.viper
def _neighbour(used: ptr32, why: ptr8, before: ptr32, sensor: int, group: int, at: int, need: int) -> int:
    """1 when another sensor in use has risen by `need` or more. sensor: the first of the module, at: the candidate."""
    end = sensor + group
    while sensor < end:
        if (
            sensor != at and why[sensor] == 0
            and before[sensor] > _NO_REFERENCE and used[sensor] - before[sensor] >= need
        ):  # fmt: skip
            return 1
        sensor += 1
    return 0


@micropython.viper
def _remember(used: ptr32, why: ptr8, before: ptr32, count: int):
    sensor = 0
    while sensor < count:
        before[sensor] = used[sensor] if why[sensor] == 0 else _NO_REFERENCE
        sensor += 1


class _Tier:
    """The fast tier: a reference that each step renews, and the time for which each sensor has risen."""

    def __init__(self, n, step_ms):
        self.before = array("i", [_NO_REFERENCE] * n)
        self.ms = array("i", [0] * n)
        self.out = array("i", [0] * O.WORDS)
        self.elapsed = step_ms  # so that the first scan becomes the first reference
        self.witness = 0        # EV_NEIGHBOUR of the last step
        self.at = -1            # candidate that has risen for the tier's time


class Runaway:
    """Call `arrived` after each judged temperature scan. Writes rise_* and runaway*; does not allocate."""

    def __init__(self, params, s, temperatures):
        p = params
        self._s = s
        self._t = temperatures
        self._n = temperatures.n
        self._group = p.afe_temps_per_device
        self._cells = p.afe_cells_per_device
        self._p = p
        self._fast = _Tier(self._n, _STEP_ms)
        self._slow = SlowRise(params, s, temperatures)
        self._jumped_at = -1            # sensor that jumped up twice in a row, -1 without one
        self._jumped_ms = 0             # time since then
        s[I.RUNAWAY_AT] = -1

    def judge_slow(self, dt):
        """First half: the rise over minutes, of one module; dt: ms since the temperature scan before this one."""
        self._slow.arrived(dt)

    def judge_fast(self, dt):
        """Second half: the rise over seconds, and the decision."""
        s = self._s
        fast = self._fast
        fast.elapsed += dt
        if fast.elapsed >= _STEP_ms:
            ms = min(fast.elapsed, 10_000)
            # one count less, because the readings of a steady 1 degC/s alternate by one count
            need = max(1, self._p.runaway_rise_mKps * ms // 100_000 - 1)
            self._step(fast, need, ms, self._p.runaway_rise_ms)
            s[I.RISE_mKps] = fast.out[O.FASTEST] * 100_000 // ms
            s[I.RISE_AT] = fast.out[O.AT]
        self._watch_jumps(dt)
        self._decide()

    def _watch_jumps(self, dt):
        """Keep a sensor that jumped up twice in a row as a candidate, as long as a lost sensor takes to return."""
        if self._t.jumped_at >= 0:
            self._jumped_at = self._t.jumped_at
            self._jumped_ms = 0
        elif self._jumped_at >= 0:
            self._jumped_ms += dt
            if self._jumped_ms >= self._p.plausible_return_ms:
                self._jumped_at = -1

    def _step(self, tier, need, ms, lasting_ms):
        t = self._t
        _risen(t.used, t.why, tier.before, tier.ms, tier.out, self._n, need, ms)
        at = tier.out[O.CANDIDATE]
        tier.at = at if at >= 0 and tier.ms[at] > lasting_ms else -1
        tier.witness = 0
        if tier.at >= 0:
            first = at // self._group * self._group
            if _neighbour(t.used, t.why, tier.before, first, self._group, at, max(_MIN_RISE, need // 4)):
                tier.witness = EV_NEIGHBOUR
            rise = _MIN_WARMING + max(0, self._mean_of_others(at))
            if _neighbour(t.used, t.why, self._slow.before, first, self._group, at, rise):
                tier.witness = EV_NEIGHBOUR
        _remember(t.used, t.why, tier.before, self._n)
        tier.elapsed = 0

    def _mean_of_others(self, at):
        """Mean rise of all other sensors since the slow tier's reference; at: the candidate."""
        t = self._t
        before = self._slow.before[at]
        own = t.used[at] - before if before > _NO_REFERENCE else 0
        mean = _mean_rise(t.used, t.why, self._slow.before, self._n)
        return (mean * self._n - own) // max(1, self._n - 1)

    def _decide(self):
        s = self._s
        fast = self._fast
        slow = self._slow
        level = RUN_NONE
        bits = 0
        at = -1
        if slow.at >= 0:
            at = slow.at
            bits = EV_SLOW | self._evidence(at)
            if slow.has_neighbour:
                bits |= EV_NEIGHBOUR
            level = RUN_SLOW
        risen = fast.at if fast.at >= 0 else self._jumped_at
        if risen >= 0:
            own = EV_RISE | fast.witness | self._evidence(risen)
            if risen == slow.at:
                own |= bits
            found = RUN_SUSPECT
            if own & EV_DROP or (own & EV_HOT and own & (EV_NEIGHBOUR | EV_GAS)):
                found = RUN_FAST
            if found > level:       # sensor and evidence of the tier with the higher level
                level = found
                at = risen
                bits = own
        s[I.RUNAWAY] = level
        s[I.RUNAWAY_AT] = at
        s[I.RUNAWAY_bits] = bits

    def _evidence(self, at):
        """Further evidence of a runaway at this sensor, EV_*."""
        s = self._s
        bits = 0
        if self._t.used[at] >= self._p.runaway_temp_ddegC:
            bits |= EV_HOT
        drop = s[I.CELL_DROP_AT]
        if drop >= 0 and drop // self._cells == at // self._group:
            bits |= EV_DROP
        if s[I.GAS_mV] >= self._p.runaway_gas_mV:
            bits |= EV_GAS
        return bits
