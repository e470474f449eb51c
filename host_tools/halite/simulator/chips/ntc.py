"""NTC divider on an AFE input: TSREF, pull-up, NTC to ground.

10 kΩ at 25 °C with B 3435 K against a 10 kΩ pull-up: the usual part in TI's BQ79616 designs (engineering
judgement); a real rack's values come from its config.
"""

import math
from dataclasses import dataclass

_T0_K = 298.15


@dataclass(frozen=True)
class Ntc:
    """r25_ohm, beta_K of the sensor; pull_up_ohm to the reference."""

    r25_ohm: float = 10_000.0
    beta_K: float = 3435.0
    pull_up_ohm: float = 10_000.0

    def ratio(self, degC: float) -> float:
        """Divider output over its reference, 0..1; -inf °C stands for an open sensor, +inf for a short."""
        if math.isinf(degC):
            return 1.0 if degC < 0 else 0.0
        ohm = self.r25_ohm * math.exp(self.beta_K * (1 / (degC + 273.15) - 1 / _T0_K))
        return ohm / (ohm + self.pull_up_ohm)

    def degC(self, ratio: float) -> float:
        """Inverse of `ratio` for 0 < ratio < 1."""
        ohm = self.pull_up_ohm * ratio / (1 - ratio)
        return 1 / (1 / _T0_K + math.log(ohm / self.r25_ohm) / self.beta_K) - 273.15
