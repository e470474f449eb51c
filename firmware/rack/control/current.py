"""Rack current: overload over time, and whether the sensor can be believed.

The wires and the cells' tabs take a current above their rating for a while, not for ever: what
heats them is I2t above the rating, and it cools off at the same rate below it.
"""

from rack import ids as I
from rack.control.bits import IN_ESTOP, IN_HVIL, IN_OC_OK
from rack.control.temperatures import NEUTRAL_ddegC


class Overload:
    """I2t above a continuous rating. Budget in A2s; `add` once a scan."""

    def __init__(self, rated_dA, budget_A2s):
        self._rated_A2 = rated_dA * rated_dA // 100
        self._most = budget_A2s
        self._used = 0          # A2s
        self._rest = 0          # A2ms

    def add(self, current_A2, dt):
        """current_A2: square of the current in this direction, 0 in the other; dt: ms, up to 100.

        Returns the used part in permille of the budget, 0..2000.
        """
        product = (current_A2 - self._rated_A2) * dt + self._rest
        self._used += product // 1000
        self._rest = product % 1000
        if self._used < 0:
            self._used = self._rest = 0
        elif self._used > 2 * self._most:
            self._used = 2 * self._most
        if self._most > 100_000:
            return self._used // (self._most // 1000)
        return self._used * 1000 // self._most


class Current:
    """Digital inputs and current, once a scan, before the alarms."""

    def __init__(self, params, s):
        p = params
        self._s = s
        self._rest_dA = p.charge_rest_dA
        self._range_dA = p.overload_sensor_dA
        self._charge = Overload(p.overload_charge_dA, p.overload_charge_A2s)
        self._discharge = Overload(p.overload_discharge_dA, p.overload_discharge_A2s)
        self._square_A2s = 0    # since take_mean_square
        self._square_rest = 0   # A2ms

    def scan(self, dt):
        """Fault flags from the inputs, overloads, and the temperatures that count while charging."""
        s = self._s
        bits = s[I.IN_bits]
        s[I.HVIL_OPEN] = 0 if bits & IN_HVIL else 1
        s[I.ESTOP_PRESSED] = 0 if bits & IN_ESTOP else 1
        s[I.OC_ALERT] = 0 if bits & IN_OC_OK else 1
        current = s[I.CURRENT_dA]
        s[I.CURRENT_BAD] = 0 if -self._range_dA < current < self._range_dA else 1
        current = max(-20_000, min(20_000, current))
        square = current * current // 100
        dt = min(dt, 100)
        product = square * dt + self._square_rest
        self._square_A2s = min(self._square_A2s + product // 1000, 20_000_000)
        self._square_rest = product % 1000
        s[I.I2T_CHARGE_PERMILLE] = self._charge.add(square if current < 0 else 0, dt)
        s[I.I2T_DISCHARGE_PERMILLE] = self._discharge.add(square if current > 0 else 0, dt)
        charging = current < -self._rest_dA
        s[I.CHARGE_TEMP_MAX_ddegC] = s[I.TEMP_MAX_ddegC] if charging else NEUTRAL_ddegC
        s[I.CHARGE_TEMP_MIN_ddegC] = s[I.TEMP_MIN_ddegC] if charging else NEUTRAL_ddegC

    def take_mean_square(self, ms):
        """Mean square current in A2 over the ms since the last call, 100 or more; for the heat of the cells."""
        taken = self._square_A2s
        self._square_A2s = 0
        return taken * 10 // (ms // 100)
