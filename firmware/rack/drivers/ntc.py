"""NTC on a pull-up to its reference: integer table from the divider ratio to 0.01 °C, made once at start.

A cell temperature that reads too low hides a thermal runaway. Therefore the table is checked to 0.2 °C against the
Steinhart–Hart equation over -40…125 °C, and a broken or shorted lead does not become a temperature.
Only this module uses floats, before the scan starts.
"""

from array import array
from math import log

from micropython import const

from rack.definitions.codes import NO_OPEN, NO_SHORT

# Divider ratio in units of 2**-15. The AFE drivers' kernels convert with the same limits and segments.
RATIO_OPEN = const(32276)     # 0.985 of the reference or more: below -50 °C, an open lead
RATIO_SHORT = const(492)      # 0.015 of the reference or less: above 190 °C, a shorted lead
SEGMENT_BITS = const(7)       # a segment of the table is 2**7 steps of the ratio long
SEGMENT_MASK = const(127)

_SEGMENTS = const(256)
_MIN = const(-6000)           # 0.01 °C
_MAX = const(25000)


def make_table(a_e10, b_e10, c_e13, pullup_ohm):
    """Return the temperatures in 0.01 °C at the divider ratios 0, 1/256, … 1 (sensor voltage / reference voltage).

    a_e10, b_e10, c_e13: Steinhart–Hart coefficients times 10**10, 10**10, 10**13 (R in ohm, T in kelvin);
    pullup_ohm: resistor from the reference to the sensor. Returns array('i') of 257.
    """
    table = array("i", (_MAX for _ in range(_SEGMENTS + 1)))
    table[_SEGMENTS] = _MIN
    c_e10 = c_e13 * 0.001
    for index in range(1, _SEGMENTS):
        ln_r = log(pullup_ohm * index / (_SEGMENTS - index))
        # each step of the sum makes an object in the heap: few steps keep the start short
        value = int(1e12 / (a_e10 + ln_r * (b_e10 + c_e10 * ln_r * ln_r)) - 27314.5)
        if value < _MAX:
            table[index] = value if value > _MIN else _MIN
    return table


def look_up(table, ratio):
    """Temperature in 0.1 °C at a divider ratio of 0..32767 (for 0..1), NO_OPEN or NO_SHORT. Does not allocate."""
    if ratio >= RATIO_OPEN:
        return NO_OPEN
    if ratio <= RATIO_SHORT:
        return NO_SHORT
    low = table[ratio >> SEGMENT_BITS]
    rise = (table[(ratio >> SEGMENT_BITS) + 1] - low) * (ratio & SEGMENT_MASK) >> SEGMENT_BITS
    return (low + rise + 5) // 10
