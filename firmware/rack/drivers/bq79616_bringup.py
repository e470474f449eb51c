"""Bring-up of a BQ79616 stack: wake it, assign addresses, configure it, and read past a broken link from the other end.

A link that breaks under load must not trip the rack. The cells beyond the break are intact: if the driver reads them
from the other end within `[alarms] cells_lost`, a warning is sufficient. Therefore the first answer that does not
begin starts a search. The driver then sets up only the changed part (the addresses, not the configuration), and does
not wake devices that are awake.

A program is one flat tuple of rows. A row has four entries: action, register, value, and the wait in µs after the
action. An action returns True when it is complete. A flat tuple takes half the heap of a tuple of rows.
"""

from micropython import const

from rack.definitions.codes import AFE_CONFIG, AFE_LOOK, AFE_REVERSE, AFE_RUN, AFE_SEARCH, AFE_WAKE
from rack.drivers import bq79616_registers as R
from rack.drivers.bq79616_convert import count_different, first_with, take_bytes
from rack.drivers.bq79616_frames import READ_DAMAGED, READ_SILENT
from rack.drivers.bq79616_search import Search

_WAKE_LOW_us = const(2500)           # wake ping: at least 2 ms; a pulse of 7 ms or more shuts the device down
_MAX_WEIGHT = const(6)               # sum of the weights of consecutive failed reads that starts a search or a wake
_DAMAGED_WEIGHT = const(1)
_LOST_WEIGHT = const(2)              # a silent or late answer
_SYNC_FRAMES = const(8)
_FRAME_us = const(60)


class BringUp:
    """The part of rack.drivers.bq79616 that brings a stack to AFE_RUN, and back to it after a failed read.

    link: rack.drivers.bq79616_frames.StackLink. This class chooses the reaction to a failed read of the link.
    The owner runs row `step` of the program of `state`. The values devices_seen and link_broken change only together
    with the state.

    configured: the configuration is complete; the owner clears it. faults: two bytes of status a device.
    devices_seen, link_broken, fault: see rack.drivers.bq79616.
    Counters: invalid (a register or result differs from the configuration), wakes.
    """

    def __init__(self, link, devices, cells_per_device):
        self.state = AFE_WAKE
        self.step = 0
        self.configured = False
        self.devices_seen = 0
        self.link_broken = False
        self.faults = bytearray(2 * devices)
        self.fault = 0
        self.invalid = 0
        self.wakes = 0
        self._link = link
        link.on_failure = self._read_failed
        self._search = Search(link)
        self._devices = devices
        self._cells = cells_per_device
        self._synced = 0               # number of dummy reads sent
        self._fail_weight = 0
        self._cold = True              # after a wake of the stack: the devices beyond a broken link still sleep
        self._woken = False            # a second consecutive wake that fails starts the search

    # -- programs

    def programs(self, cycle):
        """Return the program of each state, AFE_WAKE first. cycle: the owner's program for AFE_RUN."""
        return (self._wake_rows(), self._search_rows(), self._reverse_rows(), self._config_rows(), cycle,
                self._look_rows())

    def _wake_rows(self):
        write_all, write_base = self._link.write_all, self._link.write_base
        alone = self._devices == 1
        return (
            self._wake, 0, 0, _WAKE_LOW_us + 10_000,
            write_base, R.CONTROL1, R.SEND_WAKE, self._tone_us(),
            self._sync_write, R.OTP_ECC_DATAIN1, 0, 500,
            write_all, R.CONTROL1, R.ADDR_WR, 300,
            self._address, R.DIR0_ADDR, self._devices, 0,
            write_all, R.COMM_CTRL, R.STACK_DEV, 100,
            write_base, R.COMM_CTRL, R.TOP_STACK if alone else 0, 100,
            self._write_top, R.COMM_CTRL, self._devices, 300,
            self._sync_read, R.OTP_ECC_DATAIN1, _SYNC_FRAMES, 0,
            self._count_all, R.DIR0_ADDR, 0, 0,
        )  # fmt: skip

    def _search_rows(self):
        write_all = self._link.write_all
        return (
            self._start_forward, R.CONTROL1, 0, 0,
            self._search.bisect, R.DIR0_ADDR, 0, 0,
            write_all, R.DIAG_COMP_CTRL3, R.OW_OFF, 0,         # the link may have broken during a wire check
            write_all, R.COMM_CTRL, R.STACK_DEV, 0,
            self._link.write_base, R.COMM_CTRL, 0, 0,
            self._forward_found, R.COMM_CTRL, 0, 0,
        )  # fmt: skip

    def _reverse_rows(self):
        write_all = self._link.write_all
        return (
            self._start_reverse, R.CONTROL1, R.DIR_SEL, 100,
            self._wake_reverse, R.CONTROL1, R.DIR_SEL | R.SEND_WAKE, 0,
            self._link.write_reverse, R.CONTROL1, R.DIR_SEL, 300,
            self._sync_write, R.OTP_ECC_DATAIN1, 0, 0,
            write_all, R.CONTROL1, R.DIR_SEL | R.ADDR_WR, 300,
            self._address, R.DIR1_ADDR, 0, 0,
            write_all, R.DIAG_COMP_CTRL3, R.OW_OFF, 0,
            write_all, R.COMM_CTRL, R.STACK_DEV, 0,
            self._link.write_base, R.COMM_CTRL, 0, 0,
            self._search.bisect, R.DIR1_ADDR, 0, 0,
            self._reverse_found, R.COMM_CTRL, 0, 0,
        )  # fmt: skip

    def _config_rows(self):
        write, check = self._link.write_all, self.read_back
        config = ((R.ACTIVE_CELL, self._cells - 6), (R.GPIO_CONF1, R.GPIO_RATIO), (R.GPIO_CONF1 + 1, R.GPIO_RATIO),
                  (R.GPIO_CONF1 + 2, R.GPIO_RATIO), (R.GPIO_CONF1 + 3, R.GPIO_RATIO), (R.CONTROL2, R.TSREF_EN))
        written: tuple = ()     # MicroPython skips the types: they are for the type check
        checked: tuple = ()
        for register, value in config:
            written += (write, register, value, 0)
            checked += (check, register, value, 0)
        return (
            (self.select, R.CONTROL1, 0, 100) + written
            + (write, R.FAULT_RST1, 0xFF, 0,
               write, R.FAULT_RST2, 0xFF, 4000)                # TSREF settles in 1.35 ms
            + checked
            + (write, R.ADC_CTRL1, R.MAIN_GO | R.CONTINUOUS, 3000,      # 8 GPIO rounds
               check, R.ADC_CTRL1, R.CONTINUOUS, 0,            # the device clears MAIN_GO
               self.read_status, R.DEV_STAT, 2, 0,
               self._next_side, 0, 0, 0)
        )  # fmt: skip

    def _look_rows(self):
        """Return the rows that check the link: devices beyond the break change direction only if frames pass it."""
        return (
            self._link.write_base, R.CONTROL1, 0, 100,
            self._link.write_reverse, R.CONTROL1, 0, 300,
            self._sync_write, R.OTP_ECC_DATAIN1, 0, 0,
            self._link.write_all, R.CONTROL1, R.ADDR_WR, 300,
            self._address, R.DIR0_ADDR, self._devices, 0,
            self._search.bisect, R.DIR0_ADDR, 0, 0,
            self._look_found, 0, 0, 0,
        )  # fmt: skip

    def _tone_us(self):
        return 10_000 + 600 * self._devices

    # -- state machine

    def restart(self):
        """Discard the state of the stack: the next poll wakes the stack and assigns addresses again."""
        self.devices_seen = 0
        self.link_broken = False
        self._link.side = 0
        self._cold = True
        self._woken = False
        self._enter(AFE_WAKE)

    def _enter(self, state):
        """Start the program of `state` at its first row. Return True, which ends the calling action."""
        self.state = state
        self.step = 0
        self._synced = 0
        self._link.phase = 0
        if state in (AFE_WAKE, AFE_CONFIG):
            self._fail_weight = 0
        return True

    def _fail(self, weight):
        """Repeat a failed read immediately; after too many failures search for the break or wake the stack."""
        self._link.phase = 0
        self._fail_weight += weight
        if self._fail_weight < _MAX_WEIGHT:
            return
        if self.state == AFE_RUN:
            self._cold = False
            self._enter(AFE_SEARCH)
        elif self.state == AFE_WAKE and self._woken:
            self._enter(AFE_SEARCH)
        else:
            self.restart()
            self._woken = True

    def _read_failed(self, reason):
        """React to a failed read. Silence of a running stack starts the search immediately, with the last device."""
        if reason == READ_SILENT and self.state == AFE_RUN:
            self._fail_weight += _LOST_WEIGHT
            self._cold = False
            self._enter(AFE_SEARCH)
        else:
            self._fail(_DAMAGED_WEIGHT if reason == READ_DAMAGED else _LOST_WEIGHT)

    def _go_on(self, now_us):
        """Continue after a search: read immediately if only the link has changed, otherwise configure."""
        self._link.side = 0
        if self._cold or self._fail_weight >= _MAX_WEIGHT:
            return self._enter(AFE_CONFIG)
        return self._run_from(now_us, 1)

    def _run_from(self, now_us, step):
        self._enter(AFE_RUN)
        self.select(now_us, R.CONTROL1, 0)
        self.step = step
        return True

    # -- actions: wake and address

    def _wake(self, now_us, register, value):
        self.wakes += 1
        self._link.all_in_front()
        self._link.wake(_WAKE_LOW_us)
        return True

    def _sync_write(self, now_us, register, value):
        """Send the dummy writes that synchronise the delay lines after a reset or a change of direction."""
        return self._link.write_many(register, _SYNC_FRAMES, 0)

    def _sync_read(self, now_us, register, count):
        """Send the dummy reads. Some answers may be missing; the driver discards all of them."""
        link = self._link
        if not link.drained():
            return False
        if self._synced == count:
            self._synced = 0
            return True
        link.request_all(register + self._synced)
        self._synced += 1
        link.pause(now_us, 90 * self._devices + 200)
        return False

    def _address(self, now_us, register, count):
        """Assign addresses from 0, the base, upwards. count 0: the base and the devices that the search has to find."""
        count = count or self._search.top + 1
        self._link.pause(now_us, _FRAME_us * count + 300)
        return self._link.write_many(register, count, 1)

    def _write_top(self, now_us, register, count):
        """Let the last of `count` devices (with the base) begin each answer. A single base is not a stack device."""
        self._link.write_device(count - 1, register, R.TOP_STACK if count == 1 else R.STACK_DEV | R.TOP_STACK)
        return True

    def _count_all(self, now_us, register, value):
        """Read the addresses of all devices; the check of the frames compares them."""
        if not self._link.read(now_us, register, 1):
            return False
        self.devices_seen = self._devices
        return self._enter(AFE_CONFIG)

    # -- actions: search

    def _start_forward(self, now_us, register, value):
        link = self._link
        link.side = 0
        self._search.begin(0, self._devices)
        link.write_base(now_us, register, value)
        if link.counts[1]:                     # a different link may be broken now
            link.pause(now_us, 300)
            link.write_reverse(now_us, register, value)
        return True

    def _forward_found(self, now_us, register, value):
        count = self._search.found
        self._link.counts[0] = count
        self._link.counts[1] = 0
        if count == 0:
            self.restart()
            return True
        self._write_top(now_us, register, count)
        if count < self._devices:
            return self._enter(AFE_REVERSE)
        self.devices_seen = count
        self.link_broken = False
        return self._go_on(now_us)

    def _start_reverse(self, now_us, register, value):
        self._link.side = 1
        self._search.begin(0, self._devices - self._link.counts[0])
        return self._link.write_base(now_us, register, value)

    def _wake_reverse(self, now_us, register, value):
        """Send the wake tone to the far side after a wake. It would reset devices that are awake: they get no tone."""
        if self._cold:
            self._link.write_base(now_us, register, value)
            self._link.pause(now_us, self._tone_us())
        return True

    def _reverse_found(self, now_us, register, value):
        count = self._search.found
        self._link.counts[1] = count
        self.link_broken = count > 0
        self.devices_seen = self._link.counts[0] + count
        if count:
            self._write_top(now_us, register, count + 1)
        return self._go_on(now_us)

    def look_again(self):
        """Check whether the broken link is repaired. If it is not, the check costs two answer timeouts."""
        self._enter(AFE_LOOK)
        self._search.begin(self._devices - 1, self._devices)

    def _look_found(self, now_us, register, value):
        if self._search.found < self._devices:
            return self._run_from(now_us, 0)
        return self._enter(AFE_SEARCH)         # ends at its first answer, and sets up the whole chain

    # -- actions that the cycle uses too

    def select(self, now_us, register, value):
        """Set the base to the side in use. The base begins the answers only if it reaches no other device."""
        link = self._link
        if self._devices > 1:
            link.write_base(now_us, register, R.DIR_SEL if link.side else 0)
            alone = not link.side and link.counts[0] == 1
            link.write_base(now_us, R.COMM_CTRL, R.TOP_STACK if alone else 0)
        return True

    def read_back(self, now_us, register, value):
        link = self._link
        if not link.read(now_us, register, 1):
            return False
        return not count_different(link.rx, link.counts[link.side], 1, 0xFF, value) or self.not_as_configured()

    def read_status(self, now_us, register, size):
        """Check that every main ADC runs, and store the internal faults that the devices report."""
        link = self._link
        if not link.read(now_us, register, size):
            return False
        count = link.counts[link.side]
        if count_different(link.rx, count, size, R.MAIN_RUN, R.MAIN_RUN):
            return self.not_as_configured()
        take_bytes(link.rx, count, size, self.faults, link.positions[link.side])
        self.fault = first_with(self.faults, self._devices, R.OWN_FAULTS)
        self._fail_weight = 0
        return True

    def not_as_configured(self):
        """Configure a running stack again without a wake. Otherwise it would send unchanged cells with a good CRC."""
        self.invalid += 1
        if self.state != AFE_RUN:
            self._fail(_DAMAGED_WEIGHT)
            return False
        self._link.side = 0
        return self._enter(AFE_CONFIG)

    def _next_side(self, now_us, register, value):
        self._fail_weight = 0
        link = self._link
        if link.counts[1] and not link.side:
            link.side = 1
            self._enter(AFE_CONFIG)
            self.step = -1                     # the owner adds 1: row 0 is next
            return True
        link.side = 0
        self.configured = True
        return self._run_from(now_us, 0)
