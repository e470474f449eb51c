"""The current sensor driver against the chip model."""

import pytest
from halite.simulator.chips.faults import WireFaults
from halite.simulator.chips.ina228 import CHARGE
from halite.simulator.chips.ina228 import Ina228 as Chip
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.drivers.ina228 import Ina228
from wires import I2c

SHUNT_UOHM, DIVIDER_PCT, ALERT_A = 50, 2000, 700


class Rig:
    def __init__(self):
        self.amps, self.volts = 0.0, 1152.0
        self.chip = Chip(lambda: (self.amps, self.volts * 100 / DIVIDER_PCT, 25.0), SHUNT_UOHM * 1e-6)
        self.driver = Ina228(I2c(self.chip), SHUNT_UOHM, DIVIDER_PCT, ALERT_A)


@given(st.floats(-1000, 1000), st.floats(0, 1650))
@settings(max_examples=50)
def test_current_and_voltage_are_read_to_a_tenth(amps, volts):
    rig = Rig()
    rig.amps, rig.volts = amps, volts
    assert rig.driver.read() and rig.driver.ok
    assert rig.driver.current_dA == pytest.approx(10 * amps, abs=1 + abs(amps) * 0.005)
    assert rig.driver.rack_dV == pytest.approx(10 * volts, abs=1)


@given(st.lists(st.tuples(st.floats(-800, 800), st.integers(1, 15)), min_size=1, max_size=30))
@settings(max_examples=40)
def test_charge_adds_up_over_any_wrap_of_the_accumulator_without_clearing_it(legs):
    rig = Rig()
    rig.chip._charge_lsb = float(2**24 - 1000)      # the low 24 bits are about to wrap
    rig.driver.read()
    rig.chip._charge_lsb = float(2**24 - 1000)
    rig.driver.take_charge_mAs()
    at_us, taken, true = 0.0, 0, 0.0
    rig.chip.advance(at_us)
    for amps, seconds in legs:
        rig.amps = amps
        at_us += 1e6 * seconds
        rig.chip.advance(at_us)
        true += 1000 * amps * seconds
        taken += rig.driver.take_charge_mAs()
    assert taken == pytest.approx(true, rel=1e-3, abs=4 * 15 * len(legs) * 2)


@given(st.floats(-1000, 1000))
def test_the_alert_pin_falls_beyond_the_limit_in_both_directions_and_stays(amps):
    rig = Rig()
    rig.driver.read()
    rig.amps = amps
    if abs(abs(amps) - ALERT_A) > 1:
        assert rig.chip.alert == (abs(amps) > ALERT_A)
    rig.amps = 0.0
    if abs(amps) > ALERT_A + 1:
        assert rig.chip.alert
    rig.driver.clear_alert()
    assert not rig.chip.alert


def test_a_latched_alert_stays_for_scans_to_see_and_is_released_when_its_cause_is_gone():
    rig = Rig()
    rig.driver.read()
    rig.amps = 900.0
    assert rig.chip.alert
    for _ in range(25):
        rig.driver.check()
    assert rig.chip.alert
    rig.amps = 0.0
    while rig.chip.alert:
        rig.driver.check()
    rig.amps = 900.0
    assert rig.chip.alert
    rig.amps = 0.0
    for _ in range(19):
        rig.driver.check()
        assert rig.chip.alert
    rig.driver.check()
    assert not rig.chip.alert


def test_a_chip_that_lost_its_configuration_is_configured_again():
    rig = Rig()
    rig.amps = 100.0
    rig.driver.read()
    rig.chip.reset()
    assert not rig.driver.check()
    assert rig.driver.read() and rig.driver.starts == 2
    assert rig.driver.current_dA == pytest.approx(1000, abs=5)


def test_a_foreign_chip_is_refused():
    rig = Rig()
    rig.chip.registers[0x3E] = 0x1234
    assert not rig.driver.read() and not rig.driver.ok and rig.driver.errors == 1


@given(st.integers(0, 2**16), st.floats(0, 0.1), st.floats(0, 0.1), st.booleans(),
       st.one_of(st.none(), st.integers(0, 60)))
@settings(max_examples=50, deadline=None)
def test_no_fault_on_the_bus_escapes_and_the_driver_comes_back(seed, flip, lose, missing, reset_after):
    rig = Rig()
    rig.amps = 50.0
    rig.chip.faults = WireFaults(seed, flip=flip, lose=lose, missing=missing, reset_after=reset_after)
    for _ in range(20):
        assert rig.driver.read() in (True, False)
        rig.driver.check()
        rig.driver.take_charge_mAs()
        rig.driver.clear_alert()
    assert not missing or rig.driver.errors >= 20
    rig.chip.faults = WireFaults()
    rig.driver.check()
    assert rig.driver.read() and rig.driver.check()
    assert rig.driver.current_dA == pytest.approx(500, abs=4)
    assert rig.chip.registers.get(CHARGE) is None
