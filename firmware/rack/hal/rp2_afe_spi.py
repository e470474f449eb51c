"""SPI1 of an RP2040 board for rack.drivers.ltc681x: the bus to the LTC6820 of an LTC681x stack.

DMA carries long transfers, so that their 1.7 ms cost no processor time. No other chip uses this bus: during a transfer
the fast path can send its request on SPI0. board_configs/boards/pico_w_ltc6813.toml explains the separate bus.
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
    """Connect both DMA channels to the data register. Viper avoids the objects that such large numbers need."""
    spi = ptr32(chip.SPI1)
    spi[9] = 3                          # SSPDMACR: RXDMAE, TXDMAE
    dma = ptr32(in_at)
    dma[0] = int(chip.SPI1) + 8         # READ_ADDR: SSPDR
    dma = ptr32(out_at)
    dma[1] = int(chip.SPI1) + 8         # WRITE_ADDR


class AfeSpi:
    """The SPI bus of the AFE. p: rack.config.Params. Only the constructor allocates."""

    def __init__(self, p):
        self._select = Pin(p.pins_afe_cs, Pin.OUT, value=1)
        self._spi = SPI(1, baudrate=_SPI_Hz, polarity=1, phase=1,
                        sck=Pin(p.pins_afe_sck), mosi=Pin(p.pins_afe_mosi), miso=Pin(p.pins_afe_miso))
        self._mask = 1 << p.pins_afe_cs
        self._in = dma = rp2.DMA()
        dma.config(ctrl=dma.pack_ctrl(size=0, inc_read=False, treq_sel=chip.SPI1_RX_DREQ))
        self._in_at = chip.DMA + 0x40 * dma.channel
        self._out = dma = rp2.DMA()
        dma.config(ctrl=dma.pack_ctrl(size=0, inc_write=False, treq_sel=chip.SPI1_TX_DREQ))
        self._out_at = chip.DMA + 0x40 * dma.channel
        _connect(self._in_at, self._out_at)

    @micropython.viper
    def begin(self, tx, rx, count: int):
        """Begin a transfer of count bytes, 8 µs each. The caller must not change the buffers until `done` returns 1."""
        sio = ptr32(chip.SIO)
        sio[chip.SIO_OUT_CLR] = int(self._mask)
        dma = ptr32(self._in_at)
        dma[1] = int(ptr8(rx))          # WRITE_ADDR
        dma[7] = count                  # TRANS_COUNT, starts the channel
        dma = ptr32(self._out_at)
        dma[0] = int(ptr8(tx))          # READ_ADDR
        dma[7] = count

    @micropython.viper
    def done(self) -> int:
        """Return 1 after the last byte, and then raise the chip select; otherwise 0."""
        dma = ptr32(self._in_at)
        if int(dma[3]) & chip.DMA_BUSY:     # CTRL
            return 0
        sio = ptr32(chip.SIO)
        sio[chip.SIO_OUT_SET] = int(self._mask)
        return 1

    def transfer(self, tx, rx, count):
        """Do a whole short transfer. The shift clock, which always runs, limits its time."""
        self.begin(tx, rx, count)
        while not self.done():
            pass
