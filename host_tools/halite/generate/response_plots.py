"""Draw the power that the firmware's response delivers.

docs/response_gb.svg: the power inside the published bounds of GB Dynamic Containment. docs/response_pair.svg: the
power of each rack of a pair. The compliance suite judges the same response. Plain SVG gives readable diffs.
"""

from pathlib import Path

import numpy as np

from halite.common.paths import ROOT
from halite.plant.grid import Grid
from halite.scenarios.compliance import cases as compliance
from halite.scenarios.compliance import rules as compliance_rules
from halite.scenarios.compliance.rig import EVENT_S, parameters, run
from halite.scenarios.compliance.rules import Array
from halite.scenarios.compliance.services import BY_NAME

FILE = ROOT / "docs" / "response_gb.svg"
PAIR_FILE = ROOT / "docs" / "response_pair.svg"

_PANELS = (("step", "Step 50.0 → 49.5 Hz", 1.5), ("ramp1hzs", "Ramp −1 Hz/s", 1.5))  # bounds, title, s shown
_BEFORE_S = 0.1
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 300.0, 180.0, 46.0, 34.0, 60.0
_POWER_MAX = 1.1
_SHARES = (1_000, 600)  # share_permille of the pair's two panels
_PAIR_TAU_MS, _PAIR_S = 5_000, 20.0
_RACKS = ((1, "power"), (2, "low"), (0, "whole"))  # role, style: sodium, lithium, one rack that does it all
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.band{fill:#c8553d;fill-opacity:.16;stroke:#c8553d;stroke-width:1}"
    ".power{fill:none;stroke:#0b6e99;stroke-width:2}.axis{stroke:#999;stroke-width:1;fill:none}"
    ".low{fill:none;stroke:#c87d0a;stroke-width:2}.whole{fill:none;stroke:#333;stroke-dasharray:4 3}"
)


class _Panel:
    """Converts s since the step or ramp, and pu, to coordinates of the drawing."""

    def __init__(self, left: float, until_s: float) -> None:
        self.left = left
        self._scale = _WIDTH / (until_s + _BEFORE_S)

    def x(self, t_s: float) -> float:
        return self.left + (t_s + _BEFORE_S) * self._scale

    def y(self, pu: float) -> float:
        return _TOP + _HEIGHT * (1 - pu / _POWER_MAX)

    def points(self, t_s: Array, pu: Array) -> str:
        return " ".join(f"{self.x(t):.1f},{self.y(p):.1f}" for t, p in zip(t_s, pu, strict=True))


def _axes(panel: _Panel, title: str, until_s: float, tick_s: float = 0.5) -> list[str]:
    left, right, bottom = panel.left, panel.left + _WIDTH, panel.y(0.0)
    parts = [
        f'<text x="{left:.0f}" y="20">{title}: delivered power, pu</text>',
        f'<path class="axis" d="M{left:.1f} {_TOP:.1f}V{bottom:.1f}H{right:.1f}"/>',
        f'<text x="{right:.0f}" y="{bottom + 32:.0f}" text-anchor="end">s after the change</text>',
    ]
    for pu in (0.0, 0.5, 1.0):
        parts.append(f'<text x="{left - 6:.0f}" y="{panel.y(pu) + 4:.0f}" text-anchor="end">{pu:g}</text>')
    for tick in range(round(until_s / tick_s) + 1):
        at_s = tick * tick_s
        parts.append(f'<text x="{panel.x(at_s):.0f}" y="{bottom + 16:.0f}" text-anchor="middle">{at_s:g}</text>')
    return parts


def _panel(name: str, title: str, until_s: float, left: float) -> list[str]:
    service = BY_NAME["gb_dc"]
    judged = compliance.published_case(service, name)
    t_s, f_hz, lower, upper = compliance_rules.published_bounds(name)
    event_s = float(t_s[np.flatnonzero(np.diff(f_hz))[0] + (name == "step")])
    t_s = t_s - event_s
    panel = _Panel(left, until_s)
    shown = (t_s >= -_BEFORE_S) & (t_s <= until_s)
    there_and_back = np.concatenate([t_s[shown], t_s[shown][::-1]])
    band = panel.points(there_and_back, np.concatenate([upper[shown], lower[shown][::-1]]))
    track = judged.track
    since_s = track.t_s - (EVENT_S - 1.0) - event_s  # the published traces begin 1 s before
    shown = (since_s >= -_BEFORE_S - 1e-9) & (since_s <= until_s)
    power = panel.points(since_s[shown], track.power[shown])
    drawn = [f'<polygon class="band" points="{band}"/>', f'<polyline class="power" points="{power}"/>']
    return [*drawn, *_axes(panel, title, until_s)]


def _pair_panel(share_permille: int, left: float) -> list[str]:
    """Draw a step of 500 mHz for each role. The racks run separately; neither gets a message from the other."""
    panel, parts = _Panel(left, _PAIR_S), []
    params = parameters("sodium_fast")
    params.pair_tau_ms, params.pair_share_permille = _PAIR_TAU_MS, share_permille
    params.pair_power_W = params.rack_power_max_W
    for role, style in _RACKS:
        params.pair_role = role
        grid = Grid()
        grid.set(49.5, EVENT_S * 1e6)
        track = run(params, grid, EVENT_S + _PAIR_S)
        since_s = track.t_s - EVENT_S
        shown = since_s >= -_BEFORE_S - 1e-9
        shown &= (since_s < 0.2) | (np.arange(len(shown)) % 20 == 0)  # the slow part needs few points
        parts.append(f'<polyline class="{style}" points="{panel.points(since_s[shown], track.power[shown])}"/>')
    title = f"share_permille {share_permille}, tau_ms {_PAIR_TAU_MS}"
    return [*parts, *_axes(panel, title, _PAIR_S, 5.0)]


def pair_text() -> str:
    """Return the drawing of the pair."""
    panels = [_pair_panel(share, _LEFT + at * (_WIDTH + _GAP)) for at, share in enumerate(_SHARES)]
    return _drawing("Sodium and lithium rack of a pair after a step of the frequency", panels)


def text() -> str:
    """Return the drawing for GB Dynamic Containment."""
    panels = [_panel(*panel, _LEFT + at * (_WIDTH + _GAP)) for at, panel in enumerate(_PANELS)]
    return _drawing("GB Dynamic Containment: delivered power inside the published bounds", panels)


def _drawing(title: str, panels: list[list[str]]) -> str:
    width = _LEFT + len(panels) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
    ]
    return "\n".join([*parts, *(part for panel in panels for part in panel), "</svg>"]) + "\n"


def outputs() -> dict[Path, str]:
    """Return every generated file with the text that it must have."""
    return {FILE: text(), PAIR_FILE: pair_text()}
