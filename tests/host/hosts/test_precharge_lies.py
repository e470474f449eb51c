"""Precharge on simulated racks: main + closes only onto a bus that is charged, whatever the PCS reports."""

import math

import pytest
from halite.config import load_params
from halite.hosts.controller_rig import params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from rack.control.controller import Controller
from rack.control.protect.contactors import STEP_PRE
from rack.definitions.alarms import code_of
from rack.definitions.codes import CMD_CLOSE, COIL_POS
from rack.generated import ids as I

_CONFIGS = ("bench", "sodium", "lfp")
_BEGIN_us = 1.2e6
_LAST_us = 4.0e6


class Closing:
    """A rack that gets the command to close. bus: share of its voltage on the bus before. changed: of the config."""

    def __init__(self, config, bus=0.0, seed=1, start_ms=0, **changed):
        self.params = params(config, rack_auto_close=0, **changed)
        self.rack = Rack.from_params(self.params, seed)
        self.host = CpythonHost(self.rack, Controller(self.params), start_ms)
        self.s = self.host.controller.s
        self.rack.bus_V = bus * self.rack.string_V
        self.step_us = None  # begin of the precharge

    def run(self, each=lambda closing: None, last_us=_LAST_us):
        """Return the share of the bus when main + gets its command, None when it does not until last_us."""
        self.host.run_to(_BEGIN_us)
        assert self.host.controller.command(CMD_CLOSE) == 0
        us = _BEGIN_us
        while us < last_us:
            us += 10_000
            self.host.run_to(us)
            if self.step_us is None and self.s[I.STEP] == STEP_PRE:
                self.step_us = us
            each(self)
            if self.s[I.COILS] & COIL_POS:
                return self.rack.bus_V / self.rack.string_V
        return None

    @property
    def precharge_ms(self):
        """Time since the precharge coil closed, -1 before."""
        return -1.0 if self.step_us is None else (self.rack.now_us - self.step_us) / 1000


# healthy


@pytest.mark.parametrize("config", _CONFIGS)
@pytest.mark.parametrize("bus", [0.0, 0.1, 0.19])
@pytest.mark.parametrize("noise, start_ms", [(0.0, 0), (0.005, 7), (0.02, 13)])
def test_a_healthy_precharge_closes(config, bus, noise, start_ms):
    """Every shipped config closes above 94 % at the first try, with noise, any initial bus and clock."""
    closing = Closing(config, bus, seed=start_ms + 1, start_ms=start_ms)
    if noise:
        closing.rack.start_fault("bus_voltage_noise", 0, noise * closing.rack.string_V)
    share = closing.run()
    assert share is not None and share > 0.94
    assert closing.s[I.PRECHARGE_SLOW] == closing.s[I.PRECHARGE_FAST] == 0


@pytest.mark.parametrize("gain", [0.97, 1.0, 1.04])
def test_a_meter_within_its_tolerance_closes(gain):
    """A PCS that measures its bus up to 4 % wrong still closes onto a bus of 94 % or more."""
    closing = Closing("lfp")
    closing.rack.start_fault("bus_voltage_gain", 0, gain)
    share = closing.run()
    assert share is not None and share > 0.94


# lies


@pytest.mark.parametrize("config", _CONFIGS)
@pytest.mark.parametrize("gain", [1.08, 1.2, 3.0])
def test_a_bus_that_is_reported_too_high_does_not_close(config, gain):
    """A PCS that reports 1.08 times its bus and more does not close the rack below 94 %."""
    closing = Closing(config)
    closing.rack.start_fault("bus_voltage_gain", 0, gain)
    share = closing.run()
    assert share is None or share > 0.94
    assert gain < 1.1 or (share is None and closing.s[I.PRECHARGE_SLOW] + closing.s[I.PRECHARGE_FAST] == 1)


@pytest.mark.parametrize("config", _CONFIGS)
@pytest.mark.parametrize("told", [1.0, 3.0])
@pytest.mark.parametrize("tau", [1.3, 1.7, 2.5])
def test_a_single_frame_does_not_close(config, told, tau):
    """One PCS frame that reports 100 or 300 % does not close; the precharge goes on and closes above 94 %."""
    closing = Closing(config)
    tau_ms = closing.params.precharge_tau_ms

    def lie(now):
        is_lying = 0 <= now.precharge_ms - tau * tau_ms < 20
        if is_lying and "bus_voltage_stuck" not in now.rack.faults:
            now.rack.start_fault("bus_voltage_stuck", 0, min(3000.0, told * now.rack.string_V))
        if not is_lying and "bus_voltage_stuck" in now.rack.faults:
            now.rack.stop_fault("bus_voltage_stuck")

    share = closing.run(lie)
    assert share is not None and share > 0.94


def test_a_lie_that_lasts_does_not_close_early():
    """A PCS that reports 100 % from 350 ms on closes the rack only when current and charge show a full bus."""
    closing = Closing("lfp")

    def lie(now):
        if now.precharge_ms >= 350 and "bus_voltage_stuck" not in now.rack.faults:
            now.rack.start_fault("bus_voltage_stuck", 0, now.rack.string_V)

    share = closing.run(lie)
    assert share is None or share > 0.93


@pytest.mark.parametrize("config", _CONFIGS)
def test_a_forged_curve_does_not_close(config):
    """The precharge relay is stuck open and the PCS reports a perfect curve: the rack stays open."""
    closing = Closing(config)
    closing.rack.start_fault("stuck_pre")

    def forge(now):
        if now.precharge_ms >= 0:
            share = 1 - math.exp(-now.precharge_ms / now.params.precharge_tau_ms)
            now.rack.start_fault("bus_voltage_stuck", 0, share * now.rack.string_V)

    assert closing.run(forge) is None
    assert closing.s[I.PRECHARGE_SLOW] == 1


@pytest.mark.parametrize("config", _CONFIGS)
@pytest.mark.parametrize("seed", range(12))
def test_a_leak_with_noise_does_not_close(config, seed):
    """A leak holds the bus at 92 %, and 2 % noise shows a full bus now and then: the rack stays open."""
    closing = Closing(config, seed=seed)
    ohm = closing.rack.plant.precharge_ohm
    closing.rack.start_fault("bus_leak", 0, ohm * 0.92 / 0.08)
    closing.rack.start_fault("bus_voltage_noise", 0, 0.02 * closing.rack.string_V)
    assert closing.run() is None
    assert closing.s[I.PRECHARGE_SLOW] == 1


@pytest.mark.parametrize("lie, value", [("current_stuck", 0.0), ("current_sign", None), ("current_gain", 2.0)])
def test_a_current_sensor_that_lies_does_not_close(lie, value):
    """A dead, reversed or doubled current sensor contradicts the bus: the rack stays open."""
    closing = Closing("sodium")
    closing.rack.start_fault(lie, 0, value)
    assert closing.run() is None
    assert closing.s[I.PRECHARGE_SLOW] == 1


# welds


@pytest.mark.parametrize("tau_ms", [10, 100, 200, 350, 700, 2000, 5000])
def test_a_welded_precharge_relay_has_its_name(tau_ms):
    """A welded precharge relay is named for every legal time constant, before the precharge begins."""
    closing = Closing("lfp", precharge_tau_ms=tau_ms)
    closing.rack.start_fault("weld_pre")
    assert closing.run(last_us=5e6) is None
    assert closing.s[I.TRIP_CODE] == code_of("welded") and closing.step_us is None


@pytest.mark.parametrize("tau_ms", [50, 2000])
def test_main_minus_stays_long_enough_for_a_weld(tau_ms):
    """A healthy rack waits half a time constant, or aux_ms, with main - alone."""
    closing = Closing("lfp", precharge_tau_ms=tau_ms)
    begin_us = []

    def note(now):
        if now.s[I.COILS] and now.step_us is None:
            begin_us.append(now.rack.now_us)

    closing.run(note, 3e6)
    wait_ms = max(load_params("lfp_rack").contactor_aux_ms, tau_ms / 2)
    assert wait_ms - 10 <= 10 * len(begin_us) <= wait_ms + 20
