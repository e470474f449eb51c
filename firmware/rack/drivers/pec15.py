"""PEC15 of the LTC681x family: poly 0x4599, initial value 0x0010, most significant bit first, shifted left once.

Vectors: foxBMS 2 test_ltc_pec.c, in tests/unit/drivers/vectors. The table serves half a byte a step, because a table
for whole bytes would take half a kilobyte more.
"""

from array import array

import micropython

from rack.base.viper import ptr8, ptr32


def _nibble_table():
    table = array("i", (0 for _ in range(16)))
    for index in range(16):
        remainder = index << 11
        for _ in range(4):
            remainder = (remainder << 1) ^ 0x4599 if remainder & 0x4000 else remainder << 1
        table[index] = remainder & 0x7FFF
    return table


TABLE = _nibble_table()


@micropython.viper
def pec15(buffer, start: int, length: int, table) -> int:
    """Return the PEC of buffer[start:start + length] in its form on the wire, high byte first (bit 0 is 0).

    table: TABLE. The board does not check the bounds: the caller keeps start + length inside the buffer.
    """
    data = ptr8(buffer)
    remainders = ptr32(table)
    remainder = 16
    i = start
    end = start + length
    while i < end:
        byte = int(data[i])
        remainder = ((remainder << 4) & 0x7FFF) ^ int(remainders[((remainder >> 11) ^ (byte >> 4)) & 15])
        remainder = ((remainder << 4) & 0x7FFF) ^ int(remainders[((remainder >> 11) ^ byte) & 15])
        i += 1
    return remainder << 1


def seal(frame, length):
    """Append the PEC of frame[:length], high byte first."""
    pec = pec15(frame, 0, length, TABLE)
    frame[length] = pec >> 8
    frame[length + 1] = pec & 0xFF
