"""A PL011 UART that takes bus time; it replaces that of rp2040py.

rp2040py keeps the transmit interrupt raised, moves bytes in no time and has no overrun: MicroPython then hangs in an
interrupt storm as soon as it makes a `machine.UART`.
Sources: RP2040 data sheet 4.2 (UART) and ARM PL011 Technical Reference Manual DDI 0183, 3.3-3.4.
"""

from collections import deque
from collections.abc import Callable

from rp2040py.peripherals.uart import RPUART, IUARTDMAChannels
from rp2040py.rp2040 import RP2040

_DR, _RSR, _FR, _LCR_H, _CR, _IFLS, _IMSC, _RIS, _ICR, _DMACR = (
    0x00, 0x04, 0x18, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x44, 0x48,
)  # fmt: skip
_FR_BUSY, _FR_RXFE, _FR_TXFF, _FR_RXFF, _FR_TXFE = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
INT_RX, INT_TX, INT_RT, INT_OE = 1 << 4, 1 << 5, 1 << 6, 1 << 10
_DR_OVERRUN = 1 << 11
_LCR_PARITY, _LCR_TWO_STOPS = 1 << 1, 1 << 3
_FIFO_DEPTH = 32
_LEVELS = (4, 8, 16, 24, 28)  # UARTIFLS: 1/8, 1/4, 1/2, 3/4, 7/8 of 32; data sheet table UARTIFLS
_IFLS_RESET = 0x12
_TIMEOUT_BITS = 32  # TRM 3.4.3: receive timeout after 32 bit periods without a character


class BusUart(RPUART):
    """A UART. `on_byte(byte)` is called at the end of each transmitted frame.

    Call `receive_frame` at the end of each frame for the board, as SerialLine does.
    """

    def __init__(self, rp2040: RP2040, name: str, irq: int, dreq: IUARTDMAChannels) -> None:
        super().__init__(rp2040, name, irq, dreq)
        self._tx: deque[int] = deque()
        self._rx: deque[int] = deque()
        self._ifls = _IFLS_RESET
        self._dma_control = 0
        self._overrun = False
        self._shifting: int | None = None
        self._tx_alarm = rp2040.clock.create_alarm(self._frame_sent)
        self._timeout_alarm = rp2040.clock.create_alarm(self._receive_timeout)

    def reset(self) -> None:
        """Reset the block: FIFOs, shifter and interrupts are cleared."""
        super().reset()
        self._tx.clear()
        self._rx.clear()
        self._ifls = _IFLS_RESET
        self._dma_control = 0
        self._overrun = False
        self._shifting = None
        self._tx_alarm.cancel()
        self._timeout_alarm.cancel()
        self._publish_dreq()

    @property
    def bit_ns(self) -> float:
        """Time of one bit with the configured divisors, in ns."""
        return 16e9 * max(self.baud_divider, 1 / 64) / self.rp2040.clk_peri

    @property
    def frame_ns(self) -> float:
        """Time of one character with start, parity and stop bits, in ns."""
        extra = bool(self._line_ctrl_register & _LCR_PARITY) + bool(self._line_ctrl_register & _LCR_TWO_STOPS)
        return (2 + self.word_length + extra) * self.bit_ns

    @property
    def flags(self) -> int:
        """The flag register UARTFR."""
        depth = self._depth
        return (
            (_FR_BUSY if self._shifting is not None else 0)
            | (_FR_RXFE if not self._rx else 0)
            | (_FR_TXFF if len(self._tx) >= depth else 0)
            | (_FR_RXFF if len(self._rx) >= depth else 0)
            | (_FR_TXFE if not self._tx else 0)
        )

    @property
    def _depth(self) -> int:
        return _FIFO_DEPTH if self.fifos_enabled else 1

    @property
    def _tx_trigger(self) -> int:
        return _LEVELS[min(self._ifls & 7, 4)] if self.fifos_enabled else 0

    @property
    def _rx_trigger(self) -> int:
        return _LEVELS[min(self._ifls >> 3 & 7, 4)] if self.fifos_enabled else 1

    def check_interrupts(self) -> None:
        """Set the interrupt line from the raised and the enabled interrupts."""
        self.rp2040.set_interrupt(self.irq, bool(self._interrupt_status & self._interrupt_mask))

    def feed_byte(self, value: int) -> None:
        """Receive one character, by rp2040py's name for it."""
        self.receive_frame(value)

    def receive_frame(self, value: int) -> None:
        """Receive one character. It is lost when the receiver is off, and an overrun when the FIFO is full."""
        if not (self.enabled and self.rx_enabled):
            return
        if len(self._rx) >= self._depth:
            self._overrun = True
            self._raise(INT_OE)
            return
        self._rx.append((value & 0xFF) | (_DR_OVERRUN if self._overrun else 0))
        self._overrun = False
        self._timeout_alarm.schedule(_TIMEOUT_BITS * self.bit_ns)
        if len(self._rx) >= self._rx_trigger:
            self._raise(INT_RX)
        self._publish_dreq()

    def read_uint32(self, offset: int) -> int:
        """Read a register at its byte offset."""
        if offset == _DR:
            return self._read_data()
        if offset == _RSR:
            return 1 << 3 if self._overrun else 0
        if offset == _IFLS:
            return self._ifls
        if offset == _DMACR:
            return self._dma_control
        return super().read_uint32(offset)

    def write_uint32(self, offset: int, value: int) -> None:
        """Write a register at its byte offset."""
        if offset == _DR:
            self._write_data(value & 0xFF)
        elif offset == _IFLS:
            self._ifls = value & 0x3F
        elif offset == _RSR:
            self._overrun = False
        elif offset == _DMACR:
            self._dma_control = value & 7
            self._publish_dreq()
        elif offset == _CR:
            super().write_uint32(offset, value)
            self._start_next()
            self._publish_dreq()
        else:
            super().write_uint32(offset, value)

    def _read_data(self) -> int:
        value = self._rx.popleft() if self._rx else 0
        if len(self._rx) < self._rx_trigger:
            self._interrupt_status &= ~INT_RX
        if not self._rx:
            self._interrupt_status &= ~INT_RT
            self._timeout_alarm.cancel()
        self.check_interrupts()
        self._publish_dreq()
        return value

    def _write_data(self, value: int) -> None:
        if len(self._tx) >= self._depth:
            return  # the character is lost, as on the chip
        self._tx.append(value)
        if len(self._tx) > self._tx_trigger:
            self._interrupt_status &= ~INT_TX
            self.check_interrupts()
        self._start_next()
        self._publish_dreq()

    def _start_next(self) -> None:
        """Move a character to the shifter.

        The interrupt is raised by the transition through the level, not by the level (TRM 3.4.2); rp2040py uses the
        level.
        """
        if self._shifting is not None or not self._tx or not (self.enabled and self.tx_enabled):
            return
        crossed = len(self._tx) == self._tx_trigger + 1
        self._shifting = self._tx.popleft()
        self._tx_alarm.schedule(self.frame_ns)
        if crossed:
            self._raise(INT_TX)

    def _frame_sent(self) -> None:
        sent, self._shifting = self._shifting, None
        self._start_next()
        self._publish_dreq()
        if self.on_byte and sent is not None:
            self.on_byte(sent)

    def _receive_timeout(self) -> None:
        if self._rx:
            self._raise(INT_RT)

    def _raise(self, bit: int) -> None:
        self._interrupt_status |= bit
        self.check_interrupts()

    def _publish_dreq(self) -> None:
        dma = self.rp2040.dma
        (dma.set_dreq if self._dma_control & 1 and self._rx else dma.clear_dreq)(self.dreq.rx)
        (dma.set_dreq if self._dma_control & 2 and len(self._tx) < self._depth else dma.clear_dreq)(self.dreq.tx)


class SerialLine:
    """The far end's transmitter: sends bytes to the board's receive line at bus speed."""

    def __init__(self, uart: BusUart, corrupt: Callable[[int], int | None] | None = None) -> None:
        """corrupt(byte) may return another byte or None for a lost one."""
        self._uart = uart
        self._clock = uart.rp2040.clock
        self._queue: deque[tuple[float, int]] = deque()
        self._free_ns = 0.0
        self._alarm = self._clock.create_alarm(self._deliver)
        self._armed = False
        self.corrupt = corrupt

    def send(self, data: bytes, at_us: float = 0.0) -> None:
        """Start to send at at_us (emulated time), or as soon as the line is free after that time."""
        frame = self._uart.frame_ns
        ends = max(self._free_ns, at_us * 1000.0, self._clock.nanos)
        for byte in data:
            ends += frame
            self._queue.append((ends, byte))
        self._free_ns = ends
        if not self._armed:
            self._arm()

    def clear(self) -> None:
        """Drop the bytes that have not arrived yet: the far end lost its supply or was reset."""
        self._queue.clear()
        self._alarm.cancel()
        self._armed = False
        self._free_ns = 0.0

    def _arm(self) -> None:
        self._armed = bool(self._queue)
        if self._armed:
            self._alarm.schedule(max(self._queue[0][0] - self._clock.nanos, 0.0))

    def _deliver(self) -> None:
        _, byte = self._queue.popleft()
        self._arm()
        arrived = self.corrupt(byte) if self.corrupt else byte
        if arrived is not None:
            self._uart.receive_frame(arrived)
