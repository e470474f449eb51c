"""The chip models against data sheet vectors and against themselves: a wrong model would bless a wrong driver."""


import pytest
from halite.chips import bq79616 as bq
from halite.chips.bq79616 import Bq79616Stack
from halite.chips.crc import crc16, pec15
from halite.chips.faults import WireFaults
from halite.chips.ltc6813 import Ltc6813Stack
from halite.chips.pcs_codec import crc8
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


def test_a_stack_answers_with_its_cells_top_device_first():
    """After the bring-up with the frames that TI publishes."""
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


def test_a_stack_is_silent_before_its_wake_and_without_a_top():
    """It answers only after a wake, and when one device is marked as its top."""
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


def test_gpio_results_are_ratiometric_and_need_the_reference():
    """Without TSREF switched on they are 0."""
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


def test_a_broken_link_leaves_both_halves_readable():
    """Each half is read from its own side of the ring."""
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
def test_a_register_is_written_in_the_addressed_device_only(register, data):
    """The value is read back from this device, and not from the others."""
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
def test_after_any_garbage_a_wake_gives_a_working_stack(garbage):
    """A wake and the bring-up are enough after any bytes."""
    line = Line(3)
    line.bring_up()
    line.send(garbage)
    line.bring_up()
    line.answers.clear()
    line.send(READ_CELLS)
    assert [len(answer) for _, answer in line.answers] == [114]


def test_the_open_wire_check_finds_exactly_the_open_wire():
    """Once the sinks have had the time to empty the input."""
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
    for faults, seen in ((WireFaults(), [1, 2, 3]), (WireFaults(late_us=1.0), [0xFF, 1, 2]),
                         (WireFaults(truncate=1.0), [0xFF, 0xFF, 0xFF]), (WireFaults(lose=1.0), [0xFF, 0xFF, 0xFF]),
                         (WireFaults(duplicate=1.0), [0xFF, 1, 2])):  # fmt: skip
        faults.begins()
        assert [faults.clocked(byte) for byte in (1, 2, 3)] == seen
        assert faults.clocked(9, answer=True) in (9, 0xFF)
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


def test_a_woken_chain_returns_every_cell_first_device_first():
    """After a wake and a conversion."""
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


def test_the_auxiliary_groups_hold_gpios_and_their_reference():
    """At the places that the data sheet gives."""
    chain = Chain(1)
    chain.wake()
    chain(0x560)
    chain.now_us += 3900
    values = [word for command in (0x00C, 0x00E, 0x00D) for word in chain.words(command)[0]]
    reference = values.pop(5)
    assert reference == 30000
    assert [value / reference for value in values] == pytest.approx([0.1 * n for n in range(1, 9)], abs=1e-4)


@given(data=st.lists(st.binary(min_size=6, max_size=6), min_size=3, max_size=3), broken=st.integers(0, 2))
def test_configuration_is_written_last_device_first(data, broken):
    """A device whose PEC is wrong keeps its old configuration."""
    chain = Chain(3)
    chain.wake()
    frames = [group + pec15(group).to_bytes(2, "big") for group in reversed(data)]
    chain(0x001, b"".join(frames))
    assert [bytes(device.config[0]) for device in chain.stack.devices] == data
    frames[2 - broken] = bytes(6) + b"\x00\x00"
    chain(0x001, b"".join(frames))
    assert [bytes(device.config[0]) for device in chain.stack.devices] == data
    assert chain.stack.pec_errors == 1


def test_an_open_wire_shows_between_pull_up_and_pull_down():
    """The two readings of the cell differ."""
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
