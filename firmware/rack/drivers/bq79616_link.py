"""Frames of a BQ79616 stack: writes of every kind, checked reads of a whole side, the search for its end.

A "side" is the part of the ring that the base reaches in one direction. Nothing here blocks: a read goes
through its phases over several calls.
"""

from micropython import const

from rack.drivers.bq79616_data import count_good
from rack.drivers.crc16 import TABLE, seal

_TICKS_MASK = const(0x3FFFFFFF)      # ticks_us wraps at 2**30
_SINGLE_READ = const(0x80)
_SINGLE_WRITE = const(0x90)
_STACK_READ = const(0xA0)
_BROADCAST_READ = const(0xC0)
_BROADCAST_WRITE = const(0xD0)
_REVERSE_WRITE = const(0xE0)
_ANSWER_US = const(2000)             # margin beyond the bus time before a read counts as lost
_SMALL = const(200)                  # bytes of an answer that are checked and used in the call that collects them
_CHUNK = const(128)                  # bytes taken from the UART at a time
_CHUNKS_PER_POLL = const(3)


class StackLink:
    """uart: see rack.drivers.bq79616. Counters: crc_errors, timeouts, invalid (wrong read-back or no result)."""

    def __init__(self, uart, devices, longest_answer):
        self.crc_errors = 0
        self.timeouts = 0
        self.invalid = 0
        self._uart = uart
        self._devices = devices
        self._counts = bytearray(2)    # devices reached in each direction, without the base in the second
        self._side = 0                 # direction in use
        self._rx = bytearray(devices * (longest_answer + 6))
        self._chunks = tuple(memoryview(self._rx)[at:at + _CHUNK] for at in range(0, len(self._rx), _CHUNK))
        self._taken = 0                # chunks of the present answer
        self._six = bytearray(6)
        self._seven = bytearray(7)
        self._since = 0
        self._wait_us = 0
        self._expected = 0
        self._phase = 0                # of one read: 0 request, 1 collect, 2 check, 3 use
        self._low = 0
        self._high = 0

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

    def _write_top(self, now_us, register, value):
        """The last device; a lone one is base and top already."""
        return self._devices == 1 or self._single(_SINGLE_WRITE, self._devices - 1, register, value)

    def _drained(self):
        """Throw away what nobody asked for, at most one buffer full a call; True when the line is empty."""
        waiting = self._uart.any()
        if waiting:
            self._uart.readinto(self._rx, min(waiting, len(self._rx)))
            return False
        return True

    def _collect(self, now_us, frames):
        """Take what has arrived, a few chunks a call; True when all of it is in rx. A lost answer is failed."""
        for _ in range(_CHUNKS_PER_POLL):
            left = self._expected - self._taken * _CHUNK
            size = min(left, _CHUNK)
            if self._uart.any() < size:
                break
            self._uart.readinto(self._chunks[self._taken], size)
            self._taken += 1
            if size == left:
                self._phase = 2
                return True
        if ((now_us - self._since) & _TICKS_MASK) > 10 * self._expected + 20 * frames + _ANSWER_US:
            self.timeouts += 1
            self._fail(2)
        return False

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
            if self._expected > _SMALL:
                return False
        return True

    def _bisect(self, now_us, register, value):
        """Find how many devices answer from the base on: `low` have, more than `high` cannot."""
        if self._low == self._high:
            return True
        middle = (self._low + self._high + 1) // 2
        device = middle - 1 if not self._side else middle
        if self._phase == 0:
            if self._drained():
                self._expected = 7
                self._single(_SINGLE_READ, device, register, 0)
                self._since = now_us
                self._phase = 1
            return False
        answered = self._uart.any() >= 7
        if not answered and ((now_us - self._since) & _TICKS_MASK) < _ANSWER_US:
            return False
        self._phase = 0
        if answered:
            self._uart.readinto(self._rx, 7)
            answered = count_good(self._rx, 1, device, 1, register, TABLE) == 1
        if answered:
            self._low = middle
        else:
            self._high = middle - 1
        return False
