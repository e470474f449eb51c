"""Time-triggered tasks with fixed periods; a task that is late, slow or gone is counted and named.

A schedule that quietly slips makes every reaction time a guess. Time is injected, nothing is allocated
while running, and the id of the running task stands in a register that survives the watchdog's reset.
"""

from array import array

import micropython
from micropython import const
from rack.base.viper import ptr32
from rack.hal.scratch import TASK_MAGIC

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)

# words of Scheduler.rows before the first task's row
_WAITED = const(0)     # µs, the longest that any task has waited since take_late_us
_BEGUN = const(1)      # when the running task began
_DUE = const(2)        # when the next task is due, while none is
_PATIENT = const(3)    # where the first row is whose task may wait for as long as it must
HEAD = const(4)

# columns of one task in Scheduler.rows
PERIOD = const(0)      # µs
BUDGET = const(1)      # µs
NEXT = const(2)        # due time
RUNS = const(3)
WORST = const(4)       # µs
MEAN_16 = const(5)     # mean in 1/16 µs, weight 1/16
LATE = const(6)        # starts later than half a period
OVERRUN = const(7)     # ran longer than its budget
LAST = const(8)        # µs
COLUMNS = const(9)
_COUNT_MOST = const(0x3FFFFFFF)
# A collection in the middle of a long answer while the AFEs are brought up anew is no hang: on the emulated board the
# last task then waited for more than 50 ms. What is read in time is watched by its age. Engineering judgement.
GRACE_US = const(100_000)


@micropython.viper
def _next(rows: ptr32, ran: int, end: int, now_us: int, noted: ptr32) -> int:  # noqa: C901 one call
    """Account for the task at `ran` (0: none), then plan and note the first one that is due; its place, or 0.

    Keeps the phases; what was missed is skipped and counted as late, never caught up in a burst.
    end: of the tasks that may be planned, 0: none of them.
    """
    if ran != 0:
        took = (now_us - rows[_BEGUN]) & _MASK
        rows[ran + LAST] = took
        rows[ran + MEAN_16] += took - (rows[ran + MEAN_16] >> 4)
        if rows[ran + RUNS] < _COUNT_MOST:
            rows[ran + RUNS] += 1
        if took > rows[ran + WORST]:
            rows[ran + WORST] = took
        if took > rows[ran + BUDGET] and rows[ran + OVERRUN] < _COUNT_MOST:
            rows[ran + OVERRUN] += 1
    soonest = _HALF
    task = TASK_MAGIC
    at = HEAD
    while at < end:
        due = rows[at + NEXT]
        waited = (now_us - due) & _MASK
        if waited < _HALF:
            period = rows[at + PERIOD]
            if waited + waited > period and rows[at + LATE] < _COUNT_MOST:
                rows[at + LATE] += 1
            if waited > rows[_WAITED] and at < rows[_PATIENT]:
                rows[_WAITED] = waited
            if waited >= period:
                due = now_us - waited % period
            rows[at + NEXT] = (due + period) & _MASK
            rows[_BEGUN] = now_us
            noted[0] = task
            return at
        if _MASK - waited < soonest:
            soonest = _MASK - waited
        at += COLUMNS
        task += 1
    rows[_DUE] = (now_us + soonest + 1) & _MASK
    noted[0] = 0
    return 0


@micropython.viper
def _overdue(rows: ptr32, now_us: int) -> int:
    """How many tasks are overdue by more than their period and GRACE_US; they count into _WAITED as in _next."""
    overdue = 0
    at = HEAD
    while at < rows[_PATIENT]:
        waited = (now_us - rows[at + NEXT]) & _MASK
        if waited < _HALF:
            if waited > rows[_WAITED]:
                rows[_WAITED] = waited
            if waited > rows[at + PERIOD] + GRACE_US:
                overdue += 1
        at += COLUMNS
    return overdue


class Scheduler:
    """tasks: (name, function(now_us), period_us, budget_us, phase_us) in order of priority.

    ticks_us: clock that wraps at 2**30; noted: a register (its address, or an array('i') of one) that holds
    TASK_MAGIC + the task's place while it runs, 0 while none does. Functions return nothing; an exception leaves
    `run` after the task's time was counted. patient: so many of the last tasks take what time is left; how long they
    wait alarms nobody.
    """

    def __init__(self, tasks, ticks_us, noted, patient=0):
        self.names = tuple(task[0] for task in tasks)
        self._end = HEAD + COLUMNS * len(tasks)
        self.rows = array("i", (0 for _ in range(self._end)))
        self.rows[_PATIENT] = self._end - COLUMNS * patient
        self._functions = tuple(task[1] for task in tasks)
        self._ticks_us = ticks_us
        self._noted = noted
        self._begun_us = now_us = ticks_us()
        for index, task in enumerate(tasks):
            at = HEAD + index * COLUMNS
            self.rows[at + PERIOD] = task[2]
            self.rows[at + BUDGET] = task[3]
            self.rows[at + NEXT] = (now_us + task[4]) & _MASK

    def begin(self):
        """Count the phases from now: what a start takes makes no task late. Before `run`."""
        now_us = self._ticks_us()
        passed_us = now_us - self._begun_us
        self._begun_us = now_us
        for at in range(HEAD + NEXT, self._end, COLUMNS):
            self.rows[at] = (self.rows[at] + passed_us) & _MASK

    def run(self, idle):
        """Run the first task that is due, again and again; idle(due_us) while none is. Does not allocate.

        Ends only by an exception of a task or of idle. One loop with everything in locals, and one kernel for all that
        is between two tasks: a call more for each of a thousand tasks a second is a percent of the processor.
        """
        rows = self.rows
        end = self._end
        ticks_us = self._ticks_us
        noted = self._noted
        functions = self._functions
        plan = _next
        at = 0              # where the running task's row begins; the words before the rows are fewer than a row has
        try:
            while True:
                now_us = ticks_us()
                at = plan(rows, at, end, now_us, noted)
                if at:
                    functions[at // COLUMNS](now_us)
                else:
                    idle(rows[_DUE])
        finally:
            plan(rows, at, 0, ticks_us(), noted)

    @micropython.viper
    def ask(self, index: int, now_us: int, wait_us: int):
        """Make a task due wait_us after now_us whatever was planned; its period counts from there. Does not allocate.

        In viper, as the sum of a clock and a wait is no small integer just before the clock wraps.
        """
        rows = ptr32(self.rows)
        rows[HEAD + index * COLUMNS + NEXT] = (now_us + wait_us) & _MASK

    @micropython.viper
    def until_us(self, index: int, now_us: int) -> int:
        """From now_us until a task is due; 0 when it is already. Does not allocate."""
        rows = ptr32(self.rows)
        left = (rows[HEAD + index * COLUMNS + NEXT] - now_us) & _MASK
        return left if left < _HALF else 0

    def all_advance(self, now_us):
        """Is no task but a patient one overdue by more than its period and GRACE_US? A scan asks before it feeds."""
        return _overdue(self.rows, now_us) == 0

    def runs(self, index):
        """How often the task has run since the start or `clear`."""
        return self.rows[HEAD + index * COLUMNS + RUNS]

    def take_late_us(self):
        """The longest that any task but a patient one has waited beyond its due time, since the last call."""
        late_us = self.rows[_WAITED]
        self.rows[_WAITED] = 0
        return late_us

    def mean_us(self, index):
        return self.rows[HEAD + index * COLUMNS + MEAN_16] >> 4

    def row(self, index):
        """(period, worst, mean, budget, runs, late, overrun) of one task, times in µs."""
        rows = self.rows
        at = HEAD + index * COLUMNS
        return (
            rows[at + PERIOD], rows[at + WORST], self.mean_us(index),
            rows[at + BUDGET], self.runs(index), rows[at + LATE], rows[at + OVERRUN],
        )  # fmt: skip

    def clear(self):
        """Forget worst times and counters, keep the phases (console command)."""
        for index in range(len(self._functions)):
            for column in (RUNS, WORST, MEAN_16, LATE, OVERRUN, LAST):
                self.rows[HEAD + index * COLUMNS + column] = 0
