"""Addresses and bits of the RP2040 that the modules of rack.hal use directly.

Source: RP2040 data sheet 2.2, 2.3.1.7, 2.5.3.1, 2.5.7, 2.19.6.1, 4.6.5, 4.7.6. The build replaces the names by these
numbers, or by those of another chip: `chip` in the board's pin map.
"""

from micropython import const

SYSTEM_Hz = const(0)                # clock, set first; 0: keep the 125 MHz of MicroPython's start
SPI0 = const(0x4003C000)
SPI1 = const(0x40040000)
UART1 = const(0x40038000)
DMA = const(0x50000000)
UART1_RX_DREQ = const(23)
SPI1_TX_DREQ = const(18)
SPI1_RX_DREQ = const(19)
DMA_BUSY = const(1 << 24)           # in a channel's CTRL
IO_BANK0_SET = const(0x40016000)    # atomic set and clear aliases
IO_BANK0_CLR = const(0x40017000)
DRIVE_LOW = const(0x3200)           # GPIOn_CTRL: OEOVER = enable, OUTOVER = low
TIMER_RAW = const(0x40054028)       # TIMERAWL
SIO = const(0xD0000000)
SIO_OUT_SET = const(5)              # words from SIO: GPIO_OUT_SET, GPIO_OUT_CLR
SIO_OUT_CLR = const(6)
WATCHDOG_REASON = const(0x40058008) # bit 0 timer, bit 1 forced
SCRATCH_MODE = const(0x4005800C)    # watchdog scratch 0, also in boot.py
SCRATCH_TASK = const(0x40058010)
SCRATCH_REASON = const(0x40058014)
FLASH_END = const(0x10200000)       # end of the flash that is mapped from 0x10000000: 2 MB
RAM_END = const(0x20042000)
