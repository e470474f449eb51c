"""Slow runaway on simulated racks: found in time, and not found in normal duty."""

import pytest
from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.hosts.thermal_duty import ThermalDuty, day, find_self_heating, rest, run
from halite.plant.rack import Rack
from rack.control.controller import Controller
from rack.definitions.alarms import code_of
from rack.definitions.codes import CMD_CLOSE, RUN_NONE, STATE_CLOSED
from rack.generated import ids as I

_RACKS = [("sodium", None), ("lfp", None), ("sodium", "nfpp")]
_BEFORE_s = 120.0


def charge(seconds: float, duty: ThermalDuty) -> float:
    """Half of rated power: the rack warms."""
    return -0.55


def discharge(seconds: float, duty: ThermalDuty) -> float:
    """Rated power: the rack warms faster."""
    return 1.0


@pytest.mark.parametrize("config, cell", _RACKS)
@pytest.mark.parametrize("K_per_min, share", [(0.4, rest), (1.0, rest), (0.5, charge), (0.6, discharge), (5.0, rest)])
def test_self_heating_is_found_within_ten_minutes(config, cell, K_per_min, share):
    """A position that heats itself is found within 10 min and 8 K, at rest and at power."""
    duty = ThermalDuty(config, 3, soc=0.6, start_degC=33.0, ambient_degC=30.0, cell=cell)
    while duty.seconds < _BEFORE_s:
        duty.step(share(duty.seconds, duty))
        assert duty.s[I.RUNAWAY] == RUN_NONE
    found = find_self_heating(duty, 19, K_per_min, share, 600.0)
    assert found is not None
    assert found.rise_K <= 8.0


@pytest.mark.parametrize("config, cell", _RACKS)
def test_an_hour_of_every_regime_has_no_false_alarm(config, cell):
    """Half an hour of each regime of a day stays a fifth below the level of the slow runaway."""
    duty = ThermalDuty(config, 5, step_s=2.0, soc=0.3, start_degC=-12.0, ambient_degC=-15.0, cell=cell)
    level = duty.params.runaway_slow_mKpmin
    part = tuple(type(regime)(**{**vars(regime), "hours": 0.5}) for regime in day(5))
    worst = 0
    for _, now in run(duty, part):
        assert now.s[I.RUNAWAY] == RUN_NONE
        worst = max(worst, now.s[I.RISE_SLOW_mKpmin])
    assert 0 < worst < level * 4 // 5


def test_a_closed_rack_opens_on_slow_self_heating():
    """The whole controller on a closed rack: self-heating of 1 K/min opens within 3 minutes and 3 K."""
    params = load_params("lfp_rack")
    rack = Rack.from_params(params, soc=0.6, start_degC=30.0, ambient_degC=28.0)
    controller = Controller(params)
    host = CpythonHost(rack, controller)
    host.run_to(1.5e6)
    assert controller.command(CMD_CLOSE) == 0
    host.run_to(4e6)
    assert controller.s[I.STATE] == STATE_CLOSED
    begin_degC = rack.heat.surface_degC[20]
    rack.start_fault("self_heat", 20, 1.0)
    while controller.s[I.STATE] == STATE_CLOSED:
        host.run_to(rack.now_us + 1e6)
        assert rack.now_us < 184e6
    assert controller.s[I.TRIP_CODE] == code_of("runaway_trip")
    assert controller.s[I.RUNAWAY_AT] == 20
    assert rack.heat.surface_degC[20] - begin_degC < 3.0
