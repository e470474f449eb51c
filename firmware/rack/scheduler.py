"""Time-triggered tasks with fixed periods; a task that is late, slow or gone is counted and named.

A schedule that quietly slips makes every reaction time a guess. Time is injected, nothing is allocated
while running, and the id of the running task stands in a register that survives the watchdog's reset.
"""

from array import array

import micropython
from micropython import const
from rack.control.fast import ptr32

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)

# columns of one task in Scheduler.rows
PERIOD = const(0)      # µs; 0: runs whenever nothing else is due
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
def _plan(rows: ptr32, at: int, end: int, now_us: int) -> int:
    """Where the row of the first due task begins, its next time planned, or -1.

    Keeps the phase; what was missed is skipped and counted as late, never caught up in a burst.
    rows[end]: the longest that any task has waited.
    """
    while at < end:
        period = rows[at + PERIOD]
        if period == 0:
            return at
        waited = (now_us - rows[at + NEXT]) & _MASK
        if waited < _HALF:
            if waited + waited > period and rows[at + LATE] < _COUNT_MOST:
                rows[at + LATE] += 1
            if waited > rows[end]:
                rows[end] = waited
            if waited >= period:
                rows[at + NEXT] = (now_us + period - waited % period) & _MASK
            else:
                rows[at + NEXT] = (rows[at + NEXT] + period) & _MASK
            return at
        at += COLUMNS
    return -1


@micropython.viper
def _account(rows: ptr32, at: int, took: int):
    """Note a run of `took` µs."""
    rows[at + LAST] = took
    rows[at + MEAN_16] += took - (rows[at + MEAN_16] >> 4)
    if rows[at + RUNS] < _COUNT_MOST:
        rows[at + RUNS] += 1
    if took > rows[at + WORST]:
        rows[at + WORST] = took
    if took > rows[at + BUDGET] and rows[at + OVERRUN] < _COUNT_MOST:
        rows[at + OVERRUN] += 1


@micropython.viper
def _overdue(rows: ptr32, at: int, end: int, now_us: int) -> int:
    """How many periodic tasks are overdue by more than their period and GRACE_US; rows[end] as in _plan."""
    overdue = 0
    while at < end:
        period = rows[at + PERIOD]
        waited = (now_us - rows[at + NEXT]) & _MASK
        if period != 0 and waited < _HALF:
            if waited > rows[end]:
                rows[end] = waited
            if waited > period + GRACE_US:
                overdue += 1
        at += COLUMNS
    return overdue


class Scheduler:
    """tasks: (name, function(now_us), period_us, budget_us, phase_us) in order of priority.

    ticks_us: clock that wraps at 2**30; note_task(id): called before each task, with -1 when none is due and at the
    end. Functions return nothing; an exception leaves `run` after the task's time was counted.
    """

    def __init__(self, tasks, ticks_us, note_task):
        self.names = tuple(task[0] for task in tasks)
        self.rows = array("i", (0 for _ in range(COLUMNS * len(tasks) + 1)))    # the last one: the longest wait
        self._functions = tuple(task[1] for task in tasks)
        self._ticks_us = ticks_us
        self._note_task = note_task
        self._end = COLUMNS * len(tasks)
        self._begun_us = now_us = ticks_us()
        for index, task in enumerate(tasks):
            at = index * COLUMNS
            self.rows[at + PERIOD] = task[2]
            self.rows[at + BUDGET] = task[3]
            self.rows[at + NEXT] = (now_us + task[4]) & _MASK

    def begin(self):
        """Count the phases from now: what a start takes makes no task late. Before `run`."""
        now_us = self._ticks_us()
        passed_us = now_us - self._begun_us
        self._begun_us = now_us
        for at in range(NEXT, self._end, COLUMNS):
            self.rows[at] = (self.rows[at] + passed_us) & _MASK

    def run(self, idle):
        """Run the first task that is due, again and again; idle() while none is. Does not allocate.

        Ends only by an exception of a task or of idle. One loop with everything in locals: a call more for each of a
        thousand tasks a second is a percent of the processor.
        """
        rows = self.rows
        end = self._end
        ticks_us = self._ticks_us
        note_task = self._note_task
        functions = self._functions
        at = -1
        try:
            while True:
                now_us = ticks_us()
                at = _plan(rows, 0, end, now_us)
                if at < 0:
                    note_task(-1)
                    idle()
                else:
                    index = at // COLUMNS
                    note_task(index)
                    functions[index](now_us)
                    _account(rows, at, (ticks_us() - now_us) & _MASK)
        finally:
            if at >= 0:
                _account(rows, at, (ticks_us() - now_us) & _MASK)
            note_task(-1)

    def ask(self, index, now_us):
        """Make a task due at now_us whatever was planned; its period counts from there. Does not allocate."""
        self.rows[index * COLUMNS + NEXT] = now_us

    def all_advance(self, now_us):
        """Is no periodic task overdue by more than its period and GRACE_US? The end of a scan asks before it feeds."""
        return _overdue(self.rows, 0, self._end, now_us) == 0

    def runs(self, index):
        """How often the task has run since the start or `clear`."""
        return self.rows[index * COLUMNS + RUNS]

    def take_late_us(self):
        """The longest that any periodic task has waited beyond its due time, since the last call."""
        late_us = self.rows[self._end]
        self.rows[self._end] = 0
        return late_us

    def mean_us(self, index):
        return self.rows[index * COLUMNS + MEAN_16] >> 4

    def row(self, index):
        """(period, worst, mean, budget, runs, late, overrun) of one task, times in µs."""
        rows = self.rows
        at = index * COLUMNS
        return (
            rows[at + PERIOD], rows[at + WORST], self.mean_us(index),
            rows[at + BUDGET], self.runs(index), rows[at + LATE], rows[at + OVERRUN],
        )  # fmt: skip

    def clear(self):
        """Forget worst times and counters, keep the phases (console command)."""
        for index in range(len(self._functions)):
            for column in (RUNS, WORST, MEAN_16, LATE, OVERRUN, LAST):
                self.rows[index * COLUMNS + column] = 0
