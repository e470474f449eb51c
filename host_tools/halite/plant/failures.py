"""Failures of cells: heat from outside and inside, internal shorts, runaway with its gas, and lost voltage."""

import numpy as np
import numpy.typing as npt

from halite.plant.cells import Cells
from halite.plant.chemistries import Array
from halite.plant.faults import Faults
from halite.plant.heat import Heat
from halite.plant.parameters import Plant
from halite.plant.runaway import Gas, Reactions, kinetics_of

_SPILL = 0.05  # of the trigger's heat, to the surface of each neighbour of a heated position: engineering judgement


class Failures:
    """The failing cells of one rack. reactions: state of the cells' decomposition. gas: in the room.

    sensor_of: position of each cell.
    """

    def __init__(self, plant: Plant, heat: Heat, sensor_of: npt.NDArray[np.int64]) -> None:
        self._heat = heat
        self._sensor_of = sensor_of
        self._per_device = plant.temps_per_device
        self._melted_V = plant.voltage_min_V
        capacity = heat.core_J_per_K + heat.surface_J_per_K
        kinetics = kinetics_of(plant)
        cells_at = np.bincount(sensor_of, minlength=plant.sensors).astype(np.float64)
        self.reactions = Reactions(kinetics, capacity, kinetics.gas_mol_per_Ah * plant.capacity_Ah * cells_at)
        self.gas = Gas()
        self._capacity_J_per_K = capacity
        self._ignited: set[int] = set()
        self._dropped = False
        self._short_A: Array | None = None

    def short_A(self, faults: Faults, cells: Cells, current_A: float) -> Array | None:
        """Current of each cell into its internal short in A, None without a short. current_A: of the rack."""
        shorts = faults.places("internal_short")
        before_A, self._short_A = self._short_A, None
        if not shorts:
            return None
        open_V = cells.voltages(current_A)  # terminals as they would be without the shorts
        if before_A is not None:
            open_V = open_V + before_A * cells.resistance
        amps = np.zeros(len(open_V))
        for cell, ohm in shorts.items():
            amps[cell] = max(open_V[cell], 0.0) / (ohm + cells.resistance[cell])
        self._short_A = amps
        return amps

    def short_W(self, faults: Faults, short_A: Array) -> Array:
        """Heat of the shorts themselves at each position in W."""
        heat_W = np.zeros(len(self._capacity_J_per_K))
        for cell, ohm in faults.places("internal_short").items():
            heat_W[self._sensor_of[cell]] += short_A[cell] ** 2 * ohm
        return heat_W

    def step(self, faults: Faults, dt_s: float) -> None:
        """Give the heat of all failures to the heat model for its next step of dt_s, and gas to the room."""
        heat = self._heat
        for device, rate in faults.places("heat").items():
            here = slice(device * self._per_device, (device + 1) * self._per_device)
            self._warm_whole(here, rate)
        for sensor, rate in faults.places("self_heat").items():
            self._warm_whole(slice(sensor, sensor + 1), rate / 60)
        self._ignite(faults.places("runaway"))
        released_mol = 0.0
        reacted = self.reactions.step(heat.core_degC, dt_s)
        if reacted:
            core_W, surface_W, released_mol = reacted
            heat.warm("reaction", core_W, surface_W)
        self.gas.step(released_mol, dt_s)

    def _warm_whole(self, here: slice, rate_K_per_s: float) -> None:
        """Heat core and surface of positions together, at the rate that they would have without cooling."""
        core_W, surface_W = np.zeros(len(self._capacity_J_per_K)), np.zeros(len(self._capacity_J_per_K))
        core_W[here] = rate_K_per_s * self._heat.core_J_per_K[here]
        surface_W[here] = rate_K_per_s * self._heat.surface_J_per_K[here]
        self._heat.warm("failure", core_W, surface_W)

    def _ignite(self, triggers: dict[int, float]) -> None:
        """Heat the positions with a trigger until they are hot enough to continue by themselves."""
        self._ignited &= triggers.keys()
        for sensor, rate in triggers.items():
            if self._heat.core_degC[sensor] >= self.reactions.kinetics.ignite_degC:
                self._ignited.add(sensor)
            if sensor in self._ignited:
                continue
            self._warm_whole(slice(sensor, sensor + 1), rate)
            spill_W = np.zeros(len(self._capacity_J_per_K))
            spill_W[max(sensor - 1, 0) : sensor + 2] = _SPILL * rate * self._heat.surface_J_per_K[sensor]
            spill_W[sensor] = 0.0
            self._heat.warm("failure", None, spill_W)

    def drop(self, faults: Faults, cells: Cells) -> None:
        """Lower the voltage of each cell by the loss from a fault or a melted separator."""
        if not (self.reactions.any_melted or "cell_shorted" in faults or self._dropped):
            return
        cells.drop_V[:] = (self.reactions.lost_voltage() * self._melted_V)[self._sensor_of]
        for cell, volts in faults.places("cell_shorted").items():
            cells.drop_V[cell] += volts
        self._dropped = bool(cells.drop_V.any())
