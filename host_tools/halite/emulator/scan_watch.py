"""The delay of the scan and the run times of the tasks, read from outside the board in emulated time.

The board notes the task that it runs in a watchdog scratch register (rack.hal.scratch); its number is TASK_* of
rack.definitions.codes. A scan behind a collection is late on purpose and is not counted.
"""

from halite.common.paths import use_firmware
from halite.emulator.board import EmulatedBoard

use_firmware()

from rack.definitions.codes import TASK_COLLECT, TASK_SCAN  # noqa: E402 - only after use_firmware

_TASK_AT = 0x10  # scratch register 1


class ScanWatch:
    """Watches from its creation on. Read `longest_wait_us` and `longest_us` after some emulated time."""

    def __init__(self, board: EmulatedBoard, period_us: int) -> None:
        self._board = board
        self._period_us = period_us
        self._starts: list[float] = []
        self._behind_collection = False
        self._running, self._since_us = -1, 0.0
        self._longest_us: dict[int, float] = {}
        watchdog = board.rp2040.watchdog
        self._write = watchdog.write_uint32
        setattr(watchdog, "write_uint32", self._written)  # noqa: B010 - a method, replaced on purpose

    def _written(self, offset: int, value: int) -> None:
        if offset == _TASK_AT:
            self._ended()
            if value:
                self._runs(value & 0xFF)
        self._write(offset, value)

    def _ended(self) -> None:
        took_us = self._board.now_us - self._since_us
        self._longest_us[self._running] = max(took_us, self._longest_us.get(self._running, 0.0))
        self._running = -1

    def _runs(self, task: int) -> None:
        self._running, self._since_us = task, self._board.now_us
        if task == TASK_COLLECT:
            self._behind_collection = True
        elif task == TASK_SCAN:
            if not self._behind_collection:
                self._starts.append(self._board.now_us)
            self._behind_collection = False

    def longest_us(self, task: int) -> float:
        """Return the longest run of one task in us, interrupts included; 0.0 when it did not run."""
        return self._longest_us.get(task, 0.0)

    def longest_wait_us(self) -> float:
        """Return the largest delay of a scan in us, against the scan with the earliest phase, which did not wait."""
        first = self._starts[0]
        phases = [
            (start - first + self._period_us / 2) % self._period_us - self._period_us / 2 for start in self._starts
        ]
        return max(phases) - min(phases)
