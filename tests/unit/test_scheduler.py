"""The scheduler keeps its phases, counts late tasks and overruns, and names the task that does not return."""

import ast
import re
from array import array

import pytest
from halite.common.paths import FIRMWARE
from hypothesis import given, settings
from hypothesis import strategies as st
from rack import scheduler as sched
from rack.base.clock import TICKS_MASK
from rack.generated import task_row as R
from rack.hal.scratch import TASK_MAGIC
from rack.scheduler import Scheduler
from support.schedule_rig import ScheduleRig
from support.wires import TimeIsUp

# storage is written with the heap unlocked
MASKED_SUMS = {"scheduler.add", "scheduler.begin", "int_store.stage", "int_store.confirm"}


@given(st.integers(0, TICKS_MASK), st.integers(1, 20))
@settings(max_examples=25)
def test_tasks_keep_their_period_over_any_wrap(start_us, periods_ms):
    """A task runs once in each period, also while the clock wraps."""
    rig = ScheduleRig([(1000 * periods_ms, 500, 0, 300)], start_us)
    rig.run(100_000)
    gaps = [b - a for a, b in zip(rig.starts[0], rig.starts[0][1:], strict=False)]
    assert all(abs(gap - 1000 * periods_ms) <= 50 for gap in gaps)
    assert rig.column(0, R.LATE) == rig.column(0, R.OVERRUN) == 0


@given(st.integers(0, TICKS_MASK), st.lists(st.integers(1, 50_000), min_size=1, max_size=5))
@settings(max_examples=25)
def test_idle_gets_the_time_of_the_next_task(start_us, phases_us):
    """A processor that sleeps until this time finds a task that is due and not late."""
    rig = ScheduleRig([(100_000, 1_000, phase_us, 10) for phase_us in phases_us], start_us)
    slept = []

    def sleep(due_us):
        slept.append((due_us - rig.now_us) & TICKS_MASK)
        rig.now_us += slept[-1]

    rig.end_us = start_us + 50_100
    with pytest.raises(TimeIsUp):
        rig.scheduler.run(sleep)
    assert all(0 < us <= 100_000 for us in slept)
    for starts, phase_us in zip(rig.starts, phases_us, strict=True):
        others = len(phases_us) - 1         # each takes 10 µs, and all may run before this one
        assert 0 <= starts[0] - start_us - phase_us <= 10 * others


@given(st.integers(1, 5000), st.integers(1, 5000))
@settings(max_examples=30)
def test_an_overrun_is_a_run_beyond_the_budget(cost, budget):
    """Each run beyond the budget is counted, and no other."""
    rig = ScheduleRig([(10_000, budget, 0, cost)])
    rig.run(100_000)
    assert rig.column(0, R.OVERRUN) == (rig.column(0, R.RUNS) if cost > budget else 0)
    assert rig.column(0, R.WORST) == rig.column(0, R.LAST) == cost


def test_late_is_not_overrun():
    """A task is late if another task delays it; this is not an overrun of its budget."""
    rig = ScheduleRig([(10_000, 3_000, 0, 1_000), (100_000, 20_000, 5_000, 18_000)])
    rig.run(1_000_000)
    assert rig.column(0, R.LATE) == 10 and rig.column(0, R.OVERRUN) == 0
    assert rig.column(1, R.LATE) == 0 and rig.column(1, R.OVERRUN) == 0


def test_missed_periods_are_not_caught_up():
    """After a gap a task runs once, and then with its old phase."""
    rig = ScheduleRig([(10_000, 3_000, 0, 100)])
    rig.run(50_000)
    rig.now_us += 95_000
    before = len(rig.starts[0])
    rig.run(5_000)
    assert len(rig.starts[0]) == before + 1
    rig.run(40_000)
    assert all(start % 10_000 <= 50 for start in rig.starts[0][before + 1:])


def test_the_first_task_of_the_table_goes_first():
    """Of two tasks that are due, the one that was added first runs first."""
    rig = ScheduleRig([(10_000, 1_000, 0, 200), (10_000, 1_000, 0, 200)])
    rig.run(30_000)
    assert all(a < b for a, b in zip(rig.starts[0], rig.starts[1], strict=False))


@given(st.integers(1, 10_000))
@settings(max_examples=15)
def test_the_mean_settles_on_the_cost(first):
    """The mean approaches the cost of equal runs."""
    rig = ScheduleRig([(20_000, 20_000, 0, first)])
    rig.run(20_000 * 60)
    assert abs(rig.scheduler.mean_us(0) - first) <= first // 20 + 2


def test_a_task_that_does_not_return_is_named():
    """The register holds the number of the running task, and 0 after the end of `run`."""
    rig = ScheduleRig([(10_000, 1_000, 0, 10)])
    seen = []

    def hang(now_us):
        seen.append(rig.running)
        raise KeyboardInterrupt

    hanging = Scheduler(rig.ticks, rig.register)
    hanging.add(4, "ok", lambda now_us: None, period_us=10_000, budget_us=100, phase_us=5)
    hanging.add(7, "bad", hang, period_us=10_000, budget_us=100, phase_us=0)
    with pytest.raises(KeyboardInterrupt):
        hanging.run(pytest.fail)
    assert seen == [7] and rig.running == -1
    assert hanging.runs(hanging.index_of(4)) == 0 and hanging.runs(hanging.index_of(7)) == 1


def test_a_task_is_found_by_its_number():
    """The index follows the order of the table. An unknown number raises ValueError."""
    scheduler = Scheduler(lambda: 0, array("i", [0]))
    for task, name in ((5, "first"), (2, "second")):
        scheduler.add(task, name, print, period_us=1_000, budget_us=1, phase_us=0)
    assert [scheduler.names[scheduler.index_of(task)] for task in (5, 2)] == ["first", "second"]
    with pytest.raises(ValueError):
        scheduler.index_of(3)


def test_a_starved_task_stops_the_feed():
    """`on_schedule` is false when a task is late by more than its period and the grace time."""
    rig = ScheduleRig([(50_000, 1_000, 0, 10)])
    late_us = 50_000 + sched.GRACE_US
    assert rig.scheduler.on_schedule(late_us)
    assert not rig.scheduler.on_schedule(late_us + 1)


@given(st.integers(0, TICKS_MASK), st.integers(0, 400_000))
@settings(max_examples=30)
def test_the_longest_wait_is_reported_once(start_us, stall_us):
    """`take_late_us` returns the longest wait since the call before, also while the clock wraps."""
    rig = ScheduleRig([(10_000, 3_000, 0, 100), (20_000, 3_000, 5_000, 100)], start_us)
    rig.run(40_000)
    assert rig.scheduler.take_late_us() <= 150
    rig.now_us += stall_us
    rig.run(1_000)
    assert max(0, stall_us - 10_000) <= rig.scheduler.take_late_us() <= stall_us + 100
    rig.run(40_000)
    assert rig.scheduler.take_late_us() <= 150


def test_a_task_that_gets_no_turn_is_late():
    """`take_late_us` includes a task that has not begun because the other tasks use all the time."""
    rig = ScheduleRig([(10_000, 3_000, 0, 10_000), (20_000, 3_000, 5_000, 100)])
    rig.run(200_000)
    assert rig.starts[1] == []
    rig.scheduler.take_late_us()
    assert not rig.scheduler.on_schedule(rig.ticks())
    assert rig.scheduler.take_late_us() == rig.now_us - 5_000


def test_start_up_time_makes_no_task_late():
    """`begin` restarts the phases."""
    rig = ScheduleRig([(10_000, 3_000, 2_000, 100)], TICKS_MASK - 100_000)
    rig.now_us += 700_000
    began_us = rig.now_us
    rig.scheduler.begin()
    rig.run(30_000)
    assert [start - began_us for start in rig.starts[0]] == [2_000, 12_000, 22_000]
    assert rig.scheduler.take_late_us() == rig.column(0, R.LATE) == 0


@given(st.integers(0, TICKS_MASK), st.integers(0, 100_000))
def test_a_task_sets_its_next_due_time(now_us, wait_us):
    """`ask` makes a task due at a given time, also while the clock wraps."""
    rig = ScheduleRig([(200_000, 500, 0, 10)], now_us)
    rig.scheduler.ask(0, now_us, wait_us)
    rig.run(150_000)
    assert 0 <= rig.starts[0][0] - now_us - wait_us <= 50


def test_only_kernels_and_the_start_mask_a_sum():
    """When the clock wraps, the sum of clock and time needs 31 bits, which ends the application in the locked loop."""
    found = set()
    for path in sorted(FIRMWARE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        wide = {name for name, value in re.findall(r"^(\w+) = const\((0x[\w]+|\d[\d_]*)\)", source, re.M)
                if int(value, 0) == TICKS_MASK} | {"TICKS_MASK"}  # fmt: skip
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef) and "viper" not in map(_last, function.decorator_list):
                found |= {f"{path.stem}.{function.name}" for node in ast.walk(function) if _is_masked_sum(node, wide)}
    assert found == MASKED_SUMS


def _last(decorator):
    return getattr(decorator, "attr", "")


def _is_masked_sum(node, wide):
    """Return True for (… + …) & 0x3FFFFFFF, with the number or one of the names in `wide`."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd)):
        return False
    masked = getattr(node.right, "id", "") in wide or getattr(node.right, "value", 0) == TICKS_MASK
    return masked and isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add)


@pytest.mark.parametrize("background", [False, True])
def test_the_wait_of_a_background_task_is_no_lateness(background):
    """A late background task does not stop the feed and does not count as lateness. Only its own counter grows."""
    rig = ScheduleRig([(10_000, 3_000, 0, 1_000), (5_000, 3_000, 500, 1_000)], background=int(background))
    rig.run(50_000)
    rig.scheduler.ask(0, rig.now_us, 5_000_000)     # only the second is due
    rig.scheduler.take_late_us()
    late_us = (rig.now_us + 1_000_000) & TICKS_MASK
    assert rig.scheduler.on_schedule(late_us) == background
    assert (rig.scheduler.take_late_us() > 900_000) == (not background)
    rig.now_us += 1_000_000
    rig.run(20_000)
    assert (rig.scheduler.take_late_us() > 900_000) == (not background) and rig.column(1, R.LATE) >= 1


def test_clearing_keeps_the_phase():
    """`clear` resets the counters only."""
    rig = ScheduleRig([(10_000, 3_000, 2_000, 100)])
    rig.run(45_000)
    rig.scheduler.clear()
    assert rig.column(0, R.RUNS) == 0
    rig.run(20_000)
    assert rig.starts[0][-1] % 10_000 == 2_000


def test_the_mark_of_a_task_fits_a_small_integer():
    """The register's values stay below 2**30, so that reading them does not allocate."""
    assert TASK_MAGIC + 255 <= TICKS_MASK
