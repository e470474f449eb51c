"""The models of CAN controller, current sensor, FRAM and NTC against their data sheets."""

import math

import pytest
from halite.chips import ina228, mcp2515
from halite.chips.can_bus import CanBus, Frame, frame_bits
from halite.chips.fram import SIZE, Fram
from halite.chips.ina228 import Ina228
from halite.chips.mcp2515 import Mcp2515
from halite.plant.ntc import Ntc
from hypothesis import given
from hypothesis import strategies as st

# CAN


@given(identifier=st.integers(0, 0x7FF), data=st.binary(max_size=8))
def test_frame_lengths_lie_between_no_stuff_bit_and_one_in_four(identifier, data):
    plain = 47 + 8 * len(data)
    assert plain <= frame_bits(Frame(identifier, data)) <= plain + (34 + 8 * len(data) - 1) // 4


def test_five_equal_bits_cost_one_stuff_bit():
    # identifier 0x555 ends in 1, then RTR, IDE, r0 and DLC are seven zeros; the CRC of this frame needs no stuff bit
    assert frame_bits(Frame(0x555)) == 48


class Talker:
    """A plain CAN node that keeps the frames it receives."""

    def __init__(self, bus):
        self.heard, self.alive = [], True
        bus.nodes.append(self)

    def acknowledges(self):
        return self.alive

    def received(self, frame, at_us):
        self.heard.append((at_us, frame))

    def sent(self, frame, at_us):
        pass

    def failed(self, frame, at_us, acknowledged):
        return True


class Spi:
    """The controller's end of the SPI at 10 Mbit/s."""

    def __init__(self, chip, now_us=0.0):
        self.chip, self.now_us = chip, now_us

    def __call__(self, *data):
        self.chip.select(self.now_us)
        answer = []
        for byte in data:
            self.now_us += 0.8
            answer.append(self.chip.exchange(byte, self.now_us))
        self.chip.deselect(self.now_us)
        return answer

    def bring_up(self, timing=(0x03, 0xAC, 0x40), receive_any=True):
        self(0xC0)
        self.now_us += 10_000
        self(0x02, mcp2515.CNF3, *timing)
        if receive_any:
            self(0x02, 0x60, 0x64)
            self(0x02, 0x70, 0x60)
        self(0x02, mcp2515.CANCTRL, 0x00)
        self.now_us += 100

    def transmit(self, identifier, data, buffer=0):
        self(0x40 | buffer << 1, identifier >> 3, (identifier & 7) << 5, 0, 0, len(data), *data)
        self(0x80 | 1 << buffer)


def test_a_frame_takes_its_true_length_and_clears_its_request():
    """The frame is on the bus after the time of its bits; its request then clears."""
    bus = CanBus()
    talker, spi = Talker(bus), Spi(Mcp2515(bus))
    spi.bring_up()
    start_us = spi.now_us
    spi.transmit(0x181, bytes(range(8)))
    sent_us = spi.now_us
    assert spi(0xA0, 0)[1] & 0x04
    spi.now_us += 400
    assert spi(0xA0, 0)[1] & 0x0C == 0x08
    ((end_us, frame),) = talker.heard
    assert frame == Frame(0x181, bytes(range(8)))
    assert math.isclose(end_us - sent_us, (frame_bits(frame) - 3) * 2.0, abs_tol=0.1)
    assert end_us > start_us


@given(identifier=st.integers(0, 0x7FF), data=st.binary(max_size=8), crystal=st.sampled_from([8, 16]))
def test_what_one_controller_sends_another_receives(identifier, data, crystal):
    bus = CanBus()
    one, two = Spi(Mcp2515(bus, 16_000_000)), Spi(Mcp2515(bus, crystal * 1_000_000))
    one.bring_up()
    two.bring_up({8: (0x01, 0x91, 0x00), 16: (0x03, 0xAC, 0x40)}[crystal])
    one.now_us = two.now_us = max(one.now_us, two.now_us)
    one.transmit(identifier, data)
    two.now_us = one.now_us + 500
    assert two(0xA0, 0)[1] & 1
    received = two(0x90, *[0] * 13)[1:]
    assert received[0] << 3 | received[1] >> 5 == identifier
    assert bytes(received[5 : 5 + received[4]]) == data
    assert not two(0xA0, 0)[1] & 1


def test_a_wrong_bit_timing_keeps_the_controller_off_the_bus():
    bus = CanBus()
    talker, spi = Talker(bus), Spi(Mcp2515(bus))
    spi.bring_up(timing=(0x03, 0xAC, 0x41))
    spi.transmit(0x181, b"\x01")
    spi.now_us += 1000
    assert spi(0x03, mcp2515.TEC, 0)[2] > 0
    assert not talker.heard


def test_without_a_partner_the_controller_becomes_passive_only():
    """Missing acknowledges make the controller error-passive, but do not lead to bus-off."""
    bus = CanBus()
    spi = Spi(Mcp2515(bus))
    spi.bring_up()
    spi.transmit(0x181, b"\x01")
    spi.now_us += 100_000
    assert spi(0x03, mcp2515.TEC, 0)[2] == 128
    assert spi(0x03, mcp2515.EFLG, 0)[2] & 0x30 == 0x10


def test_a_shorted_bus_leads_to_bus_off_and_back():
    """After the repair the controller leaves bus-off."""
    bus = CanBus()
    talker, spi = Talker(bus), Spi(Mcp2515(bus))
    spi.bring_up()
    bus.shorted = True
    spi.transmit(0x181, b"\x01")
    spi.now_us += 1500
    assert spi(0x03, mcp2515.EFLG, 0)[2] & 0x20
    bus.shorted = False
    spi.now_us += 128 * 11 * 2 + 500
    assert not spi(0x03, mcp2515.EFLG, 0)[2] & 0x20
    assert [frame for _, frame in talker.heard] == [Frame(0x181, b"\x01")]


@given(wanted=st.integers(0, 0x7FF), sent=st.integers(0, 0x7FF))
def test_filters_let_only_the_wanted_identifier_in(wanted, sent):
    bus = CanBus()
    talker, spi = Talker(bus), Spi(Mcp2515(bus))
    spi(0xC0)
    spi.now_us += 10_000
    spi(0x02, mcp2515.CNF3, 0x03, 0xAC, 0x40)
    for base in mcp2515.RXF:
        spi(0x02, base, wanted >> 3, (wanted & 7) << 5, 0, 0)
    for base in mcp2515.RXM:
        spi(0x02, base, 0xFF, 0xE0, 0, 0)
    spi(0x02, mcp2515.CANCTRL, 0x00)
    bus.send(talker, Frame(sent, b"\x11"), spi.now_us + 100)
    spi.now_us += 600
    assert bool(spi(0xA0, 0)[1] & 1) == (wanted == sent)


def test_an_unread_buffer_overflows_and_says_so():
    bus = CanBus()
    talker, spi = Talker(bus), Spi(Mcp2515(bus))
    spi.bring_up()
    for n in range(3):
        bus.send(talker, Frame(0x201, bytes((n,))), spi.now_us + 100 + 300 * n)
    spi.now_us += 2000
    assert spi(0xA0, 0)[1] & 3 == 3
    assert spi(0x03, mcp2515.EFLG, 0)[2] & 0xC0
    assert spi(0x90, *[0] * 6)[6] == 0


def test_the_lower_identifier_wins_when_two_wait():
    bus = CanBus()
    talker, other = Talker(bus), Talker(bus)
    for identifier in (0x300, 0x100, 0x200):
        bus.send(talker, Frame(identifier), 10.0)
    bus.run_to(2000)
    assert [frame.id for _, frame in other.heard] == [0x100, 0x200, 0x300]


@given(st.tuples(*[st.integers(0, 3)] * 3), st.permutations(range(3)))
def test_buffers_leave_by_priority_and_then_by_number(priorities, asked):
    """DS20001801, 3.2: for any identifiers, and any order in which they were asked for."""
    bus = CanBus()
    talker, spi = Talker(bus), Spi(Mcp2515(bus))
    spi.bring_up()
    bus.send(talker, Frame(0x050, bytes(8)), spi.now_us)      # the bus is busy during this time
    spi.now_us += 10
    for buffer in asked:
        spi(0x02, mcp2515.TXBCTRL[buffer], priorities[buffer])
        spi.transmit(0x100 + buffer, b"", buffer)
    bus.run_to(spi.now_us + 2_000)
    sent = [frame.id - 0x100 for _, frame in bus.log if frame.id >= 0x100]
    assert sent == sorted(range(3), key=lambda buffer: (priorities[buffer], buffer), reverse=True)


def test_configuration_registers_are_locked_outside_their_mode():
    """A write outside configuration mode leaves them as they are."""
    spi = Spi(Mcp2515(CanBus()))
    spi.bring_up()
    spi(0x02, mcp2515.CNF1, 0x3F)
    assert spi(0x03, mcp2515.CNF1, 0)[2] == 0x40


# INA228


def ina_read(chip, register, size):
    chip.start(False)
    chip.write(register)
    chip.start(True)
    data = bytes(chip.read() for _ in range(size))
    chip.stop()
    return data


def ina_write(chip, register, value):
    chip.start(False)
    for byte in (register, value >> 8, value & 0xFF):
        chip.write(byte)
    chip.stop()


@given(amps=st.floats(-1000, 1000), volts=st.floats(0, 80), lsb_mA=st.sampled_from([1, 2, 4]))
def test_current_and_voltage_follow_the_data_sheet(amps, volts, lsb_mA):
    """The results are those of the formulas in the data sheet."""
    chip = Ina228(lambda: (amps, volts, 25.0), shunt_ohm=50e-6)
    ina_write(chip, ina228.SHUNT_CAL, round(13107.2e6 * lsb_mA * 1e-3 * 50e-6))
    current = int.from_bytes(ina_read(chip, ina228.CURRENT, 3), "big", signed=True) >> 4
    if abs(amps) < lsb_mA * 500:
        assert abs(current * lsb_mA * 1e-3 - amps) < 0.002 * abs(amps) + 0.01
    bus = int.from_bytes(ina_read(chip, ina228.VBUS, 3), "big") >> 4
    assert abs(bus * 195.3125e-6 - volts) <= 195.3125e-6
    assert ina_read(chip, ina228.MANUFACTURER_ID, 2) == b"TI"


def test_charge_accumulates_and_is_cleared_by_rstacc():
    chip = Ina228(lambda: (100.0, 50.0, 25.0), shunt_ohm=50e-6)
    ina_write(chip, ina228.SHUNT_CAL, round(13107.2e6 * 2e-3 * 50e-6))
    chip.advance(10_000_000)
    charge = int.from_bytes(ina_read(chip, ina228.CHARGE, 5), "big", signed=True)
    assert abs(charge * 2e-3 - 1000.0) < 2.0
    ina_write(chip, ina228.CONFIG, 0x4000)
    assert ina_read(chip, ina228.CHARGE, 5) == bytes(5)


def test_a_latched_alert_stays_until_its_flags_are_read():
    amps = [0.0]
    chip = Ina228(lambda: (amps[0], 50.0, 25.0), shunt_ohm=50e-6)
    ina_write(chip, ina228.SOVL, 700 * 50 // 5)
    ina_write(chip, ina228.DIAG_ALRT, 0x8000)
    assert not chip.alert
    amps[0] = 710.0
    assert chip.alert
    amps[0] = 0.0
    assert chip.alert
    assert ina_read(chip, ina228.DIAG_ALRT, 2)[1] & 0x40
    assert not chip.alert


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 2), st.integers(0, 3), st.floats(0, 1))
def test_a_step_of_current_is_read_after_its_conversions(shunt_ct, bus_ct, avg, turns, share):
    """The reading follows after the time of the configured conversions."""
    times_us, averages = (50, 84, 150, 280, 540, 1052, 2074, 4120), (1, 4, 16)
    amps = 0.0
    chip = Ina228(lambda: (amps, 50.0, 25.0), shunt_ohm=50e-6)
    chip.advance(0.0)
    ina_write(chip, ina228.ADC_CONFIG, 0xB000 | bus_ct << 9 | shunt_ct << 6 | avg)
    pair_us = times_us[shunt_ct] + times_us[bus_ct]
    begins_us = (turns + share) * pair_us
    chip.advance(begins_us)
    amps = 100.0
    seen = []
    for _ in range(2):
        begins_us += averages[avg] * pair_us
        chip.advance(begins_us)
        seen.append(int.from_bytes(ina_read(chip, ina228.VSHUNT, 3), "big", signed=True) >> 4)
    assert seen[1] == 16_000            # 5 mV: by then a whole set has the new current
    assert 0 <= seen[0] <= 16_000
    if avg == 0:
        assert seen[0] == 16_000        # a conversion begins after the step and ends within the pair, or ended with it


@pytest.mark.parametrize(("slow", "alert"), [(0, True), (0x2000, False)])
def test_the_alert_compares_conversions_or_with_slowalert_means(slow, alert):
    """Each conversion is compared with the limits; with SLOWALERT the mean is."""
    amps = 0.0
    chip = Ina228(lambda: (amps, 50.0, 25.0), shunt_ohm=50e-6)
    chip.advance(0.0)
    ina_write(chip, ina228.ADC_CONFIG, 0xB929)
    ina_write(chip, ina228.SOVL, 300 * 50 // 5)
    ina_write(chip, ina228.DIAG_ALRT, 0x8000 | slow)
    chip.advance(900.0)
    amps = 400.0                    # for one of four conversions
    chip.advance(1_900.0)
    amps = 0.0
    chip.advance(10_000.0)
    assert chip.alert == alert


def test_a_stopped_converter_keeps_its_last_result():
    amps = 100.0
    chip = Ina228(lambda: (amps, 50.0, 25.0), shunt_ohm=50e-6)
    chip.advance(10_000.0)
    ina_write(chip, ina228.ADC_CONFIG, 0x0000)
    amps = 200.0
    chip.advance(20_000.0)
    assert int.from_bytes(ina_read(chip, ina228.VSHUNT, 3), "big", signed=True) >> 4 == 16_000


# FRAM


def fram_write(chip, at, data):
    if not chip.start(False):
        return False
    return all(chip.write(byte) for byte in (at >> 8, at & 0xFF, *data))


def fram_read(chip, at, size):
    chip.start(False)
    chip.write(at >> 8)
    chip.write(at & 0xFF)
    chip.start(True)
    return bytes(chip.read() for _ in range(size))


@given(at=st.integers(0, SIZE - 1), data=st.binary(min_size=1, max_size=40), cut=st.integers(0, 40))
def test_a_power_cut_keeps_exactly_the_bytes_before_it(at, data, cut):
    chip = Fram(b"\xaa" * SIZE)
    chip.cut_after = cut
    whole = fram_write(chip, at, data)
    assert whole == (cut >= len(data))
    assert chip.powered == whole
    assert chip.start(False) == whole
    chip.power_cycle()
    kept = min(cut, len(data))
    assert fram_read(chip, at, len(data)) == data[:kept] + b"\xaa" * (len(data) - kept)


# NTC


@given(degC=st.floats(-45, 150), curved=st.booleans())
def test_the_ntc_model_is_inverted_exactly(degC, curved):
    """Ratio to temperature inverts temperature to ratio; the ratio falls with the temperature."""
    ntc = Ntc(1.129148e-3, 2.34125e-4, 8.76741e-8, 10_000.0) if curved else Ntc()
    assert abs(ntc.degC(ntc.ratio(degC)) - degC) < 1e-6
    assert ntc.ratio(degC) > ntc.ratio(degC + 0.1)


def test_the_common_sensor_has_ten_kiloohm_at_25_degrees():
    """The Steinhart-Hart coefficients of a common sensor give 10 kohm at 25 °C."""
    assert abs(Ntc(1.129148e-3, 2.34125e-4, 8.76741e-8).ohm(25.0) - 10_000) < 15
    assert Ntc().ratio(-math.inf) == 1.0
    assert Ntc().ratio(math.inf) == 0.0
