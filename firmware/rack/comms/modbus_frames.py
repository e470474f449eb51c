"""Kernels of the Modbus slave: find a request among received bytes, read its numbers, fill an answer.

Any bytes may come from the line, so a frame is used only after its CRC was checked. A value of 32 bits is loaded once
for both of its registers, so that both belong together. Numbers stay below 2**30: a larger number would allocate.
"""

import micropython
from micropython import const

from rack.drivers.crc16 import crc16
from rack.base.viper import ptr8, ptr32
from rack.generated.modbus_map import (
    CONSTANT, SIGNAL_HIGH, SIGNAL_LOW, SIGNAL_SIGNED, SIGNAL_UNSIGNED, TEXT, WORD_HIGH, WORD_LOW,
)  # fmt: skip

_MAX = const(0x3FFF_FFFF)   # largest number that does not allocate
_BROADCAST = const(0)       # address

# functions
READ = const(3)             # read holding registers
WRITE = const(6)            # write one register
WRITES = const(16)          # write several registers


@micropython.viper
def find_request(frame, size: int, unit: int, table) -> int:
    """Start of the request to this unit in frame[:size], which ends with silence; -1 without one.

    While a scan ran, several frames of a shared line may have arrived. Then the kernel searches the last frame from
    the end, by its length and CRC. A frame that arrived alone may have any function.
    """
    data = ptr8(frame)
    if size < 4:
        return -1
    if int(crc16(frame, 0, size, table)) == 0:
        to = int(data[0])
        if to != _BROADCAST and to != unit:
            return -1
        return 0
    at = size - 8
    while at >= 0:
        to = int(data[at])
        if to == unit or to == _BROADCAST:      # noqa: SIM109 viper has no tuples
            function = int(data[at + 1])
            length = 0
            if function == WRITES:
                length = 9 + int(data[at + 6])
            elif function == READ or function == WRITE:     # noqa: SIM109 viper has no tuples
                length = 8
            if at + length == size and int(crc16(frame, at, length, table)) == 0:
                return at
        at -= 1
    return -1


@micropython.viper
def shift(frame, by: int, count: int):
    """Move count bytes from index `by` to the beginning."""
    data = ptr8(frame)
    at = 0
    while at < count:
        data[at] = int(data[at + by])
        at += 1


@micropython.viper
def number(frame, at: int, registers: int) -> int:
    """The number at frame[at]: of one register unsigned, of two signed, clamped to +-(2**30 - 1)."""
    data = ptr8(frame)
    low = int(data[at]) << 8 | int(data[at + 1])
    if registers == 1:
        return low
    high = low
    if high >= 0x8000:
        high -= 0x10000
    if high >= 0x4000:
        return _MAX
    if high < -0x4000:
        return -_MAX
    return high << 16 | int(data[at + 2]) << 8 | int(data[at + 3])


@micropython.viper
def evt1(active, bits, count: int) -> int:
    """Evt1 of model 802: the bits of all active alarms. active: state of each alarm; bits: its bit."""
    states = ptr32(active)
    bit = ptr8(bits)
    found = 0
    at = 0
    while at < count:
        if int(states[at]):
            found |= 1 << int(bit[at])
        at += 1
    return found


@micropython.viper
def fill(frame, first: int, count: int, rows, signals, words, text):  # noqa: C901 one loop
    """Write registers first to first + count - 1 into the frame from byte 3 on.

    rows: MAP of rack.generated.modbus_map; its rows index signals, words and text.
    """
    out = ptr8(frame)
    row_bytes = ptr8(rows)
    signal = ptr32(signals)
    word = ptr32(words)
    texts = ptr8(text)
    row = 3 * first
    at = 3
    end = 3 + 2 * count
    before = CONSTANT
    value = 0
    while at < end:
        kind = int(row_bytes[row])
        index = int(row_bytes[row + 1])
        if kind == CONSTANT:
            value = index << 8 | int(row_bytes[row + 2])
        elif kind == TEXT:
            value = int(texts[2 * index]) << 8 | int(texts[2 * index + 1])
        elif kind != before + 1 or (kind != SIGNAL_LOW and kind != WORD_LOW):
            value = int(signal[index]) if kind < WORD_HIGH else int(word[index])    # loaded once for both halves
        if kind == SIGNAL_SIGNED:           # 0x8000 would mean "not implemented"
            if value > 0x7FFF:
                value = 0x7FFF
            elif value < -0x7FFF:
                value = -0x7FFF
        elif kind == SIGNAL_UNSIGNED:       # 0xFFFF would mean "not implemented"
            if value < 0:
                value = 0
            elif value > 0xFFFE:
                value = 0xFFFE
        register = value
        if kind == SIGNAL_HIGH or kind == WORD_HIGH:    # noqa: SIM109 viper has no tuples
            register = value >> 16
        out[at] = register >> 8 & 0xFF
        out[at + 1] = register & 0xFF
        before = kind
        row += 3
        at += 2
