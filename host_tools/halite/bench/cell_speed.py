"""Speed of the simulated cells against PyBaMM's single-particle model, both in this process and in CPU time."""

import os
from collections.abc import Callable, Iterator

import numpy as np

from halite.bench.pybamm_cell import pybamm, service, simulation
from halite.config import load_params
from halite.plant.chemistries import Array
from halite.plant.rack import Rack

_HOURS = 1.0
_RUNS = 3


def _cpu_s(work: Callable[[], object]) -> float:
    """User time of this process for the work, in steps of 10 ms."""
    before = os.times().user
    work()
    return max(os.times().user - before, 0.01)


def _plant_cells_per_s(rates: Array) -> float:
    """Cell-seconds per CPU second of the largest rack, 1 s steps."""
    cells = Rack.from_params(load_params("lfp_rack"), soc=0.6).cells
    amps = rates * cells.plant.capacity_Ah

    def run() -> None:
        for current_A in amps:
            cells.step_charge(float(current_A), 1.0, cells.core_degC)

    return len(rates) * len(cells.soc) / _cpu_s(run)


def _pybamm_cells_per_s(rates: Array) -> float:
    """Cell-seconds per CPU second of one SPM cell that reports each second. The model is built and compiled before."""
    times = np.arange(len(rates), dtype=float)
    built = simulation(rates, 25.0, "SPM")

    def run() -> None:
        built.solve([0.0, times[-1]], t_interp=times, initial_soc=0.6)["Terminal voltage [V]"](times)

    run()
    return len(rates) / _cpu_s(run)


def measure() -> Iterator[tuple[str, float]]:
    """Yield the ratio on the service profile at 25 °C, median of three. Raises HaliteError without PyBaMM."""
    pybamm()
    rates = service(5, _HOURS, 0.0)
    ratios = sorted(_plant_cells_per_s(rates) / _pybamm_cells_per_s(rates) for _ in range(_RUNS))
    yield "plant_vs_pybamm_spm", round(ratios[1], 1)
