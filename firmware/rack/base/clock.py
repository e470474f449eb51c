"""The wrap of MicroPython's clocks: ticks_ms and ticks_us count up to 2**30 - 1 and begin again at 0.

A difference taken without the mask turns a short wait into one of 12 days. Constants only: the build replaces
their names by their values.
"""

from micropython import const

TICKS_MASK = const(0x3FFF_FFFF)  # (later - earlier) & TICKS_MASK is the time between them
TICKS_HALF = const(0x2000_0000)  # a difference of this or more means that `later` has not come yet
