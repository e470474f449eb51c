"""Failing cells: time to runaway, bounded heat, venting, gas, propagation, internal shorts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from halite.config import load_params
from halite.plant.failures import Failures
from halite.plant.faults import Faults
from halite.plant.heat import Cooling, Heat
from halite.plant.parameters import plant_of_params
from halite.plant.rack import Rack
from halite.plant.runaway import KINETICS, Gas, Reactions

PARAMS = load_params("sodium_rack")
CHEMISTRIES = sorted(KINETICS)


class Bench:
    """Two modules of a chemistry with standing coolant. step: seconds of each step."""

    def __init__(self, chemistry, start_degC=30.0, flows=False):
        plant = plant_of_params(PARAMS)
        self.plant = replace(plant, series=32, devices=2, chemistry=replace(plant.chemistry, name=chemistry))
        self.sensor_of = np.arange(32) // 2
        self.heat = Heat(self.plant, np.full(16, 2.0), start_degC, 30.0, np.random.default_rng(1))
        self.failures = Failures(self.plant, self.heat, self.sensor_of)
        self.faults = Faults()
        self.cooling = Cooling(100, 100, False, flows)

    def run(self, seconds, step_s=0.1):
        for _ in range(round(seconds / step_s)):
            self.failures.step(self.faults, step_s)
            self.heat.step(step_s, self.cooling)


def adiabatic(kinetics, start_degC, until_K_per_s, dt_s):
    """(time, temperature) until an insulated cell heats itself at until_K_per_s, integrated in steps of dt_s."""
    degC, left, seconds = start_degC, 1.0, 0.0
    while True:
        rate_K_per_s = left * float(kinetics.rate_per_s(np.array([degC]))[0]) * kinetics.total_K
        if rate_K_per_s >= until_K_per_s:
            return seconds, degC
        degC += rate_K_per_s * dt_s
        left -= rate_K_per_s * dt_s / kinetics.total_K
        seconds += dt_s


# kinetics


@pytest.mark.parametrize("start_degC", [140.0, 170.0])
def test_the_time_to_runaway_is_that_of_semenov(start_degC):
    """An insulated layered-oxide cell runs away after R T0^2 / E over its first rate, within 25 %."""
    kinetics = KINETICS["sodium"]
    first_K_per_s = float(kinetics.rate_per_s(np.array([start_degC]))[0]) * kinetics.total_K
    estimate_s = (start_degC + 273.15) ** 2 / kinetics.activation_K / first_K_per_s
    integrated_s, _ = adiabatic(kinetics, start_degC, 6.0, estimate_s / 5_000)
    assert integrated_s == pytest.approx(estimate_s, rel=0.25)
    reactions = Reactions(kinetics, np.array([9000.0]), np.array([1.0]))
    degC, seconds, rate = np.array([start_degC]), 0.0, 0.0
    while rate < 6.0:
        step_s = estimate_s / 2_000
        core_W, surface_W, _ = reactions.step(degC, step_s)
        rate = float((core_W + surface_W)[0]) / 9000.0
        degC, seconds = degC + rate * step_s, seconds + step_s
    assert seconds == pytest.approx(integrated_s, rel=0.01)


@pytest.mark.parametrize("name", CHEMISTRIES)
def test_the_rates_pass_their_stated_points(name):
    """Self-heating is 0.02 K/min at the onset and rises with the temperature to its peak."""
    kinetics = KINETICS[name]
    degC = np.arange(20.0, 900.0, 5.0)
    rates_K_per_s = kinetics.rate_per_s(degC) * kinetics.total_K
    onset = kinetics.rate_per_s(np.array([kinetics.onset_degC]))[0] * kinetics.total_K
    assert onset == pytest.approx(0.02 / 60, rel=0.03)
    assert (np.diff(rates_K_per_s) > 0).all()
    assert rates_K_per_s[-1] == pytest.approx(kinetics.peak_K_per_s, rel=0.03)
    assert rates_K_per_s[degC == 45.0] < 0.02 / 60 / 5


def test_a_polyanion_cell_never_reaches_1_K_per_min():
    """Carter et al., Energies 2025 18 661: a polyanion sodium cell heats itself below 1 K/min."""
    kinetics = KINETICS["nfpp"]
    assert (kinetics.rate_per_s(np.arange(0.0, 1000.0)) * kinetics.total_K * 60 < 1.0).all()


@pytest.mark.parametrize("name", CHEMISTRIES)
def test_the_heat_of_a_cell_is_bounded(name):
    """The reactant is used up: the heat of all reactions is at most the adiabatic rise times the heat capacity."""
    kinetics = KINETICS[name]
    reactions = Reactions(kinetics, np.full(3, 9000.0), np.ones(3))
    total_J = np.zeros(3)
    for _ in range(4_000):
        core_W, surface_W, _ = reactions.step(np.array([30.0, 350.0, 30.0]), 10.0)
        total_J += 10.0 * (core_W + surface_W)
    assert total_J.sum() == pytest.approx(kinetics.total_K * 9000.0, rel=0.01)
    assert reactions.reactant[1] < 0.01
    assert reactions.reactant[[0, 2]] == pytest.approx(1.0, abs=0.02)


# a position in a module


def burnt(bench):
    return np.flatnonzero(bench.failures.reactions.reactant < 0.5).tolist()


def test_layered_oxide_ignites_its_neighbours_without_coolant():
    """A layered-oxide position that runs away ignites both neighbours when the coolant stands; polyanion does not."""
    layered, polyanion = Bench("sodium"), Bench("nfpp")
    for bench in (layered, polyanion):
        bench.faults.start("runaway", 5)
        bench.run(5400, 0.5)
    assert {4, 5, 6} <= set(burnt(layered))
    assert burnt(polyanion) == []
    assert polyanion.heat.core_degC[[4, 6]].max() < 80.0


def test_running_coolant_prevents_the_propagation():
    """With the coolant at full flow the same runaway stays in its position."""
    bench = Bench("sodium", flows=True)
    bench.faults.start("runaway", 5)
    bench.run(3600, 0.5)
    assert burnt(bench) == [5]


@pytest.mark.parametrize("name", ["sodium", "lfp"])
def test_a_cell_continues_after_its_trigger_ends(name):
    """Above the ignition temperature the fault adds no heat; the cell heats itself far above it."""
    bench = Bench(name)
    bench.faults.start("runaway", 5)
    bench.run(1200, 0.5)
    kinetics = KINETICS[name]
    assert bench.heat.core_degC.max() > kinetics.ignite_degC + 100.0
    whole_J = bench.heat.core_J_per_K[5] + bench.heat.surface_J_per_K[5]
    assert bench.heat.ledger.sources["failure"] < 1.3 * whole_J * (kinetics.ignite_degC - 30.0)
    ratio = bench.heat.ledger.sources["reaction"] / (whole_J * kinetics.total_K)
    assert 0.9 < ratio < 1.01


def test_a_cell_vents_once_and_its_gas_is_ventilated():
    """Gas appears when the core passes the venting temperature, and decays with the ventilation."""
    bench = Bench("sodium")
    bench.faults.start("runaway", 5)
    gas = bench.failures.gas
    while not bench.failures.reactions.vented[5]:
        assert gas.sensor_mV == gas.clean_mV
        bench.run(0.1)
    assert bench.heat.core_degC[5] == pytest.approx(KINETICS["sodium"].vent_degC, abs=2.0)
    assert gas.sensor_mV > 2500.0
    bench.run(600, 0.5)
    highest = gas.ppm
    bench.run(600, 0.5)
    assert gas.ppm == pytest.approx(highest * math.exp(-1), rel=0.05)


def test_the_gas_of_a_cell_is_all_its_gas():
    """Over the whole reaction a position gives its gas once, part of it kept until it vents."""
    reactions = Reactions(KINETICS["sodium"], np.array([9000.0]), np.array([20.0]))
    cold = sum(reactions.step(np.array([125.0]), 1.0)[2] for _ in range(600))
    hot = sum(reactions.step(np.array([300.0]), 1.0)[2] for _ in range(600))
    assert cold == 0.0
    assert hot == pytest.approx(20.0, rel=0.001)


def test_the_gas_sensor_has_a_live_zero_and_an_end():
    """Clean air reads 400 mV; the sensor saturates at 3 V."""
    gas = Gas()
    assert gas.sensor_mV == 400.0
    gas.step(100.0, 0.1)
    assert gas.sensor_mV == 3000.0
    assert gas.ppm < 1e6


@pytest.mark.parametrize("rate", [0.4, 0.6, 1.0])
def test_a_slow_self_heating_has_its_rate(rate):
    """`self_heat` raises sensor and core at the stated K/min; the coolant takes a part of it."""
    bench = Bench("nfpp")
    bench.faults.start("self_heat", 5, rate)
    bench.run(300, 1.0)
    other = np.delete(bench.heat.surface_degC, [4, 5, 6]).mean()
    assert bench.heat.surface_degC[5] - other == pytest.approx(5 * rate, rel=0.25)


# electrical effects on a rack


def test_an_internal_short_discharges_and_heats_its_cell():
    """A short of 1 ohm takes V/R from its cell, and the heat of this current appears in its position."""
    rack, healthy = Rack.from_params(PARAMS), Rack.from_params(PARAMS)
    soc = rack.cells.soc.copy()
    rack.start_fault("internal_short", 40, 1.0)
    volts = rack.measured_cells_V()[40]
    rack.step_to(20_000_000)
    healthy.step_to(20_000_000)
    lost_As = (soc - rack.cells.soc) * rack.cells.capacity_As
    assert lost_As[40] == pytest.approx(volts * 20.0, rel=0.01)
    assert np.abs(np.delete(lost_As, 40)).max() < 0.01 * lost_As[40]
    heat_J = rack.heat.ledger.sources["electrical"] - healthy.heat.ledger.sources["electrical"]
    assert heat_J == pytest.approx(volts**2 * 20.0, rel=0.05)


def test_a_hard_short_is_seen_at_the_cell_at_once():
    """A short as low as the cell's resistance about halves its voltage, from the same moment until it ends."""
    rack = Rack.from_params(PARAMS)
    before = rack.measured_cells_V()[40]
    rack.start_fault("internal_short", 40, float(rack.cells.resistance[40]))
    assert 0.4 * before < rack.measured_cells_V()[40] < 0.75 * before
    rack.stop_fault("internal_short", 40)
    assert rack.measured_cells_V()[40] == pytest.approx(before, rel=0.01)


def test_a_melted_cell_does_not_recover_its_voltage():
    """The voltage that a runaway has taken stays lost when the cells cool down."""
    rack = Rack.from_params(PARAMS, start_degC=60.0)
    rack.start_fault("runaway", 20, 20.0)
    rack.step_to(8_000_000)
    hot = rack.measured_cells_V()[40]
    rack.heat.core_degC[20] = rack.heat.surface_degC[20] = 40.0
    rack.stop_fault("runaway")
    rack.step_to(9_000_000)
    assert hot < 0.75 * np.median(rack.measured_cells_V())
    assert rack.measured_cells_V()[40] == pytest.approx(hot, rel=0.05)
