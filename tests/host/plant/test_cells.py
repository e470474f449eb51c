"""The cells of the simulated rack: charge, energy, hysteresis, ageing, cold, and their independence from the config."""

import numpy as np
import pytest
from halite.config import load_params
from halite.plant.ageing import UPDATE_S
from halite.plant.cells import Cells
from halite.plant.chemistries import CELLS, ocv_curve
from halite.plant.parameters import Perturbation, one_cell, plant_of_params
from halite.plant.rack import Rack
from hypothesis import given, settings
from hypothesis import strategies as st

WINDOWS = {"sodium": (1.8, 3.95), "lfp": (2.5, 3.65), "nfpp": (1.5, 3.65)}
CHEMISTRY = pytest.mark.parametrize("name", WINDOWS)


def single(name="lfp", soc=0.5, degC=25.0, capacity_Ah=280.0):
    """One nominal cell, and the temperature of its only position."""
    plant = one_cell(name, capacity_Ah, *WINDOWS[name])
    return Cells(plant, soc, degC, np.random.default_rng(1), 0.0), np.array([degC])


def string(name="lfp_rack", **start):
    return Rack.from_params(load_params(name), **start).cells


# charge


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(-200, 200), st.sampled_from([0.01, 0.1, 1.0, 10.0])), max_size=20),
    seed=st.integers(0, 9),
)
def test_every_coulomb_is_counted(steps, seed):
    """String current, balancing and self-discharge account for the charge of every cell to 1e-9 of its capacity."""
    cells = string(seed=seed)
    still = string(seed=seed)  # the same cells without current: only the self-discharge
    extra_A = np.random.default_rng(seed).uniform(0.0, 0.3, len(cells.soc))
    held = cells.soc * cells.capacity_As
    out_As = np.zeros(len(held))
    for current_A, dt_s in steps:
        cells.step_charge(current_A, dt_s, cells.core_degC, extra_A)
        still.step_charge(0.0, dt_s, cells.core_degC)
        out_As += (current_A + extra_A) * dt_s
    leaked = held - still.soc * still.capacity_As
    assert np.abs(held - cells.soc * cells.capacity_As - out_As - leaked).max() < 1e-9 * cells.capacity_As.min()


def test_balancing_takes_charge_from_its_cell_only():
    """A bleed of 0.1 A for an hour takes 0.1 Ah from its cell and lowers its voltage under load at once."""
    cells, plain = string(), string()
    extra_A = np.zeros(len(cells.soc))
    extra_A[7] = 0.1
    for _ in range(360):
        cells.step_charge(0.0, 10.0, cells.core_degC, extra_A)
        plain.step_charge(0.0, 10.0, plain.core_degC)
    moved_Ah = (plain.soc - cells.soc) * cells.capacity_As / 3600
    assert moved_Ah[7] == pytest.approx(0.1, rel=1e-3)
    assert np.delete(moved_Ah, 7) == pytest.approx(0.0, abs=1e-9)
    assert cells.voltages(0.0)[7] < plain.voltages(0.0)[7]


@CHEMISTRY
def test_self_discharge_doubles_in_ten_kelvin(name):
    """A month at rest loses the stated share at 25 °C and twice as much at 35 °C."""
    lost = []
    for degC in (25.0, 35.0):
        cells, core = single(name, 0.8, degC)
        for _ in range(30 * 24 * 6):
            cells.step_charge(0.0, 600.0, core)
        lost.append(0.8 - cells.soc[0])
    assert lost[0] == pytest.approx(CELLS[name].leak_per_month, rel=0.02)
    assert lost[1] == pytest.approx(2 * lost[0], rel=0.02)


# energy


def chemical_J(cells, before, after):
    """Energy that leaves a single cell between two SoC, from its curve at 25 °C without the reversible part."""
    plant = cells.plant
    soc = np.linspace(after, before, 4001)
    volts = np.interp(soc, *ocv_curve(plant.chemistry.name, plant.voltage_min_V, plant.voltage_max_V))
    entropic = np.interp(soc, *np.array(CELLS[plant.chemistry.name].entropic_V_per_K).T)
    return float(np.trapezoid(volts - 298.15 * entropic, soc)) * cells.capacity_As[0]


@CHEMISTRY
@pytest.mark.parametrize("dt_s", [0.1, 1.0])
def test_the_energy_of_a_cell_closes(name, dt_s):
    """Chemical energy is terminal energy plus heat plus the energy in the RC pairs, to 0.1 % over an hour."""
    cells, core = single(name, 0.75)
    rng = np.random.default_rng(3)
    terminal_J = heat_J = turned_J = 0.0
    start = cells.soc[0]
    for _ in range(360):
        current_A = float(rng.uniform(-60.0, 140.0))
        for _ in range(round(10 / dt_s)):
            before = cells.voltages(current_A)[0]
            heat_J += cells.step_charge(current_A, dt_s, core)[0] * dt_s
            delivered = 0.5 * (before + cells.voltages(current_A)[0]) * current_A * dt_s
            terminal_J += delivered
            turned_J += abs(delivered)
    released_J = chemical_J(cells, start, cells.soc[0])
    assert abs(released_J - terminal_J - heat_J - cells.stored_J) < 1e-3 * turned_J
    assert heat_J > 0


def test_cold_cells_make_more_heat():
    """The same current heats a cell at -20 °C at least twice as much as one at 25 °C."""
    heat = {}
    for degC in (-20.0, 25.0):
        cells, core = single("lfp", 0.6, degC)
        heat[degC] = sum(cells.step_charge(140.0, 1.0, core)[0] for _ in range(60))
    assert heat[-20.0] > 2 * heat[25.0]


# time steps


@CHEMISTRY
def test_the_step_size_does_not_matter(name):
    """Steps of 10 ms, 100 ms and 1 s agree within 0.5 mV and 0.1 % of the heat; steps of 10 s within 2 mV and 1 %."""
    found = {}
    for dt_s in (0.01, 0.1, 1.0, 10.0):
        cells, core = single(name, 0.6)
        heat_J = 0.0
        for current_A in (140.0, -70.0, 0.0, 200.0):
            for _ in range(round(40 / dt_s)):
                heat_J += cells.step_charge(current_A, dt_s, core)[0] * dt_s
        found[dt_s] = cells.voltages(0.0)[0], heat_J, cells.soc[0]
    fine_V, fine_J, fine_soc = found[0.01]
    for dt_s, volts, share in ((0.1, 5e-4, 1e-3), (1.0, 5e-4, 1e-3), (10.0, 2e-3, 1e-2)):
        assert found[dt_s][0] == pytest.approx(fine_V, abs=volts)
        assert found[dt_s][1] == pytest.approx(fine_J, rel=share)
        assert found[dt_s][2] == pytest.approx(fine_soc, abs=1e-9)


# hysteresis


def test_a_charged_lfp_cell_rests_higher():
    """After a rest an LFP cell that came from below lies 5 to 25 mV above one that came from above."""
    rested = []
    for current_A in (-28.0, 28.0):
        cells, core = single("lfp", 0.5 + np.sign(current_A) * 0.2)
        for _ in range(7200):
            cells.step_charge(current_A, 1.0, core)
        for _ in range(3600):
            cells.step_charge(0.0, 10.0, core)
        assert cells.soc[0] == pytest.approx(0.5, abs=2e-3)
        rested.append(cells.voltages(0.0)[0])
    assert 5e-3 <= rested[0] - rested[1] <= 25e-3


@given(moves=st.lists(st.floats(-100, 100), max_size=30))
@settings(max_examples=30, deadline=None)
def test_partial_cycles_lie_between_the_branches(moves):
    """The hysteresis stays between its branches and moves against the current."""
    cells, core = single()
    for current_A in moves:
        before = cells.hysteresis[0]
        cells.step_charge(current_A, 10.0, core)
        assert -1.0 <= cells.hysteresis[0] <= 1.0
        if abs(current_A) > 0.1:
            assert (cells.hysteresis[0] - before) * np.sign(current_A) <= 0.0


# cold


@pytest.mark.parametrize(("name", "reach"), [("lfp", (0.70, 0.82)), ("sodium", (0.84, 0.93)), ("nfpp", (0.80, 0.90))])
def test_the_cold_hides_charge(name, reach):
    """At 0.5C and -20 °C the lower voltage limit comes early; at 25 °C the cell gives at least 95 %."""
    given_share = {}
    for degC in (-20.0, 25.0):
        cells, core = single(name, 1.0, degC)
        while cells.voltages(140.0)[0] > WINDOWS[name][0] and cells.soc[0] > 0:
            cells.step_charge(140.0, 1.0, core)
        given_share[degC] = 1.0 - cells.soc[0]
    assert reach[0] <= given_share[-20.0] <= reach[1]
    assert given_share[25.0] >= 0.95


def test_cold_charge_returns_when_the_cell_is_warm():
    """A cell that is empty at -20 °C delivers again at 25 °C: the cold hides charge, it does not destroy it."""
    cells, core = single("lfp", 0.3, -20.0)
    while cells.voltages(140.0)[0] > 2.5:
        cells.step_charge(140.0, 1.0, core)
    hidden = cells.soc[0]
    assert hidden > 0.15
    cells.step_charge(0.0, 600.0, np.array([25.0]))
    while cells.voltages(140.0)[0] > 2.5:
        cells.step_charge(140.0, 1.0, np.array([25.0]))
    assert cells.soc[0] < hidden - 0.1


# ageing


def aged(name, degC, soc, cycles_C, hours):
    cells, core = single(name, soc, degC)
    for hour in range(hours):
        current_A = 280.0 * cycles_C * (-1) ** hour
        for _ in range(6):
            cells.step_charge(current_A, UPDATE_S / 6, core)
    return cells.ageing.lost[0], cells.ageing.rise[0]


@CHEMISTRY
def test_ageing_grows_with_time_heat_and_use(name):
    """Time, temperature, charge level and throughput each increase the loss; heat and use increase the resistance."""
    base = aged(name, 25.0, 0.5, 0.0, 240)
    for harder in (aged(name, 25.0, 0.5, 0.0, 480), aged(name, 45.0, 0.5, 0.0, 240), aged(name, 25.0, 0.5, 0.3, 240),
                   aged(name, 25.0, 0.95, 0.0, 240)):  # fmt: skip
        assert harder[0] > base[0] > 0
    assert aged(name, 45.0, 0.5, 0.0, 240)[1] > base[1] >= 0
    assert aged(name, 25.0, 0.5, 0.3, 240)[1] >= base[1]


def test_the_calendar_of_lfp_is_naumann_s():
    """One year at 25 °C and 50 % loses 1.2571e-5 * 0.60225 * sqrt(seconds) of the capacity (Naumann 2018)."""
    cells, core = single("lfp", 0.5, 25.0)
    for _ in range(365 * 24):
        cells.set_soc(0.5)
        cells.step_charge(0.0, UPDATE_S, core)
    assert cells.ageing.lost_calendar[0] == pytest.approx(1.2571e-5 * 0.60225 * np.sqrt(365 * 86_400), rel=1e-3)
    assert cells.capacity_As[0] < 280 * 3600 * 0.965


# data


@CHEMISTRY
@pytest.mark.parametrize("other", [False, True])
def test_every_ocv_curve_rises_inside_its_window(name, other):
    """Each curve, also of the second source, rises from the lower voltage limit and stays inside the window."""
    low_V, high_V = WINDOWS[name]
    soc, volts = ocv_curve(name, low_V, high_V, other)
    assert (soc[0], soc[-1]) == (0.0, 1.0)
    assert (np.diff(volts) > 0).all()
    assert volts[0] == pytest.approx(low_V, abs=0.05)
    assert high_V - 0.07 <= volts[-1] <= high_V + 1e-9


@CHEMISTRY
@pytest.mark.parametrize(("degC", "lowest", "highest"), [(-10.0, 1.8, 3.0), (45.0, 0.4, 0.8)])
def test_resistance_rises_in_the_cold(name, degC, lowest, highest):
    """At 0.5C a cell at -10 °C has about twice its resistance at 25 °C, one at 45 °C about half of it."""
    ohm = {}
    for at in (25.0, degC):
        cells, core = single(name, 0.5, at)
        cells.step_charge(140.0, 0.1, core)
        ohm[at] = cells.resistance[0]
    assert lowest <= ohm[degC] / ohm[25.0] <= highest


@pytest.mark.parametrize(("name", "mohm_ah"), [("lfp", 114.0), ("sodium", 78.0)])
def test_a_pulse_shows_twice_the_data_sheet_s_ac(name, mohm_ah):
    """A pulse of 10 s at 50 % and 25 °C shows twice the AC resistance of the data sheet, within 8 %."""
    cells, core = single(name)
    rest = cells.voltages(0.0)[0]
    for _ in range(10):
        cells.step_charge(70.0, 1.0, core)
    moved_V = rest - cells.voltages(70.0)[0]
    slope = 10 * 70.0 / cells.capacity_As[0] * np.gradient(*ocv_curve(name, *WINDOWS[name])[::-1])[100]
    hysteresis = abs(cells.hysteresis[0]) * 0.010
    assert (moved_V - slope - hysteresis) / 70.0 * 280 * 1e3 == pytest.approx(mohm_ah, rel=0.08)


# independence of the controller


def test_the_cell_tables_of_a_config_do_not_change_the_plant():
    """Another OCV and resistance table in the config gives the same plant."""
    params = load_params("sodium_rack")
    changed = load_params("sodium_rack")
    changed.cell_ocv = type(params.cell_ocv)("i", [v + 100 * (n % 2) for n, v in enumerate(params.cell_ocv)])
    changed.cell_resistance = type(params.cell_resistance)("i", [2 * v for v in params.cell_resistance])
    one, other = (Rack.from_params(p).cells for p in (params, changed))
    assert (one.voltages(50.0) == other.voltages(50.0)).all()


def test_a_perturbation_changes_the_true_cells():
    """Factors of resistance and capacity and the second OCV source change only the cells."""
    plain = string()
    harder = string(perturbation=Perturbation(1.3, 0.95))
    assert harder.resistance_ohm == pytest.approx(1.3 * plain.resistance_ohm, rel=1e-3)
    assert harder.capacity_As == pytest.approx(0.95 * plain.capacity_As)
    other = string(perturbation=Perturbation(other_ocv=True))
    assert abs(other.ocv_V - plain.ocv_V).max() > 5e-3
    with pytest.raises(ValueError, match="factors"):
        Perturbation(resistance=0.0)


def test_the_window_or_a_start_key_selects_nfpp():
    """A sodium config with a limit of 3.65 V gets NFPP cells, and so does the start key; unknown cells are refused."""
    params = load_params("sodium_rack")
    assert plant_of_params(params).chemistry.name == "sodium"
    params.cell_voltage_max_mV, params.cell_voltage_min_mV = 3650, 1500
    assert plant_of_params(params).chemistry.name == "nfpp"
    rack = Rack.from_params(load_params("sodium_rack"), cell="nfpp")
    assert rack.plant.chemistry.name == "nfpp"
    with pytest.raises(ValueError, match="known are sodium"):
        Rack.from_params(load_params("sodium_rack"), cell="lead")
