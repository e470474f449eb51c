"""The hybrid pair: slow balancing between the two racks that share one request.

The division itself is part of the response kernel: the low-pass rack takes `share` of the low-pass
of the request and the bias, the high-pass rack takes the rest. Both work out both shares from the
same mains periods, in integers with carried remainder, so the shares add up exactly without a link.

The bias is the one quantity that comes over a link. The station tells both racks both states of
charge; both slew towards the same bias by the same steps. Without the station it slews back to zero.
The hazard is a pair that drifts apart unseen, or a bias that moves faster than the racks agree on it.
"""

from micropython import const

from rack import ids as I

LINK_LOST_MS = const(5_000)     # engineering judgement: five lost messages of the station
_QUIET_cpct = const(100)        # differences below 1 % SoC are left alone
_FULL_cpct = const(1_000)       # at 10 % beyond that the bias is at its most: engineering judgement
_STEP_ms = const(100)           # 10 W/s: 5 % of a 200 kW pair takes a quarter of an hour


class Balance:
    """bias_W: power moved from the high-pass rack to the low-pass rack, positive discharges the latter."""

    def __init__(self, params):
        self.bias_W = 0
        self._most_W = params.split_bias_W if params.split_role else 0
        self._ms = 0

    def scan(self, elapsed_ms, s):
        """One scan of elapsed_ms; s: process image with the pair's signals. Does not allocate."""
        if not self._most_W:
            return
        self._ms += elapsed_ms
        if self._ms < _STEP_ms:
            return
        self._ms -= _STEP_ms
        aim = 0
        if s[I.PAIR_AGE_ms] < LINK_LOST_MS:
            aim = self.aim_W(s[I.PAIR_LOW_cpct] - s[I.PAIR_HIGH_cpct])
        if aim > self.bias_W:
            self.bias_W += 1
        elif aim < self.bias_W:
            self.bias_W -= 1

    def aim_W(self, difference_cpct):
        """Bias wanted for a state of charge of the low-pass rack that is higher by difference_cpct (0.01 %)."""
        beyond = abs(difference_cpct) - _QUIET_cpct
        if beyond <= 0:
            return 0
        bias = self._most_W * min(beyond, _FULL_cpct) // _FULL_cpct
        return bias if difference_cpct > 0 else -bias
