"""Every fault of the table: the reading that it changes, and the readings that it must leave alone."""

import math

import pytest
from halite.config import load_params
from halite.plant.faults import CHANNELS, FAULTS, LIES
from halite.plant.rack import Rack
from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE
from rack.definitions.pcs_codes import PCS_FAULT, PCS_RUN

PARAMS = load_params("sodium_rack")
CLOSED = COIL_NEG | COIL_POS
AT = 1  # the cell, sensor, device or phase of a fault


def snapshot(rack):
    """Everything outside the rack that a controller could notice, by name."""
    us = rack.now_us
    return {
        "inputs": rack.in_bits(us),
        "contacts": rack.contact_bits(us),
        "current": rack.measured_current_A,
        "rack_voltage": rack.measured_rack_V,
        "bus_voltage": rack.measured_bus_V,
        "pcs_power": rack.measured_pcs_power_W,
        "pcs_state": rack.measured_pcs_state,
        "pcs_echo": rack.measured_pcs_echo(rack.pcs.accepted & 15),
        "pcs_fault": rack.pcs_fault_code,
        "counter": rack.next_status_counter(),
        "forged": rack.forged_bus_V,
        "forged_request": rack.forged_request_W,
        "silent": rack.pcs.silent,
        "cell": rack.measured_cells_V().tobytes(),
        "ntc": rack.measured_temps_degC().tobytes(),
        "reached": rack.afe_devices_reached(),
        "afe_fault": tuple(rack.afe_faults().items()),
        "current_lost": "current_lost" in rack.faults,
        "can": ("can_cut" in rack.faults, "can_flood" in rack.faults),
        "coolant": rack.measured_coolant_degC,
        "gas": rack.gas_mV,
        "insulation": rack.measured_insulation_kohm,
        "edges": tuple(rack.grid.next_edge_us(us, phase) is None for phase in range(3)),
    }


def story(name=None, value=None):
    """Snapshots of a rack that precharges, delivers power and opens; the fault begins before it and ends after it."""
    rack = Rack.from_params(PARAMS, start_degC=40.0)
    rack.failures.gas.ppm = 20.0
    rack.set_cooling(50, 50, 0)
    seen = []
    for step, coils in enumerate((COIL_NEG, COIL_NEG | COIL_PRE, COIL_NEG | COIL_PRE, CLOSED, CLOSED, CLOSED, 0, 0)):
        if name and step == 1:
            rack.start_fault(name, AT if FAULTS[name].where else 0, value)
        rack.command_coils(coils)
        for _ in range(15):
            rack.request(50_000 + 10_000 * step)
            rack.step_to(rack.now_us + 20_000)
        seen.append(snapshot(rack))
    return rack, seen


_TRUTH = story()[1]

# Fault → the readings that it must change. A fault of the rack may change others too, a lie may not.
PHYSICAL = {
    "hvil_open": "inputs contacts",
    "estop_pressed": "inputs contacts",
    "oc_alert": "inputs contacts",
    "weld_pos": "contacts",
    "weld_neg": "contacts",
    "weld_pre": "contacts",
    "stuck_pos": "contacts inputs current",
    "stuck_neg": "contacts inputs current bus_voltage",
    "stuck_pre": "contacts bus_voltage",
    "fuse_blown": "bus_voltage current pcs_power",
    "bus_leak": "bus_voltage current",
    "bus_open": "bus_voltage pcs_power",
    "pcs_failed": "pcs_state pcs_power pcs_fault",
    "pcs_gain": "pcs_power current",
    "pcs_ignores": "pcs_power current",
    "pcs_delivers": "pcs_power current",
    "can_cut": "can silent pcs_power",
    "cell_shorted": "cell rack_voltage",
    "internal_short": "cell",
    "heat": "ntc",
    "self_heat": "ntc",
    "runaway": "ntc",
    "coolant_stopped": "inputs coolant",
    "insulation_fault": "insulation",
    "mains_lost": "edges",
    "phase_lost": "edges",
}
READ = {
    "aux_pos": "inputs",
    "aux_neg": "inputs",
    "current_lost": "current_lost",
    "insulation_unreported": "insulation",
    "pcs_silent": "silent",
    "pcs_fault_code": "pcs_fault",
    "pcs_counter": "counter",
    "pcs_forged": "forged",
    "request_forged": "forged_request",
    "can_flood": "can",
    "afe_lost": "reached",
    "afe_fault": "afe_fault",
    "afe_frozen": "cell ntc",
    "afe_gain": "cell",
    "ntcs_frozen": "ntc",
    "ntcs_open": "ntc",
    "ntc_open": "ntc",
    "ntc_short": "ntc",
    "cell_wire_open": "cell",
}
CASES = PHYSICAL | READ | {name: channel.name for name, (channel, _) in LIES.items()}


def test_every_fault_of_the_table_has_a_case():
    """A new fault without a case here fails."""
    assert CASES.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_its_readings_and_ends(name):
    """A fault changes the readings that it states; a lie changes no other reading; after its end it is gone."""
    rack, seen = story(name)
    changed = {key for now, true in zip(seen, _TRUTH, strict=True) for key in true if now[key] != true[key]}
    wanted = set(CASES[name].split())
    assert wanted <= changed
    if name not in PHYSICAL:
        assert changed == wanted
    rack.stop_fault(name)
    assert name not in rack.faults
    assert [change.text for change in rack.changes][-1] == f"{FAULTS[name].text}: over"


# the PCS


def closed_rack():
    rack = Rack.from_params(PARAMS)
    rack.set_coils(COIL_NEG | COIL_PRE, 0)
    rack.step_to(1_200_000)
    rack.set_coils(CLOSED, 1_200_000)
    rack.step_to(1_300_000)
    return rack


def run(rack, ms, power_W):
    end_us = rack.now_us + ms * 1000
    while rack.now_us < end_us:
        rack.request(power_W)
        rack.step_to(rack.now_us + 20_000)


@pytest.mark.parametrize("name, value, delivered_W", [
    ("pcs_gain", 3.0, 90_000.0), ("pcs_gain", -1.0, -30_000.0), ("pcs_ignores", None, 60_000.0),
    ("pcs_delivers", -80_000.0, -80_000.0),
])  # fmt: skip
def test_a_disobedient_pcs_delivers_something_else(name, value, delivered_W):
    """The PCS scales, ignores or invents a request, and follows requests again when the fault ends."""
    rack = closed_rack()
    run(rack, 200, 60_000)
    rack.start_fault(name, 0, value)
    run(rack, 300, 30_000)
    assert rack.pcs.power_W == pytest.approx(delivered_W, rel=0.01)
    rack.stop_fault(name)
    run(rack, 300, 30_000)
    assert rack.pcs.power_W == pytest.approx(30_000, rel=0.01)


def test_a_pcs_that_delivers_needs_no_request():
    """It delivers without any request frame, and reports that it runs."""
    rack = closed_rack()
    rack.start_fault("pcs_delivers", 0, 50_000.0)
    rack.step_to(rack.now_us + 5_000_000)
    assert rack.pcs.power_W == pytest.approx(50_000, rel=0.01)
    assert rack.measured_pcs_state == PCS_RUN


def test_a_blown_fuse_leaves_the_bus_to_discharge():
    """The contacts stay closed, the current is zero, and the bus falls while the string keeps its voltage."""
    rack = closed_rack()
    run(rack, 200, 60_000)
    rack.start_fault("fuse_blown")
    run(rack, 3000, 60_000)
    assert rack.contact_bits(rack.now_us) == CLOSED
    assert (rack.current_A, rack.pcs.power_W) == (0.0, 0.0)
    assert rack.bus_V < 0.3 * rack.string_V
    assert not any("open" in change.text for change in rack.changes if change.us > 1_300_000)


def test_a_welded_precharge_relay_charges_the_bus():
    """With only main - closed the bus rises, because the precharge relay does not open."""
    rack = Rack.from_params(PARAMS)
    rack.start_fault("weld_pre")
    rack.set_coils(COIL_NEG, 0)
    rack.step_to(1_000_000)
    assert rack.bus_V > 0.95 * rack.string_V


def test_a_failed_pcs_reports_its_fault():
    """A failed PCS reports the state and a fault other than 0."""
    rack = closed_rack()
    rack.start_fault("pcs_failed")
    rack.step_to(rack.now_us + 10_000)
    assert (rack.measured_pcs_state, rack.pcs_fault_code) == (PCS_FAULT, 1)


# the table


def test_every_channel_has_units_and_defaults_within_range():
    """Each row has a default within its range, a text, and a unit unless its value has no dimension."""
    for name, spec in FAULTS.items():
        assert spec.min_value <= spec.default <= spec.max_value, name
        assert math.isfinite(spec.default)
        assert spec.text
        assert spec.where in ("", "cell", "sensor", "device", "phase")
    assert len({channel.name for channel in CHANNELS}) == len(CHANNELS)
    assert len({spec.text for spec in FAULTS.values()}) == len(FAULTS)
