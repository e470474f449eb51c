"""Fujitsu MB85RC256V: 32 KiB FRAM on I²C (data sheet DS501-00017).

Each byte is stored as soon as it is acknowledged. The chip has neither pages nor a write time. A power cut keeps every
byte before it and loses every byte after it. The model counts the accesses to each byte and does not fail by wear.
"""

from array import array

from halite.chips.faults import WireFaults
from halite.common.paths import use_firmware

use_firmware()

from rack.drivers.fram import SIZE  # noqa: E402 - only after use_firmware

ENDURANCE = 10**12  # reads and writes of each byte, minimum: DS501-00017-3v0-E, features


class Fram:
    """content survives power cycles. cut_after: number of further stored bytes before the supply fails.

    wear: reads and writes of each byte so far. writes: of all bytes.
    """

    def __init__(self, content: bytes | None = None, address: int = 0x50, faults: WireFaults | None = None) -> None:
        self.content = bytearray(content if content is not None else bytes(SIZE))
        self.address = address
        self.faults = faults or WireFaults()
        self.cut_after: int | None = None
        self.powered = True
        self.writes = 0
        self.wear = array("Q", bytes(8 * SIZE))
        self._pointer = 0
        self._received = 0

    def power_cycle(self) -> None:
        """Supply returns after a cut; the address pointer is 0 again."""
        self.powered, self.cut_after, self._pointer = True, None, 0

    def start(self, read: bool) -> bool:
        """Address byte; True is an acknowledge."""
        self._received = 0
        self.faults.begins()
        return self.powered and not self.faults.missing and self.faults.stuck is None

    def write(self, byte: int) -> bool:
        """Two address bytes, then data; the address wraps at the end of the chip."""
        if not self.powered or self.faults.missing:
            return False
        if self.faults.resets_now():
            self._pointer = 0
        byte = self.faults.clocked(byte)
        self._received += 1
        if self._received == 1:
            self._pointer = (byte & 0x7F) << 8 | self._pointer & 0xFF
        elif self._received == 2:
            self._pointer = self._pointer & 0x7F00 | byte
        else:
            return self._store(byte)
        return True

    def _store(self, byte: int) -> bool:
        if self.cut_after is not None:
            if self.cut_after == 0:
                self.powered = False
                return False
            self.cut_after -= 1
        self.content[self._pointer] = byte
        self.wear[self._pointer] += 1
        self._pointer = self._pointer + 1 & SIZE - 1
        self.writes += 1
        return True

    def read(self) -> int:
        """The byte at the pointer, which moves on."""
        if not self.powered:
            return 0xFF
        byte = self.content[self._pointer]
        self.wear[self._pointer] += 1
        self._pointer = self._pointer + 1 & SIZE - 1
        return self.faults.clocked(byte, answer=True)

    def stop(self) -> None:
        """Stop condition."""
        self._received = 0
