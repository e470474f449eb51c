"""Corrects the faults of rp2040py, one by one; `install` does so for a new chip before devices are attached.

The module of each correction names the fault and the source that contradicts it. tests/emulated/test_corrections.py
shows each fault on the uncorrected emulator and fails when rp2040py no longer has it.
"""

from dataclasses import dataclass

from rp2040py.irq import IRQ
from rp2040py.peripherals.clocks import CLK_PERI_CTRL
from rp2040py.peripherals.dma import DREQChannel
from rp2040py.peripherals.spi import ISPIDMAChannels
from rp2040py.peripherals.uart import IUARTDMAChannels
from rp2040py.rp2040 import RP2040

from halite.emulator.flash_watch import FlashWatch
from halite.emulator.pio.machine import ExactPio, InputLevels
from halite.emulator.rp2040py_fixes.bus_time import BusI2c, BusSpi
from halite.emulator.rp2040py_fixes.pwm import quiet_pwm
from halite.emulator.rp2040py_fixes.uart import BusUart

_UART_BASES, _SPI_BASES = (0x40034, 0x40038), (0x4003C, 0x40040)
_I2C_BASES, _PIO_BASES = (0x40044, 0x40048), (0x50200, 0x50300)
_UARTS = ((IRQ.UART0, DREQChannel.DREQ_UART0_RX, DREQChannel.DREQ_UART0_TX),
          (IRQ.UART1, DREQChannel.DREQ_UART1_RX, DREQChannel.DREQ_UART1_TX))  # fmt: skip
_SPIS = ((IRQ.SPI0, DREQChannel.DREQ_SPI0_RX, DREQChannel.DREQ_SPI0_TX),
         (IRQ.SPI1, DREQChannel.DREQ_SPI1_RX, DREQChannel.DREQ_SPI1_TX))  # fmt: skip

_PERIPHERAL_CLOCKS = {1: 125_000_000, 2: 48_000_000, 4: 12_000_000}  # PLL_SYS, PLL_USB, XOSC; 0 is clk_sys


@dataclass(frozen=True)
class Corrected:
    """The blocks that replace those of rp2040py."""

    uart: tuple[BusUart, ...]
    spi: tuple[BusSpi, ...]
    i2c: tuple[BusI2c, ...]
    pio: tuple[ExactPio, ...]
    flash: FlashWatch


def install(rp2040: RP2040) -> Corrected:
    """Replace the faulty blocks of a new chip; call before any device is attached and before it runs."""
    uarts = tuple(
        BusUart(rp2040, f"UART{i}", irq, IUARTDMAChannels(rx=rx, tx=tx)) for i, (irq, rx, tx) in enumerate(_UARTS)
    )
    spis = tuple(BusSpi(rp2040, f"SPI{i}", irq, ISPIDMAChannels(rx=rx, tx=tx)) for i, (irq, rx, tx) in enumerate(_SPIS))
    i2cs = tuple(BusI2c(rp2040, f"I2C{i}", irq) for i, irq in enumerate((IRQ.I2C0, IRQ.I2C1)))
    levels = InputLevels(rp2040)
    pios = tuple(ExactPio(rp2040, f"PIO{i}", irq, i, levels) for i, irq in enumerate((IRQ.PIO0_IRQ0, IRQ.PIO1_IRQ0)))
    rp2040.uart[:], rp2040.spi[:], rp2040.i2c[:], rp2040.pio[:] = uarts, spis, i2cs, pios
    for bases, blocks in ((_UART_BASES, uarts), (_SPI_BASES, spis), (_I2C_BASES, i2cs), (_PIO_BASES, pios)):
        rp2040.peripherals.update(zip(bases, blocks, strict=True))
    _follow_peripheral_clock(rp2040)
    quiet_pwm(rp2040)
    return Corrected(uarts, spis, i2cs, pios, FlashWatch(rp2040))


def _follow_peripheral_clock(rp2040: RP2040) -> None:
    """Let clk_peri follow its source: rp2040py assumes 125 MHz, MicroPython uses the USB PLL with 48 MHz.

    CLK_PERI_CTRL.AUXSRC: RP2040 data sheet 2.15.7.
    """
    clocks = rp2040.clocks
    write = clocks.write_uint32

    def write_and_follow(offset: int, value: int) -> None:
        write(offset, value)
        if offset == CLK_PERI_CTRL:
            rp2040.clk_peri = _PERIPHERAL_CLOCKS.get(clocks.peri_ctrl >> 5 & 7, rp2040.clk_sys)

    setattr(clocks, "write_uint32", write_and_follow)  # noqa: B010 - a method, replaced on purpose
