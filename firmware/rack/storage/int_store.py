"""Numbers that must survive a loss of power (counters, state of charge, latches): two copies in FRAM.

A write goes to the older copy and its CRC comes last, so a power cut at any byte leaves the newer copy intact. When
both copies are unreadable, that is reported and not replaced by zeros: a lost deep-discharge latch is a hazard.
"""

import struct

from micropython import const

from rack.drivers.crc16 import TABLE, crc16

_HEAD = const(4)   # u32 sequence, below 2**30
_TAIL = const(2)   # CRC-16
_READS = const(3)  # attempts to read a copy at the start: engineering judgement
_SEQUENCE_MASK = const(0x3FFFFFFF)
_SEQUENCE_HALF = const(0x20000000)


class IntStore:
    """count 32-bit integers (magnitude below 2**30) at address `at`; occupies size() bytes."""

    def __init__(self, fram, at, count):
        self._fram = fram
        self._at = at
        self._count = count
        self._bytes = _HEAD + 4 * count + _TAIL
        self._buffer = bytearray(self._bytes)
        self._sequence = 0
        self._slot = 0

    @property
    def sequence(self):
        """Number of the newest intact copy, 0..2**30 - 1. It changes with each confirmed write."""
        return self._sequence

    def size(self):
        """Bytes of both copies."""
        return 2 * self._bytes

    def load(self, values):
        """Fill values (array('i') of count) from the newest intact copy; False and no change if both are damaged."""
        newest = -1
        for slot in (0, 1):
            sequence = self._read_well(slot)
            if sequence >= 0 and (newest < 0 or (sequence - newest) & _SEQUENCE_MASK < _SEQUENCE_HALF):
                newest = sequence
                self._slot = slot
        if newest < 0 or self._read_well(self._slot) != newest:
            return False
        self._sequence = newest
        for index in range(self._count):
            values[index] = struct.unpack_from("<i", self._buffer, _HEAD + 4 * index)[0]
        return True

    def empty(self):
        """True if both copies are blank, as in a new chip. Call after `load` has returned False."""
        for slot in (0, 1):
            if not self._fram.read_into(self._at + slot * self._bytes, self._buffer) or any(self._buffer):
                return False
        return True

    # -- a write over the older copy, in three steps of at most one transfer

    def stage(self, values):
        """Pack values for the next `write`."""
        buffer = self._buffer
        struct.pack_into("<I", buffer, 0, (self._sequence + 1) & _SEQUENCE_MASK)
        for index in range(self._count):
            struct.pack_into("<i", buffer, _HEAD + 4 * index, values[index])
        crc = crc16(buffer, 0, self._bytes - _TAIL, TABLE)
        struct.pack_into("<H", buffer, self._bytes - _TAIL, crc)

    def write(self):
        """Write the staged values over the older copy; True when the FRAM has taken all bytes."""
        return self._fram.write(self._at + (1 - self._slot) * self._bytes, self._buffer)

    def confirm(self):
        """Read the copy back; True when it is intact. From then on it is the newer copy."""
        sequence = (self._sequence + 1) & _SEQUENCE_MASK
        if self._read(1 - self._slot) != sequence:
            return False
        self._sequence = sequence
        self._slot = 1 - self._slot
        return True

    def _read_well(self, slot):
        """As `_read`, with more attempts after a disturbance on the bus: the older copy may lack a trip."""
        for _ in range(_READS):
            sequence = self._read(slot)
            if sequence >= 0:
                break
        return sequence

    def _read(self, slot):
        """Read a copy into the buffer; returns its sequence, -1 when it is damaged."""
        if not self._fram.read_into(self._at + slot * self._bytes, self._buffer):
            return -1
        if crc16(self._buffer, 0, self._bytes, TABLE) != 0:
            return -1
        sequence = struct.unpack_from("<I", self._buffer, 0)[0]
        return sequence if sequence <= _SEQUENCE_MASK else -1
