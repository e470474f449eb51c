"""Temperature sensors that fail or lie, on a closed simulated rack with the whole controller."""

import pytest
from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from rack.control.controller import Controller
from rack.definitions.alarms import code_of
from rack.definitions.codes import CMD_CLOSE, LOST_COLD, STATE_CLOSED
from rack.generated import ids as I


def closed(config, **start):
    """A closed rack of a shipped config at its host."""
    params = load_params(f"{config}_rack")
    rack = Rack.from_params(params, **start)
    host = CpythonHost(rack, Controller(params))
    host.run_to(1.5e6)
    assert host.controller.command(CMD_CLOSE) == 0
    host.run_to(4e6)
    assert host.controller.s[I.STATE] == STATE_CLOSED
    return host


@pytest.mark.parametrize("config, device", [("sodium", 0), ("lfp", 25)])
def test_a_module_without_sensors_opens(config, device):
    """The temperature plug of one AFE falls out: the rack opens within 1.3 s, and the module has its number."""
    host = closed(config)
    s = host.controller.s
    host.rack.start_fault("ntcs_open", device)
    host.run_to(host.rack.now_us + 900e3)
    assert s[I.STATE] == STATE_CLOSED and s[I.TEMPS_LOST] == 8
    host.run_to(host.rack.now_us + 400e3)
    assert s[I.TRIP_CODE] == code_of("module_blind_trip") and not s[I.COILS]
    assert s[I.MODULE_BLIND_AT] == device


def test_seven_of_eight_sensors_do_not_open():
    """A module with one sensor in use stays connected, derated by the count of lost sensors."""
    host = closed("sodium")
    for at in range(7):
        host.rack.start_fault("ntc_open", at)
    host.run_to(host.rack.now_us + 5e6)
    assert host.controller.s[I.STATE] == STATE_CLOSED and host.controller.s[I.MODULES_BLIND] == 0


def test_a_cold_sensor_ends_the_charge_only():
    """A sensor of an LFP rack drifts down to -8 degC in its module of 12 degC: no charge, but discharge."""
    host = closed("lfp", start_degC=12.0, ambient_degC=12.0)
    s = host.controller.s
    assert s[I.LIMIT_CHARGE_W] > 0
    host.rack.start_fault("ntc_drift", 30, -60.0)
    host.run_to(host.rack.now_us + 20e6)
    assert host.controller.temperatures.why[30] == LOST_COLD
    assert s[I.LIMIT_CHARGE_W] == 0 and s[I.LIMIT_DISCHARGE_W] > 0
    assert s[I.STATE] == STATE_CLOSED and s[I.TEMP_MIN_ddegC] > 100 > 0 > s[I.TEMP_COLD_ddegC]


def test_a_jet_of_hot_gas_opens():
    """A sensor that jumps twice in a row, to 60 and 100 degC, opens within half a second."""
    host = closed("sodium")
    for degC in (60.0, 100.0):
        host.rack.start_fault("ntc_stuck", 40, degC)
        host.run_to(host.rack.now_us + 100e3)
    host.run_to(host.rack.now_us + 400e3)
    assert host.controller.s[I.TRIP_CODE] == code_of("hot_trip")


@pytest.mark.parametrize(("gain", "key"), [(0.9, "spread_warn"), (0.8, "spread_derate")])
def test_a_wrong_gain_of_one_afe_shows_as_spread(gain, key):
    """An AFE that reads its cells too low contradicts the other cells; within 9 % it raises no alarm."""
    host = closed("lfp")
    host.rack.start_fault("afe_gain", 3, 0.91)
    host.run_to(host.rack.now_us + 11e6)
    assert not any(host.controller.alarms.active[code_of(row) - 1] for row in ("spread_warn", "sum_warn"))
    host.rack.stop_fault("afe_gain")
    host.rack.start_fault("afe_gain", 3, gain)
    host.run_to(host.rack.now_us + 11e6)
    assert host.controller.alarms.active[code_of(key) - 1]
