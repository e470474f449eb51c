"""The CAN frames between rack and PCS: one table, and the code that packs and unpacks them.

A PCS that acts on a stale, torn or misread request is the hazard. Every frame ends in a CRC-8 over
its first seven bytes and carries a 4-bit sequence counter: a repeated counter is a sender that hangs.
The PCS goes to zero when no valid request with a new counter came for REQUEST_TIMEOUT_MS.

Integers only; nothing allocates. The frames are defined in pcs_frames.py; numbers are little-endian.
"""

import micropython
from micropython import const

from rack.generated import ids as I
from rack.base.viper import ptr8, ptr32
from rack.definitions.pcs_codes import LENGTH, VERSION

# results of the decode functions
OK = const(0)
BAD_LENGTH = const(1)
BAD_CRC = const(2)
STALE = const(3)
NOT_OURS = const(4)

# Where decode_request puts what it read.
REQUEST_POWER_W = const(0)
REQUEST_FLAGS = const(1)
REQUEST_SEQUENCE = const(2)     # -1 before the first
REQUEST_INTS = const(3)

_COUNTER = const(0xFFF_FFFF)
_VERSION_BITS = const(0x10)     # VERSION in the upper half of byte 6


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
    b = ptr8(frame)
    table = ptr8(CRC_TABLE)
    crc = 0xFF
    i = 0
    while i < 7:
        crc = table[crc ^ b[i]]
        i += 1
    return crc ^ 0xFF


@micropython.viper
def encode_request(frame, power_W: int, sequence: int, flags: int):
    """Fill a bytearray of 8 with a request; power_W -2**23..2**23-1, flags FLAG_*. Interrupt context."""
    b = ptr8(frame)
    table = ptr8(CRC_TABLE)
    b[0] = power_W & 0xFF
    b[1] = (power_W >> 8) & 0xFF
    b[2] = (power_W >> 16) & 0xFF
    b[3] = 0
    b[4] = 0
    b[5] = flags & 0xFF
    b[6] = (sequence & 15) | _VERSION_BITS
    crc = 0xFF
    i = 0
    while i < 7:
        crc = table[crc ^ b[i]]
        i += 1
    b[7] = crc ^ 0xFF


def _low_high(frame, at, value):
    value = min(max(value, 0), 0xFFFF)
    frame[at] = value & 0xFF
    frame[at + 1] = value >> 8


def encode_limits(frame, s, sequence):
    """Fill a bytearray of 8 with the limits of the process image `s`; powers round down. Scan context."""
    _low_high(frame, 0, s[I.LIMIT_CHARGE_W] // 100)
    _low_high(frame, 2, s[I.LIMIT_DISCHARGE_W] // 100)
    _low_high(frame, 4, s[I.RACK_dV])
    frame[6] = sequence & 15 | (s[I.ALARM_LEVEL] & 15) << 4
    frame[7] = crc8(frame)


def encode_status(frame, power_W, bus_dV, state, echo, sequence, fault=0):
    """Fill a bytearray of 8 as the PCS does: for simulated and test PCS."""
    for i in range(3):
        frame[i] = power_W >> 8 * i & 0xFF
    _low_high(frame, 3, bus_dV)
    frame[5] = state & 15 | (echo & 15) << 4
    frame[6] = sequence & 15 | (fault & 15) << 4
    frame[7] = crc8(frame)


def _signed24(frame):
    value = frame[0] | frame[1] << 8 | frame[2] << 16
    return value - 0x100_0000 if value & 0x80_0000 else value


def decode_request(frame, got):
    """Read a request as the PCS does; got: array('i') of REQUEST_INTS. Returns OK or why it is refused.

    A request of another version is refused as NOT_OURS; `got` changes only when OK.
    """
    result = _check(frame, got, REQUEST_SEQUENCE)
    if result == OK:
        if frame[6] >> 4 != VERSION:
            return NOT_OURS
        got[REQUEST_POWER_W] = _signed24(frame)
        got[REQUEST_FLAGS] = frame[5]
        got[REQUEST_SEQUENCE] = frame[6] & 15
    return result


def decode_status(frame, s):
    """Read a PCS status into the process image `s`.

    Returns OK, BAD_LENGTH, BAD_CRC or STALE (the counter did not move: the PCS hangs). Only OK changes
    the values; a refused frame counts into pcs_rejected. Any bytes may come. Does not allocate.
    """
    result = _take_status(frame, s) if len(frame) == LENGTH else BAD_LENGTH
    if result != OK:
        s[I.PCS_REJECTED] = (s[I.PCS_REJECTED] + 1) & _COUNTER
    return result


@micropython.viper
def _take_status(frame, s: ptr32) -> int:
    b = ptr8(frame)
    if int(crc8(frame)) != int(b[7]):
        return BAD_CRC
    sequence = b[6] & 15
    if sequence == s[I.PCS_SEQUENCE]:
        return STALE
    power_W = b[0] | b[1] << 8 | b[2] << 16
    if power_W >= 0x80_0000:
        power_W -= 0x100_0000
    s[I.PCS_POWER_W] = power_W
    s[I.BUS_dV] = b[3] | b[4] << 8
    s[I.PCS_STATE] = b[5] & 15
    s[I.PCS_ECHO] = b[5] >> 4
    s[I.PCS_FAULT] = b[6] >> 4
    s[I.PCS_SEQUENCE] = sequence
    return OK


def _check(frame, values, sequence_at):
    if len(frame) != LENGTH:
        return BAD_LENGTH
    if crc8(frame) != frame[7]:
        return BAD_CRC
    if frame[6] & 15 == values[sequence_at]:
        return STALE
    return OK
