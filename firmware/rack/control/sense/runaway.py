"""Thermal runaway: seen by its rise, confirmed by a second witness.

GB 38031-2025 C.5.3.7: (25 % voltage drop OR the maker's maximum temperature) AND 1 degC/s for more
than 3 s. One broken sensor can show heat and rise at once, so a rise without a voltage drop also
needs a neighbour that warms, or gas. A polyanion sodium cell may self-heat below 1 degC/min
(Carter et al., Energies 2025 18 661), so a slow tier compares each sensor with its rack's mean rise.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
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

_STEP_ms = const(500)
_MINUTE_ms = const(60_000)
_NO_REFERENCE = const(-30_000)
_LEAST_RISE = const(2)      # 0.1 K: a neighbour warms by at least this in a step,
_LEAST_WARM = const(3)      # or by this above the rack's mean since the slow tier's reference; engineering judgement

# words of the kernel's result
_FASTEST = const(0)         # 0.1 K in this step
_AT = const(1)
_CANDIDATE = const(2)       # sensor that has risen for longest, -1 none
_MEAN = const(3)
_WORDS = const(4)


@micropython.viper
def _risen(used, why, before, ms, out, n: int, need: int, mean: int, dt: int):
    """Count how long each sensor has risen by `need` more than `mean` a step; remember the longest."""
    u = ptr32(used)
    w = ptr8(why)
    b = ptr32(before)
    t = ptr32(ms)
    o = ptr32(out)
    fastest = -30000
    fastest_at = 0
    longest = 0
    candidate = -1
    i = 0
    while i < n:
        if w[i] != 0 or b[i] <= _NO_REFERENCE:
            t[i] = 0
        else:
            rise = u[i] - b[i] - mean
            if rise > fastest:
                fastest = rise
                fastest_at = i
            if rise >= need:
                t[i] += dt
                if t[i] > longest or (t[i] == longest and rise > u[candidate] - b[candidate] - mean):
                    longest = t[i]
                    candidate = i
            else:
                t[i] = 0
        i += 1
    o[_FASTEST] = fastest if fastest > -30000 else 0
    o[_AT] = fastest_at
    o[_CANDIDATE] = candidate


@micropython.viper
def _mean_rise(used, why, before, n: int) -> int:
    """Mean rise of the believed sensors since `before`, 0.1 K."""
    u = ptr32(used)
    w = ptr8(why)
    b = ptr32(before)
    total = 0
    count = 0
    i = 0
    while i < n:
        if w[i] == 0 and b[i] > _NO_REFERENCE:
            total += u[i] - b[i]
            count += 1
        i += 1
    if count == 0:
        return 0
    return total // count


@micropython.viper
def _neighbour(used, why, before, first: int, m: int, at: int, least: int) -> int:
    """1 when another believed sensor of the module has risen by `least` or more."""
    u = ptr32(used)
    w = ptr8(why)
    b = ptr32(before)
    i = first
    while i < first + m:
        if i != at and w[i] == 0 and b[i] > _NO_REFERENCE and u[i] - b[i] >= least:
            return 1
        i += 1
    return 0


@micropython.viper
def _remember(used, why, before, n: int):
    u = ptr32(used)
    w = ptr8(why)
    b = ptr32(before)
    i = 0
    while i < n:
        b[i] = u[i] if w[i] == 0 else _NO_REFERENCE
        i += 1


class _Tier:
    """One speed: a reference that is renewed each step, and how long each sensor has risen."""

    def __init__(self, n, step_ms):
        self.before = array("i", [_NO_REFERENCE] * n)
        self.ms = array("i", [0] * n)
        self.out = array("i", [0] * _WORDS)
        self.elapsed = step_ms  # the first scan is the first reference
        self.witness = 0        # EV_NEIGHBOUR of the last step
        self.at = -1            # candidate whose rise has lasted


class Runaway:
    """Call `arrived` after each judged temperature scan; writes rise_*, runaway*, allocates nothing."""

    def __init__(self, params, s, temperatures):
        p = params
        self._s = s
        self._t = temperatures
        self._n = temperatures.n
        self._group = p.afe_temps_per_device
        self._cells = p.afe_cells_per_device
        self._p = p
        self._fast = _Tier(self._n, _STEP_ms)
        self._slow = _Tier(self._n, _MINUTE_ms)
        s[I.RUNAWAY_AT] = -1

    def arrived(self, dt):
        """dt: ms since the temperature scan before this one."""
        s = self._s
        p = self._p
        fast = self._fast
        slow = self._slow
        fast.elapsed += dt
        slow.elapsed += dt
        if fast.elapsed >= _STEP_ms:
            ms = min(fast.elapsed, 10_000)
            # one count of the reading is forgiven: a steady 1 degC/s alternates by it
            need = max(1, p.runaway_rise_mKps * ms // 100_000 - 1)
            self._step(fast, need, 0, ms, p.runaway_rise_ms)
            s[I.RISE_mKps] = fast.out[_FASTEST] * 100_000 // ms
            s[I.RISE_AT] = fast.out[_AT]
        if slow.elapsed >= _MINUTE_ms:
            ms = min(slow.elapsed, 600_000)
            need = max(1, p.runaway_slow_mKpmin * (ms // 100) // 60_000)
            mean = self._mean(slow)
            self._step(slow, need, mean, ms, p.runaway_slow_ms - 1)
            s[I.RISE_SLOW_mKpmin] = slow.out[_FASTEST] * 60_000 // (ms // 100)
        self._decide()

    def _step(self, tier, need, mean, ms, lasting_ms):
        t = self._t
        _risen(t.used, t.why, tier.before, tier.ms, tier.out, self._n, need, mean, ms)
        at = tier.out[_CANDIDATE]
        tier.at = at if at >= 0 and tier.ms[at] > lasting_ms else -1
        tier.witness = 0
        if tier.at >= 0:
            first = at // self._group * self._group
            least = max(_LEAST_RISE, need // 4) + max(0, mean)
            if _neighbour(t.used, t.why, tier.before, first, self._group, at, least):
                tier.witness = EV_NEIGHBOUR
            least = _LEAST_WARM + max(0, self._mean_of_others(at))
            if _neighbour(t.used, t.why, self._slow.before, first, self._group, at, least):
                tier.witness = EV_NEIGHBOUR
        _remember(t.used, t.why, tier.before, self._n)
        tier.elapsed = 0

    def _mean(self, tier):
        return _mean_rise(self._t.used, self._t.why, tier.before, self._n)

    def _mean_of_others(self, at):
        """The rack's rise since the slow tier's reference without the candidate's own."""
        before = self._slow.before[at]
        own = self._t.used[at] - before if before > _NO_REFERENCE else 0
        return (self._mean(self._slow) * self._n - own) // max(1, self._n - 1)

    def _decide(self):
        s = self._s
        fast = self._fast
        slow = self._slow
        level = RUN_NONE
        bits = 0
        at = -1
        if slow.at >= 0:
            at = slow.at
            bits = EV_SLOW | slow.witness | self._evidence(at)
            if bits & (EV_NEIGHBOUR | EV_GAS | EV_DROP):    # its own heat is no second witness
                level = RUN_SLOW
        if fast.at >= 0:
            own = EV_RISE | fast.witness | self._evidence(fast.at)
            if fast.at == slow.at:
                own |= bits
            found = RUN_SUSPECT
            if own & EV_DROP or (own & EV_HOT and own & (EV_NEIGHBOUR | EV_GAS)):
                found = RUN_FAST
            if found > level:       # each tier speaks of its own sensor and of the evidence there
                level = found
                at = fast.at
                bits = own
        s[I.RUNAWAY] = level
        s[I.RUNAWAY_AT] = at
        s[I.RUNAWAY_bits] = bits

    def _evidence(self, at):
        """What else speaks for a runaway at this sensor."""
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
