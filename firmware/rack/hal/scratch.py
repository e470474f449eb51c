"""Watchdog scratch registers: they survive a reset without loss of power.

0 mode request (one-shot), 1 running task, 2 reason of a deliberate reset, 3 free; 4..7 belong to the boot ROM and the
SDK. Values stay below 2**30, so that reading them does not allocate. boot.py must not depend on this package and
repeats MAINTENANCE_MAGIC as a number.
"""

from micropython import const

from rack.definitions.codes import REASON_HANG, REASON_MAINTENANCE, REASON_POWER
from rack.hal import chip_rp2040 as chip

MAINTENANCE_MAGIC = const(0x05E41CE5)
TASK_MAGIC = const(0x0A5C0000)     # + TASK_* of the running task, written by rack.scheduler; 0 between tasks
_REASON_MAGIC = const(0x0DE50000)


class Scratch:
    """mem32: machine.mem32, or a dict in tests. task_before: TASK_* that ran at the reset, -1 unknown."""

    def __init__(self, mem32):
        self._mem = mem32
        self.task_before = -1
        last = mem32[chip.SCRATCH_TASK]
        if last & 0x3FFF0000 == TASK_MAGIC:
            self.task_before = last & 0xFF
        mem32[chip.SCRATCH_TASK] = 0

    def request_maintenance(self):
        """Let the next start enter maintenance mode, once."""
        self._mem[chip.SCRATCH_MODE] = MAINTENANCE_MAGIC
        self.note_reason(REASON_MAINTENANCE)

    def note_reason(self, reason):
        """Write REASON_* before a deliberate reset."""
        self._mem[chip.SCRATCH_REASON] = _REASON_MAGIC | reason

    def reset_reason(self, watchdog):
        """REASON_* of this start, read once. watchdog: the chip reports a watchdog reset, as after machine.reset()."""
        noted = self._mem[chip.SCRATCH_REASON]
        self._mem[chip.SCRATCH_REASON] = 0
        if not watchdog:
            return REASON_POWER
        if noted & 0x3FFF0000 == _REASON_MAGIC:
            self.task_before = -1       # a deliberate reset: the running task did not hang
            return noted & 0xFF
        return REASON_HANG
