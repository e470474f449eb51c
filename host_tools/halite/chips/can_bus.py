"""A CAN bus in simulated time: arbitration, true frame lengths with stuff bits, acknowledge, and a way to cut it.

Nodes hand over frames with the time of the request; `run_to` lets the bus catch up. The owner asks
`next_event_us` when it wants to be woken for the next delivery.
"""

import functools
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Frame:
    """A classical CAN frame, 0..8 data bytes."""

    id: int
    data: bytes = b""
    extended: bool = False
    remote: bool = False


class Node(Protocol):
    """The members of a node that the bus uses."""

    def acknowledges(self) -> bool:
        """Whether it takes part in the bus now (right bit rate, not off, not listening only)."""

    def received(self, frame: Frame, at_us: float) -> None:
        """A frame of another node has ended."""

    def sent(self, frame: Frame, at_us: float) -> None:
        """Its own frame has ended, acknowledged."""

    def failed(self, frame: Frame, at_us: float, acknowledged: bool) -> bool:
        """Its own frame was destroyed (a bit error) or not acknowledged; True: try again."""


def _bits(value: int, width: int) -> list[int]:
    return [value >> n & 1 for n in range(width - 1, -1, -1)]


def _crc15(bits: list[int]) -> int:
    crc = 0
    for bit in bits:
        crc = crc << 1 ^ (0x4599 if crc >> 14 ^ bit else 0)
        crc &= 0x7FFF
    return crc


@functools.lru_cache(maxsize=256)  # a frame without an acknowledge is repeated thousands of times
def frame_bits(frame: Frame) -> int:
    """Length of the frame on the bus in bits, stuff bits and the 3 bits between frames included (ISO 11898-1)."""
    dlc = len(frame.data)
    if frame.extended:
        head = [0, *_bits(frame.id >> 18, 11), 1, 1, *_bits(frame.id & 0x3FFFF, 18), int(frame.remote), 0, 0]
    else:
        head = [0, *_bits(frame.id, 11), int(frame.remote), 0, 0]
    bits = head + _bits(dlc, 4) + [b for byte in (b"" if frame.remote else frame.data) for b in _bits(byte, 8)]
    bits += _bits(_crc15(bits), 15)
    stuffed, run, last = 0, 0, -1
    for bit in bits:
        run = run + 1 if bit == last else 1
        last = bit
        if run == 5:
            stuffed, last, run = stuffed + 1, 1 - bit, 1
    return len(bits) + stuffed + 1 + 2 + 7 + 3


KEPT = 200_000  # newest frames that are remembered: an emulated rack may run for days
_ERROR_BITS = 20  # a destroyed frame and its error frame: typical length, engineering judgement


class CanBus:
    """The wire. log holds (end time µs, frame) of the newest frames that were acknowledged."""

    def __init__(self, bit_rate: int = 500_000) -> None:
        self.bit_rate = bit_rate
        self.nodes: list[Node] = []
        self.log: deque[tuple[float, Frame]] = deque(maxlen=KEPT)
        self.shorted = False
        self.listeners: list[Callable[[Frame, float], None]] = []
        self._waiting: list[tuple[float, int, Node, Frame, int]] = []
        self._flying: tuple[float, Node, Frame, int] | None = None
        self._free_us = 0.0
        self._timers: list[tuple[float, int, float, Callable[[float], None]]] = []
        self._order = itertools.count()

    def send(self, node: Node, frame: Frame, at_us: float, rank: int = 0) -> None:
        """Ask for transmission from at_us on; while a frame waits or is on the wire it is not asked for twice.

        rank: of its frames that wait a node offers those of the highest rank only.
        """
        flying = self._flying is not None and self._flying[1] is node and self._flying[2] is frame
        if flying or any(w[2] is node and w[3] is frame for w in self._waiting):
            return
        self._waiting.append((at_us, next(self._order), node, frame, rank))

    def withdraw(self, node: Node, frame: Frame) -> bool:
        """Take back a waiting frame; False when it is on the wire or gone."""
        before = len(self._waiting)
        self._waiting = [w for w in self._waiting if not (w[2] is node and w[3] is frame)]
        return len(self._waiting) != before

    def every(self, period_us: float, call: Callable[[float], None], first_us: float = 0.0) -> None:
        """Call `call(at_us)` each period while the bus runs: for nodes that send by themselves."""
        heapq.heappush(self._timers, (first_us, next(self._order), period_us, call))

    def at(self, at_us: float, call: Callable[[float], None]) -> None:
        """Call `call(at_us)` once."""
        heapq.heappush(self._timers, (at_us, next(self._order), 0.0, call))

    def bit_us(self) -> float:
        return 1e6 / self.bit_rate

    @property
    def pending(self) -> int:
        """Frames that wait for the bus, and the one on it."""
        return len(self._waiting) + (self._flying is not None)

    def next_event_us(self) -> float:
        """Time of the next event for `run_to`; inf without one."""
        timer = self._timers[0][0] if self._timers else math.inf
        return min(timer, self._wire_event_us())

    def _wire_event_us(self) -> float:
        if self._flying is not None:
            return self._flying[0]
        return max(self._free_us, min((w[0] for w in self._waiting), default=math.inf))

    def run_to(self, now_us: float) -> None:
        """Do everything that happens up to now_us."""
        while (at_us := self.next_event_us()) <= now_us:
            if self._timers and self._timers[0][0] == at_us:
                due, order, period_us, call = heapq.heappop(self._timers)
                if period_us:
                    heapq.heappush(self._timers, (due + period_us, order, period_us, call))
                call(due)
            elif self._flying is not None:
                self._land(at_us)
            else:
                self._take_off(at_us)

    def _take_off(self, at_us: float) -> None:
        """Arbitration: of the frames that the nodes offer, the lowest identifier wins."""
        ready = [w for w in self._waiting if w[0] <= at_us]
        offered = [w for w in ready if w[4] == max(other[4] for other in ready if other[2] is w[2])]
        chosen = min(offered, key=lambda w: (w[3].id << (0 if w[3].extended else 18), w[1]))
        self._waiting.remove(chosen)
        _, _, node, frame, rank = chosen
        bits = _ERROR_BITS if self.shorted or not node.acknowledges() else frame_bits(frame)
        self._flying = (at_us + bits * self.bit_us(), node, frame, rank)

    def _land(self, at_us: float) -> None:
        assert self._flying is not None
        _, node, frame, rank = self._flying
        self._flying, self._free_us = None, at_us
        broken = self.shorted or not node.acknowledges()
        others = [other for other in self.nodes if other is not node and other.acknowledges()]
        if broken or not others:
            if node.failed(frame, at_us, acknowledged=not broken):
                self.send(node, frame, at_us, rank)
            return
        # End of frame comes before the three bits between frames.
        end_us = at_us - 3 * self.bit_us()
        self.log.append((end_us, frame))
        node.sent(frame, end_us)
        for other in others:
            other.received(frame, end_us)
        for listener in self.listeners:
            listener(frame, end_us)
