"""Kernels of the Modbus slave: find a request among bytes, read its numbers, fill an answer.

Whatever stands on the line comes through here, so nothing is believed before its CRC; and a value of 32 bits is loaded
once for both of its registers, so that it is never torn. Numbers stay below 2**30: a larger one would allocate.
"""

import micropython
from micropython import const

from rack.drivers.crc16 import crc16
from rack.base.viper import ptr8, ptr32

_MOST = const(0x3FFF_FFFF)
_ALL = const(0)             # address of a broadcast
READ = const(3)
WRITE = const(6)
WRITES = const(16)


@micropython.viper
def find_request(frame, size: int, unit: int, table) -> int:
    """Where the request to this unit begins in frame[:size], which ends with silence; -1 when there is none.

    A scan may have let several frames of a shared line come together: then the last is looked for from its end, by
    its length and its CRC. Only a frame that is alone may have a function that is not known here.
    """
    b = ptr8(frame)
    if size < 4:
        return -1
    if int(crc16(frame, 0, size, table)) == 0:
        to = int(b[0])
        if to != _ALL and to != unit:
            return -1
        return 0
    at = size - 8
    while at >= 0:
        to = int(b[at])
        if to == unit or to == _ALL:            # noqa: SIM109 viper has no tuples
            function = int(b[at + 1])
            length = 0
            if function == WRITES:
                length = 9 + int(b[at + 6])
            elif function == READ or function == WRITE:     # noqa: SIM109 viper has no tuples
                length = 8
            if at + length == size and int(crc16(frame, at, length, table)) == 0:
                return at
        at -= 1
    return -1


@micropython.viper
def shift(frame, by: int, count: int):
    """Move count bytes to the beginning."""
    b = ptr8(frame)
    at = 0
    while at < count:
        b[at] = int(b[at + by])
        at += 1


@micropython.viper
def number(frame, at: int, registers: int) -> int:
    """The number in one register, unsigned, or in two, signed; one that is no small integer becomes the nearest."""
    b = ptr8(frame)
    low = int(b[at]) << 8 | int(b[at + 1])
    if registers == 1:
        return low
    high = low
    if high >= 0x8000:
        high -= 0x10000
    if high >= 0x4000:
        return _MOST
    if high < -0x4000:
        return -_MOST
    return high << 16 | int(b[at + 2]) << 8 | int(b[at + 3])


@micropython.viper
def events(active, bits, count: int) -> int:
    """Evt1 of model 802: the bits of all alarms that are active."""
    a = ptr32(active)
    b = ptr8(bits)
    found = 0
    at = 0
    while at < count:
        if int(a[at]):
            found |= 1 << int(b[at])
        at += 1
    return found


@micropython.viper
def fill(frame, first: int, count: int, rows, signals, words, text):  # noqa: C901 one loop
    """Registers first to first + count - 1 into the frame from byte 3 on; rows: MAP of rack.generated.modbus_map."""
    b = ptr8(frame)
    r = ptr8(rows)
    s = ptr32(signals)
    x = ptr32(words)
    t = ptr8(text)
    row = 3 * first
    at = 3
    end = 3 + 2 * count
    before = 0
    value = 0
    while at < end:
        kind = int(r[row])
        index = int(r[row + 1])
        if kind == 0:                       # constant
            value = index << 8 | int(r[row + 2])
        elif kind == 7:                     # text
            value = int(t[2 * index]) << 8 | int(t[2 * index + 1])
        elif kind != before + 1 or (kind != 2 and kind != 6):   # a low half behind its high half is there already
            value = int(s[index]) if kind < 5 else int(x[index])
        if kind == 3:                       # signed; 0x8000 would be "not implemented"
            if value > 0x7FFF:
                value = 0x7FFF
            elif value < -0x7FFF:
                value = -0x7FFF
        elif kind == 4:                     # unsigned; 0xFFFF would be "not implemented"
            if value < 0:
                value = 0
            elif value > 0xFFFE:
                value = 0xFFFE
        word = value
        if kind == 1 or kind == 5:
            word = value >> 16
        b[at] = word >> 8 & 0xFF
        b[at + 1] = word & 0xFF
        before = kind
        row += 3
        at += 2
