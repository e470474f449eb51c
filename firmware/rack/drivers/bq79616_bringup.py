"""BQ79616 stack: wake, address, configure; find a broken link and address the rest from the other end of the ring.

A link that breaks under load must not become a trip: the cells behind it are there, and whoever reads them from
the other end within `[alarms] cells_lost` only warns. So silence starts a search at the first missing answer; only
what has changed is done again (addresses, not the configuration), and nothing is woken that is awake.

Programs are rows of four: action, register, value, wait µs afterwards; an action returns True when it is done. A
program is one flat tuple, which takes half the heap of a tuple of rows.
"""

from micropython import const

from rack.drivers.bq79616_convert import count_different
from rack.drivers.bq79616_link import StackLink

_ACTIVE_CELL = const(0x003)
_GPIO_CONF1 = const(0x00E)
_DIR0_ADDR = const(0x306)
_DIR1_ADDR = const(0x307)
_COMM_CTRL = const(0x308)
_CONTROL1 = const(0x309)
_CONTROL2 = const(0x30A)
_ADC_CTRL1 = const(0x30D)
_FAULT_RST1 = const(0x331)
_DIAG_COMP_CTRL3 = const(0x33C)
_OTP_ECC_DATAIN1 = const(0x343)
_DEV_STAT = const(0x52C)

_DIR_SEL = const(0x80)               # CONTROL1
_SEND_WAKE = const(0x20)
_ADDR_WR = const(0x01)
_STACK_DEV = const(0x02)             # COMM_CTRL
_TOP_STACK = const(0x01)

_WAKE_LOW_US = const(2500)           # wake ping: 2 ms at least, shut-down from 7 ms
_FAILS = const(6)                    # then something else is tried: a silent read counts 2, a garbled one 1
_SYNC_FRAMES = const(8)
_FRAME_US = const(60)
_BROADCAST_READ = const(0xC0)

STATE_WAKE = const(0)
STATE_SEARCH = const(1)              # how far does the chain reach?
STATE_REVERSE = const(2)             # address what is left from the other end of the ring
STATE_CONFIG = const(3)
STATE_RUN = const(4)
STATE_LOOK = const(5)                # is a broken link whole again?


class Starter(StackLink):
    """What Bq79616 does before it runs, and when the link fails it. Attributes, `_begin_run`, `_read_status`: there."""

    def __init__(self, uart, devices, cells_per_device, temps_per_device):
        super().__init__(uart, devices, 2 * max(cells_per_device, temps_per_device + 1))
        self.link_broken = False
        self.wakes = 0
        self.devices_seen = 0
        self.state = STATE_WAKE
        self._cells = cells_per_device
        self._step = 0
        self._index = 0
        self._fails = 0
        self._cold = True              # the stack was woken: the far side is still asleep
        self._woken = False

    def _wake_rows(self):
        write_all, write_base = self._write_all, self._write_base
        top = self._devices - 1
        return (
            self._wake, 0, 0, _WAKE_LOW_US + 10_000,
            write_base, _CONTROL1, _SEND_WAKE, self._tone_us(),
            self._sync_write, _OTP_ECC_DATAIN1, 0, 500,
            write_all, _CONTROL1, _ADDR_WR, 300,
            self._address, _DIR0_ADDR, self._devices, 0,
            write_all, _COMM_CTRL, _STACK_DEV, 100,
            write_base, _COMM_CTRL, 0 if top else _TOP_STACK, 100,
            self._write_top, _COMM_CTRL, self._devices, 300,
            self._sync_read, _OTP_ECC_DATAIN1, _SYNC_FRAMES, 0,
            self._count_all, _DIR0_ADDR, 0, 0,
        )  # fmt: skip

    def _search_rows(self):
        write_all = self._write_all
        return (
            self._start_forward, _CONTROL1, 0, 0,
            self._bisect, _DIR0_ADDR, 0, 0,
            write_all, _DIAG_COMP_CTRL3, 0, 0,                 # the break may have come in a wire check
            write_all, _COMM_CTRL, _STACK_DEV, 0,
            self._write_base, _COMM_CTRL, 0, 0,
            self._forward_found, _COMM_CTRL, 0, 0,
        )  # fmt: skip

    def _reverse_rows(self):
        write_all = self._write_all
        return (
            self._start_reverse, _CONTROL1, _DIR_SEL, 100,
            self._wake_reverse, _CONTROL1, _DIR_SEL | _SEND_WAKE, 0,
            self._write_reverse, _CONTROL1, _DIR_SEL, 300,
            self._sync_write, _OTP_ECC_DATAIN1, 0, 0,
            write_all, _CONTROL1, _DIR_SEL | _ADDR_WR, 300,
            self._address, _DIR1_ADDR, 0, 0,
            write_all, _DIAG_COMP_CTRL3, 0, 0,
            write_all, _COMM_CTRL, _STACK_DEV, 0,
            self._write_base, _COMM_CTRL, 0, 0,
            self._bisect, _DIR1_ADDR, 0, 0,
            self._reverse_found, _COMM_CTRL, 0, 0,
        )  # fmt: skip

    def _config_rows(self):
        write, check = self._write_all, self._read_back
        config = ((_ACTIVE_CELL, self._cells - 6), (_GPIO_CONF1, 0x12), (_GPIO_CONF1 + 1, 0x12),
                  (_GPIO_CONF1 + 2, 0x12), (_GPIO_CONF1 + 3, 0x12), (_CONTROL2, 0x01))
        written, checked = (), ()
        for register, value in config:
            written += (write, register, value, 0)
            checked += (check, register, value, 0)
        return (
            (self._select, _CONTROL1, 0, 100) + written
            + (write, _FAULT_RST1, 0xFF, 0,
               write, _FAULT_RST1 + 1, 0xFF, 4000)             # TSREF settles in 1.35 ms
            + checked
            + (write, _ADC_CTRL1, 0x06, 3000,                  # MAIN_GO, continuous: 8 GPIO rounds
               check, _ADC_CTRL1, 0x02, 0,                     # MAIN_GO clears itself
               self._read_status, _DEV_STAT, 2, 0,
               self._next_side, 0, 0, 0)
        )  # fmt: skip

    def _look_rows(self):
        """Frames that pass the broken link turn the devices behind it; otherwise nothing new happens to any."""
        return (
            self._write_base, _CONTROL1, 0, 100,
            self._write_reverse, _CONTROL1, 0, 300,
            self._sync_write, _OTP_ECC_DATAIN1, 0, 0,
            self._write_all, _CONTROL1, _ADDR_WR, 300,
            self._address, _DIR0_ADDR, self._devices, 0,
            self._bisect, _DIR0_ADDR, 0, 0,
            self._look_found, 0, 0, 0,
        )  # fmt: skip

    def _tone_us(self):
        return 10_000 + 600 * self._devices

    # -- state machine

    def restart(self):
        """Forget the stack's state: the next poll wakes and addresses it again."""
        self.devices_seen = 0
        self.link_broken = False
        self._side = 0
        self._cold = True
        self._woken = False
        self._enter(STATE_WAKE)

    def _enter(self, state):
        """Go to the first row of another program; the action that calls this returns True."""
        self.state = state
        self._step = 0
        self._index = 0
        self._phase = 0
        if state in (STATE_WAKE, STATE_CONFIG):
            self._fails = 0
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

    def _silent(self):
        """Nobody has begun to answer: a running stack is asked for its last device at once."""
        if self.state == STATE_RUN:
            self._fails += 2
            self._phase = 0
            self._cold = False
            self._enter(STATE_SEARCH)
        else:
            self._fail(2)

    def _go_on(self, now_us):
        """After a search: read on at once where only the link has changed, else configure."""
        self._side = 0
        if self._cold or self._fails >= _FAILS:
            return self._enter(STATE_CONFIG)
        return self._run_from(now_us, 1)

    def _run_from(self, now_us, step):
        self._enter(STATE_RUN)
        self._select(now_us, _CONTROL1, 0)
        self._step = step
        return True

    # -- actions: wake and address

    def _wake(self, now_us, register, value):
        self.wakes += 1
        self._counts[0] = self._devices
        self._counts[1] = 0
        self._uart.pulse_low(_WAKE_LOW_US)
        return True

    def _sync_write(self, now_us, register, value):
        """Dummy writes that synchronise the delay lines after a reset, or in a new direction."""
        return self._write_many(register, _SYNC_FRAMES, 0)

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

    def _address(self, now_us, register, count):
        """Addresses 0, 1, …: the base, then the others; count 0: what the other side is left with."""
        count = count or self._top + 1
        self._pause(now_us, _FRAME_US * count + 300)
        return self._write_many(register, count, 1)

    def _write_top(self, now_us, register, count):
        """The last of `count` devices from the base on begins each answer; a lone base is no stack device."""
        self._write_device(count - 1, register, _TOP_STACK if count == 1 else _STACK_DEV | _TOP_STACK)
        return True

    def _count_all(self, now_us, register, value):
        if not self._read(now_us, register, 1):
            return False
        self.devices_seen = self._devices      # the check compared every address
        return self._enter(STATE_CONFIG)

    # -- actions: search

    def _start_forward(self, now_us, register, value):
        self._side = 0
        self._begin_search(0, self._devices)
        self._write_base(now_us, register, value)
        if self._counts[1]:                    # another link may be the broken one now
            self._pause(now_us, 300)
            self._write_reverse(now_us, register, value)
        return True

    def _forward_found(self, now_us, register, value):
        count = self._low
        self._counts[0] = count
        self._counts[1] = 0
        if count == 0:
            self.restart()
            return True
        self._write_top(now_us, register, count)
        if count < self._devices:
            return self._enter(STATE_REVERSE)
        self.devices_seen = count
        self.link_broken = False
        return self._go_on(now_us)

    def _start_reverse(self, now_us, register, value):
        self._side = 1
        self._begin_search(0, self._devices - self._counts[0])
        return self._write_base(now_us, register, value)

    def _wake_reverse(self, now_us, register, value):
        """After a wake the far side still sleeps; awake devices must not hear the tone, it resets them."""
        if self._cold:
            self._write_base(now_us, register, value)
            self._pause(now_us, self._tone_us())
        return True

    def _reverse_found(self, now_us, register, value):
        count = self._low
        self._counts[1] = count
        self.link_broken = count > 0
        self.devices_seen = self._counts[0] + count
        if count:
            self._write_top(now_us, register, count + 1)
        return self._go_on(now_us)

    def _look_again(self):
        """Is the broken link whole? Costs two silent answers where it is not."""
        self._enter(STATE_LOOK)
        self._begin_search(self._devices - 1, self._devices)

    def _look_found(self, now_us, register, value):
        if self._low < self._devices:
            return self._run_from(now_us, 0)
        return self._enter(STATE_SEARCH)       # it ends at its first answer and sets up the whole chain

    # -- actions: configuration

    def _select(self, now_us, register, value):
        """Point the base to the side in use and make it top only where it stands alone."""
        if self._devices > 1:
            self._write_base(now_us, register, _DIR_SEL if self._side else 0)
            self._write_base(now_us, _COMM_CTRL, _TOP_STACK if not self._side and self._counts[0] == 1 else 0)
        return True

    def _read_back(self, now_us, register, value):
        if not self._read(now_us, register, 1):
            return False
        return not count_different(self._rx, self._counts[self._side], 1, 0xFF, value) or self._not_as_configured()

    def _not_as_configured(self):
        """Its cells would stay as they are, with a good CRC: who runs is configured anew, without a wake."""
        self.invalid += 1
        if self.state != STATE_RUN:
            self._fail(1)
            return False
        self._side = 0
        return self._enter(STATE_CONFIG)

    def _next_side(self, now_us, register, value):
        self._fails = 0
        if self._counts[1] and not self._side:
            self._side = 1
            self._enter(STATE_CONFIG)
            self._step = -1                    # poll goes on to row 0
            return True
        self._side = 0
        return self._begin_run(now_us)
