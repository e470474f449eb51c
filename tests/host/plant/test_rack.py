"""The physics of the simulated rack, on which all other tests rely."""

import math

import numpy as np
import pytest
from halite.config import load_params
from halite.plant.faults import FAULTS
from halite.plant.parameters import plant_of_params
from halite.plant.rack import Rack
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE
from rack.definitions.pcs_codes import PCS_RUN, PCS_TIMEOUT

PARAMS = load_params("sodium_rack")
CLOSED = COIL_NEG | COIL_POS


def closed_rack(**start):
    """A rack 1.2 s after its precharge began, main contactors closed, no power yet; then it is 1.3 s."""
    rack = Rack.from_params(PARAMS, **start)
    rack.set_coils(COIL_NEG | COIL_PRE, 0)
    rack.step_to(1_200_000)
    rack.set_coils(CLOSED, 1_200_000)
    rack.step_to(1_300_000)
    return rack


def run(rack, ms, power_W=None):
    """Advance by ms with a request each 20 ms."""
    end_us = rack.now_us + ms * 1000
    while rack.now_us < end_us:
        if power_W is not None:
            rack.request(power_W)
        rack.step_to(min(end_us, rack.now_us + 20_000))


# one trajectory


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 400_000), max_size=12), seed=st.integers(0, 5))
def test_the_trajectory_does_not_depend_on_the_callers_steps(cuts, seed):
    """Any series of calls of step_to gives the same state at the end, to the bit."""
    def state(times):
        rack = Rack.from_params(PARAMS, seed=seed)
        rack.set_coils(COIL_NEG | COIL_PRE, 0)
        for us in times:
            rack.step_to(us)
        rack.step_to(400_000)
        return rack.bus_V, rack.current_A, rack.cells.soc.tobytes(), rack.heat.core_degC.tobytes()

    assert state(sorted(cuts)) == state([])


def test_the_seed_determines_the_cells():
    """The same seed gives the same cells, another seed gives other cells."""
    one, same, other = (Rack.from_params(PARAMS, seed=seed) for seed in (1, 1, 2))
    assert (one.measured_cells_V() == same.measured_cells_V()).all()
    assert (one.measured_cells_V() != other.measured_cells_V()).any()


# electrical


def test_precharge_follows_its_rc():
    """The bus follows the RC curve, and the resistor absorbs as much energy as the capacitor stores."""
    rack = Rack.from_params(PARAMS)
    rack.set_coils(COIL_NEG | COIL_PRE, 0)
    closed_us = rack.plant.pull_in_us
    emf = rack.cells.emf_V
    for taus in (1, 2, 3):
        rack.step_to(closed_us + taus * PARAMS.precharge_tau_ms * 1000)
        assert rack.bus_V == pytest.approx(emf * (1 - math.exp(-taus)), rel=0.01)
    rack.step_to(closed_us + 10 * PARAMS.precharge_tau_ms * 1000)
    assert rack.precharge_J == pytest.approx(0.5 * rack.plant.bus_F * emf**2, rel=0.02)
    assert rack.inrush_A == 0


def test_a_bus_without_a_source_discharges_in_five_seconds():
    """Five seconds after the contactors open, the bus is below 60 V."""
    rack = closed_rack()
    rack.set_coils(0, 1_300_000)
    rack.step_to(1_350_000)
    assert rack.bus_V > 0.9 * rack.cells.emf_V
    rack.step_to(6_350_000)
    assert rack.bus_V < 60


def test_closing_onto_an_uncharged_bus_records_an_inrush():
    """The rack records the inrush current when both main contactors close onto an uncharged bus."""
    rack = Rack.from_params(PARAMS)
    rack.set_coils(CLOSED, 0)
    rack.step_to(50_000)
    assert rack.inrush_A > 1000


def test_contacts_move_after_their_data_sheet_times():
    """Pull-in takes exactly 20 ms and release exactly 12 ms."""
    rack = Rack.from_params(PARAMS)
    rack.set_coils(CLOSED, 5_500)
    assert not rack.contact_bits(25_499)
    assert rack.contact_bits(25_500) == CLOSED
    rack.set_coils(0, 100_250)
    assert rack.contact_bits(112_249) == CLOSED
    assert not rack.contact_bits(112_250)


def test_the_pcs_follows_a_step_with_its_lag():
    """The PCS follows a step with its first-order lag, and positive power discharges the cells."""
    rack = closed_rack()
    soc = rack.cells.rest_soc()
    rack.request(100_000)
    rack.step_to(rack.now_us + 10_000)
    assert rack.pcs.power_W == pytest.approx(100_000 * (1 - math.exp(-1)), rel=0.01)
    run(rack, 2000, 100_000)
    assert rack.current_A * rack.bus_V == pytest.approx(100_000, rel=0.001)
    assert rack.current_A > 0
    assert rack.string_V < rack.cells.emf_V
    charge_Ah = rack.current_A * 2.0 / 3600
    assert soc - rack.cells.rest_soc() == pytest.approx(charge_Ah / rack.plant.capacity_Ah, rel=0.02)


def test_the_pcs_stops_and_reports_it_without_requests():
    """When requests stop, the PCS goes to zero power and reports PCS_TIMEOUT."""
    rack = closed_rack()
    run(rack, 200, 100_000)
    assert rack.pcs.state == PCS_RUN
    rack.step_to(rack.now_us + (rack.plant.pcs_timeout_ms + 100) * 1000)
    assert rack.pcs.state == PCS_TIMEOUT
    assert abs(rack.pcs.power_W) < 10


@pytest.mark.parametrize("power_W", [-200_000, 200_000])
def test_energy_is_conserved(power_W):
    """The power of the cells is that of the bus plus that of the resistances, between two steps of the cells."""
    rack = closed_rack()
    run(rack, 1010, power_W)
    drawn = rack.cells.emf_V * rack.current_A
    lost = rack.current_A**2 * (rack.cells.resistance_ohm + 1e-3)
    assert drawn == pytest.approx(rack.bus_V * rack.current_A + lost, rel=1e-6)


def test_the_interlock_cuts_the_coils_until_a_release():
    """An open interlock cuts the coils; they stay cut until the controller has released every coil."""
    rack = Rack.from_params(PARAMS)
    rack.command_coils(CLOSED, 0)
    rack.step_to(100_000)
    rack.start_fault("hvil_open", at_us=100_000)
    rack.step_to(150_000)
    assert not rack.contact_bits(150_000)
    rack.stop_fault("hvil_open", at_us=150_000)
    rack.command_coils(CLOSED, 160_000)
    assert not rack.contact_bits(300_000)
    rack.command_coils(0, 310_000)
    rack.command_coils(CLOSED, 320_000)
    assert rack.contact_bits(400_000) == CLOSED


# cells and heat


def test_injected_heat_raises_only_its_module():
    """The fault `heat` raises the surfaces of its module at its rate, and those of no other module."""
    rack = Rack.from_params(PARAMS, start_degC=40.0)
    before = rack.heat.surface_degC.copy()
    rack.start_fault("heat", 3, 8.0)
    rack.step_to(2_000_000)
    rise = rack.heat.surface_degC - before
    per_device = rack.plant.temps_per_device
    assert rise[3 * per_device : 4 * per_device] == pytest.approx(16.0, abs=0.3)
    assert np.delete(rise, range(3 * per_device, 4 * per_device)) == pytest.approx(0.0, abs=0.2)


def test_full_power_heats_the_cores_first():
    """Full power heats the cores at the rate of the loss and of the reversible heat, before the surfaces."""
    rack = closed_rack()
    core = rack.heat.core_degC.mean()
    run(rack, 5000, 200_000)
    heat_W = rack.current_A**2 * rack.cells.resistance_ohm
    heat_W -= rack.current_A * (25.0 + 273.15) * rack.cells.entropic_V_per_K.sum()
    heat_J_per_K = rack.plant.series * rack.plant.cell_heat_capacity_J_per_K() * rack.plant.core_share
    assert rack.heat.core_degC.mean() - core == pytest.approx(heat_W * 5 / heat_J_per_K, rel=0.1)
    assert (rack.heat.core_degC > rack.heat.surface_degC).all()


def test_a_runaway_heats_drops_the_voltage_and_gives_gas():
    """A runaway exceeds 1 K/s, lowers the voltage of its cells and raises the gas sensor."""
    rack = Rack.from_params(PARAMS, start_degC=60.0)
    rack.start_fault("runaway", 20)
    rack.step_to(10_000_000)
    hot = rack.heat.surface_degC[20]
    rack.step_to(11_000_000)
    assert rack.heat.surface_degC[20] - hot > 1.0
    rack.step_to(90_000_000)
    cells = np.flatnonzero(rack.cells.sensor_of == 20)
    assert (rack.measured_cells_V()[cells] < 0.75 * np.median(rack.measured_cells_V())).all()
    assert rack.gas_mV > 2000


# faults


def test_fault_values_outside_their_range_are_refused():
    """A value above the range of its fault raises a ValueError that names the fault."""
    rack = Rack.from_params(PARAMS)
    for name, spec in FAULTS.items():
        with pytest.raises(ValueError, match=name):
            rack.start_fault(name, 0, spec.max_value + 1)


def test_the_plant_has_the_size_of_its_config():
    """Series, devices, sensors, chemistry and precharge resistor of the plant follow from the board config."""
    plant = plant_of_params(PARAMS)
    assert (plant.series, plant.devices, plant.sensors) == (384, 24, 192)
    assert plant.chemistry.name == "sodium"
    assert plant.precharge_ohm == pytest.approx(100.0)
    assert plant_of_params(load_params("lfp_rack")).chemistry.name == "lfp"
