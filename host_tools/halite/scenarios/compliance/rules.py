"""The demands of grid services, as rules over a track of frequency and power.

A track is sampled. Power is in pu (per unit of the contracted power); positive discharges. Each rule measures one
figure, and a Row compares it with its bar. The comments of the presets in board_configs/grid_services name the sources
of the bars. Times are in s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DATA = Path(__file__).parent / "data"
GB_STEP_S = 0.05  # the performance data of the GB services have 20 samples per second
_FIRST_LAG, _LAST_LAG = 4, 11  # 0.20 s to 0.55 s
_SLOW, _FAST = 2.0 * GB_STEP_S, 4.0 * GB_STEP_S  # ramp limits of the bounds, pu per sample
_ROUNDING = 1e-9  # error of double precision, far below the resolution of any rule
_EXEMPT = 21  # samples after a gap, which are not judged
_FORGIVEN = 4  # samples: shorter excursions do not count


@dataclass(frozen=True)
class Track:
    """A sampled run: arrays of equal length with times in s, frequency in Hz, request and delivered power in pu."""

    t_s: Array
    f_hz: Array
    request: Array
    power: Array


@dataclass(frozen=True)
class Row:
    """One judged figure of a case. min_value, max_value: its bar; None without a limit on that side."""

    case: str
    figure: str
    value: float
    unit: str
    min_value: float | None
    max_value: float | None

    @property
    def ok(self) -> bool:
        """True if the value is finite and within its bar."""
        return bool(
            np.isfinite(self.value)
            and (self.min_value is None or self.value >= self.min_value - _ROUNDING)
            and (self.max_value is None or self.value <= self.max_value + _ROUNDING)
        )

    def bars(self, signs: tuple[str, str] = ("≥", "≤")) -> str:
        """The bar as text. signs: for the lower and for the upper limit."""
        found = zip(signs, (self.min_value, self.max_value), strict=True)
        return " ".join(f"{sign} {bar:g}" for sign, bar in found if bar is not None)


@dataclass(frozen=True)
class Judged:
    """One case of one service: its rows, and the track from which they were measured."""

    service: str
    case: str
    rows: tuple[Row, ...]
    track: Track


@dataclass(frozen=True)
class Curve:
    """The static curve of a service: knots of deviation in Hz (rising) and power in pu."""

    deviation_hz: Array
    power: Array
    nominal_hz: float

    @classmethod
    def of(cls, table: Sequence[Sequence[int]], nominal_hz: float) -> "Curve":
        """Make a curve from the knots of a preset, [deviation in mHz, power in permille]."""
        knots = np.asarray(table, dtype=float) / 1000.0
        return cls(knots[:, 0], knots[:, 1], nominal_hz)

    def at(self, f_hz: Array) -> Array:
        """Power in pu at each frequency; constant outside the first and the last knot."""
        return np.interp(f_hz - self.nominal_hz, self.deviation_hz, self.power)

    def low_only(self) -> "Curve":
        """The low-frequency side, zero elsewhere."""
        return Curve(self.deviation_hz, np.maximum(self.power, 0.0), self.nominal_hz)

    def high_only(self) -> "Curve":
        """The high-frequency side, with its power made positive; zero elsewhere."""
        return Curve(self.deviation_hz, np.maximum(-self.power, 0.0), self.nominal_hz)


def gb_bounds(f_hz: Array, curve: Curve) -> tuple[Array, Array]:
    """Lower and upper bound in pu of the GB rule, for frequencies at 20 Hz and a one-sided (non-negative) curve.

    The curve at the frequencies of the lag window gives the band. Its ramps are limited to 2 pu/s inwards and 4 pu/s
    outwards. Source: github pabbasian/dynamic_containment, commit 0335a92d, "illustrative".
    """
    wanted = curve.at(f_hz)
    lower, upper = np.zeros_like(wanted), np.zeros_like(wanted)
    low = high = float(wanted[0])
    for i in range(len(wanted)):
        window = wanted[max(0, i - _LAST_LAG) : max(0, i - _FIRST_LAG) + 1]
        low = float(np.clip(window.min(), low - _FAST, low + _SLOW))
        high = float(np.clip(window.max(), high - _SLOW, high + _FAST))
        lower[i], upper[i] = low, high
    return lower, upper


def settled_error(power: Array, lower: Array, upper: Array) -> float:
    """Largest distance outside the band in pu; excursions shorter than 0.2 s do not count."""
    outside = np.maximum(np.maximum(lower - power, power - upper), 0.0)[_EXEMPT:]
    if len(outside) < _FORGIVEN:
        return 0.0
    return float(np.lib.stride_tricks.sliding_window_view(outside, _FORGIVEN).min(axis=1).max())


def at_20_hz(track: Track) -> Track:
    """The samples of a track that the GB rule uses."""
    every = round(GB_STEP_S / float(track.t_s[1] - track.t_s[0]))
    return Track(track.t_s[::every], track.f_hz[::every], track.request[::every], track.power[::every])


def gb_errors(track: Track, curve: Curve) -> tuple[float, float]:
    """Error in pu of the low-frequency and of the high-frequency service against their bounds."""
    seen = at_20_hz(track)
    low = settled_error(np.maximum(seen.power, 0.0), *gb_bounds(seen.f_hz, curve.low_only()))
    high = settled_error(np.maximum(-seen.power, 0.0), *gb_bounds(seen.f_hz, curve.high_only()))
    return low, high


def published_bounds(name: str) -> tuple[Array, Array, Array, Array]:
    """Time, frequency, lower and upper bound of a shipped envelope. name: step or ramp1hzs."""
    lines = (DATA / f"dc_low_bounds_{name}.csv").read_text().splitlines()
    table = np.array([[float(x) for x in line.split(",")] for line in lines if line[:1].isdigit()])
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def first_movement_s(track: Track, since_s: float) -> float:
    """Time from since_s until the request moves; inf if it does not move."""
    return _first(track, since_s, np.abs(track.request - _value_at(track, track.request, since_s)) > 1e-4)


def reach_s(track: Track, since_s: float, wanted: float, share: float) -> float:
    """Time from since_s until the delivered power reaches `share` of `wanted` pu; inf if it does not."""
    return _first(track, since_s, track.power * math.copysign(1.0, wanted) >= share * abs(wanted))


def rise_s(track: Track, share: float) -> float:
    """Time of the first rise of the delivered power from 10 to 90 % of `share` pu; inf without one."""
    size = np.abs(track.power)
    if size.max() < 0.9 * share:
        return float("inf")
    end = int(np.argmax(size >= 0.9 * share))
    first = int(np.flatnonzero(size[:end] < 0.1 * share)[-1])
    return float(np.interp(0.9 * share, size[end - 1 : end + 1], track.t_s[end - 1 : end + 1])) - float(
        np.interp(0.1 * share, size[first : first + 2], track.t_s[first : first + 2])
    )


def settle_s(track: Track, since_s: float, until_s: float, aim: float, tolerance: float) -> float:
    """Time from since_s after which the power stays within `tolerance` of `aim` until until_s; inf if it does not."""
    inside = (track.t_s >= since_s) & (track.t_s < until_s)
    off = np.abs(track.power[inside] - aim) > tolerance
    if not off.any():
        return 0.0
    if off[-1]:
        return float("inf")
    return float(track.t_s[inside][np.flatnonzero(off)[-1] + 1] - since_s)


def energy_share(track: Track, curve: Curve) -> float:
    """Delivered energy over the energy of an ideal response, both in the direction of the service."""
    ideal = curve.at(track.f_hz)
    total = float(np.abs(ideal).sum())
    return float((track.power * np.sign(ideal)).sum()) / total if total else 1.0


def excess(track: Track, curve: Curve, memory_s: float) -> float:
    """Largest power in pu beyond the range of the curve over the last memory_s."""
    ideal = curve.at(track.f_hz)
    reach = max(1, round(memory_s / float(track.t_s[1] - track.t_s[0])))
    padded = np.concatenate([np.full(reach, ideal[0]), ideal])
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach + 1)
    top, bottom = np.maximum(windows.max(axis=1), 0.0), np.minimum(windows.min(axis=1), 0.0)
    return float(np.maximum(np.maximum(track.power - top, bottom - track.power), 0.0).max())


def full_s(track: Track, since_s: float, share: float) -> float:
    """Energy from since_s until the power first falls below `share` again, as seconds at full power."""
    size = np.abs(track.power) * (track.t_s >= since_s)
    begin = int(np.argmax(size >= share))
    below = np.flatnonzero(size[begin:] < share)
    end = begin + int(below[0]) if len(below) else len(size)
    return float(size[:end].sum() * (track.t_s[1] - track.t_s[0]))


def steepest_pu_per_s(track: Track, since_s: float, until_s: float) -> float:
    """Steepest change of the delivered power over 1 s between since_s and until_s."""
    inside = (track.t_s >= since_s) & (track.t_s <= until_s)
    power, step = track.power[inside], round(1.0 / float(track.t_s[1] - track.t_s[0]))
    return float(np.abs(power[step:] - power[:-step]).max())


def _value_at(track: Track, column: Array, t_s: float) -> float:
    return float(column[int(np.searchsorted(track.t_s, t_s))])


def _first(track: Track, since_s: float, holds: NDArray[np.bool_]) -> float:
    hits = np.flatnonzero(holds & (track.t_s >= since_s))
    return float(track.t_s[hits[0]] - since_s) if len(hits) else float("inf")
