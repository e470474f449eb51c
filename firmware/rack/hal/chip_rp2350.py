"""The constants of chip_rp2040 for the RP2350 of a Pico 2.

Source: RP2350 data sheet 2.2, 3.1.11, 9.11.1, 12.6.4.1, 12.6.10, 12.8.5, 12.9.7. GPIO_OUT_SET and GPIO_OUT_CLR are
farther apart than on the RP2040, because registers for GPIO 32 and up lie between them; OUTOVER and OEOVER are two bits
higher.
"""

from micropython import const

SYSTEM_Hz = const(125_000_000)      # 150 MHz at its start; 125 MHz keeps the period program's tick of 16 ns
SPI0 = const(0x40080000)
SPI1 = const(0x40088000)
UART1 = const(0x40078000)
DMA = const(0x50000000)
UART1_RX_DREQ = const(31)
SPI1_TX_DREQ = const(26)
SPI1_RX_DREQ = const(27)
DMA_BUSY = const(1 << 26)
IO_BANK0_SET = const(0x4002A000)
IO_BANK0_CLR = const(0x4002B000)
DRIVE_LOW = const(0xE000)
TIMER_RAW = const(0x400B0028)
SIO = const(0xD0000000)
SIO_OUT_SET = const(6)
SIO_OUT_CLR = const(8)
WATCHDOG_REASON = const(0x400D8008)
SCRATCH_MODE = const(0x400D800C)
SCRATCH_TASK = const(0x400D8010)
SCRATCH_REASON = const(0x400D8014)
FLASH_END = const(0x10400000)       # 4 MB
RAM_END = const(0x20082000)
