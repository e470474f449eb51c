"""Pack and unpack the CAN frames between rack and PCS.

The hazard is a PCS that acts on a stale, torn or misread request. So every frame ends in a CRC-8 over its first seven
bytes and carries a 4-bit sequence counter; a sender that repeats a counter hangs.
The PCS goes to zero when no valid request with a new counter came for REQUEST_TIMEOUT_MS.

Integers only, without allocation. rack.definitions.pcs_frames defines the frames; numbers are little-endian.
"""

import micropython
from micropython import const

from rack.generated import ids as I
from rack.base.viper import ptr8, ptr32
from rack.definitions.pcs_codes import LENGTH, VERSION

# results of decode_status
OK = const(0)
BAD_LENGTH = const(1)
BAD_CRC = const(2)
STALE = const(3)        # the counter did not move: the PCS hangs

_COUNT_MASK = const(0xFFF_FFFF)     # of pcs_rejected


def _crc_table():
    """CRC-8 SAE J1850: polynomial 0x1D, start 0xFF, final 0xFF; its check value over "123456789" is 0x4B."""
    table = bytearray(256)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x1D if crc & 0x80 else crc << 1
        table[byte] = crc & 0xFF
    return table


CRC_TABLE = _crc_table()


@micropython.viper
def crc8(frame) -> int:
    """CRC-8 SAE J1850 of the first seven bytes. Interrupt context."""
    data = ptr8(frame)
    table = ptr8(CRC_TABLE)
    crc = 0xFF
    at = 0
    while at < 7:
        crc = table[crc ^ data[at]]
        at += 1
    return crc ^ 0xFF


@micropython.viper
def encode_request(data: ptr8, table: ptr8, power_W: int, sequence: int, flags: int):
    """Fill 8 bytes with a request; power_W -2**23..2**23-1, flags FLAG_*. Interrupt context.

    data, table: bytearrays or their addresses; table is CRC_TABLE, an argument because the look-up of a global costs
    1.5 us.
    """
    data[0] = power_W & 0xFF
    data[1] = (power_W >> 8) & 0xFF
    data[2] = (power_W >> 16) & 0xFF
    data[3] = 0
    data[4] = 0
    data[5] = flags & 0xFF
    data[6] = (sequence & 15) | VERSION << 4
    crc = 0xFF
    at = 0
    while at < 7:
        crc = table[crc ^ data[at]]
        at += 1
    data[7] = crc ^ 0xFF


def _low_high(frame, at, value):
    value = min(max(value, 0), 0xFFFF)
    frame[at] = value & 0xFF
    frame[at + 1] = value >> 8


def encode_limits(frame, s, sequence):
    """Fill a bytearray of 8 with the limits of the process image `s`; powers round down. Main loop."""
    _low_high(frame, 0, s[I.LIMIT_CHARGE_W] // 100)
    _low_high(frame, 2, s[I.LIMIT_DISCHARGE_W] // 100)
    _low_high(frame, 4, s[I.RACK_dV])
    frame[6] = sequence & 15 | (s[I.ALARM_LEVEL] & 15) << 4
    frame[7] = crc8(frame)


def decode_status(frame, s):
    """Read a PCS status into the process image `s`. `frame` may hold any bytes.

    Returns OK, BAD_LENGTH, BAD_CRC or STALE. Only OK changes the PCS's signals; a refused frame counts into
    pcs_rejected. Does not allocate.
    """
    result = _unpack_status(frame, s) if len(frame) == LENGTH else BAD_LENGTH
    if result != OK:
        s[I.PCS_REJECTED] = (s[I.PCS_REJECTED] + 1) & _COUNT_MASK
    return result


@micropython.viper
def _unpack_status(frame, s: ptr32) -> int:
    data = ptr8(frame)
    if int(crc8(frame)) != int(data[7]):
        return BAD_CRC
    sequence = data[6] & 15
    if sequence == s[I.PCS_SEQUENCE]:
        return STALE
    power_W = data[0] | data[1] << 8 | data[2] << 16
    if power_W >= 0x80_0000:
        power_W -= 0x100_0000
    s[I.PCS_POWER_W] = power_W
    s[I.BUS_dV] = data[3] | data[4] << 8
    s[I.PCS_STATE] = data[5] & 15
    s[I.PCS_ECHO] = data[5] >> 4
    s[I.PCS_FAULT] = data[6] >> 4
    s[I.PCS_SEQUENCE] = sequence
    return OK
