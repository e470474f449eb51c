"""The time-critical part of the BQ79616 driver: viper kernels that check and convert answers without allocation.

Scales: cells 6.25 V / 2**15 = 190.73 µV; GPIO 5 V / 2**15 = 152.59 µV; TSREF 5.5556 V / 2**15 = 169.54 µV
(TI SLUSE81). An answer frame is: number of data bytes - 1, device, register (2), data, CRC (low byte
first). The device at the top of the stack answers first.
"""

import micropython
from micropython import const

from rack.base.viper import ptr8, ptr32
from rack.definitions.codes import NO_OPEN, NO_SHORT, NO_VALUE
from rack.drivers.bq79616_registers import BROADCAST_WRITE, NO_RESULT
from rack.drivers.crc16 import crc16
from rack.drivers.ntc import RATIO_OPEN, RATIO_SHORT, SEGMENT_BITS, SEGMENT_MASK

_MIN_REFERENCE = const(20_000)      # 3.4 V of TSREF's 5 V
_RATIO_SCALE = const(29_491)        # 0.9 * 2**15: 0.9 = 152.59 / 169.54, so 2**15 is the whole TSREF


@micropython.viper
def count_good(rx, frames: int, top: int, size: int, register: int, table) -> int:
    """Count the correct frames in rx before the first bad one: length, device (top, top - 1, …), register and CRC."""
    received = ptr8(rx)
    good = 0
    at = 0
    while good < frames:
        if int(received[at]) != size - 1 or int(received[at + 1]) != top - good:
            break
        if (int(received[at + 2]) << 8) + int(received[at + 3]) != register:
            break
        if int(crc16(rx, at, size + 6, table)) != 0:
            break
        at += size + 6
        good += 1
    return good


@micropython.viper
def make_writes(out, count: int, register: int, value: int, addresses: int, table) -> int:
    """Put consecutive broadcast writes of one byte into out. Return their length in bytes.

    addresses: 1 writes value, value + 1, … to one register; 0 writes the same value to register, register + 1, …
    """
    frame = ptr8(out)
    at = 0
    while count > 0:
        frame[at] = BROADCAST_WRITE
        frame[at + 1] = register >> 8
        frame[at + 2] = register & 0xFF
        frame[at + 3] = value
        crc = int(crc16(out, at, 4, table))
        frame[at + 4] = crc & 0xFF
        frame[at + 5] = crc >> 8
        value += addresses
        register += 1 - addresses
        at += 6
        count -= 1
    return at


@micropython.viper
def take_bytes(rx, frames: int, size: int, out, positions):
    """Copy the data of checked frames to out[position * size:]."""
    received = ptr8(rx)
    target = ptr8(out)
    position = ptr8(positions)
    at = 4
    while frames > 0:
        to = int(position[int(received[at - 3])]) * size
        i = 0
        while i < size:
            target[to + i] = int(received[at + i])
            i += 1
        at += size + 6
        frames -= 1


@micropython.viper
def count_different(rx, frames: int, size: int, mask: int, value: int) -> int:
    """Count the checked frames of `size` data bytes whose first byte, masked with `mask`, is not `value`."""
    received = ptr8(rx)
    different = 0
    at = 4
    while frames > 0:
        if int(received[at]) & mask != value:
            different += 1
        at += size + 6
        frames -= 1
    return different


@micropython.viper
def first_with(data, count: int, mask: int) -> int:
    """Return the first of `count` byte pairs, from 1, whose second byte has a bit of `mask` set; 0 if all are clear."""
    pairs = ptr8(data)
    at = 0
    while at < count:
        if int(pairs[2 * at + 1]) & mask:
            return at + 1
        at += 1
    return 0


@micropython.viper
def to_cells(rx, frames: int, cells: int, out, count: int, positions) -> int:
    """Convert checked voltage frames to mV in out[0:count].

    positions: bytes, the position in the stack by device address. Return the number of cells without a result.
    """
    received = ptr8(rx)
    position = ptr8(positions)
    cells_mV = ptr32(out)
    missing = 0
    at = 4
    while frames > 0:
        index = int(position[int(received[at - 3])]) * cells + cells - 1
        cell = 0
        while cell < cells:
            raw = (int(received[at]) << 8) + int(received[at + 1])
            if raw >= NO_RESULT:
                raw -= 2 * NO_RESULT
            if raw == -NO_RESULT:
                missing += 1
            elif index < count:
                cells_mV[index] = (raw * 3125 + 8192) >> 14
            index -= 1
            at += 2
            cell += 1
        at += 6
        frames -= 1
    return missing


@micropython.viper
def to_temps(rx, frames: int, temps: int, out, count: int, positions, ntc):
    """Convert checked TSREF + GPIO frames to 0.1 °C in out[0:count] with the NTC table of rack.drivers.ntc.

    NO_OPEN and NO_SHORT: the sensor is broken. NO_VALUE: the reference voltage or the conversion is missing.
    """
    received = ptr8(rx)
    temps_ddegC = ptr32(out)
    table = ptr32(ntc)
    position = ptr8(positions)
    at = 4
    while frames > 0:
        index = int(position[int(received[at - 3])]) * temps
        reference = (int(received[at]) << 8) + int(received[at + 1])
        at += 2
        sensor = 0
        while sensor < temps:
            raw = (int(received[at]) << 8) + int(received[at + 1])
            value = NO_VALUE
            if reference >= _MIN_REFERENCE and reference < NO_RESULT and raw != NO_RESULT:
                if raw > NO_RESULT:
                    raw = 0                              # slightly negative: a shorted sensor
                ratio = raw * _RATIO_SCALE // reference
                if ratio >= RATIO_OPEN:
                    value = NO_OPEN
                elif ratio <= RATIO_SHORT:
                    value = NO_SHORT
                else:
                    segment = ratio >> SEGMENT_BITS
                    low = int(table[segment])
                    value = (low + ((int(table[segment + 1]) - low) * (ratio & SEGMENT_MASK) >> SEGMENT_BITS) + 5) // 10
            if index < count:
                temps_ddegC[index] = value
            index += 1
            at += 2
            sensor += 1
        at += 6
        frames -= 1
