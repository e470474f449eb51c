"""PyBaMM's LFP cell Prada2013 as reference: voltage traces under pulses and under a frequency service.

PyBaMM is the optional extra `validate`. Sets of profiles: TRAIN feeds the fit, HELD_OUT judges it; no profile is in
both.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from halite.common.errors import HaliteError
from halite.plant.chemistries import Array

TEMPERATURES_degC = (-20.0, 0.0, 25.0, 45.0)
CAPACITY_Ah = 2.3035  # between 2.0 and 3.6 V
NOMINAL_Ah = 2.3


def pybamm() -> Any:
    """The package, with its telemetry off. Raises HaliteError without it."""
    os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
    try:
        import pybamm
    except ImportError:
        raise HaliteError("PyBaMM is not installed", "pip install -e '.[validate]'") from None
    return pybamm


@dataclass(frozen=True)
class Trace:
    """One run at 1 s steps. Arrays over the steps: current_A (positive discharges), soc (0..1), volts (terminal)."""

    name: str
    degC: float
    current_A: Array
    soc: Array
    volts: Array


def service(seed: int, hours: float, mean_C: float) -> Array:
    """Current in C-rates of a frequency service, each second: two random walks back to zero, of 20 s and 300 s.

    mean_C: the drift of a grid whose frequency is off its nominal value. Clipped to 0.5C.
    """
    rng = np.random.default_rng(seed)
    steps = int(hours * 3600)
    keep = np.exp(-1.0 / np.array([20.0, 300.0]))
    noise = rng.normal(size=(steps, 2)) * np.sqrt(1 - keep * keep)
    walk = np.zeros((steps, 2))
    for at in range(1, steps):
        walk[at] = walk[at - 1] * keep + noise[at]
    rates: Array = np.clip(0.25 * (walk @ np.array([0.6, 0.8])) + mean_C, -0.5, 0.5)
    return rates


def _pulses(blocks: int, block: tuple[tuple[float, int], ...]) -> Array:
    return np.concatenate([np.full(seconds, rate) for _ in range(blocks) for rate, seconds in block])


def _train_pulses() -> Array:
    """Through the whole range and back, in blocks of pulses of 0.25C to 0.6C."""
    block = ((0.5, 40), (0.0, 80), (-0.25, 60), (0.0, 40), (0.25, 20), (0.6, 8), (0.0, 60), (0.5, 200), (0.0, 300))
    down = _pulses(19, block)
    return np.concatenate([down, -down])


def _held_pulses() -> Array:
    """Pulses of 1C and rests of other lengths than in the training."""
    return _pulses(5, ((1.0, 10), (0.0, 60), (-0.5, 30), (0.0, 60), (0.5, 360), (0.0, 400), (-1.0, 10), (0.0, 40)))


# name: (current in C-rates each second, SoC at the start)
Profiles = dict[str, tuple[Callable[[], Array], float]]
TRAIN: Profiles = {
    "pulses": (_train_pulses, 0.82),
    "service down": (lambda: service(11, 1.5, -0.17), 0.5),
    "service up": (lambda: service(12, 1.5, 0.17), 0.5),
}
HELD_OUT: Profiles = {
    "service from 80 %": (lambda: service(77, 1.0, 0.10), 0.80),
    "service from 34 %": (lambda: service(78, 1.0, 0.13), 0.34),
    "pulses from 70 %": (_held_pulses, 0.70),
}


def simulation(rates: Array, degC: float, model: str = "SPMe") -> Any:
    """A PyBaMM simulation at a constant temperature. rates: C-rates each second, linear between them."""
    package = pybamm()
    values = package.ParameterValues("Prada2013")
    times = np.arange(len(rates), dtype=float)
    constant = np.ptp(rates) == 0
    values["Current function [A]"] = (
        float(rates[0]) * NOMINAL_Ah if constant else package.Interpolant(times, rates * NOMINAL_Ah, package.t)
    )
    values["Ambient temperature [K]"] = values["Initial temperature [K]"] = 273.15 + degC
    solver = package.IDAKLUSolver(rtol=1e-5, atol=1e-7)
    return package.Simulation(getattr(package.lithium_ion, model)(), parameter_values=values, solver=solver)


def open_circuit(points: int = 201) -> tuple[Array, Array]:
    """(SoC 0..1, V) between the electrodes' limits at 2.0 V and 3.6 V."""
    package = pybamm()
    values = package.ParameterValues("Prada2013")
    empty_n, full_n, full_p, empty_p = package.lithium_ion.ElectrodeSOHSolver(values).get_min_max_stoichiometries()
    negative, positive = (values[f"{side} electrode OCP [V]"] for side in ("Negative", "Positive"))
    soc = np.linspace(0.0, 1.0, points)
    volts = [
        float(np.squeeze(positive(package.Scalar(empty_p + at * (full_p - empty_p))).evaluate()))
        - float(np.squeeze(negative(package.Scalar(empty_n + at * (full_n - empty_n))).evaluate()))
        for at in soc
    ]
    return soc, np.array(volts)


def trace(name: str, profiles: Profiles, degC: float) -> Trace:
    """Run one profile. The model is the single-particle one with electrolyte (SPMe)."""
    make, soc = profiles[name]
    rates = make()
    times = np.arange(len(rates), dtype=float)
    solution = simulation(rates, degC).solve([0.0, times[-1]], t_interp=times, initial_soc=soc)
    out_Ah = solution["Discharge capacity [A.h]"](times)
    return Trace(name, degC, rates * NOMINAL_Ah, soc - out_Ah / CAPACITY_Ah, solution["Terminal voltage [V]"](times))
