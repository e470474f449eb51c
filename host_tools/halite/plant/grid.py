"""Grid frequency as a function of time, with the phase integrated exactly.

The controller measures the time between zero crossings, so the error of a simulated crossing must stay below one timer
tick (16 ns). The phase is therefore a closed formula of time, and each crossing is its solution; no stepping is used.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_JITTER_LENGTH = 4096
_US = 1e-6
_SAME_US = 0.01  # a crossing this close to `after_us` is the one that the caller already has


@dataclass(frozen=True)
class _Segment:
    """Frequency `hz + slope * t` from start_us on, with t in seconds since then; cycles: the phase at start_us."""

    start_us: float
    hz: float
    slope_hz_per_s: float
    cycles: float

    def hz_at(self, us: float) -> float:
        return self.hz + self.slope_hz_per_s * (us - self.start_us) * _US

    def cycles_at(self, us: float) -> float:
        t = (us - self.start_us) * _US
        return self.cycles + self.hz * t + 0.5 * self.slope_hz_per_s * t * t


@dataclass(frozen=True)
class _Sine:
    """A superposed oscillation of the frequency, present from start_us to stop_us."""

    start_us: float
    amplitude_hz: float
    rate_hz: float
    stop_us: float = math.inf

    def hz_at(self, us: float) -> float:
        if not self.start_us <= us < self.stop_us:
            return 0.0
        return self.amplitude_hz * math.sin(2 * math.pi * self.rate_hz * (us - self.start_us) * _US)

    def cycles_at(self, us: float) -> float:
        t = (min(us, self.stop_us) - self.start_us) * _US
        if t <= 0:
            return 0.0
        turn = 2 * math.pi * self.rate_hz
        return self.amplitude_hz / turn * (1 - math.cos(turn * t))


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
        self._segments = [_Segment(0.0, nominal_hz, 0.0, 0.0)]
        self._starts = [0.0]
        self._sines: list[_Sine] = []
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
        start = self._segment(at_us).hz_at(at_us)
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
        self._sines.append(_Sine(at_us, amplitude_hz, rate_hz, stop_us))

    def lose(self, at_us: float, phase: int | None = None) -> None:
        """Stop the zero crossings of one phase (0, 1, 2), or of the whole mains, from at_us until `restore`."""
        self._lost.append(_Loss(at_us, phase))

    def restore(self, at_us: float, phase: int | None = None) -> None:
        """End the present loss of this phase, or of the whole mains, at `at_us`."""
        for loss in self._lost:
            if loss.phase == phase and loss.start_us <= at_us:
                loss.stop_us = min(loss.stop_us, at_us)

    def _add(self, at_us: float, hz: float, slope: float) -> None:
        index = bisect_right(self._starts, at_us)
        if at_us == self._starts[index - 1]:
            index -= 1
        cycles = self._segments[max(index - 1, 0)].cycles_at(at_us) if index else 0.0
        del self._segments[index:], self._starts[index:]
        self._segments.append(_Segment(at_us, hz, slope, cycles))
        self._starts.append(at_us)

    # readings

    def _segment(self, us: float) -> _Segment:
        return self._segments[max(bisect_right(self._starts, us) - 1, 0)]

    def hz_at(self, us: float) -> float:
        """Frequency in Hz at `us`."""
        return self._segment(us).hz_at(us) + sum(s.hz_at(us) for s in self._sines)

    def cycles_at(self, us: float) -> float:
        """Phase in cycles since time zero."""
        return self._segment(us).cycles_at(us) + sum(s.cycles_at(us) for s in self._sines)

    def present(self, us: float) -> bool:
        """True unless the whole mains is lost at `us`; the loss of one phase does not count."""
        return not any(loss.holds(us) for loss in self._lost if loss.phase is None)

    def _loss(self, us: float, phase: int) -> "_Loss | None":
        """The longest loss that covers `us` for this phase; None without one."""
        found = (loss for loss in self._lost if loss.phase in (None, phase) and loss.holds(us))
        return max(found, key=lambda loss: loss.stop_us, default=None)

    def _time_of(self, cycles: float, guess_us: float) -> float:
        """Solve the phase for its time in µs; the frequency is positive, so Newton's iteration is monotone."""
        us = guess_us
        for _ in range(50):
            step = (self.cycles_at(us) - cycles) / self.hz_at(us) / _US
            us -= step
            if abs(step) < 1e-4:
                break
        return us

    def _crossing(self, half_cycles: int, guess_us: float, phase: int) -> float:
        place = (half_cycles + phase * _JITTER_LENGTH // 3) % _JITTER_LENGTH
        jitter = self._jitter[place] if self._jitter_us else 0.0
        return self._time_of(half_cycles / 2 + phase / 3, guess_us) + jitter

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
