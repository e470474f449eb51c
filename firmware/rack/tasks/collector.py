"""When garbage is collected.

Hazard: a collection stops every task for up to COLLECT_ms, so it must not delay cells that are due.
"""

import gc

from micropython import const

from rack.generated import alarm_levels as L
from rack.generated import ids as I
from rack.base.clock import TICKS_MASK
from rack.definitions.codes import TASK_COLLECT

COLLECT_ms = const(20)          # longest collection: the bar of gc_collect_ms in the bench
ANSWER_ms = const(15)           # from the AFEs' answer on the bus to its evaluation: engineering judgement
LOST_MAX_ms = const(5_000)      # no collection waits longer for cells: half of its period
COLLECT_US = const(10_000_000)
_APART_US = const(500_000)      # between two collections, so that they disturb one fault's reaction only once
_CELLS_LOST = const(L.WIDTH * (I.ALARM_CELLS_LOST - 1))  # its row in alarms_levels


def cell_times(params):
    """(due, late, lost) in ms: ages of the cell voltages that decide when long work must wait. Start only.

    due: cells younger than this leave time for a collection before the next cells arrive.
        It is afe_period_ms - COLLECT_ms - ANSWER_ms.
    late: older cells miss their period. It is afe_period_ms + rack_scan_ms, as the age grows in scans.
    lost: cells of this age have tripped `cells_lost`, so waiting has no further use. Set value and set time of its
        row, plus COLLECT_ms and two scan periods by which the scan that trips may be late; at most LOST_MAX_ms.

    The shipped configs (period 100, scan 10, cells_lost 160 and 0 ms) give 65, 110, 200. The guard between due and
    lost needs at least one scan with younger cells, so a config must have
    afe_period_ms > rack_scan_ms + COLLECT_ms + ANSWER_ms.
    """
    period_ms, scan_ms = params.afe_period_ms, params.rack_scan_ms
    levels = params.alarms_levels
    lost_ms = levels[_CELLS_LOST + L.SET] + levels[_CELLS_LOST + L.SET_ms] + COLLECT_ms + 2 * scan_ms
    return period_ms - COLLECT_ms - ANSWER_ms, period_ms + scan_ms, min(lost_ms, LOST_MAX_ms)


class Collector:
    """app: rack.app.App. longest_us: of a collection. requested: a long answer has left garbage.

    collected_us: when the latest collection began.
    """

    def __init__(self, app):
        self.longest_us = 0
        self.requested = False
        self.collected_us = 0
        self._due_ms, _, self._lost_ms = cell_times(app.params)
        self._early_us = COLLECT_US - 1000 * self._lost_ms + 1      # it may be postponed until the cells are lost
        self._port = app.port
        self._s = app.controller.s
        self._response = app.controller.response
        self._index = 0

    def begin(self, scheduler):
        """Before the loop."""
        self._scheduler = scheduler
        self._index = scheduler.index_of(TASK_COLLECT)

    def plan(self, now_us):
        """Let a collection follow this scan at once, if one is needed and may run. At the end of the scan.

        Anywhere else in the scan period it would delay the next scan further. A collection does not begin while the
        next scan may find the mains lost, or while cells are due.
        """
        passed_us = (now_us - self.collected_us) & TICKS_MASK
        if passed_us < (_APART_US if self.requested else self._early_us):
            return
        if not (self._response.doubtful or self._due_ms <= self._s[I.CELLS_AGE_ms] < self._lost_ms):
            self._scheduler.ask(self._index, now_us, 0)

    def run(self, now_us):
        """Collect the garbage of answers on the console; the control core itself does not allocate."""
        port = self._port
        start_us = port.ticks_us()
        self.requested = False
        self.collected_us = now_us
        port.unlock_heap()
        gc.collect()
        port.lock_heap()
        self.longest_us = max(self.longest_us, (port.ticks_us() - start_us) & TICKS_MASK)
