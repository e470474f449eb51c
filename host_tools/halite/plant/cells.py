"""The cells of the string: charge, voltage, heat and ageing, as NumPy arrays with a seeded spread.

One cell is an equivalent circuit: OCV over SoC and temperature with hysteresis, an ohmic and a charge-transfer
resistance, and two RC pairs. docs/plant.md describes it and compares it with PyBaMM.
"""

import math

import numpy as np

from halite.plant import cell_step as C
from halite.plant.ageing import AgeingState
from halite.plant.chemistries import CELLS, Array
from halite.plant.circuit import Circuit
from halite.plant.parameters import Plant, plant_curve

# Spread of new cells within one rack, 1 sigma: capacity 0.5 %, resistance 3 %, SoC 0.3 %; self-discharge a tenth of its
# value: judgement.
_CAPACITY_SPREAD = 0.005
_RESISTANCE_SPREAD = 0.03
_SOC_SPREAD = 0.003
_LEAK_SPREAD = 0.1

_WARM_K = 0.05  # a smaller change of every core leaves the temperature factors: R changes by 0.2 % at most
_DRIFT = 2e-4  # SoC by which the cells may move before resistances and hysteresis are read again from the tables
# Below the charge that the cold hides the second pair grows by this resistance per unit of SoC: a discharge at 0.5C
# loses its last 0.75 V within 5 % of the charge (judgement)
_STARVED_OHM_AH = 30.0


class Cells:
    """State of every cell and of every sensor position (the cells next to one NTC).

    Between two calls of `step_charge` the string is one source `emf_V` with `resistance_ohm`.

    Arrays of one entry per cell: capacity_As (now), soc (0..1 of it), resistance (ohm, now), sensor_of (its position),
    ocv_V, source_V, hysteresis, pair_A, drop_V. One entry per position: core_degC, for which the tables were read.

    The equilibrium voltage at the cell's temperature is ocv_V, the terminal voltage without current source_V. The
    state hysteresis is -1 on the discharged branch and 1 on the charged one. The two rows of pair_A are the currents
    through the resistors of the RC pairs. A fault takes the voltage drop_V; call `refresh_emf` after a change.

    soc: 0..1, the mean at the start. start_degC: of every core. rng: source of the spread. spread: 1.0 for the
    usual spread of new cells, 0.0 for equal cells.
    """

    def __init__(
        self, plant: Plant, soc: float, start_degC: float, rng: np.random.Generator, spread: float = 1.0
    ) -> None:
        self.plant = plant
        n = plant.series
        data = CELLS[plant.chemistry.name]
        change = plant.perturbation
        self.new_capacity_As = (
            plant.capacity_Ah * 3600 * change.capacity * rng.normal(1.0, spread * _CAPACITY_SPREAD, n)
        )
        self._per_ah = change.resistance * np.clip(rng.normal(1.0, spread * _RESISTANCE_SPREAD, n), 0.8, 1.3)
        self._per_ah /= plant.capacity_Ah
        start_spread = rng.normal(0.0, spread * _SOC_SPREAD, n)
        index = np.arange(n)
        device, local = index // plant.cells_per_device, index % plant.cells_per_device
        self.sensor_of = device * plant.temps_per_device + local * plant.temps_per_device // plant.cells_per_device
        self._leak_spread = np.clip(rng.normal(1.0, spread * _LEAK_SPREAD, n), 0.5, 1.5)
        self._state, self._now = np.zeros((C.STATE_ROWS, n)), np.zeros((C.NOW_ROWS, n))
        self._table = np.zeros((C.CIRCUIT_ROWS, n))
        self.soc, self.hysteresis, self._moved = (self._state[row] for row in (C.SOC, C.HYSTERESIS, C.MOVED))
        self.pair_A = self._state[C.PAIR1_A : C.PAIR2_A + 1]
        self.ocv_V, self.resistance, self.source_V = (self._now[row] for row in (C.OCV_V, C.RESISTANCE, C.SOURCE_V))
        self.drop_V, self._aside_A = (self._now[row] for row in (C.DROP_V, C.ASIDE_A))  # aside: not through the string
        self.capacity_As, self._leak_A = self._table[C.CAPACITY_As], self._table[C.LEAK_A]
        self._half_gap_V = self._table[C.HALF_GAP_V]
        self._resistances = self._table[C.OHM : C.PAIR2 + 1]
        self.soc[:] = np.clip(soc + start_spread, 0.0, 1.0)
        self._heat_W = np.zeros(plant.sensors)
        self._hysteresis_rate = data.hysteresis_rate
        self._pair_s = (data.pair1_s, data.pair2_s)
        self._factors_s = 0.0  # step for which _pair_factors holds
        self._pair_factors = np.zeros(6)
        self._curve = plant_curve(plant)
        self._circuit = Circuit(data, self._curve)
        self._ageing = AgeingState(data.ageing, n)
        self._age()
        self.rest_at(np.full(plant.sensors, float(start_degC)))

    # state of the circuit

    def _age(self) -> None:
        """Take over capacity and resistance from the ageing."""
        self.capacity_As[:] = self.new_capacity_As * (1 - self._ageing.lost)
        self._scale = self._per_ah * (1 + self._ageing.rise)

    def _warm(self, core_degC: Array) -> None:
        """Take over the temperature of each position."""
        self.core_degC = core_degC.copy()
        self._degC = core_degC[self.sensor_of]
        factors = self._circuit.at_degC(core_degC).take(self.sensor_of, axis=1)
        self._resistance_factors = factors[[0, 1, 2, 2]]
        self._thermal_V = factors[3]
        self._leak_A[:] = factors[4] * self.capacity_As * self._leak_spread
        self._hidden = factors[5]
        self._hidden_max = float(self._hidden.max())

    def _refresh(self) -> None:
        """Read the circuit at the present SoC and temperature."""
        self._drift = 0.0
        values = self._circuit.at_soc(self.soc)
        self.entropic_V_per_K = values[0]
        self._half_gap_V[:] = values[1]
        self._table[C.OCV_SHIFT_V] = self.entropic_V_per_K * (self._degC - 25.0)
        self._table[C.REVERSIBLE_V] = self.entropic_V_per_K * (self._degC + 273.15)
        self._resistances[:] = values[2:] * self._resistance_factors * self._scale
        self._table[C.BEND_PER_A] = self._table[C.TRANSFER] / self._thermal_V
        if self._hidden_max > 0.0:
            starved = np.maximum(self._hidden - self.soc, 0.0)
            if starved.any():
                self._table[C.PAIR2] += _STARVED_OHM_AH * starved * (self.pair_A[1] > 0) * self._scale

    def linearise(self, current_A: float) -> None:
        """Take the resistance of each cell at this string current in A: the charge transfer bends above 2RT/F."""
        self.emf_V, self.resistance_ohm = C.settle(
            float(current_A), self._circuit.curve_V, self._state, self._table, self._now
        )

    def refresh_emf(self) -> None:
        """Combine the source voltages; call it after a change of drop_V."""
        self.emf_V = C.sources(self._state, self._table, self._now)

    def voltages(self, current_A: float) -> Array:
        """Terminal voltage of each cell in V at a string current in A; positive discharges."""
        volts: Array = self.source_V - current_A * self.resistance
        return volts

    def rest_at(self, core_degC_of_position: Array) -> None:
        """Take over these temperatures without a step of time; no current flows but the self-discharge."""
        self._warm(core_degC_of_position)
        self._aside_A[:] = self._leak_A
        self._refresh()
        self.linearise(0.0)

    def set_soc(self, soc: float | Array) -> None:
        """Put the cells at a state of charge, 0..1, at rest and between the curves of the hysteresis."""
        self.soc[:] = soc
        self.hysteresis[:] = 0.0
        self.pair_A[:] = 0.0
        self._refresh()
        self.linearise(0.0)

    def rest_soc(self) -> float:
        """Mean state of charge, 0..1."""
        return float(self.soc.mean())

    @property
    def stored_J(self) -> float:
        """Energy in the capacitors of the RC pairs of all cells."""
        per_pair_J = (self._resistances[2:] * self.pair_A**2).sum(axis=1)
        return float(0.5 * (self._pair_s[0] * per_pair_J[0] + self._pair_s[1] * per_pair_J[1]))

    @property
    def ageing(self) -> AgeingState:
        """Lost capacity and risen resistance of each cell."""
        return self._ageing

    # time

    def step_charge(
        self, mean_A: float, dt_s: float, core_degC_of_position: Array, extra_A: Array | None = None
    ) -> Array:
        """Advance charge, RC pairs, hysteresis and ageing by dt_s (0.01 to 10 s) at a constant current.

        mean_A: string current, positive discharges. extra_A: additional discharge of each cell that does not flow
        through the string: balancing, an internal short. Its own heat (V * extra_A) is the caller's.
        Returns the heat of the cells of each position in W, mean over the step: resistances, RC pairs, hysteresis,
        self-discharge, and the reversible heat, which can be negative.
        """
        np.add(self._leak_A, 0.0 if extra_A is None else extra_A, out=self._aside_A)
        factors = self._factors(dt_s)
        swing = C.move(float(mean_A), dt_s, self._hysteresis_rate, factors, self._state, self._table, self._now)
        self._drift += swing
        warmer = np.abs(core_degC_of_position - self.core_degC).max() > _WARM_K
        if warmer:
            self._warm(core_degC_of_position)
        if warmer or self._drift > _DRIFT:
            self._refresh()
        self.linearise(mean_A)
        C.warm(float(mean_A), self._state, self._table, self._now, self.sensor_of, self._heat_W)
        if self._ageing.passed(dt_s):
            self._ageing.update(self._moved, self.soc, self._degC)
            self._moved[:] = 0.0
            self._age()
            self._refresh()
        return self._heat_W.copy()

    def _factors(self, dt_s: float) -> Array:
        """Share that each pair keeps over a step, and factors of the mean square current through its resistor."""
        if dt_s != self._factors_s:
            self._factors_s = dt_s
            for at, pair_s in enumerate(self._pair_s):
                keep, share = math.exp(-dt_s / pair_s), pair_s / dt_s
                self._pair_factors[3 * at : 3 * at + 3] = keep, 2 * share * (1 - keep), 0.5 * share * (1 - keep * keep)
        return self._pair_factors
