"""NTC divider on an AFE input: TSREF, pull-up, NTC to ground.

The controller converts ratios into temperatures by its own integer table. This model converts temperatures into ratios
by the closed solution of the Steinhart–Hart cubic.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Ntc:
    """1/T = a + b ln R + c (ln R)³ with T in kelvin and R in ohm; pull_up_ohm: resistor to the reference.

    Defaults: 10 kΩ at 25 °C with a beta of 3435 K and a pull-up of 10 kΩ (engineering judgement).
    A config overrides them.
    """

    a: float = 1 / 298.15 - math.log(10_000.0) / 3435.0
    b: float = 1 / 3435.0
    c: float = 0.0
    pull_up_ohm: float = 10_000.0

    def ohm(self, degC: float) -> float:
        """Resistance in ohm at a temperature."""
        x = (self.a - 1 / (degC + 273.15)) / 2
        if self.c == 0.0:
            return math.exp(-2 * x / self.b)
        x /= self.c
        y = math.sqrt((self.b / (3 * self.c)) ** 3 + x * x)
        return math.exp(math.cbrt(y - x) - math.cbrt(y + x))

    def ratio(self, degC: float) -> float:
        """Divider output over its reference, 0..1; -inf °C stands for an open sensor, +inf for a short."""
        if math.isinf(degC):
            return 1.0 if degC < 0 else 0.0
        ohm = self.ohm(degC)
        return ohm / (ohm + self.pull_up_ohm)

    def degC(self, ratio: float) -> float:
        """Temperature in °C at a ratio, for 0 < ratio < 1."""
        log_ohm = math.log(self.pull_up_ohm * ratio / (1 - ratio))
        return 1 / (self.a + self.b * log_ohm + self.c * log_ohm**3) - 273.15
