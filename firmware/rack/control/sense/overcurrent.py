"""Rack current: overload over time, and whether the sensor can be believed.

The wires and the cells' tabs take a current above their rating for a while, not for ever: what
heats them is I2t above the rating, and it cools off at the same rate below it. The last reading of a
sensor that has fallen silent is no current: from the age of its alarm on it counts as none, as the contactors are open.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.definitions.codes import IN_ESTOP, IN_HVIL, IN_OC_OK
from rack.base.viper import ptr32

_NEUTRAL_ddegC = const(250)     # rack.control.sense.temperatures: what no limit minds

# words of an overload
_RATED_A2 = const(0)
_BUDGET_A2s = const(1)
_USED_A2s = const(2)
_REST_A2ms = const(3)

# words of `Current`
_RANGE_dA = const(0)
_REST_dA = const(1)
_SQUARE_A2s = const(2)          # since take_mean_square
_SQUARE_A2ms = const(3)
_STALE_ms = const(4)


@micropython.viper
def _overload(w: ptr32, current_A2: int, dt: int) -> int:
    """Advance one overload; see Overload.add."""
    budget = w[_BUDGET_A2s]
    product = (current_A2 - w[_RATED_A2]) * dt + w[_REST_A2ms]
    moved = product // 1000
    used = w[_USED_A2s] + moved
    rest = product - moved * 1000
    if used < 0:
        used = 0
        rest = 0
    elif used > 2 * budget:
        used = 2 * budget
    w[_USED_A2s] = used
    w[_REST_A2ms] = rest
    if budget > 100_000:
        return used // (budget // 1000)
    return used * 1000 // budget


@micropython.viper
def _scan(s: ptr32, w: ptr32, charge, discharge, dt: int):
    """Fault flags, mean square, overloads, temperatures while charging. charge, discharge: words of an Overload."""
    if dt > 100:
        dt = 100
    bits = s[I.IN_bits]
    s[I.HVIL_OPEN] = 0 if bits & IN_HVIL else 1
    s[I.ESTOP_PRESSED] = 0 if bits & IN_ESTOP else 1
    s[I.OC_ALERT] = 0 if bits & IN_OC_OK else 1
    if s[I.CURRENT_AGE_ms] >= w[_STALE_ms]:
        s[I.CURRENT_dA] = 0
    current = s[I.CURRENT_dA]
    most = w[_RANGE_dA]
    s[I.CURRENT_BAD] = 0 if current > 0 - most and current < most else 1
    if current > 20_000:
        current = 20_000
    elif current < -20_000:
        current = -20_000
    square = current * current // 100
    s[I.I2T_CHARGE_PERMILLE] = int(_overload(charge, square if current < 0 else 0, dt))
    s[I.I2T_DISCHARGE_PERMILLE] = int(_overload(discharge, square if current > 0 else 0, dt))
    product = square * dt + w[_SQUARE_A2ms]
    moved = product // 1000
    w[_SQUARE_A2ms] = product - moved * 1000
    moved += w[_SQUARE_A2s]
    w[_SQUARE_A2s] = 20_000_000 if moved > 20_000_000 else moved
    if current < 0 - w[_REST_dA]:
        s[I.CHARGE_TEMP_MAX_ddegC] = s[I.TEMP_MAX_ddegC]
        s[I.CHARGE_TEMP_MIN_ddegC] = s[I.TEMP_MIN_ddegC]
    else:
        s[I.CHARGE_TEMP_MAX_ddegC] = _NEUTRAL_ddegC
        s[I.CHARGE_TEMP_MIN_ddegC] = _NEUTRAL_ddegC


class Overload:
    """I2t above a continuous rating. Budget in A2s; `add` once a scan."""

    def __init__(self, rated_dA, budget_A2s):
        self.words = array("i", [rated_dA * rated_dA // 100, budget_A2s, 0, 0])

    def add(self, current_A2, dt):
        """current_A2: square of the current in this direction, 0 in the other; dt: ms, up to 100.

        Returns the used part in permille of the budget, 0..2000.
        """
        return _overload(self.words, current_A2, dt)


class Current:
    """Digital inputs and current, once a scan, before the alarms."""

    def __init__(self, params, s):
        p = params
        self._s = s
        stale_ms = p.alarms_levels[4 * I.ALARM_CURRENT_LOST - 4]
        self._w = array("i", [p.overcurrent_sensor_dA, p.soc_rest_dA, 0, 0, stale_ms])
        self._charge = Overload(p.overcurrent_charge_dA, p.overcurrent_charge_A2s).words
        self._discharge = Overload(p.overcurrent_discharge_dA, p.overcurrent_discharge_A2s).words

    def scan(self, dt):
        """Fault flags from the inputs, overloads, and the temperatures that count while charging."""
        _scan(self._s, self._w, self._charge, self._discharge, dt)

    def take_mean_square(self, ms):
        """Mean square current in A2 over the ms since the last call, 100 or more; for the heat of the cells."""
        taken = self._w[_SQUARE_A2s]
        self._w[_SQUARE_A2s] = 0
        return taken * 10 // (ms // 100)
