"""BQ79616 stack on one UART: wake, address, configure, then all cells and NTCs every period.

Defends against stale or corrupted cell data: a scan counts as arrived only when every frame of every
device passed CRC, address and register check; anything else is discarded, counted and retried. After
three failures in a row the stack is searched for a broken link and, if there is one, read from both ends
of the ring; a base device that does not answer is woken anew. 3 s after the last fault on the wire all is well again.

Registers and frames: TI data sheet SLUSE81 and SLVAE86B. `uart` needs write(buf), any(),
readinto(buf, n) and pulse_low(us); none of them may block.
"""

from micropython import const

from rack.drivers.bq79616_data import count_different, first_with, take_bytes, to_cells, to_temps
from rack.drivers.bq79616_link import StackLink

_TICKS_MASK = const(0x3FFFFFFF)      # ticks_us wraps at 2**30

_ACTIVE_CELL = const(0x003)
_GPIO_CONF1 = const(0x00E)
_DIR0_ADDR = const(0x306)
_COMM_CTRL = const(0x308)
_CONTROL1 = const(0x309)
_CONTROL2 = const(0x30A)
_ADC_CTRL1 = const(0x30D)
_FAULT_RST1 = const(0x331)
_OTP_ECC_DATAIN1 = const(0x343)
_DIAG_COMP_CTRL2 = const(0x33B)
_DIAG_COMP_CTRL3 = const(0x33C)
_FAULT_SUMMARY = const(0x52D)
_OWN_FAULTS = const(0xA3)            # PROT, OTP, SYS, PWR; not what noise on the wire or the wire check sets
_FAULT_COMP_VCOW1 = const(0x548)
_VCELL16_HI = const(0x568)
_TSREF_HI = const(0x58C)

_SINGLE_WRITE = const(0x90)
_BROADCAST_READ = const(0xC0)

_DIR_SEL = const(0x80)               # CONTROL1
_SEND_WAKE = const(0x20)
_ADDR_WR = const(0x01)
_STACK_DEV = const(0x02)             # COMM_CTRL
_TOP_STACK = const(0x01)

_WAKE_LOW_US = const(2500)           # wake ping: 2 ms at least, shut-down from 7 ms
_FAILS = const(6)                    # then something else is tried: a silent read counts 2, a garbled one 1
_SYNC_FRAMES = const(8)
_ADDRESSES_PER_POLL = const(4)
_ACTIONS_PER_POLL = const(4)         # writes, about 0.15 ms each; a read ends the call
_PARTIAL_CYCLES = const(20)          # with devices missing: wake the whole stack again after so many

# Bq79616.state
STATE_WAKE = const(0)
STATE_SEARCH = const(1)              # how far does the chain reach?
STATE_REVERSE = const(2)             # address what is left from the other end of the ring
STATE_CONFIG = const(3)
STATE_RUN = const(4)


class Bq79616(StackLink):
    """Driver of one stack; `poll` it every 1–2 ms, a call does at most about 1 ms of work.

    devices: 1..26 expected; cells_per_device 6..16; temps_per_device 1..8 (GPIO1 upwards).
    cells_mV, temps_ddegC: array('i') outputs, device by device, may be shorter than the stack;
    ntc: table of rack.drivers.ntc. period_us: from one voltage request to the next.

    cells_ready, temps_ready: a complete scan is in the outputs; the caller clears them. devices_seen: that
    answer; link_broken: they were reached from both ends. faults: FAULT_SUMMARY of each device;
    fault: the first device, from 1, with one of its own, 0 none.
    open_wires: 16 bits a device, high byte first, from the open-wire check every wire_check_cycles periods.
    Counters: crc_errors, timeouts, invalid, wakes.
    """

    def __init__(self, uart, devices, cells_per_device, temps_per_device, cells_mV, temps_ddegC, ntc,
                 period_us=100_000, wire_check_cycles=100):
        super().__init__(uart, devices, 2 * max(cells_per_device, temps_per_device + 1))
        self.cells_mV = cells_mV
        self.temps_ddegC = temps_ddegC
        self.cells_ready = False
        self.temps_ready = False
        self.link_broken = False
        self.wakes = 0
        self.devices_seen = 0
        self.faults = bytearray(devices)
        self.fault = 0
        self.open_wires = bytearray(2 * devices)
        self._wire_check_cycles = wire_check_cycles
        self._cycles_to_check = 2
        self.state = STATE_WAKE
        self._cells = cells_per_device
        self._temps = temps_per_device
        self._ntc = ntc
        self._period_us = period_us
        self._positions = (bytes(range(devices)), bytes(devices - a for a in range(devices)))
        self._period_start = 0
        self.scan_us = 0               # from the start of the period to the last temperature
        self._step = 0
        self._index = 0
        self._fails = 0
        self._partial = 0
        self._cold = True              # the stack was woken: the far side is still asleep
        self._woken = False
        self._programs = (self._wake_rows(), self._search_rows(), self._reverse_rows(), self._config_rows(),
                          self._cycle_rows())

    # -- programs: (action, register, value, wait µs afterwards); an action returns True when it is done

    def _wake_rows(self):
        top = self._devices - 1
        return (
            (self._wake, 0, 0, _WAKE_LOW_US + 10_000),
            (self._write_base, _CONTROL1, _SEND_WAKE, self._tone_us()),
            (self._sync_write, _OTP_ECC_DATAIN1, _SYNC_FRAMES, 500),
            (self._write_all, _CONTROL1, _ADDR_WR, 300),
            (self._address, _DIR0_ADDR, 0, 300),
            (self._write_all, _COMM_CTRL, _STACK_DEV, 100),
            (self._write_base, _COMM_CTRL, 0 if top else _TOP_STACK, 100),
            (self._write_top, _COMM_CTRL, _STACK_DEV | _TOP_STACK, 300),
            (self._sync_read, _OTP_ECC_DATAIN1, _SYNC_FRAMES, 0),
            (self._count_all, _DIR0_ADDR, 0, 0),
        )

    def _search_rows(self):
        return (
            (self._start_forward, _CONTROL1, 0, 100),
            (self._bisect, _DIR0_ADDR, 0, 0),
            (self._forward_found, _COMM_CTRL, 0, 100),
        )

    def _reverse_rows(self):
        return (
            (self._start_reverse, _CONTROL1, _DIR_SEL, 100),
            (self._wake_reverse, _CONTROL1, _DIR_SEL | _SEND_WAKE, 0),
            (self._write_reverse, _CONTROL1, _DIR_SEL, 300),
            (self._sync_write, _OTP_ECC_DATAIN1, _SYNC_FRAMES, 300),
            (self._write_all, _CONTROL1, _DIR_SEL | _ADDR_WR, 300),
            (self._address, _DIR0_ADDR + 1, 0, 300),
            (self._write_all, _COMM_CTRL, _STACK_DEV, 100),
            (self._write_base, _COMM_CTRL, 0, 100),
            (self._bisect, _DIR0_ADDR + 1, 0, 0),
            (self._reverse_found, _COMM_CTRL, _STACK_DEV | _TOP_STACK, 300),
        )

    def _config_rows(self):
        config = ((_ACTIVE_CELL, self._cells - 6), (_GPIO_CONF1, 0x12), (_GPIO_CONF1 + 1, 0x12),
                  (_GPIO_CONF1 + 2, 0x12), (_GPIO_CONF1 + 3, 0x12), (_CONTROL2, 0x01))
        return (
            ((self._select, _CONTROL1, 0, 100),)
            + tuple((self._write_all, register, value, 0) for register, value in config)
            + ((self._write_all, _FAULT_RST1, 0xFF, 0),
               (self._write_all, _FAULT_RST1 + 1, 0xFF, 4000))         # TSREF settles in 1.35 ms
            + tuple((self._read_back, register, value, 0) for register, value in config)
            + ((self._write_all, _ADC_CTRL1, 0x06, 3000),               # MAIN_GO, continuous: 8 GPIO rounds
               (self._read_back, _ADC_CTRL1, 0x02, 0),                  # MAIN_GO clears itself
               (self._next_side, 0, 0, 0))
        )

    def _cycle_rows(self):
        side = (
            (self._read_cells, _VCELL16_HI + 2 * (16 - self._cells), 2 * self._cells, 0),
            (self._read_temps, _TSREF_HI, 2 + 2 * self._temps, 0),
            (self._read_faults, _FAULT_SUMMARY, 1, 0),
            (self._wire_check_due, 0, 6, 0),
            (self._write_all, _DIAG_COMP_CTRL2, 0x01, 0),               # open below 0.8 V
            (self._write_all, _DIAG_COMP_CTRL3, 0x10, 4000),            # sinks empty 0.47 µF in 3 ms
            (self._write_all, _DIAG_COMP_CTRL3, 0x15, 1000),            # compare, sinks still on
            (self._write_all, _DIAG_COMP_CTRL3, 0x00, 0),
            (self._read_wires, _FAULT_COMP_VCOW1, 2, 0),
            (self._write_all, _FAULT_RST1, 0xFF, 0),                    # only what is still there comes again
        )
        return (
            ((self._await_period, 0, 0, 0),) + side
            + ((self._other_side, _CONTROL1, len(side) + 1, 100),) + side
            + ((self._first_side, _CONTROL1, 0, 100),
               (self._finish_cycle, 0, 0, 0))
        )

    def _tone_us(self):
        return 10_000 + 600 * self._devices

    # -- called by the application

    def poll(self, now_us):
        """Advance by one small step; now_us wraps at 2**30. Does not block, does not allocate."""
        for _ in range(_ACTIONS_PER_POLL):
            if ((now_us - self._since) & _TICKS_MASK) < self._wait_us or not self._advance(now_us):
                return

    def _advance(self, now_us):
        """Call the action of the current row; True when it is done and was a short one."""
        self._wait_us = 0
        state = self.state
        action, register, value, wait_us = self._programs[state][self._step]
        if not action(now_us, register, value):
            return False
        if wait_us:
            self._pause(now_us, wait_us)
        if self.state == state:
            self._step += 1
        short = self._phase == 0
        self._index = 0
        self._phase = 0
        return short

    def restart(self):
        """Forget the stack's state: the next poll wakes and addresses it again."""
        self.devices_seen = 0
        self.link_broken = False
        self._side = 0
        self._cold = True
        self._woken = False
        self._enter(STATE_WAKE)

    def open_wire(self):
        """Cell, from 1, at the first open wire that the last check has found; 0 none."""
        for device in range(self._devices):
            found = self.open_wires[2 * device] << 8 | self.open_wires[2 * device + 1]
            for cell in range(self._cells):
                if found >> cell & 1:
                    return device * self._cells + cell + 1
        return 0

    # -- state machine

    def _enter(self, state):
        """Go to the first row of another program; the action that calls this returns True."""
        self.state = state
        self._step = 0
        self._index = 0
        self._phase = 0
        self._fails = 0
        self._low = 0
        return True

    def _fail(self, weight):
        """A read went wrong: do it again at once; after too many look for the break, or wake the stack."""
        self._phase = 0
        self._fails += weight
        if self._fails < _FAILS:
            return
        if self.state == STATE_RUN:
            self._cold = False
            self._enter(STATE_SEARCH)
        elif self.state == STATE_WAKE and self._woken:
            self._enter(STATE_SEARCH)
        else:
            self.restart()
            self._woken = True                 # a second wake in a row that fails leads to the search

    # -- actions of the bring-up

    def _wake(self, now_us, register, value):
        self.wakes += 1
        self._counts[0] = self._devices
        self._counts[1] = 0
        self._uart.pulse_low(_WAKE_LOW_US)
        return True

    def _sync_write(self, now_us, register, count):
        """Dummy writes that synchronise the delay lines after a reset."""
        self._write_all(now_us, register + self._index, 0)
        self._index += 1
        return self._index == count

    def _sync_read(self, now_us, register, count):
        """The same upwards; answers may be missing and are dropped."""
        if not self._drained():
            return False
        if self._index == count:
            return True
        self._broadcast(_BROADCAST_READ, register + self._index, 0)
        self._index += 1
        self._pause(now_us, 90 * self._devices + 200)
        return False

    def _address(self, now_us, register, value):
        """Addresses 0, 1, …: the base, then what this side is left with."""
        count = self._devices if not self._side else self._devices - self._counts[0] + 1
        last = min(self._index + _ADDRESSES_PER_POLL, count)
        while self._index < last:
            self._write_all(now_us, register, self._index)
            self._index += 1
        return self._index == count

    def _count_all(self, now_us, register, value):
        if not self._read(now_us, register, 1):
            return False
        self.devices_seen = self._devices      # the check compared every address
        return self._enter(STATE_CONFIG)

    def _start_forward(self, now_us, register, value):
        self._side = 0
        self.link_broken = False
        self._low = 0
        self._high = self._devices             # of them answer, at most
        return self._write_base(now_us, register, value)

    def _forward_found(self, now_us, register, value):
        count = self._low
        self._counts[0] = count
        if count == 0:
            self.restart()
            return True
        top = _TOP_STACK if count == 1 else _STACK_DEV | _TOP_STACK
        self._single(_SINGLE_WRITE, count - 1, register, top)
        self.devices_seen = count
        return self._enter(STATE_CONFIG if count == self._devices else STATE_REVERSE)

    def _start_reverse(self, now_us, register, value):
        self._side = 1
        return self._write_base(now_us, register, value)

    def _wake_reverse(self, now_us, register, value):
        """After a wake the far side still sleeps; awake devices must not hear the tone, it resets them."""
        if self._cold:
            self._write_base(now_us, register, value)
            self._pause(now_us, self._tone_us())
        self._low = 0
        self._high = self._devices - self._counts[0]
        return True

    def _reverse_found(self, now_us, register, value):
        count = self._low
        self._counts[1] = count
        self.link_broken = count > 0
        self.devices_seen = self._counts[0] + count
        self._side = 0
        if count:
            self._single(_SINGLE_WRITE, count, register, value)
        return self._enter(STATE_CONFIG)

    # -- actions of the configuration

    def _select(self, now_us, register, value):
        """Point the base to the side in use and make it top only where it stands alone."""
        if self._devices > 1:
            self._write_base(now_us, register, _DIR_SEL if self._side else 0)
            self._write_base(now_us, _COMM_CTRL, _TOP_STACK if not self._side and self._counts[0] == 1 else 0)
        return True

    def _read_back(self, now_us, register, value):
        if not self._read(now_us, register, 1):
            return False
        if count_different(self._rx, self._counts[self._side], value):
            self.invalid += 1
            self._fail(1)
            return False
        return True

    def _next_side(self, now_us, register, value):
        self._fails = 0
        if self._counts[1] and not self._side:
            self._side = 1
            self._enter(STATE_CONFIG)
            self._step = -1                    # poll goes on to row 0
            return True
        self._side = 0
        self._partial = 0
        self._enter(STATE_RUN)
        self._select(now_us, _CONTROL1, 0)
        self._period_start = (now_us - self._period_us) & _TICKS_MASK
        return True

    # -- actions of the cycle

    def _await_period(self, now_us, register, value):
        passed = (now_us - self._period_start) & _TICKS_MASK
        if passed < self._period_us:
            return False
        late_us = passed - self._period_us
        self._period_start = now_us if late_us >= self._period_us else (now_us - late_us) & _TICKS_MASK
        return True

    def _complete(self):
        """Is the side in use the last one, and every device on one of them?"""
        return (self._side or not self._counts[1]) and self.devices_seen == self._devices

    def _read_cells(self, now_us, register, size):
        if not self._read(now_us, register, size):
            return False
        frames = self._counts[self._side]
        first = frames // 2 if self._index else 0
        last = frames if self._index else frames // 2
        if to_cells(self._rx, first, last, self._cells, self.cells_mV, len(self.cells_mV),
                    self._positions[self._side]):
            self.invalid += 1
            self._index = 0
            self._fail(1)
            return False
        self._index += 1                       # the second half in the next call
        if self._index == 1:
            return False
        self.cells_ready = self._complete()
        return True

    def _read_temps(self, now_us, register, size):
        if not self._read(now_us, register, size):
            return False
        frames = self._counts[self._side]
        first = frames // 2 if self._index else 0
        last = frames if self._index else frames // 2
        to_temps(self._rx, first, last, self._temps, self.temps_ddegC, len(self.temps_ddegC),
                 self._positions[self._side], self._ntc)
        self._index += 1
        if self._index == 1:
            return False
        self.temps_ready = self._complete()
        self.scan_us = (now_us - self._period_start) & _TICKS_MASK
        return True

    def _read_faults(self, now_us, register, size):
        if not self._read(now_us, register, size):
            return False
        take_bytes(self._rx, self._counts[self._side], 1, self.faults, self._positions[self._side])
        self.fault = first_with(self.faults, self._devices, _OWN_FAULTS)
        self._fails = 0
        return True

    def _wire_check_due(self, now_us, register, value):
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
        self._step += value                    # straight to the end of the cycle
        return True

    def _first_side(self, now_us, register, value):
        self._side = 0
        return self._select(now_us, register, value)

    def _finish_cycle(self, now_us, register, value):
        """Missing devices are looked for again from time to time; their cells never count as read meanwhile."""
        self._step = -1
        self._cycles_to_check = self._cycles_to_check - 1 if self._cycles_to_check else self._wire_check_cycles
        if self.devices_seen < self._devices:
            self._partial += 1
            if self._partial >= _PARTIAL_CYCLES:
                self.restart()
        return True
