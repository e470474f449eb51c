"""The hot part of the BQ79616 driver: whole answers checked and converted in viper, without allocation.

Scales: cells 6.25 V / 2**15 = 190.73 µV; GPIO 5 V / 2**15 = 152.59 µV; TSREF 5.5556 V / 2**15 = 169.54 µV
(TI SLUSE81). Answer frame: data bytes - 1, device, register (2), data, CRC (low byte first); the
device at the top of the stack answers first.
"""

import micropython

from rack.drivers.crc16 import crc16
from rack.base.viper import ptr8, ptr32


@micropython.viper
def count_good(rx, frames: int, top: int, size: int, register: int, table) -> int:
    """Frames in rx, from the first on, with the right length, device (top, top - 1, …), register and CRC."""
    b = ptr8(rx)
    good = 0
    at = 0
    while good < frames:
        if int(b[at]) != size - 1 or int(b[at + 1]) != top - good:
            break
        if (int(b[at + 2]) << 8) + int(b[at + 3]) != register:
            break
        if int(crc16(rx, at, size + 6, table)) != 0:
            break
        at += size + 6
        good += 1
    return good


@micropython.viper
def make_writes(out, count: int, register: int, value: int, addresses: int, table) -> int:
    """Broadcast writes of one byte, one behind the other, into out; returns their bytes.

    addresses: 1 gives value, value + 1, … to one register, 0 the same value to register, register + 1, …
    """
    b = ptr8(out)
    at = 0
    while count > 0:
        b[at] = 0xD0
        b[at + 1] = register >> 8
        b[at + 2] = register & 0xFF
        b[at + 3] = value
        crc = int(crc16(out, at, 4, table))
        b[at + 4] = crc & 0xFF
        b[at + 5] = crc >> 8
        value += addresses
        register += 1 - addresses
        at += 6
        count -= 1
    return at


@micropython.viper
def take_bytes(rx, frames: int, size: int, out, positions):
    """Copy the data of checked frames to out[place * size:]."""
    b = ptr8(rx)
    o = ptr8(out)
    place = ptr8(positions)
    at = 4
    while frames > 0:
        to = int(place[int(b[at - 3])]) * size
        i = 0
        while i < size:
            o[to + i] = int(b[at + i])
            i += 1
        at += size + 6
        frames -= 1


@micropython.viper
def count_different(rx, frames: int, size: int, mask: int, value: int) -> int:
    """Checked frames of `size` bytes whose first byte, as far as `mask` goes, is not `value`."""
    b = ptr8(rx)
    different = 0
    at = 4
    while frames > 0:
        if int(b[at]) & mask != value:
            different += 1
        at += size + 6
        frames -= 1
    return different


@micropython.viper
def first_with(data, count: int, mask: int) -> int:
    """Place, from 1, of the first of `count` pairs of bytes whose second has a bit of mask set; 0 none."""
    b = ptr8(data)
    at = 0
    while at < count:
        if int(b[2 * at + 1]) & mask:
            return at + 1
        at += 1
    return 0


@micropython.viper
def to_cells(rx, frames: int, cells: int, out, count: int, positions) -> int:
    """Convert checked voltage frames to mV in out[0:count].

    positions: bytes, place in the stack by device address. Returns the cells without a result (0x8000).
    """
    b = ptr8(rx)
    place = ptr8(positions)
    o = ptr32(out)
    missing = 0
    at = 4
    while frames > 0:
        index = int(place[int(b[at - 3])]) * cells + cells - 1
        cell = 0
        while cell < cells:
            raw = (int(b[at]) << 8) + int(b[at + 1])
            if raw >= 32768:
                raw -= 65536
            if raw == -32768:
                missing += 1
            elif index < count:
                o[index] = (raw * 3125 + 8192) >> 14
            index -= 1
            at += 2
            cell += 1
        at += 6
        frames -= 1
    return missing


@micropython.viper
def to_temps(rx, frames: int, temps: int, out, count: int, positions, ntc):
    """Convert checked TSREF + GPIO frames to 0.1 °C in out[0:count] by the NTC table.

    NO_OPEN, NO_SHORT and NO_VALUE (reference voltage missing) stand for a sensor that is none.
    """
    b = ptr8(rx)
    o = ptr32(out)
    t = ptr32(ntc)
    place = ptr8(positions)
    at = 4
    while frames > 0:
        index = int(place[int(b[at - 3])]) * temps
        reference = (int(b[at]) << 8) + int(b[at + 1])
        at += 2
        sensor = 0
        while sensor < temps:
            raw = (int(b[at]) << 8) + int(b[at + 1])
            value = -32768
            # reference below 3.4 V, or a result that was never converted (0x8000): the divider tells nothing
            if reference >= 20000 and reference < 32768 and raw != 32768:
                if raw > 32768:
                    raw = 0                              # slightly negative: a short
                ratio = raw * 29491 // reference         # 0.9 = 152.59 / 169.54, so 2**15 is the whole TSREF
                if ratio >= 32276:                       # 0.985: below -50 °C, an open lead
                    value = -32767
                elif ratio <= 492:                       # 0.015: above 190 °C, a short
                    value = -32766
                else:
                    cell = ratio >> 7
                    low = int(t[cell])
                    value = (low + ((int(t[cell + 1]) - low) * (ratio & 127) >> 7) + 5) // 10
            if index < count:
                o[index] = value
            index += 1
            at += 2
            sensor += 1
        at += 6
        frames -= 1
