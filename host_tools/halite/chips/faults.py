"""Faults on a wire, seeded: the effect of a noisy, loose or shorted connection on bytes and chips.

One `WireFaults` per chip. The chip models ask it about every byte in each direction, so the same fault
list works on UART, SPI and I²C.
"""

import random
from dataclasses import dataclass, field


@dataclass
class WireFaults:
    """Fault rates per byte (0..1) and standing faults. All off by default.

    flip: one bit of a byte turns over.

    lose: a byte vanishes; on a clocked bus it reads 0xFF.

    duplicate: a byte comes twice; on a clocked bus it replaces the next one.

    late_us: extra delay of every answer, 0..late_us; on a clocked bus every byte comes one place late.

    truncate: rate of losing the tail, per answer; on a clocked bus per byte.

    stuck: the line always reads this level. missing: the chip is not there.

    reset_after: the chip resets after this number of bytes of the next transfer.
    """

    seed: int = 1
    flip: float = 0.0
    lose: float = 0.0
    duplicate: float = 0.0
    truncate: float = 0.0
    late_us: float = 0.0
    stuck: int | None = None
    missing: bool = False
    reset_after: int | None = None
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._before = [0xFF, 0xFF]  # the last byte of each direction of a clocked bus
        self._cut = False

    @property
    def quiet(self) -> bool:
        """No fault is set: models take the short way."""
        return not (
            self.flip
            or self.lose
            or self.duplicate
            or self.truncate
            or self.late_us
            or self.missing
            or self.stuck is not None
            or self.reset_after is not None
        )

    def _strikes(self, rate: float) -> bool:
        hit = bool(rate) and self._random.random() < rate
        self.hits += hit
        return hit

    def stuck_byte(self) -> int:
        """The byte that a receiver reads from the stuck line."""
        return 0xFF if self.stuck else 0x00

    def begins(self) -> None:
        """A transfer on a clocked bus begins."""
        self._before = [0xFF, 0xFF]
        self._cut = False

    def clocked(self, byte: int, answer: bool = False) -> int:
        """One byte on a clocked bus (SPI, I²C), in the direction of the answer or in the other."""
        if self.stuck is not None:
            return self.stuck_byte()
        if self.quiet:
            return byte
        before, self._before[answer] = self._before[answer], byte
        self._cut = self._cut or self._strikes(self.truncate)
        if self._cut or self.missing or self._strikes(self.lose):
            return 0xFF
        if self.late_us or self._strikes(self.duplicate):
            byte = before
        return byte ^ 1 << self._random.randrange(8) if self._strikes(self.flip) else byte

    def received(self, byte: int) -> bytes:
        """One UART byte as it arrives at the chip: 0, 1 or 2 bytes."""
        if self.quiet:
            return bytes((byte,))
        if self.missing or self.stuck is not None or self._strikes(self.lose):
            return b""
        if self._strikes(self.flip):
            byte ^= 1 << self._random.randrange(8)
        return bytes((byte, byte)) if self._strikes(self.duplicate) else bytes((byte,))

    def answered(self, answer: bytes) -> bytes:
        """A whole UART answer as it arrives at the controller."""
        if self.quiet:
            return answer
        if self._strikes(self.truncate):
            answer = answer[: self._random.randrange(len(answer))]
        return b"".join(self.received(byte) for byte in answer)

    def delay_us(self) -> float:
        """Extra delay of this answer."""
        return self._random.uniform(0, self.late_us) if self.late_us else 0.0

    def resets_now(self) -> bool:
        """Count a byte of a transfer; True once when the chip is to reset in its middle."""
        if self.reset_after is None:
            return False
        self.reset_after -= 1
        if self.reset_after >= 0:
            return False
        self.reset_after = None
        self.hits += 1
        return True
