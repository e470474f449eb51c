"""The AFE driver against the stack model: vectors, whole scans, and everything a wire can do to them."""

import csv
import math
from pathlib import Path

import pytest
from halite.chips.bq79616 import Bq79616Stack
from halite.chips.faults import WireFaults
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions.codes import AFE_RUN, NO_OPEN, NO_SHORT
from rack.drivers.bq79616 import Bq79616
from rack.drivers.bq79616_registers import ACTIVE_CELL, ADC_CTRL1, CONTROL2, FAULT_SYS
from rack.drivers.crc16 import TABLE, crc16
from support.afe_rig import POLL_US, AfeRig
from support.wires import AfeUart

RECOVERY_ms = 1_000     # as rack.drivers.bq79616 and docs/wiring.md state it
FROZEN_ms = 250             # until cells of a device that no longer converts are fresh again
READ_BACK_ms = 10_000       # the registers that the cells depend on are read back once in this time
LINK_RECOVERY_ms = 3_500    # the same for a link that is whole again, or that noise has made look broken


class Rig(AfeRig):
    """The driver on its UART."""

    def __init__(self, devices=4, cells=16, temps=8, seed=1, start_us=0):
        super().__init__(devices, cells, temps, start_us)
        self.stack = Bq79616Stack(devices, self.look, faults=WireFaults(seed=seed))
        self.uart = AfeUart(self.stack, self.clock)
        self.driver = Bq79616(self.uart, lambda: self.clock.ticks, self.layout, self.outputs)


def vectors():
    path = Path(__file__).parent / "vectors" / "vectors_bq79616.csv"
    rows = csv.reader(line for line in path.open() if not line.startswith("#"))
    next(rows)
    return [bytes.fromhex(row[0]) for row in rows]


def test_every_published_frame_passes_the_crc():
    frames = vectors()
    assert len(frames) >= 24
    for frame in frames:
        assert crc16(frame, 0, len(frame), TABLE) == 0
        assert crc16(frame, 0, len(frame) - 2, TABLE) == frame[-2] | frame[-1] << 8


def test_the_driver_sends_the_published_frames():
    rig = Rig(devices=3)
    sent = bytearray()
    write = rig.uart.write
    rig.uart.write = lambda frame: (sent.extend(frame), write(frame))
    rig.run(400)
    published = [f for f in vectors() if f.hex() in (
        "d00309010f74", "d0030600cb44", "d00306010a84", "d00306024a85", "d00308024ee5", "9000030800" "13dd",
        "9002030803" "5264", "d000030ab813", "d0030d064c76", "c005681f422d")]
    assert len(published) == 10
    assert all(frame in sent for frame in published)


@pytest.mark.parametrize("devices", [1, 2, 26])
def test_a_stack_is_read_completely_every_period(devices):
    rig = Rig(devices=devices)
    rig.run(800)
    gaps = [b - a for a, b in zip(rig.scans[1:], rig.scans[2:], strict=False)]
    assert gaps and max(gaps) <= 100_000 + 2 * POLL_US
    assert rig.cells_right() and rig.temps_right()
    assert rig.driver.devices_seen == devices and rig.driver.wakes == 1
    assert rig.driver.crc_errors == rig.driver.timeouts == rig.driver.invalid == 0


@given(st.integers(6, 16), st.integers(1, 8), st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_any_number_of_cells_and_sensors_lands_in_its_place(cells, temps, devices):
    rig = Rig(devices, cells, temps)
    rig.run(450)
    assert rig.scans and rig.cells_right() and rig.temps_right()


def test_the_clock_may_wrap_during_a_scan():
    rig = Rig(start_us=2**30 - 300_000)
    rig.run(900)
    assert len(rig.scans) >= 6 and rig.driver.wakes == 1


def test_a_dead_device_never_counts_as_read_and_is_found_again():
    rig = Rig(devices=5)
    rig.run(400)
    rig.stack.lost_devices = lambda: (2,)
    rig.run(150)
    rig.scans.clear()
    rig.run(1000)
    assert not rig.scans and rig.driver.devices_seen == 4
    rig.stack.lost_devices = lambda: ()
    rig.run(3000)
    assert rig.scans and rig.driver.devices_seen == 5 and not rig.driver.link_broken


def test_open_and_short_sensors_are_told_apart():
    rig = Rig(devices=1)
    rig.celsius[0][2] = -math.inf
    rig.celsius[0][5] = math.inf
    rig.run(450)
    assert rig.temps_ddegC[2] == NO_OPEN and rig.temps_ddegC[5] == NO_SHORT
    assert rig.temps_ddegC[3] == pytest.approx(10 * rig.celsius[0][3], abs=2)


def test_a_base_that_resets_is_addressed_anew():
    rig = Rig(devices=3)
    rig.run(400)
    rig.stack.faults.reset_after = 3
    rig.run(100)
    rig.scans.clear()
    rig.run(700)
    assert rig.scans and rig.cells_right() and rig.driver.devices_seen == 3


def test_a_silent_stack_is_counted_and_woken_again():
    rig = Rig(devices=2)
    rig.stack.faults.missing = True
    rig.run(1000)
    assert not rig.scans and rig.driver.wakes >= 3 and rig.driver.timeouts >= 6
    rig.stack.faults.missing = False
    rig.run(800)
    assert rig.scans and rig.cells_right()


@given(st.lists(st.tuples(st.integers(0, 7), st.binary(min_size=1, max_size=40)), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_no_bytes_on_the_line_upset_the_driver(bursts):
    """Garbage before, between and inside answers: no exception, no wrong cell, recovery within a second."""
    rig = Rig(devices=2)
    rig.run(350)
    for gap, garbage in bursts:
        rig.uart.noise(garbage)
        rig.run(POLL_US * (1 + gap) / 1000)
        assert all(mV == -1 or 1999 <= mV <= 2130 for mV in rig.cells_mV)
    rig.scans.clear()
    rig.run(1000)
    assert rig.driver.state == AFE_RUN and rig.scans and rig.cells_right()


@given(st.integers(0, 2**16), st.floats(0, 0.02), st.floats(0, 0.01), st.floats(0, 0.01), st.floats(0, 0.2))
@settings(max_examples=15, deadline=None)
def test_corrupted_frames_never_become_cells(seed, flip, lose, duplicate, truncate):
    rig = Rig(devices=3, seed=seed)
    faults = rig.stack.faults
    faults.flip, faults.lose, faults.duplicate, faults.truncate = flip, lose, duplicate, truncate
    for _ in range(10):
        rig.run(60)
        assert all(mV == -1 or 1999 <= mV <= 2195 for mV in rig.cells_mV)
    faults.flip = faults.lose = faults.duplicate = faults.truncate = 0.0
    rig.scans.clear()
    rig.run(RECOVERY_ms)
    assert rig.scans and rig.cells_right() and rig.driver.devices_seen == 3


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_single_flipped_bit_discards_the_scan_and_counts_it(data):
    rig = Rig(devices=2)
    rig.run(350)
    hit = []

    def flip(answer):
        if hit or len(answer) < 70:
            return answer
        bit = data.draw(st.integers(0, 8 * len(answer) - 1))
        hit.append(bit)
        return answer[:bit // 8] + bytes((answer[bit // 8] ^ 1 << bit % 8,)) + answer[bit // 8 + 1:]

    rig.uart.inject = flip
    before = rig.driver.crc_errors
    rig.run(300)
    assert hit and rig.driver.crc_errors == before + 1 and rig.cells_right() and rig.driver.wakes == 1


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 15)), max_size=4), st.booleans())
@settings(max_examples=8, deadline=None)
def test_the_wire_check_finds_open_wires_and_leaves_cells_alone(wires, broken):
    """The open-wire check finds exactly the open wires; the cells are read as before."""
    rig = Rig(devices=3)
    rig.stack.open_wires = lambda: wires
    rig.stack.broken_links = {2} if broken else set()
    rig.run(900)
    bits = rig.driver.open_wires
    found = {(at // 16, at % 16) for at in range(48) if bits[at // 16 * 2 + 1 - at % 16 // 8] >> at % 8 & 1}
    assert found == wires and rig.cells_right() and rig.driver.crc_errors == 0


@given(st.integers(1, 5), st.integers(0, 4), st.sampled_from([0x01, 0x02, 0x04, 0x80]))
@settings(max_examples=8, deadline=None)
def test_a_device_with_a_fault_of_its_own_is_named(devices, device, bit):
    """`fault` names the device until the fault has gone."""
    rig = Rig(devices=devices)
    device = min(device, devices - 1)
    rig.run(400)
    assert rig.driver.fault == 0
    rig.stack.devices[device].registers[FAULT_SYS] = bit
    rig.run(250)
    assert rig.driver.fault == device + 1 and rig.cells_right()
    rig.driver.cycles_to_check = 0         # the next wire check clears faults that have gone
    rig.run(500)
    assert rig.driver.fault == 0 and rig.driver.wakes == 1


def test_noise_on_the_wire_is_no_fault_of_a_device():
    rig = Rig(devices=2)
    rig.run(400)
    rig.stack.faults.flip = 0.01
    rig.run(300)
    rig.stack.faults.flip = 0.0
    rig.run(RECOVERY_ms)
    assert rig.scans and rig.driver.fault == 0


# a register of one of four devices with 15 cells, its value after a disturbance, and the right one
_ASTRAY = ((ACTIVE_CELL, 0x0A, 0x09), (CONTROL2, 0x00, 0x01), (ADC_CTRL1, 0x00, 0x02))


@pytest.mark.parametrize("broken", [set(), {2}])
@pytest.mark.parametrize("device", [0, 1, 3])
@pytest.mark.parametrize(("register", "value", "right"), _ASTRAY)
def test_changed_registers_are_read_back_and_written_again(register, value, right, device, broken):
    """Registers that the cells depend on are read back on both sides of the ring, and set right without a wake."""
    rig = Rig(cells=15)
    rig.run(400)
    rig.stack.broken_links = broken
    rig.run(300)
    rig.driver.cycles_to_check = 1
    rig.write_astray(device, register, value)
    rig.run(350)
    assert rig.stack.devices[device].registers[register] == right
    rig.change_cells()
    rig.run(200)
    assert rig.cells_right() and rig.temps_right() and rig.driver.invalid == 1 and rig.driver.wakes == 1


def test_the_read_back_repeats_in_time_without_false_findings():
    """Registers that are right raise no finding; a changed one is found within READ_BACK_ms."""
    rig = Rig(devices=1)
    rig.run(READ_BACK_ms + 1_000)
    assert rig.driver.invalid == 0 and len(rig.scans) >= 107
    rig.write_astray(0, ADC_CTRL1, 0x00)
    rig.run(READ_BACK_ms + 200)
    assert rig.stack.devices[0].registers[ADC_CTRL1] == 0x02 and rig.driver.invalid == 1


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 99), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_device_that_stopped_converting_runs_again_in_time(devices, device, phase_ms, broken):
    """A write of MAIN_GO without a mode stops it: it goes on sending its last cells with a good CRC."""
    rig = Rig(devices=devices)
    device = min(device, devices - 1)
    rig.run(400)
    rig.stack.broken_links = {devices - 1} if broken and devices > 1 else set()
    rig.run(300 + phase_ms)
    rig.write_astray(device, ADC_CTRL1, 0x04)
    rig.change_cells()
    rig.run(FROZEN_ms)
    assert rig.cells_right() and rig.driver.invalid == 1 and rig.driver.wakes == 1


def test_a_device_that_cannot_convert_never_counts_as_read():
    rig = Rig()
    rig.run(600)
    rig.stack.dead_adcs = lambda: (2,)
    rig.write_astray(2, ADC_CTRL1, 0x04)
    rig.run(200)
    rig.scans.clear()
    rig.run(1_000)
    assert not rig.scans
    rig.stack.dead_adcs = lambda: ()
    rig.run(RECOVERY_ms)
    assert rig.scans and rig.cells_right()


def test_a_device_in_the_middle_that_resets_is_addressed_anew():
    rig = Rig()
    rig.run(600)
    rig.stack.devices[2].reset(rig.clock.now_us)
    rig.scans.clear()
    rig.run(200)
    rig.change_cells()
    rig.run(RECOVERY_ms)
    assert rig.scans and rig.cells_right() and rig.driver.devices_seen == 4


# faults of the wire: (fault, its value, duration in ms)
_RATES = st.floats(0, 0.05)
_FAULTS = st.lists(st.tuples(st.one_of(
    st.tuples(st.sampled_from(["flip", "lose", "duplicate"]), _RATES),
    st.tuples(st.just("truncate"), st.floats(0, 0.5)), st.tuples(st.just("late_us"), st.floats(0, 8_000)),
    st.tuples(st.just("stuck"), st.sampled_from([0, 1])), st.tuples(st.just("missing"), st.just(True)),
    st.tuples(st.just("reset_after"), st.integers(0, 400)),
), st.integers(5, 300)), min_size=1, max_size=5)  # fmt: skip


@given(st.integers(0, 2**16), st.integers(1, 4), _FAULTS)
@settings(max_examples=25, deadline=None)
def test_no_fault_makes_a_wrong_cell_or_lasts_after_its_recovery(seed, devices, faults):
    """Any sequence of wire faults: no cell is wrong, and all are right again RECOVERY_ms after the last fault."""
    rig = Rig(devices=devices, seed=seed)
    rig.run(300)
    for (name, value), ms in faults:
        setattr(rig.stack.faults, name, value)
        begun_us = rig.clock.now_us
        rig.run(ms)
        assert all(mV == -1 or 1999 <= mV <= 2000 + 3 * 16 * devices for mV in rig.cells_mV)
        assert name not in ("missing", "stuck") or rig.nothing_read_since(begun_us)
        setattr(rig.stack.faults, name, getattr(WireFaults(), name))
    rig.scans.clear()
    rig.run(RECOVERY_ms)
    assert rig.driver.state == AFE_RUN and rig.scans and rig.cells_right() and rig.driver.devices_seen == devices
    rig.run(LINK_RECOVERY_ms - RECOVERY_ms)
    assert not rig.driver.link_broken
