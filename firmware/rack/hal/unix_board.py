"""The board on the MicroPython unix port: every chip call goes over a pair of pipes to the simulated rack.

For tests of the whole application on the real interpreter without an emulated chip. Simulated time passes only in
idle() and sleep(), so a run gives the same bytes at any load of the machine. The other end is
halite.hosts.unix_port; rack.hal.unix_ops describes the messages.
"""

import struct
from array import array

from micropython import const

from rack.generated import pcs_link_state as L
from rack.base.clock import TICKS_HALF, TICKS_MASK
from rack.hal import chip_rp2040 as chip
from rack.hal import unix_ops as op
from rack.hal.scratch import Scratch

_IDLE_STEP_us = const(500)


class _Pipe:
    """Messages wait in a queue until one of them needs an answer."""

    def __init__(self, to_host, from_host):
        self._to_host = open(to_host, "wb")  # noqa: SIM115 - open until the process ends
        self._from_host = open(from_host, "rb")  # noqa: SIM115 - open until the process ends
        self._waiting = bytearray()

    def queue(self, what, data=b""):
        """A message without an answer; `what` is OP_*."""
        self._waiting.append(what)
        self._waiting.extend(data)

    def ask(self, what, data, count):
        """Send all messages and wait for count bytes of answer; EOFError when the other end is gone."""
        self.queue(what, data)
        self._to_host.write(self._waiting)
        self._waiting = bytearray()
        return self.more(count)

    def more(self, count):
        """The next count bytes of an answer."""
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
        self._pipe.queue(op.OP_UART_WRITE, struct.pack("<H", len(frame)) + bytes(frame))

    def any(self):
        return struct.unpack("<H", self._pipe.ask(op.OP_UART_ANY, b"", 2))[0]

    def readinto(self, target, count):
        target[:count] = self._pipe.ask(op.OP_UART_READ, struct.pack("<H", count), count)

    def pulse_low(self, us):
        self._pipe.queue(op.OP_UART_PULSE, struct.pack("<H", us))


class _AfeSpi:
    """The members of rack.hal.rp2_afe_spi.AfeSpi; a transfer takes no simulated time."""

    def __init__(self, pipe):
        self._pipe = pipe

    def transfer(self, tx, rx, count):
        rx[:count] = self._pipe.ask(op.OP_AFE_SPI, struct.pack("<H", count) + bytes(tx[:count]), count)

    begin = transfer

    def done(self):
        return 1


class _CanSpi:
    def __init__(self, pipe):
        self._pipe = pipe

    def transfer(self, tx, rx, count):
        rx[:count] = self._pipe.ask(op.OP_SPI, bytes((count,)) + bytes(tx[:count]), count)

    def send_fast(self, frame):
        if self._pipe.ask(op.OP_SPI, b"\x02\xa0\x00", 2)[1] & 4:
            return 0
        self._pipe.queue(op.OP_SPI, b"\x0e" + bytes(frame[:14]))
        self._pipe.ask(op.OP_SPI, b"\x01\x81", 14 + 1)    # the answers of both transfers
        return 1


class _I2c:
    def __init__(self, pipe):
        self._pipe = pipe

    def readfrom_mem_into(self, address, register, target, *, addrsize=8):
        head = struct.pack("<BHBB", address, register, addrsize, len(target))
        answer = self._pipe.ask(op.OP_I2C_READ, head, 1 + len(target))
        if not answer[0]:
            raise OSError(5)
        target[:] = answer[1:]

    def writeto_mem(self, address, register, data, *, addrsize=8):
        head = struct.pack("<BHBB", address, register, addrsize, len(data))
        if not self._pipe.ask(op.OP_I2C_WRITE, head + bytes(data), 1)[0]:
            raise OSError(5)


class _Rs485:
    """The members of rack.hal.rp2_rs485.Rs485."""

    def __init__(self, pipe):
        self._pipe = pipe

    def received(self):
        return struct.unpack("<I", self._pipe.ask(op.OP_LINE_RECEIVED, b"", 4))[0]

    def take(self, frame, count):
        if not 0 < count <= 256:
            count = 256
        frame[:count] = self._pipe.ask(op.OP_LINE_TAKE, struct.pack("<H", count), count)
        return count

    def send(self, frame, length):
        self._pipe.queue(op.OP_LINE_SEND, struct.pack("<H", length) + bytes(frame[:length]))

    def sending(self):
        return self._pipe.ask(op.OP_LINE_SENDING, b"", 1)[0]

    def echoed(self):
        return 0

    def stop(self, now_us):
        self._pipe.queue(op.OP_LINE_STOP)


class _FastPath:
    """rack.hal.rp2_fast_path in plain Python, with the same order and counters."""

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


class UnixBoard:
    """A board with the members of rack/hal/README.md. to_host, from_host: paths of two pipes, opened in this order.

    now_us: the simulated time, a number without wrap; start_us: its first value.
    """

    ADC_COOLANT = 0
    ADC_GAS = 1

    def __init__(self, to_host, from_host, start_us=0):
        self._pipe = _Pipe(to_host, from_host)
        self.now_us = start_us
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
        return self.now_us & TICKS_MASK

    def ticks_ms(self):
        return self.now_us // 1000 & TICKS_MASK

    def idle(self):
        self._pass(1)

    def _pass(self, steps):
        """Advance simulated time by `steps` steps, or up to the first step with a zero crossing.

        Each crossing runs the fast path. Returns the number of steps that are left.
        """
        request = struct.pack("<QHI", self.now_us - self._start_us, _IDLE_STEP_us, steps)
        made, edges = struct.unpack("<IB", self._pipe.ask(op.OP_WAIT, request, 5))
        self.now_us += made * _IDLE_STEP_us
        for _ in range(edges):
            count, phase = struct.unpack("<iB", self._pipe.more(5))
            if self._fast and self._fast.started:
                self._fast.edge(count, phase)
        return steps - made

    def sleep(self, due_us):
        """Idle at least once, and until due_us of the clock of ticks_us."""
        ahead_us = (due_us - self.now_us - 1) & TICKS_MASK
        steps = ahead_us // _IDLE_STEP_us + 1 if ahead_us < TICKS_HALF else 1
        while steps:
            steps = self._pass(steps)

    def lock_heap(self):
        """No effect: the pipe to the host allocates, so the loop cannot be locked on this port."""

    def unlock_heap(self):
        pass

    def fast_path(self, response, link, recorder):
        self._fast = _FastPath(response, link, recorder)
        return self._fast

    def read_inputs(self):
        return self._pipe.ask(op.OP_INPUTS, b"", 1)[0]

    def write_coils(self, coil_bits):
        if coil_bits and not self._coil_bits:
            self.arm_enable()
        self._coil_bits = coil_bits
        self._pipe.queue(op.OP_COILS, bytes((coil_bits,)))

    def write_cooling(self, fan_pct, pump_pct, heater):
        self._pipe.queue(op.OP_COOLING, bytes((fan_pct, pump_pct, heater)))

    def adc_ratio(self, channel):
        return struct.unpack("<H", self._pipe.ask(op.OP_ADC, bytes((channel,)), 2))[0]

    def adc_mV(self, channel):
        return self.adc_ratio(channel) * 3300 >> 15

    def board_ddegC(self):
        return struct.unpack("<h", self._pipe.ask(op.OP_BOARD_TEMPERATURE, b"", 2))[0]

    def arm_enable(self):
        self._pipe.queue(op.OP_ENABLE, b"\x01")

    def disarm_enable(self):
        self._pipe.queue(op.OP_ENABLE, b"\x00")

    def feed(self):
        return self._pipe.ask(op.OP_FEED, b"", 1)[0] == 1

    def feed_wdt(self):
        pass

    def arm_wdt(self, ms):
        pass

    def commissioned(self):
        """False: a simulated board is new."""
        return False

    def reset_reason(self):
        return self.scratch.reset_reason(False)

    def reset_to_maintenance(self):
        self.scratch.request_maintenance()
        raise SystemExit
