"""The application's task table: budgets, feeds of the dead-man, late tasks after a collection."""

from itertools import pairwise
from unittest.mock import MagicMock

import pytest
from halite.bench.figures import BARS
from halite.config import load_params
from halite.config.rows import levels_at
from rack import app as application_module
from rack.base.clock import TICKS_MASK
from rack.definitions import codes, params
from rack.definitions.codes import AFE_RUN
from rack.generated import alarm_levels as L
from support.checked_int import Checked, Overflow
from support.schedule_rig import AppRig
from support.task_rig import application, table_of

SHIPPED = ["sodium_rack", "lfp_rack", "bench_rack"]


def level_ms(name, alarm):
    """Return the set value of an alarm in a config, ms."""
    return load_params(name).alarms_levels[levels_at(alarm) + L.SET]


def at_share(scan_us, share):
    """Return the costs of the tasks: scan_us for the scan, a whole budget for the collection, a share of the others."""
    fixed = {"scan": scan_us}

    def cost(row):
        if row.name == "collect":
            return row.budget_us
        return fixed.get(row.name, int(row.budget_us * share))

    return cost


def test_budgets_of_scan_and_collection_are_the_bars():
    """The bars of the bench are the budgets of the task table."""
    budgets = {row.name: row.budget_us for row in table_of(application(load_params("lfp_rack")))}
    assert budgets["scan"] == BARS["scan_10ms_us_max"].limit
    assert budgets["collect"] == 1000 * BARS["gc_collect_ms"].limit


def test_each_task_has_the_name_of_its_number():
    """TASK_SCAN is the task `scan`. Higher numbers have lower priority. Only the console is a background task."""
    rows = table_of(application(load_params("lfp_rack"), modbus=MagicMock()))
    numbers = {name.removeprefix("TASK_").lower(): getattr(codes, name) for name in dir(codes) if name[:5] == "TASK_"}
    assert {row.name: row.task for row in rows} == numbers
    assert [row.task for row in rows] == sorted(numbers.values())
    assert [row.name for row in rows if getattr(row, "background", False)] == ["console"] == [rows[-1].name]


@pytest.mark.parametrize("scan_us", [300, 700, 900, 1_500])
def test_two_feeds_are_never_too_close(scan_us):
    """A collection can delay a scan until the next scan is due. Two feeds within 1 ms would trip the dead-man."""
    gaps, skipped = [], 0
    for collect_us in range(15_000, 20_001, 100):
        rig = AppRig(load_params("lfp_rack"), at_share(scan_us, 0.2))
        rig.costs[rig.index("collect")] = collect_us
        rig.app.collector.requested = True
        rig.run(600_000)
        gaps += [b - a for a, b in pairwise(rig.fed)]
        skipped += len(rig.starts[rig.index("scan")]) - len(rig.fed)
    assert min(gaps) > 1_000 and max(gaps) < 50_000
    assert skipped or scan_us > 900


@pytest.mark.parametrize("name", SHIPPED)
def test_a_full_collection_raises_no_lateness_alarm(name):
    """The scan takes its bar or twice its bar, and each requested collection takes its whole budget."""
    worst_us = 0
    for share, scan_us in ((0.4, 3_000), (0.2, 6_000)):
        rig = AppRig(load_params(name), at_share(scan_us, share))
        for begins_us in range(0, 100_000, 700):
            rig.run(510_000 + begins_us % 10_000, 300)
            rig.app.collector.requested = True
        rig.run(150_000)
        assert len(rig.starts[rig.index("collect")]) >= 140
        worst_us = max(worst_us, rig.scheduler.take_late_us())
    assert 36_000 < worst_us < 40_000
    assert worst_us < 1000 * level_ms(name, "late_warn") < 1000 * level_ms(name, "late_trip")


# µs, means of the largest rack on the emulated board. A piece of a console answer takes its maximum.
TALKING = {"scan": 1_500, "collect": 20_000, "plan": 700, "afe": 700, "pcs": 550, "slow": 1_500, "storage": 200,
           "modbus": 700, "console": 3_000}


class TalkingRig(AppRig):
    """Long answers on the console and an EMS that sends requests without a pause: more work than time."""

    def __init__(self):
        super().__init__(load_params("lfp_rack"), lambda row: TALKING[row.name], modbus=MagicMock())

    def after(self, index, now_us):
        """The AFE task runs each 1.2 ms. A Modbus answer has four slices and then takes 10 ms on the line."""
        if self.names[index] == "afe":
            self.scheduler.ask(index, now_us, 1_200)
        elif self.names[index] == "modbus":
            self.scheduler.ask(index, now_us, 10_000 if len(self.starts[index]) % 5 == 0 else 100)


def test_endless_questions_make_no_task_late():
    """Full load by console and EMS together raises no lateness alarm. Every task runs, except the collection."""
    rig = TalkingRig()
    rig.run(5_000_000)
    assert rig.scheduler.take_late_us() < 1000 * level_ms("lfp_rack", "late_warn")
    assert all(len(starts) > 20 for name, starts in zip(rig.names, rig.starts, strict=True) if name != "collect")


@pytest.mark.parametrize("pause_us", [0, 100_000])
def test_the_next_afe_poll_needs_no_large_number(pause_us):
    """The sum of clock and pause can exceed a small integer, which allocates. The scheduler therefore adds in viper."""
    asked = []
    afe = MagicMock(cells_ready=False, temps_ready=False, state=AFE_RUN)
    afe.pause_us = Checked(pause_us)
    task = application(load_params("lfp_rack"), afe=afe).afe_task
    scheduler = MagicMock()
    scheduler.index_of = lambda number: number
    scheduler.ask = lambda *what: asked.append(what)
    task.begin(scheduler)
    with pytest.raises(Overflow):
        _ = Checked(TICKS_MASK) + 1
    task.run(Checked(TICKS_MASK))
    assert asked == [(codes.TASK_AFE, TICKS_MASK, max(1_200, pause_us))]


def test_the_line_cannot_overflow_between_two_polls():
    """At the highest baud rate of a config, 256 characters of 11 bits take longer than the period of the slave."""
    fastest_baud = next(row[2] for row in params.SCALARS if row[0] == "modbus_baud")
    assert 256 * 11 * 1_000_000 / fastest_baud > application_module.MODBUS_US
