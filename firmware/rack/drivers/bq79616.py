"""BQ79616 stack on one UART: bring the stack up, then read all cells and NTCs every period.

The driver protects the rack against old or corrupted cell data. A scan counts as complete only when every frame of
every device passed the checks of CRC, address and register. The driver discards and counts any other answer, and asks
again. An answer that does not begin, or six damaged answers, start the search for a broken link; the driver then reads
the cells from both ends of the ring. It wakes a base device that does not answer. Every period it checks that every
ADC runs: a stopped ADC would send its last cells with a good CRC without end. The driver reads as before within 1 s
after the last fault on the wire.

Parts: rack.drivers.bq79616_frames (the link), rack.drivers.bq79616_bringup, rack.drivers.bq79616_convert (viper).
Registers and frames: TI data sheet SLUSE81 and SLVAE86B. `uart` needs write(buf), any(), readinto(buf, n) and
pulse_low(us); these methods must not block.
"""

from micropython import const

from rack.base.clock import TICKS_MASK
from rack.definitions.codes import AFE_WAKE
from rack.drivers import bq79616_registers as R
from rack.drivers.bq79616_bringup import BringUp
from rack.drivers.bq79616_convert import take_bytes, to_cells, to_temps
from rack.drivers.bq79616_frames import StackLink

_ACTIONS_PER_POLL = const(5)         # writes, about 0.2 ms each; a read ends the poll
_PARTIAL_CYCLES = const(4)           # if devices are missing: wake the whole stack after this number of cycles
_LOOK_CYCLES = const(20)             # if a link is broken: check after this number of cycles whether it is repaired
_WIRE_CHECK_CYCLES = const(100)      # cycles from one open-wire check to the next
_FIRST_CHECK_CYCLES = const(2)
_CHECKS_MASK = const(0x3FFF)


class Bq79616:
    """Driver of one stack; call `poll` every 1.2 ms, or after `pause_us` if that is longer. A call takes about 1 ms.

    ticks_us: function that returns the time in the clock of poll's now_us.
    layout: (devices 1..26, cells per device 6..16, temperatures per device 1..8 on GPIO1 upwards).
    outputs: (cells_mV, temps_ddegC, NTC table of rack.drivers.ntc). The first two are array('i') in the order of the
    devices, and may be shorter than the stack. period_us: from one voltage request to the next.

    cells_ready, temps_ready: a complete scan is in the outputs; the caller clears them.
    scan_us: from the start of the period to the last temperature.
    The last poll has set state (AFE_* of rack.definitions.codes), pause_us, devices_seen (devices that answer) and
    link_broken (the driver reaches the devices from both ends of the ring).

    fault: the first device, counted from 1, that reports an internal fault, or 0.
    open_wires: result of the open-wire check, 16 bits a device, high byte first. The same check reads back the
    registers on which the cell values depend. cycles_to_check: periods until the next check.
    wire_checks: another number, 1 and up, after each check that has ended; 0 for a chip without this check.
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
        self.wire_checks = 1
        self.scan_us = 0
        self.state = AFE_WAKE
        self.pause_us = 0
        self.devices_seen = 0
        self.link_broken = False
        self._devices = devices
        self._period_start = 0
        self._odd_cycles = 0           # cycles with missing devices or a broken link

    def _cycle_rows(self):
        """Return the rows of a cycle. It reads the cells of both sides first, because they must not be late."""
        bringup, write, check = self._bringup, self._link.write_all, self._bringup.read_back
        cells = (self._read_cells, R.VCELL16_HI + 2 * (16 - self._cells), 2 * self._cells, 0)
        rest = (
            self._read_temps, R.TSREF_HI, 2 + 2 * self._temps, 0,
            bringup.read_status, R.DEV_STAT, 2, 0,
            write, R.DIAG_COMP_CTRL3, R.OW_OFF, 0,             # again: the last frame may have been lost
            self._skip_check, 0, 9, 0,
            check, R.ACTIVE_CELL, self._cells - 6, 0,
            check, R.CONTROL2, R.TSREF_EN, 0,
            check, R.ADC_CTRL1, R.CONTINUOUS, 0,
            write, R.DIAG_COMP_CTRL2, R.OW_THRESHOLD, 0,
            write, R.DIAG_COMP_CTRL3, R.OW_VC_SINKS, 4000,     # the sinks discharge 0.47 µF in 3 ms
            write, R.DIAG_COMP_CTRL3, R.OW_VC_SINKS | R.OW_VC_CHECK, 1000,
            write, R.DIAG_COMP_CTRL3, R.OW_OFF, 0,
            self._read_wires, R.FAULT_COMP_VCOW1, 2, 0,
            write, R.FAULT_RST1, 0xFF, 0,                      # the device sets only persistent faults again
        )  # fmt: skip
        return (
            (self._await_period, 0, 0, 0) + cells
            + (self._other_side, R.CONTROL1, len(rest) // 4 + 2, 100) + cells + rest
            + (self._first_side, R.CONTROL1, 0, 100) + rest
            + (self._finish_cycle, 0, 0, 0)
        )

    # -- called by the application

    def poll(self, now_us):
        """Advance by one read or a few short actions, without blocking; now_us wraps at 2**30."""
        link = self._link
        bringup = self._bringup
        link.pause_us = 0
        for action in range(_ACTIONS_PER_POLL):
            if action:                         # a few writes can take longer than the wait for an answer
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
        """Copy the values that change with the bring-up state, because a property would cost each reader a call.

        After a configuration the first period begins immediately.
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
        """Return the cell, counted from 1, at the first open wire of the last check; 0 if all wires are connected."""
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
        if not link.side:
            self.wire_checks = (self.wire_checks & _CHECKS_MASK) + 1
        return True

    def _other_side(self, now_us, register, rows):
        link = self._link
        if link.counts[1]:
            link.side = 1
            return self._bringup.select(now_us, register, 0)
        self._bringup.step += rows             # there is one side: go to its remaining rows
        return True

    def _first_side(self, now_us, register, value):
        self._link.side = 0
        return self._bringup.select(now_us, register, value)

    def _finish_cycle(self, now_us, register, value):
        """End the cycle: wake the stack if devices are missing too long, and check a broken link regularly."""
        bringup = self._bringup
        bringup.step = -1
        self.cycles_to_check = self.cycles_to_check - 1 if self.cycles_to_check else _WIRE_CHECK_CYCLES
        if self._odd_cycles < _LOOK_CYCLES:
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
