"""Ageing of every cell: loss of capacity and rise of resistance, by time at temperature and SoC and by throughput."""

import numpy as np

from halite.plant.chemistries import GAS_J_PER_MOL_K, Array
from halite.plant.chemistries import Ageing as Law

UPDATE_S = 3600.0  # the state moves once in this simulated time: ageing is slow


class AgeingState:
    """Shares of a new cell, one entry per cell: lost_calendar, lost_cycle (of capacity), rise (of resistance)."""

    def __init__(self, law: Law, cells: int) -> None:
        self._law = law
        self.lost_calendar, self.lost_cycle, self.rise = (np.zeros(cells) for _ in range(3))
        self._elapsed_s = 0.0

    @property
    def lost(self) -> Array:
        """Lost share of the new capacity."""
        total: Array = self.lost_calendar + self.lost_cycle
        return total

    def passed(self, dt_s: float) -> bool:
        """Count the time of a step. Returns True when `update` is due."""
        self._elapsed_s += dt_s
        return self._elapsed_s >= UPDATE_S

    def update(self, moved: Array, soc: Array, degC: Array) -> None:
        """Age by the time since the last update, at the present SoC and temperature of each cell.

        moved: sum of the absolute changes of SoC of each cell since then.

        Losses that follow a square root go on from their own virtual age.
        """
        law, seconds = self._law, self._elapsed_s
        inverse = 1 / (degC + 273.15) - 1 / 298.15
        stress = np.clip(soc, 0.0, 1.0) - 0.5
        rate = law.loss_k * np.exp(-law.loss_J_per_mol / GAS_J_PER_MOL_K * inverse)
        rate = rate * (law.loss_soc[0] * stress**3 + law.loss_soc[1])
        self.lost_calendar = np.sqrt(self.lost_calendar**2 + rate**2 * seconds)
        cycles = moved / 2
        c_rate = moved * 3600.0 / seconds
        a, b, depth = law.loss_cycle
        per_root = (a * c_rate + b) * depth / 100
        self.lost_cycle = np.sqrt(self.lost_cycle**2 + per_root**2 * cycles)
        rate = law.rise_k * np.exp(-law.rise_J_per_mol / GAS_J_PER_MOL_K * inverse)
        a, b, depth = law.rise_cycle
        self.rise = self.rise + rate * (law.rise_soc[0] * stress**2 + law.rise_soc[1]) * seconds
        self.rise = self.rise + np.maximum(a * c_rate + b, 0.0) * depth / 100 * cycles
        self._elapsed_s = 0.0
