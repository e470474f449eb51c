"""The RS-485 line of an emulated board, seen at its pins: exact times of every byte and of the driver enable.

The board's bytes are read from the level of its transmit pin, in the middle of each bit and only while its driver is
on, as another device on the line would read them. Modbus over Serial Line V1.02, 2.5.1: eleven bits a character.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rp2040py.gpio_pin import GPIOPinState

from halite.chips.rs485 import CHARACTER_bits
from halite.emulator.board import EmulatedBoard
from halite.emulator.rp2040py_fixes.uart import SerialLine

_PARITY = ("none", "odd", "even")


class Character(NamedTuple):
    """A character of the board: from its start bit to the end of its stop bit. fault: "", or the kind of its error."""

    begin_us: float
    end_us: float
    byte: int
    fault: str


class BoardLine:
    """Wires UART1's pins of a board to a line. `send` sends from the far end; `characters` are those of the board.

    driver: (time in us, 1 on or 0 off) of each change. on_byte: called with each byte, at the end of its stop bit.
    on_frame: called with the bytes of a frame, three characters after the driver went off.
    """

    def __init__(self, board: EmulatedBoard, pins: Mapping[str, int], baud: int, parity: int) -> None:
        self.characters: list[Character] = []
        self.driver: list[tuple[float, int]] = []
        self.on_byte: Callable[[int], None] = lambda byte: None
        self.on_frame: Callable[[bytes], None] = lambda frame: None
        self.has_room: Callable[[], bool] = lambda: True  # part of halite.emulator.pseudo_terminal.Device
        self._board = board
        self._bit_us = 1e6 / baud
        self._parity = parity
        self._tx = board.rp2040.gpio[pins["rs485_tx"]]
        self._de = board.rp2040.gpio[pins["rs485_de"]]
        self._line = SerialLine(board.corrected.uart[1])
        self._sample = board.clock.create_alarm(self._sampled)
        self._ended = board.clock.create_alarm(self._frame_ended)
        self._frame_at = 0
        self._begin_us = -1.0
        self._bits: list[int] = []
        self._on = 0
        self._tx.add_listener(self._level_changed)
        self._de.add_listener(self._driver_changed)
        board.reset_listeners.append(self._board_reset)

    # -- the far end

    def send(self, data: bytes, at_us: float = 0.0) -> None:
        """Send from the far end at at_us, or as soon as the line is free after that time."""
        self._line.send(data, at_us)

    unsent = b""  # the line queues every byte at once

    def resume(self) -> None:
        """Do no work: a line does not make the board wait."""

    # -- the board

    @property
    def idle(self) -> bool:
        """True while the board's driver is off."""
        return not self._on

    def _driver_changed(self, new: GPIOPinState, old: GPIOPinState) -> None:
        on = int(new == GPIOPinState.HIGH)  # the external pull-down makes an undriven pin low
        if on != self._on:
            self._on = on
            self.driver.append((self._board.now_us, on))
            if not on:
                self._ended.schedule(3 * CHARACTER_bits * self._bit_us * 1000.0)

    def _frame_ended(self) -> None:
        frame, self._frame_at = self.characters[self._frame_at :], len(self.characters)
        self.on_frame(bytes(character.byte for character in frame))

    def _level_changed(self, new: GPIOPinState, old: GPIOPinState) -> None:
        if new == GPIOPinState.LOW and self._on and self._begin_us < 0:
            self._begin_us = self._board.now_us
            self._bits = []
            self._sample.schedule(self._bit_us * 500.0)

    def _sampled(self) -> None:
        """Alarm in the middle of each bit, and at the end of the last one."""
        done = len(self._bits)
        if done < CHARACTER_bits:
            self._bits.append(int(self._tx.value == GPIOPinState.HIGH) if self._on else -1)
            self._sample.schedule(self._bit_us * (1000.0 if done < CHARACTER_bits - 1 else 500.0))
            return
        begin_us, self._begin_us = self._begin_us, -1.0
        byte = sum((bit & 1) << at for at, bit in enumerate(self._bits[1:9]))
        character = Character(begin_us, self._board.now_us, byte, self._fault(self._bits))
        self.characters.append(character)
        if not character.fault:
            self.on_byte(byte)
        if self._tx.value == GPIOPinState.LOW and self._on:     # the next start bit has begun already
            self._level_changed(GPIOPinState.LOW, GPIOPinState.HIGH)

    def _fault(self, bits: list[int]) -> str:
        if -1 in bits:
            return "driver off"
        if bits[0] or not bits[10]:
            return "framing"
        ones = sum(bits[1:10]) & 1
        wanted = {"none": bits[9], "odd": ones, "even": 1 - ones}[_PARITY[self._parity]]
        return "" if wanted else "parity"

    def _board_reset(self) -> None:
        self._line.clear()
        self._sample.cancel()
        self._begin_us = -1.0
        self._driver_changed(self._de.value, GPIOPinState.HIGH)  # rp2040py reports no change of a pin that it resets
