"""Pack and unpack the CAN frames between rack and PCS.

The hazard is a PCS that acts on a stale, torn or misread request. So every frame ends in a CRC-8 over its identifier
and its first seven bytes, and carries a 4-bit sequence counter that advances; a sender that repeats a counter hangs.
The PCS goes to zero when no valid request with a new counter came for REQUEST_TIMEOUT_MS.

Integers only, without allocation. rack.definitions.pcs_frames defines the frames; numbers are little-endian.
"""

import micropython
from micropython import const

from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.base.clock import TICKS_MASK
from rack.base.viper import ptr8, ptr32
from rack.definitions.pcs_codes import LENGTH, LIMITS_CRC, MAX_STEP, REQUEST_CRC, STATUS_CRC, VERSION

# results of decode_status
OK = const(0)
BAD_LENGTH = const(1)
BAD_CRC = const(2)
STALE = const(3)        # the counter did not advance: the PCS hangs, or a second node sends

_COUNT_MASK = const(0xFFF_FFFF)     # of pcs_rejected
_IN_ORDER = const(3)                # status frames in order that begin a new count
_WINDOW_US = const(200_000)         # refused and foreign frames are counted for this time


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
def crc8(frame, crc: int) -> int:
    """CRC-8 SAE J1850 of an identifier and seven bytes; crc: its state after the identifier, *_CRC."""
    data = ptr8(frame)
    table = ptr8(CRC_TABLE)
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
    crc = REQUEST_CRC
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
    frame[7] = crc8(frame, LIMITS_CRC)


def decode_status(frame, s, link):
    """Read a PCS status into the process image `s`. `frame` may hold any bytes; link: array of pcs_link_state.

    Returns OK, BAD_LENGTH, BAD_CRC or STALE. Only OK changes the PCS's signals; a refused frame counts into
    pcs_rejected. Does not allocate.
    """
    if len(frame) != LENGTH:
        result = BAD_LENGTH
    elif crc8(frame, STATUS_CRC) != frame[7]:
        result = BAD_CRC
    elif not is_fresh(s, link, frame[6] & 15):
        result = STALE
    else:
        _unpack_status(frame, s)
        return OK
    refuse(s)
    return result


def refuse(s):
    """Count a status frame that is not used."""
    s[I.PCS_REJECTED] = (s[I.PCS_REJECTED] + 1) & _COUNT_MASK


def is_fresh(s, link, sequence):
    """True if the counter of a status advanced by 1 to MAX_STEP since the last one that was used.

    Then it writes pcs_sequence. A PCS that restarts has another counter: the third status in order begins a new count.
    A counter that stands, alternates or runs back has no such order.
    """
    step = (sequence - link[L.RECEIVED]) & 15
    link[L.RECEIVED] = sequence
    if not 0 < step <= MAX_STEP:
        link[L.ORDERED] = 0
        return False
    if link[L.ORDERED] < _IN_ORDER:
        link[L.ORDERED] += 1
    if 0 < (sequence - s[I.PCS_SEQUENCE]) & 15 <= MAX_STEP or link[L.ORDERED] == _IN_ORDER:
        s[I.PCS_SEQUENCE] = sequence
        return True
    return False


def publish_counts(s, link, now_us):
    """Each 200 ms write the frames that were refused or foreign in this time; now_us wraps at 2**30."""
    if (now_us - link[L.COUNTED_us]) & TICKS_MASK < _WINDOW_US:
        return
    link[L.COUNTED_us] = now_us
    s[I.PCS_REFUSED] = (s[I.PCS_REJECTED] - link[L.REJECTED]) & _COUNT_MASK
    link[L.REJECTED] = s[I.PCS_REJECTED]
    s[I.FOREIGN_REQUESTS] = link[L.FOREIGN]
    link[L.FOREIGN] = 0


@micropython.viper
def _unpack_status(frame, s: ptr32):
    data = ptr8(frame)
    power_W = data[0] | data[1] << 8 | data[2] << 16
    if power_W >= 0x80_0000:
        power_W -= 0x100_0000
    s[I.PCS_POWER_W] = power_W
    s[I.BUS_dV] = data[3] | data[4] << 8
    s[I.PCS_STATE] = data[5] & 15
    s[I.PCS_ECHO] = data[5] >> 4
    s[I.PCS_FAULT] = data[6] >> 4
