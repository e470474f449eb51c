"""The schedule keeps its phases, counts what slips, and names the task that never came back."""

import ast
from array import array
from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from halite.bench.figures import BARS
from halite.common.paths import FIRMWARE
from halite.config import load_params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack import scheduler as sched
from rack.app import AFE_RUN, App
from rack.definitions.alarms import code_of
from rack.generated import ids as I
from rack.hal.scratch import TASK_MAGIC
from rack.scheduler import Scheduler
from support.checked_int import Checked, Overflow
from support.wires import TimeIsUp, settled_response

MASK = 0x3FFFFFFF
UNLOCKED = ("int_store.stage", "int_store.confirm")  # storage is written with the heap unlocked
_TASKS = ("_scan", "_plan", "_poll_afe", "_slow", "_poll_console", "_poll_memory", "_collect")


class Rig:
    def __init__(self, tasks, start_us=0, patient=0):
        """tasks: (period_us, budget_us, phase_us, cost_us)."""
        self.now_us = start_us
        self.noted = array("i", [0])
        self.end_us = 0
        self.starts = [[] for _ in tasks]
        self.costs = [task[3] for task in tasks]
        rows = [(f"t{i}", self._task(i), period, budget, phase) for i, (period, budget, phase, _) in enumerate(tasks)]
        self.scheduler = Scheduler(rows, self.ticks, self.noted, patient)

    def _task(self, index):
        def run(now_us):
            self.starts[index].append(self.now_us)
            self.now_us += self.costs[index]
            self.after(index, now_us)
            self._look_at_the_clock()
        return run

    def after(self, index, now_us):
        """What a task does beside taking time."""

    def _look_at_the_clock(self):
        if self.now_us >= self.end_us:
            raise TimeIsUp

    def ticks(self):
        return self.now_us & MASK

    @property
    def running(self):
        """The task that the register names, -1 none."""
        return self.noted[0] - TASK_MAGIC if self.noted[0] else -1

    def run(self, us, idle_us=50):
        """Time passes in steps of idle_us while nothing is due."""
        self.end_us = self.now_us + us

        def idle(due_us):
            assert self.running == -1
            self.now_us += idle_us
            self._look_at_the_clock()

        with pytest.raises(TimeIsUp):
            self.scheduler.run(idle)
        assert self.running == -1

    def column(self, task, column):
        return self.scheduler.rows[sched.HEAD + task * sched.COLUMNS + column]


@given(st.integers(0, MASK), st.integers(1, 20))
@settings(max_examples=25)
def test_tasks_run_in_their_period_over_any_wrap(start_us, periods_ms):
    rig = Rig([(1000 * periods_ms, 500, 0, 300)], start_us)
    rig.run(100_000)
    gaps = [b - a for a, b in zip(rig.starts[0], rig.starts[0][1:], strict=False)]
    assert all(abs(gap - 1000 * periods_ms) <= 50 for gap in gaps)
    assert rig.column(0, sched.LATE) == rig.column(0, sched.OVERRUN) == 0


@given(st.integers(0, MASK), st.lists(st.integers(1, 50_000), min_size=1, max_size=5))
@settings(max_examples=25)
def test_an_idle_processor_is_told_when_the_next_task_is_due(start_us, phases_us):
    """It may sleep so long: whoever wakes it then finds a task that is not late."""
    rig = Rig([(100_000, 1_000, phase_us, 10) for phase_us in phases_us], start_us)
    told = []

    def sleep(due_us):
        told.append((due_us - rig.now_us) & MASK)
        rig.now_us += told[-1]

    rig.end_us = start_us + 50_100
    with pytest.raises(TimeIsUp):
        rig.scheduler.run(sleep)
    assert all(0 < us <= 100_000 for us in told)
    for starts, phase_us in zip(rig.starts, phases_us, strict=True):
        others = len(phases_us) - 1         # of 10 µs each: at most they go before
        assert 0 <= starts[0] - start_us - phase_us <= 10 * others


@given(st.integers(1, 5000), st.integers(1, 5000))
@settings(max_examples=30)
def test_an_overrun_is_counted_exactly_when_the_budget_is_exceeded(cost, budget):
    rig = Rig([(10_000, budget, 0, cost)])
    rig.run(100_000)
    assert rig.column(0, sched.OVERRUN) == (rig.column(0, sched.RUNS) if cost > budget else 0)
    assert rig.column(0, sched.WORST) == rig.column(0, sched.LAST) == cost


def test_late_is_not_overrun():
    rig = Rig([(10_000, 3_000, 0, 1_000), (100_000, 20_000, 5_000, 18_000)])
    rig.run(1_000_000)
    assert rig.column(0, sched.LATE) == 10 and rig.column(0, sched.OVERRUN) == 0
    assert rig.column(1, sched.LATE) == 0 and rig.column(1, sched.OVERRUN) == 0


def test_missed_periods_are_not_caught_up_in_a_burst():
    rig = Rig([(10_000, 3_000, 0, 100)])
    rig.run(50_000)
    rig.now_us += 95_000
    before = len(rig.starts[0])
    rig.run(5_000)
    assert len(rig.starts[0]) == before + 1
    rig.run(40_000)
    assert all(start % 10_000 <= 50 for start in rig.starts[0][before + 1:])


def test_the_first_due_task_of_the_list_goes_first():
    rig = Rig([(10_000, 1_000, 0, 200), (10_000, 1_000, 0, 200)])
    rig.run(30_000)
    assert all(a < b for a, b in zip(rig.starts[0], rig.starts[1], strict=False))


@given(st.integers(1, 10_000))
@settings(max_examples=15)
def test_the_mean_settles_on_the_cost(first):
    rig = Rig([(20_000, 20_000, 0, first)])
    rig.run(20_000 * 60)
    assert abs(rig.scheduler.mean_us(0) - first) <= first // 20 + 2


def test_a_task_that_never_returns_is_named():
    rig = Rig([(10_000, 1_000, 0, 10)])
    seen = []

    def hang(now_us):
        seen.append(rig.running)
        raise KeyboardInterrupt

    tasks = [("ok", lambda now_us: None, 10_000, 100, 5), ("bad", hang, 10_000, 100, 0)]
    hanging = Scheduler(tasks, rig.ticks, rig.noted)
    with pytest.raises(KeyboardInterrupt):
        hanging.run(pytest.fail)
    assert seen == [1] and rig.running == -1
    assert hanging.runs(0) == 0 and hanging.runs(1) == 1


def test_nothing_is_fed_while_a_task_is_starved():
    rig = Rig([(50_000, 1_000, 0, 10)])
    late_us = 50_000 + sched.GRACE_US
    assert rig.scheduler.all_advance(late_us)
    assert not rig.scheduler.all_advance(late_us + 1)


@given(st.integers(0, MASK), st.integers(0, 400_000))
@settings(max_examples=30)
def test_the_longest_wait_is_told_once_over_any_wrap(start_us, stall_us):
    rig = Rig([(10_000, 3_000, 0, 100), (20_000, 3_000, 5_000, 100)], start_us)
    rig.run(40_000)
    assert rig.scheduler.take_late_us() <= 150
    rig.now_us += stall_us
    rig.run(1_000)
    assert max(0, stall_us - 10_000) <= rig.scheduler.take_late_us() <= stall_us + 100
    rig.run(40_000)
    assert rig.scheduler.take_late_us() <= 150


def test_a_task_that_never_gets_its_turn_is_late_all_the_same():
    rig = Rig([(10_000, 3_000, 0, 10_000), (20_000, 3_000, 5_000, 100)])
    rig.run(200_000)
    assert rig.starts[1] == []
    rig.scheduler.take_late_us()
    assert not rig.scheduler.all_advance(rig.ticks())
    assert rig.scheduler.take_late_us() == rig.now_us - 5_000


def test_what_the_start_takes_makes_no_task_late():
    rig = Rig([(10_000, 3_000, 2_000, 100)], MASK - 100_000)
    rig.now_us += 700_000
    began_us = rig.now_us
    rig.scheduler.begin()
    rig.run(30_000)
    assert [start - began_us for start in rig.starts[0]] == [2_000, 12_000, 22_000]
    assert rig.scheduler.take_late_us() == rig.column(0, sched.LATE) == 0


def _app_tasks(scan_ms, modbus=None):
    app = SimpleNamespace(**dict.fromkeys(_TASKS, MagicMock()), _scan_us=1000 * scan_ms, pcs=MagicMock(), modbus=modbus)
    return App._tasks(app)


class AppRig(Rig):
    """The application's own tasks at a share of their budgets; the scan plans collections as the application does."""

    def __init__(self, scan_ms, scan_us, share):
        tasks = _app_tasks(scan_ms)
        names = [task[0] for task in tasks]
        self.scan, self.collect = names.index("scan"), names.index("collect")
        costs = {"scan": scan_us, "collect": tasks[self.collect][3]}
        super().__init__([(period, budget, phase, costs.get(name, int(budget * share)))
                          for name, _, period, budget, phase in tasks], patient=1)
        self.fed = []       # when a scan that feeds has ended
        self.app = SimpleNamespace(scheduler=self.scheduler, _scan_us=1000 * scan_ms, _collect_due=False, _fed_us=0,
                                   _collected_us=0, _s=array("i", [0] * I.COUNT), controller=settled_response())

    def after(self, index, now_us):
        if index == self.scan:
            if App._may_feed(self.app, now_us):
                self.app._fed_us = now_us
                self.fed.append(self.now_us)
            App._plan_collection(self.app, now_us)
        elif index == self.collect:
            self.app._collect_due = False
            self.app._collected_us = now_us


def test_the_budgets_of_scan_and_collection_are_the_bars_of_the_bench():
    budgets = {task[0]: task[3] for task in _app_tasks(10)}
    assert budgets["scan"] == BARS["scan_10ms_us_max"].limit
    assert budgets["collect"] == 1000 * BARS["gc_collect_ms"].limit


@pytest.mark.parametrize("scan_us", [300, 700, 900, 1_500])
def test_no_two_feeds_are_as_close_as_the_dead_man_takes_for_a_runaway(scan_us):
    """A scan that a collection has made late by nearly a period is followed by the next one at once."""
    gaps, skipped = [], 0
    for collect_us in range(15_000, 20_001, 100):
        rig = AppRig(10, scan_us, 0.2)
        rig.costs[rig.collect] = collect_us
        rig.app._collect_due = True
        rig.run(600_000)
        gaps += [b - a for a, b in pairwise(rig.fed)]
        skipped += len(rig.starts[rig.scan]) - len(rig.fed)
    assert min(gaps) > 1_000 and max(gaps) < 50_000
    assert skipped or scan_us > 900


@pytest.mark.parametrize("name", ["sodium", "lfp", "bench"])
def test_a_collection_of_its_whole_budget_warns_of_no_task(name):
    """The application's own tasks, the scan at its bar or at twice that, and a collection whenever one is asked for."""
    params = load_params(f"{name}_rack")
    levels = {key: params.alarms_levels[4 * (code_of(key) - 1)] for key in ("late_warn", "late_trip")}
    worst_us = 0
    for share, scan_us in ((0.4, 3_000), (0.2, 6_000)):
        rig = AppRig(params.rack_scan_ms, scan_us, share)
        for begins_us in range(0, 100_000, 700):
            rig.run(510_000 + begins_us % 10_000, 300)
            rig.app._collect_due = True
        rig.run(150_000)
        assert len(rig.starts[rig.collect]) >= 140
        worst_us = max(worst_us, rig.scheduler.take_late_us())
    assert 36_000 < worst_us < 40_000
    assert worst_us < 1000 * levels["late_warn"] < 1000 * levels["late_trip"]


# µs, means of the largest rack on the emulated board; slices of a long answer that take as long as one may
TALKING = {"scan": 1_500, "collect": 20_000, "plan": 700, "afe": 700, "pcs": 550, "slow": 1_500, "memory": 200,
           "modbus": 700, "console": 3_000}


class TalkingRig(Rig):
    """Somebody reads answers without end on the console while an EMS asks without pause: more work than time."""

    def __init__(self):
        tasks = _app_tasks(10, MagicMock())
        self.names = [task[0] for task in tasks]
        super().__init__([(period, budget, phase, TALKING[name]) for name, _, period, budget, phase in tasks],
                         patient=1)

    def after(self, index, now_us):
        """The AFEs are polled each 1.2 ms; four slices of an answer, then 10 ms on the line."""
        if self.names[index] == "afe":
            self.scheduler.ask(index, now_us, 1_200)
        elif self.names[index] == "modbus":
            self.scheduler.ask(index, now_us, 10_000 if len(self.starts[index]) % 5 == 0 else 100)


def test_a_person_and_an_ems_that_both_ask_without_end_make_no_task_late():
    late_warn_us = 1000 * load_params("lfp_rack").alarms_levels[4 * (code_of("late_warn") - 1)]
    rig = TalkingRig()
    rig.run(5_000_000)
    assert rig.scheduler.take_late_us() < late_warn_us
    assert all(len(starts) > 20 for name, starts in zip(rig.names, rig.starts, strict=True) if name != "collect")


@given(st.sampled_from([5, 7, 10, 20]), st.lists(st.integers(0, 1_200_000), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_a_collection_begins_right_after_a_scan_and_two_are_half_a_second_apart(scan_ms, asked_us):
    rig = AppRig(scan_ms, 3_000, 0.1)
    for gap_us in asked_us:
        rig.run(gap_us)
        rig.app._collect_due = True
    rig.run(11_000_000, 300)
    scans, collections = rig.starts[rig.scan], rig.starts[rig.collect]
    ends = {start + 3_000 for start in scans}
    assert len(collections) >= 2 and set(collections) <= ends
    assert all(b - a >= 500_000 for a, b in pairwise(collections))
    assert all(b - a <= 10_000_000 for a, b in pairwise(collections))
    assert max(b - a for a, b in pairwise(scans)) <= max(23_000, 2_000 * scan_ms)


@pytest.mark.parametrize(("age_ms", "begins"), [(0, True), (64, True), (65, False), (199, False), (200, True)])
def test_no_collection_begins_while_the_next_cells_are_due_but_lost_cells_do_not_put_it_off(age_ms, begins):
    rig = AppRig(10, 3_000, 0.1)
    rig.app._s[I.CELLS_AGE_ms] = age_ms
    rig.app._collect_due = True
    rig.run(700_000)
    assert bool(rig.starts[rig.collect]) is begins
    rig.app._s[I.CELLS_AGE_ms] = 0
    rig.run(20_000)
    assert len(rig.starts[rig.collect]) == 1


def test_a_collection_that_is_always_put_off_comes_at_the_end_of_its_period():
    rig = AppRig(10, 3_000, 0.1)
    rig.app._s[I.CELLS_AGE_ms] = 100
    rig.run(21_000_000, 300)
    assert [start // 10_000_000 for start in rig.starts[rig.collect]] == [1, 2]


@given(st.integers(0, MASK), st.integers(0, 100_000))
def test_a_task_that_asks_for_its_time_gets_it_over_any_wrap(now_us, wait_us):
    rig = Rig([(200_000, 500, 0, 10)], now_us)
    rig.scheduler.ask(0, now_us, wait_us)
    rig.run(150_000)
    assert 0 <= rig.starts[0][0] - now_us - wait_us <= 50


@pytest.mark.parametrize("pause_us", [0, 100_000])
def test_the_afes_next_poll_is_planned_without_a_number_that_the_locked_heap_has_no_room_for(pause_us):
    asked = []
    afe = SimpleNamespace(cells_ready=False, temps_ready=False, state=AFE_RUN, poll=lambda now_us: None)
    app = SimpleNamespace(afe=afe, _to_judge=False, scheduler=SimpleNamespace(ask=lambda *what: asked.append(what)))
    afe.pause_us = Checked(pause_us)
    with pytest.raises(Overflow):
        _ = Checked(MASK) + 1
    App._poll_afe(app, Checked(MASK))
    assert asked == [(3, MASK, max(1_200, pause_us))]


def test_only_kernels_and_the_start_add_to_a_clock_and_mask_the_sum():
    """The sum leaves 31 bits for a moment each time the clock wraps: in the locked loop that ends the application."""
    found = set()
    for path in sorted(FIRMWARE.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and "viper" not in map(_last, function.decorator_list):
                found |= {f"{path.stem}.{function.name}" for node in ast.walk(function) if _is_masked_sum(node)}
    assert found == {"scheduler.__init__", "scheduler.begin", *UNLOCKED}


def _last(decorator):
    return getattr(decorator, "attr", "")


def _is_masked_sum(node):
    """(… + …) & 0x3FFFFFFF, by number or by name."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd)):
        return False
    masked = "MASK" in getattr(node.right, "id", "") or getattr(node.right, "value", 0) == MASK
    return masked and isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add)


@pytest.mark.parametrize("patient", [0, 1])
def test_the_wait_of_a_patient_task_is_no_lateness(patient):
    rig = Rig([(10_000, 3_000, 0, 1_000), (5_000, 3_000, 500, 1_000)], patient=patient)
    rig.run(50_000)
    rig.scheduler.ask(0, rig.now_us, 5_000_000)     # only the second is due
    rig.scheduler.take_late_us()
    late_us = (rig.now_us + 1_000_000) & MASK
    assert rig.scheduler.all_advance(late_us) == bool(patient)
    assert (rig.scheduler.take_late_us() > 900_000) == (not patient)
    rig.now_us += 1_000_000
    rig.run(20_000)
    assert (rig.scheduler.take_late_us() > 900_000) == (not patient) and rig.column(1, sched.LATE) >= 1


def test_clearing_keeps_the_phase():
    rig = Rig([(10_000, 3_000, 2_000, 100)])
    rig.run(45_000)
    rig.scheduler.clear()
    assert rig.column(0, sched.RUNS) == 0
    rig.run(20_000)
    assert rig.starts[0][-1] % 10_000 == 2_000
