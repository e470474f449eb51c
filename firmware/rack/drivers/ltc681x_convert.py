"""The time-critical part of the LTC681x driver: viper kernels that check and convert answers without allocation.

An answer is four bytes of the command, then eight bytes a device, the first device first: six bytes of a register group
and their PEC. Scales and order of bytes: LTC6813-1 data sheet.
"""

import micropython
from micropython import const

from rack.base.viper import ptr8, ptr32
from rack.definitions.codes import NO_OPEN, NO_SHORT, NO_VALUE
from rack.drivers import ltc681x_commands as C
from rack.drivers.ntc import RATIO_OPEN, RATIO_SHORT, SEGMENT_BITS, SEGMENT_MASK
from rack.drivers.pec15 import pec15

_MIN_REFERENCE = const(24_000)       # 100 µV: 3 V - 0.6 V
_MAX_REFERENCE = const(36_000)


@micropython.viper
def count_good(rx, devices: int, table) -> int:
    """Count the devices, up to the first bad one, whose six bytes match their PEC."""
    received = ptr8(rx)
    good = 0
    at = 4
    while good < devices:
        if int(pec15(rx, at, 6, table)) != (int(received[at + 6]) << 8) + int(received[at + 7]):
            break
        at += 8
        good += 1
    return good


@micropython.viper
def to_cells(rx, devices: int, first: int, cells: int, out, count: int) -> int:
    """Convert three cells of each device from 100 µV to mV; returns the number of cells without a result."""
    received = ptr8(rx)
    cells_mV = ptr32(out)
    missing = 0
    device = 0
    at = 4
    while device < devices:
        cell = first
        while cell < first + 3:
            raw = int(received[at]) + (int(received[at + 1]) << 8)
            index = device * cells + cell
            if raw == C.CLEARED:
                missing += 1
            elif cell < cells and index < count:
                cells_mV[index] = (raw + 5) // 10
            at += 2
            cell += 1
        at += 2
        device += 1
    return missing


@micropython.viper
def count_unconfigured(rx, devices: int) -> int:
    """Count the devices, of checked RDCFGA groups, whose reference is off or that discharge a cell."""
    received = ptr8(rx)
    lost = 0
    at = 4
    while devices > 0:
        if int(received[at]) & C.REFON == 0 or int(received[at + 4]) != 0 or int(received[at + 5]) != 0:
            lost += 1
        at += 8
        devices -= 1
    return lost


@micropython.viper
def first_shut_down(rx, devices: int) -> int:
    """The first device, from 1, of checked RDSTATB groups, that has been in thermal shutdown; 0 without one."""
    received = ptr8(rx)
    device = 0
    while device < devices:
        if int(received[4 + 8 * device + 5]) & C.THSD:
            return device + 1
        device += 1
    return 0


@micropython.viper
def take_aux(rx, devices: int, group: int, aux) -> int:
    """Keep one aux group, 0..3, of each device; the four groups of a device are neighbours in aux.

    Returns the number of devices whose first result is missing.
    """
    received = ptr8(rx)
    target = ptr8(aux)
    missing = 0
    device = 0
    while device < devices:
        i = 0
        while i < 6:
            target[24 * device + 6 * group + i] = int(received[4 + 8 * device + i])
            i += 1
        if int(received[4 + 8 * device]) + (int(received[5 + 8 * device]) << 8) == C.CLEARED:
            missing += 1
        device += 1
    return missing


@micropython.viper
def to_temps(aux, devices: int, temps: int, out, count: int, ntc):
    """Convert the aux groups to 0.1 °C in out[0:count] by the NTC table of rack.drivers.ntc.

    NO_OPEN and NO_SHORT stand for a broken sensor. NO_VALUE: no plausible reference (3 V ± 0.6 V; word 5, between GPIO5
    and GPIO6), or no result.
    """
    words = ptr8(aux)
    temps_ddegC = ptr32(out)
    table = ptr32(ntc)
    device = 0
    while device < devices:
        at = 24 * device
        reference = int(words[at + 10]) + (int(words[at + 11]) << 8)
        sensor = 0
        while sensor < temps:
            if sensor == 5:
                at += 2
            raw = int(words[at]) + (int(words[at + 1]) << 8)
            value = NO_VALUE
            if reference >= _MIN_REFERENCE and reference <= _MAX_REFERENCE and raw != C.CLEARED:
                ratio = raw * 16384 // reference * 2     # 2**15 is the whole reference; the product stays below 2**30
                if ratio >= RATIO_OPEN:
                    value = NO_OPEN
                elif ratio <= RATIO_SHORT:
                    value = NO_SHORT
                else:
                    segment = ratio >> SEGMENT_BITS
                    low = int(table[segment])
                    value = (low + ((int(table[segment + 1]) - low) * (ratio & SEGMENT_MASK) >> SEGMENT_BITS) + 5) // 10
            if device * temps + sensor < count:
                temps_ddegC[device * temps + sensor] = value
            at += 2
            sensor += 1
        device += 1
