"""The current sensor driver against the chip model."""

from array import array

import pytest
from halite.chips import ina228
from halite.chips.faults import WireFaults
from halite.chips.ina228 import CHARGE
from halite.chips.ina228 import Ina228 as Chip
from halite.common.paths import BOARD_CONFIGS
from halite.config import load_params
from halite.generate.reaction_faults import CONVERSION_us
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.protect.retained import Retained
from rack.control.sense.soc import SocEstimator
from rack.drivers.ina228 import Ina228
from rack.generated import ids as I
from rack.generated import retained_words as W
from support.wires import I2c

PARAMS = load_params(BOARD_CONFIGS / "sodium_rack.toml")
SHUNT_UOHM, DIVIDER_PCT, CHARGE_A, DISCHARGE_A = 50, 2000, 500, 700
RANGE_V = 163.84e-3


class Rig:
    def __init__(self):
        self.amps, self.volts = 0.0, 1152.0
        self.chip = Chip(lambda: (self.amps, self.volts * 100 / DIVIDER_PCT, 25.0), SHUNT_UOHM * 1e-6)
        self.driver = Ina228(I2c(self.chip), SHUNT_UOHM, DIVIDER_PCT, CHARGE_A, DISCHARGE_A)


@given(st.floats(-1000, 1000), st.floats(0, 1650))
@settings(max_examples=50)
def test_current_and_voltage_are_read_to_a_tenth(amps, volts):
    rig = Rig()
    rig.amps, rig.volts = amps, volts
    assert rig.driver.read() and rig.driver.ok
    assert rig.driver.current_dA == pytest.approx(10 * amps, abs=1 + abs(amps) * 0.005)
    assert rig.driver.rack_dV == pytest.approx(10 * volts, abs=1)


@given(st.lists(st.tuples(st.floats(-800, 800), st.integers(1, 600)), min_size=1, max_size=30),
       st.sampled_from([2**30, 2**29, 2**24, 0]))
@settings(max_examples=40)
def test_charge_adds_up_over_any_wrap_of_the_accumulator(legs, wrap):
    """The driver does not clear the accumulator for that."""
    rig = Rig()
    rig.driver.read()
    rig.chip.charge_lsb = float(wrap - 1000)      # the bits that are read are about to wrap
    assert rig.driver.read_charge() and not rig.driver.charge_whole and rig.driver.charge_dAs == 0
    at_us, taken, true, spread = 0.0, 0, 0.0, 0.0
    rig.chip.advance(at_us)
    for amps, seconds in legs:
        rig.amps = amps
        at_us += 1e6 * seconds
        rig.chip.advance(at_us)
        true += 10 * amps * seconds
        spread += 10 * abs(amps) * seconds
        assert rig.driver.read_charge() and rig.driver.charge_whole
        taken += rig.driver.charge_dAs
    total_s = sum(seconds for _, seconds in legs)
    # 50 uohm: a bit is 6.25 mA, and the calibration word is rounded to 1 in 5000
    assert taken == pytest.approx(true, abs=1 + 0.04 * total_s + 3e-4 * spread)


def test_charge_during_a_lost_link_is_read_afterwards():
    """The chip goes on counting while its link is gone; the next reading has the whole charge."""
    rig = Rig()
    rig.amps = 400.0
    rig.driver.read()
    rig.driver.read_charge()
    rig.chip.advance(0.0)
    rig.chip.faults.missing = True
    assert not rig.driver.read() and not rig.driver.read_charge() and not rig.driver.ok
    rig.chip.advance(3e6)
    rig.chip.faults.missing = False
    assert rig.driver.read() and rig.driver.starts == 1
    assert rig.driver.read_charge() and rig.driver.charge_whole
    assert rig.driver.charge_dAs == pytest.approx(12_000, rel=3e-4)


def test_charge_of_a_chip_that_was_reset_is_not_called_whole():
    rig = Rig()
    rig.amps = 400.0
    rig.driver.read()
    rig.driver.read_charge()
    rig.chip.advance(0.0)
    rig.chip.advance(1e6)
    rig.chip.reset()
    assert not rig.driver.check() and not rig.driver.ok and rig.driver.read()
    rig.chip.advance(2e6)
    assert rig.driver.read_charge() and not rig.driver.charge_whole
    rig.chip.advance(3e6)
    assert rig.driver.read_charge() and rig.driver.charge_whole
    assert rig.driver.charge_dAs == pytest.approx(4_000, rel=3e-4)


# ms, A, whether the sensor can be read
_PIECES = st.lists(st.tuples(st.integers(1, 60), st.integers(-900, 900), st.booleans()), min_size=1, max_size=40)


@given(_PIECES, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_count_is_right_whatever_was_not_seen(pieces, reset):
    """Chip, driver and counter together: with the accumulator the gaps in the readings leave no error behind."""
    rig = Rig()
    s = array("i", [0] * I.COUNT)
    charge = SocEstimator(PARAMS, s, Retained(PARAMS).words)
    s[I.COILS] = 5
    start = charge.words[W.CHARGE_dAs]
    now_us, true_dAs, unseen_dAs, last_amps = 0.0, 0.0, 0.0, 0
    rig.chip.advance(now_us)
    rig.driver.read()
    rig.driver.read_charge()
    for ms, amps, seen in [*pieces, (1, 0, True)]:
        rig.chip.faults.missing = not seen
        rig.amps = amps
        now_us += 10_000
        rig.chip.advance(now_us)
        read = rig.driver.read()
        assert read == seen
        s[I.CURRENT_AGE_ms] = 0 if read else s[I.CURRENT_AGE_ms] + 10 * ms
        s[I.CURRENT_dA] = rig.driver.current_dA
        if seen:
            last_amps = amps
        unseen_dAs += abs(amps - last_amps) * ms / 10
        charge.scan(10)
        for _ in range(ms - 1):
            now_us += 10_000
            rig.chip.advance(now_us)
            charge.scan(10)
        true_dAs += amps * ms / 10
    if reset:
        rig.chip.reset()
        assert not rig.driver.check()
        rig.driver.read()
    assert rig.driver.read_charge()
    charge.metered(rig.driver.charge_dAs, rig.driver.charge_whole)
    error_dAs = abs(start - charge.words[W.CHARGE_dAs] - true_dAs)
    total_s = sum(ms for ms, _, _ in pieces) / 100
    assert error_dAs <= 3 + 0.6 * total_s + (unseen_dAs if reset else 0)      # 0.05 A of reading is 0.5 dA


@given(st.floats(-1000, 1000))
def test_the_alert_pin_falls_beyond_either_limit_and_stays(amps):
    """One limit for charging and one for discharging; the alert is latched."""
    rig = Rig()
    rig.driver.read()
    rig.amps = amps
    beyond = amps >= DISCHARGE_A or amps <= -CHARGE_A
    if beyond or -CHARGE_A + 0.3 < amps < DISCHARGE_A - 0.3:    # 0.1 A a bit
        assert rig.chip.alert == beyond
    rig.amps = 0.0
    if beyond:
        assert rig.chip.alert
    rig.driver.clear_alert()
    assert not rig.chip.alert


@given(st.integers(1, 1250), st.integers(1, 10_000), st.booleans(), st.floats(-60e-6, 60e-6))
def test_the_alert_comes_at_its_level_or_two_bits_before(shunt_uohm, level_A, charging, away_V):
    """At its level or up to two bits before, but not after it."""
    amps = 0.0
    chip = Chip(lambda: (amps, 50.0, 25.0), shunt_uohm * 1e-6)
    levels = (level_A, 10_000) if charging else (10_000, level_A)
    driver = Ina228(I2c(chip), shunt_uohm, DIVIDER_PCT, *levels)
    assert driver.read()
    level_V = min(level_A * shunt_uohm * 1e-6, RANGE_V)      # beyond its range the chip reads the end of it
    beyond_V = min(level_V + away_V, 10_000 * shunt_uohm * 1e-6 - 20e-6) if level_A < 10_000 else level_V + away_V
    amps = (-1 if charging else 1) * beyond_V / (shunt_uohm * 1e-6)
    if beyond_V >= level_V + 0.2e-6:    # half a bit of the result, which it rounds
        assert chip.alert
    elif 0 <= beyond_V < level_V - 15.2e-6:     # two bits, and the rounding of the level
        assert not chip.alert


def test_one_conversion_beyond_the_level_is_an_alert():
    """A mean below the level does not hide the conversion."""
    rig = Rig()
    rig.chip.advance(0.0)
    rig.driver.read()
    assert not rig.chip.registers[ina228.DIAG_ALRT] & 0x2000 and rig.chip.registers[ina228.ADC_CONFIG] == 0xB928
    rig.amps = -520.0
    at_us = 0.0
    while not rig.chip.alert:
        at_us += 20.0
        rig.chip.advance(at_us)
    assert at_us <= CONVERSION_us
    rig.amps = 0.0
    rig.chip.advance(at_us + 5_000.0)
    assert rig.chip.alert and rig.driver.read() and rig.driver.current_dA == 0
    assert rig.driver.clear_alert() & 0x20 and not rig.chip.alert


@given(st.floats(0, 5_000), st.sampled_from([-501, 701]))
def test_an_over_current_reaches_the_pin_in_three_conversions(begins_us, amps):
    """The one that runs, the one of the bus, and a whole one."""
    rig = Rig()
    rig.chip.advance(0.0)
    rig.driver.read()
    rig.chip.advance(begins_us)
    rig.amps = float(amps)
    rig.chip.advance(begins_us + 3 * CONVERSION_us)
    assert rig.chip.alert
    rig.driver.read()
    assert rig.driver.current_dA == pytest.approx(10 * amps, abs=4)


def test_a_latched_alert_is_released_after_its_cause_has_gone():
    """It stays long enough for several scans to see it."""
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
        rig.driver.read_charge()
        rig.driver.clear_alert()
    assert not missing or rig.driver.errors >= 20
    rig.chip.faults = WireFaults()
    rig.driver.check()
    assert rig.driver.read() and rig.driver.check()
    assert rig.driver.current_dA == pytest.approx(500, abs=4)
    assert rig.driver.read_charge()
    assert rig.chip.registers.get(CHARGE) is None


_WIRE = st.lists(st.tuples(st.one_of(
    st.tuples(st.sampled_from(["flip", "lose", "duplicate", "truncate"]), st.floats(0, 0.3)),
    st.tuples(st.just("missing"), st.just(True)), st.tuples(st.just("late_us"), st.just(1.0)),
    st.tuples(st.just("stuck"), st.sampled_from([0, 1])), st.tuples(st.just("reset_after"), st.integers(0, 60)),
), st.integers(1, 30)), min_size=1, max_size=6)  # fmt: skip


@given(st.integers(0, 2**16), _WIRE)
@settings(max_examples=60, deadline=None)
def test_current_and_charge_are_right_soon_after_any_faults(seed, faults):
    """Any sequence of faults on I²C: within three readings after the last one current and charge are right again."""
    rig = Rig()
    rig.chip.faults = WireFaults(seed)
    rig.amps = 50.0
    at_us = 0.0
    rig.chip.advance(at_us)
    for (name, value), readings in faults:
        setattr(rig.chip.faults, name, value)
        for n in range(readings):
            at_us += 10_000
            rig.chip.advance(at_us)
            rig.driver.read()
            if n % 10 == 9:
                rig.driver.check()
                rig.driver.read_charge()
        setattr(rig.chip.faults, name, getattr(WireFaults(), name))
    rig.driver.check()          # at most 100 ms later
    for _ in range(3):
        rig.driver.read()
        at_us += 10_000
        rig.chip.advance(at_us)
    assert rig.driver.read() and rig.driver.ok
    assert rig.driver.current_dA == pytest.approx(500, abs=4)
    rig.driver.read_charge()
    rig.chip.advance(at_us + 1e6)
    assert rig.driver.read_charge() and rig.driver.charge_whole and rig.driver.charge_dAs == pytest.approx(500, abs=4)
