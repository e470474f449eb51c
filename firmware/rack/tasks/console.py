"""When an answer on the console may run: pacing against the scan, and postponement while cells are late.

Hazard: an answer that delays a scan, or that takes the time in which late cells would still arrive. Also the idle
loop, because answers continue there.
"""

from micropython import const

from rack.generated import ids as I
from rack.base.clock import TICKS_MASK
from rack.definitions.codes import TASK_CONSOLE, TASK_SCAN
from rack.definitions.codes import AFE_RUN
from rack.tasks.collector import cell_times

_SLICES = const(64)     # pieces of an answer between two collections; each leaves about 100 bytes of garbage
# After this many postponements (0.1 s) an answer runs even if it delays the scan, so that `maintenance` works on a
# busy rack. Engineering judgement.
_POSTPONED_MAX = const(20)
# Time for one long piece of work: counting the heap takes 5 ms on the emulated board, plus interrupts in that time.
_LONG_US = const(6_500)


def _flush(console):
    return console.flush()


class ConsoleTask:
    """app: rack.app.App. idle_us: idle time since the slow task has read it, µs."""

    def __init__(self, app):
        self.idle_us = 0
        self._port = app.port
        self._s = app.controller.s
        self._afe = app.afe
        self._console = app.console
        self._terminal = app.terminal
        self._collector = app.collector
        self._unlocked = app.unlocked
        self._answer_piece = self._answer
        self._far_us = app.params.rack_scan_ms * 1000 * 3 // 10
        _, self._late_ms, self._lost_ms = cell_times(app.params)
        self._pieces = 0        # of answers since a collection was requested
        self._postponed = 0     # calls of `run` that have waited for a scan
        self._index = self._scan_index = 0

    def begin(self, scheduler):
        """Before the loop."""
        self._scheduler = scheduler
        self._index = scheduler.index_of(TASK_CONSOLE)
        self._scan_index = scheduler.index_of(TASK_SCAN)

    def run(self, now_us):
        """Take typed characters and send one piece of an answer, when there is time for it."""
        terminal = self._terminal
        if self._console.busy or terminal.waiting or terminal.has_come():
            if self.may_answer(now_us):
                self._unlocked(self._answer_piece, now_us)
            elif not self.cells_are_late():
                self._postponed += 1

    def may_answer(self, now_us):
        """True if no scan is near, or the console was postponed long enough; and no late cells are awaited.

        A piece takes up to 3 ms. Of a scan period the last three tenths are kept free: 3 ms of 10. Shorter scan
        periods keep the same share, as otherwise no answer would begin.
        """
        far = self._scheduler.until_us(self._scan_index, now_us) > self._far_us
        return (far or self._postponed >= _POSTPONED_MAX) and not self.cells_are_late()

    def scan_is_far(self):
        """True if there is time for a long piece of work before the next scan."""
        return self._scheduler.until_us(self._scan_index, self._port.ticks_us()) > _LONG_US

    def cells_are_late(self):
        """True while cells are late, or the AFEs are being reconfigured, but the cells are not yet lost.

        An answer now would use up the time that is left before the trip.
        """
        age_ms = self._s[I.CELLS_AGE_ms]
        return age_ms < self._lost_ms and (age_ms > self._late_ms or self._afe.state != AFE_RUN)

    def _answer(self, now_us):
        """One call of the console; requests a collection after a long answer. Allocates."""
        console = self._console
        answering = console.busy
        self._postponed = 0
        console.poll()
        self._pieces += answering
        if self._pieces >= _SLICES or (answering and not console.busy):
            self._pieces = 0
            self._collector.requested = True

    def idle(self, due_us):
        """No task is due until due_us: continue an answer, or let the processor sleep."""
        port = self._port
        console = self._console
        start_us = port.ticks_us()
        if console.busy and self.may_answer(start_us):
            # run it as a task, so that its time is accounted and a hang is attributed to it
            self._scheduler.ask(self._index, start_us, 0)
            return
        if self._terminal.waiting:
            if self._unlocked(_flush, console):
                return
            due_us = start_us       # only until the next interrupt: the terminal may take bytes again
        port.sleep(due_us)
        self.idle_us += (port.ticks_us() - start_us) & TICKS_MASK
