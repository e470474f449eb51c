"""Precharge: the verdict inside its RC window, the energy in its resistor, and the failed tries.

The hazards are a contactor that closes onto a short or onto a bus that is not charged, and a resistor that burns after
several tries. The PCS reports the bus voltage and may be wrong. So the current of the shunt must have decayed, and the
charge that has flowed must be that of the DC link, in several status frames in a row. The contactor sequence calls
this. Scan context, does not allocate.
"""

from micropython import const
from rack.generated import ids as I

# verdict
WAIT = const(0)
DONE = const(1)
TOO_FAST = const(2)
TOO_SLOW = const(3)

_STEP_dA = const(1)             # resolution of the current
_MAX_dA = const(20_000)
_MAX_CHARGE_dAms = const(200_000_000)

QUARTERS = const(4)             # of the resistor's energy budget: the unit in which retained data keep its heat


def _percent(value, pct):
    """pct percent of value, within 31 bits for values up to 2**28 and pct up to 200."""
    return value // 100 * pct + value % 100 * pct // 100


class Precharge:
    """Judges a precharge and keeps account of its resistor. Writes precharge_fast, precharge_slow and precharge_J."""

    def __init__(self, params, s):
        self._p = params
        self._s = s
        self.verdict = WAIT
        self.heat_mJ = 0                # energy in the resistor that has not cooled off
        self._fails = 0                 # failed tries since the last good one
        self._max_mJ = params.precharge_energy_J * 1000
        self._cool_ms = params.precharge_cooldown_ms    # the whole budget cools off in this time
        self._cool_rest = 0             # remainder of the energy that cooled off, in 1/_cool_ms mJ
        self._across_V = 0              # voltage across the resistor in the last scan
        self._charge_dAms = 0           # that has flowed in this precharge
        self._current_dA = 0            # in the last scan
        self._start_dV = 0              # bus voltage at the begin
        self._age_ms = 0                # of the PCS status in the last scan
        self._full = 0                  # status frames in a row with a full bus
        self._full_ms = 0               # time of the first of them
        self._good = 0                  # status frames in a row with which current and charge agree

    def begin(self):
        """The precharge coil closes now."""
        s = self._s
        self._across_V = self._across()
        self._charge_dAms = self._full = self._good = 0
        self._current_dA = s[I.CURRENT_dA]
        self._start_dV = s[I.BUS_dV]
        self._age_ms = s[I.PCS_AGE_ms]

    def judge(self):
        """Judge the running precharge; returns the verdict. More energy than the budget is TOO_SLOW.

        A full bus counts from `precharge_samples` status frames in a row on.
        """
        s = self._s
        p = self._p
        elapsed_ms = s[I.STEP_ms]
        if s[I.PCS_AGE_ms] <= self._age_ms:
            self._sample(elapsed_ms)
        self._age_ms = s[I.PCS_AGE_ms]
        verdict = TOO_SLOW if elapsed_ms >= p.precharge_late_ms else WAIT
        if self._full >= p.precharge_samples and self._full_ms < p.precharge_early_ms:
            verdict = TOO_FAST
        elif self._good >= p.precharge_samples:
            verdict = DONE
        if verdict == WAIT and self.heat_mJ > self._max_mJ:
            verdict = TOO_SLOW
        self.verdict = verdict
        return verdict

    def _sample(self, elapsed_ms):
        """Count a new status frame: does it report a full bus, and do current and charge agree?"""
        s = self._s
        p = self._p
        rack_dV = s[I.RACK_dV]
        if s[I.BUS_dV] * 1000 < rack_dV * p.precharge_done_permille:
            self._full = self._good = 0
            return
        if not self._full:
            self._full_ms = elapsed_ms
        self._full = min(self._full + 1, 1000)
        is_possible = s[I.BUS_dV] * 1000 <= rack_dV * p.precharge_over_permille
        is_good = is_possible and self._has_decayed() and self._has_flowed()
        self._good = min(self._good + 1, 1000) if is_good else 0

    def _has_decayed(self):
        """True when the current is that of a full bus: the rest of the voltage across the resistor."""
        p = self._p
        end_dA = self._s[I.RACK_dV] * (1000 - p.precharge_done_permille) // 1000 // p.precharge_ohm
        limit_dA = end_dA + _percent(end_dA, p.precharge_charge_pct) + _STEP_dA
        return -limit_dA <= self._s[I.CURRENT_dA] <= limit_dA

    def _has_flowed(self):
        """True when the charge is that of the DC link: its capacity tau / R times the rise of the bus."""
        p = self._p
        full_dAms = p.precharge_tau_ms * max(0, self._s[I.BUS_dV] - self._start_dV) // p.precharge_ohm
        margin_dAms = _percent(full_dAms, p.precharge_charge_pct)
        return full_dAms - margin_dAms <= self._charge_dAms <= full_dAms + margin_dAms

    def failed(self):
        """Count the try that has just failed."""
        self._fails += 1
        s = self._s
        s[I.PRECHARGE_FAST] = self._fails if self.verdict == TOO_FAST else 0
        s[I.PRECHARGE_SLOW] = self._fails if self.verdict == TOO_SLOW else 0

    def forget_failures(self):
        """After a good precharge, or after an operator's reset."""
        self._fails = 0
        self._s[I.PRECHARGE_FAST] = self._s[I.PRECHARGE_SLOW] = 0

    def too_hot(self):
        """True while the resistor holds more than half of its budget: too much for a start."""
        return self.heat_mJ > self._max_mJ // 2     # not heat_mJ * 2: that may be four budgets, beyond 31 bits

    def kept_heat(self):
        """Energy in the resistor for retained data: quarters of its budget, rounded up, 0..8."""
        return -(-self.heat_mJ // (self._max_mJ // QUARTERS))

    def restore_heat(self, quarters):
        """After a start. The duration of the power loss is not known, so the resistor counts as not cooled."""
        self.heat_mJ = self._max_mJ // QUARTERS * min(quarters, 2 * QUARTERS)

    def watch(self, is_running, dt):
        """Account for the resistor's energy over dt ms.

        A running precharge adds (rack - bus)^2 / R, with a linear bus voltage between two scans. Otherwise the
        budget leaves within the cool-down time.
        """
        if is_running:
            self._count_charge(min(dt, 100))
            before, now = self._across_V, self._across()
            self._across_V = now
            square = (before * before + before * now + now * now) // 3
            self.heat_mJ = min(self.heat_mJ + square // self._p.precharge_ohm * min(dt, 100), 2 * self._max_mJ)
        elif self.heat_mJ:
            self._cool(min(dt, self._cool_ms, 1000))
        self._s[I.PRECHARGE_J] = self.heat_mJ // 1000

    def _count_charge(self, dt):
        """Add the charge of the last dt ms; the current changes linearly between two scans."""
        before_dA = self._current_dA
        self._current_dA = now_dA = max(-_MAX_dA, min(_MAX_dA, self._s[I.CURRENT_dA]))
        self._charge_dAms = min(self._charge_dAms + (before_dA + now_dA) * dt // 2, _MAX_CHARGE_dAms)

    def _cool(self, dt):
        """dt: ms, up to 1000 and up to _cool_ms, so that both products stay within 31 bits."""
        rest = self._max_mJ % self._cool_ms * dt + self._cool_rest
        self._cool_rest = rest % self._cool_ms
        self.heat_mJ = max(0, self.heat_mJ - self._max_mJ // self._cool_ms * dt - rest // self._cool_ms)

    def _across(self):
        """Volts across the precharge resistor while it carries the current."""
        return (self._s[I.RACK_dV] - self._s[I.BUS_dV]) // 10
