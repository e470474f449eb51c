"""The thermal model: its energy balance in every mode, and its temperatures against solutions found another way."""

from dataclasses import replace

import numpy as np
import pytest
from halite.config import load_params
from halite.plant.heat import Cooling, Heat, HeatData
from halite.plant.parameters import plant_of_params
from halite.plant.rack import Rack
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE

PARAMS = load_params("lfp_rack")
PLANT = plant_of_params(PARAMS)
ALONE = HeatData(neighbour_W_per_K=0.0, module_gap_W_per_K=0.0, air_W_per_K=0.0)
STILL = Cooling()
FULL = Cooling(pump_pct=100, fan_pct=100, flows=True)


def heat_of(start_degC=25.0, ambient_degC=25.0, data=None, cells_at=None):
    at = np.full(PLANT.sensors, 2.0) if cells_at is None else np.asarray(cells_at, dtype=float)
    return Heat(PLANT, at, start_degC, ambient_degC, np.random.default_rng(1), data)


def balance_error_J(heat, stored_J):
    """Energy that the ledger cannot explain since stored_J was stored."""
    return abs(heat.ledger.net - (heat.stored_J() - stored_J))


# energy


modes = st.tuples(
    st.floats(0.1, 10.0),
    st.builds(
        Cooling, pump_pct=st.integers(0, 100), fan_pct=st.integers(0, 100), heater=st.booleans(), flows=st.booleans()
    ),
    st.floats(0.0, 200.0),
    st.floats(0.0, 5000.0),
)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(modes, min_size=1, max_size=12),
    start_degC=st.floats(-30, 60),
    ambient_degC=st.floats(-30, 50),
    cells_at=st.lists(st.integers(1, 4), min_size=2, max_size=40),
)
def test_the_energy_balance_closes_in_every_mode(steps, start_degC, ambient_degC, cells_at):
    """All heat is stored or has left to the air, in any sequence of pump, fan, heater, stop and runaway heat."""
    heat = heat_of(start_degC, ambient_degC, cells_at=cells_at)
    stored_J, moved_J = heat.stored_J(), 0.0
    for dt_s, cooling, electrical_W, reaction_W in steps:
        core_W = np.full(len(cells_at), electrical_W)
        heat.warm("electrical", core_W)
        hot_W = np.zeros(len(cells_at))
        hot_W[0] = reaction_W
        heat.warm("reaction", hot_W, 0.1 * hot_W)
        heat.step(dt_s, cooling)
        moved_J += (core_W.sum() + 1.1 * reaction_W + 4000.0) * dt_s
    assert heat.ledger.sources.keys() == {"electrical", "reaction"}
    assert balance_error_J(heat, stored_J) <= 1e-8 * max(moved_J, abs(stored_J), 1.0)


@pytest.mark.parametrize("cooling", [STILL, Cooling(pump_pct=50, flows=False), FULL], ids=["off", "stopped", "on"])
def test_no_heat_vanishes_in_an_hour_at_150_A(cooling):
    """The heat of an hour at 150 A is found again. The former model lost 8.5 % of it with standing coolant."""
    heat = heat_of()
    stored_J = heat.stored_J()
    loss_W = np.full(PLANT.sensors, 2 * 150.0**2 * 0.4e-3)
    for _ in range(3600):
        heat.warm("electrical", loss_W)
        heat.step(1.0, cooling)
    given_J = float(loss_W.sum()) * 3600
    assert heat.ledger.sources["electrical"] == pytest.approx(given_J)
    assert balance_error_J(heat, stored_J) < 1e-6 * given_J


@pytest.mark.parametrize("story", ["load", "coolant_stopped", "heater", "runaway", "internal_short"])
def test_the_balance_of_a_whole_rack_closes(story):
    """The ledger of a rack under load closes to 0.1 %, with each kind of heat."""
    rack = Rack.from_params(PARAMS, start_degC=20.0, ambient_degC=10.0)
    stored_J = rack.heat.stored_J()
    rack.set_cooling(40, 60, story == "heater")
    if story in ("coolant_stopped", "internal_short"):
        rack.start_fault(story)
    elif story == "runaway":
        rack.start_fault("runaway", 7, 40.0)
    rack.set_coils(COIL_NEG | COIL_PRE, 0)
    rack.step_to(1_200_000)
    rack.set_coils(COIL_NEG | COIL_POS, 1_200_000)
    for now_us in range(1_300_000, 12_000_000, 50_000):
        rack.request(150_000.0)
        rack.step_to(now_us)
    ledger = rack.heat.ledger
    put_J = sum(ledger.sources.values()) + ledger.heater
    assert balance_error_J(rack.heat, stored_J) < 1e-3 * put_J
    ohmic_J = rack.current_A**2 * rack.cells.resistance_ohm * 10.5
    assert ledger.sources["electrical"] >= 0.5 * ohmic_J  # the reversible heat of a discharge may take a part
    assert ledger.heater == pytest.approx(4000.0 * 12.0 if story == "heater" else 0.0, rel=0.02)


# temperatures


def test_the_coolant_warms_from_position_to_position():
    """In the steady state each position adds its heat to the coolant: the analytic gradient from inlet to outlet."""
    heat = heat_of(data=ALONE)
    watts = 20.0
    for _ in range(3_000):
        heat.warm("electrical", np.full(PLANT.sensors, watts))
        heat.step(100.0, FULL)
    rise_K = watts / ALONE.flow_W_per_K * np.arange(1, PLANT.sensors + 1)
    total_W = watts * PLANT.sensors
    assert heat.tank_degC == pytest.approx(25.0 + total_W / sum(ALONE.radiator_W_per_K), abs=1e-3)
    assert heat.coolant_degC - heat.tank_degC == pytest.approx(rise_K, abs=1e-3)
    assert heat.surface_degC - heat.coolant_degC == pytest.approx(watts / (2 * PLANT.cooling_W_per_K), abs=1e-3)
    assert heat.core_degC - heat.surface_degC == pytest.approx(watts / (2 * PLANT.core_W_per_K), abs=1e-3)


def test_heat_flows_to_the_neighbours_of_a_hot_position():
    """Conduction warms the neighbours within a module more than those beyond its end."""
    heat = heat_of()
    per = PLANT.temps_per_device
    hot = per - 1
    start_degC = heat.surface_degC.copy()
    for _ in range(600):
        watts = np.zeros(PLANT.sensors)
        watts[hot] = 2000.0
        heat.warm("failure", watts)
        heat.step(1.0, STILL)
    rise_K = heat.surface_degC - start_degC
    assert rise_K[hot - 1] > 1.5 * rise_K[hot + 1] > 0.3
    assert rise_K[hot - 1] > 5 * rise_K[hot - 2]


@settings(max_examples=40, deadline=None)
@given(dt_s=st.floats(1e-3, 1e5), pump=st.integers(0, 100), flows=st.booleans(), seed=st.integers(0, 9))
def test_no_step_size_leaves_the_range_of_temperatures(dt_s, pump, flows, seed):
    """Without sources every temperature stays between its former extremes, for any step size: it does not oscillate."""
    heat = heat_of(ambient_degC=20.0)
    rng = np.random.default_rng(seed)
    heat.core_degC[:], heat.surface_degC[:] = rng.uniform(-20, 300, (2, PLANT.sensors))
    heat.coolant_degC[:] = rng.uniform(0, 60, PLANT.sensors)
    for _ in range(5):
        heat.step(dt_s, Cooling(pump, 50, False, flows))
        for nodes in (heat.core_degC, heat.surface_degC, heat.coolant_degC):
            assert -20.0 - 1e-9 <= nodes.min() <= nodes.max() <= 300.0 + 1e-9


def explicit(heat, watts, seconds, dt_s, duty):
    """Core, surface and coolant after `seconds` by explicit Euler steps of the equations, node by node."""
    data, at = heat.data, 2.0
    core, surface = heat.core_degC.copy(), heat.surface_degC.copy()
    coolant, tank = heat.coolant_degC.copy(), heat.tank_degC
    gaps = np.full(len(core) - 1, data.neighbour_W_per_K)
    gaps[PLANT.temps_per_device - 1 :: PLANT.temps_per_device] = data.module_gap_W_per_K
    cooling = at * PLANT.cooling_W_per_K * (0.2 + 0.8 * duty)
    flow = data.flow_W_per_K * duty
    for _ in range(round(seconds / dt_s)):
        inward = at * PLANT.core_W_per_K * (core - surface)
        outward = cooling * (surface - coolant)
        along = gaps * np.diff(surface)
        air = at * data.air_W_per_K * (surface - heat.ambient_degC)
        before = np.concatenate(([tank], coolant[:-1]))
        tank += dt_s * (flow * (coolant[-1] - tank) - 420.0 * (tank - heat.ambient_degC)) / data.tank_J_per_K
        core += dt_s * (watts - inward) / heat.core_J_per_K
        net = inward - outward - air + np.append(along, 0.0) - np.append(0.0, along)
        surface += dt_s * net / heat.surface_J_per_K
        coolant += dt_s * (flow * (before - coolant) + outward) / (data.plates_J_per_K / len(core))
    return core, surface, coolant


def test_a_transient_agrees_with_small_explicit_steps():
    """Ten minutes of uneven load: steps of 100 ms and of 10 s against explicit steps of 20 ms."""
    watts = np.linspace(0.0, 40.0, PLANT.sensors)
    exact = explicit(heat_of(), watts, 600.0, 0.02, 1.0)
    for dt_s, within_K in ((0.1, 0.01), (10.0, 0.3)):
        heat = heat_of()
        for _ in range(round(600 / dt_s)):
            heat.warm("electrical", watts)
            heat.step(dt_s, FULL)
        for nodes, truth in zip((heat.core_degC, heat.surface_degC, heat.coolant_degC), exact, strict=True):
            assert np.abs(nodes - truth).max() < within_K


def test_a_standing_coolant_stays_where_it_is():
    """Without flow the coolant of a hot position warms by its own heat, and the tank does not notice it."""
    heat = heat_of(data=replace(ALONE, radiator_W_per_K=(0.0, 0.0)))
    tank_degC = heat.tank_degC
    watts = np.zeros(PLANT.sensors)
    watts[5] = 100.0
    for _ in range(600):
        heat.warm("electrical", watts)
        heat.step(1.0, STILL)
    assert heat.tank_degC == tank_degC
    assert heat.coolant_degC[5] > np.delete(heat.coolant_degC, 5).max() + 0.5


def test_the_trajectory_of_heat_is_deterministic():
    """Two models with the same inputs have the same bits."""
    def story():
        heat = heat_of()
        for n in range(50):
            heat.warm("electrical", np.full(PLANT.sensors, 10.0 + n))
            heat.step(0.1, Cooling(n, n, False, True))
        return heat.core_degC.tobytes() + heat.coolant_degC.tobytes()

    assert story() == story()
