"""Bus objects that join the firmware's drivers to the chip models under CPython, in one simulated time."""

from collections import deque
from types import SimpleNamespace

from rack.base.clock import TICKS_MASK


class TimeIsUp(Exception):
    """Ends `Scheduler.run`, which has no other end."""


def settled_response():
    """Return the part of a controller that the planning of collections reads, with the mains present."""
    return SimpleNamespace(response=SimpleNamespace(doubtful=False))


class Clock:
    """Simulated µs. `ticks` is the clock of the board, which wraps at 2**30."""

    def __init__(self, start_us=0):
        self.now_us = start_us

    @property
    def ticks(self):
        return self.now_us & TICKS_MASK


class AfeUart:
    """UART at 1 Mbit/s between rack.drivers.bq79616 and the stack model, as slow as on the emulated board."""

    WRITE_US = 250  # time of the processor; measured 135 to 270
    FIFO_US = 130  # until the driver can see the first byte

    def __init__(self, stack, clock, buffer=1100):
        self.stack = stack
        self.clock = clock
        self.buffer = buffer
        self.arriving = deque()
        self.inject = lambda data: data
        stack.transmit = self._answer

    def _answer(self, data, at_us):
        for index, byte in enumerate(self.inject(bytes(data))):
            self.arriving.append((at_us + self.FIFO_US + 10 * (index + 1), byte))

    def noise(self, data):
        self._answer(data, self.clock.now_us)

    def write(self, frame):
        for index, byte in enumerate(bytes(frame)):
            self.stack.receive(byte, self.clock.now_us + 10 * (index + 1))
        self.clock.now_us += self.WRITE_US

    def any(self):
        waiting = sum(1 for at_us, _ in self.arriving if at_us <= self.clock.now_us)
        return min(waiting, self.buffer)

    def readinto(self, target, count):
        assert count <= self.any(), "a read that would block"
        for index in range(count):
            target[index] = self.arriving.popleft()[1]
        return count

    def pulse_low(self, us):
        self.stack.wake(us, self.clock.now_us + us)


class CanSpi:
    """SPI between rack.drivers.mcp2515 and the controller model; a byte takes 0.8 µs."""

    def __init__(self, chip, clock, bus=None):
        self.chip = chip
        self.clock = clock
        self.bus = bus
        self.transfers = 0

    def transfer(self, tx, rx, count):
        assert 1 <= count <= 16
        self.transfers += 1
        if self.bus is not None:
            self.bus.run_to(self.clock.now_us)
        self.chip.select(self.clock.now_us)
        for index in range(count):
            rx[index] = self.chip.exchange(tx[index], self.clock.now_us)
        self.chip.deselect(self.clock.now_us)

    def send_fast(self, frame):
        back = bytearray(16)
        self.transfer(b"\xa0\x00", back, 2)
        if back[1] & 4:
            return 0
        self.transfer(frame, back, 14)
        self.transfer(b"\x81", back, 1)
        return 1


class I2c:
    """The part of machine.I2C that the drivers use."""

    def __init__(self, *chips):
        self.chips = {chip.address: chip for chip in chips}

    def _start(self, address, read):
        chip = self.chips.get(address)
        if chip is None or not chip.start(read):
            raise OSError(5)
        return chip

    def _send(self, chip, register, addrsize):
        for shift in range(addrsize - 8, -1, -8):
            if not chip.write(register >> shift & 0xFF):
                chip.stop()
                raise OSError(5)

    def readfrom_mem_into(self, address, register, target, *, addrsize=8):
        chip = self._start(address, False)
        self._send(chip, register, addrsize)
        self._start(address, True)
        for index in range(len(target)):
            target[index] = chip.read()
        chip.stop()

    def writeto_mem(self, address, register, data, *, addrsize=8):
        chip = self._start(address, False)
        self._send(chip, register, addrsize)
        for byte in data:
            if not chip.write(byte):
                chip.stop()
                raise OSError(5)
        chip.stop()
