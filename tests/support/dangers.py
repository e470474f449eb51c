"""Dangers: every cause of a trip that a test can create, and the maximum time that a coil may stay on with it.

A danger depends on the simulated rack, not on the alarms. An alarm's time in the config counts from the first scan that
can detect the cause. The controller detects a cause in the AFE's data up to one AFE period later.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from halite.config.rows import levels_at
from halite.hosts.controller_rig import Rig
from rack.definitions.codes import (
    COIL_NEG,
    COIL_POS,
    IN_AUX_NEG,
    IN_AUX_POS,
    IN_ESTOP,
    IN_HVIL,
    IN_OC_OK,
    NO_OPEN,
    STATE_CLOSED,
)
from rack.generated import alarm_levels as L
from rack.generated import ids as I

_STEP_ddegC = 90  # largest plausible warming between two scans of the AFE (plausible_jump_dK)
_RISE_ddegC = 7  # rise of sensor 0 in 100 ms during a runaway; a faster rise would be over-temperature first
_MIN_ddegC, _MAX_ddegC = -600, 2000  # a reading outside this is a broken wire
_SEEN_IN = ("cells", "temps")


class Danger(NamedTuple):
    """An alarm and its cause. level: the alarm's set value, from the config.

    there: True while the cause exists; cause: creates it, before each scan of step_ms; needs: inputs that must not be
    silent during it, because silence is another danger; scans: scans until the alarm can detect the cause.
    """

    key: str
    there: Callable[["Dangers", int], bool]
    cause: Callable[[Rig, int], None]
    needs: tuple[str, ...] = ()
    step_ms: int = 10
    scans: int = 0


def _signal(key: str, signal: int, above: bool = True) -> Danger:
    def there(d: "Dangers", level: int) -> bool:
        return d.rig.s[signal] >= level if above else d.rig.s[signal] <= level

    def cause(rig: Rig, level: int) -> None:
        rig.s[signal] = level

    return Danger(key, there, cause, step_ms=100 if "insulation" in key else 10)


def _input(key: str, bit: int) -> Danger:
    def cause(rig: Rig, level: int) -> None:
        rig.in_bits &= ~bit

    return Danger(key, lambda d, level: not d.rig.in_bits & bit, cause)


def _silence(key: str, who: str) -> Danger:
    return Danger(key, lambda d, level: who in d.rig.silent, lambda rig, level: rig.silent.add(who))


def _one_cell(rig: Rig, level: int) -> None:
    rig.c.cells_mV[3] = level


def _two_cells(first: int, second: int) -> Callable[[Rig, int], None]:
    """Put one cell near the over-voltage trip and one near the under-voltage trip, or closer if `level` allows it."""

    def cause(rig: Rig, level: int) -> None:
        high = level_of(rig.params, "cell_high_trip") - 10
        low = level_of(rig.params, "cell_low_trip") + 10
        rig.c.cells_mV[first] = high
        rig.c.cells_mV[second] = max(low, high - level) if level > 1 else low

    return cause


def _wire_open(d: "Dangers", level: int) -> bool:
    """Return True if two neighbours are far from the mean in opposite directions."""
    cells, limit_mV = d.rig.c.cells_mV, d.rig.params.plausible_wire_mV
    if d.high_mV - d.low_mV <= limit_mV:
        return False
    mean = sum(cells) // len(cells)
    pairs = ((one - mean, other - mean) for one, other in pairwise(cells))
    return any(max(pair) > limit_mV and min(pair) < -limit_mV for pair in pairs)


def _sum_cause(rig: Rig, level: int) -> None:
    rig.rack_error_dV = level


def _warm(charging: bool) -> Callable[[Rig, int], None]:
    def cause(rig: Rig, level: int) -> None:
        temps = rig.c.temps_ddegC
        for at in range(len(temps)):
            temps[at] += max(-_STEP_ddegC, min(_STEP_ddegC, level - temps[at]))
        if charging:
            rig.s[I.CURRENT_dA] = -rig.params.soc_rest_dA - 1

    return cause


def _hot(d: "Dangers", level: int) -> bool:
    return max(d.accepted, default=level - 1) >= level


def _cold(d: "Dangers", level: int) -> bool:
    return min(d.accepted, default=level + 1) <= level


def _charging(d: "Dangers") -> bool:
    return bool(d.rig.s[I.CURRENT_dA] < -d.rig.params.soc_rest_dA)


def _sensors_lost(d: "Dangers", level: int) -> bool:
    temps = d.rig.c.temps_ddegC
    if min(temps) >= _MIN_ddegC and max(temps) <= _MAX_ddegC:
        return False
    return sum(not _MIN_ddegC <= value <= _MAX_ddegC for value in temps) >= level


def _lose_sensors(rig: Rig, level: int) -> None:
    for at in range(level):
        rig.c.temps_ddegC[at] = NO_OPEN


def _run_away(rig: Rig, level: int) -> None:
    """Heat sensor 0 and let the gas be the witness.

    From 25 degC the sensor exceeds `runaway_temp_ddegC` before the rise is long enough for the alarm.
    """
    rig.s[I.GAS_mV] = rig.params.runaway_gas_mV
    rig.c.temps_ddegC[0] += _RISE_ddegC


def _overload(way: int) -> Callable[[Rig, int], None]:
    """Set the largest current below the over-current trip."""

    def cause(rig: Rig, level: int) -> None:
        key = "discharge_current_trip" if way > 0 else "charge_current_trip"
        rig.s[I.CURRENT_dA] = level_of(rig.params, key) - way

    return cause


def _stuck(d: "Dangers", level: int) -> bool:
    coils, bits = d.rig.s[I.COILS], d.rig.in_bits
    pairs = ((COIL_POS, IN_AUX_POS), (COIL_NEG, IN_AUX_NEG))
    return any(coils & coil and not bits & aux for coil, aux in pairs)


def _fall_open(rig: Rig, level: int) -> None:
    rig.aux = False
    rig.in_bits &= ~IN_AUX_POS


def _bus_apart(d: "Dangers", level: int) -> bool:
    s = d.rig.s
    return s[I.STATE] == STATE_CLOSED and abs(s[I.BUS_dV] - s[I.RACK_dV]) * 1000 >= level * s[I.RACK_dV]


def _blow_fuse(rig: Rig, level: int) -> None:
    rig.bus = False
    rig.s[I.BUS_dV] = rig.s[I.RACK_dV] * (999 - level) // 1000


DANGERS = (
    _signal("discharge_current_trip", I.CURRENT_dA),
    _signal("charge_current_trip", I.CURRENT_dA, above=False),
    _signal("gas_trip", I.GAS_mV),
    _signal("board_trip", I.BOARD_ddegC),
    _signal("insulation_trip", I.INSULATION_KOHM, above=False),
    _signal("late_trip", I.TASK_LATE_ms),
    _signal("config_bad", I.CONFIG_BAD),
    _signal("wire_check_trip", I.WIRE_CHECK),
    _signal("refused_trip", I.PCS_REFUSED),
    _signal("foreign_trip", I.FOREIGN_REQUESTS),
    _input("hvil", IN_HVIL),
    _input("estop", IN_ESTOP),
    _input("oc_alert", IN_OC_OK),
    _silence("cells_lost", "cells"),
    _silence("temps_lost", "temps"),
    _silence("current_lost", "current"),
    _silence("pcs_lost", "pcs"),
    Danger("cell_high_trip", lambda d, level: d.high_mV >= level, _one_cell, ("cells",)),
    Danger("cell_low_trip", lambda d, level: d.low_mV <= level, _one_cell, ("cells",)),
    Danger("deep_discharge", lambda d, level: d.low_mV <= level, _one_cell, ("cells",)),
    Danger("spread_trip", lambda d, level: d.high_mV - d.low_mV >= level, _two_cells(2, 6), ("cells",), step_ms=100),
    Danger("wire_trip", _wire_open, _two_cells(4, 5), ("cells",)),
    Danger("sum_trip", lambda d, level: abs(d.rig.s[I.CELL_SUM_dV] - d.rig.s[I.RACK_dV]) >= level, _sum_cause,
           ("cells",), step_ms=100),
    Danger("hot_trip", _hot, _warm(charging=False), ("temps",), step_ms=100),
    Danger("cold_trip", _cold, _warm(charging=False), ("temps",), step_ms=100),
    Danger("charge_hot_trip", lambda d, level: _charging(d) and _hot(d, level), _warm(charging=True),
           ("temps", "current"), step_ms=100),
    Danger("charge_cold_trip", lambda d, level: _charging(d) and _cold(d, level), _warm(charging=True),
           ("temps", "current"), step_ms=100),
    Danger("sensor_trip", _sensors_lost, _lose_sensors, ("temps",)),
    Danger("runaway_trip", lambda d, level: d.rises and d.rig.s[I.GAS_mV] >= d.rig.params.runaway_gas_mV, _run_away,
           ("temps",), step_ms=100),
    Danger("charge_i2t_trip", lambda d, level: d.spent(-1), _overload(-1)),
    Danger("discharge_i2t_trip", lambda d, level: d.spent(1), _overload(1)),
    Danger("stuck", _stuck, _fall_open, scans=2),
    Danger("bus_trip", _bus_apart, _blow_fuse, ("current",), scans=10),
    Danger("echo_trip", lambda d, level: "echo" in d.rig.silent and d.rig.s[I.STATE] == STATE_CLOSED,
           lambda rig, level: rig.silent.add("echo"), scans=18),
)  # fmt: skip

# The other trips, and the reasons why no rule creates them while a coil is on.
NOT_HERE = {
    "power_trip": "the minimal rack has no PCS: test_cross_checks.py",
    "step_trip": "the same as power_trip",
    "delivery_trip": "the same as power_trip",
    "temp_spread_trip": "one AFE: a sensor that is much colder than its module counts as lost (sensor_trip)",
    "module_blind_trip": "one AFE: sensor_trip comes first",
    "insulation_old_trip": "ages of a minute and more: test_life_signs.py",
    "wire_check_old_trip": "the same",
    "afe_trip": "its debounce is a minute: test_life_signs.py",
    "afe_frozen_trip": "cells that stand still under current: test_frozen_afe.py",
    "current_bad": "a reading beyond the sensor's range raises an over-current trip first",
    "time_trip": "a gap of the scans is the cause: test_controller.py",
    "welded": "the controller finds it after the open command",
    "precharge_fast_trip": "the controller finds it while it closes; the failed precharge has switched the coils off",
    "precharge_slow_trip": "the same as precharge_fast_trip",
}


def level_of(params: Any, key: str) -> int:
    return int(params.alarms_levels[levels_at(key) + L.SET])


def max_ms(params: Any, danger: Danger) -> int:
    """Return the maximum time from the cause until all coils are off."""
    limit_ms = int(params.alarms_levels[levels_at(danger.key) + L.SET_ms])
    if any(need in _SEEN_IN for need in danger.needs):
        limit_ms += params.afe_period_ms
    if danger.key.endswith("_lost") or danger.key == "echo_trip":
        limit_ms += level_of(params, danger.key)
    if danger.key == "runaway_trip":
        limit_ms += params.runaway_rise_ms + 1000  # in steps of 500 ms; the first and the last step are incomplete
    if danger.key == "stuck":
        limit_ms += params.contactor_aux_ms
    return limit_ms


class Dangers:
    """Measures the age of each cause and asserts that the coils are off in time.

    met: gets, by alarm key, the number of causes that came while a coil was on.
    """

    def __init__(self, rig: Rig, met: dict[str, int]) -> None:
        self.rig = rig
        self.met = met
        self.rises = False
        self._first = True
        self.high_mV = self.low_mV = 0
        self.accepted: list[int] = []  # temperatures that the controller accepts, 0.1 degC
        self._held: dict[str, int] = {}
        self._late: dict[str, int] = {}  # scans beyond the maximum time
        self._row = {d.key: (d, level_of(rig.params, d.key), max_ms(rig.params, d)) for d in DANGERS}
        self._used = {-1: 0, 1: 0}  # of the overload budgets, A2ms
        self._first_ddegC = rig.c.temps_ddegC[0]

    def scan(self, dt: int, energised: bool) -> None:
        """Check after each scan. dt: ms of the scan in the controller's count; energised: a coil was on before."""
        if self._first:  # the controller counts no time before its first scan
            self._first, dt = False, 0
        self._look(dt)
        for key, (danger, level, _) in self._row.items():
            known = not self.rig.silent.intersection(danger.needs)
            self._count(key, known and danger.there(self, level), dt, energised)

    def present(self) -> bool:
        """Return True if a cause existed in the last scan."""
        return bool(self._held)

    def spent(self, way: int) -> bool:
        """Return True if the budget of an overload is used up."""
        return self._used[way] >= self._budget(way)

    def _budget(self, way: int) -> int:
        p = self.rig.params
        return 1000 * int(p.overcurrent_discharge_A2s if way > 0 else p.overcurrent_charge_A2s)

    def _look(self, dt: int) -> None:
        rig = self.rig
        self.high_mV, self.low_mV = max(rig.c.cells_mV), min(rig.c.cells_mV)
        pairs = zip(rig.c.temps_ddegC, rig.c.temperatures.why, strict=True)
        self.accepted = [value for value, why in pairs if not why]
        now = rig.c.temps_ddegC[0]
        self.rises = dt == 100 and now - self._first_ddegC >= _RISE_ddegC and not rig.c.temperatures.why[0]
        self._first_ddegC = now
        current = 0 if "current" in rig.silent else rig.s[I.CURRENT_dA]
        for way, rated_dA in ((1, rig.params.overcurrent_discharge_dA), (-1, rig.params.overcurrent_charge_dA)):
            square = current * current // 100 if current * way > 0 else 0
            used = self._used[way] + (square - rated_dA * rated_dA // 100) * min(dt, 100)
            self._used[way] = min(max(0, used), 2 * self._budget(way))

    def _count(self, key: str, there: bool, dt: int, energised: bool) -> None:
        if not there:
            self._held.pop(key, None)
            self._late.pop(key, None)
            return
        danger, _, limit_ms = self._row[key]
        if key not in self._held and energised:
            self.met[key] = self.met.get(key, 0) + 1
        self._held[key] = self._held[key] + dt if key in self._held else 0
        if self._held[key] >= limit_ms:
            self._late[key] = self._late.get(key, -1) + 1
            assert self._late[key] < danger.scans or not self.rig.s[I.COILS], f"{key} for {self._held[key]} ms"
