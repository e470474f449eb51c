"""The hybrid pair: slow balancing between the two racks that share one request.

The division itself is part of the response kernel: the low-pass rack takes `share` of the low-pass
of the request and the bias, the high-pass rack takes the rest. Both work out both shares from the
same mains periods, in integers with carried remainder, so the shares add up exactly without a link.

The bias is the one quantity that comes over a link. The EMS tells both racks both states of
charge; both slew towards the same bias by the same steps. Without the EMS it slews back to zero.
The hazard is a pair that drifts apart unseen, a bias that moves faster than the racks agree on it, and a rack that goes
on for its partner when it knows the grid no more.
"""

import micropython
from micropython import const

from rack.generated import ids as I
from rack.generated import response_state as K
from rack.base.viper import ptr32

LINK_LOST_MS = const(5_000)     # engineering judgement: five lost messages of the EMS
_QUIET_cpct = const(100)        # differences below 1 % SoC are left alone
_FULL_cpct = const(1_000)       # at 10 % beyond that the bias is at its most: engineering judgement
_STEP_ms = const(100)           # 10 W/s: 5 % of a 200 kW pair takes a quarter of an hour


@micropython.viper
def _towards(now: int, aim: int, step: int) -> int:
    if aim > now + step:
        return now + step
    if aim < now - step:
        return now - step
    return aim


@micropython.viper
def pair_kernel(k: ptr32, s: ptr32, bias_W: int, stand_in_W: int, elapsed_ms: int, known: int):
    """What this rack cannot deliver of its own share, into s; bias and stand-in, into k at the ramp of the release.

    stand_in_W: what the other rack cannot deliver; known 0: no mains, and its hold is over. Then no part of the pair's
    balance is left to either: the low-pass too goes to zero, else this rack would go on against its partner.
    What it stands in for is no part of what it owes: two racks at their limits would lift each other for ever.
    """
    if k[K.PERMIT] == 0:
        s[I.SHORT_W] = k[K.BIAS] = k[K.STAND_IN] = 0
        return
    power = k[K.POWER_HI] * 1000 + k[K.POWER_LO]
    short = k[K.WANTED] - k[K.STAND_IN]
    if short > k[K.DISCHARGE]:
        short -= k[K.DISCHARGE]
    elif short < 0 - k[K.CHARGE]:
        short += k[K.CHARGE]
    else:
        short = 0
    if short > power:               # all that the EMS may say
        short = power
    elif short < 0 - power:
        short = 0 - power
    s[I.SHORT_W] = short
    ppm = k[K.RELEASE] * elapsed_ms
    if ppm > K.PPM:
        ppm = K.PPM
    step = 1 + k[K.POWER_HI] * (ppm // 10) // 100
    if known == 0:
        bias_W = 0
        stand_in_W = 0
        k[K.LOW] = int(_towards(k[K.LOW], 0, step))
    k[K.BIAS] = int(_towards(k[K.BIAS], bias_W, step))
    k[K.STAND_IN] = int(_towards(k[K.STAND_IN], stand_in_W, step))


class Balance:
    """bias_W: power moved from the high-pass rack to the low-pass rack, positive discharges the latter."""

    def __init__(self, params):
        self.bias_W = 0
        self._most_W = params.pair_bias_W if params.pair_role else 0
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
