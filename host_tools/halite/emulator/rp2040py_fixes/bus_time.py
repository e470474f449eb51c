"""SPI and I2C masters whose transfers take bus time; those of rp2040py take no time.

Sources: RP2040 data sheet 4.4 (SSP: one frame takes SSPCR0.DSS + 1 periods of SSPCLK/(CPSDVSR (1+SCR)))
and 4.3.14 (DW_apb_i2c: SCL high and low counts); I2C-bus specification UM10204 3.1: 9 clocks a byte.
"""

from collections.abc import Callable
from typing import Protocol

from rp2040py.peripherals.i2c import RPI2C, I2CMode
from rp2040py.peripherals.spi import RPSPI, ISPIDMAChannels
from rp2040py.rp2040 import RP2040

IDLE_BUS = 0xFF


class I2cChip(Protocol):
    """One address on the I2C bus."""

    def start(self, read: bool) -> bool:
        """Handle a start condition with this chip's address; True to acknowledge."""

    def write(self, byte: int) -> bool:
        """Take one byte of the master; True to acknowledge."""

    def read(self) -> int:
        """Return the next byte for the master."""

    def stop(self) -> None:
        """Handle a stop condition."""


class BusSpi(RPSPI):
    """An SPI master. `exchange(value) -> value` is called at the end of each frame; without it all bits read as one."""

    def __init__(self, rp2040: RP2040, name: str, irq: int, dreq: ISPIDMAChannels) -> None:
        super().__init__(rp2040, name, irq, dreq)
        self.exchange: Callable[[int], int] | None = None
        self._value = 0
        self._alarm = rp2040.clock.create_alarm(self._frame_done)
        self.on_transmit = self._frame_begun

    def reset(self) -> None:
        """Reset the block and abort a frame on the bus."""
        super().reset()
        self._alarm.cancel()

    def _frame_begun(self, value: int) -> None:
        self._value = value
        self._alarm.schedule(self.data_bits * 1e9 / (self.clock_frequency or self.rp2040.clk_peri))

    def _frame_done(self) -> None:
        self.complete_transmit(self.exchange(self._value) if self.exchange else (1 << self.data_bits) - 1)


class BusI2c(RPI2C):
    """An I2C master. `chips[address]` answers; an address without a chip is not acknowledged."""

    def __init__(self, rp2040: RP2040, name: str, irq: int) -> None:
        super().__init__(rp2040, name, irq)
        self.chips: dict[int, I2cChip] = {}
        self._chip: I2cChip | None = None
        self._then: Callable[[], None] | None = None
        self._alarm = rp2040.clock.create_alarm(self._due)
        self.on_start = self._start
        self.on_connect = self._connect
        self.on_write_byte = self._write
        self.on_read_byte = self._read
        self.on_stop = self._stop_condition

    def reset(self) -> None:
        """Reset the block and abort a transfer on the bus."""
        super().reset()
        self._alarm.cancel()
        self._then = None
        self._chip = None

    @property
    def bit_ns(self) -> float:
        """Time of one SCL period at the configured counts, in ns (data sheet 4.3.14.1)."""
        high = self.scl_high_period + self._spikelen + 7
        return (high + self.scl_low_period + 1) * 1e9 / self.rp2040.clk_sys

    def _after(self, bits: int, then: Callable[[], None]) -> None:
        self._then = then
        self._alarm.schedule(bits * self.bit_ns)

    def _due(self) -> None:
        then, self._then = self._then, None
        if then:
            then()

    def _start(self, repeated: bool) -> None:
        self._after(1, self.complete_start)

    def _connect(self, address: int, mode: I2CMode) -> None:
        self._after(9, lambda: self._address_sent(address, mode))

    def _address_sent(self, address: int, mode: I2CMode) -> None:
        chip = self.chips.get(address)
        acknowledged = chip is not None and chip.start(mode == I2CMode.READ)
        self._chip = chip if acknowledged else None
        self.complete_connect(acknowledged)

    def _write(self, value: int) -> None:
        self._after(9, lambda: self.complete_write(self._chip.write(value) if self._chip else False))

    def _read(self, acknowledge: bool) -> None:
        self._after(9, lambda: self.complete_read(self._chip.read() if self._chip else IDLE_BUS))

    def _stop_condition(self) -> None:
        self._after(1, self._stopped)

    def _stopped(self) -> None:
        if self._chip:
            self._chip.stop()
            self._chip = None
        self.complete_stop()
