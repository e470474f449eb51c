"""Frames of a BQ79616 stack: writes of every kind, checked reads of a whole side, the search for its end.

A "side" is the part of the ring that the base reaches in one direction. Nothing here blocks: a read goes
through its phases over several calls. Silence is told apart from damage, because it is what a broken link
looks like, and what a base does whose receiver has lost count: it gets a communication clear at once.
"""

from micropython import const

from rack.drivers.bq79616_convert import count_good, make_writes
from rack.drivers.crc16 import TABLE, seal

_TICKS_MASK = const(0x3FFFFFFF)      # ticks_us wraps at 2**30
_SINGLE_READ = const(0x80)
_SINGLE_WRITE = const(0x90)
_STACK_READ = const(0xA0)
_BROADCAST_READ = const(0xC0)
_BROADCAST_WRITE = const(0xD0)
_REVERSE_WRITE = const(0xE0)
_ANSWER_US = const(2000)             # margin beyond the bus time before a read counts as lost
# The first byte of an answer comes 0.4 ms after the poll that asked: 0.1 ms of request, 26 hops to the top and back.
_SILENT_US = const(1100)
_CLEAR_US = const(17)                # communication clear: 15..20 bit times low (SLUSE81)
_CLEARED_US = const(100)
_SMALL = const(200)                  # bytes of an answer that are checked and used in the call that collects them
_CHUNK = const(128)                  # bytes taken from the UART at a time
_CHUNKS_PER_POLL = const(3)
_SLICE = const(13)                   # frames that are checked and converted in one call
_WRITES = const(8)                   # broadcast writes at a time, at least, that there is room for


class StackLink:
    """uart: see rack.drivers.bq79616. Counters: crc_errors, timeouts, invalid (wrong read-back or no result).

    `_fail` and `_silent`, what to do about a read that went wrong: rack.drivers.bq79616_bringup.
    """

    def __init__(self, uart, devices, longest_answer):
        self.crc_errors = 0
        self.timeouts = 0
        self.invalid = 0
        self.pause_us = 0              # from a poll on: until then nothing will have come, and nothing be due
        self._uart = uart
        self._devices = devices
        self._counts = bytearray(2)    # devices reached in each direction, without the base in the second
        self._side = 0                 # direction in use
        self._rx = bytearray(max(devices * (longest_answer + 6), 6 * _WRITES))
        self._chunks = tuple(memoryview(self._rx)[at:at + _CHUNK] for at in range(0, len(self._rx), _CHUNK))
        self._taken = 0                # chunks of the present answer
        self._six = bytearray(6)
        self._seven = bytearray(7)
        self._since = 0
        self._wait_us = 0
        self._expected = 0
        self._phase = 0                # of one read: 0 request, 1 collect, 2 check, 3 use
        self._low = 0                  # of a search: so many answer,
        self._high = 0                 # not more than so many do,
        self._top = 0                  # and so many there should be
        self._sure = False             # the first that did not answer was asked twice

    def _pause(self, now_us, wait_us):
        self._since = now_us
        self._wait_us = wait_us

    # -- frames

    def _broadcast(self, kind, register, value):
        frame = self._six
        frame[0] = kind
        frame[1] = register >> 8
        frame[2] = register & 0xFF
        frame[3] = value
        seal(frame, 4)
        self._uart.write(frame)
        return True

    def _single(self, kind, device, register, value):
        frame = self._seven
        frame[0] = kind
        frame[1] = device
        frame[2] = register >> 8
        frame[3] = register & 0xFF
        frame[4] = value
        seal(frame, 5)
        self._uart.write(frame)
        return True

    def _write_all(self, now_us, register, value):
        return self._broadcast(_BROADCAST_WRITE, register, value)

    def _write_reverse(self, now_us, register, value):
        return self._broadcast(_REVERSE_WRITE, register, value)

    def _write_base(self, now_us, register, value):
        return self._single(_SINGLE_WRITE, 0, register, value)

    def _write_device(self, device, register, value):
        return self._single(_SINGLE_WRITE, device, register, value)

    def _write_many(self, register, count, addresses):
        """Broadcast writes in one go, see make_writes; allocates. The UART's own buffer takes 256 bytes."""
        self._uart.write(memoryview(self._rx)[:make_writes(self._rx, count, register, 0, addresses, TABLE)])
        return True

    def _drained(self):
        """Throw away what nobody asked for, at most one buffer full a call; True when the line is empty."""
        waiting = self._uart.any()
        if waiting:
            self._uart.readinto(self._rx, min(waiting, len(self._rx)))
            return False
        return True

    # -- reads

    def _collect(self, now_us, frames):
        """Take what has arrived, a few chunks a call; True when all of it is in rx. A lost answer is failed."""
        for _ in range(_CHUNKS_PER_POLL):
            left = self._expected - self._taken * _CHUNK
            size = min(left, _CHUNK)
            waiting = self._uart.any()
            if waiting < size:
                self._look_at_clock(now_us, frames, waiting)
                return False
            self._uart.readinto(self._chunks[self._taken], size)
            self._taken += 1
            if size == left:
                self._phase = 2
                return True
        self._look_at_clock(now_us, frames, self._uart.any())
        return False

    def _look_at_clock(self, now_us, frames, waiting):
        """Has an answer not begun in time, or not ended? Else the next look is at what one call can take of it."""
        missing = min(self._expected - self._taken * _CHUNK, _CHUNKS_PER_POLL * _CHUNK) - waiting
        if missing <= 0:
            return
        passed_us = (now_us - self._since) & _TICKS_MASK
        left_us = 10 * self._expected + 20 * frames + _ANSWER_US - passed_us
        if passed_us > _SILENT_US and not waiting and not self._taken:      # however late the look is
            self.timeouts += 1
            self._uart.pulse_low(_CLEAR_US)
            self._pause(now_us, _CLEARED_US)
            self._silent()
        elif left_us < 0:
            self.timeouts += 1
            self._fail(2)
        else:
            self.pause_us = min(10 * missing, left_us + 1)

    def _read(self, now_us, register, size):
        """One read of the whole side, a phase a call; True in the call after all frames were in and good."""
        frames = self._counts[self._side]
        if self._phase == 0:
            if self._drained():
                self._expected = frames * (size + 6)
                self._broadcast(_STACK_READ if self._side else _BROADCAST_READ, register, size - 1)
                self._since = now_us
                self._phase = 1
                self._taken = 0
            return False
        if self._phase == 1 and (not self._collect(now_us, frames) or self._expected > _SMALL):
            return False
        if self._phase == 2:
            top = frames if self._side else frames - 1
            if count_good(self._rx, frames, top, size, register, TABLE) < frames:
                self.crc_errors += 1
                self._fail(1)
                return False
            self._phase = 3
            if frames > _SLICE:
                return False
        return True

    # -- search

    def _begin_search(self, low, top):
        """`low` devices are known to answer from the base on, `top` should."""
        self._low = low
        self._high = self._top = top
        self._sure = False

    def _bisect(self, now_us, register, value):
        """Find how many answer, into _low: the last one is asked first, as noise and a break look alike."""
        if self._phase and not self._heard(now_us, register):
            return False
        if self._low == self._high:
            return True
        if self._drained():
            self._single(_SINGLE_READ, self._asked() - 1 + self._side, register, 0)
            self._since = now_us
            self._phase = 1
        return False

    def _asked(self):
        """Whose turn it is, counted from 1 at the base."""
        high = self._high
        return high if high == self._top and not self._sure else (self._low + high + 1) // 2

    def _heard(self, now_us, register):
        """Has the device answered, or had its time to? True when it is clear, and the search narrower."""
        waiting = self._uart.any()
        if waiting < 7 and ((now_us - self._since) & _TICKS_MASK) <= _SILENT_US:
            return False
        self._phase = 0
        asked = self._asked()
        if waiting >= 7 and self._answered(asked - 1 + self._side, register):
            self._low = asked
            if self._sure and asked == self._high:
                self._high = self._top           # so it was noise: look further
        else:
            self._high = asked - 1
        if self._low == self._high < self._top and not self._sure:
            self._sure = True
            self._high += 1
        return True

    def _answered(self, device, register):
        self._uart.readinto(self._rx, 7)
        return count_good(self._rx, 1, device, 1, register, TABLE) == 1
