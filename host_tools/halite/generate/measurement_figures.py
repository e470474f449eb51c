"""Noise, delay and jumps of the frequency measurement for docs/response.md: `halite dev measurement-figures`.

The firmware's response runs under CPython. The noise figures use edges with 5 us rms of seeded jitter, the others use
exact edges. Every run gives the same figures.
"""

from collections.abc import Iterator

import numpy as np

from halite.common.paths import use_firmware
from halite.hosts.response_rig import Rig, rocof_mHzps
from halite.scenarios.compliance.rig import preset

use_firmware()

from rack.control.response.response import PERIOD_TICK_NS  # noqa: E402 - only after use_firmware
from rack.generated import response_state as K  # noqa: E402

_JITTER_s = 5e-6
_RAMP_Hzps = 0.1  # a faster ramp would start the longest window again
_WINDOWS_ms = (100, 200, 400, 800)
_PLACES = 100  # positions of a step or a jump in a period
_WIDE = ("aemo_very_fast", "eirgrid_ffr", "csg_primary", "nordic_fcr_d")


def _counts(edges_s: np.ndarray, phases: int) -> list[int]:
    """Return the timer counts between each edge and the previous edge of the same phase. The phases take turns."""
    counts: list[int] = np.rint((edges_s[phases:] - edges_s[:-phases]) * 1e9 / PERIOD_TICK_NS).astype(int).tolist()
    return counts


def _noise(Hz: float, nominal_Hz: int = 50, phases: int = 1, window_ms: int = 200) -> tuple[float, float]:
    """Return three sigma of the frequency (mHz) and of RoCoF (mHz/s)."""
    rig = Rig(grid_nominal_mHz=nominal_Hz * 1000, grid_phases=phases, grid_window_ms=window_ms)
    edges_s = np.arange(9_000) / Hz / phases + np.random.default_rng(7).normal(0, _JITTER_s, 9_000)
    seen = []
    for i, count in enumerate(_counts(edges_s, phases)):
        rig.response.on_period(count, i % phases)
        seen.append((rig.response.state[K.DEVIATION] / 10, rocof_mHzps(rig.response)))
    frequency, rocof = 3 * np.std(seen[200:], axis=0)
    return float(frequency), float(rocof)


def _delay_ms(window_ms: int) -> float:
    """Return the delay of the measured frequency behind a slow ramp, at the newest edge."""
    rig, at_s, cycles = Rig(grid_window_ms=window_ms), [0.0], 0
    while at_s[-1] < 3:
        cycles += 1
        at_s.append((50 - (50**2 - 2 * _RAMP_Hzps * cycles) ** 0.5) / _RAMP_Hzps)  # cycles = 50 t - ramp t^2 / 2
    for count in _counts(np.array(at_s), 1):
        rig.response.on_period(count)
    return 1000 * float(at_s[-1] + rig.response.state[K.DEVIATION] / 10_000 / _RAMP_Hzps)


def _jump(degrees: float) -> tuple[float, float]:
    """Return the largest deviation (Hz) and RoCoF (Hz/s) after a jump of the phase angle in either direction."""
    seen = []
    for turn in (1 - degrees / 360, 1 + degrees / 360):
        rig = Rig()
        rig.periods(50.0, 60)
        for periods in (turn, *[1.0] * 60):
            rig.period(50.0 / periods)
            seen.append((abs(rig.response.state[K.DEVIATION]) / 10_000, abs(rocof_mHzps(rig.response)) / 1000))
    deviation, rocof = np.max(seen, axis=0)
    return float(deviation), float(rocof)


def _step_ms(service: str) -> float:
    """Return the longest time from a step of -500 mHz to a changed request, over its position in a period."""
    curve = [number for knot in preset(service)["curve"] for number in knot]
    longest = 0.0
    for place in range(_PLACES):
        rig = Rig(curve=curve)
        rig.periods(50.0, 60)
        left = 1 - place / _PLACES  # the rest of the period, at 49.5 Hz
        since_ms = 1000 * left / 49.5
        moved = rig.period(1 / (place / _PLACES / 50 + left / 49.5))
        while not moved:
            moved = rig.period(49.5)
            since_ms += 1000 / 49.5
        longest = max(longest, since_ms)
    return longest


def figures() -> Iterator[str]:
    """Return every figure of the document, one line each."""
    for window_ms in _WINDOWS_ms:
        frequency, _ = _noise(49.9, window_ms=window_ms)
        yield f"window {window_ms} ms: {_delay_ms(window_ms):.0f} ms late, {frequency:.1f} mHz (3 sigma)"
    for Hz, nominal_Hz, phases in ((60.0, 60, 1), (63.0, 60, 1), (47.0, 50, 1), (50.0, 50, 3), (63.0, 60, 3)):
        frequency, rocof = _noise(Hz, nominal_Hz, phases)
        yield f"{Hz:g} Hz, {phases} phase(s): {frequency:.1f} mHz, RoCoF {rocof:.0f} mHz/s (3 sigma)"
    for degrees in (5, 10, 30):
        deviation, rocof = _jump(degrees)
        yield f"jump of {degrees} degrees: {deviation:.2f} Hz, {rocof * 1000 / degrees:.0f} mHz/s a degree"
    for service in ("sodium_fast", *_WIDE):
        yield f"step to request, {service}: {_step_ms(service):.1f} ms maximum"
