"""Time-triggered tasks with fixed periods; counts and names every task that is late, slow or does not return.

Hazard: a schedule that slips unnoticed, which makes every reaction time a guess. The clock is injected. The loop does
not allocate. The number of the running task stands in a register that survives the watchdog's reset.
"""

from array import array

import micropython
from micropython import const
from rack.generated import task_head as H
from rack.generated import task_row as R
from rack.base.clock import TICKS_HALF, TICKS_MASK
from rack.base.viper import ptr32
from rack.hal.scratch import TASK_MAGIC

_COUNT_MAX = const(0x3FFFFFFF)
# Longest overdue time of a task that still counts as running. A collection in a long answer while the AFEs are being
# reconfigured is not a hang: on the emulated board the last task then waited for more than 50 ms. Independent of the
# config: the alarms watch the age of each reading. Engineering judgement.
GRACE_US = const(100_000)


@micropython.viper
def _next(rows: ptr32, ran: int, end: int, now_us: int, register: ptr32) -> int:  # noqa: C901 one call for each task
    """Account for the task whose row is at `ran` (0: no task ran), then select the first task that is due.

    Returns the place of the selected row, or 0 when no task is due; writes the task's mark (or 0) into `register`.
    Phases are kept: missed periods are skipped and counted as late, not caught up in a burst.
    end: end of the rows that may be selected; 0 selects no task.
    """
    if ran != 0:
        took = (now_us - rows[H.BEGUN]) & TICKS_MASK
        rows[ran + R.LAST] = took
        rows[ran + R.MEAN_16] += took - (rows[ran + R.MEAN_16] >> 4)
        if rows[ran + R.RUNS] < _COUNT_MAX:
            rows[ran + R.RUNS] += 1
        if took > rows[ran + R.WORST]:
            rows[ran + R.WORST] = took
        if took > rows[ran + R.BUDGET] and rows[ran + R.OVERRUN] < _COUNT_MAX:
            rows[ran + R.OVERRUN] += 1
    soonest = TICKS_HALF
    at = H.HEAD
    while at < end:
        due = rows[at + R.NEXT]
        waited = (now_us - due) & TICKS_MASK
        if waited < TICKS_HALF:
            period = rows[at + R.PERIOD]
            if waited + waited > period and rows[at + R.LATE] < _COUNT_MAX:
                rows[at + R.LATE] += 1
            if waited > rows[H.WAITED] and at < rows[H.BACKGROUND]:
                rows[H.WAITED] = waited
            if waited >= period:
                due = now_us - waited % period
            rows[at + R.NEXT] = (due + period) & TICKS_MASK
            rows[H.BEGUN] = now_us
            register[0] = rows[at + R.MARK]
            return at
        if TICKS_MASK - waited < soonest:
            soonest = TICKS_MASK - waited
        at += R.COLUMNS
    rows[H.DUE] = (now_us + soonest + 1) & TICKS_MASK
    register[0] = 0
    return 0


class Scheduler:
    """Runs the tasks that `add` has entered. names: their names in order of priority; an index counts in this order.

    ticks_us: clock that wraps at 2**30. register: its address, or an array('i') of one word; it holds TASK_MAGIC +
    TASK_* of the running task, and 0 while no task runs. The background tasks are the last ones: they use the time
    that the others leave, and their waiting raises no alarm.
    """

    def __init__(self, ticks_us, register):
        self.names = []
        self.rows = array("i", [0] * H.HEAD)
        self._functions = []
        self._ticks_us = ticks_us
        self._register = register
        self._begun_us = ticks_us()

    def add(self, task, name, function, period_us, budget_us, phase_us, background=False):
        """Enter a task of lower priority than those before. Start only, allocates.

        task: TASK_* of rack.definitions.codes. function(now_us) returns no value; when it raises an exception, `run`
        accounts for the task and ends. phase_us: time from `begin` to the first run. Times in µs, below 2**29.
        """
        self.names.append(name)
        self._functions.append(function)
        row = array("i", [0] * R.COLUMNS)
        row[R.PERIOD] = period_us
        row[R.BUDGET] = budget_us
        row[R.NEXT] = (self._begun_us + phase_us) & TICKS_MASK
        row[R.MARK] = TASK_MAGIC + task
        self.rows.extend(row)
        if not background:
            self.rows[H.BACKGROUND] = len(self.rows)

    def index_of(self, task):
        """Index of a task (TASK_*); ValueError when it was not added. Start only."""
        for index in range(len(self.names)):
            if self.rows[H.HEAD + index * R.COLUMNS + R.MARK] == TASK_MAGIC + task:
                return index
        raise ValueError("no such task")

    def begin(self):
        """Restart all phases now, so that start-up time does not count as lateness. Call before `run`."""
        now_us = self._ticks_us()
        passed_us = now_us - self._begun_us
        self._begun_us = now_us
        for at in range(H.HEAD + R.NEXT, len(self.rows), R.COLUMNS):
            self.rows[at] = (self.rows[at] + passed_us) & TICKS_MASK

    def run(self, idle):
        """Run the first task that is due, again and again; call idle(due_us) while no task is due. Does not allocate.

        Ends only by an exception of a task or of idle. All values are locals, and one kernel does everything between
        two tasks: one more call for each of a thousand tasks a second costs a percent of the processor.
        """
        rows = self.rows
        end = len(rows)
        ticks_us = self._ticks_us
        register = self._register
        functions = self._functions
        select = _next
        at = 0              # place of the running task's row; at // COLUMNS is its index, as HEAD < COLUMNS
        try:
            while True:
                now_us = ticks_us()
                at = select(rows, at, end, now_us, register)
                if at:
                    functions[at // R.COLUMNS](now_us)
                else:
                    idle(rows[H.DUE])
        finally:
            select(rows, at, 0, ticks_us(), register)

    @micropython.viper
    def ask(self, index: int, now_us: int, wait_us: int):
        """Make a task due wait_us after now_us instead of its scheduled time; its period counts from there.

        Does not allocate. In viper, because the sum of clock and wait exceeds a small integer just before the clock
        wraps.
        """
        rows = ptr32(self.rows)
        rows[H.HEAD + index * R.COLUMNS + R.NEXT] = (now_us + wait_us) & TICKS_MASK

    @micropython.viper
    def until_us(self, index: int, now_us: int) -> int:
        """Time from now_us until a task is due, µs; 0 when it is due already. Does not allocate."""
        rows = ptr32(self.rows)
        left = (rows[H.HEAD + index * R.COLUMNS + R.NEXT] - now_us) & TICKS_MASK
        return left if left < TICKS_HALF else 0

    @micropython.viper
    def on_schedule(self, now_us: int) -> int:
        """1 if no critical task is overdue by more than its period + GRACE_US, else 0. Checked before each feed.

        Updates WAITED as _next does. In viper, as the scan calls it. Does not allocate.
        """
        rows = ptr32(self.rows)
        overdue = 0
        at = H.HEAD
        while at < rows[H.BACKGROUND]:
            waited = (now_us - rows[at + R.NEXT]) & TICKS_MASK
            if waited < TICKS_HALF:
                if waited > rows[H.WAITED]:
                    rows[H.WAITED] = waited
                if waited > rows[at + R.PERIOD] + GRACE_US:
                    overdue += 1
            at += R.COLUMNS
        return 0 if overdue else 1

    def runs(self, index):
        """Completed runs of a task since the start or `clear`."""
        return self.rows[H.HEAD + index * R.COLUMNS + R.RUNS]

    @micropython.viper
    def take_late_us(self) -> int:
        """Longest time that a critical task has waited beyond its due time since the last call, µs."""
        rows = ptr32(self.rows)
        late_us = rows[H.WAITED]
        rows[H.WAITED] = 0
        return late_us

    def mean_us(self, index):
        """Mean run time of a task, µs."""
        return self.rows[H.HEAD + index * R.COLUMNS + R.MEAN_16] >> 4

    def row(self, index):
        """(period, worst, mean, budget, runs, late, overrun) of a task, times in µs."""
        rows = self.rows
        at = H.HEAD + index * R.COLUMNS
        return (
            rows[at + R.PERIOD], rows[at + R.WORST], self.mean_us(index),
            rows[at + R.BUDGET], self.runs(index), rows[at + R.LATE], rows[at + R.OVERRUN],
        )  # fmt: skip

    def clear(self):
        """Reset worst times and counters, keep the phases (console command)."""
        for index in range(len(self.names)):
            for column in (R.RUNS, R.WORST, R.MEAN_16, R.LATE, R.OVERRUN, R.LAST):
                self.rows[H.HEAD + index * R.COLUMNS + column] = 0
