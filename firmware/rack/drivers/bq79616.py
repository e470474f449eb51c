"""BQ79616 stack on one UART: wake, address, configure, then all cells and NTCs every period.

Defends against stale or corrupted cell data: a scan reaches the outputs only when every frame of
every device passed CRC, address and register check; anything else is discarded, counted and retried,
and after three failures in a row the stack is woken and addressed anew.

Registers and frames: TI data sheet SLUSE81 and SLVAE86B. `uart` needs write(buf), any(),
readinto(buf, n) and pulse_low(us); none of them may block.
"""

from micropython import const

from rack.drivers.crc16 import TABLE, seal
from rack.drivers.bq79616_data import count_good, to_cells, to_temps

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
_FAULT_SUMMARY = const(0x52D)
_VCELL16_HI = const(0x568)
_TSREF_HI = const(0x58C)

_SINGLE_WRITE = const(0x90)
_BROADCAST_READ = const(0xC0)
_BROADCAST_WRITE = const(0xD0)

_SEND_WAKE = const(0x20)             # CONTROL1
_ADDR_WR = const(0x01)
_STACK_DEV = const(0x02)             # COMM_CTRL
_TOP_STACK = const(0x01)

_WAKE_LOW_US = const(2500)           # wake ping: 2 ms at least, shut-down from 7 ms
_ANSWER_US = const(4000)             # margin beyond the bus time before a read counts as lost
_FAILS_BEFORE_WAKE = const(3)
_SYNC_FRAMES = const(8)
_ADDRESSES_PER_POLL = const(8)

STATE_START = const(0)
STATE_RUN = const(1)


class Bq79616:
    """Driver of one stack; `poll` as often as possible (every 1–2 ms), it does at most about 1 ms of work.

    devices: 1..26 expected; cells_per_device 6..16; temps_per_device 1..8 (GPIO1 upwards).
    cells_mV, temps_ddegC: array('i') outputs, device by device, may be shorter than the stack;
    ntc: table of rack.drivers.ntc. period_us: from one voltage request to the next.
    """

    def __init__(self, uart, devices, cells_per_device, temps_per_device, cells_mV, temps_ddegC, ntc,
                 period_us=100_000):
        self.cells_mV = cells_mV
        self.temps_ddegC = temps_ddegC
        self.cells_ready = False
        self.temps_ready = False
        self.crc_errors = 0
        self.timeouts = 0
        self.invalid = 0
        self.wakes = 0
        self.devices_seen = 0
        self.faults = bytearray(devices)
        self.state = STATE_START
        self._uart = uart
        self._devices = devices
        self._cells = cells_per_device
        self._temps = temps_per_device
        self._ntc = ntc
        self._period_us = period_us
        self._rx = bytearray(devices * (2 * max(cells_per_device, temps_per_device + 1) + 6))
        self._broadcast = bytearray(6)
        self._single = bytearray(7)
        self._since = 0
        self._wait_us = 0
        self._period_start = 0
        self._step = 0
        self._index = 0
        self._fails = 0
        self._phase = 0                # of one read: 0 request, 1 collect, 2 check, 3 use
        self._expected = 0
        self._bringup = self._bringup_steps(devices, cells_per_device)
        self._cycle = (
            (_VCELL16_HI + 2 * (16 - cells_per_device), 2 * cells_per_device, self._use_cells),
            (_TSREF_HI, 2 + 2 * temps_per_device, self._use_temps),
            (_FAULT_SUMMARY, 1, self._use_faults),
        )

    def _bringup_steps(self, devices, cells):
        """(action, register, value, wait µs afterwards) in order; a read-back step has the value as mask too."""
        tone_us = 10_000 + 600 * devices
        top = devices - 1
        config = ((_ACTIVE_CELL, cells - 6), (_GPIO_CONF1, 0x12), (_GPIO_CONF1 + 1, 0x12), (_GPIO_CONF1 + 2, 0x12),
                  (_GPIO_CONF1 + 3, 0x12), (_CONTROL2, 0x01))
        return (
            ((self._wake, 0, 0, _WAKE_LOW_US + 10_000),
             (self._write_base, _CONTROL1, _SEND_WAKE, tone_us),
             (self._sync_write, _OTP_ECC_DATAIN1, _SYNC_FRAMES, 1000),
             (self._write_all, _CONTROL1, _ADDR_WR, 500),
             (self._address, _DIR0_ADDR, devices, 500),
             (self._write_all, _COMM_CTRL, _STACK_DEV, 100),
             (self._write_base, _COMM_CTRL, 0 if top else _TOP_STACK, 100))
            + (((self._write_top, _COMM_CTRL, _STACK_DEV | _TOP_STACK, 500),) if top else ())
            + ((self._sync_read, _OTP_ECC_DATAIN1, _SYNC_FRAMES, 100),
               (self._read_addresses, _DIR0_ADDR, 0, 0))
            + tuple((self._write_all, register, value, 100) for register, value in config)
            + ((self._write_all, _FAULT_RST1, 0xFF, 100),
               (self._write_all, _FAULT_RST1 + 1, 0xFF, 20_000))       # TSREF settles meanwhile
            + tuple((self._read_back, register, value, 0) for register, value in config)
            + ((self._write_all, _ADC_CTRL1, 0x06, 3000),               # MAIN_GO, continuous
               (self._read_back, _ADC_CTRL1, 0x02, 0))                  # MAIN_GO clears itself
        )

    # -- called by the application

    def poll(self, now_us):
        """Advance the state machine by one small step; now_us wraps at 2**30. Does not block or allocate."""
        if ((now_us - self._since) & _TICKS_MASK) < self._wait_us:
            return
        if self.state == STATE_START:
            self._poll_bringup(now_us)
        else:
            self._poll_cycle(now_us)

    def restart(self):
        """Forget the stack's state: the next poll wakes and addresses it again."""
        self.state = STATE_START
        self.devices_seen = 0
        self._step = 0
        self._index = 0
        self._phase = 0
        self._fails = 0
        self._wait_us = 0

    # -- state machine

    def _poll_bringup(self, now_us):
        action, register, value, wait_us = self._bringup[self._step]
        done = action(now_us, register, value)
        if not done:
            return
        self._index = 0
        self._phase = 0
        self._pause(now_us, wait_us)
        self._step += 1
        if self._step == len(self._bringup):
            self.state = STATE_RUN
            self._step = 0
            self._fails = 0
            self._period_start = now_us

    def _poll_cycle(self, now_us):
        if self._step == len(self._cycle):
            if ((now_us - self._period_start) & _TICKS_MASK) < self._period_us:
                return
            self._step = 0
            late_us = (now_us - self._period_start - self._period_us) & _TICKS_MASK
            self._period_start = now_us if late_us > self._period_us else (now_us - late_us) & _TICKS_MASK
        register, size, use = self._cycle[self._step]
        if self._read(now_us, register, size):
            if use(self._devices):
                self._fails = 0
                self._step += 1
            else:
                self.invalid += 1
                self._fail()

    def _pause(self, now_us, wait_us):
        self._since = now_us
        self._wait_us = wait_us

    def _fail(self):
        """A read went wrong: do it again at once, or wake the stack after too many."""
        self._phase = 0
        self._wait_us = 0
        self._fails += 1
        if self._fails >= _FAILS_BEFORE_WAKE:
            self.restart()

    # -- frames

    def _write_all(self, now_us, register, value):
        frame = self._broadcast
        frame[0] = _BROADCAST_WRITE
        frame[1] = register >> 8
        frame[2] = register & 0xFF
        frame[3] = value
        seal(frame, 4)
        self._uart.write(frame)
        return True

    def _write_one(self, device, register, value):
        frame = self._single
        frame[0] = _SINGLE_WRITE
        frame[1] = device
        frame[2] = register >> 8
        frame[3] = register & 0xFF
        frame[4] = value
        seal(frame, 5)
        self._uart.write(frame)
        return True

    def _write_base(self, now_us, register, value):
        return self._write_one(0, register, value)

    def _write_top(self, now_us, register, value):
        return self._write_one(self._devices - 1, register, value)

    def _request(self, register, size):
        frame = self._broadcast
        frame[0] = _BROADCAST_READ
        frame[1] = register >> 8
        frame[2] = register & 0xFF
        frame[3] = size - 1
        seal(frame, 4)
        self._uart.write(frame)

    def _drain(self):
        """Throw away what nobody asked for; at most one buffer full a call."""
        waiting = self._uart.any()
        if waiting:
            self._uart.readinto(self._rx, min(waiting, len(self._rx)))

    def _read(self, now_us, register, size):
        """One broadcast read of `size` bytes, a phase a call; True once all frames are in and good."""
        if self._phase == 0:
            if self._uart.any():
                self._drain()
                return False
            self._expected = self._devices * (size + 6)
            self._request(register, size)
            self._phase = 1
            self._pause(now_us, 0)
            return False
        if self._phase == 1:
            if self._uart.any() >= self._expected:
                self._uart.readinto(self._rx, self._expected)
                self._phase = 2
            elif ((now_us - self._since) & _TICKS_MASK) > 10 * self._expected + 10 * self._devices + _ANSWER_US:
                self.timeouts += 1
                self._fail()
            return False
        if self._phase == 2:
            good = count_good(self._rx, self._devices, size, register, TABLE)
            if good < self._devices:
                self.crc_errors += 1
                self._fail()
            else:
                self._phase = 3
            return False
        self._phase = 0
        return True

    # -- bring-up steps; True when the step is done

    def _wake(self, now_us, register, value):
        self.wakes += 1
        self._uart.pulse_low(_WAKE_LOW_US)
        return True

    def _sync_write(self, now_us, register, count):
        self._write_all(now_us, register + self._index, 0)
        self._index += 1
        return self._index == count

    def _address(self, now_us, register, count):
        last = min(self._index + _ADDRESSES_PER_POLL, count)
        while self._index < last:
            self._write_all(now_us, register, self._index)
            self._index += 1
        return self._index == count

    def _sync_read(self, now_us, register, count):
        """Dummy reads that synchronise the delay lines upwards; their answers may be missing and are dropped."""
        if self._index:
            self._drain()
        if self._index == count:
            return self._uart.any() == 0
        self._request(register + self._index, 1)
        self._index += 1
        self._pause(now_us, 80 * self._devices + 500)
        return False

    def _read_addresses(self, now_us, register, value):
        if not self._read(now_us, register, 1):
            return False
        self.devices_seen = self._devices      # count_good compared every device address already
        return True

    def _read_back(self, now_us, register, value):
        if not self._read(now_us, register, 1):
            return False
        for device in range(self._devices):
            if self._rx[device * 7 + 4] != value:
                self.invalid += 1
                self._fail()
                return False
        return True

    # -- use of a complete, checked read; True when the values are plausible

    def _use_cells(self, frames):
        if to_cells(self._rx, frames, self._cells, self.cells_mV, len(self.cells_mV)):
            return False
        self.cells_ready = True
        return True

    def _use_temps(self, frames):
        to_temps(self._rx, frames, self._temps, self.temps_ddegC, len(self.temps_ddegC), self._ntc)
        self.temps_ready = True
        return True

    def _use_faults(self, frames):
        for index in range(frames):
            self.faults[self._rx[index * 7 + 1]] = self._rx[index * 7 + 4]
        return True
