"""Precharge: the verdict inside its RC window, the energy in its resistor, and the failed tries.

The hazards are a contactor that closes onto a short or a charged bus, and a resistor that burns after several tries.
The contactor sequence calls this. Scan context, does not allocate.
"""

from micropython import const
from rack.generated import ids as I

# verdict
WAIT = const(0)
DONE = const(1)
TOO_FAST = const(2)
TOO_SLOW = const(3)

QUARTERS = const(4)             # of the resistor's energy budget: the unit in which retained data keep its heat


def precharge_verdict(elapsed_ms, bus_dV, rack_dV, done_permille, early_ms, late_ms):
    """Judge a running precharge against its RC window.

    elapsed_ms: since the precharge coil closed; bus_dV, rack_dV: 0.1 V, up to 20 000
    Returns WAIT, DONE, TOO_FAST (load disconnected or feedback shorted) or TOO_SLOW (leak or short).
    """
    if bus_dV * 1000 >= rack_dV * done_permille:
        return TOO_FAST if elapsed_ms < early_ms else DONE
    return TOO_SLOW if elapsed_ms >= late_ms else WAIT


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

    def begin(self):
        """The precharge coil closes now."""
        self._across_V = self._across()

    def judge(self):
        """Judge the running precharge; returns the verdict. More energy than the budget is TOO_SLOW."""
        s = self._s
        p = self._p
        verdict = precharge_verdict(
            s[I.STEP_ms], s[I.BUS_dV], s[I.RACK_dV],
            p.precharge_done_permille, p.precharge_early_ms, p.precharge_late_ms,
        )  # fmt: skip
        if verdict == WAIT and self.heat_mJ > self._max_mJ:
            verdict = TOO_SLOW
        self.verdict = verdict
        return verdict

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
            before, now = self._across_V, self._across()
            self._across_V = now
            square = (before * before + before * now + now * now) // 3
            self.heat_mJ = min(self.heat_mJ + square // self._p.precharge_ohm * min(dt, 100), 2 * self._max_mJ)
        elif self.heat_mJ:
            self._cool(min(dt, self._cool_ms, 1000))
        self._s[I.PRECHARGE_J] = self.heat_mJ // 1000

    def _cool(self, dt):
        """dt: ms, up to 1000 and up to _cool_ms, so that both products stay within 31 bits."""
        rest = self._max_mJ % self._cool_ms * dt + self._cool_rest
        self._cool_rest = rest % self._cool_ms
        self.heat_mJ = max(0, self.heat_mJ - self._max_mJ // self._cool_ms * dt - rest // self._cool_ms)

    def _across(self):
        """Volts across the precharge resistor while it carries the current."""
        return (self._s[I.RACK_dV] - self._s[I.BUS_dV]) // 10
