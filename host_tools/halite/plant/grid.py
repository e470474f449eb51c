"""Grid frequency as a function of time, with the phase integrated exactly.

The controller measures the time between zero crossings, so the error of a simulated crossing must stay below one timer
tick (16 ns). The phase is therefore a closed formula of time, and each crossing is its solution; no stepping is used.
"""

import math
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from halite.common import jit

_JITTER_LENGTH = 4096
_US = 1e-6
_SAME_US = 0.01  # a crossing this close to `after_us` is the one that the caller already has


# Rows of four numbers in flat arrays. A segment, from START on: frequency HZ + SLOPE * t with t in seconds since START;
# CYCLES: the phase at START. A sine is an oscillation of the frequency from START to STOP.
_Rows: TypeAlias = "array[float]"
_ROW = 4
_HZ, _SLOPE, _CYCLES = 1, 2, 3
_AMPLITUDE, _RATE, _STOP = 1, 2, 3


@jit.part
def _segment_at(segments: _Rows, us: float) -> int:
    """Place of the last segment that starts at or before `us`; of the first one before that."""
    low, high = 0, len(segments) // _ROW
    while high - low > 1:
        middle = (low + high) // 2
        if segments[_ROW * middle] <= us:
            low = middle
        else:
            high = middle
    return _ROW * low


@jit.part
def _hz_at(segments: _Rows, sines: _Rows, us: float) -> float:
    at = _segment_at(segments, us)
    hz = segments[at + _HZ] + segments[at + _SLOPE] * (us - segments[at]) * _US
    for sine in range(0, len(sines), _ROW):
        if sines[sine] <= us < sines[sine + _STOP]:
            turn = 2 * math.pi * sines[sine + _RATE]
            hz += sines[sine + _AMPLITUDE] * math.sin(turn * (us - sines[sine]) * _US)
    return hz


@jit.part
def _segment_cycles(segments: _Rows, at: int, us: float) -> float:
    t = (us - segments[at]) * _US
    return segments[at + _CYCLES] + segments[at + _HZ] * t + 0.5 * segments[at + _SLOPE] * t * t


@jit.kernel
def _cycles_at(segments: _Rows, sines: _Rows, us: float) -> float:
    cycles = _segment_cycles(segments, _segment_at(segments, us), us)
    for sine in range(0, len(sines), _ROW):
        t = (min(us, sines[sine + _STOP]) - sines[sine]) * _US
        if t > 0:
            turn = 2 * math.pi * sines[sine + _RATE]
            cycles += sines[sine + _AMPLITUDE] / turn * (1 - math.cos(turn * t))
    return cycles


@jit.kernel
def _time_of(segments: _Rows, sines: _Rows, cycles: float, guess_us: float) -> float:
    """Solve the phase for its time in µs; the frequency is positive, so Newton's iteration is monotone."""
    us = guess_us
    for _ in range(50):
        step = (_cycles_at(segments, sines, us) - cycles) / _hz_at(segments, sines, us) / _US
        us -= step
        if abs(step) < 1e-4:
            break
    return us


@dataclass
class _Loss:
    """A time without crossings of `phase` (None: of all three), from start_us to stop_us."""

    start_us: float
    phase: int | None
    stop_us: float = math.inf

    def holds(self, us: float) -> bool:
        return self.start_us <= us < self.stop_us


class Grid:
    """Mains frequency and its zero crossings.

    nominal_hz: frequency at the start, 50 or 60. jitter_us: rms of the seeded edge jitter.
    Times are in µs since the start. Give each change before an edge after its start is taken: that edge would
    otherwise be wrong. The class does not check this.
    """

    def __init__(self, nominal_hz: float = 50.0, jitter_us: float = 0.0, seed: int = 1) -> None:
        self._segments = array("d", (0.0, nominal_hz, 0.0, 0.0))
        self._sines = array("d")
        self._lost: list[_Loss] = []
        self.nominal_hz = nominal_hz
        noise = np.random.default_rng(seed).normal(0.0, 1.0, _JITTER_LENGTH)
        self._jitter: list[float] = (jitter_us * np.clip(noise, -4, 4)).tolist()
        self._jitter_us = jitter_us

    # changes of the grid

    def set(self, hz: float, at_us: float) -> None:
        """Jump to `hz` at `at_us`."""
        self._add(at_us, hz, 0.0)

    def ramp(self, to_hz: float, rate_hz_per_s: float, at_us: float) -> None:
        """Move from the frequency at `at_us` to `to_hz` at `rate_hz_per_s` (the sign follows from `to_hz`)."""
        start = _hz_at(self._segments, array("d"), at_us)
        if start == to_hz:
            self._add(at_us, to_hz, 0.0)
            return
        seconds = abs(to_hz - start) / abs(rate_hz_per_s)
        self._add(at_us, start, (to_hz - start) / seconds)
        self._add(at_us + seconds / _US, to_hz, 0.0)

    def knots(self, points: list[tuple[float, float]], at_us: float) -> None:
        """Follow points (seconds after at_us, Hz): linear between them, constant after the last."""
        for (t0, hz0), (t1, hz1) in pairwise(points):
            self._add(at_us + t0 / _US, hz0, (hz1 - hz0) / (t1 - t0))
        last_s, last_hz = points[-1]
        self._add(at_us + last_s / _US, last_hz, 0.0)

    def sine(self, amplitude_hz: float, rate_hz: float, at_us: float, stop_us: float = math.inf) -> None:
        """Superpose an oscillation of the frequency from at_us to stop_us, with phase 0 at at_us."""
        self._sines.extend((at_us, amplitude_hz, rate_hz, stop_us))

    def lose(self, at_us: float, phase: int | None = None) -> None:
        """Stop the zero crossings of one phase (0, 1, 2), or of the whole mains, from at_us until `restore`."""
        self._lost.append(_Loss(at_us, phase))

    def restore(self, at_us: float, phase: int | None = None) -> None:
        """End the present loss of this phase, or of the whole mains, at `at_us`."""
        for loss in self._lost:
            if loss.phase == phase and loss.start_us <= at_us:
                loss.stop_us = min(loss.stop_us, at_us)

    def _add(self, at_us: float, hz: float, slope: float) -> None:
        """Begin a segment at `at_us`; it replaces later ones, and one that begins at this time."""
        segments = self._segments
        starts = segments[::_ROW]
        index = bisect_right(starts, at_us)
        if at_us == starts[index - 1]:
            index -= 1
        cycles = _segment_cycles(segments, _ROW * max(index - 1, 0), at_us) if index else 0.0
        self._segments = segments[: _ROW * index]
        self._segments.extend((at_us, hz, slope, cycles))

    # readings

    def hz_at(self, us: float) -> float:
        """Frequency in Hz at `us`."""
        return _hz_at(self._segments, self._sines, us)

    def cycles_at(self, us: float) -> float:
        """Phase in cycles since time zero."""
        return _cycles_at(self._segments, self._sines, us)

    def present(self, us: float) -> bool:
        """True unless the whole mains is lost at `us`; the loss of one phase does not count."""
        return not any(loss.holds(us) for loss in self._lost if loss.phase is None)

    def _loss(self, us: float, phase: int) -> "_Loss | None":
        """The longest loss that covers `us` for this phase; None without one."""
        if not self._lost:
            return None
        found = (loss for loss in self._lost if loss.phase in (None, phase) and loss.holds(us))
        return max(found, key=lambda loss: loss.stop_us, default=None)

    def _crossing(self, half_cycles: int, guess_us: float, phase: int) -> float:
        place = (half_cycles + phase * _JITTER_LENGTH // 3) % _JITTER_LENGTH
        jitter = self._jitter[place] if self._jitter_us else 0.0
        return _time_of(self._segments, self._sines, half_cycles / 2 + phase / 3, guess_us) + jitter

    def next_crossing(
        self, after_us: float, rising_only: bool = False, phase: int = 0
    ) -> tuple[float, int] | None:
        """The next zero crossing after `after_us`: (time in µs, level after it: 1 rising, 0 falling).

        phase: 0, 1 or 2, each a third of a cycle after the one before. None when the mains or the phase does not
        return. A loss suppresses its crossings.
        """
        behind = 2 * phase / 3
        # Jitter moves a crossing by far less than 0.05 half cycles, so no earlier crossing can be the answer.
        half = math.ceil(2 * self.cycles_at(after_us) - behind - 0.05)
        us = after_us
        while True:
            half += half % 2 if rising_only else 0
            us = self._crossing(half, us, phase)
            if us > after_us + _SAME_US:
                lost = self._loss(us, phase)
                if lost is None:
                    return us, (half + 1) % 2
                if math.isinf(lost.stop_us):
                    return None
                half = max(half, math.floor(2 * self.cycles_at(lost.stop_us) - behind - 1))
            half += 1

    def next_edge_us(self, after_us: float, phase: int = 0) -> float | None:
        """Time of the next rising zero crossing of a phase after `after_us`, or None without mains."""
        crossing = self.next_crossing(after_us, rising_only=True, phase=phase)
        return None if crossing is None else crossing[0]
