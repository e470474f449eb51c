"""The chip models against data sheet vectors and against themselves: a wrong model would bless a wrong driver."""

import math

import pytest
from halite.simulator.chips import bq79616 as bq
from halite.simulator.chips import ina228, mcp2515
from halite.simulator.chips.bq79616 import Bq79616Stack
from halite.simulator.chips.can_bus import CanBus, Frame, frame_bits
from halite.simulator.chips.crc import crc16, pec15
from halite.simulator.chips.faults import WireFaults
from halite.simulator.chips.fram import SIZE, Fram
from halite.simulator.chips.ina228 import Ina228
from halite.simulator.chips.ltc6813 import Ltc6813Stack
from halite.simulator.chips.mcp2515 import Mcp2515
from halite.simulator.chips.ntc import Ntc
from halite.simulator.chips.pcs_codec import crc8
from hypothesis import given, settings
from hypothesis import strategies as st

# TI SLVAE86B sections 4.2 to 9.2: complete frames with their CRC, in the order of a bring-up of three devices.
BRING_UP = (
    "D0034C00FC24", "D00309010F74", "D0030600CB44", "D00306010A84", "D00306024A85", "D00308024EE5",
    "900003080013DD", "90020308035264", "D000030AB813", "D0030D064C76",
)  # fmt: skip
OTHER_FRAMES = (
    "C0034C00F8E4", "C005681F422D", "D70318020202020202020214BE", "D703200202020202020202277F", "D0032E011484",
    "D0032A08D642", "D0032C051427", "D0032F0394D5", "900003098013ED", "E0030980C014", "D00309810ED4",
    "D0030700CAD4", "D00307010B14", "D00307024B15",
)  # fmt: skip
READ_CELLS = "C005681F422D"
# foxBMS 2 v1.11.0 test_ltc_pec.c
PEC_VECTORS = {
    "1234": 0x1DD4, "BEEF": 0xFD2C, "0001": 0x3D6E, "0723": 0xB9E4, "0360": 0xF46C, "123456789ABC": 0xBC24,
    "FFFFFFFFFFFF": 0x664C, "BEEFBEEFBEEF": 0x845A, "A0B0C0D0E0F0": 0x792C, "012E9B33AC55": 0xD522,
}  # fmt: skip


def test_checksums_agree_with_the_makers_vectors():
    for frame in BRING_UP + OTHER_FRAMES:
        data = bytes.fromhex(frame)
        assert crc16(data[:-2]) == data[-2] | data[-1] << 8, frame
    for data, expected in PEC_VECTORS.items():
        assert pec15(bytes.fromhex(data)) == expected, data
    assert crc8(b"123456789") == 0x4B


# BQ79616


class Line:
    """The controller's end of the UART: sends bytes at 1 Mbit/s and keeps the answers with their times."""

    def __init__(self, devices, **options):
        self.stack = Bq79616Stack(devices, self.inputs, **options)
        self.stack.transmit = lambda data, at_us: self.answers.append((at_us, data))
        self.answers = []
        self.now_us = 0.0

    @staticmethod
    def inputs(position):
        return [3.0 + 0.1 * position + 0.01 * cell for cell in range(16)], [0.5] * 8

    def send(self, frame):
        data = bytes.fromhex(frame) if isinstance(frame, str) else frame
        for byte in data:
            self.now_us += bq.BYTE_US
            self.stack.receive(byte, self.now_us)

    def wake(self):
        self.now_us += 2500
        self.stack.wake(2500, self.now_us)
        self.now_us += 10_000 + 600 * len(self.stack.devices)

    def bring_up(self):
        self.wake()
        for frame in BRING_UP:
            self.send(frame)
        self.now_us += 1000

    def ask(self, body):
        """Send a frame given without its CRC and return the answer's frames in their order, [] for silence."""
        self.answers.clear()
        data = bytes(body)
        crc = crc16(data)
        self.send(data + bytes((crc & 0xFF, crc >> 8)))
        whole = b"".join(data for _, data in self.answers)
        frames = []
        while whole:
            size = whole[0] + 1 + 6
            frames.append(whole[:size])
            whole = whole[size:]
        return frames


def test_a_stack_brought_up_with_the_makers_frames_answers_with_all_its_cells_top_device_first():
    line = Line(3)
    line.bring_up()
    line.send(READ_CELLS)
    ((at_us, answer),) = line.answers
    assert at_us > line.now_us
    assert len(answer) == 3 * 38
    for place, position in enumerate((2, 1, 0)):
        frame = answer[place * 38 : place * 38 + 38]
        assert frame[:4] == bytes((31, position, 0x05, 0x68))
        assert crc16(frame) == 0
        for cell in range(16):
            raw = int.from_bytes(frame[4 + 2 * (15 - cell) : 6 + 2 * (15 - cell)], "big")
            assert abs(raw * 190.73e-6 - (3.0 + 0.1 * position + 0.01 * cell)) <= 0.5 * 190.73e-6


def test_a_stack_is_silent_before_it_is_woken_and_without_a_marked_top():
    line = Line(3)
    line.send(READ_CELLS)
    assert not line.answers
    line.wake()
    for frame in BRING_UP[:6]:
        line.send(frame)
    line.send(READ_CELLS)
    assert not line.answers


def test_a_second_wake_resets_registers_and_addresses():
    line = Line(2)
    line.bring_up()
    line.wake()
    assert line.ask((0xC0, 0x03, 0x06, 0)) == []
    assert line.stack.devices[1].address == 0


def test_results_are_absent_until_the_converter_has_run():
    line = Line(1)
    line.wake()
    for frame in BRING_UP[:3]:
        line.send(frame)
    line.send(bytes.fromhex("9000030801") + crc16(bytes.fromhex("9000030801")).to_bytes(2, "little"))
    (frame,) = line.ask((0x80, 0x00, 0x05, 0x68, 1))
    assert frame[4:6] == b"\x80\x00"


def test_gpio_results_are_ratiometric_to_the_reference_and_need_it_switched_on():
    line = Line(3)
    line.bring_up()
    for register, value in ((0x00E, 0x12), (0x00F, 0x12), (0x010, 0x12), (0x011, 0x12)):
        line.ask((0xD0, register >> 8, register & 0xFF, value))
    line.now_us += 1000
    off = line.ask((0xC0, 0x05, 0x8C, 17))[0]
    assert off[4:6] == b"\x00\x00"
    line.ask((0xD0, 0x03, 0x0A, 0x01))
    on = line.ask((0xC0, 0x05, 0x8C, 17))[0]
    reference = int.from_bytes(on[4:6], "big") * 169.54e-6
    for sensor in range(8):
        volts = int.from_bytes(on[6 + 2 * sensor : 8 + 2 * sensor], "big") * 152.59e-6
        assert abs(volts / reference - 0.5) < 1e-4


def test_a_broken_link_leaves_both_halves_readable_from_their_own_side_of_the_ring():
    line = Line(4)
    line.stack.broken_links.add(2)
    line.wake()
    line.ask((0xD0, 0x03, 0x09, 0x01))
    for address in range(4):
        line.ask((0xD0, 0x03, 0x06, address))
    line.ask((0xD0, 0x03, 0x08, 0x02))
    line.ask((0x90, 0, 0x03, 0x08, 0x00))
    line.ask((0x90, 1, 0x03, 0x08, 0x03))
    assert [frame[1] for frame in line.ask((0xC0, 0x03, 0x06, 0))] == [1, 0]
    line.ask((0x90, 0, 0x03, 0x09, 0xA0))  # base turns round and wakes the other way
    line.now_us += 20_000
    line.ask((0xE0, 0x03, 0x09, 0x80))
    line.ask((0xD0, 0x03, 0x09, 0x81))
    for address in range(4):
        line.ask((0xD0, 0x03, 0x07, address))
    line.ask((0xD0, 0x03, 0x08, 0x02))
    line.ask((0x90, 0, 0x03, 0x08, 0x00))
    line.ask((0x90, 2, 0x03, 0x08, 0x03))
    assert [frame[1] for frame in line.ask((0xC0, 0x03, 0x07, 0))] == [2, 1, 0]
    assert [device.address for device in line.stack.devices] == [0, 1, 2, 1]


def test_a_lost_device_silences_the_whole_stack_read():
    line = Line(3)
    line.bring_up()
    line.stack.lost_devices = lambda: {1}
    assert line.ask((0xC0, 0x05, 0x2D, 0)) == []
    assert len(line.ask((0x80, 0, 0x05, 0x2D, 0))) == 1


@given(register=st.sampled_from([*range(0x003, 0x030), *range(0x310, 0x330)]), data=st.binary(min_size=1, max_size=8))
def test_a_written_register_is_read_back_from_the_addressed_device_only(register, data):
    line = Line(2)
    line.bring_up()
    before = line.ask((0x80, 1, register >> 8, register & 0xFF, len(data) - 1))[0][4:-2]
    line.ask((0x90 | len(data) - 1, 0, register >> 8, register & 0xFF, *data))
    assert line.ask((0x80, 0, register >> 8, register & 0xFF, len(data) - 1))[0][4:-2] == data
    assert line.ask((0x80, 1, register >> 8, register & 0xFF, len(data) - 1))[0][4:-2] == before


@given(frame=st.sampled_from(BRING_UP + OTHER_FRAMES), bit=st.integers(0, 8 * 13 - 1))
def test_a_frame_with_any_single_bit_wrong_is_never_carried_out(frame, bit):
    line = Line(3)
    line.bring_up()
    registers = [bytes(device.registers[:0x500]) for device in line.stack.devices]
    data = bytearray.fromhex(frame)
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    line.answers.clear()
    line.send(bytes(data))
    assert not line.answers
    assert [bytes(device.registers[:0x500]) for device in line.stack.devices] == registers


@settings(max_examples=60)
@given(garbage=st.binary(max_size=200))
def test_after_any_garbage_a_wake_and_a_bring_up_give_a_working_stack(garbage):
    line = Line(3)
    line.bring_up()
    line.send(garbage)
    line.bring_up()
    line.answers.clear()
    line.send(READ_CELLS)
    assert [len(answer) for _, answer in line.answers] == [114]


def test_the_open_wire_check_finds_exactly_the_open_wire_once_the_sinks_had_their_time():
    line = Line(3)
    line.bring_up()
    line.stack.open_wires = lambda: {(1, 4)}

    def check(wait_us):
        line.ask((0xD0, 0x03, 0x31, 0x04))
        line.ask((0xD0, 0x03, 0x3B, 0x01))
        line.ask((0xD0, 0x03, 0x3C, 0x10))
        line.now_us += wait_us
        line.ask((0xD0, 0x03, 0x3C, 0x15))
        assert all(frame[4] & 0x08 for frame in line.ask((0xC0, 0x05, 0x28, 0)))
        found = [frame[4] << 8 | frame[5] for frame in line.ask((0xC0, 0x05, 0x48, 1))]
        line.ask((0xD0, 0x03, 0x3C, 0x00))
        return found

    assert check(100) == [0, 0, 0]
    assert check(3000) == [0, 1 << 4, 0]
    assert [frame[4] & 0x40 for frame in line.ask((0xC0, 0x05, 0x2D, 0))] == [0, 0x40, 0]


# wire faults


@given(seed=st.integers(0, 1000), data=st.binary(min_size=1, max_size=64))
def test_wire_faults_repeat_with_their_seed(seed, data):
    def run():
        faults = WireFaults(seed, flip=0.2, lose=0.2, duplicate=0.2, truncate=0.3)
        return faults.answered(data)

    assert run() == run()


def test_every_wire_fault_shows_on_the_wire():
    data = bytes(range(1, 101))
    assert WireFaults(flip=1.0).answered(data) != data
    assert WireFaults(lose=1.0).answered(data) == b""
    assert WireFaults(duplicate=1.0).answered(data) == bytes(b for byte in data for b in (byte, byte))
    assert data.startswith(WireFaults(truncate=1.0).answered(data))
    assert len(WireFaults(truncate=1.0).answered(data)) < len(data)
    assert WireFaults(missing=True).answered(data) == b""
    assert 0 < WireFaults(late_us=100.0).delay_us() <= 100
    assert WireFaults(stuck=0).clocked(0x5A) == 0x00
    assert WireFaults(stuck=1).clocked(0x5A) == 0xFF
    assert [WireFaults(reset_after=0).resets_now(), WireFaults(reset_after=5).resets_now()] == [True, False]


# LTC6813


class Chain:
    """The controller's end of an isoSPI chain at 1 Mbit/s."""

    def __init__(self, devices, cells=18):
        self.stack = Ltc6813Stack(devices, self.inputs, cells)
        self.now_us = 0.0

    @staticmethod
    def inputs(position):
        return [3.0 + 0.1 * position + 0.01 * cell for cell in range(18)], [0.1 * n for n in range(1, 10)]

    def __call__(self, command, data=b"", size=0):
        head = command.to_bytes(2, "big")
        head += pec15(head).to_bytes(2, "big")
        self.stack.select(self.now_us)
        answer = []
        for byte in head + data + b"\xff" * size:
            self.now_us += 8
            answer.append(self.stack.exchange(byte, self.now_us))
        self.stack.deselect(self.now_us)
        return bytes(answer[4 + len(data) :])

    def wake(self):
        self.stack.select(self.now_us)
        self.now_us += 400
        self.stack.deselect(self.now_us)

    def words(self, command):
        answer = self(command, size=8 * len(self.stack.devices))
        groups = [answer[at : at + 8] for at in range(0, len(answer), 8)]
        assert all(pec15(group[:6]) == int.from_bytes(group[6:], "big") for group in groups)
        return [[int.from_bytes(group[n : n + 2], "little") for n in (0, 2, 4)] for group in groups]


def test_a_woken_chain_converts_and_returns_every_cell_first_device_first():
    chain = Chain(3)
    assert set(chain(0x004, size=24)) == {0xFF}, "asleep"
    chain.wake()
    assert chain.words(0x004) == [[0xFFFF] * 3] * 3
    chain(0x360)
    assert chain(0x714, size=1) == b"\x00", "busy"
    chain.now_us += 2300
    assert chain(0x714, size=1) == b"\xff"
    for group, command in enumerate((0x004, 0x006, 0x008, 0x00A, 0x009, 0x00B)):
        for position, words in enumerate(chain.words(command)):
            expected = [3.0 + 0.1 * position + 0.01 * (3 * group + n) for n in range(3)]
            assert [word * 1e-4 for word in words] == pytest.approx(expected, abs=6e-5)
    chain(0x711)
    assert chain.words(0x004) == [[0xFFFF] * 3] * 3


def test_gpio_voltages_and_their_reference_are_in_the_auxiliary_groups():
    chain = Chain(1)
    chain.wake()
    chain(0x560)
    chain.now_us += 3900
    values = [word for command in (0x00C, 0x00E, 0x00D) for word in chain.words(command)[0]]
    reference = values.pop(5)
    assert reference == 30000
    assert [value / reference for value in values] == pytest.approx([0.1 * n for n in range(1, 9)], abs=1e-4)


@given(data=st.lists(st.binary(min_size=6, max_size=6), min_size=3, max_size=3), broken=st.integers(0, 2))
def test_configuration_is_written_last_device_first_and_a_wrong_pec_leaves_the_old_one(data, broken):
    chain = Chain(3)
    chain.wake()
    frames = [group + pec15(group).to_bytes(2, "big") for group in reversed(data)]
    chain(0x001, b"".join(frames))
    assert [bytes(device.config[0]) for device in chain.stack.devices] == data
    frames[2 - broken] = bytes(6) + b"\x00\x00"
    chain(0x001, b"".join(frames))
    assert [bytes(device.config[0]) for device in chain.stack.devices] == data
    assert chain.stack.pec_errors == 1


def test_an_open_wire_shows_as_the_difference_between_pull_up_and_pull_down():
    chain = Chain(2)
    chain.stack.open_wires = {(1, 7)}
    chain.wake()
    readings = []
    for command in (0x368, 0x328):
        chain(command)
        chain.now_us += 2300
        readings.append([word for group in (0x004, 0x006, 0x008) for word in chain.words(group)[1]])
    change = [up - down for up, down in zip(*readings, strict=True)]
    assert [cell for cell, value in enumerate(change, 1) if value < -4000] == [8]


def test_a_chain_that_slept_has_lost_its_configuration():
    chain = Chain(1)
    chain.wake()
    chain(0x001, b"\x12" * 6 + pec15(b"\x12" * 6).to_bytes(2, "big"))
    chain.now_us += 2_100_000
    chain.wake()
    assert bytes(chain.stack.devices[0].config[0]) == bytes(6)


# CAN


@given(identifier=st.integers(0, 0x7FF), data=st.binary(max_size=8))
def test_frame_lengths_lie_between_no_stuff_bit_and_one_in_four(identifier, data):
    plain = 47 + 8 * len(data)
    assert plain <= frame_bits(Frame(identifier, data)) <= plain + (34 + 8 * len(data) - 1) // 4


def test_five_equal_bits_cost_one_stuff_bit():
    # identifier 0x555 ends in 1, then RTR, IDE, r0 and DLC are seven zeros; the CRC of this frame needs none
    assert frame_bits(Frame(0x555)) == 48


class Talker:
    """A plain CAN node that keeps what it hears."""

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


def test_a_frame_is_on_the_bus_after_its_true_length_and_its_request_clears():
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


def test_without_a_partner_the_controller_becomes_passive_but_never_bus_off():
    bus = CanBus()
    spi = Spi(Mcp2515(bus))
    spi.bring_up()
    spi.transmit(0x181, b"\x01")
    spi.now_us += 100_000
    assert spi(0x03, mcp2515.TEC, 0)[2] == 128
    assert spi(0x03, mcp2515.EFLG, 0)[2] & 0x30 == 0x10


def test_a_shorted_bus_leads_to_bus_off_and_back_when_it_is_repaired():
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


def test_registers_of_the_configuration_are_locked_outside_its_mode():
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
def test_current_and_voltage_come_out_as_the_data_sheets_formulas_say(amps, volts, lsb_mA):
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
def test_the_ntc_model_is_its_own_inverse_and_falls_with_temperature(degC, curved):
    ntc = Ntc(1.129148e-3, 2.34125e-4, 8.76741e-8, 10_000.0) if curved else Ntc()
    assert abs(ntc.degC(ntc.ratio(degC)) - degC) < 1e-6
    assert ntc.ratio(degC) > ntc.ratio(degC + 0.1)


def test_the_common_steinhart_hart_sensor_has_ten_kiloohm_at_25_degrees():
    assert abs(Ntc(1.129148e-3, 2.34125e-4, 8.76741e-8).ohm(25.0) - 10_000) < 15
    assert Ntc().ratio(-math.inf) == 1.0
    assert Ntc().ratio(math.inf) == 0.0
