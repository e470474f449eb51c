"""The application on the MicroPython unix port: every chip call goes over a pair of pipes to the simulated rack.

For tests of the whole application on the real interpreter without an emulated chip. Time is simulated:
it passes only in idle() and sleep(), so a run gives the same bytes whatever the machine's load. The other end is
halite.hosts.unix_port. Messages, little-endian: one byte that says what, then fixed fields; see `_ops` there.
"""

import struct
from array import array

from micropython import const

from rack.generated import pcs_link_state as L
from rack.hal import chip_rp2040 as chip
from rack.hal.scratch import Scratch

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)
_IDLE_STEP_us = const(500)


class _Pipe:
    """Requests are queued until an answer is wanted."""

    def __init__(self, to_host, from_host):
        self._to_host = open(to_host, "wb")  # noqa: SIM115
        self._from_host = open(from_host, "rb")  # noqa: SIM115
        self._queue = bytearray()

    def tell(self, what, data=b""):
        self._queue.append(what)
        self._queue.extend(data)

    def ask(self, what, data, count):
        """Send and wait for count bytes of answer; EOFError when the other end is gone."""
        self.tell(what, data)
        self._to_host.write(self._queue)
        self._queue = bytearray()
        return self.more(count)

    def more(self, count):
        answer = b""
        while len(answer) < count:
            part = self._from_host.read(count - len(answer))
            if not part:
                raise EOFError
            answer += part
        return answer


class _AfeUart:
    def __init__(self, pipe):
        self._pipe = pipe

    def write(self, frame):
        self._pipe.tell(2, struct.pack("<H", len(frame)) + bytes(frame))

    def any(self):
        return struct.unpack("<H", self._pipe.ask(3, b"", 2))[0]

    def readinto(self, target, count):
        target[:count] = self._pipe.ask(4, struct.pack("<H", count), count)

    def pulse_low(self, us):
        self._pipe.tell(5, struct.pack("<H", us))


class _AfeSpi:
    """The members of rack.hal.rp2_afe_spi.AfeSpi; a transfer takes no simulated time."""

    def __init__(self, pipe):
        self._pipe = pipe

    def transfer(self, tx, rx, count):
        rx[:count] = self._pipe.ask(21, struct.pack("<H", count) + bytes(tx[:count]), count)

    begin = transfer

    def done(self):
        return 1


class _CanSpi:
    def __init__(self, pipe):
        self._pipe = pipe

    def transfer(self, tx, rx, count):
        rx[:count] = self._pipe.ask(6, bytes((count,)) + bytes(tx[:count]), count)

    def send_fast(self, frame):
        if self._pipe.ask(6, b"\x02\xa0\x00", 2)[1] & 4:
            return 0
        self._pipe.tell(6, b"\x0e" + bytes(frame[:14]))
        self._pipe.ask(6, b"\x01\x81", 14 + 1)    # the answers of both transfers
        return 1


class _I2c:
    def __init__(self, pipe):
        self._pipe = pipe

    def readfrom_mem_into(self, address, register, target, *, addrsize=8):
        answer = self._pipe.ask(7, struct.pack("<BHBB", address, register, addrsize, len(target)), 1 + len(target))
        if not answer[0]:
            raise OSError(5)
        target[:] = answer[1:]

    def writeto_mem(self, address, register, data, *, addrsize=8):
        head = struct.pack("<BHBB", address, register, addrsize, len(data))
        if not self._pipe.ask(8, head + bytes(data), 1)[0]:
            raise OSError(5)


class _Rs485:
    """The members of rack.hal.rp2_rs485.Rs485."""

    def __init__(self, pipe):
        self._pipe = pipe

    def received(self):
        return struct.unpack("<I", self._pipe.ask(16, b"", 4))[0]

    def take(self, frame, count):
        if not 0 < count <= 256:
            count = 256
        frame[:count] = self._pipe.ask(17, struct.pack("<H", count), count)
        return count

    def send(self, frame, length):
        self._pipe.tell(18, struct.pack("<H", length) + bytes(frame[:length]))

    def sending(self):
        return self._pipe.ask(19, b"", 1)[0]

    def echoed(self):
        return 0

    def stop(self, now_us):
        self._pipe.tell(20)


class _FastPath:
    """The plain form of rack.hal.rp2_fast_path, with the same order and counters."""

    def __init__(self, response, link, recorder):
        self._response = response
        self._link = link
        self._recorder = recorder
        self.started = False

    def start(self):
        self.started = True

    def send(self):
        self._link.send_request(self._response.request_W)

    def edge(self, count, phase):
        try:
            self._link.send_request(self._response.on_period(count, phase))
            self._recorder.on_period()
        except EOFError:
            raise
        except Exception:
            self._link.state[L.FAULTS] += 1


class Port:
    """The same members as rack.hal.rp2_board.Port. to_host, from_host: paths of two pipes, opened in this order."""

    ADC_COOLANT = 0
    ADC_GAS = 1

    def __init__(self, to_host, from_host, start_us=0):
        self._pipe = _Pipe(to_host, from_host)
        self._now_us = start_us
        self._start_us = start_us
        self._fast = None
        self._coil_bits = 0
        self.afe_uart = _AfeUart(self._pipe)
        self.afe_spi = _AfeSpi(self._pipe)
        self.can_spi = _CanSpi(self._pipe)
        self.i2c = _I2c(self._pipe)
        self.rs485 = _Rs485(self._pipe)
        self.scratch = Scratch({chip.SCRATCH_MODE: 0, chip.SCRATCH_TASK: 0, chip.SCRATCH_REASON: 0})
        self.task_register = array("i", [0])

    def ticks_us(self):
        return self._now_us & _MASK

    def ticks_ms(self):
        return self._now_us // 1000 & _MASK

    def idle(self):
        self._pass(1)

    def _pass(self, steps):
        """Let simulated time pass, up to the step with a zero crossing; those take the fast path, one after another.

        Returns the steps that are left.
        """
        request = struct.pack("<QHI", self._now_us - self._start_us, _IDLE_STEP_us, steps)
        made, edges = struct.unpack("<IB", self._pipe.ask(1, request, 5))
        self._now_us += made * _IDLE_STEP_us
        for _ in range(edges):
            count, phase = struct.unpack("<iB", self._pipe.more(5))
            if self._fast and self._fast.started:
                self._fast.edge(count, phase)
        return steps - made

    def sleep(self, due_us):
        """Idle at least once, and until due_us."""
        ahead_us = (due_us - self._now_us - 1) & _MASK
        steps = ahead_us // _IDLE_STEP_us + 1 if ahead_us < _HALF else 1
        while steps:
            steps = self._pass(steps)

    def lock_heap(self):
        """Nothing: the pipe to the host allocates, so the loop cannot be locked on this port."""

    def unlock_heap(self):
        pass

    def fast_path(self, response, link, recorder):
        self._fast = _FastPath(response, link, recorder)
        return self._fast

    def read_inputs(self):
        return self._pipe.ask(9, b"", 1)[0]

    def write_coils(self, coil_bits):
        if coil_bits and not self._coil_bits:
            self.arm_enable()
        self._coil_bits = coil_bits
        self._pipe.tell(10, bytes((coil_bits,)))

    def write_cooling(self, fan_pct, pump_pct, heater):
        self._pipe.tell(11, bytes((fan_pct, pump_pct, heater)))

    def adc_ratio(self, channel):
        return struct.unpack("<H", self._pipe.ask(12, bytes((channel,)), 2))[0]

    def adc_mV(self, channel):
        return self.adc_ratio(channel) * 3300 >> 15

    def board_ddegC(self):
        return struct.unpack("<h", self._pipe.ask(13, b"", 2))[0]

    def arm_enable(self):
        self._pipe.tell(14, b"\x01")

    def disarm_enable(self):
        self._pipe.tell(14, b"\x00")

    def feed(self):
        return self._pipe.ask(15, b"", 1)[0] == 1

    def feed_wdt(self):
        pass

    def arm_wdt(self, ms):
        pass

    def reset_reason(self):
        return self.scratch.reset_reason(False)

    def reset_to_maintenance(self):
        self.scratch.request_maintenance()
        raise SystemExit
