"""The cells of the string: charge, voltage, heat and ageing, as NumPy arrays with a seeded spread.

One cell is an equivalent circuit: OCV over SoC and temperature with hysteresis, an ohmic and a charge-transfer
resistance, and two RC pairs. docs/plant.md describes it and compares it with PyBaMM.
"""

import numpy as np

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
        self.soc = np.clip(soc + rng.normal(0.0, spread * _SOC_SPREAD, n), 0.0, 1.0)
        index = np.arange(n)
        device, local = index // plant.cells_per_device, index % plant.cells_per_device
        self.sensor_of = device * plant.temps_per_device + local * plant.temps_per_device // plant.cells_per_device
        self._leak_spread = np.clip(rng.normal(1.0, spread * _LEAK_SPREAD, n), 0.5, 1.5)
        self.drop_V = np.zeros(n)
        self.hysteresis = np.zeros(n)
        self._hysteresis_rate = data.hysteresis_rate
        self.pair_A = np.zeros((2, n))
        self._pair_s = (data.pair1_s, data.pair2_s)
        self._factors_s = 0.0  # step for which _pair_factors holds
        self._curve = plant_curve(plant)
        self._circuit = Circuit(data, self._curve)
        self._ageing = AgeingState(data.ageing, n)
        self._aside_A = np.zeros(n)  # current of each cell that does not flow through the string
        self._age()
        self.rest_at(np.full(plant.sensors, float(start_degC)))

    # state of the circuit

    def _age(self) -> None:
        """Take over capacity and resistance from the ageing."""
        self.capacity_As = self.new_capacity_As * (1 - self._ageing.lost)
        self._scale = self._per_ah * (1 + self._ageing.rise)

    def _warm(self, core_degC: Array) -> None:
        """Take over the temperature of each position."""
        self.core_degC = core_degC.copy()
        self._degC = core_degC[self.sensor_of]
        factors = self._circuit.at_degC(core_degC).take(self.sensor_of, axis=1)
        self._resistance_factors = factors[[0, 1, 2, 2]]
        self._thermal_V = factors[3]
        self._leak_A = factors[4] * self.capacity_As * self._leak_spread
        self._hidden = factors[5]
        self._hidden_max = float(self._hidden.max())

    def _refresh(self) -> None:
        """Read the circuit at the present SoC and temperature."""
        self._drift = 0.0
        values = self._circuit.at_soc(self.soc)
        self.entropic_V_per_K, self._half_gap_V = values[:2]
        self._ocv_shift_V = self.entropic_V_per_K * (self._degC - 25.0)
        self._reversible_V = self.entropic_V_per_K * (self._degC + 273.15)
        self._ohm, self._transfer, *_ = self._resistances = values[2:] * self._resistance_factors * self._scale
        self._bend_per_A = self._transfer / self._thermal_V
        if self._hidden_max > 0.0:
            starved = np.maximum(self._hidden - self.soc, 0.0)
            if starved.any():
                self._resistances[3] += _STARVED_OHM_AH * starved * (self.pair_A[1] > 0) * self._scale

    def linearise(self, current_A: float) -> None:
        """Take the resistance of each cell at this string current in A: the charge transfer bends above 2RT/F."""
        drive = (current_A + self._aside_A) * self._bend_per_A + 1e-9
        self.resistance = self._ohm + self._transfer * (np.arcsinh(drive) / drive)
        self.resistance_ohm = float(self.resistance.sum())
        self.refresh_emf()

    def refresh_emf(self) -> None:
        """Combine the source voltages; call it after a change of drop_V."""
        pairs_V = self._resistances[2] * self.pair_A[0] + self._resistances[3] * self.pair_A[1]
        self.source_V = (
            self.ocv_V + self.hysteresis * self._half_gap_V - pairs_V - self._aside_A * self.resistance - self.drop_V
        )
        self.emf_V = float(self.source_V.sum())

    def voltages(self, current_A: float) -> Array:
        """Terminal voltage of each cell in V at a string current in A; positive discharges."""
        volts: Array = self.source_V - current_A * self.resistance
        return volts

    def rest_at(self, core_degC_of_position: Array) -> None:
        """Take over these temperatures without a step of time; no current flows but the self-discharge."""
        self._warm(core_degC_of_position)
        self._aside_A = self._leak_A
        self._refresh()
        self.ocv_V = self._circuit.ocv_V(self.soc) + self._ocv_shift_V
        self.linearise(0.0)

    def set_soc(self, soc: float | Array) -> None:
        """Put the cells at a state of charge, 0..1, at rest and between the curves of the hysteresis."""
        self.soc[:] = soc
        self.ocv_V = self._circuit.ocv_V(self.soc) + self._ocv_shift_V
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
        self._aside_A = self._leak_A if extra_A is None else self._leak_A + extra_A
        current_A: Array = mean_A + self._aside_A
        moved = current_A * (dt_s / self.capacity_As)
        swing = np.abs(moved)
        self.soc -= moved
        squares = self._step_pairs(current_A, dt_s)
        self._step_hysteresis(current_A, swing)
        self._drift += float(swing.max())
        warmer = np.abs(core_degC_of_position - self.core_degC).max() > _WARM_K
        if warmer:
            self._warm(core_degC_of_position)
        if warmer or self._drift > _DRIFT:
            self._refresh()
        self.ocv_V = self._circuit.ocv_V(self.soc) + self._ocv_shift_V
        self.linearise(mean_A)
        reversible_V = self._half_gap_V * self.hysteresis + self._reversible_V
        heat = (self.resistance * current_A - reversible_V) * current_A + self._leak_A * self.ocv_V
        heat += self._resistances[2] * squares[0] + self._resistances[3] * squares[1]
        if self._ageing.add(swing, dt_s):
            self._ageing.update(self.soc, self._degC)
            self._age()
            self._refresh()
        return self._of_positions(heat)

    def _of_positions(self, of_cells: Array) -> Array:
        """Sum of a quantity over the cells of each position."""
        sums: Array = np.bincount(self.sensor_of, of_cells, minlength=self.plant.sensors).astype(np.float64)
        return sums

    def _step_pairs(self, current_A: Array, dt_s: float) -> Array:
        """Exact step of both pairs at a constant current. Returns the mean square current of each resistor in A²."""
        if dt_s != self._factors_s:
            keep = np.exp(-dt_s / np.array([self._pair_s])).T
            share = np.array([self._pair_s]).T / dt_s
            self._factors_s, self._pair_factors = dt_s, (keep, 2 * share * (1 - keep), 0.5 * share * (1 - keep * keep))
        keep, linear, square = self._pair_factors
        away = self.pair_A - current_A
        mean_square: Array = current_A * (current_A + linear * away) + square * (away * away)
        self.pair_A = current_A + keep * away
        return mean_square

    def _step_hysteresis(self, current_A: Array, swing: Array) -> None:
        """Move towards the discharged branch while a cell discharges, and towards the charged one while it charges."""
        branch = -np.sign(current_A)
        self.hysteresis = branch + (self.hysteresis - branch) * np.exp(-self._hysteresis_rate * swing)
