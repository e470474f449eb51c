"""A scheduler in simulated time with tasks that only use time."""

from array import array

import pytest
from rack.base.clock import TICKS_MASK
from rack.generated import task_head as H
from rack.generated import task_row as R
from rack.hal.scratch import TASK_MAGIC
from rack.scheduler import Scheduler

from support.task_rig import application, begin, table_of
from support.wires import TimeIsUp


class ScheduleRig:
    """tasks: (period_us, budget_us, phase_us, cost_us) each. numbers: TASK_* of the tasks; their indices by default.

    background: number of the last tasks that run in the background. starts: for each task the times of its runs.
    """

    def __init__(self, tasks, start_us=0, background=0, numbers=None):
        self.now_us = start_us
        self.register = array("i", [0])
        self.end_us = 0
        self.starts = [[] for _ in tasks]
        self.costs = [task[3] for task in tasks]
        self.scheduler = Scheduler(self.ticks, self.register)
        for index, (period_us, budget_us, phase_us, _) in enumerate(tasks):
            self.scheduler.add(
                numbers[index] if numbers else index, f"t{index}", self._task(index), period_us=period_us,
                budget_us=budget_us, phase_us=phase_us, background=index >= len(tasks) - background,
            )  # fmt: skip

    def _task(self, index):
        def run(now_us):
            self.starts[index].append(self.now_us)
            self.now_us += self.costs[index]
            self.after(index, now_us)
            self._stop_at_the_end()

        return run

    def after(self, index, now_us):
        """Called after each run of a task, for subclasses."""

    def _stop_at_the_end(self):
        if self.now_us >= self.end_us:
            raise TimeIsUp

    def ticks(self):
        """Return the clock of the board, which wraps at 2**30."""
        return self.now_us & TICKS_MASK

    @property
    def running(self):
        """Number of the task in the register, -1 for no task."""
        return self.register[0] - TASK_MAGIC if self.register[0] else -1

    def run(self, us, idle_us=50):
        """Let `us` pass. The time advances in steps of idle_us while no task is due."""
        self.end_us = self.now_us + us

        def idle(due_us):
            assert self.running == -1
            self.now_us += idle_us
            self._stop_at_the_end()

        with pytest.raises(TimeIsUp):
            self.scheduler.run(idle)
        assert self.running == -1

    def column(self, task, column):
        """Return a column of a task's row."""
        return self.scheduler.rows[H.HEAD + task * R.COLUMNS + column]


class AppRig(ScheduleRig):
    """The application's task table with given costs. The real scan task and collector plan the collections.

    costs: row of the table → µs of one run. fed: end times of the scans that feed the dead-man.
    """

    def __init__(self, params, costs, **parts):
        self.app = app = application(params, **parts)
        table = table_of(app)
        self.names = [row.name for row in table]
        tasks = [(row.period_us, row.budget_us, row.phase_us, costs(row)) for row in table]
        background = sum(getattr(row, "background", False) for row in table)
        super().__init__(tasks, background=background, numbers=[row.task for row in table])
        self.app.scheduler = self.scheduler
        begin(app, self.scheduler)
        self.fed = []

    def index(self, name):
        """Return the index of a task."""
        return self.names.index(name)

    def after(self, index, now_us):
        """Do the parts of a scan's end and of a collection that influence the schedule."""
        scan, collector = self.app.scan, self.app.collector
        if self.names[index] == "scan":
            if scan.may_feed(now_us):
                scan.fed_us = now_us
                self.fed.append(self.now_us)
            collector.plan(now_us)
        elif self.names[index] == "collect":
            collector.requested = False
            collector.collected_us = now_us
