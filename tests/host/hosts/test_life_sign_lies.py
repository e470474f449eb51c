"""Lies that only a life sign shows, on the simulated rack: insulation, gas sensor, frozen AFE, flooded bus."""

from types import SimpleNamespace

import pytest
from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from rack.control.controller import Controller
from rack.definitions.alarms import code_of
from rack.definitions.codes import STATE_CLOSED
from rack.generated import ids as I

POWER_W = {"lfp_rack": 150_000, "sodium_rack": 150_000, "bench_rack": 500}
MONITORED = {"insulation_monitor": 1, "insulation_age_ms": 4_000, "insulation_open_ms": 3_000}


def rack_of(config, soc=0.5, start_degC=25.0, **changed):
    """A host with its rack before the first scan. changed: parameters.

    The shipped grid services keep the whole power for the response. Here the setpoint moves the power.
    """
    default = {"rack_auto_close": 1, "response_priority": 0}
    params = SimpleNamespace(**{**vars(load_params(config)), **default, **changed})
    rack = Rack.from_params(params, soc=soc, start_degC=start_degC)
    return CpythonHost(rack, Controller(params))


def run(host, ms):
    host.run_to(host.rack.now_us + 1000 * ms)


def closed(config, **given):
    host = rack_of(config, **given)
    run(host, 8_000)
    assert host.controller.s[I.STATE] == STATE_CLOSED
    return host


def ms_until_open(host, max_ms):
    """Time until the coils are off, in steps of a scan; AssertionError after max_ms."""
    for ms in range(0, max_ms, 10):
        if not host.controller.s[I.COILS]:
            return ms
        run(host, 10)
    raise AssertionError(f"closed after {max_ms} ms")


# insulation


def test_an_ems_that_reports_keeps_the_rack_closed():
    """The true insulation arrives each second, and its value follows the contacts."""
    host = closed("bench_rack", **MONITORED)
    run(host, 12_000)
    s = host.controller.s
    assert s[I.STATE] == STATE_CLOSED and s[I.INSULATION_AGE_ms] <= 1_000
    assert s[I.INSULATION_KOHM] == 5_000


def test_insulation_never_reported_blocks_the_simulated_rack():
    host = rack_of("bench_rack", **MONITORED)
    host.rack.start_fault("insulation_unreported")
    run(host, 8_000)
    assert host.controller.s[I.COILS] == 0
    host.rack.stop_fault("insulation_unreported")
    run(host, 8_000)
    assert host.controller.s[I.STATE] == STATE_CLOSED


def test_an_ems_that_stops_reporting_opens_the_rack():
    host = closed("bench_rack", **MONITORED)
    host.rack.start_fault("insulation_unreported")
    assert 6_000 <= ms_until_open(host, 8_000) <= 7_020
    assert host.controller.s[I.TRIP_CODE] == code_of("insulation_old_trip")


def test_a_true_insulation_fault_opens_through_the_ems():
    """The value of the fault reaches the rack within a second and trips after its debounce."""
    host = closed("bench_rack", **MONITORED)
    host.rack.start_fault("insulation_fault", 0, 3.0)
    assert 5_000 <= ms_until_open(host, 8_000) <= 6_020
    assert host.controller.s[I.TRIP_CODE] == code_of("insulation_trip")


# gas


def test_a_broken_gas_lead_is_named():
    host = closed("bench_rack")
    host.rack.start_fault("gas_stuck", 0, 0.0)
    run(host, 2_200)
    assert host.controller.alarms.active[code_of("gas_lost") - 1]


# AFE


@pytest.mark.parametrize("config, at", [("lfp_rack", 7), ("lfp_rack", 25), ("sodium_rack", 0), ("bench_rack", 0)])
def test_a_frozen_afe_opens_after_a_step_of_the_current(config, at):
    """At rest a frozen device is not seen; five scans after the current has moved the rack opens."""
    host = closed(config)
    host.rack.start_fault("afe_frozen", at)
    run(host, 3_000)
    assert host.controller.s[I.STATE] == STATE_CLOSED
    host.controller.s[I.SETPOINT_W] = POWER_W[config]
    assert ms_until_open(host, 6_000) <= 5_000
    assert host.controller.s[I.TRIP_CODE] == code_of("afe_frozen_trip")
    assert host.controller.s[I.AFE_FROZEN] == at + 1


def test_a_frozen_afe_opens_under_constant_current():
    """Without a step the charge that has flowed is the witness: here 0.3 % of the capacity."""
    host = closed("lfp_rack", afe_still_permille=3)
    host.controller.s[I.SETPOINT_W] = -150_000
    run(host, 15_000)
    host.rack.start_fault("afe_frozen", 3)
    ms = ms_until_open(host, 40_000)
    assert 15_000 <= ms <= 35_000
    assert host.controller.s[I.TRIP_CODE] == code_of("afe_frozen_trip")


@pytest.mark.parametrize("config, soc, start_degC, seconds", [
    ("lfp_rack", 0.58, 25.0, 280), ("lfp_rack", 0.65, 40.0, 60), ("sodium_rack", 0.5, 25.0, 60),
    ("bench_rack", 0.5, 40.0, 60),
])  # fmt: skip
def test_no_healthy_afe_counts_as_frozen(config, soc, start_degC, seconds):
    """Rest, steps of the power in both directions and constant power, without any noise of the AFE.

    The first case takes 3 % of the capacity out of the plateau of LFP.
    """
    host = closed(config, soc=soc, start_degC=start_degC, response_setpoint_permille_ps=500)
    found = []
    current_dA = []

    def note(us):
        found.append(host.controller.s[I.AFE_FROZEN])
        current_dA.append(host.controller.s[I.CURRENT_dA])

    host.on_scan = note
    for power_W in (0, *(POWER_W[config] * n // 5 for n in (1, -1, 5, -5, 2, 0, 4))):
        host.controller.s[I.SETPOINT_W] = power_W
        run(host, 4_000)
    run(host, 1_000 * seconds)
    assert not any(found)
    assert host.controller.s[I.STATE] == STATE_CLOSED
    still_dA = host.controller.params.afe_still_dA
    assert max(current_dA) > 2 * still_dA and min(current_dA) < -2 * still_dA


# flooded bus


def test_a_flooded_bus_makes_the_pcs_silent():
    """As on the wires: no status gets through, the refused frames count, and the rack opens as with a silent PCS."""
    host = closed("bench_rack")
    before = host.controller.s[I.PCS_REJECTED]
    host.rack.start_fault("can_flood")
    assert ms_until_open(host, 1_000) <= 280
    assert host.controller.s[I.TRIP_CODE] == code_of("pcs_lost")
    run(host, 1_000)
    assert host.controller.s[I.PCS_REJECTED] - before >= 200
    host.rack.stop_fault("can_flood")
    run(host, 100)
    assert host.controller.s[I.PCS_AGE_ms] <= 20
