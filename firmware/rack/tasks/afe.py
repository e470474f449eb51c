"""The task of the cell monitors: one step of the AFE driver, or the evaluation of one part of its readings.

A whole AFE scan takes longer than a scan period, so it is cut into slices of at most 2 ms.
"""

from micropython import const

from rack.base.clock import TICKS_MASK
from rack.definitions.codes import AFE_RUN, TASK_AFE

POLL_US = const(1_200)  # shortest time between two polls: the task leaves time to the others


class AfeTask:
    """app: rack.app.App. judge_us: longest evaluation of one AFE scan, the sum of its slices.

    scan_us: longest AFE scan, from the request to the last temperature.
    """

    def __init__(self, app):
        self.judge_us = 0
        self.scan_us = 0
        self._port = app.port
        self._controller = app.controller
        self._afe = app.afe
        self._poll = app.afe.poll
        self._unlocked = app.unlocked
        self._judging_us = 0
        self._parts = (app.controller.judge_runaway, app.controller.judge_slow_rise, app.controller.compare_temps)
        self._parts_due = 0         # of the evaluation of the temperatures: of `_parts`, from the last to the first
        self._index = 0

    def begin(self, scheduler):
        """Before the loop."""
        self._scheduler = scheduler
        self._index = scheduler.index_of(TASK_AFE)

    def run(self, now_us):
        """One step of the driver, or one slice of the evaluation. Sets its own next due time."""
        afe = self._afe
        if afe.cells_ready or afe.temps_ready or self._parts_due:
            self._judge(afe)
        elif afe.state == AFE_RUN:
            afe.poll(now_us)
        else:
            self._unlocked(self._poll, now_us)      # bring-up allocates
        wait_us = afe.pause_us
        if wait_us < POLL_US:
            wait_us = POLL_US
        self._scheduler.ask(self._index, now_us, wait_us)

    def _judge(self, afe):
        """Evaluate the cells, the temperatures, or one of the parts that follow the temperatures."""
        port = self._port
        start_us = port.ticks_us()
        if afe.cells_ready:
            afe.cells_ready = False
            self._judging_us = 0
            self._controller.cells_arrived()
        elif self._parts_due:
            self._parts_due -= 1
            self._parts[self._parts_due]()
        else:
            afe.temps_ready = False
            self._parts_due = len(self._parts)
            self._controller.judge_temps()
        self._judging_us += (port.ticks_us() - start_us) & TICKS_MASK
        self.judge_us = max(self.judge_us, self._judging_us)
        self.scan_us = max(self.scan_us, afe.scan_us)
