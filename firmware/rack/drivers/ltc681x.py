"""LTC6811 / LTC6813 stack on SPI through isoSPI, with the same members as the driver of the BQ79616 stack.

It defends against the same hazard by the same rule. A scan counts as arrived only when the PEC of every register group
of every device is right and every result is from this scan; the driver clears the registers before each conversion.

Commands, order of bytes, LSB: LTC6813-1 data sheet. `spi` needs transfer(tx, rx, n): n bytes in one chip select, here
4; begin(tx, rx, n): the same without waiting for its end, here 4 + 8 × devices (212 bytes, 1.7 ms at 1 Mbit/s, for 26);
done(): true when that has ended. Kernels use the received bytes in a poll of their own, so that no poll takes 2 ms
(tests/emulated/test_same_bits_on_chip.py).

A port of the chain that has been silent for tIDLE sleeps, and takes its next command only for a wake. In the
application any pause between two polls may be that long (a collection, a scan). Without a wake of its own, a start
of a conversion would be lost there, and its cleared results would look like broken sensors.
"""

import micropython
from micropython import const

from rack.base.clock import TICKS_MASK
from rack.definitions.codes import AFE_RUN, AFE_WAKE
from rack.drivers import ltc681x_commands as C
from rack.drivers.ltc681x_convert import count_good, count_unconfigured, first_shut_down, take_aux, to_cells, to_temps
from rack.drivers.pec15 import TABLE, seal

_READ_CELLS = (C.RDCVA, C.RDCVB, C.RDCVC, C.RDCVD, C.RDCVE, C.RDCVF)
_READ_AUX = (C.RDAUXA, C.RDAUXB, C.RDAUXC, C.RDAUXD)
_AUX_GROUPS = (1, 1, 1, 2, 2, 3, 3, 3, 4)    # groups that hold 1, 2, … 9 temperatures
_CONFIG = b"\xfc\x00\x00\x00\x00\x00"    # GPIO pull-downs off, reference stays on, no discharge

_WAKE_us = const(400)                # tWAKE 300 µs
_READY_us = const(10)                # tREADY of one device
_IDLE_us = const(4_000)              # tIDLE: 4.3 ms or more
_BYTE_us = const(8)
_ROWS_PER_POLL = const(2)            # use one group, and ask for the next
_NEXT_POLL_us = const(1)             # no second kernel in this poll, and no pause before the readings are judged
_CELLS_us = const(2_600)             # 2.3 ms
_AUX_us = const(4_300)               # 3.9 ms
_FAULT_CYCLES = const(100)           # as long as a BQ79616 keeps its bits
_MAX_RETRIES = const(3)              # failed groups in a row before the driver gives the scan up


@micropython.viper
def _later(now_us: int, wait_us: int) -> int:
    """Return the time `wait_us` after now_us. In viper: before the clock wraps the sum is not a small integer."""
    return (now_us + wait_us) & TICKS_MASK


class Ltc681x:
    """Driver of one stack; `poll` it every 1.2 ms, or after `pause_us` if that is longer.

    layout: (devices 1..26, cells per device, temperatures per device, GPIO1 upwards). An LTC6811 has up to 12 cells and
    5 temperatures, an LTC6813 up to 18 and 9. outputs, flags and counters: as rack.drivers.bq79616.Bq79616.
    state: AFE_WAKE while the stack does not answer, otherwise AFE_RUN; in neither does a poll allocate.
    fault: the first device, counted from 1, that has been in thermal shutdown, or 0.
    Members that stay 0 here: wire_checks (no open-wire check), link_broken (the stack is not a ring),
    timeouts (an SPI transfer cannot time out) and wakes (every period begins with one). The same holds for open_wires:
    an open wire shows in the voltages, see [plausible] wire_mV.
    """

    def __init__(self, spi, layout, outputs, period_us=100_000):
        devices, self._cells, self._temps = layout
        self._cells_mV, self._temps_ddegC, self._ntc = outputs
        self._spi = spi
        self._devices = devices
        self._period_us = period_us
        self.cells_ready = False
        self.temps_ready = False
        self.open_wires = bytearray(2 * devices)
        self.scan_us = 0
        self.state = AFE_WAKE
        self.pause_us = 0
        self.devices_seen = 0
        self.link_broken = False
        self.fault = 0
        self.wire_checks = 0
        self._fault_cycles = 0
        self.crc_errors = 0
        self.timeouts = 0
        self.invalid = 0
        self.wakes = 0
        self._tx = bytearray(b"\xff" * (4 + 8 * devices))     # after a command the line idles
        self._rx = bytearray(4 + 8 * devices)
        self._config = self._config_frame()
        self._aux = bytearray(24 * devices)
        self._since_us = 0
        self._wait_us = 0
        self._sent_us = 0              # when the last command left
        self._busy = False             # a transfer has begun, and its end was not seen
        self._period_start = 0
        self._started = False
        self._step = 0
        self._retries = 0
        self._rows = self._cycle_rows()

    def _cycle_rows(self):
        """(action, command, value, wait in µs afterwards), one row a call."""
        cells: tuple = ()       # MicroPython skips the types: they are for the type check
        aux: tuple = ()
        for group in range((self._cells + 2) // 3):
            cells += ((self._ask, _READ_CELLS[group], 0, 0), (self._take_cells, 0, 3 * group, 0))
        for group in range(max(_AUX_GROUPS[self._temps - 1], 2)):      # the second group holds the reference
            aux += ((self._ask, _READ_AUX[group], 0, 0), (self._take_aux, 0, group, _NEXT_POLL_us))
        return (
            (self._await_period, 0, 0, _WAKE_us),
            (self._start, C.RDCFGA, 0, _READY_us * self._devices),     # the ports of chips that have slept for 2 s
            (self._write_config, 0, 0, 0),
            (self._ask, C.RDCFGA, 0, 0),
            (self._check_config, 0, 0, 0),
            (self._start, C.CLRCELL, 0, 0),
            (self._start, C.CLRAUX, 0, 0),
            (self._start, C.ADCV | C.MODE_7kHz, 0, _CELLS_us),         # all cells, discharge off
        ) + cells + (
            (self._cells_done, 0, 0, _NEXT_POLL_us),
            (self._start, C.ADAX | C.MODE_7kHz, 0, _AUX_us),           # all GPIOs and the reference
        ) + aux + (
            (self._ask, C.RDSTATB, 0, 0),
            (self._take_status, 0, 0, 0),
            (self._temps_done, 0, 0, _NEXT_POLL_us),
        )

    # -- called by the application

    def poll(self, now_us):
        """Advance by one or two rows with at most one command; now_us wraps at 2**30. Does not wait for long frames."""
        self.pause_us = 0
        if self._busy:
            if not self._spi.done():
                return
            self._busy = False
        left_us = self._wait_us - ((now_us - self._since_us) & TICKS_MASK)
        if left_us > 0:
            self.pause_us = left_us
            return
        for _ in range(_ROWS_PER_POLL):
            action, command, value, wait_us = self._rows[self._step]
            if not action(now_us, command, value):
                return
            self._step += 1
            if self._step == len(self._rows):
                self._step = 0
            if command or wait_us or self._busy:
                self._pause(now_us, wait_us)
                return

    def _pause(self, now_us, wait_us):
        self._since_us = now_us
        self._wait_us = wait_us

    def open_wire(self):
        """Return 0: this driver has no open-wire check."""
        return 0

    # -- frames

    def _config_frame(self):
        """WRCFGA with the same configuration for every device."""
        config = bytearray(_CONFIG + b"\0\0")
        seal(config, 6)
        command = bytearray((C.WRCFGA >> 8, C.WRCFGA & 0xFF, 0, 0))
        seal(command, 2)
        return command + bytes(config) * self._devices

    def _make_command(self, command):
        tx = self._tx
        tx[0] = command >> 8
        tx[1] = command & 0xFF
        seal(tx, 2)

    def _wake(self, now_us):
        """Wake the ports of the chain: the devices do not take this command, only its edges."""
        self._make_command(C.RDCFGA)
        self._spi.transfer(self._tx, self._rx, 4)
        self._sent_us = now_us

    def _awake(self, now_us):
        """True if the ports are awake; otherwise wake them, and let the row of the program repeat."""
        if (now_us - self._sent_us) & TICKS_MASK < _IDLE_us:
            self._sent_us = now_us
            return True
        self._wake(now_us)
        self._pause(now_us, _READY_us * self._devices)
        return False

    def _begin(self, now_us, frame):
        """Send a frame as long as all register groups; the next poll comes when it has ended."""
        self._busy = True
        self._spi.begin(frame, self._rx, len(frame))
        self.pause_us = _BYTE_us * len(frame)
        self._sent_us = _later(now_us, self.pause_us)

    def _retry(self, rows):
        """Go back by `rows` rows; after too many retries in a row give the scan up and begin the next one."""
        self._retries += 1
        self._step -= rows
        if self._retries >= _MAX_RETRIES:
            self._retries = 0
            self._step = 0
            self.devices_seen = 0
            self.state = AFE_WAKE
        return False

    def _received(self, rows):
        """True if the group of every device in rx matches its PEC; otherwise retry."""
        if count_good(self._rx, self._devices, TABLE) == self._devices:
            return True
        self.crc_errors += 1
        return self._retry(rows)

    # -- actions

    def _await_period(self, now_us, command, value):
        passed = (now_us - self._period_start) & TICKS_MASK
        if self._started and passed < self._period_us:
            self.pause_us = self._period_us - passed
            return False
        late_us = passed - self._period_us
        keep_phase = self._started and late_us < self._period_us
        self._period_start = (now_us - late_us) & TICKS_MASK if keep_phase else now_us
        self._started = True
        self._wake(now_us)
        return True

    def _start(self, now_us, command, value):
        if not self._awake(now_us):
            return False
        self._make_command(command)
        self._spi.transfer(self._tx, self._rx, 4)
        return True

    def _ask(self, now_us, command, value):
        """Read one register group of every device into rx."""
        if not self._awake(now_us):
            return False
        self._make_command(command)
        self._begin(now_us, self._tx)
        return True

    def _write_config(self, now_us, command, value):
        """Write the configuration in each scan: a chip that slept has lost it."""
        if not self._awake(now_us):
            return False
        self._begin(now_us, self._config)
        return True

    def _check_config(self, now_us, command, value):
        if not self._received(2):
            return False
        if count_unconfigured(self._rx, self._devices):
            self.invalid += 1
            return self._retry(2)
        self.devices_seen = self._devices
        self.state = AFE_RUN
        return True

    def _take_cells(self, now_us, command, first):
        if not self._received(1):
            return False
        if to_cells(self._rx, self._devices, first, self._cells, self._cells_mV, len(self._cells_mV)):
            self.invalid += 1
            return self._retry(1)
        self._retries = 0
        return True

    def _cells_done(self, now_us, command, value):
        self.cells_ready = True
        return True

    def _take_aux(self, now_us, command, group):
        """Keep the group; the ratio needs the reference, which comes in the second one."""
        if not self._received(1):
            return False
        if take_aux(self._rx, self._devices, group, self._aux):
            self.invalid += 1
            return self._retry(1)
        self._retries = 0
        return True

    def _take_status(self, now_us, command, value):
        """Keep a fault for a while after its last report: reading the status clears its bit."""
        if not self._received(1):
            return False
        self._retries = 0
        fault = first_shut_down(self._rx, self._devices)
        if fault:
            self.fault = fault
            self._fault_cycles = _FAULT_CYCLES
        elif self._fault_cycles:
            self._fault_cycles -= 1
        else:
            self.fault = 0
        return True

    def _temps_done(self, now_us, command, value):
        out = self._temps_ddegC
        to_temps(self._aux, self._devices, self._temps, out, len(out), self._ntc)
        self.temps_ready = True
        self.scan_us = (now_us - self._period_start) & TICKS_MASK
        return True
