"""The fast response on the emulated board, read from outside: each count and the kernel's state in RAM."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.emulator.board import EmulatedBoard

use_firmware()

from rack.base.period_count import OVERHEAD_TICKS  # noqa: E402 - only after use_firmware


class Taken(NamedTuple):
    """A mains period, in ticks of 16 ns, as the interrupt takes it from the PIO, with the kernel's state then."""

    at_us: float
    ticks: int
    state: tuple[int, ...]


class KernelTap:
    """Records every count that the interrupt takes of phase A, with the response's state in RAM.

    head: the first words of the state that the board's config gives; they identify the state in RAM. words: its length.
    """

    def __init__(self, board: EmulatedBoard, head: Sequence[int], words: int) -> None:
        self.taken: list[Taken] = []
        self._board = board
        self._head = struct.pack(f"<{len(head)}i", *head)
        self._layout = struct.Struct(f"<{words}i")
        self._at = -1
        fifo = board.rp2040.pio[1].machines[0].rx_fifo
        pull = fifo.pull

        def pulled() -> int:
            value: int = pull()
            self.taken.append(Taken(board.now_us, value + OVERHEAD_TICKS, self.state()))
            return value

        setattr(fifo, "pull", pulled)  # noqa: B010 - a method, replaced on purpose

    def state(self) -> tuple[int, ...]:
        """Return the kernel's state now. HaliteError before the application has made it."""
        sram = self._board.rp2040.sram
        if self._at < 0:
            self._at = bytes(sram).find(self._head)
        if self._at < 0:
            raise HaliteError("the response's state is not in RAM")
        return self._layout.unpack_from(sram, self._at)
