"""LTC6811 / LTC6813 stack on SPI through isoSPI, behind the same small interface as the BQ79616 stack.

The same hazard, the same rule: a scan counts as arrived only when the PEC of every register group of
every device was right and every result is from this scan (the registers are cleared before it).

Commands, order of bytes, LSB: LTC6813-1 data sheet. `spi` needs transfer(tx, rx, n): n bytes in one chip
select, here up to 4 + 8 × devices (212 bytes, 1.7 ms at 1 Mbit/s, for 26).
"""

import micropython
from micropython import const

from rack.drivers.fast import ptr8, ptr32
from rack.drivers.ntc import look_up
from rack.drivers.pec15 import TABLE, pec15

_TICKS_MASK = const(0x3FFFFFFF)
_WRCFGA = const(0x001)
_RDCFGA = const(0x002)
_CLRCELL = const(0x711)
_CLRAUX = const(0x712)
_ADCV = const(0x360)                 # all cells, 7 kHz, discharge off
_ADAX = const(0x560)                 # all GPIOs and the reference, 7 kHz
_READ_CELLS = (0x004, 0x006, 0x008, 0x00A, 0x009, 0x00B)
_READ_AUX = (0x00C, 0x00E, 0x00D, 0x00F)
_REFERENCE = const(5)                # word of the reference in the aux groups
_CONFIG = b"\xfc\x00\x00\x00\x00\x00"    # GPIO pull-downs off, reference stays on, no discharge
_REFON = const(0x04)

_WAKE_US = const(400)                # tWAKE 300 µs; tREADY 10 µs a device
_CELLS_US = const(2_600)             # 2.3 ms
_AUX_US = const(4_300)               # 3.9 ms
_FAILS = const(3)

STATE_RUN = const(4)                 # as rack.drivers.bq79616


@micropython.viper
def _groups_ok(rx, devices: int, table) -> int:
    """Devices, from the first on, whose six bytes match their PEC."""
    b = ptr8(rx)
    good = 0
    at = 4
    while good < devices:
        if int(pec15(rx, at, 6, table)) != (int(b[at + 6]) << 8) + int(b[at + 7]):
            break
        at += 8
        good += 1
    return good


@micropython.viper
def _take_cells(rx, devices: int, first: int, cells: int, out, count: int) -> int:
    """Three cells of each device from 100 µV to mV; returns the cells that were not converted (0xFFFF)."""
    b = ptr8(rx)
    o = ptr32(out)
    missing = 0
    device = 0
    at = 4
    while device < devices:
        cell = first
        while cell < first + 3:
            raw = int(b[at]) + (int(b[at + 1]) << 8)
            index = device * cells + cell
            if raw == 0xFFFF:
                missing += 1
            elif cell < cells and index < count:
                o[index] = (raw + 5) // 10
            at += 2
            cell += 1
        at += 2
        device += 1
    return missing


class Ltc681x:
    """devices 1..26; cells_per_device 12 (LTC6811) or 18 (LTC6813); temps_per_device 1..5 or 1..9 (GPIO1 up).

    Outputs, flags and counters as rack.drivers.bq79616.Bq79616.
    """

    def __init__(self, spi, devices, cells_per_device, temps_per_device, cells_mV, temps_ddegC, ntc,
                 period_us=100_000):
        self.cells_mV = cells_mV
        self.temps_ddegC = temps_ddegC
        self.cells_ready = False
        self.temps_ready = False
        self.link_broken = False
        self.pause_us = 0              # a poll that finds nothing due is short
        self.fault = 0                 # this family has no summary of faults; its results show them
        self.crc_errors = 0
        self.timeouts = 0
        self.invalid = 0
        self.wakes = 0
        self.devices_seen = 0
        self.open_wires = bytearray(2 * devices)     # stays 0: this driver sees an open wire in the voltages only
        self.state = STATE_RUN
        self._spi = spi
        self._devices = devices
        self._cells = cells_per_device
        self._temps = temps_per_device
        self._ntc = ntc
        self._period_us = period_us
        self._tx = bytearray(4 + 8 * devices)
        self._rx = bytearray(4 + 8 * devices)
        self._aux = bytearray(24 * devices)
        self._since = 0
        self._wait_us = 0
        self._period_start = 0
        self.scan_us = 0               # from the start of the period to the last temperature
        self._started = False
        self._step = 0
        self._fails = 0
        self._rows = self._cycle_rows()

    def _cycle_rows(self):
        """(action, command, value, wait µs afterwards), one row a call."""
        cells = tuple((self._read_cells, _READ_CELLS[n], 3 * n, 0) for n in range(self._cells // 3))
        groups = (1, 1, 1, 2, 2, 3, 3, 3, 4)[self._temps - 1]
        aux = tuple((self._read_aux, _READ_AUX[n], n, 0) for n in range(max(groups, 2)))
        return (
            (self._await_period, 0, 0, _WAKE_US),
            (self._start, _RDCFGA, 0, 10 * self._devices),      # wakes the ports that slept in between
            (self._check_config, _RDCFGA, 0, 0),
            (self._start, _CLRCELL, 0, 0),
            (self._start, _CLRAUX, 0, 0),
            (self._start, _ADCV, 0, _CELLS_US),
        ) + cells + (
            (self._cells_done, 0, 0, 0),
            (self._start, _ADAX, 0, _AUX_US),
        ) + aux + ((self._temps_done, 0, 0, 0),)

    def poll(self, now_us):
        """Advance by one row; now_us wraps at 2**30. One SPI transfer at most."""
        if ((now_us - self._since) & _TICKS_MASK) < self._wait_us:
            return
        action, command, value, wait_us = self._rows[self._step]
        if not action(now_us, command, value):
            return
        self._since = now_us
        self._wait_us = wait_us
        self._step += 1
        if self._step == len(self._rows):
            self._step = 0

    def _fail(self):
        """Once more; after three in a row the whole scan is given up and the next one starts anew."""
        self._fails += 1
        if self._fails >= _FAILS:
            self._fails = 0
            self._step = 0
            self.devices_seen = 0
        return False

    # -- frames

    def _command(self, command, count):
        tx = self._tx
        tx[0] = command >> 8
        tx[1] = command & 0xFF
        pec = pec15(tx, 0, 2, TABLE)
        tx[2] = pec >> 8
        tx[3] = pec & 0xFF
        self._spi.transfer(tx, self._rx, count)

    def _read(self, command):
        """One register group of every device; True when all are in rx with the right PEC."""
        for index in range(4, len(self._tx)):
            self._tx[index] = 0xFF
        self._command(command, len(self._tx))
        good = _groups_ok(self._rx, self._devices, TABLE)
        if good == self._devices:
            return True
        self.crc_errors += 1
        return self._fail()

    # -- actions

    def _await_period(self, now_us, command, value):
        passed = (now_us - self._period_start) & _TICKS_MASK
        if self._started and passed < self._period_us:
            return False
        late_us = passed - self._period_us
        keep_phase = self._started and late_us < self._period_us
        self._period_start = (now_us - late_us) & _TICKS_MASK if keep_phase else now_us
        self._started = True
        self._command(_RDCFGA, 4)                    # an edge on the select line wakes sleeping chips
        return True

    def _start(self, now_us, command, value):
        self._command(command, 4)
        return True

    def _check_config(self, now_us, command, value):
        """Write the configuration and read it back; a chip that slept has lost it."""
        self._write_config()
        if not self._read(command):
            return False
        for device in range(self._devices):
            at = 4 + 8 * device
            if not self._rx[at] & _REFON or self._rx[at + 4] or self._rx[at + 5]:
                self.invalid += 1
                return self._fail()
        self.devices_seen = self._devices
        return True

    def _write_config(self):
        tx = self._tx
        for device in range(self._devices):
            at = 4 + 8 * device
            for index in range(6):
                tx[at + index] = _CONFIG[index]
            pec = pec15(tx, at, 6, TABLE)
            tx[at + 6] = pec >> 8
            tx[at + 7] = pec & 0xFF
        self._command(_WRCFGA, len(tx))

    def _read_cells(self, now_us, command, first):
        if not self._read(command):
            return False
        if _take_cells(self._rx, self._devices, first, self._cells, self.cells_mV, len(self.cells_mV)):
            self.invalid += 1
            return self._fail()
        self._fails = 0
        return True

    def _cells_done(self, now_us, command, value):
        self.cells_ready = True
        return True

    def _read_aux(self, now_us, command, group):
        """Keep the group; the ratio needs the reference, which comes in the second one."""
        if not self._read(command):
            return False
        for device in range(self._devices):
            to = 24 * device + 6 * group
            at = 4 + 8 * device
            for index in range(6):
                self._aux[to + index] = self._rx[at + index]
        self._fails = 0
        return True

    def _word(self, device, index):
        at = 24 * device + 2 * index
        return self._aux[at] | self._aux[at + 1] << 8

    def _temps_done(self, now_us, command, value):
        out = self.temps_ddegC
        for device in range(self._devices):
            reference = self._word(device, _REFERENCE)
            for sensor in range(self._temps):
                index = device * self._temps + sensor
                if index < len(out):
                    out[index] = self._temperature(self._word(device, sensor + (sensor >= _REFERENCE)), reference)
        self.temps_ready = True
        self.scan_us = (now_us - self._period_start) & _TICKS_MASK
        return True

    def _temperature(self, raw, reference):
        """0.1 °C; NO_VALUE without a plausible reference (3 V ± 0.6 V) or result."""
        if not 24_000 <= reference <= 36_000 or raw == 0xFFFF:
            return -32768
        return look_up(self._ntc, min(raw * 16384 // reference * 2, 32767))
