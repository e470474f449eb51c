"""Event log: a ring of fixed records in FRAM, each with sequence and CRC.

After an incident the log is the only witness. A power cut at any byte of a write leaves every earlier record
readable; a damaged record is skipped.
"""

import struct

from micropython import const

from rack.drivers.crc16 import TABLE, crc16

RECORD = const(32)
# u32 sequence, u16 boot, u32 uptime ms (wraps at 2**30), u8 kind, u8 code, 4 × i32 values, then 2 spare and CRC-16
_FORMAT = "<IHIBBiiii"
_CRC_AT = const(30)
_SEQUENCE_MAX = const(0x3FFFFFFF)   # a small integer on the board; after it the sequence begins again at 0
_DAMAGED = const(16)        # consecutive damaged records that a search passes


def _after(sequence):
    """The sequence of the next record. A decade of 3.4 records a second reaches the wrap."""
    return sequence + 1 if sequence < _SEQUENCE_MAX else 0


class EventLog:
    """`records` records at address `at`. kind: KIND_* and code: 0..255, see codes; values: magnitude below 2**30.

    lost: records that could not be written. head: sequence of the next record.
    """

    def __init__(self, fram, at, records):
        self.lost = 0
        self.head = 0
        self.boot = 0
        self.fram = fram
        self._at = at
        self._records = records
        self._buffer = bytearray(RECORD)

    def open(self, boot, head=-1):
        """Find the newest record. boot: number of this start, 0..65535. Start only.

        head: a sequence at or before the next record, where the search begins; -1: read the whole ring, 0.6 s.
        """
        self.boot = boot
        if head >= 0:
            self._search(head)
            return
        newest = -1
        for slot in range(self._records):
            sequence = self._read(slot)
            if sequence > newest and sequence % self._records == slot:
                newest = sequence
        self.head = _after(newest)

    def _search(self, sequence):
        """Set head behind the newest record, from `sequence` on."""
        self.head = sequence
        damaged = 0
        while damaged < _DAMAGED:
            damaged += 1
            if self._read(sequence % self._records) == sequence:
                self.head = _after(sequence)
                damaged = 0
            sequence = _after(sequence)

    def append(self, now_ms, kind, code, a=0, b=0, c=0, d=0):
        """Write one record; True when the FRAM has taken it. One transfer of 34 bytes, about 0.35 ms at 1 MHz."""
        buffer = self._buffer
        struct.pack_into(_FORMAT, buffer, 0, self.head, self.boot, now_ms, kind, code, a, b, c, d)
        buffer[28] = buffer[29] = 0
        struct.pack_into("<H", buffer, _CRC_AT, crc16(buffer, 0, _CRC_AT, TABLE))
        if not self.fram.write(self._at + self.head % self._records * RECORD, buffer):
            if self.lost < _SEQUENCE_MAX:
                self.lost += 1
            return False
        self.head = _after(self.head)
        return True

    def read(self, sequence):
        """(sequence, boot, uptime ms, kind, code, a, b, c, d), or None when it is overwritten or damaged."""
        if self._read(sequence % self._records) != sequence:
            return None
        return struct.unpack_from(_FORMAT, self._buffer, 0)

    def oldest(self):
        """Sequence of the oldest record that the ring may still hold."""
        return max(0, self.head - self._records)

    def _read(self, slot):
        """Read a slot into the buffer; returns the sequence of its record, -1 when the record is damaged."""
        if not self.fram.read_into(self._at + slot * RECORD, self._buffer):
            return -1
        if crc16(self._buffer, 0, RECORD, TABLE) != 0:
            return -1
        sequence = struct.unpack_from("<I", self._buffer, 0)[0]
        return sequence if sequence <= _SEQUENCE_MAX else -1
