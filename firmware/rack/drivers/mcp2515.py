"""MCP2515 CAN controller, 500 kbit/s: bring-up with read-back, bounded polling, bus-off recovery.

A request that waits for a dead bus, or a controller that has reset to its defaults unnoticed, would leave the PCS on
old power. The driver therefore reads mode, bit timing, buffer control and error flags back every _HEALTH_US, and
restarts the chip at every difference. No loop waits for the chip. 2 s after the last fault on SPI or CAN frames pass
again: the longest pause of a controller that was bus-off, and a bring-up.

Source: Microchip DS20001801, and linux mcp251x.c for the reset time. `spi` needs transfer(tx, rx, n):
n bytes in one chip select, full duplex, at most 16, not interruptible by the fast path; and
send_fast(frame), see rack.hal.
"""

import micropython
from micropython import const

from rack.base.clock import TICKS_MASK
from rack.base.viper import ptr8

# instructions
_RESET = const(0xC0)
_READ = const(0x03)
_WRITE = const(0x02)
_BIT_MODIFY = const(0x05)
_READ_RX0 = const(0x90)
_READ_RX1 = const(0x94)
_READ_STATUS = const(0xA0)
LOAD_TX0 = const(0x40)
LOAD_TX1 = const(0x42)

# registers
_CANSTAT = const(0x0E)
_CANCTRL = const(0x0F)
_TEC = const(0x1C)
_CNF3 = const(0x28)
_EFLG = const(0x2D)
_TXB0CTRL = const(0x30)
_TXB1CTRL = const(0x40)
_RXB0CTRL = const(0x60)
_RXB1CTRL = const(0x70)

_MODE_NORMAL = const(0x00)
_MODE_CONFIG = const(0x80)
_EFLG_TXBO = const(0x20)
_EFLG_OVERFLOW = const(0xC0)
_RXB0_MODE = const(0x64)           # the bits of RXB0CTRL that `_setup_rows` writes: filters on, roll over

_RESET_US = const(10_000)          # oscillator start-up; linux mcp251x waits 5 ms
_HEALTH_US = const(20_000)
_STUCK_CHECKS = const(3)           # health checks with the same frame still unsent before it is aborted
_GOOD_CHECKS = const(50)           # health checks without a fault, 1 s, before the pause starts small again
_BACKOFF_FIRST_US = const(50_000)
_BACKOFF_LAST_US = const(1_600_000)

STATE_RESET = const(0)
STATE_CONFIG = const(1)
STATE_LISTEN = const(2)            # normal mode requested, not yet seen
STATE_RUN = const(3)
STATE_BACKOFF = const(4)

# CNF3, CNF2, CNF1 for 500 kbit/s, sample point 75 %, by crystal in MHz: 8 and 16 time quanta a bit
_TIMING = {8: (0x01, 0x91, 0x00), 16: (0x03, 0xAC, 0x40)}


@micropython.viper
def _copy_received(frame, rx):
    """Copy the 13 bytes after the instruction."""
    target = ptr8(frame)
    received = ptr8(rx)
    i = 0
    while i < 13:
        target[i] = received[i + 1]
        i += 1


class Mcp2515:
    """One controller on an SPI bus object.

    crystal_MHz: 8 or 16 (KeyError otherwise). accept: up to 6 standard identifiers to receive.
    Counters: rx_overflows, bus_offs, starts (bring-ups), aborted; tec and rec of the last health check.
    """

    def __init__(self, spi, crystal_MHz, accept):
        self.state = STATE_RESET
        self.rx_overflows = 0
        self.bus_offs = 0
        self.starts = 0
        self.aborted = 0
        self.tec = 0
        self.rec = 0
        self._spi = spi
        self._tx = bytearray(16)
        self._rx = bytearray(16)
        self._since = 0
        self._wait_us = 0
        self._backoff_us = _BACKOFF_FIRST_US
        self._stuck = bytearray(2)
        self._good = 0
        self._setup = self._setup_rows(_TIMING[crystal_MHz], accept)

    def _setup_rows(self, timing, accept):
        """(register, bytes) written and read back in configuration mode."""
        filters = bytearray()
        for index in range(6):
            identifier = accept[min(index, len(accept) - 1)]
            filters += bytes((identifier >> 3, (identifier & 7) << 5, 0, 0))
        return (
            (_CNF3, bytes(timing)),
            (0x00, bytes(filters[0:12])),              # RXF0..2
            (0x10, bytes(filters[12:24])),             # RXF3..5
            (0x20, b"\xff\xe0\x00\x00\xff\xe0\x00\x00"),   # both masks: all 11 bits
            (_RXB0CTRL, b"\x06"),                      # filters on, roll over into RXB1; bit 1 reads as a copy of bit 2
            (_RXB1CTRL, b"\x00"),
            (_TXB0CTRL, b"\x03"),                      # the power request goes first
            (_TXB1CTRL, b"\x01"),
        )

    # -- bus

    def _command(self, count):
        self._spi.transfer(self._tx, self._rx, count)

    def _read(self, register, count):
        """Read registers into rx[2:2 + count]; count 1..14."""
        self._tx[0] = _READ
        self._tx[1] = register
        self._command(count + 2)

    def _write(self, register, data):
        tx = self._tx
        tx[0] = _WRITE
        tx[1] = register
        for index in range(len(data)):
            tx[index + 2] = data[index]
        self._command(len(data) + 2)

    def _holds(self, register, data):
        """True if the chip reads back `data`. The two read-only bits of RXBnCTRL and TXBnCTRL are 0 at start."""
        self._read(register, len(data))
        for index in range(len(data)):  # noqa: SIM110 - a generator allocates
            if self._rx[index + 2] != data[index]:
                return False
        return True

    # -- called by the application

    @property
    def running(self):
        return self.state == STATE_RUN

    def poll(self, now_us):
        """Advance bring-up, or check health every 20 ms; now_us wraps at 2**30. About ten short transfers at most."""
        if ((now_us - self._since) & TICKS_MASK) < self._wait_us:
            return
        self._since = now_us
        self._STEPS[self.state](self)

    def receive(self, frame):
        """Copy the oldest received frame into frame[0:13] (SIDH SIDL EID8 EID0 DLC data[8]).

        Returns the number of frames that waited, 0..2.
        """
        if self.state != STATE_RUN:
            return 0
        self._tx[0] = _READ_STATUS
        self._command(2)
        status = self._rx[1]
        if not status & 3:
            return 0
        self._tx[0] = _READ_RX0 if status & 1 else _READ_RX1
        self._command(14)
        _copy_received(frame, self._rx)
        return 2 if status & 3 == 3 else 1

    def send_fast(self, frame):
        """LOAD TXB0 (frame[0:14], frame[0] = LOAD_TX0) and request to send. Hard interrupt; 1 if handed over.

        0: the chip is not running or still holds the previous request.
        """
        if self.state != STATE_RUN:
            return 0
        return self._spi.send_fast(frame)

    def send(self, frame):
        """The same through TXB1 (frame[0] = LOAD_TX1) from the main loop; 1 if handed over."""
        if self.state != STATE_RUN:
            return 0
        self._tx[0] = _READ_STATUS
        self._command(2)
        if self._rx[1] & 0x10:
            return 0
        tx = self._tx
        for index in range(14):
            tx[index] = frame[index]
        self._command(14)
        tx[0] = 0x82
        self._command(1)
        return 1

    # -- steps

    def _wait(self, state, wait_us):
        self.state = state
        self._wait_us = wait_us

    def _step_reset(self):
        self.starts += 1
        self._tx[0] = _RESET
        self._command(1)
        self._wait(STATE_CONFIG, _RESET_US)

    def _step_config(self):
        self._read(_CANSTAT, 1)
        if self._rx[2] & 0xE0 != _MODE_CONFIG:
            self._wait(STATE_RESET, _BACKOFF_FIRST_US)
            return
        for register, data in self._setup:
            self._write(register, data)
            if not self._holds(register, data):
                self._wait(STATE_RESET, _BACKOFF_FIRST_US)
                return
        self._write(_CANCTRL, b"\x00")
        self._wait(STATE_LISTEN, 1000)

    def _step_listen(self):
        """Normal mode begins after 11 recessive bits; on a bus that is held dominant it does not begin."""
        self._read(_CANSTAT, 1)
        if self._rx[2] & 0xE0 == _MODE_NORMAL:
            self._stuck[0] = self._stuck[1] = 0
            self._good = 0
            self._wait(STATE_RUN, 0)
        else:
            self._wait(STATE_RESET, _BACKOFF_FIRST_US)

    def _step_run(self):
        self._wait_us = _HEALTH_US
        rx = self._rx
        timing = self._setup[0][1]
        self._read(_TEC, 2)
        self.tec = rx[2]
        self.rec = rx[3]
        self._read(_CNF3, 9)                       # to CNF1, CANINTE, CANINTF, EFLG, CANSTAT, CANCTRL, TXB0CTRL
        if rx[8] & 0xE0 != _MODE_NORMAL or rx[2] != timing[0] or rx[3] != timing[1] or rx[4] != timing[2]:
            self._wait(STATE_RESET, 0)
            return
        flags = rx[7]
        control = rx[10]
        if flags & _EFLG_TXBO:
            self._bus_off()
            return
        if self._good < _GOOD_CHECKS:       # a count without an end leaves 31 bits after 248 days
            self._good += 1
        if self._good >= _GOOD_CHECKS:
            self._backoff_us = _BACKOFF_FIRST_US
        if flags & _EFLG_OVERFLOW:
            self.rx_overflows += 1
            self._modify(_EFLG, _EFLG_OVERFLOW, 0)
        self._check_buffers(control)

    def _check_buffers(self, control):
        """Check the bits that noise may change in normal mode, and frames that do not leave.

        control: TXB0CTRL as read.
        """
        rx = self._rx
        self._read(_RXB0CTRL, 1)
        kept = rx[2] & _RXB0_MODE == 0x04
        self._read(_TXB1CTRL, 1)
        other = rx[2]
        if not (self._check_stuck(0, _TXB0CTRL, control, 3) and self._check_stuck(1, _TXB1CTRL, other, 1) and kept):
            self._wait(STATE_RESET, 0)

    def _modify(self, register, mask, value):
        tx = self._tx
        tx[0] = _BIT_MODIFY
        tx[1] = register
        tx[2] = mask
        tx[3] = value
        self._command(4)

    def _check_stuck(self, buffer, register, control, priority):
        """Abort a frame without acknowledge: it blocks its buffer, and the next frame is fresher.

        Returns False if the buffer has lost its priority.
        """
        if not control & 8:
            self._stuck[buffer] = 0
        else:
            self._stuck[buffer] += 1
            if self._stuck[buffer] >= _STUCK_CHECKS:
                self._stuck[buffer] = 0
                self.aborted += 1
                self._modify(register, 8, 0)
        return control & 3 == priority

    def _bus_off(self):
        """Leave the bus at once, come back after a growing pause: a shorted bus gets few frames."""
        self.bus_offs += 1
        self._write(_CANCTRL, b"\x80")
        self._wait(STATE_BACKOFF, self._backoff_us)
        self._backoff_us = min(2 * self._backoff_us, _BACKOFF_LAST_US)

    def _step_backoff(self):
        self._wait(STATE_RESET, 0)

    _STEPS = (_step_reset, _step_config, _step_listen, _step_run, _step_backoff)
