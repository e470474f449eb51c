"""The core and surface of the thermal model against PyBaMM's lumped model with a surface node, on a service profile."""

import os
from dataclasses import replace

import numpy as np
import pytest
from halite.config import load_params
from halite.plant.heat import Cooling, Heat, HeatData
from halite.plant.parameters import plant_of_params

os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
import pybamm

BAR_K = 1.0
CASING_J_per_K, ENVIRONMENT_K_per_W, EXCHANGE_W_per_m2K, SECONDS = 15.0, 4.0, 100.0, 3600


def service_C():
    """C-rates of a frequency service each second: full charge and discharge power in turns, with noise between."""
    rng = np.random.default_rng(5)
    walk = np.convolve(rng.normal(size=SECONDS + 1), np.ones(60) / 60, mode="same")
    return np.clip(1.5 * np.sign(np.sin(np.arange(SECONDS + 1) / 120)) + 2.0 * walk, -1.5, 1.5)


def reference(ambient_degC):
    """(heat in W, core, surface in °C) each second, and the heat capacity and conductance of the core, by PyBaMM."""
    values = pybamm.ParameterValues("Chen2020")
    seconds = np.arange(SECONDS + 1, dtype=float)
    amps = pybamm.Interpolant(seconds, 5.0 * service_C(), pybamm.t)
    changes = {
        "Current function [A]": amps, "Total heat transfer coefficient [W.m-2.K-1]": EXCHANGE_W_per_m2K,
        "Ambient temperature [K]": 273.15 + ambient_degC, "Initial temperature [K]": 273.15 + ambient_degC,
        "Casing heat capacity [J.K-1]": CASING_J_per_K, "Environment thermal resistance [K.W-1]": ENVIRONMENT_K_per_W,
    }  # fmt: skip
    values.update(changes, check_already_exists=False)
    model = pybamm.lithium_ion.SPMe({"thermal": "lumped", "surface temperature": "lumped"})
    solution = pybamm.Simulation(model, parameter_values=values).solve(seconds, initial_soc=0.5)
    heat_W = solution["Total heating [W]"](seconds)
    core = solution["Volume-averaged cell temperature [K]"](seconds) - 273.15
    surface = solution["Surface temperature [K]"](seconds) - 273.15
    area_m2 = values["Cell cooling surface area [m2]"]
    per_m3 = solution["Volume-averaged effective heat capacity [J.K-1.m-3]"](seconds).mean()
    return heat_W, core, surface, float(per_m3 * values["Cell volume [m3]"]), EXCHANGE_W_per_m2K * area_m2


def own(heat_W, ambient_degC, core_J_per_K, core_W_per_K, dt_s=1):
    """Core and surface in °C after each step, from the heat of PyBaMM."""
    plant = plant_of_params(load_params("lfp_rack"))
    whole = core_J_per_K + CASING_J_per_K
    chemistry = replace(plant.chemistry, mass_kg_per_ah=1.0, heat_j_per_kg_k=whole)
    plant = replace(
        plant, chemistry=chemistry, capacity_Ah=1.0, core_share=core_J_per_K / whole, core_W_per_K=core_W_per_K,
        cooling_W_per_K=0.0,
    )  # fmt: skip
    data = HeatData(neighbour_W_per_K=0.0, module_gap_W_per_K=0.0, air_W_per_K=1 / ENVIRONMENT_K_per_W)
    heat = Heat(plant, np.ones(2), ambient_degC, ambient_degC, np.random.default_rng(1), data)
    heat.core_degC[:] = heat.surface_degC[:] = ambient_degC
    rows = []
    for at in range(0, SECONDS, dt_s):
        heat.warm("electrical", np.full(2, heat_W[at : at + dt_s + 1].mean()))
        heat.step(float(dt_s), Cooling())
        rows.append((heat.core_degC[0], heat.surface_degC[0]))
    return np.array(rows).T


@pytest.mark.parametrize("ambient_degC", [0.0, 25.0, 45.0])
def test_core_and_surface_follow_pybamm(ambient_degC):
    """Both nodes are within 0.2 K of PyBaMM over an hour; half the conductance of the core would be 1 K outside."""
    heat_W, core, surface, capacity, conductance = reference(ambient_degC)
    assert core.max() - surface.max() > 1.0
    for dt_s, within_K in ((1, 0.1), (10, 0.2)):
        found = own(heat_W, ambient_degC, capacity, conductance, dt_s)
        errors = np.abs(found - np.array([core[dt_s::dt_s], surface[dt_s::dt_s]]))
        assert errors.max() < within_K
    wrong = own(heat_W, ambient_degC, capacity, conductance / 2)
    assert np.abs(wrong - np.array([core[1:], surface[1:]])).max() > BAR_K
