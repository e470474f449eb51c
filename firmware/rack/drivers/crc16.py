"""CRC-16 of the BQ79616 frames (and of Modbus RTU): poly 0x8005 reflected, initial value 0xFFFF.

A flipped bit on the daisy chain must not change a cell voltage: the driver checks every frame with this CRC.
Source: TI SLVAE86B (frames in tests/unit/drivers/vectors). The byte table takes half a kilobyte and halves the time.
"""

from array import array
import micropython

from rack.base.viper import ptr8, ptr16


def _byte_table():
    """Return the CRC of each byte, the XOR of the CRCs of its bits. A loop over all bits takes eight times as long."""
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
    """Return the CRC of buffer[start:start + length]. It is 0 for a frame with its correct CRC (low byte first).

    table: TABLE. The board does not check the bounds: the caller keeps start + length inside the buffer.
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
    """Append the CRC of frame[:length], low byte first. Return the total length."""
    crc = crc16(frame, 0, length, TABLE)
    frame[length] = crc & 0xFF
    frame[length + 1] = crc >> 8
    return length + 2
