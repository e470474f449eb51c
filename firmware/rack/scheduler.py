"""Time-triggered tasks with fixed periods; a task that is late, slow or gone is counted and named.

A schedule that quietly slips makes every reaction time a guess. Time is injected, nothing is allocated
while running, and the id of the running task stands in a register that survives the watchdog's reset.
"""

from array import array

from micropython import const

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
GRACE_US = const(20_000)     # a collection in between is no hang


class Scheduler:
    """tasks: (name, function(now_us), period_us, budget_us, phase_us) in order of priority.

    ticks_us: clock that wraps at 2**30; note_task(id): called before each task and with -1 after it.
    Functions return nothing; an exception leaves run_once after the task was counted as overrun.
    """

    def __init__(self, tasks, ticks_us, note_task):
        self.names = tuple(task[0] for task in tasks)
        self.rows = array("i", (0 for _ in range(COLUMNS * len(tasks))))
        self._functions = tuple(task[1] for task in tasks)
        self._ticks_us = ticks_us
        self._note_task = note_task
        now_us = ticks_us()
        for index, task in enumerate(tasks):
            at = index * COLUMNS
            self.rows[at + PERIOD] = task[2]
            self.rows[at + BUDGET] = task[3]
            self.rows[at + NEXT] = (now_us + task[4]) & _MASK

    def run_once(self, now_us):
        """Run the first task that is due; its index, or -1 when none was. Does not allocate."""
        rows = self.rows
        at = 0
        for index in range(len(self._functions)):
            period = rows[at + PERIOD]
            waited = (now_us - rows[at + NEXT]) & _MASK
            if not period or waited < _HALF:
                if period:
                    self._plan_next(at, period, waited, now_us)
                self._run(index, at, now_us)
                return index
            at += COLUMNS
        return -1

    def _plan_next(self, at, period, waited, now_us):
        """Keep the phase; skip what was missed, it is counted as late, never caught up in a burst."""
        rows = self.rows
        if 2 * waited > period:
            self._count(at + LATE)
        if waited >= period:
            rows[at + NEXT] = (now_us + period - waited % period) & _MASK
        else:
            rows[at + NEXT] = (rows[at + NEXT] + period) & _MASK

    def _run(self, index, at, now_us):
        rows = self.rows
        self._note_task(index)
        start_us = self._ticks_us()
        try:
            self._functions[index](now_us)
        finally:
            took = (self._ticks_us() - start_us) & _MASK
            self._note_task(-1)
            rows[at + LAST] = took
            rows[at + MEAN_16] += took - (rows[at + MEAN_16] >> 4)
            self._count(at + RUNS)
            if took > rows[at + WORST]:
                rows[at + WORST] = took
            if took > rows[at + BUDGET]:
                self._count(at + OVERRUN)

    def _count(self, at):
        if self.rows[at] < _COUNT_MOST:
            self.rows[at] += 1

    def all_advance(self, now_us):
        """Is no periodic task overdue by more than its period and GRACE_US? The end of a scan asks before it feeds."""
        rows = self.rows
        at = 0
        for _ in range(len(self._functions)):
            period = rows[at + PERIOD]
            waited = (now_us - rows[at + NEXT]) & _MASK
            if period and waited < _HALF and waited > period + GRACE_US:
                return False
            at += COLUMNS
        return True

    def mean_us(self, index):
        return self.rows[index * COLUMNS + MEAN_16] >> 4

    def row(self, index):
        """(name, value) of what is known of one task, times in µs."""
        rows = self.rows
        at = index * COLUMNS
        yield "period", rows[at + PERIOD]
        yield "worst", rows[at + WORST]
        yield "mean", self.mean_us(index)
        yield "budget", rows[at + BUDGET]
        yield "runs", rows[at + RUNS]
        yield "late", rows[at + LATE]
        yield "overrun", rows[at + OVERRUN]

    def clear(self):
        """Forget worst times and counters, keep the phases (console command)."""
        for index in range(len(self._functions)):
            for column in (RUNS, WORST, MEAN_16, LATE, OVERRUN, LAST):
                self.rows[index * COLUMNS + column] = 0
