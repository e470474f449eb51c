"""A link that breaks under load: the cells are read from both ends before they count as lost, on the board's schedule.

The application's own tasks, scheduler and planning of collections, each task as long as its bar allows; the driver
and the stack model are real. The rack trips at the age that the scan sees, `[alarms] cells_lost`.
"""

from array import array
from unittest.mock import MagicMock

import pytest
from halite.bench.figures import BARS
from halite.chips.bq79616 import Bq79616Stack
from halite.config import load_params
from halite.generate.reaction_faults import CELLS_ms, TEMPS_ms
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions.codes import AFE_RUN
from rack.drivers.bq79616 import Bq79616
from rack.drivers.bq79616_registers import ADC_CTRL1, CONTROL2, DIAG_COMP_CTRL3, TSREF_HI, VCELL16_HI
from rack.generated import ids as I
from rack.scheduler import Scheduler
from support.afe_rig import AfeRig, LOST_ms
from support.task_rig import application, begin, table_of
from support.wires import AfeUart, TimeIsUp

DEVICES = 26
PERIOD_ms, SCAN_ms, CHECK_ms = 100, 10, 15
COLLECT_us = 1000 * round(BARS["gc_collect_ms"].limit)
# µs; scan and collection at their bars, the others at what the board takes; an AFE step's writes come to it
COSTS = {"scan": 3_000, "plan": 1_500, "collect": COLLECT_us, "afe": 100, "pcs": 600, "slow": 1_500, "storage": 800,
         "console": 300, "modbus": 700}
SLICE_us = round(BARS["answer_slice_us_max"].limit)     # of an answer on the console
JUDGE_us = round(BARS["afe_longest_slice_us"].limit)


class BoardRig(AfeRig):
    """The tasks of the application, one processor."""

    def __init__(self, devices=DEVICES, start_us=0):
        super().__init__(devices, 16, 8, start_us)
        self.stack = Bq79616Stack(devices, self.look)
        self.driver = Bq79616(AfeUart(self.stack, self.clock), lambda: self.clock.ticks, self.layout, self.outputs)
        self.oldest_ms = self.age_ms = 0
        self.talking = False       # a user reads answers without end on the console
        self.taken_us = {"cells": [], "temps": []}      # from the request until they were judged
        self._asked_us = {}
        self.stack.on_read = self._asked_us.__setitem__
        self._scanned_us = start_us
        self.app = application(load_params("lfp_rack"), lambda: self.clock.ticks, afe=self.driver, modbus=MagicMock())
        controller = self.app.controller
        controller.cells_arrived = lambda: self._judged("cells", VCELL16_HI)
        controller.judge_temps = lambda: self._judged("temps", TSREF_HI)
        self.app.collector.collected_us = start_us
        self.scheduler = Scheduler(lambda: self.clock.ticks, array("i", [0]))
        for row in table_of(self.app):
            self.scheduler.add(row.task, row.name, self._task(row.name), period_us=row.period_us,
                               budget_us=row.budget_us, phase_us=row.phase_us,
                               background=getattr(row, "background", False))
        begin(self.app, self.scheduler)

    def _task(self, name):
        work = {"scan": self._scan, "afe": self.app.afe_task.run,
                "collect": self._collect}.get(name, lambda now_us: None)

        def run(now_us):
            work(now_us)
            self.clock.now_us += SLICE_us if name == "console" and self._answers() else COSTS[name]
            if name == "scan":
                self.app.collector.plan(now_us)
            self._look_at_the_clock()
        return run

    def _look_at_the_clock(self):
        if self.clock.now_us >= self.end_us:
            raise TimeIsUp

    def _answers(self):
        return self.talking and not self.app.console_task.cells_are_late()

    def _idle(self, due_us):
        self.clock.now_us += SLICE_us if self._answers() else 50
        self._look_at_the_clock()

    def _scan(self, now_us):
        self.age_ms += (self.clock.now_us - self._scanned_us) // 1000
        self._scanned_us = self.clock.now_us
        self.app.controller.s[I.CELLS_AGE_ms] = self.age_ms
        self.oldest_ms = max(self.oldest_ms, self.age_ms)

    def _collect(self, now_us):
        self.app.collector.collected_us = now_us
        self.app.collector.requested = False

    def _judged(self, what, register):
        self.clock.now_us += JUDGE_us
        self.taken_us[what].append(self.clock.now_us - self._asked_us[register])
        if what == "cells":
            self.scans.append(self.clock.now_us)
            self.age_ms = 0

    def run(self, ms):
        self.end_us = self.clock.now_us + 1000 * ms
        with pytest.raises(TimeIsUp):
            self.scheduler.run(self._idle)


def closed(devices=DEVICES, after_ms=700):
    rig = BoardRig(devices)
    rig.run(after_ms)
    assert rig.driver.state == AFE_RUN and rig.cells_right()
    rig.oldest_ms = 0
    return rig


def well(rig):
    return rig.driver.devices_seen == len(rig.stack.devices) and rig.cells_right() and rig.temps_right()


@given(st.integers(1, DEVICES - 1), st.integers(0, 99), st.booleans(), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_broken_link_is_a_warning_and_no_trip(link, phase_ms, collection, talking):
    """Any link, any phase of the AFE period, a collection asked for in the same moment, a user at the console."""
    rig = closed(after_ms=700 + phase_ms)
    rig.talking = talking
    rig.stack.broken_links = {link}
    rig.app.collector.requested = collection
    rig.run(400)
    assert rig.oldest_ms < LOST_ms
    assert rig.driver.link_broken and well(rig) and rig.driver.wakes == 1


@given(st.integers(1, DEVICES - 1), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_repaired_link_is_found_between_two_scans(link, phase_ms):
    """The look turns and addresses the devices behind the link, and the first read comes one poll after the writes."""
    rig = closed()
    rig.stack.broken_links = {link}
    rig.run(300 + phase_ms)
    rig.oldest_ms, timeouts = 0, rig.driver.timeouts
    rig.stack.broken_links = set()
    rig.run(2_300)
    assert not rig.driver.link_broken and well(rig)
    assert rig.oldest_ms <= PERIOD_ms + SCAN_ms and rig.driver.timeouts == timeouts


def test_readings_are_judged_as_soon_as_the_reaction_times_say():
    rig = closed()
    rig.app.collector.collected_us = rig.clock.now_us     # no collection: where they may fall is counted there
    rig.taken_us = {"cells": [], "temps": []}
    rig.run(3_000)
    assert len(rig.taken_us["cells"]) == 30
    assert max(rig.taken_us["cells"]) <= 1000 * CELLS_ms and max(rig.taken_us["temps"]) <= 1000 * TEMPS_ms


def test_a_link_that_breaks_in_the_wire_check_leaves_no_sink_on():
    rig = closed()
    rig.driver.cycles_to_check = 0

    def sinks_on():
        return any(device.registers[DIAG_COMP_CTRL3] & 0x30 for device in rig.stack.devices)
    while not sinks_on():
        rig.run(1)
    rig.stack.broken_links = {9}
    rig.run(150)
    assert rig.driver.link_broken
    for _ in range(CHECK_ms):       # the check that was cut short may be under way again
        if not sinks_on():
            return
        rig.run(1)
    raise AssertionError("a sink stays on")


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 80)), min_size=2, max_size=4), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_one_break_after_another_is_followed(breaks, phase_ms):
    """Each broken link is found in its turn; a whole link ends the warning."""
    rig = closed(6, 700 + phase_ms)
    for link, tens in breaks:
        rig.stack.broken_links = {link}
        rig.run(10 * tens + 150)
        assert rig.driver.link_broken and rig.driver.devices_seen == 6
    rig.stack.broken_links = set()
    rig.run(2_300)
    assert not rig.driver.link_broken and well(rig) and rig.driver.wakes == 1
    assert rig.oldest_ms < LOST_ms


@given(st.integers(0, DEVICES - 1), st.integers(0, 99), st.sampled_from([(ADC_CTRL1, 0x04), (CONTROL2, 0x00)]))
@settings(max_examples=10, deadline=None)
def test_a_device_without_setup_gets_it_before_cells_are_lost(device, phase_ms, astray):
    """A device that has lost its setup is set up again before the cells count as lost."""
    rig = closed(after_ms=700 + phase_ms)
    rig.driver.cycles_to_check = 1
    rig.write_astray(device, *astray)
    rig.run(350)
    assert rig.driver.invalid == 1 and rig.driver.wakes == 1 and well(rig)
    assert rig.oldest_ms < LOST_ms


@pytest.mark.parametrize("link", [None, 1, 13, 25])
def test_the_longest_scan_leaves_time_for_the_next(link):
    """With a broken link and every task at its budget the scan lasts longer than its period; the next begins late."""
    rig = closed()
    rig.stack.broken_links = {link} if link else set()
    rig.run(300)
    rig.oldest_ms = 0
    rig.driver.cycles_to_check = 1
    rig.run(400)
    assert rig.driver.cycles_to_check > 90 and rig.driver.invalid == 0
    assert rig.oldest_ms <= PERIOD_ms + (3 * SCAN_ms if link else SCAN_ms)


def test_checks_of_a_broken_link_cost_no_scan():
    """A link that stays broken is checked again and again; every period has its scan."""
    rig = closed()
    rig.stack.broken_links = {11}
    rig.run(300)
    rig.scans.clear()
    rig.run(5_000)
    assert rig.driver.link_broken and rig.oldest_ms < LOST_ms and len(rig.scans) == 50


@given(st.integers(1, 5))
@settings(max_examples=5, deadline=None)
def test_a_link_broken_at_the_start_is_found(link):
    """The broken link is found, and also its repair."""
    rig = BoardRig(6)
    rig.stack.broken_links = {link}
    rig.run(1_000)
    assert rig.driver.link_broken and well(rig)
    rig.stack.broken_links = set()
    rig.run(2_300)
    assert not rig.driver.link_broken and well(rig)


def test_with_two_breaks_the_cells_do_not_count_as_read():
    """Two breaks leave devices that no frame reaches; no scan counts as complete."""
    rig = closed(6)
    rig.stack.broken_links = {2, 4}
    rig.run(200)
    rig.scans.clear()
    rig.run(1_000)
    assert not rig.scans and rig.oldest_ms > LOST_ms and rig.driver.devices_seen <= 4
    rig.stack.broken_links = set()
    rig.run(1_000)
    assert rig.scans and well(rig)


@pytest.mark.parametrize("direction", ["to the chip", "from the chip"])
def test_one_lost_byte_costs_neither_a_wake_nor_a_trip(direction):
    """The driver asks again for the answer of which one byte was lost."""
    rig = closed()
    rig.stack.faults.lose = 1.0
    if direction == "to the chip":
        rig.run(1)
        while not rig.stack.faults.hits:
            rig.run(1)
    else:
        transmit = rig.stack.transmit
        rig.stack.faults.lose = 0.0
        rig.stack.transmit = lambda data, at_us: (setattr(rig.stack, "transmit", transmit), transmit(data[1:], at_us))
    rig.stack.faults.lose = 0.0
    rig.run(300)
    assert rig.oldest_ms < LOST_ms and rig.driver.wakes == 1 and not rig.driver.link_broken and well(rig)
