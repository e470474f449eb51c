"""The hybrid pair: two racks share one response, and slow balancing moves power between them.

- pair: a high-pass rack (fast cells, for example sodium) and a low-pass rack (high energy). Both compute the same
  response from the same mains periods.
- share: the part of the low-pass of the response that the low-pass rack takes; the high-pass rack takes the rest. The
  request kernel computes it in integers with carried remainder, so that both shares add up exactly without a link.
- bias: power moved from the high-pass rack to the low-pass rack to bring their states of charge together. It is the
  only quantity that needs a link: the EMS sends both states of charge to both racks. Both move towards the same bias
  by the same steps, and back to zero without the EMS.
- shortfall: the part of its own share that a rack cannot deliver within its limits (signal SHORT_W).
- stand-in: power that a rack delivers for the shortfall of the other one, sent by the EMS (signal PAIR_SHORT_W).

The hazards are a pair that drifts apart unseen, a bias that moves faster than the racks agree on it, and a rack that
delivers for its partner while it does not know the grid frequency.
"""

import micropython
from micropython import const

from rack.base.viper import ptr32
from rack.generated import ids as I
from rack.generated import response_state as K

LINK_LOST_MS = const(5_000)     # engineering judgement: five lost messages of the EMS
_QUIET_cpct = const(100)        # no bias for a difference below 1 % SoC
_FULL_cpct = const(1_000)       # full bias for a difference 10 % above that: engineering judgement
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
    """Compute the shortfall into `s`, and move bias and stand-in in `k` towards their aims at the ramp of release.

    bias_W, stand_in_W: aims. known 0: no mains, and its hold is over. Then bias, stand-in and the low-pass go to zero;
    otherwise the two racks would keep working against each other.
    A stand-in does not count as own shortfall; otherwise two racks at their limits would keep raising each other.
    """
    if k[K.PERMITTED] == 0:
        s[I.SHORT_W] = k[K.PAIR_BIAS] = k[K.STAND_IN] = 0
        return
    power = k[K.POWER_kW] * 1000 + k[K.POWER_REST_W]
    short = k[K.WANTED] - k[K.STAND_IN]
    if short > k[K.DISCHARGE_LIMIT]:
        short -= k[K.DISCHARGE_LIMIT]
    elif short < 0 - k[K.CHARGE_LIMIT]:
        short += k[K.CHARGE_LIMIT]
    else:
        short = 0
    if short > power:               # the EMS message accepts no larger value
        short = power
    elif short < 0 - power:
        short = 0 - power
    s[I.SHORT_W] = short
    ppm = k[K.RAMP_RELEASE] * elapsed_ms
    if ppm > K.PPM:
        ppm = K.PPM
    step = 1 + k[K.POWER_kW] * (ppm // 10) // 100
    if known == 0:
        bias_W = 0
        stand_in_W = 0
        k[K.LOW_PASS] = int(_towards(k[K.LOW_PASS], 0, step))
    k[K.PAIR_BIAS] = int(_towards(k[K.PAIR_BIAS], bias_W, step))
    k[K.STAND_IN] = int(_towards(k[K.STAND_IN], stand_in_W, step))


class Balance:
    """Slow balancing. bias_W: power moved to the low-pass rack, which discharges more if positive."""

    def __init__(self, params):
        self.bias_W = 0
        self._max_W = params.pair_bias_W if params.pair_role else 0
        self._ms = 0

    def scan(self, elapsed_ms, s):
        """Move bias_W by 1 W every 100 ms. s: process image. Scan context, does not allocate."""
        if not self._max_W:
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
        """Return the bias to aim at; difference_cpct: SoC of the low-pass rack minus SoC of the other one, 0.01 %."""
        beyond = abs(difference_cpct) - _QUIET_cpct
        if beyond <= 0:
            return 0
        bias = self._max_W * min(beyond, _FULL_cpct) // _FULL_cpct
        return bias if difference_cpct > 0 else -bias
