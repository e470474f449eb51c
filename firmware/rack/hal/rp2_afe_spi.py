"""SPI1 of an RP2040 board as rack.drivers.ltc681x needs it: the LTC6820 that leads to an LTC681x stack.

DMA carries long transfers, so that the processor has no part in their 1.7 ms. No other chip is on this bus: the fast
path sends its request on SPI0 meanwhile. The reason for a bus of its own: board_configs/boards/pico_w_ltc6813.toml.
Registers: RP2040 data sheet 2.3.1.7 (SIO), 2.5.7 (DMA), 4.4.4 (SSP).
"""

import micropython
import rp2
from machine import SPI, Pin
from micropython import const

from rack.base.viper import ptr8, ptr32
from rack.hal import chip_rp2040 as chip

_SPI_Hz = const(1_000_000)          # the maximum of the LTC6820


@micropython.viper
def _connect(in_at: int, out_at: int):
    """Both DMA channels to the data register. In viper, as such numbers are objects elsewhere."""
    spi = ptr32(chip.SPI1)
    spi[9] = 3                          # SSPDMACR: RXDMAE, TXDMAE
    dma = ptr32(in_at)
    dma[0] = int(chip.SPI1) + 8         # READ_ADDR: SSPDR
    dma = ptr32(out_at)
    dma[1] = int(chip.SPI1) + 8         # WRITE_ADDR


class AfeSpi:
    """p: rack.config.Params. Only the constructor allocates."""

    def __init__(self, p):
        self._select = Pin(p.pins_afe_cs, Pin.OUT, value=1)
        self._spi = SPI(1, baudrate=_SPI_Hz, polarity=1, phase=1,
                        sck=Pin(p.pins_afe_sck), mosi=Pin(p.pins_afe_mosi), miso=Pin(p.pins_afe_miso))
        self._mask = 1 << p.pins_afe_cs
        self._in = dma = rp2.DMA()
        dma.config(ctrl=dma.pack_ctrl(size=0, inc_read=False, treq_sel=chip.SPI1_RX_DREQ))
        self._in_at = 0x50000000 + 0x40 * dma.channel
        self._out = dma = rp2.DMA()
        dma.config(ctrl=dma.pack_ctrl(size=0, inc_write=False, treq_sel=chip.SPI1_TX_DREQ))
        self._out_at = 0x50000000 + 0x40 * dma.channel
        _connect(self._in_at, self._out_at)

    @micropython.viper
    def begin(self, tx, rx, count: int):
        """Begin a transfer of count bytes, 8 µs each; both buffers stay as they are until `done`."""
        sio = ptr32(0xD0000000)
        sio[chip.SIO_OUT_CLR] = int(self._mask)
        dma = ptr32(self._in_at)
        dma[1] = int(ptr8(rx))          # WRITE_ADDR
        dma[7] = count                  # TRANS_COUNT, and go
        dma = ptr32(self._out_at)
        dma[0] = int(ptr8(tx))          # READ_ADDR
        dma[7] = count

    @micropython.viper
    def done(self) -> int:
        """1 when the last byte has come; the chip select then rises."""
        dma = ptr32(self._in_at)
        if int(dma[3]) & chip.DMA_BUSY:     # CTRL
            return 0
        sio = ptr32(0xD0000000)
        sio[chip.SIO_OUT_SET] = int(self._mask)
        return 1

    def transfer(self, tx, rx, count):
        """A whole short transfer; bounded by the shift clock, which never stops."""
        self.begin(tx, rx, count)
        while not self.done():
            pass
