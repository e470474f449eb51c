"""Rack current: overload over time, and whether the sensor's value is plausible.

Wires and cell tabs carry a current above their rating for a limited time: I2t above the rating heats them, and they
cool at the same rate below it. The last value of a silent sensor does not count: from the age of its alarm on the
current is 0, because the contactors are open.
"""

from array import array

import micropython
from micropython import const
from rack.generated import alarm_levels as L
from rack.generated import ids as I
from rack.generated import overcurrent_state as S
from rack.generated import overload as O
from rack.base.viper import ptr32
from rack.control.sense.temperatures import NEUTRAL_ddegC

_MAX_dA = const(20_000)         # a larger current counts as this one
_MAX_DT_ms = const(100)
_MAX_SQUARE_A2s = const(20_000_000)


@micropython.viper
def add_overload(words: ptr32, current_A2: int, dt: int) -> int:
    """Advance one direction of the I2t budget; returns the used part in permille of the budget, 0..2000.

    words: layout overload; current_A2: square of the current in this direction, 0 in the other; dt: ms, up to 100.
    """
    budget = words[O.BUDGET_A2s]
    product = (current_A2 - words[O.RATED_A2]) * dt + words[O.REST_A2ms]
    moved = product // 1000
    used = words[O.USED_A2s] + moved
    rest = product - moved * 1000
    if used < 0:
        used = 0
        rest = 0
    elif used > 2 * budget:
        used = 2 * budget
    words[O.USED_A2s] = used
    words[O.REST_A2ms] = rest
    if budget > 100_000:
        return used // (budget // 1000)
    return used * 1000 // budget


def overload(rated_dA, budget_A2s):
    """A new I2t budget above a continuous rating: array of the layout overload."""
    return array("i", [rated_dA * rated_dA // 100, budget_A2s, 0, 0])


@micropython.viper
def _scan(s: ptr32, state: ptr32, charge, discharge, dt: int):
    """Write current_bad, the overloads, the mean square and the temperatures that count while charging."""
    if dt > _MAX_DT_ms:
        dt = _MAX_DT_ms
    if s[I.CURRENT_AGE_ms] >= state[S.STALE_ms]:
        s[I.CURRENT_dA] = 0
    current = s[I.CURRENT_dA]
    limit = state[S.RANGE_dA]
    s[I.CURRENT_BAD] = 0 if current > 0 - limit and current < limit else 1
    if current > _MAX_dA:
        current = _MAX_dA
    elif current < 0 - _MAX_dA:
        current = 0 - _MAX_dA
    square = current * current // 100
    s[I.I2T_CHARGE_PERMILLE] = int(add_overload(charge, square if current < 0 else 0, dt))
    s[I.I2T_DISCHARGE_PERMILLE] = int(add_overload(discharge, square if current > 0 else 0, dt))
    product = square * dt + state[S.SQUARE_A2ms]
    moved = product // 1000
    state[S.SQUARE_A2ms] = product - moved * 1000
    moved += state[S.SQUARE_A2s]
    state[S.SQUARE_A2s] = _MAX_SQUARE_A2s if moved > _MAX_SQUARE_A2s else moved
    if current < 0 - state[S.REST_dA]:
        s[I.CHARGE_TEMP_MAX_ddegC] = s[I.TEMP_MAX_ddegC]
        s[I.CHARGE_TEMP_MIN_ddegC] = s[I.TEMP_MIN_ddegC]
    else:
        s[I.CHARGE_TEMP_MAX_ddegC] = NEUTRAL_ddegC
        s[I.CHARGE_TEMP_MIN_ddegC] = NEUTRAL_ddegC


class Overcurrent:
    """`scan` once a scan, before the alarms. charge, discharge: arrays of the layout overload."""

    def __init__(self, params, s):
        p = params
        self._s = s
        stale_ms = p.alarms_levels[L.WIDTH * (I.ALARM_CURRENT_LOST - 1) + L.SET]
        self._state = array("i", [p.overcurrent_sensor_dA, p.soc_rest_dA, stale_ms, 0, 0])
        self.charge = overload(p.overcurrent_charge_dA, p.overcurrent_charge_A2s)
        self.discharge = overload(p.overcurrent_discharge_dA, p.overcurrent_discharge_A2s)

    def fixed(self):
        """Words that never change: (array, first, end)."""
        end = O.BUDGET_A2s + 1
        return (
            (self._state, S.RANGE_dA, S.STALE_ms + 1),
            (self.charge, O.RATED_A2, end),
            (self.discharge, O.RATED_A2, end),
        )

    def scan(self, dt):
        """Judge the present current; dt: ms since the last scan. Does not allocate."""
        _scan(self._s, self._state, self.charge, self.discharge, dt)

    def take_mean_square(self, ms):
        """Mean square current in A2 over the ms since the last call, 100 or more; for the heat of the cells."""
        taken = self._state[S.SQUARE_A2s]
        self._state[S.SQUARE_A2s] = 0
        return taken * 10 // (ms // 100)
