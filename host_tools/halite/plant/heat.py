"""Heat of the rack: core and surface of each sensor position, the coolant along its way, the ambient air.

A position holds the cells next to one temperature sensor. Its core and its surface are one node each. The coolant
leaves the tank, passes the positions in their order and returns to the tank, which has the radiator and the heater.
One step solves all nodes together by the implicit Euler method. It is therefore stable for each step size, and the
energy that leaves one node arrives in another node or in the ledger.
"""

from dataclasses import dataclass, field

import numpy as np

from halite.common import jit
from halite.plant.chemistries import Array
from halite.plant.parameters import Plant

_KEPT_DUTIES = 32  # coefficient sets that are kept: one for each pump duty and step


@dataclass(frozen=True)
class HeatData:
    """Fixed data of the thermal model; all of it is engineering judgement.

    neighbour_W_per_K, module_gap_W_per_K: between the surfaces of two positions of one module, of two modules. A
    prismatic cell of 72 mm has a face of 0.036 m2 and about 1 W/(m K), so 0.5 W/K; casing, busbars and plate add the
    double. A module ends with plates and an air gap.
    air_W_per_K: from the surfaces of one cell to the air.
    plates_J_per_K, tank_J_per_K: coolant in the cold plates and in tank and radiator, 17 l of glycol-water each.
    flow_W_per_K: heat capacity flow of the coolant at full pump duty, 25 l/min of glycol-water.
    still_share: share of the cooling's conductance that remains without flow.
    radiator_W_per_K: without fan, and the addition of the fan at 100 %.
    """

    neighbour_W_per_K: float = 1.5
    module_gap_W_per_K: float = 0.3
    air_W_per_K: float = 0.05
    plates_J_per_K: float = 60_000.0
    tank_J_per_K: float = 60_000.0
    flow_W_per_K: float = 1_500.0
    still_share: float = 0.1
    radiator_W_per_K: tuple[float, float] = (20.0, 400.0)
    heater_W: float = 4_000.0


@dataclass(frozen=True)
class Cooling:
    """Actuators of one step. pump_pct, fan_pct: 0..100. flows: False while the coolant stands."""

    pump_pct: float = 0.0
    fan_pct: float = 0.0
    heater: bool = False
    flows: bool = False


@dataclass
class Ledger:
    """Energy in J since the start. sources: by name, such as "electrical" or "reaction"; heater; to_ambient."""

    sources: dict[str, float] = field(default_factory=dict)
    heater: float = 0.0
    to_ambient: float = 0.0

    @property
    def net(self) -> float:
        """Energy that must be stored in the nodes, J."""
        return sum(self.sources.values()) + self.heater - self.to_ambient


# Rows of the coefficients of a step, one column for each position; W/K unless said.
# KEPT: share of the temperature before it that the coolant brings to a position. ENTRY: share of the tank's temperature
# that reaches it. FIRST, SECOND: share of their distance that the surfaces of this position and of the next move.
(CORE, SURFACE, INWARD, INWARD_SHARE, CORE_TOTAL, COOLING, COOLING_SHARE, TOTAL, COOLANT_TOTAL, KEPT, ENTRY, AIR,
 FIRST, SECOND) = range(14)  # fmt: skip
# Rows of the temperatures and of the heat of the next step.
CORE_degC, SURFACE_degC, COOLANT_degC, CORE_W, SURFACE_W, _FROM_CORE, _GIVEN = range(7)


@dataclass(frozen=True)
class _Coefficients:
    """Constants of a step for one pump duty and one step size. rows: as above. plate, tank, flow: W/K."""

    rows: Array
    plate: float
    tank: float
    flow: float


@jit.kernel
def conduct(rows: Array, nodes: Array) -> None:
    """Exact exchange between the two surfaces of each pair: first the even pairs, then the odd ones."""
    for start in range(2):
        for at in range(start, nodes.shape[1] - 1, 2):
            apart = nodes[SURFACE_degC, at] - nodes[SURFACE_degC, at + 1]
            nodes[SURFACE_degC, at] -= apart * rows[FIRST, at]
            nodes[SURFACE_degC, at + 1] += apart * rows[SECOND, at]


@jit.kernel
def along_coolant(rows: Array, nodes: Array, plate: float, ambient_degC: float) -> float:
    """Eliminate cores and surfaces and follow the coolant from a tank at 0 °C; returns its end temperature."""
    coolant_degC = 0.0
    for at in range(nodes.shape[1]):
        from_core = rows[CORE, at] * nodes[CORE_degC, at] + nodes[CORE_W, at]
        given = rows[SURFACE, at] * nodes[SURFACE_degC, at] + rows[INWARD_SHARE, at] * from_core
        given += rows[AIR, at] * ambient_degC + nodes[SURFACE_W, at]
        own = (plate * nodes[COOLANT_degC, at] + rows[COOLING_SHARE, at] * given) / rows[COOLANT_TOTAL, at]
        coolant_degC = rows[KEPT, at] * coolant_degC + own
        nodes[COOLANT_degC, at], nodes[_FROM_CORE, at], nodes[_GIVEN, at] = coolant_degC, from_core, given
    return float(coolant_degC)


@jit.kernel
def from_tank(rows: Array, nodes: Array, tank_degC: float, ambient_degC: float) -> float:
    """Take the tank's temperature to coolant, surfaces and cores, and use up their heat; returns W to the air."""
    lost_W = 0.0
    for at in range(nodes.shape[1]):
        coolant_degC = nodes[COOLANT_degC, at] + rows[ENTRY, at] * tank_degC
        surface_degC = (nodes[_GIVEN, at] + rows[COOLING, at] * coolant_degC) / rows[TOTAL, at]
        nodes[CORE_degC, at] = (nodes[_FROM_CORE, at] + rows[INWARD, at] * surface_degC) / rows[CORE_TOTAL, at]
        nodes[COOLANT_degC, at], nodes[SURFACE_degC, at] = coolant_degC, surface_degC
        nodes[CORE_W, at] = nodes[SURFACE_W, at] = 0.0
        lost_W += rows[AIR, at] * (surface_degC - ambient_degC)
    return float(lost_W)


class Heat:
    """Temperatures of the rack in °C.

    core_degC, surface_degC, coolant_degC: one entry per position; tank_degC: coolant at the inlet of the first
    position, where the coolant sensor sits. core_J_per_K, surface_J_per_K: heat capacities of the positions.

    cells_at: number of cells at each position. start_degC: of all cells and of the coolant up to 5 K above ambient.
    rng: source of the spread of the start, 0.2 K rms.
    """

    def __init__(
        self,
        plant: Plant,
        cells_at: Array,
        start_degC: float,
        ambient_degC: float,
        rng: np.random.Generator,
        data: HeatData | None = None,
    ) -> None:
        self.data = data or HeatData()
        self.ambient_degC = ambient_degC
        n = len(cells_at)
        capacity = plant.cell_heat_capacity_J_per_K() * cells_at
        self.core_J_per_K = capacity * plant.core_share
        self.surface_J_per_K = capacity * (1 - plant.core_share)
        self._inward_W_per_K = cells_at * plant.core_W_per_K
        self._cooling_W_per_K = cells_at * plant.cooling_W_per_K
        self._air_W_per_K = cells_at * self.data.air_W_per_K
        gaps = np.full(n - 1, self.data.neighbour_W_per_K)
        gaps[plant.temps_per_device - 1 :: plant.temps_per_device] = self.data.module_gap_W_per_K
        self._gaps_W_per_K = gaps
        self._nodes = np.zeros((7, n))
        self.core_degC, self.surface_degC, self.coolant_degC, self._core_W, self._surface_W = self._nodes[:_FROM_CORE]
        self.core_degC[:] = start_degC + rng.normal(0.0, 0.2, n)
        self.surface_degC[:] = self.core_degC
        self.tank_degC = min(start_degC, ambient_degC + 5.0)
        self.coolant_degC[:] = self.tank_degC
        self.ledger = Ledger()
        self._sources: dict[str, float] = {}
        self._prepared: dict[tuple[float, float, bool], _Coefficients] = {}

    def warm(self, source: str, core_W: Array | None, surface_W: Array | None = None) -> None:
        """Add heat of a source for the next step, per position in W. source: its name in the ledger."""
        added_W = self._sources.get(source, 0.0)
        if core_W is not None:
            self._core_W += core_W
            added_W += float(core_W.sum())
        if surface_W is not None:
            self._surface_W += surface_W
            added_W += float(surface_W.sum())
        self._sources[source] = added_W

    def stored_J(self) -> float:
        """Energy in all nodes against 0 °C."""
        cells_J = float(self.core_J_per_K @ self.core_degC + self.surface_J_per_K @ self.surface_degC)
        plate_J_per_K = self.data.plates_J_per_K / len(self.coolant_degC)
        return cells_J + plate_J_per_K * float(self.coolant_degC.sum()) + self.data.tank_J_per_K * self.tank_degC

    def step(self, dt_s: float, cooling: Cooling) -> None:
        """Advance by dt_s, any positive number of seconds, and use up the heat given by `warm`."""
        c = self._coefficients(dt_s, cooling)
        conduct(c.rows, self._nodes)
        self._solve(c, dt_s, cooling)
        for source, watts in self._sources.items():
            self.ledger.sources[source] = self.ledger.sources.get(source, 0.0) + watts * dt_s
        self._sources.clear()

    def _solve(self, c: _Coefficients, dt_s: float, cooling: Cooling) -> None:
        """Solve the implicit equations: cores and surfaces eliminated, then the coolant on its way, then the tank."""
        end_degC = along_coolant(c.rows, self._nodes, c.plate, float(self.ambient_degC))
        heater_W = self.data.heater_W if cooling.heater else 0.0
        still, fan = self.data.radiator_W_per_K
        radiator = still + fan * cooling.fan_pct / 100
        balance = c.tank * self.tank_degC + heater_W + radiator * self.ambient_degC + c.flow * end_degC
        self.tank_degC = float(balance / (c.tank + radiator + c.flow * (1 - c.rows[ENTRY, -1])))
        lost_W = from_tank(c.rows, self._nodes, self.tank_degC, float(self.ambient_degC))
        lost_W += radiator * (self.tank_degC - self.ambient_degC)
        self.ledger.heater += heater_W * dt_s
        self.ledger.to_ambient += lost_W * dt_s

    def _coefficients(self, dt_s: float, cooling: Cooling) -> _Coefficients:
        key = (dt_s, cooling.pump_pct, cooling.flows)
        if key not in self._prepared:
            if len(self._prepared) >= _KEPT_DUTIES:
                self._prepared.clear()
            self._prepared[key] = self._prepare(dt_s, cooling.pump_pct / 100 if cooling.flows else 0.0)
        return self._prepared[key]

    def _prepare(self, dt_s: float, duty: float) -> _Coefficients:
        """Coefficients at a pump duty of 0..1; 0: the coolant stands."""
        data = self.data
        n = len(self.coolant_degC)
        core, surface = self.core_J_per_K / dt_s, self.surface_J_per_K / dt_s
        plate = data.plates_J_per_K / n / dt_s
        cooling = self._cooling_W_per_K * (0.2 + 0.8 * duty if duty else data.still_share)
        flow = data.flow_W_per_K * duty
        total = surface + core * self._inward_W_per_K / (core + self._inward_W_per_K) + self._air_W_per_K + cooling
        coolant_total = plate + flow + cooling * (1 - cooling / total)
        rows = np.zeros((14, n))
        rows[CORE], rows[SURFACE], rows[TOTAL], rows[COOLANT_TOTAL] = core, surface, total, coolant_total
        rows[INWARD], rows[CORE_TOTAL] = self._inward_W_per_K, core + self._inward_W_per_K
        rows[INWARD_SHARE] = self._inward_W_per_K / rows[CORE_TOTAL]
        rows[COOLING], rows[COOLING_SHARE], rows[AIR] = cooling, cooling / total, self._air_W_per_K
        rows[KEPT] = flow / coolant_total
        rows[ENTRY] = np.cumprod(rows[KEPT])
        one, other = 1 / self.surface_J_per_K[:-1], 1 / self.surface_J_per_K[1:]
        moved_J_per_K = -np.expm1(-self._gaps_W_per_K * dt_s * (one + other)) / (one + other)
        rows[FIRST, :-1], rows[SECOND, :-1] = moved_J_per_K * one, moved_J_per_K * other
        return _Coefficients(rows, plate, data.tank_J_per_K / dt_s, flow)
