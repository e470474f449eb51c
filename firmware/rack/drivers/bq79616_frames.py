"""Frames of a BQ79616 stack on its UART: writes of every kind, and reads whose answers are checked.

A "side" is the part of the ring that the base device reaches in one direction. No call blocks: a read goes through
its phases over several calls. A silent stack and a damaged answer have different results: a broken link makes
silence, and so does a base device whose receiver has lost count. That base gets a communication clear at once.
"""

from micropython import const

from rack.base.clock import TICKS_MASK
from rack.drivers.bq79616_convert import count_good, make_writes
from rack.drivers.bq79616_registers import (
    BROADCAST_READ,
    BROADCAST_WRITE,
    REVERSE_WRITE,
    SINGLE_READ,
    SINGLE_WRITE,
    STACK_READ,
)
from rack.drivers.crc16 import TABLE, seal

# why a read has failed
READ_DAMAGED = const(1)              # length, address, register or CRC of a frame is wrong
READ_LATE = const(2)                 # the answer has begun and did not end in time
READ_SILENT = const(3)               # the answer has not begun in time

# the answer of one device so far
HEARD_PENDING = const(0)
HEARD_GOOD = const(1)
HEARD_NONE = const(2)                # no answer in time, or a damaged one

# phases of a read
_PHASE_ASK = const(0)
_PHASE_COLLECT = const(1)
_PHASE_CHECK = const(2)
_PHASE_USE = const(3)

_ANSWER_us = const(2000)             # margin beyond the bus time before an answer counts as late
# The first byte of an answer comes 0.4 ms after the poll that asked: 0.1 ms of request, 26 hops to the top and back.
_SILENT_us = const(1100)
_CLEAR_us = const(17)                # communication clear: 15..20 bit times low (SLUSE81)
_CLEARED_us = const(100)
_SMALL = const(200)                  # an answer of at most this many bytes is collected, checked and used in one call
_CHUNK = const(128)                  # bytes taken from the UART at a time
_CHUNKS_PER_POLL = const(3)
_FRAMES_PER_POLL = const(13)         # frames that are checked and converted in one call
_WRITES = const(8)                   # rx has room for at least this many broadcast writes


class StackLink:
    """The UART of one stack, and the number of devices that the base reaches in each direction.

    uart: see rack.drivers.bq79616. devices: 1..26. longest_answer: data bytes of the longest answer of one device.
    Counters: crc_errors, timeouts. pause_us: the next call has no work to do before this time has passed.
    on_failure(reason): called with READ_* when a read has failed; its owner sets it.
    """

    def __init__(self, uart, devices, longest_answer):
        self.crc_errors = 0
        self.timeouts = 0
        self.pause_us = 0
        self.on_failure = None
        self.since_us = 0              # start of the present wait or read
        self.wait_us = 0               # the next frame is not sent earlier than this after since_us
        self.phase = _PHASE_ASK
        self.side = 0                  # direction in use
        self.counts = bytearray(2)     # devices reached in each direction; the second count excludes the base
        self.positions = (bytes(range(devices)), bytes(devices - address for address in range(devices)))
        self.rx = bytearray(max(devices * (longest_answer + 6), 6 * _WRITES))
        self._uart = uart
        self._chunks = tuple(memoryview(self.rx)[at:at + _CHUNK] for at in range(0, len(self.rx), _CHUNK))
        self._taken = 0                # chunks of the present answer
        self._expected = 0             # bytes of the present answer
        self._broadcast_frame = bytearray(6)
        self._single_frame = bytearray(7)

    def pause(self, now_us, wait_us):
        """Send no frame before wait_us have passed."""
        self.since_us = now_us
        self.wait_us = wait_us

    def all_in_front(self):
        """After a wake: every device is expected in the forward direction."""
        self.counts[0] = len(self.positions[0])
        self.counts[1] = 0

    def wake(self, low_us):
        self._uart.pulse_low(low_us)

    # -- frames

    def _broadcast(self, kind, register, value):
        frame = self._broadcast_frame
        frame[0] = kind
        frame[1] = register >> 8
        frame[2] = register & 0xFF
        frame[3] = value
        seal(frame, 4)
        self._uart.write(frame)
        return True

    def _single(self, kind, device, register, value):
        frame = self._single_frame
        frame[0] = kind
        frame[1] = device
        frame[2] = register >> 8
        frame[3] = register & 0xFF
        frame[4] = value
        seal(frame, 5)
        self._uart.write(frame)
        return True

    def write_all(self, now_us, register, value):
        return self._broadcast(BROADCAST_WRITE, register, value)

    def write_reverse(self, now_us, register, value):
        return self._broadcast(REVERSE_WRITE, register, value)

    def write_base(self, now_us, register, value):
        return self._single(SINGLE_WRITE, 0, register, value)

    def write_device(self, device, register, value):
        return self._single(SINGLE_WRITE, device, register, value)

    def write_many(self, register, count, addresses):
        """Send broadcast writes in one go, see make_writes; allocates. The UART's own buffer takes 256 bytes."""
        self._uart.write(memoryview(self.rx)[:make_writes(self.rx, count, register, 0, addresses, TABLE)])
        return True

    def request_all(self, register):
        """Ask the whole stack for one byte. Only the delay lines need this read; the caller drops the answers."""
        self._broadcast(BROADCAST_READ, register, 0)

    def drained(self):
        """Throw away bytes that belong to no request, at most one buffer full; True when the line is empty."""
        waiting = self._uart.any()
        if waiting:
            self._uart.readinto(self.rx, min(waiting, len(self.rx)))
            return False
        return True

    # -- reads of a whole side

    def read(self, now_us, register, size):
        """Read `size` bytes of every device of the side, one phase a call.

        Returns True in the call in which all frames are in rx and good. A read that fails calls on_failure.
        """
        frames = self.counts[self.side]
        if self.phase == _PHASE_ASK:
            if self.drained():
                self._expected = frames * (size + 6)
                self._broadcast(STACK_READ if self.side else BROADCAST_READ, register, size - 1)
                self.since_us = now_us
                self.phase = _PHASE_COLLECT
                self._taken = 0
            return False
        if self.phase == _PHASE_COLLECT and (not self._collect(now_us, frames) or self._expected > _SMALL):
            return False
        if self.phase == _PHASE_CHECK:
            top = frames if self.side else frames - 1
            if count_good(self.rx, frames, top, size, register, TABLE) < frames:
                self.crc_errors += 1
                self._fail(READ_DAMAGED)
                return False
            self.phase = _PHASE_USE
            if frames > _FRAMES_PER_POLL:
                return False
        return True

    def _fail(self, reason):
        self.phase = _PHASE_ASK
        self.on_failure(reason)

    def _collect(self, now_us, frames):
        """Take the bytes that have arrived, a few chunks a call; True when the whole answer is in rx."""
        uart = self._uart
        taken = self._taken
        left = self._expected - taken * _CHUNK
        for _ in range(_CHUNKS_PER_POLL):
            size = left if left < _CHUNK else _CHUNK
            waiting = uart.any()
            if waiting < size:
                self._taken = taken
                self._look_at_clock(now_us, frames, left, waiting)
                return False
            uart.readinto(self._chunks[taken], size)
            taken += 1
            left -= size
            if not left:
                self.phase = _PHASE_CHECK
                return True
        self._taken = taken
        self._look_at_clock(now_us, frames, left, uart.any())
        return False

    def _look_at_clock(self, now_us, frames, left, waiting):
        """Fail a read whose answer has not begun, or not ended, in time.

        left: bytes that are not in rx yet. Otherwise the pause lasts until one call can take as many as it may.
        """
        missing = (left if left < _CHUNKS_PER_POLL * _CHUNK else _CHUNKS_PER_POLL * _CHUNK) - waiting
        if missing <= 0:
            return
        expected = self._expected
        passed_us = (now_us - self.since_us) & TICKS_MASK
        left_us = 10 * expected + 20 * frames + _ANSWER_us - passed_us
        if passed_us > _SILENT_us and not waiting and left == expected:     # also when this call itself is late
            self.timeouts += 1
            self._uart.pulse_low(_CLEAR_us)
            self.pause(now_us, _CLEARED_us)
            self._fail(READ_SILENT)
        elif left_us < 0:
            self.timeouts += 1
            self._fail(READ_LATE)
        else:
            self.pause_us = min(10 * missing, left_us + 1)

    # -- questions to one device

    def ask(self, now_us, device, register):
        """Ask one device for one byte, once the line is empty."""
        if self.drained():
            self._single(SINGLE_READ, device, register, 0)
            self.since_us = now_us
            self.phase = _PHASE_COLLECT

    def heard(self, now_us, device, register):
        """Return HEARD_*, the result of `ask` so far."""
        waiting = self._uart.any()
        if waiting < 7:
            if ((now_us - self.since_us) & TICKS_MASK) <= _SILENT_us:
                return HEARD_PENDING
            self.phase = _PHASE_ASK
            return HEARD_NONE
        self.phase = _PHASE_ASK
        self._uart.readinto(self.rx, 7)
        return HEARD_GOOD if count_good(self.rx, 1, device, 1, register, TABLE) == 1 else HEARD_NONE
