"""Erase and program commands on the flash bus: a hook for each, and the time that they take.

rp2040py erases in no time. A 4 kB sector erase takes 45 ms typically and 400 ms at most, a page program 0.4 to 3 ms
(W25Q16JV data sheet, AC characteristics). The RP2040 cannot run code from flash in that time and MicroPython masks
interrupts, so the core stands still while PIO, timers and buses go on.
"""

from collections.abc import Callable, Iterable

from rp2040py.peripherals.ssi import (
    CMD_BLOCK_ERASE,
    CMD_PAGE_PROGRAM,
    CMD_SECTOR_ERASE,
    FLASH_BLOCK_SIZE,
    FLASH_SECTOR_SIZE,
)
from rp2040py.rp2040 import RP2040

FlashCallback = Callable[[str, int, int], None]
_ERASES = {CMD_SECTOR_ERASE: FLASH_SECTOR_SIZE, CMD_BLOCK_ERASE: FLASH_BLOCK_SIZE}


class FlashWatch:
    """Reports every erase and program command of the chip. erase_stall_ms, program_stall_ms: time of one command."""

    def __init__(self, rp2040: RP2040) -> None:
        self._clock = rp2040.clock
        self._ssi = rp2040.ssi
        self._apply = self._ssi._apply_command
        self._callbacks: list[FlashCallback] = []
        self.erase_stall_ms = 0.0
        self.program_stall_ms = 0.0
        setattr(self._ssi, "_apply_command", self._applied)  # noqa: B010 - a method, replaced on purpose

    def on_write(self, callback: FlashCallback) -> None:
        """Call callback(command, address, bytes) at the start of each "erase" or "program" command."""
        self._callbacks.append(callback)

    def _applied(self) -> None:
        command = bytes(self._ssi._tx_buffer[:4])
        length = len(self._ssi._tx_buffer)
        armed = self._ssi._write_enabled
        self._apply()
        if not armed or length < 4:
            return
        address = int.from_bytes(command[1:4], "big")
        if command[0] in _ERASES:
            size = _ERASES[command[0]]
            self._report("erase", address & ~(size - 1), size, self.erase_stall_ms)
        elif command[0] == CMD_PAGE_PROGRAM and length > 4:
            self._report("program", address, length - 4, self.program_stall_ms)

    def _report(self, command: str, address: int, size: int, stall_ms: float) -> None:
        for callback in self._callbacks:
            callback(command, address, size)
        if stall_ms:
            self._clock.tick(stall_ms * 1e6)


class ClosedWatch:
    """Rule R6: finds writes of flash while a contact of the rack is closed, in the record of one board.

    writes: one line for each. closings, openings: number of contact movements.
    """

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.closings = 0
        self.openings = 0
        self._closed: set[object] = set()

    def see(self, at_us: float, what: str, detail: tuple[object, ...]) -> None:
        """Take one entry of the record, in order of time (us)."""
        if what == "contact":
            name, is_closed = detail
            (self._closed.add if is_closed else self._closed.discard)(name)
            self.closings += bool(is_closed)
            self.openings += not is_closed
        elif what == "flash" and self._closed:
            closed = ", ".join(sorted(map(str, self._closed)))
            self.writes.append(f"{at_us:.0f} us: flash written, {detail}, with {closed} closed")

    @classmethod
    def over(cls, events: Iterable[tuple[float, str, tuple[object, ...]]]) -> "ClosedWatch":
        """Return a watch that has seen all entries of a board's record."""
        watch = cls()
        for at_us, what, detail in events:
            watch.see(at_us, what, detail)
        return watch
