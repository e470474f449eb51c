"""LTC6811 / LTC6813 stack on SPI through isoSPI, behind the same small interface as the BQ79616 stack.

The same hazard, the same rule: a scan counts as arrived only when the PEC of every register group of
every device was right and every result is from this scan (the registers are cleared before it).

Commands, order of bytes, LSB: LTC6813-1 data sheet. `spi` needs transfer(tx, rx, n): n bytes in one chip
select, here up to 4 + 8 × devices (212 bytes, 1.7 ms at 1 Mbit/s, for 26). What is done with them is left to
kernels in a poll of its own, so that none takes 2 ms (tests/emulated/test_same_bits_on_chip.py).
"""

import micropython
from micropython import const

from rack.base.viper import ptr8, ptr32
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


def _seal(frame, length):
    """PEC of the first `length` bytes behind them."""
    pec = pec15(frame, 0, length, TABLE)
    frame[length] = pec >> 8
    frame[length + 1] = pec & 0xFF


@micropython.viper
def _configs_lost(rx, devices: int) -> int:
    """Devices, of checked RDCFGA groups, whose reference is off or that discharge a cell."""
    b = ptr8(rx)
    lost = 0
    at = 4
    while devices > 0:
        if int(b[at]) & _REFON == 0 or int(b[at + 4]) != 0 or int(b[at + 5]) != 0:
            lost += 1
        at += 8
        devices -= 1
    return lost


@micropython.viper
def _take_aux(rx, devices: int, group: int, aux):
    """Keep one aux group, 0..3, of each device; its four lie one behind the other."""
    b = ptr8(rx)
    to = ptr8(aux)
    device = 0
    while device < devices:
        i = 0
        while i < 6:
            to[24 * device + 6 * group + i] = int(b[4 + 8 * device + i])
            i += 1
        device += 1


@micropython.viper
def _to_temps(aux, devices: int, temps: int, out, count: int, ntc):
    """Convert the aux groups to 0.1 °C in out[0:count] by the table, limits and values of rack.drivers.ntc.

    NO_VALUE without a plausible reference (3 V ± 0.6 V; word 5, between GPIO5 and GPIO6) or result.
    """
    a = ptr8(aux)
    o = ptr32(out)
    t = ptr32(ntc)
    device = 0
    while device < devices:
        at = 24 * device
        reference = int(a[at + 10]) + (int(a[at + 11]) << 8)
        sensor = 0
        while sensor < temps:
            if sensor == 5:
                at += 2
            raw = int(a[at]) + (int(a[at + 1]) << 8)
            value = -32768
            if reference >= 24000 and reference <= 36000 and raw != 0xFFFF:
                ratio = raw * 16384 // reference * 2
                if ratio >= 32276:
                    value = -32767
                elif ratio <= 492:
                    value = -32766
                else:
                    cell = ratio >> 7
                    low = int(t[cell])
                    value = (low + ((int(t[cell + 1]) - low) * (ratio & 127) >> 7) + 5) // 10
            if device * temps + sensor < count:
                o[device * temps + sensor] = value
            at += 2
            sensor += 1
        device += 1


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
        self._tx = bytearray(b"\xff" * (4 + 8 * devices))     # behind a command the line idles
        self._config = self._config_frame()
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
        cells, aux = (), ()
        for n in range(self._cells // 3):
            cells += ((self._ask, _READ_CELLS[n], 0, 0), (self._take_cells, 0, 3 * n, 0))
        groups = (1, 1, 1, 2, 2, 3, 3, 3, 4)[self._temps - 1]
        for n in range(max(groups, 2)):
            aux += ((self._ask, _READ_AUX[n], 0, 0), (self._take_aux, 0, n, 0))
        return (
            (self._await_period, 0, 0, _WAKE_US),
            (self._start, _RDCFGA, 0, 10 * self._devices),      # wakes the ports that slept in between
            (self._write_config, 0, 0, 0),
            (self._ask, _RDCFGA, 0, 0),
            (self._check_config, 0, 0, 0),
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

    def _fail(self, rows):
        """Once more, from so many rows before; after three in a row the scan is given up and the next starts anew."""
        self._fails += 1
        self._step -= rows
        if self._fails >= _FAILS:
            self._fails = 0
            self._step = 0
            self.devices_seen = 0
        return False

    def open_wire(self):
        """As the other family's; 0: an open wire shows in the voltages."""
        return 0

    # -- frames

    def _config_frame(self):
        """WRCFGA with the same configuration for every device."""
        config = bytearray(_CONFIG + b"\0\0")
        _seal(config, 6)
        command = bytearray((_WRCFGA >> 8, _WRCFGA & 0xFF, 0, 0))
        _seal(command, 2)
        return command + bytes(config) * self._devices

    def _command(self, command, count):
        tx = self._tx
        tx[0] = command >> 8
        tx[1] = command & 0xFF
        _seal(tx, 2)
        self._spi.transfer(tx, self._rx, count)

    def _all_right(self, rows):
        """Has every device's group in rx its PEC?"""
        if _groups_ok(self._rx, self._devices, TABLE) == self._devices:
            return True
        self.crc_errors += 1
        return self._fail(rows)

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

    def _ask(self, now_us, command, value):
        """One register group of every device into rx."""
        self._command(command, len(self._tx))
        return True

    def _write_config(self, now_us, command, value):
        """Each scan: a chip that slept has lost it."""
        self._spi.transfer(self._config, self._rx, len(self._config))
        return True

    def _check_config(self, now_us, command, value):
        if not self._all_right(2):
            return False
        if _configs_lost(self._rx, self._devices):
            self.invalid += 1
            return self._fail(2)
        self.devices_seen = self._devices
        return True

    def _take_cells(self, now_us, command, first):
        if not self._all_right(1):
            return False
        if _take_cells(self._rx, self._devices, first, self._cells, self.cells_mV, len(self.cells_mV)):
            self.invalid += 1
            return self._fail(1)
        self._fails = 0
        return True

    def _cells_done(self, now_us, command, value):
        self.cells_ready = True
        return True

    def _take_aux(self, now_us, command, group):
        """Keep the group; the ratio needs the reference, which comes in the second one."""
        if not self._all_right(1):
            return False
        _take_aux(self._rx, self._devices, group, self._aux)
        self._fails = 0
        return True

    def _temps_done(self, now_us, command, value):
        out = self.temps_ddegC
        _to_temps(self._aux, self._devices, self._temps, out, len(out), self._ntc)
        self.temps_ready = True
        self.scan_us = (now_us - self._period_start) & _TICKS_MASK
        return True
