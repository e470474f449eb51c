"""Bring-up of a BQ79616 stack: wake, address, configure, and reach the devices behind a broken link from the other end.

A link that breaks under load must not trip the rack. The cells behind it are still there, and a driver that reads
them from the other end within `[alarms] cells_lost` needs only a warning. Therefore the first answer that does not
begin starts a search. Only the part that has changed is set up again (addresses, not the configuration), and devices
that are awake are not woken.

A program is one flat tuple of rows with four entries: action, register, value, wait in µs afterwards. An action returns
True when it is done. A flat tuple takes half the heap of a tuple of rows.
"""

from micropython import const

from rack.definitions.codes import AFE_CONFIG, AFE_LOOK, AFE_REVERSE, AFE_RUN, AFE_SEARCH, AFE_WAKE
from rack.drivers import bq79616_registers as R
from rack.drivers.bq79616_convert import count_different, first_with, take_bytes
from rack.drivers.bq79616_frames import READ_DAMAGED, READ_SILENT
from rack.drivers.bq79616_search import Search

_WAKE_LOW_us = const(2500)           # wake ping: at least 2 ms; from 7 ms on it is a shut-down
_MAX_WEIGHT = const(6)               # failed reads in a row, weighted, before the driver tries something else
_DAMAGED_WEIGHT = const(1)
_LOST_WEIGHT = const(2)              # a silent or late answer
_SYNC_FRAMES = const(8)
_FRAME_us = const(60)


class BringUp:
    """The part of rack.drivers.bq79616 that brings a stack to AFE_RUN, and back to it after a failed read.

    link: rack.drivers.bq79616_frames.StackLink; after a failed read of it this part chooses the next step.

    The owner runs the row `step` of the program of `state`. The members devices_seen and link_broken change only with
    the state.

    configured: the stack has just been configured; the owner clears it. devices_seen, link_broken, faults, fault: see
    rack.drivers.bq79616. Counters: invalid (a register or result is not as configured), wakes.
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
        self._synced = 0               # dummy reads that have been sent
        self._fail_weight = 0
        self._cold = True              # the stack was woken: the devices behind a broken link still sleep
        self._woken = False            # a second wake in a row that fails leads to the search

    # -- programs

    def programs(self, cycle):
        """The program of each state, AFE_WAKE first; cycle: the owner's program for AFE_RUN."""
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
            write_all, R.DIAG_COMP_CTRL3, R.OW_OFF, 0,         # the break may have come during a wire check
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
        written, checked = (), ()
        for register, value in config:
            written += (write, register, value, 0)
            checked += (check, register, value, 0)
        return (
            (self.select, R.CONTROL1, 0, 100) + written
            + (write, R.FAULT_RST1, 0xFF, 0,
               write, R.FAULT_RST2, 0xFF, 4000)                # TSREF settles in 1.35 ms
            + checked
            + (write, R.ADC_CTRL1, R.MAIN_GO | R.CONTINUOUS, 3000,      # 8 GPIO rounds
               check, R.ADC_CTRL1, R.CONTINUOUS, 0,            # MAIN_GO clears itself
               self.read_status, R.DEV_STAT, 2, 0,
               self._next_side, 0, 0, 0)
        )  # fmt: skip

    def _look_rows(self):
        """Only frames that pass the broken link turn the devices behind it; the devices in front keep their state."""
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
        """Forget the stack's state: the next poll wakes and addresses it again."""
        self.devices_seen = 0
        self.link_broken = False
        self._link.side = 0
        self._cold = True
        self._woken = False
        self._enter(AFE_WAKE)

    def _enter(self, state):
        """Go to the first row of another program; the action that calls this returns True."""
        self.state = state
        self.step = 0
        self._synced = 0
        self._link.phase = 0
        if state in (AFE_WAKE, AFE_CONFIG):
            self._fail_weight = 0
        return True

    def _fail(self, weight):
        """Repeat a failed read at once; after too many failures search for the break, or wake the stack."""
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
        """Silence of a running stack starts the search at once: its last device is asked first."""
        if reason == READ_SILENT and self.state == AFE_RUN:
            self._fail_weight += _LOST_WEIGHT
            self._cold = False
            self._enter(AFE_SEARCH)
        else:
            self._fail(_DAMAGED_WEIGHT if reason == READ_DAMAGED else _LOST_WEIGHT)

    def _go_on(self, now_us):
        """After a search: read on at once if only the link has changed, otherwise configure."""
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
        """Send the dummy writes that synchronise the delay lines after a reset, or in a new direction."""
        return self._link.write_many(register, _SYNC_FRAMES, 0)

    def _sync_read(self, now_us, register, count):
        """Do the same with reads. Some answers may be missing; all are dropped."""
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
        """Give the addresses 0, 1, …: the base, then the others; count 0: the devices that the search left over."""
        count = count or self._search.top + 1
        self._link.pause(now_us, _FRAME_us * count + 300)
        return self._link.write_many(register, count, 1)

    def _write_top(self, now_us, register, count):
        """Let the last of `count` devices, base included, begin each answer; a base on its own is not a stack device."""
        self._link.write_device(count - 1, register, R.TOP_STACK if count == 1 else R.STACK_DEV | R.TOP_STACK)
        return True

    def _count_all(self, now_us, register, value):
        """Read the addresses of all devices; the read itself compares them."""
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
        if link.counts[1]:                     # another link may be the broken one now
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
        """After a wake the far side still sleeps. The tone would reset devices that are awake, so it is left out for them."""
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
        """Check whether the broken link is whole again. Costs two silent answers if it is not."""
        self._enter(AFE_LOOK)
        self._search.begin(self._devices - 1, self._devices)

    def _look_found(self, now_us, register, value):
        if self._search.found < self._devices:
            return self._run_from(now_us, 0)
        return self._enter(AFE_SEARCH)         # ends at its first answer and sets up the whole chain

    # -- actions that the cycle uses too

    def select(self, now_us, register, value):
        """Point the base to the side in use; the base begins the answers only if no other device is reached."""
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
        """Check that every main ADC runs, and note the faults that devices report about themselves."""
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
        """Configure a running stack again, without a wake: its cells would stay as they are, with a good CRC."""
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
            self.step = -1                     # the owner goes on to row 0
            return True
        link.side = 0
        self.configured = True
        return self._run_from(now_us, 0)
