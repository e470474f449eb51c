"""Draw the voltage of the simulated cell over PyBaMM's on held-out profiles: docs/plant_voltage.svg."""

from collections.abc import Iterator

import numpy as np

from halite.bench.cell_fit import held_out
from halite.bench.pybamm_cell import TEMPERATURES_degC, Trace
from halite.common.paths import ROOT
from halite.plant.chemistries import Array

FILE = ROOT / "docs" / "plant_voltage.svg"
_SHOWN = "pulses from 70 %"
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 620.0, 90.0, 54.0, 34.0, 34.0
_SPAN_s = 1200
_LOW_V, _HIGH_V = 3.00, 3.50
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.axis{stroke:#999;stroke-width:1;fill:none}"
    ".reference{fill:none;stroke:#c87d0a;stroke-width:3}.plant{fill:none;stroke:#0b6e99;stroke-width:1.2}"
)


def _line(style: str, top: float, volts: Array) -> str:
    at = np.arange(0, _SPAN_s, 4)
    x = _LEFT + at / _SPAN_s * _WIDTH
    y = top + _HEIGHT * (1 - (volts[at] - _LOW_V) / (_HIGH_V - _LOW_V))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{style}" points="{points}"/>'


def _panel(top: float, run: Trace, volts: Array, error_mV: float) -> list[str]:
    bottom = top + _HEIGHT
    return [
        _line("reference", top, run.volts),
        _line("plant", top, volts),
        f'<path class="axis" d="M{_LEFT:.1f} {top:.1f}V{bottom:.1f}H{_LEFT + _WIDTH:.1f}"/>',
        f'<text x="{_LEFT + 6:.0f}" y="{top + 2:.0f}">{run.degC:.0f} °C: {error_mV:.1f} mV rms</text>',
        f'<text x="{_LEFT - 6:.0f}" y="{top + 8:.0f}" text-anchor="end">{_HIGH_V:.2f} V</text>',
        f'<text x="{_LEFT - 6:.0f}" y="{bottom:.0f}" text-anchor="end">{_LOW_V:.2f} V</text>',
    ]


def write() -> Iterator[str]:
    """Run the held-out profiles, write the drawing, and yield one line for each profile and temperature."""
    parts: list[str] = []
    top = _TOP
    for run, volts, error_mV in held_out():
        yield f"{run.name}, {run.degC:.0f} degC: {error_mV:.2f} mV rms"
        if run.name == _SHOWN:
            parts += _panel(top, run, volts, error_mV)
            top += _HEIGHT + _GAP
    title = f"LFP cell, {_SHOWN} SoC, first {_SPAN_s // 60} minutes: PyBaMM (broad), plant (thin)"
    size = f"{_LEFT + _WIDTH + 10:.0f} {_TOP + len(TEMPERATURES_degC) * (_HEIGHT + _GAP):.0f}"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_LEFT:.0f}" y="16">{title}</text>',
    ]
    FILE.write_text("\n".join([*head, *parts, "</svg>"]) + "\n", encoding="utf-8")
