"""CRC-16 of the BQ79616 frames (and of Modbus RTU): poly 0x8005 reflected, initial value 0xFFFF.

A flipped bit on the daisy chain must not become a cell voltage: the CRC of every frame is checked.
Source: TI SLVAE86B (frames in tests/unit/drivers/vectors). The byte table costs half a kilobyte and halves the time.
"""

from array import array
import micropython

from rack.base.viper import ptr8, ptr16


def _byte_table():
    """The CRC of each byte: first of the bytes with one bit, then their sums. Bit by bit takes eight times as long."""
    table = array("H", bytes(512))
    crc = 1
    bit = 128
    while bit:
        crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        for index in range(bit, 256, 2 * bit):
            table[index] = crc ^ table[index - bit]
        bit >>= 1
    return table


TABLE = _byte_table()


@micropython.viper
def crc16(buffer, start: int, length: int, table) -> int:
    """CRC over buffer[start:start + length]; 0 over a frame that includes its own CRC (low byte first).

    table: TABLE. No bounds check on the board: the caller keeps start + length inside the buffer.
    """
    data = ptr8(buffer)
    crcs = ptr16(table)
    crc = 0xFFFF
    i = start
    end = start + length
    while i < end:
        crc = (crc >> 8) ^ int(crcs[(crc ^ int(data[i])) & 0xFF])
        i += 1
    return crc


def seal(frame, length):
    """Write the CRC of frame[:length] behind it, low byte first; returns the whole length."""
    crc = crc16(frame, 0, length, TABLE)
    frame[length] = crc & 0xFF
    frame[length + 1] = crc >> 8
    return length + 2
