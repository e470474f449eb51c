"""NTC on a pull-up to its reference: integer table from the divider ratio to 0.01 °C, made once at start.

A cell temperature read too low hides a runaway: the table is checked to 0.2 °C against the
Steinhart–Hart equation over -40…125 °C, and a broken or shorted lead never becomes a temperature.
Floats are used here only, before the scan starts.
"""

from array import array
from math import log

from micropython import const

NO_VALUE = const(-32768)      # not read
NO_OPEN = const(-32767)       # lead open
NO_SHORT = const(-32766)      # lead shorted

_RATIO_OPEN = const(32276)    # 0.985 of the reference: below -50 °C; rack.drivers.bq79616_convert has the same two
_RATIO_SHORT = const(492)     # 0.015: above 190 °C
_SEGMENTS = const(256)        # of 2**7 steps of the ratio in units of 2**-15
_LEAST = const(-6000)         # 0.01 °C
_MOST = const(25000)


def make_table(a_e10, b_e10, c_e13, pullup_ohm):
    """Temperatures in 0.01 °C at the divider ratios 0, 1/256, … 1 (sensor voltage / reference voltage).

    a_e10, b_e10, c_e13: Steinhart–Hart coefficients times 10**10, 10**10, 10**13 (R in ohm, T in kelvin);
    pullup_ohm: resistor from the reference to the sensor. Returns array('i') of 257.
    """
    table = array("i", (_MOST for _ in range(_SEGMENTS + 1)))
    table[_SEGMENTS] = _LEAST
    c_e10 = c_e13 * 0.001
    for index in range(1, _SEGMENTS):
        ln_r = log(pullup_ohm * index / (_SEGMENTS - index))
        # each step of a sum is an object in the heap: as few as can be, for the start's sake
        value = int(1e12 / (a_e10 + ln_r * (b_e10 + c_e10 * ln_r * ln_r)) - 27314.5)
        if value < _MOST:
            table[index] = value if value > _LEAST else _LEAST
    return table


def look_up(table, ratio):
    """Temperature in 0.1 °C at a divider ratio of 0..32767 (for 0..1), NO_OPEN or NO_SHORT. Does not allocate."""
    if ratio >= _RATIO_OPEN:
        return NO_OPEN
    if ratio <= _RATIO_SHORT:
        return NO_SHORT
    low = table[ratio >> 7]
    return (low + ((table[(ratio >> 7) + 1] - low) * (ratio & 127) >> 7) + 5) // 10
