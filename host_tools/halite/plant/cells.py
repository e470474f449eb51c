"""The cells of the string: state of charge, voltage and heat, as NumPy arrays with a seeded spread."""

import numpy as np

from halite.plant.parameters import R_OF_T, Array, Plant, R_OF_T_degC, ocv_curve

# Spread of new cells within one rack, 1 sigma: capacity 0.5 %, resistance 3 %, SoC 0.3 %: engineering judgement.
_CAPACITY_SPREAD = 0.005
_RESISTANCE_SPREAD = 0.03
_SOC_SPREAD = 0.003


class Cells:
    """State of every cell and of every sensor position (the cells next to one NTC).

    Each position has two temperature nodes, core and surface. The rack calls `step` in its slow period; between two
    steps the string is one source `emf_V` with `resistance_ohm`.

    Arrays of one entry per cell: capacity_As, soc (0..1), resistance (ohm), ocv_V, drop_V (voltage lost by a fault),
    sensor_of (index of the position). Arrays of one entry per position: core_degC, surface_degC.
    soc: 0..1, the mean at the start. start_degC: of cores and surfaces. rng: source of the spread.
    """

    def __init__(self, plant: Plant, soc: float, start_degC: float, rng: np.random.Generator) -> None:
        self.plant = plant
        n = plant.series
        self.capacity_As = plant.capacity_Ah * 3600 * rng.normal(1.0, _CAPACITY_SPREAD, n)
        self._r25 = plant.cell_resistance_ohm() * np.clip(rng.normal(1.0, _RESISTANCE_SPREAD, n), 0.8, 1.3)
        self.soc = np.clip(soc + rng.normal(0.0, _SOC_SPREAD, n), 0.0, 1.0)
        self._curve = ocv_curve(plant)
        index = np.arange(n)
        device, local = index // plant.cells_per_device, index % plant.cells_per_device
        self.sensor_of = device * plant.temps_per_device + local * plant.temps_per_device // plant.cells_per_device
        self._cells_at = np.maximum(np.bincount(self.sensor_of, minlength=plant.sensors), 1)
        self.core_degC = np.full(plant.sensors, float(start_degC)) + rng.normal(0.0, 0.2, plant.sensors)
        self.surface_degC = self.core_degC.copy()
        self.drop_V = np.zeros(n)
        self._aside_A: Array | None = None
        heat = plant.cell_heat_capacity_J_per_K() * self._cells_at
        self._core_J_per_K = heat * plant.core_share
        self._surface_J_per_K = heat * (1 - plant.core_share)
        self._refresh()

    def _refresh(self) -> None:
        scale = np.interp(self.core_degC, R_OF_T_degC, R_OF_T)
        self.resistance = self._r25 * scale[self.sensor_of]
        self.ocv_V = np.interp(self.soc, *self._curve) - self.drop_V
        # Outside 0..1 the voltage of a cell leaves the curve steeply: 10 V per unit of SoC (engineering judgement).
        outside = self.soc - np.clip(self.soc, 0.0, 1.0)
        if outside.any():
            self.ocv_V = self.ocv_V + 10.0 * outside
        if self._aside_A is not None:
            self.ocv_V = self.ocv_V - self._aside_A * self.resistance
        self.emf_V = float(self.ocv_V.sum())
        self.resistance_ohm = float(self.resistance.sum())

    def voltages(self, current_A: float) -> Array:
        """Terminal voltage of each cell in V at a rack current in A; positive discharges."""
        volts: Array = self.ocv_V - current_A * self.resistance
        return volts

    def step_charge(self, mean_A: float, dt_s: float, core_degC: Array, extra_A: Array | None = None) -> Array:
        """Advance the state of charge by dt_s at a mean current; returns the heat of each position in W.

        core_degC: one entry per position. extra_A: additional discharge current of each cell, None without one.
        """
        amps = mean_A if extra_A is None else mean_A + extra_A
        self.soc -= amps * dt_s / self.capacity_As
        self.core_degC = core_degC
        self._aside_A = extra_A
        self._refresh()
        loss_W: Array = self.resistance * amps * amps
        return np.bincount(self.sensor_of, loss_W, minlength=len(core_degC)).astype(np.float64)

    def rest_soc(self) -> float:
        """Mean state of charge, 0..1."""
        return float(self.soc.mean())
