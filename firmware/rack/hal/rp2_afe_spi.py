"""SPI1 of an RP2040 board as rack.drivers.ltc681x needs it: the LTC6820 that leads to an LTC681x stack.

No other chip is on this bus. Interrupts stay enabled during a transfer: the fast path sends its request on SPI0, and
this transfer goes on afterwards, with a pause of its clock. The reason for a bus of its own: pico_w_ltc6813.toml.
Registers: RP2040 data sheet 2.3.1.7 (SIO), 4.4.4 (SSP).
"""

import micropython
from machine import SPI, Pin
from micropython import const

from rack.base.viper import ptr8, ptr32
from rack.hal import chip_rp2040 as chip

_SPI_Hz = const(1_000_000)          # the maximum of the LTC6820


@micropython.viper
def _burst(tx, rx, count: int, select: int):
    """count bytes in one chip select, polled; bounded by the shift clock, which never stops."""
    out = ptr8(tx)
    back = ptr8(rx)
    spi = ptr32(chip.SPI1)
    sio = ptr32(0xD0000000)
    sio[chip.SIO_OUT_CLR] = select
    sent = 0
    got = 0
    while got < count:
        if sent < count and sent - got < 8:  # the receive FIFO holds eight, also while an interrupt runs
            spi[2] = int(out[sent])          # SSPDR
            sent += 1
        if int(spi[3]) & 4:                  # SSPSR: receive FIFO not empty
            back[got] = int(spi[2])
            got += 1
    sio[chip.SIO_OUT_SET] = select


class AfeSpi:
    """p: rack.config.Params."""

    def __init__(self, p):
        self._select = Pin(p.pins_afe_cs, Pin.OUT, value=1)
        self._spi = SPI(1, baudrate=_SPI_Hz, polarity=1, phase=1,
                        sck=Pin(p.pins_afe_sck), mosi=Pin(p.pins_afe_mosi), miso=Pin(p.pins_afe_miso))
        self._mask = 1 << p.pins_afe_cs

    def transfer(self, tx, rx, count):
        """Main loop only: 8 µs a byte, 1.7 ms for 26 devices. Does not allocate."""
        _burst(tx, rx, count, self._mask)
