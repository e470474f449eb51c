"""Failing cells: self-heating, venting with gas, and the heat that reaches the neighbours.

One reaction of first order stands for all stages of a cell's decomposition. Its rate follows Arrhenius up to a highest
rate, at which the reaction front limits it. The reactant is used up, so the heat of a cell is bounded. Each position
reacts at its own core temperature. A neighbour therefore ignites without a script when it gets hot enough.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from halite.plant.chemistries import Array
from halite.plant.parameters import Plant

_KELVIN = 273.15
_ONSET_K_per_s = 0.02 / 60  # an accelerating-rate calorimeter finds self-heating at 0.02 K/min
_MELTS_OVER_K = 60.0  # from the first shutdown of the separator to a short of the whole cell: engineering judgement
_VAPOUR_SHARE = 0.05  # solvent vapour at the first venting, of the whole gas: engineering judgement
# Of the heat of reaction after venting: to the cell's own surface, and to each neighbour. Engineering judgement.
_TO_SURFACE, _TO_NEIGHBOUR = 0.3, 0.15
_COLD_K = 60.0  # below the onset by this the reaction does not count: the rate is under a hundredth of 0.02 K/min


@dataclass(frozen=True)
class Kinetics:
    """Self-heating of one chemistry.

    onset_degC: adiabatic self-heating of 0.02 K/min. hot_degC, hot_K_per_s: a second, faster point of the same
    Arrhenius line. peak_K_per_s: highest rate of a fresh cell. total_K: adiabatic rise by the whole reaction.
    vent_degC: core temperature of the first venting. melt_degC: core temperature at which the voltage begins to fall.
    ignite_degC: core temperature to which the fault `runaway` heats a position. gas_mol_per_Ah: of the whole reaction.
    """

    onset_degC: float
    hot_degC: float
    hot_K_per_s: float
    peak_K_per_s: float
    total_K: float
    vent_degC: float
    melt_degC: float
    ignite_degC: float
    gas_mol_per_Ah: float

    @cached_property
    def activation_K(self) -> float:
        """Activation energy over the gas constant, K."""
        onset, hot = self.onset_degC + _KELVIN, self.hot_degC + _KELVIN
        return float(np.log(self.hot_K_per_s / _ONSET_K_per_s) / (1 / onset - 1 / hot))

    def rate_per_s(self, core_degC: Array) -> Array:
        """Share of the remaining reactant that reacts in a second."""
        kelvin = np.maximum(core_degC, -50.0) + _KELVIN
        exponent = self.activation_K * (1 / (self.onset_degC + _KELVIN) - 1 / kelvin)
        arrhenius: Array = _ONSET_K_per_s * np.exp(exponent)
        rate: Array = arrhenius * self.peak_K_per_s / (arrhenius + self.peak_K_per_s) / self.total_K
        return rate


KINETICS = {
    # Onset of the SEI stage "above about 120 degC, then tens of degC per minute" (nacells.com 31047486). Gas as of NMC,
    # 0.07 mol/Ah (Batteries 2025 11 323). Peak, whole heat, venting: engineering judgement.
    "sodium": Kinetics(120.0, 180.0, 0.5, 12.0, 500.0, 130.0, 120.0, 200.0, 0.07),
    # Self-heating from 80 to 100 degC; first venting of a 280 Ah cell at 163 degC (Batteries 2024 10 270); runaway from
    # 150 to 300 degC (Batteries 2025 11 253); gas 0.02 mol/Ah, at most 446 degC (Batteries 2025 11 323), hence the
    # whole heat. Rates: engineering judgement.
    "lfp": Kinetics(90.0, 220.0, 0.1, 3.0, 300.0, 163.0, 150.0, 250.0, 0.02),
    # Polyanion: self-heating below 1 K/min (Carter et al., Energies 2025 18 661); gas 0.05 mol/Ah, at most 265 degC, as
    # of NVPF (Batteries 2025 11 323), hence the whole heat. Onset, venting: engineering judgement.
    "nfpp": Kinetics(120.0, 180.0, 0.005, 0.9 / 60, 120.0, 150.0, 140.0, 200.0, 0.05),
}
KINETICS["prada"] = KINETICS["lfp"]  # the research cell of the validation


def kinetics_of(plant: Plant) -> Kinetics:
    """Self-heating of the plant's chemistry, by its name."""
    return KINETICS[plant.chemistry.name]


@dataclass
class Reactions:
    """The reaction of every position. reactant: 1 fresh, 0 used up; vented; hottest_degC: of the core so far.

    any_melted: True when a position has lost voltage.

    heat_J_per_K: heat capacity of each position; gas_mol: whole gas of each position.
    """

    kinetics: Kinetics
    heat_J_per_K: Array
    gas_mol: Array

    def __post_init__(self) -> None:
        n = len(self.heat_J_per_K)
        self.reactant = np.ones(n)
        self.vented = np.zeros(n, dtype=bool)
        self.hottest_degC = np.full(n, -_KELVIN)
        self.any_melted = False
        self._kept_gas = np.zeros(n)

    def step(self, core_degC: Array, dt_s: float) -> tuple[Array, Array, float] | None:
        """Advance by dt_s. Returns (heat of the cores, heat of the surfaces, both in W, gas in mol).

        None while every core is too cold to react.
        """
        if core_degC.max() < self.kinetics.onset_degC - _COLD_K:
            return None
        np.maximum(self.hottest_degC, core_degC, out=self.hottest_degC)
        self.any_melted = float(self.hottest_degC.max()) > self.kinetics.melt_degC
        used = self.reactant * -np.expm1(-self.kinetics.rate_per_s(core_degC) * dt_s)
        self.reactant -= used
        heat_W = used * self.kinetics.total_K * self.heat_J_per_K / dt_s
        core_W, surface_W = self._spread(heat_W)
        return core_W, surface_W, self._gas(used)

    def _spread(self, heat_W: Array) -> tuple[Array, Array]:
        """Before venting the core keeps its heat; afterwards hot gas carries a part of it to the surfaces around."""
        out_W = np.where(self.vented, heat_W, 0.0)
        surface_W = _TO_SURFACE * out_W
        surface_W[:-1] += _TO_NEIGHBOUR * out_W[1:]
        surface_W[1:] += _TO_NEIGHBOUR * out_W[:-1]
        surface_W[0] += _TO_NEIGHBOUR * out_W[0]  # an end of the row has one neighbour
        surface_W[-1] += _TO_NEIGHBOUR * out_W[-1]
        return heat_W - (_TO_SURFACE + 2 * _TO_NEIGHBOUR) * out_W, surface_W

    def _gas(self, used: Array) -> float:
        """Gas that leaves the cells, mol. A closed cell keeps its gas until it vents."""
        opens = (self.hottest_degC >= self.kinetics.vent_degC) & ~self.vented
        self.vented |= opens
        self._kept_gas += self.gas_mol * ((1 - _VAPOUR_SHARE) * used + np.where(opens, _VAPOUR_SHARE, 0.0))
        leaves = np.where(self.vented, self._kept_gas, 0.0)
        self._kept_gas -= leaves
        return float(leaves.sum())

    def lost_voltage(self) -> Array:
        """Share 0..1 of its voltage that each position has lost for ever, by melted separators."""
        share: Array = np.clip((self.hottest_degC - self.kinetics.melt_degC) / _MELTS_OVER_K, 0.0, 1.0)
        return share


@dataclass
class Gas:
    """Gas in the air of the rack's room, by volume. All data are engineering judgement.

    volume_m3: of the room. ventilation_s: time constant of its ventilation. mV_per_ppm, clean_mV, full_mV: sensor.
    A sensor of 200 ppm passes the 50 ppm of the Chinese "25 key requirements" 2.12.4 at a quarter of its range.
    """

    volume_m3: float = 30.0
    ventilation_s: float = 600.0
    mV_per_ppm: float = 13.0
    clean_mV: float = 400.0
    full_mV: float = 3000.0
    ppm: float = 0.0

    def step(self, released_mol: float, dt_s: float) -> None:
        """Advance by dt_s with gas that leaves the cells; 0.0245 m3/mol at 25 degC and 101 kPa."""
        if not released_mol and not self.ppm:
            return
        added = released_mol * 0.0245 / self.volume_m3
        self.ppm = (self.ppm + (1e6 - self.ppm) * min(added, 1.0)) * float(np.exp(-dt_s / self.ventilation_s))

    @property
    def sensor_mV(self) -> float:
        """Voltage of the gas sensor."""
        return min(self.full_mV, self.clean_mV + self.mV_per_ppm * self.ppm)
