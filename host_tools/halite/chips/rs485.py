"""An RS-485 line in simulated time, with the members that rack.comms.modbus_slave wants of a port's line.

For CPython and the unix port; the emulated board has its own pins (halite.emulator.rs485_line).
"""

from collections.abc import Callable

CHARACTER_bits = 11  # start, eight data bits, parity or a second stop bit, stop
_LONGEST, _SHORTEST = 256, 5


class SlaveLine:
    """One slave on a line. now_us: the clock. `put` sends bytes from the far end; `sent` holds the slave's answers.

    sent: (time of the first start bit in us, bytes). echo: True when the slave's receiver stays on while it sends.
    """

    def __init__(self, baud: int, now_us: Callable[[], float], echo: bool = False) -> None:
        self._character_us = CHARACTER_bits * 1e6 / baud
        self._now_us = now_us
        self._echo = echo
        self._arriving: list[tuple[float, int]] = []  # end of the character, byte
        self._free_us = 0.0
        self._until_us = -1.0
        self.sent: list[tuple[float, bytes]] = []
        self.stuck = False  # a driver that does not end by itself
        self.stops = 0

    def put(self, data: bytes, at_us: float | None = None) -> float:
        """The far end begins to send at at_us, or as soon as it is ready; returns when its last stop bit ends."""
        end_us = max(self._now_us() if at_us is None else at_us, self._free_us)
        for byte in data:
            end_us += self._character_us
            self._arriving.append((end_us, byte))
        self._free_us = end_us
        return end_us

    def ended_us(self) -> float:
        """When the last answer's last stop bit ends."""
        return self._until_us

    def received(self) -> int:
        now_us = self._now_us()
        return sum(at_us <= now_us for at_us, _ in self._arriving)

    def take(self, frame: bytearray, count: int) -> int:
        if not 0 < count <= _LONGEST:
            count = _LONGEST
        got = self.received()
        here = bytes(byte for _, byte in self._arriving[:got])[-count:].rjust(count, b"\0")
        frame[:count] = here
        return count

    def send(self, frame: bytes | bytearray, length: int) -> None:
        now_us = self._now_us()
        self._until_us = now_us + length * self._character_us
        self.sent.append((now_us, bytes(frame[:length])))
        if self._echo:
            self.put(bytes(frame[:length]), now_us)

    def sending(self) -> int:
        return int(self.stuck or self._now_us() < self._until_us)

    def echoed(self) -> int:
        """As on the board, where answers of five bytes are too short to be told."""
        return int(self._echo and len(self.sent[-1][1]) > _SHORTEST)

    def stop(self, now_us: int) -> None:
        self.stuck = False
        self.stops += 1
        self._until_us = self._now_us()
