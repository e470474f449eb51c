"""The PCS link through any sequence of faults on SPI and CAN: bounded, truthful, and back within a stated time."""

from array import array
from functools import partial

import pytest
from halite.chips.can_bus import CanBus, Frame
from halite.chips.faults import WireFaults
from halite.chips.mcp2515 import CANCTRL, CONFIG, LISTEN, LOOPBACK, NORMAL, SLEEP
from halite.chips.mcp2515 import Mcp2515 as Chip
from halite.chips.pcs_codec import FirmwareTableCodec
from halite.chips.pcs_messages import Status
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.comms.pcs_link import PcsLink
from rack.control.sense import message_ages
from rack.definitions import pcs_codes
from rack.drivers.mcp2515 import STATE_RUN, Mcp2515
from rack.generated import ids as I
from support.wires import CanSpi, Clock

RECOVERY_ms = 2_000         # as rack.drivers.mcp2515 and docs/wiring.md state it
MOST_TRANSFERS = 36         # of one poll of the link: a bring-up with its read-back, or health and four frames
STATUS_us, POLL_us, REQUEST_us = 20_000, 10_000, 20_000
POWERS = (-123_456, 7_890)
CODEC = FirmwareTableCodec()


class Pcs:
    """Answers like a PCS: a valid status each 20 ms; keeps the requests that it could decode."""

    def __init__(self, bus, start_us):
        self.bus, self.alive, self.silent = bus, True, False
        self.requests = []
        self._count = 0
        bus.nodes.append(self)
        bus.every(STATUS_us, self.report, start_us + STATUS_us)

    def report(self, at_us):
        if self.silent:
            return
        self._count = self._count + 1 & 15
        status = Status(pcs_codes.PCS_RUN, 11_520, POWERS[self._count & 1], 0)
        self.bus.send(self, CODEC.status(status, self._count), at_us)

    def acknowledges(self):
        return self.alive

    def received(self, frame, at_us):
        if frame.id == pcs_codes.REQUEST_ID:
            self.requests.append(frame)

    def sent(self, frame, at_us):
        pass

    def failed(self, frame, at_us, acknowledged):
        return False


class NoisySpi(CanSpi):
    """`inject`: the controller's answer as it arrives; the chip model does the rest."""

    inject = None

    def transfer(self, tx, rx, count):
        super().transfer(tx, rx, count)
        if self.inject:
            rx[:count] = (self.inject(bytes(rx[:count])) + bytes(count))[:count]


class Rig:
    def __init__(self, seed=1):
        self.clock = Clock(2**30 - 100_000)         # the clock wraps early in each example
        self.bus = CanBus()
        self.chip = Chip(self.bus, faults=WireFaults(seed))
        self.pcs = Pcs(self.bus, self.clock.now_us)
        self.spi = NoisySpi(self.chip, self.clock, self.bus)
        self.driver = Mcp2515(self.spi, 16, PcsLink.ACCEPT)
        self.s = array("i", [0] * I.COUNT)
        message_ages.start(self.s)
        self.link = PcsLink(self.driver, self.s)
        self._request_us = 0
        self.flood = False

    def run(self, ms):
        end_us = self.clock.now_us + 1000 * ms
        while self.clock.now_us < end_us:
            if self.flood:
                for ms in range(10):
                    garbage = Frame(pcs_codes.STATUS_ID, bytes((ms,)) * 8)
                    self.bus.at(self.clock.now_us + 1000 * ms, partial(self.bus.send, self.pcs, garbage))
            self.bus.run_to(self.clock.now_us)
            before = self.spi.transfers
            self.link.poll(self.clock.ticks)
            assert self.spi.transfers - before <= MOST_TRANSFERS
            if self.clock.now_us >= self._request_us:
                self._request_us = self.clock.now_us + REQUEST_us
                self.link.send_request(1_000)
                self.link.send_limits()
            self.clock.now_us += POLL_us
            message_ages.advance(self.s, POLL_us // 1000)

    def well(self):
        """Frames pass in both directions, filtered and in their order of importance."""
        registers = self.chip.registers
        set_up = self.chip.mode == NORMAL and self.chip.bit_rate() == 500_000 and registers[0x30] & 3 == 3
        return self.driver.state == STATE_RUN and set_up and registers[0x60] & 0x64 == 4 and self.s[I.PCS_AGE_ms] <= 30


def quiet(rig):
    rig.chip.faults = WireFaults()
    rig.spi.inject = None
    rig.bus.shorted, rig.pcs.alive, rig.pcs.silent = False, True, False


def _wire(name):
    return lambda rig, value: setattr(rig.chip.faults, name, value)


def _reset(rig, value):
    rig.chip.faults.reset_after = value


def _bytes(rig, value):
    rig.spi.inject = lambda answer: value * 8


def _late(rig, value):
    rig.spi.inject = lambda answer: b"\xff" * value + answer        # each byte comes `value` bytes late


def _twice(rig, value):
    rig.spi.inject = lambda answer: answer[:value] + answer[value - 1:]


def _short(rig, value):
    rig.bus.shorted = True


def _alone(rig, value):
    rig.pcs.alive = False


def _mute(rig, value):
    rig.pcs.silent = True


FAULTS = {
    "flip": (_wire("flip"), st.floats(0, 0.3)), "lose": (_wire("lose"), st.floats(0, 0.3)),
    "duplicate": (_wire("duplicate"), st.floats(0, 0.3)), "truncate": (_wire("truncate"), st.floats(0, 0.3)),
    "late in both directions": (_wire("late_us"), st.just(1.0)),
    "stuck": (_wire("stuck"), st.sampled_from([0, 1])), "missing": (_wire("missing"), st.just(True)),
    "reset in mid-transfer": (_reset, st.integers(0, 200)), "any bytes": (_bytes, st.binary(min_size=1, max_size=16)),
    "late bytes": (_late, st.integers(1, 3)), "doubled byte": (_twice, st.integers(1, 13)),
    "bus shorted": (_short, st.none()), "nobody acknowledges": (_alone, st.none()), "PCS mute": (_mute, st.none()),
}  # fmt: skip
_ONE = st.sampled_from(sorted(FAULTS)).flatmap(lambda name: st.tuples(st.just(name), FAULTS[name][1]))
# without these the rack cannot have heard the PCS
DEAF = ("late in both directions", "stuck", "missing", "any bytes", "late bytes", "bus shorted", "PCS mute")


@given(st.integers(0, 2**16), st.lists(st.tuples(_ONE, st.integers(1, 40)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_no_fault_raises_waits_or_lasts_after_two_seconds(seed, faults):
    """Any sequence of faults: no exception, no wait, no wrong frame; frames pass again 2 s after the last fault."""
    rig = Rig(seed)
    rig.run(100)
    assert rig.well()
    for (name, value), polls in faults:
        rig.chip.faults = WireFaults(seed)
        FAULTS[name][0](rig, value)
        rig.run(10 * polls)
        assert rig.s[I.PCS_POWER_W] in POWERS and rig.s[I.BUS_dV] == 11_520
        if name in DEAF:
            assert rig.s[I.PCS_AGE_ms] >= 10 * polls - 30       # the cause of `pcs_lost` come
        quiet(rig)
    rig.run(RECOVERY_ms)
    rig.pcs.requests.clear()
    rig.run(60)
    assert rig.well() and len(rig.pcs.requests) >= 2


@pytest.mark.parametrize("mode", [LISTEN, LOOPBACK, SLEEP, CONFIG])
def test_a_controller_that_left_normal_mode_is_restarted(mode):
    """The bit timing is intact and only the mode has changed: the health check restarts the chip within 20 ms."""
    rig = Rig()
    rig.run(100)
    starts, timing = rig.driver.starts, bytes(rig.chip.registers[0x28:0x2B])
    assert rig.well() and starts == 1
    rig.chip.write_register(CANCTRL, mode << 5)
    assert rig.chip.mode == mode and bytes(rig.chip.registers[0x28:0x2B]) == timing
    rig.run(40)
    assert rig.driver.starts == starts + 1
    rig.run(100)
    assert rig.well()


def test_a_controller_that_is_not_there_is_not_called_running():
    rig = Rig()
    rig.run(100)
    rig.chip.faults.missing = True
    rig.run(60)
    assert not rig.driver.running and rig.s[I.PCS_AGE_ms] >= 60


def test_a_shorted_bus_is_left_and_a_mute_one_is_not():
    rig = Rig()
    rig.run(100)
    rig.pcs.alive = False
    rig.run(500)
    assert rig.driver.running and rig.driver.bus_offs == 0 and rig.driver.aborted > 0
    rig.pcs.alive = True
    rig.bus.shorted = True
    rig.run(500)
    assert rig.driver.bus_offs > 0 and not rig.driver.running


def test_a_stuck_bus_costs_the_model_a_bounded_number_of_tries():
    """Repetitions take their time on the bus; mode changes in between do not repeat the request of a frame."""
    rig = Rig()
    rig.run(100)
    rig.pcs.alive = False
    for _ in range(50):
        rig.chip.write_register(0x0F, 0x80)
        rig.run(10)
        rig.chip.write_register(0x0F, 0x00)
        rig.run(10)
        assert rig.bus.pending <= 4


def test_remote_frames_do_not_make_old_status_frames_new():
    """They pass the filters, with a length and without data: the buffers still hold the earlier message of the PCS."""
    rig = Rig()
    rig.run(100)
    for _ in range(2):      # both buffers get a valid status
        rig.pcs.report(rig.clock.now_us)
    rig.run(20)
    rig.pcs.silent = True
    rig.run(20)
    rejected = rig.s[I.PCS_REJECTED]
    for _ in range(50):
        for _ in range(2):
            rig.bus.send(rig.pcs, Frame(pcs_codes.STATUS_ID, bytes(8), remote=True), rig.clock.now_us)
        rig.run(10)
    assert rig.s[I.PCS_AGE_ms] >= 500
    assert rig.s[I.PCS_REJECTED] - rejected >= 90


def test_requests_of_a_second_node_are_counted():
    """Frames with the identifier of the rack's request; the rack's own requests do not count."""
    rig = Rig()
    rig.run(500)
    assert rig.s[I.FOREIGN_REQUESTS] == 0
    for _ in range(25):
        rig.bus.send(rig.pcs, Frame(pcs_codes.REQUEST_ID, bytes(8)), rig.clock.now_us)
        rig.run(20)
    assert 8 <= rig.s[I.FOREIGN_REQUESTS] <= 11
    assert rig.well() and rig.s[I.PCS_REJECTED] == 0
    rig.run(500)
    assert rig.s[I.FOREIGN_REQUESTS] == 0


def test_a_flood_of_garbage_is_counted_at_once():
    """One frame each ms with the identifier of the status fills the count within 420 ms; afterwards the PCS is back."""
    rig = Rig()
    rig.run(100)
    rig.flood = True
    rig.run(420)
    assert rig.s[I.PCS_REFUSED] >= 20
    rig.flood = False
    rig.run(500)
    assert rig.well() and rig.s[I.PCS_REFUSED] == 0


def test_the_counter_of_the_limits_has_no_gap():
    """A frame of limits that found no room in the controller leaves no gap in their counter."""
    rig = Rig()
    rig.run(100)
    for _ in range(5):
        rig.link.send_limits()      # the second finds the buffer taken
        rig.link.send_limits()
        rig.run(20)
    counts = [frame.data[6] & 15 for _, frame in rig.bus.log if frame.id == pcs_codes.LIMITS_ID]
    assert len(counts) >= 8
    assert counts == [(counts[0] + at) % 16 for at in range(len(counts))]
