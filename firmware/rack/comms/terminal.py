"""Non-blocking bytes to and from the terminal on standard input and output (USB CDC on RP2040).

A print waits up to 500 ms for a host that holds the port open and does not read
(MICROPY_HW_USB_CDC_TX_TIMEOUT, MicroPython issues 9634 and 10293), ten times the dead-man's
window. So output goes through a ring, one byte at a time, only while the port takes it. Bytes without room
in the ring are dropped and counted.
"""

import select
import sys

import micropython
from micropython import const

from rack.base.viper import ptr8

_RING = const(1024)
_BURST = const(12)      # bytes a call: about 1 ms on RP2040


@micropython.viper
def _store(ring, at: int, data, count: int):
    """Copy count bytes into the ring, starting at position `at`."""
    target = ptr8(ring)
    source = ptr8(data)
    index = 0
    while index < count:
        if at == _RING:
            at = 0
        target[at] = source[index]
        at += 1
        index += 1


class Terminal:
    """Ring-buffered output over a byte port; subclasses read and send the bytes."""

    def __init__(self):
        self._ring = bytearray(_RING)
        self._head = 0          # next byte to send
        self.waiting = 0        # bytes in the ring
        self.dropped = 0        # bytes without room in the ring

    def read(self):
        """The next received byte, or -1. Does not wait."""
        raise NotImplementedError

    def _send(self, byte):
        """Send one byte if the port takes it now; False if not."""
        raise NotImplementedError

    def room(self):
        """Free bytes of the output ring."""
        return _RING - self.waiting

    def write(self, text):
        """Queue ASCII text; characters without room are dropped and counted."""
        data = bytes(text, "ascii")
        count = len(data)
        if count > _RING - self.waiting:
            self.dropped += count - (_RING - self.waiting)
            count = _RING - self.waiting
        _store(self._ring, (self._head + self.waiting) % _RING, data, count)
        self.waiting += count

    def drain(self):
        """Send up to _BURST queued bytes while the port takes them; True when a byte was sent. Idle time only."""
        before = self.waiting
        for _ in range(_BURST):
            if not self.waiting or not self._send(self._ring[self._head]):
                break
            self._head = (self._head + 1) % _RING
            self.waiting -= 1
        return self.waiting != before


class Stdio(Terminal):
    """The terminal on standard input and output."""

    def __init__(self):
        super().__init__()
        self._read_into = sys.stdin.buffer.readinto     # type: ignore[union-attr]  # sys takes no stub
        self._out = sys.stdout.buffer
        self._poll_in = select.poll()
        self._poll_in.register(sys.stdin, select.POLLIN)
        self._poll_out = select.poll()
        self._poll_out.register(sys.stdout, select.POLLOUT)
        self._one = bytearray(1)
        self.has_come()         # the first call allocates the iterator that the others use again

    def has_come(self):
        """True when a byte waits to be read. Does not allocate."""
        for _ in self._poll_in.ipoll(0):        # poll() would allocate a list each time
            return True
        return False

    def read(self):
        return self._one[0] if self.has_come() and self._read_into(self._one) else -1

    def _send(self, byte):
        for _ in self._poll_out.ipoll(0):
            self._one[0] = byte
            self._out.write(self._one)
            return True
        return False
