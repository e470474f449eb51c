"""Limits of a mains period as the PIO program `rack.hal.rp2_pio.period` counts it.

A tick is two cycles of the PIO at 125 MHz, 16 ns. The fast path, the unix port's host and the bench use these numbers.
"""

from micropython import const

HOLD_OFF_CYCLES = const(1_500_000)   # 12 ms at 125 MHz: no grid is faster than 80 Hz
OVERHEAD_TICKS = const(750_004)      # omitted by the count: the hold-off and the program's fixed cycles
MAX_TICKS = const(0x1FFF_FFFF)       # longer counts are cut to this value, so that they stay small integers
