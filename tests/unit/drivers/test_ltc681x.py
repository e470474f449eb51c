"""The second AFE family behind the same interface: its driver against its chip model."""

import ast
import csv
import sys
from array import array
from pathlib import Path

import pytest
from halite.chips.faults import WireFaults
from halite.chips.ltc6813 import Ltc6813Stack
from halite.common.paths import FIRMWARE
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.drivers.bq79616 import Bq79616
from rack.drivers.ltc681x import Ltc681x
from rack.drivers.pec15 import TABLE, pec15
from support.afe_rig import NTC_TABLE, POLL_US, AfeRig


class Spi:
    """isoSPI at 1 Mbit/s: 8 µs a byte. waited_us: total waiting time of the caller."""

    def __init__(self, stack, clock):
        self.stack, self.clock, self.waited_us, self.ends_us = stack, clock, 0, 0

    def begin(self, tx, rx, count):
        assert self.done(), "a transfer in a transfer"
        at_us = self.clock.now_us
        self.ends_us = at_us + 8 * count
        rx[:count] = self.stack.transfer(bytes(tx[:count]), at_us)

    def done(self):
        return self.clock.now_us >= self.ends_us

    def transfer(self, tx, rx, count):
        self.begin(tx, rx, count)
        self.ends_us = self.clock.now_us
        self.waited_us += 8 * count


class Rig(AfeRig):
    """The driver on its SPI."""

    def __init__(self, devices=3, cells=18, temps=8, start_us=0):
        super().__init__(devices, cells, temps, start_us)
        self.stack = Ltc6813Stack(devices, self.look, cells)
        self.spi = Spi(self.stack, self.clock)
        self.driver = Ltc681x(self.spi, self.layout, self.outputs)

    def right(self):
        return self.cells_right() and self.temps_right()


def test_every_published_pec_is_right():
    path = Path(__file__).parent / "vectors" / "vectors_pec15.csv"
    rows = list(csv.reader(line for line in path.open() if not line.startswith("#")))[1:]
    assert len(rows) >= 10
    for data, pec in rows:
        frame = bytes.fromhex(data)
        assert pec15(frame, 0, len(frame), TABLE) == int(pec, 16)


def test_it_offers_what_the_application_uses_of_the_other_family():
    used = {node.attr for path in (FIRMWARE / "rack").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
            and getattr(node.value, "attr", getattr(node.value, "id", "")) in ("afe", "_afe")}  # fmt: skip
    assert used > {"poll", "open_wire", "pause_us", "cells_ready", "temps_ready", "crc_errors", "devices_seen"}
    other = Bq79616(None, None, (2, 12, 4), (array("i", [0]), array("i", [0]), NTC_TABLE))
    here = Rig().driver
    assert not [name for name in used if not (hasattr(here, name) and hasattr(other, name))]
    assert here.open_wire() == other.open_wire() == 0


@pytest.mark.parametrize(("cells", "temps"), [(12, 5), (18, 8), (18, 1), (18, 3), (18, 4)])
def test_cells_and_temperatures_are_read_every_period(cells, temps):
    rig = Rig(2, cells, temps)
    rig.run(600)
    gaps = [b - a for a, b in zip(rig.scans, rig.scans[1:], strict=False)]
    assert gaps and max(gaps) <= 100_000 + 2 * POLL_US
    assert rig.right() and rig.driver.devices_seen == 2 and rig.driver.crc_errors == 0
    assert 0 < rig.driver.scan_us < 100_000


WAITED_us = 40      # for a command of four bytes; the processor's time: tests/emulated/test_same_bits_on_chip.py
LINES = 50          # of Python in the two steps of a poll; a loop over 26 devices has at least 52


def test_a_poll_neither_waits_for_the_bus_nor_loops_over_devices():
    """Of the longest stack: work for each device is done in kernels only."""
    rig = Rig(26, 18, 8, start_us=2**30 - 150_000)
    poll, most_us, most_lines, lines = rig.driver.poll, 0, 0, 0

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    def watched(now_us):
        nonlocal most_us, most_lines, lines
        lines = rig.spi.waited_us = 0
        kernels = {"count_good", "to_cells", "count_unconfigured", "take_aux", "to_temps", "first_shut_down", "pec15",
                   "ptr8", "ptr32"}
        sys.settrace(lambda frame, event, argument: count if "/rack/" in frame.f_code.co_filename
                     and frame.f_code.co_name not in kernels else None)
        try:
            poll(now_us)
        finally:
            sys.settrace(None)
        most_us, most_lines = max(most_us, rig.spi.waited_us), max(most_lines, lines)

    rig.driver.poll = watched
    rig.run(400)
    assert rig.scans and rig.right()
    assert 0 < most_us < WAITED_us and 10 < most_lines < LINES


@pytest.mark.parametrize("temps", [1, 5, 8])
def test_a_pause_in_which_the_ports_fall_asleep_loses_no_reading(temps):
    """A collection of 20 ms after any poll of the scan: no sensor looks broken, and the scan ends complete."""
    for at in range(40):
        rig = Rig(3, 18, temps)
        rig.run(150)
        for _ in range(at):
            rig.driver.poll(rig.clock.ticks)
            rig.clock.now_us += max(POLL_US, rig.driver.pause_us)
        rig.clock.now_us += 20_000
        rig.temps_ddegC[:] = array("i", [-1] * len(rig.temps_ddegC))
        rig.run(220)
        assert rig.right() and rig.driver.crc_errors == 0, at


def test_a_lost_device_never_counts_as_read_and_comes_back():
    rig = Rig()
    rig.run(300)
    rig.stack.reached = lambda: 1
    rig.run(120)
    rig.scans.clear()
    rig.run(500)
    assert not rig.scans and rig.driver.devices_seen == 0
    rig.stack.reached = lambda: 3
    rig.run(300)
    assert rig.scans and rig.right() and rig.driver.devices_seen == 3


@given(st.integers(0, 2**16), st.floats(0, 0.02), st.floats(0, 0.02), st.booleans(),
       st.one_of(st.none(), st.integers(0, 500)))
@settings(max_examples=20, deadline=None)
def test_corrupted_groups_never_become_cells(seed, flip, lose, missing, reset_after):
    rig = Rig(2)
    rig.run(150)
    rig.stack.faults = WireFaults(seed, flip=flip, lose=lose, missing=missing, reset_after=reset_after)
    for _ in range(8):
        rig.run(50)
        assert all(mV == -1 or 1999 <= mV <= 2110 for mV in rig.cells_mV)
    rig.stack.faults = WireFaults()
    rig.run(120)
    rig.scans.clear()
    rig.run(300)
    assert rig.scans and rig.right()


_WIRE = st.lists(st.tuples(st.one_of(
    st.tuples(st.sampled_from(["flip", "lose", "duplicate", "truncate"]), st.floats(0, 0.05)),
    st.tuples(st.just("missing"), st.just(True)), st.tuples(st.just("late_us"), st.just(1.0)),
    st.tuples(st.just("stuck"), st.sampled_from([0, 1])), st.tuples(st.just("reset_after"), st.integers(0, 500)),
), st.integers(1, 300)), min_size=1, max_size=5)  # fmt: skip


@given(st.integers(0, 2**16), _WIRE)
@settings(max_examples=25, deadline=None)
def test_no_fault_makes_a_wrong_cell_or_lasts_over_half_a_second(seed, faults):
    """Any sequence of wire faults: no cell is wrong, and all are right again 0.5 s after the last fault."""
    rig = Rig(2)
    rig.stack.faults = WireFaults(seed)
    rig.run(150)
    for (name, value), ms in faults:
        setattr(rig.stack.faults, name, value)
        begun_us = rig.clock.now_us
        rig.run(ms)
        assert all(mV == -1 or 1999 <= mV <= 2110 for mV in rig.cells_mV)
        assert name not in ("missing", "stuck") or rig.nothing_read_since(begun_us)
        setattr(rig.stack.faults, name, getattr(WireFaults(), name))
    rig.run(200)
    rig.scans.clear()
    rig.run(300)
    assert rig.scans and rig.right()


def test_a_device_that_was_too_hot_is_named_for_ten_seconds():
    """The thermal shutdown of a device shows in `fault` at once, and until ten seconds after its last report."""
    rig = Rig(devices=3)
    rig.run(400)
    assert rig.driver.fault == 0
    rig.stack.shut_down = lambda: {1, 2}
    rig.run(250)
    assert rig.driver.fault == 2 and rig.right()
    rig.stack.shut_down = tuple
    rig.run(9_500)
    assert rig.driver.fault == 2
    rig.run(1_000)
    assert rig.driver.fault == 0
