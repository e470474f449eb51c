"""Watchdog scratch registers: what survives a reset without power loss.

0 mode request (one-shot), 1 running task, 2 reason of a deliberate reset; 3 free; 4..7 belong to the
boot ROM and SDK. Values stay below 2**30 so that reading them allocates nothing. boot.py, which must not
depend on this package, knows MAINTENANCE_MAGIC by value.
"""

from micropython import const

from rack.definitions.codes import REASON_HANG, REASON_MAINTENANCE, REASON_POWER
from rack.hal import chip_rp2040 as chip

MAINTENANCE_MAGIC = const(0x05E41CE5)
TASK_MAGIC = const(0x0A5C0000)     # with the id of the running task: rack.scheduler notes it, 0 between tasks
_REASON_MAGIC = const(0x0DE50000)


class Scratch:
    """mem32: machine.mem32, or a dict in tests. task_before: id of the task that ran at the reset, -1 unknown."""

    def __init__(self, mem32):
        self._mem = mem32
        self.task_before = -1
        last = mem32[chip.SCRATCH_TASK]
        if last & 0x3FFF0000 == TASK_MAGIC:
            self.task_before = last & 0xFF
        mem32[chip.SCRATCH_TASK] = 0

    def request_maintenance(self):
        self._mem[chip.SCRATCH_MODE] = MAINTENANCE_MAGIC
        self.note_reason(REASON_MAINTENANCE)

    def note_reason(self, reason):
        self._mem[chip.SCRATCH_REASON] = _REASON_MAGIC | reason

    def reset_reason(self, watchdog):
        """watchdog: the chip says a watchdog caused this start (machine.reset() is one too)."""
        noted = self._mem[chip.SCRATCH_REASON]
        self._mem[chip.SCRATCH_REASON] = 0
        if not watchdog:
            return REASON_POWER
        if noted & 0x3FFF0000 == _REASON_MAGIC:
            self.task_before = -1       # it was asked to: nothing hung
            return noted & 0xFF
        return REASON_HANG
