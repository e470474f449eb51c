"""BQ79616 stack on one UART: all cells and NTCs every period, once rack.drivers.bq79616_bringup has set it up.

Defends against stale or corrupted cell data: a scan counts as arrived only when every frame of every
device passed CRC, address and register check; anything else is discarded, counted and retried. An answer
that does not begin, or six that are damaged, start the search for a broken link; where there is one, the
cells are read from both ends of the ring. A base device that does not answer is woken anew. Whether every
ADC runs is asked each period: one that has stopped sends its last cells with a good CRC for ever.
1 s after the last fault on the wire all is well again.

Registers and frames: TI data sheet SLUSE81 and SLVAE86B. `uart` needs write(buf), any(),
readinto(buf, n) and pulse_low(us); none of them may block.
"""

from micropython import const

from rack.drivers.bq79616_convert import count_different, first_with, take_bytes, to_cells, to_temps
from rack.drivers.bq79616_bringup import Starter

_TICKS_MASK = const(0x3FFFFFFF)      # ticks_us wraps at 2**30

_ACTIVE_CELL = const(0x003)
_CONTROL1 = const(0x309)
_CONTROL2 = const(0x30A)
_ADC_CTRL1 = const(0x30D)
_FAULT_RST1 = const(0x331)
_DIAG_COMP_CTRL2 = const(0x33B)
_DIAG_COMP_CTRL3 = const(0x33C)
_DEV_STAT = const(0x52C)             # and behind it FAULT_SUMMARY
_MAIN_RUN = const(0x01)
_OWN_FAULTS = const(0xA3)            # PROT, OTP, SYS, PWR; not what noise on the wire or the wire check sets
_FAULT_COMP_VCOW1 = const(0x548)
_VCELL16_HI = const(0x568)
_TSREF_HI = const(0x58C)

_ACTIONS_PER_POLL = const(6)         # writes, about 0.15 ms each; a read ends the call
_PARTIAL_CYCLES = const(4)           # with devices missing: wake the whole stack again after so many
_LOOK_CYCLES = const(20)             # with a broken link: look whether it is whole again


class Bq79616(Starter):
    """Driver of one stack; `poll` it every 1.2 ms, or after `pause_us` where that is more; a call takes about 1 ms.

    devices: 1..26 expected; cells_per_device 6..16; temps_per_device 1..8 (GPIO1 upwards).
    cells_mV, temps_ddegC: array('i') outputs, device by device, may be shorter than the stack;
    ntc: table of rack.drivers.ntc. period_us: from one voltage request to the next. ticks_us: the clock of poll's
    now_us.

    cells_ready, temps_ready: a complete scan is in the outputs; the caller clears them. devices_seen: that
    answer; link_broken: they were reached from both ends. faults: DEV_STAT and FAULT_SUMMARY of each device;
    fault: the first device, from 1, with one of its own, 0 none.
    open_wires: 16 bits a device, high byte first, from the open-wire check every wire_check_cycles periods;
    what the cells depend on is read back with it.
    Counters: crc_errors, timeouts, invalid, wakes. In state STATE_RUN a poll does not allocate.
    """

    def __init__(self, uart, ticks_us, devices, cells_per_device, temps_per_device, cells_mV, temps_ddegC, ntc,
                 period_us=100_000, wire_check_cycles=100):
        super().__init__(uart, devices, cells_per_device, temps_per_device)
        self._ticks_us = ticks_us
        self.cells_mV = cells_mV
        self.temps_ddegC = temps_ddegC
        self.cells_ready = False
        self.temps_ready = False
        self.faults = bytearray(2 * devices)
        self.fault = 0
        self.open_wires = bytearray(2 * devices)
        self._temps = temps_per_device
        self._wire_check_cycles = wire_check_cycles
        self._cycles_to_check = 2
        self._ntc = ntc
        self._period_us = period_us
        self._positions = (bytes(range(devices)), bytes(devices - a for a in range(devices)))
        self._period_start = 0
        self.scan_us = 0               # from the start of the period to the last temperature
        self._cycles = 0               # with devices missing or a link broken
        self._programs = (self._wake_rows(), self._search_rows(), self._reverse_rows(), self._config_rows(),
                          self._cycle_rows(), self._look_rows())

    def _cycle_rows(self):
        """The cells of both sides first: they are what must not be late."""
        write, check = self._write_all, self._read_back
        cells = (self._read_cells, _VCELL16_HI + 2 * (16 - self._cells), 2 * self._cells, 0)
        rest = (
            self._read_temps, _TSREF_HI, 2 + 2 * self._temps, 0,
            self._read_status, _DEV_STAT, 2, 0,
            write, _DIAG_COMP_CTRL3, 0x00, 0,                  # once more: the last frame may have been lost
            self._check_due, 0, 9, 0,
            check, _ACTIVE_CELL, self._cells - 6, 0,
            check, _CONTROL2, 0x01, 0,
            check, _ADC_CTRL1, 0x02, 0,
            write, _DIAG_COMP_CTRL2, 0x01, 0,                  # open below 0.8 V
            write, _DIAG_COMP_CTRL3, 0x10, 4000,               # sinks empty 0.47 µF in 3 ms
            write, _DIAG_COMP_CTRL3, 0x15, 1000,               # compare, sinks still on
            write, _DIAG_COMP_CTRL3, 0x00, 0,
            self._read_wires, _FAULT_COMP_VCOW1, 2, 0,
            write, _FAULT_RST1, 0xFF, 0,                       # only what is still there comes again
        )  # fmt: skip
        return (
            (self._await_period, 0, 0, 0) + cells
            + (self._other_side, _CONTROL1, len(rest) // 4 + 2, 100) + cells + rest
            + (self._first_side, _CONTROL1, 0, 100) + rest
            + (self._finish_cycle, 0, 0, 0)
        )

    # -- called by the application

    def poll(self, now_us):
        """Advance by one small step: a read, or some short actions; now_us wraps at 2**30. Does not block."""
        for action in range(_ACTIONS_PER_POLL):
            if action:                         # a few writes take longer than an answer is awaited
                now_us = self._ticks_us()
            if self._wait_us:
                left_us = self._wait_us - ((now_us - self._since) & _TICKS_MASK)
                if left_us > 0:
                    self.pause_us = left_us
                    return
                self._wait_us = 0
            self.pause_us = 0
            state = self.state
            program = self._programs[state]
            at = 4 * self._step
            if not program[at](now_us, program[at + 1], program[at + 2]):
                return
            if program[at + 3]:
                self._pause(now_us, program[at + 3])
            if self.state == state:
                self._step += 1
            self._index = 0
            if self._phase:
                self._phase = 0
                return

    def open_wire(self):
        """Cell, from 1, at the first open wire that the last check has found; 0 none."""
        for device in range(self._devices):
            found = self.open_wires[2 * device] << 8 | self.open_wires[2 * device + 1]
            for cell in range(self._cells):
                if found >> cell & 1:
                    return device * self._cells + cell + 1
        return 0

    # -- actions of the cycle

    def _begin_run(self, now_us):
        self._cycles = 0
        self._period_start = (now_us - self._period_us) & _TICKS_MASK
        return self._run_from(now_us, 0)

    def _await_period(self, now_us, register, value):
        passed = (now_us - self._period_start) & _TICKS_MASK
        if passed < self._period_us:
            self.pause_us = self._period_us - passed
            return False
        late_us = passed - self._period_us
        self._period_start = now_us if late_us >= self._period_us else (now_us - late_us) & _TICKS_MASK
        return True

    def _read_cells(self, now_us, register, size):
        if not self._read(now_us, register, size):
            return False
        cells = self.cells_mV
        if to_cells(self._rx, self._counts[self._side], self._cells, cells, len(cells), self._positions[self._side]):
            return self._not_as_configured()
        if self._side or not self._counts[1]:
            self.cells_ready = self.devices_seen == self._devices
        return True

    def _read_temps(self, now_us, register, size):
        if not self._read(now_us, register, size):
            return False
        temps = self.temps_ddegC
        to_temps(self._rx, self._counts[self._side], self._temps, temps, len(temps), self._positions[self._side],
                 self._ntc)
        if not self._side:
            self.temps_ready = self.devices_seen == self._devices
            self.scan_us = (now_us - self._period_start) & _TICKS_MASK
        return True

    def _read_status(self, now_us, register, size):
        """Does every main ADC run, and who has a fault of its own?"""
        if not self._read(now_us, register, size):
            return False
        count = self._counts[self._side]
        if count_different(self._rx, count, size, _MAIN_RUN, _MAIN_RUN):
            return self._not_as_configured()
        take_bytes(self._rx, count, size, self.faults, self._positions[self._side])
        self.fault = first_with(self.faults, self._devices, _OWN_FAULTS)
        self._fails = 0
        return True

    def _check_due(self, now_us, register, value):
        if self._cycles_to_check:
            self._step += value
        return True

    def _read_wires(self, now_us, register, size):
        """Bits 15..0 of a device's two bytes, high byte first: the upper sense wire of that cell is open."""
        if not self._read(now_us, register, size):
            return False
        take_bytes(self._rx, self._counts[self._side], 2, self.open_wires, self._positions[self._side])
        return True

    def _other_side(self, now_us, register, value):
        if self._counts[1]:
            self._side = 1
            return self._select(now_us, register, 0)
        self._step += value                    # straight to the rest of this side
        return True

    def _first_side(self, now_us, register, value):
        self._side = 0
        return self._select(now_us, register, value)

    def _finish_cycle(self, now_us, register, value):
        """Missing devices and broken links are looked at again; cells never count as read while one is missing."""
        self._step = -1
        self._cycles_to_check = self._cycles_to_check - 1 if self._cycles_to_check else self._wire_check_cycles
        self._cycles += 1
        if self.devices_seen < self._devices:
            if self._cycles >= _PARTIAL_CYCLES:
                self.restart()
        elif not self.link_broken:
            self._cycles = 0
        elif self._cycles >= _LOOK_CYCLES:
            self._cycles = 0
            self._look_again()
        return True
