"""The CAN driver against the controller model and a bus in simulated time."""

import pytest
from halite.chips.can_bus import CanBus, Frame
from halite.chips.faults import WireFaults
from halite.chips.mcp2515 import Mcp2515 as Chip
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions.pcs_codes import LIMITS_ID, REQUEST_ID, STATUS_ID
from rack.drivers.mcp2515 import LOAD_TX0, LOAD_TX1, STATE_RUN, Mcp2515
from support.wires import CanSpi, Clock


class Node:
    """Another node on the bus."""

    def __init__(self, bus):
        self.bus = bus
        self.alive = True
        self.frames = []
        bus.nodes.append(self)

    def acknowledges(self):
        return self.alive

    def received(self, frame, at_us):
        self.frames.append(frame)

    def sent(self, frame, at_us):
        pass

    def failed(self, frame, at_us, acknowledged):
        return False


def load(command, identifier, data):
    return bytearray((command, identifier >> 3, identifier << 5 & 0xE0, 0, 0, 8)) + bytearray(data)


class Rig:
    def __init__(self, crystal_MHz=16, start_us=0):
        self.clock = Clock(start_us)
        self.bus = CanBus()
        self.chip = Chip(self.bus, crystal_MHz * 1_000_000)
        self.node = Node(self.bus)
        self.spi = CanSpi(self.chip, self.clock, self.bus)
        self.driver = Mcp2515(self.spi, crystal_MHz, (STATUS_ID,))
        self.received = []
        self.most_transfers = 0

    def run(self, ms, step_us=1000):
        end_us = self.clock.now_us + 1000 * ms
        frame = bytearray(13)
        while self.clock.now_us < end_us:
            self.bus.run_to(self.clock.now_us)
            before = self.spi.transfers
            self.driver.poll(self.clock.ticks)
            self.most_transfers = max(self.most_transfers, self.spi.transfers - before)
            while self.driver.receive(frame):
                self.received.append((frame[0] << 3 | frame[1] >> 5, bytes(frame[5:13])))
            self.clock.now_us += step_us


def test_the_roll_over_bit_reads_back_with_its_copy():
    """DS20001801 register 4-1: BUKT1, bit 1, is a read-only copy of BUKT; the filter hit below it is read-only, too."""
    chip = Chip(CanBus(), 16_000_000)
    for value, told in ((0x04, 0x06), (0x02, 0x00), (0x65, 0x66)):
        chip.write_register(0x60, value)
        assert chip.read_register(0x60) == told


@pytest.mark.parametrize("crystal_MHz", [8, 16])
def test_bring_up_gives_500_kbit_s_in_normal_mode(crystal_MHz):
    rig = Rig(crystal_MHz)
    rig.run(30)
    assert rig.driver.running and rig.chip.mode == 0 and rig.chip.bit_rate() == 500_000


def test_an_unknown_crystal_is_refused():
    with pytest.raises(KeyError):
        Mcp2515(None, 12, (STATUS_ID,))


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
@settings(max_examples=20)
def test_frames_leave_with_their_identifier_and_data(request, limits):
    rig = Rig()
    rig.run(30)
    assert rig.driver.send(load(LOAD_TX1, LIMITS_ID, limits)) == 1
    assert rig.driver.send_fast(load(LOAD_TX0, REQUEST_ID, request)) == 1
    rig.run(3)
    assert sorted(rig.node.frames, key=lambda f: f.id) == [Frame(REQUEST_ID, request), Frame(LIMITS_ID, limits)]


@given(st.booleans(), st.booleans())
@settings(max_examples=4, deadline=None)
def test_a_request_leaves_before_limits_that_wait(limits_first, alone):
    """Whether the bus is busy with the frame of another node or no node acknowledges yet."""
    rig = Rig()
    rig.run(30)
    rig.node.alive = not alone
    rig.bus.send(rig.node, Frame(0x050, bytes(8)), rig.clock.now_us)
    rig.bus.run_to(rig.clock.now_us)
    limits, request = load(LOAD_TX1, 0x100, bytes(8)), load(LOAD_TX0, REQUEST_ID, bytes(8))
    if limits_first:
        assert rig.driver.send(limits) == 1
    assert rig.driver.send_fast(request) == 1
    if not limits_first:
        assert rig.driver.send(limits) == 1
    rig.bus.run_to(rig.clock.now_us + 1_000)
    rig.node.alive = True
    rig.clock.now_us += 1_000
    rig.run(3)
    assert [frame.id for frame in rig.node.frames] == [REQUEST_ID, 0x100]


@given(st.lists(st.tuples(st.integers(0, 0x7FF), st.binary(min_size=8, max_size=8)), min_size=1, max_size=8))
@settings(max_examples=20)
def test_only_the_accepted_identifier_is_received_in_order(frames):
    rig = Rig()
    rig.run(30)
    for identifier, data in [*frames, (STATUS_ID, b"12345678")]:
        rig.bus.send(rig.node, Frame(identifier, data), rig.clock.now_us)
        rig.run(2)
    wanted = [(i, d) for i, d in [*frames, (STATUS_ID, b"12345678")] if i == STATUS_ID]
    assert rig.received == wanted


def test_a_pending_request_is_kept_or_aborted_without_answer():
    """A pending request is not overwritten; without an acknowledge the driver aborts it."""
    rig = Rig()
    rig.run(30)
    rig.node.alive = False
    assert rig.driver.send_fast(load(LOAD_TX0, REQUEST_ID, bytes(8))) == 1
    assert rig.driver.send_fast(load(LOAD_TX0, REQUEST_ID, b"AAAAAAAA")) == 0
    rig.run(100)
    assert rig.driver.aborted >= 1
    rig.node.alive = True
    rig.run(10)
    rig.node.frames.clear()
    assert rig.driver.send_fast(load(LOAD_TX0, REQUEST_ID, b"BBBBBBBB")) == 1
    rig.run(5)
    assert Frame(REQUEST_ID, b"BBBBBBBB") in rig.node.frames


def test_bus_off_is_left_with_growing_pauses_and_recovers():
    rig = Rig()
    rig.run(30)
    rig.bus.shorted = True
    for _ in range(1500):
        rig.driver.send_fast(load(LOAD_TX0, REQUEST_ID, bytes(8)))
        rig.run(1)
    short_tries = rig.driver.bus_offs
    assert 2 <= short_tries <= 6           # 50, 100, 200, 400, 800 ms apart
    rig.bus.shorted = False
    rig.run(2000)
    assert rig.driver.running
    rig.node.frames.clear()
    assert rig.driver.send_fast(load(LOAD_TX0, REQUEST_ID, b"CCCCCCCC")) == 1
    rig.run(5)
    assert rig.node.frames == [Frame(REQUEST_ID, b"CCCCCCCC")]


def test_a_chip_that_resets_by_itself_is_set_up_again():
    rig = Rig()
    rig.run(30)
    rig.chip.reset(rig.clock.now_us)
    rig.run(100)
    assert rig.driver.running and rig.chip.bit_rate() == 500_000 and rig.driver.starts == 2


def test_lost_frames_are_counted():
    rig = Rig()
    rig.run(30)
    for n in range(4):
        rig.bus.send(rig.node, Frame(STATUS_ID, bytes([n] * 8)), rig.clock.now_us)
    rig.clock.now_us += 5_000
    rig.run(40)
    assert rig.driver.rx_overflows >= 1 and len(rig.received) == 2


@given(st.integers(0, 2**16), st.floats(0, 0.05), st.floats(0, 0.05), st.sampled_from([None, 0, 1]),
       st.one_of(st.none(), st.integers(0, 200)))
@settings(max_examples=40, deadline=None)
def test_no_fault_on_spi_raises_or_waits(seed, flip, lose, stuck, reset_after):
    """Any fault on SPI: no exception and no wait; afterwards the driver runs again."""
    rig = Rig(start_us=2**30 - 50_000)
    rig.chip.faults = WireFaults(seed, flip=flip, lose=lose, stuck=stuck, reset_after=reset_after)
    for _ in range(8):
        rig.driver.send_fast(load(LOAD_TX0, REQUEST_ID, bytes(8)))
        rig.driver.send(load(LOAD_TX1, LIMITS_ID, bytes(8)))
        rig.run(40, step_us=5000)
    assert rig.most_transfers <= 24
    rig.chip.faults = WireFaults()
    rig.run(3500, step_us=10_000)
    assert rig.driver.state == STATE_RUN and rig.chip.mode == 0 and rig.chip.bit_rate() == 500_000
