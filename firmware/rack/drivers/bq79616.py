"""BQ79616 stack on one UART: reads all cells and NTCs every period, once it has brought the stack up.

Defends against stale or corrupted cell data. A scan counts as arrived only when every frame of every device passed
the checks of CRC, address and register; any other answer is discarded, counted and asked for again. An answer that
does not begin, or six damaged ones, start the search for a broken link; the cells are then read from both ends of the
ring. A base device that does not answer is woken again. Every period the driver asks whether every ADC runs: an ADC
that has stopped would send its last cells with a good CRC for ever. 1 s after the last fault on the wire the driver
reads again as before.

Parts: rack.drivers.bq79616_frames (the link), rack.drivers.bq79616_bringup, rack.drivers.bq79616_convert (viper).
Registers and frames: TI data sheet SLUSE81 and SLVAE86B. `uart` needs write(buf), any(), readinto(buf, n) and
pulse_low(us); none of them may block.
"""

from micropython import const

from rack.base.clock import TICKS_MASK
from rack.definitions.codes import AFE_WAKE
from rack.drivers import bq79616_registers as R
from rack.drivers.bq79616_bringup import BringUp
from rack.drivers.bq79616_convert import take_bytes, to_cells, to_temps
from rack.drivers.bq79616_frames import StackLink

_ACTIONS_PER_POLL = const(5)         # writes, about 0.2 ms each; a read ends the call
_PARTIAL_CYCLES = const(4)           # with devices missing: wake the whole stack again after this many cycles
_LOOK_CYCLES = const(20)             # with a broken link: check whether it is whole again
_WIRE_CHECK_CYCLES = const(100)      # from one open-wire check to the next
_FIRST_CHECK_CYCLES = const(2)


class Bq79616:
    """Driver of one stack; `poll` it every 1.2 ms, or after `pause_us` if that is longer; a call takes about 1 ms.

    ticks_us: the clock of poll's now_us. layout: (devices 1..26, cells per device 6..16, temperatures per device 1..8,
    GPIO1 upwards). outputs: (cells_mV, temps_ddegC, NTC table of rack.drivers.ntc); the first two are array('i'),
    device by device, and may be shorter than the stack. period_us: from one voltage request to the next.

    cells_ready, temps_ready: a complete scan is in the outputs; the caller clears them. scan_us: from the start of the
    period to the last temperature. As of the last poll: state (AFE_* of rack.definitions.codes), pause_us,
    devices_seen (devices that answer), link_broken (they were reached from both ends).
    fault: the first device, from 1, that reports a fault of its own, or 0.
    open_wires: 16 bits a device, high byte first, from the open-wire check; the same check reads back the registers
    that the cells depend on. cycles_to_check: periods until the next check.
    Counters: crc_errors, timeouts, invalid, wakes. In state AFE_RUN a poll does not allocate.
    """

    def __init__(self, uart, ticks_us, layout, outputs, period_us=100_000):
        devices, self._cells, self._temps = layout
        self._cells_mV, self._temps_ddegC, self._ntc = outputs
        self._ticks_us = ticks_us
        self._period_us = period_us
        self._link = StackLink(uart, devices, 2 * max(self._cells, self._temps + 1))
        self._bringup = BringUp(self._link, devices, self._cells)
        self._programs = self._bringup.programs(self._cycle_rows())
        self.cells_ready = False
        self.temps_ready = False
        self.open_wires = bytearray(2 * devices)
        self.cycles_to_check = _FIRST_CHECK_CYCLES
        self.scan_us = 0
        self.state = AFE_WAKE
        self.pause_us = 0
        self.devices_seen = 0
        self.link_broken = False
        self._devices = devices
        self._period_start = 0
        self._odd_cycles = 0           # cycles with devices missing or a link broken

    def _cycle_rows(self):
        """Read the cells of both sides first: they must not be late."""
        bringup, write, check = self._bringup, self._link.write_all, self._bringup.read_back
        cells = (self._read_cells, R.VCELL16_HI + 2 * (16 - self._cells), 2 * self._cells, 0)
        rest = (
            self._read_temps, R.TSREF_HI, 2 + 2 * self._temps, 0,
            bringup.read_status, R.DEV_STAT, 2, 0,
            write, R.DIAG_COMP_CTRL3, R.OW_OFF, 0,             # once more: the last frame may have been lost
            self._skip_check, 0, 9, 0,
            check, R.ACTIVE_CELL, self._cells - 6, 0,
            check, R.CONTROL2, R.TSREF_EN, 0,
            check, R.ADC_CTRL1, R.CONTINUOUS, 0,
            write, R.DIAG_COMP_CTRL2, R.OW_THRESHOLD, 0,
            write, R.DIAG_COMP_CTRL3, R.OW_VC_SINKS, 4000,     # sinks empty 0.47 µF in 3 ms
            write, R.DIAG_COMP_CTRL3, R.OW_VC_SINKS | R.OW_VC_CHECK, 1000,
            write, R.DIAG_COMP_CTRL3, R.OW_OFF, 0,
            self._read_wires, R.FAULT_COMP_VCOW1, 2, 0,
            write, R.FAULT_RST1, 0xFF, 0,                      # only faults that persist are set again
        )  # fmt: skip
        return (
            (self._await_period, 0, 0, 0) + cells
            + (self._other_side, R.CONTROL1, len(rest) // 4 + 2, 100) + cells + rest
            + (self._first_side, R.CONTROL1, 0, 100) + rest
            + (self._finish_cycle, 0, 0, 0)
        )

    # -- called by the application

    def poll(self, now_us):
        """Advance by one small step: a read, or some short actions; now_us wraps at 2**30. Does not block."""
        link = self._link
        bringup = self._bringup
        link.pause_us = 0
        for action in range(_ACTIONS_PER_POLL):
            if action:                         # a few writes take longer than the wait for an answer
                now_us = self._ticks_us()
            if link.wait_us:
                left_us = link.wait_us - ((now_us - link.since_us) & TICKS_MASK)
                if left_us > 0:
                    link.pause_us = left_us
                    break
                link.wait_us = 0
            state = bringup.state
            program = self._programs[state]
            row = 4 * bringup.step
            if not program[row](now_us, program[row + 1], program[row + 2]):
                if bringup.state != state:
                    self._note_state(now_us)
                break
            wait_us = program[row + 3]
            if wait_us:
                link.pause(now_us, wait_us)
            if bringup.state == state:
                bringup.step += 1
            else:
                self._note_state(now_us)
            if link.phase:
                link.phase = 0
                break
        self.pause_us = link.pause_us

    def _note_state(self, now_us):
        """Copy the values that change with the state of the bring-up: a property would cost each reader a call.

        After a configuration the first period begins at once.
        """
        bringup = self._bringup
        self.state = bringup.state
        self.devices_seen = bringup.devices_seen
        self.link_broken = bringup.link_broken
        if bringup.configured:
            bringup.configured = False
            self._odd_cycles = 0
            self._period_start = (now_us - self._period_us) & TICKS_MASK

    def open_wire(self):
        """Return the cell, from 1, at the first open wire that the last check has found; 0 without one."""
        for device in range(self._devices):
            found = self.open_wires[2 * device] << 8 | self.open_wires[2 * device + 1]
            for cell in range(self._cells):
                if found >> cell & 1:
                    return device * self._cells + cell + 1
        return 0

    @property
    def fault(self):
        return self._bringup.fault

    @property
    def crc_errors(self):
        return self._link.crc_errors

    @property
    def timeouts(self):
        return self._link.timeouts

    @property
    def invalid(self):
        return self._bringup.invalid

    @property
    def wakes(self):
        return self._bringup.wakes

    # -- actions of the cycle

    def _await_period(self, now_us, register, value):
        passed = (now_us - self._period_start) & TICKS_MASK
        if passed < self._period_us:
            self._link.pause_us = self._period_us - passed
            return False
        late_us = passed - self._period_us
        self._period_start = now_us if late_us >= self._period_us else (now_us - late_us) & TICKS_MASK
        return True

    def _read_cells(self, now_us, register, size):
        link = self._link
        if not link.read(now_us, register, size):
            return False
        side = link.side
        cells = self._cells_mV
        if to_cells(link.rx, link.counts[side], self._cells, cells, len(cells), link.positions[side]):
            return self._bringup.not_as_configured()
        if side or not link.counts[1]:
            self.cells_ready = self.devices_seen == self._devices
        return True

    def _read_temps(self, now_us, register, size):
        link = self._link
        if not link.read(now_us, register, size):
            return False
        side = link.side
        temps = self._temps_ddegC
        to_temps(link.rx, link.counts[side], self._temps, temps, len(temps), link.positions[side], self._ntc)
        if not side:
            self.temps_ready = self.devices_seen == self._devices
            self.scan_us = (now_us - self._period_start) & TICKS_MASK
        return True

    def _skip_check(self, now_us, register, rows):
        """Skip the check of wires and registers unless it is due in this cycle."""
        if self.cycles_to_check:
            self._bringup.step += rows
        return True

    def _read_wires(self, now_us, register, size):
        """Read two bytes of each device, high byte first: a bit is set if the upper sense wire of that cell is open."""
        link = self._link
        if not link.read(now_us, register, size):
            return False
        take_bytes(link.rx, link.counts[link.side], 2, self.open_wires, link.positions[link.side])
        return True

    def _other_side(self, now_us, register, rows):
        link = self._link
        if link.counts[1]:
            link.side = 1
            return self._bringup.select(now_us, register, 0)
        self._bringup.step += rows             # straight to the rest of this side
        return True

    def _first_side(self, now_us, register, value):
        self._link.side = 0
        return self._bringup.select(now_us, register, value)

    def _finish_cycle(self, now_us, register, value):
        """Check for missing devices and broken links. Cells never count as read while a device is missing."""
        bringup = self._bringup
        bringup.step = -1
        self.cycles_to_check = self.cycles_to_check - 1 if self.cycles_to_check else _WIRE_CHECK_CYCLES
        self._odd_cycles += 1
        if self.devices_seen < self._devices:
            if self._odd_cycles >= _PARTIAL_CYCLES:
                bringup.restart()
        elif not self.link_broken:
            self._odd_cycles = 0
        elif self._odd_cycles >= _LOOK_CYCLES:
            self._odd_cycles = 0
            bringup.look_again()
        return True
