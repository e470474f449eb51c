"""A report that a person looks at: one self-contained HTML file over a shared time axis.

It serves traces of the values face and of the emulated board alike; a panel shows the columns it finds.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from halite.common.paths import use_firmware
from halite.scenarios.observations import Observation
from halite.scenarios.recording import Recording

use_firmware()

from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE  # noqa: E402 - only after use_firmware

_COLOURS = ("#1f6fb4", "#d1495b", "#2a9d5c", "#8a6fc0", "#e09f3e", "#5c6b73")
_SOURCE_COLOUR = {"scenario": "#e09f3e", "rack": "#5c6b73", "control": "#1f6fb4"}
_HEIGHT_PX = 230
_MOST_POINTS = 4000
_UNITS = ("_ms", "_s", "_kW")  # endings of the figures' names that are told behind the value
_NO_VALUE = 1e7  # beyond it a signal says that it has no value


@dataclass(frozen=True)
class Line:
    """One curve: column name, label, factor to the panel's unit, style."""

    column: str
    label: str
    factor: float = 1.0
    dash: str = "solid"
    step: bool = False


@dataclass(frozen=True)
class Panel:
    """One diagram: title, unit on its axis, curves."""

    title: str
    unit: str
    lines: tuple[Line, ...]


PANELS = (
    Panel("Grid frequency", "Hz", (Line("true_freq_Hz", "grid"), Line("freq_mHz", "measured", 1e-3, "dot"))),
    Panel(
        "Power (positive discharges)",
        "kW",
        (
            Line("response_W", "response", 1e-3, "dot"),
            Line("request_W", "request", 1e-3, step=True),
            Line("true_power_W", "PCS", 1e-3),
            Line("limit_discharge_W", "discharge limit", 1e-3, "dash", True),
            Line("limit_charge_W", "charge limit", -1e-3, "dash", True),
        ),
    ),
    Panel(
        "Temperature",
        "°C",
        (
            Line("temp_max_ddegC", "highest sensor", 0.1),
            Line("temp_min_ddegC", "lowest sensor", 0.1),
            Line("core_max_ddegC", "core, estimated", 0.1, "dot"),
            Line("true_core_max_degC", "core, true"),
            Line("true_surface_max_degC", "highest surface, true", 1.0, "dot"),
        ),
    ),
    Panel(
        "Cell voltage",
        "V",
        (
            Line("cell_max_mV", "highest", 1e-3),
            Line("cell_min_mV", "lowest", 1e-3),
            Line("true_cell_max_V", "highest, true", 1.0, "dot"),
            Line("true_cell_min_V", "lowest, true", 1.0, "dot"),
        ),
    ),
    Panel(
        "DC voltage",
        "V",
        (
            Line("rack_dV", "rack", 0.1),
            Line("bus_dV", "bus, reported", 0.1, step=True),
            Line("true_bus_V", "bus", 1.0, "dot"),
        ),
    ),
)

# Switches are drawn as bands: (label, column, bit or None for "not zero").
SWITCHES = (
    ("coil main −", "coils", COIL_NEG),
    ("coil precharge", "coils", COIL_PRE),
    ("coil main +", "coils", COIL_POS),
    ("energised main −", "energised", COIL_NEG),
    ("energised precharge", "energised", COIL_PRE),
    ("energised main +", "energised", COIL_POS),
    ("contact main −", "contacts", COIL_NEG),
    ("contact precharge", "contacts", COIL_PRE),
    ("contact main +", "contacts", COIL_POS),
    ("derate", "alarm_level", None),
    ("trip latched", "trip_code", None),
)


def alarm_levels(config: Any) -> dict[str, list[tuple[str, float]]]:
    """Temperature and voltage levels of a validated config, per panel title: (name, value in the panel's unit)."""
    alarms = config.sections.get("alarms", {})
    wanted = {
        "Temperature": (("hot_warn", 0.1), ("hot_derate", 0.1), ("hot_trip", 0.1)),
        "Cell voltage": (("cell_high_trip", 1e-3), ("cell_low_trip", 1e-3)),
    }
    return {
        title: [(key.replace("_", " "), alarms[key][0] * factor) for key, factor in rows if key in alarms]
        for title, rows in wanted.items()
    }


def _points(recording: Recording, line: Line) -> tuple[Any, Any]:
    """Time in s and values; a gap where a signal holds no value. Thinned out so that every peak stays."""
    values = np.asarray(recording[line.column], dtype=float) * line.factor
    values[np.abs(values) > _NO_VALUE] = np.nan
    keep = np.ones(len(values), dtype=bool)
    keep[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
    at = np.flatnonzero(keep)
    per_bucket = len(at) // _MOST_POINTS + 1
    if per_bucket > 2:
        whole = at[: len(at) // per_bucket * per_bucket].reshape(-1, per_bucket)
        filled = np.nan_to_num(values[whole])
        rows = np.arange(len(whole))
        peaks = (whole[rows, filled.argmin(axis=1)], whole[rows, filled.argmax(axis=1)], at[[0, -1]])
        at = np.unique(np.concatenate(peaks))
    return recording.time_ms[at] / 1000, values[at]


def _draw_panel(
    figure: go.Figure, row: int, panel: Panel, recording: Recording, levels: Sequence[tuple[str, float]]
) -> None:
    for n, line in enumerate(line for line in panel.lines if line.column in recording.columns):
        x, y = _points(recording, line)
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                name=line.label,
                mode="lines",
                legendgroup=panel.title,
                legendgrouptitle_text=panel.title,
                line={
                    "color": _COLOURS[n % len(_COLOURS)],
                    "dash": line.dash,
                    "width": 1.8,
                    "shape": "hv" if line.step else "linear",
                },
                hovertemplate="%{y:.3f} " + panel.unit,
            ),
            row=row,
            col=1,
        )
    for name, value in levels:
        figure.add_hline(
            y=value,
            line={"color": "#d1495b", "width": 1, "dash": "dash"},
            annotation_text=name,
            annotation_position="top left",
            annotation_font_size=10,
            row=row,
            col=1,
        )
    figure.update_yaxes(title_text=panel.unit, row=row, col=1)


def _draw_switches(figure: go.Figure, row: int, recording: Recording) -> None:
    hidden = "energised" if "coils" in recording.columns else ""
    shown = [s for s in SWITCHES if s[1] in recording.columns and s[1] != hidden]
    for height, (label, column, bit) in enumerate(reversed(shown)):
        values = np.asarray(recording[column], dtype=np.int64)
        on = (values & bit) != 0 if bit is not None else values > (1 if column == "alarm_level" else 0)
        changes = np.flatnonzero(np.diff(on.astype(int), prepend=0, append=0))
        times = np.append(recording.time_ms, recording.time_ms[-1:])
        for start, stop in zip(changes[::2], changes[1::2], strict=True):
            figure.add_trace(
                go.Scatter(
                    x=[times[start] / 1000, times[stop] / 1000],
                    y=[label, label],
                    mode="lines",
                    showlegend=False,
                    line={"width": 12, "color": _COLOURS[1] if column == "trip_code" else _COLOURS[height % 3]},
                    hovertemplate=f"{label}: {times[start]:.0f} to {times[stop]:.0f} ms<extra></extra>",
                ),
                row=row,
                col=1,
            )
    figure.update_yaxes(categoryorder="array", categoryarray=[s[0] for s in reversed(shown)], row=row, col=1)


def _mark_observations(figure: go.Figure, observations: Sequence[Observation], span_ms: float) -> None:
    """A line through all panels per event, numbered at the top; the list below the diagrams says what it is."""
    shapes = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": e.time_ms / 1000,
            "x1": e.time_ms / 1000,
            "y0": 0,
            "y1": 1,
            "line": {"color": _SOURCE_COLOUR.get(e.source, "#888"), "width": 1, "dash": "dot"},
            "opacity": 0.55,
        }
        for e in observations
    ]
    figure.update_layout(shapes=[*figure.layout.shapes, *shapes])
    last = -1e9
    for number, seen in enumerate(observations, 1):
        crowded = seen.time_ms - last < span_ms / 60
        last = last if crowded else seen.time_ms
        if not crowded:
            figure.add_annotation(
                x=seen.time_ms / 1000,
                y=1.012,
                xref="x",
                yref="paper",
                yanchor="bottom",
                showarrow=False,
                text=f"<b>{number}</b>",
                hovertext=html.escape(seen.text),
                font={"size": 11},
            )


def figure_of(recording: Recording, levels: dict[str, list[tuple[str, float]]] | None = None) -> go.Figure:
    """All panels of which the trace has any column, and the switches, over one time axis."""
    panels = [p for p in PANELS if any(line.column in recording.columns for line in p.lines)]
    rows = len(panels) + 1
    figure = make_subplots(
        rows=rows,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.035,
        subplot_titles=[*(p.title for p in panels), "Contactors, alarms"],
    )
    for row, panel in enumerate(panels, 1):
        _draw_panel(figure, row, panel, recording, (levels or {}).get(panel.title, []))
    _draw_switches(figure, rows, recording)
    _mark_observations(figure, recording.observations, float(recording.time_ms[-1] - recording.time_ms[0]))
    figure.update_xaxes(showspikes=True, spikemode="across", spikethickness=1)
    figure.update_xaxes(title_text="time / s", row=rows, col=1)
    figure.update_layout(
        height=_HEIGHT_PX * rows,
        hovermode="x unified",
        template="plotly_white",
        margin={"t": 50, "r": 20},
        legend={"groupclick": "toggleitem", "font": {"size": 11}},
        hoversubplots="axis",
    )
    return figure


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1300px; color: #222; padding: 0 1rem; }}
h1 {{ font-size: 1.35rem; margin: 0 0 .2rem; }} p {{ margin: .2rem 0 1rem; color: #555; }}
table {{ border-collapse: collapse; font-size: 14px; }}
td, th {{ padding: .15rem .8rem; text-align: left; border-bottom: 1px solid #e4e4e4; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
.scenario {{ color: #a86a00; }} .control {{ color: #1f6fb4; }}
</style></head><body>
<h1>{title}</h1><p>{text}</p>{facts}{diagram}
<h2>Observations</h2><table><tr><th>#</th><th>time</th><th>by</th><th>observation</th></tr>{observations}</table>
</body></html>
"""


def _fact(key: str, value: Any) -> str:
    """One entry of the head line: the unit that ends a name stands behind its value."""
    words, _, unit = key.rpartition("_") if key.endswith(_UNITS) else (key, "", "")
    shown = f"{value:,.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    return html.escape(f"{words.replace('_', ' ')}: {shown} {unit}".strip())


def html_of(recording: Recording, levels: dict[str, list[tuple[str, float]]] | None = None) -> str:
    """The whole page as text; needs no network to be shown."""
    rows = "".join(
        f"<tr class='{html.escape(e.source)}'><td class='n'>{n}</td><td class='n'>{e.time_ms:.1f} ms</td>"
        f"<td>{html.escape(e.source)}</td>"
        f"<td>{html.escape(e.text)}</td></tr>"
        for n, e in enumerate(recording.observations, 1)
    )
    facts = " · ".join(_fact(key, value) for key, value in recording.meta.items() if key != "text")
    figure = figure_of(recording, levels)
    diagram = figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False})
    return _PAGE.format(
        title=html.escape(f"Halite: {recording.meta.get('scenario', 'run')}"),
        text=html.escape(str(recording.meta.get("text", ""))),
        facts=f"<p>{facts}</p>",
        diagram=diagram,
        observations=rows,
    )


def write(recording: Recording, path: Path, levels: dict[str, list[tuple[str, float]]] | None = None) -> None:
    """Write the report by the ending of its name: .html, .json or .csv."""
    writers = {".json": recording.write_json, ".csv": recording.write_csv}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in writers:
        writers[path.suffix](path)
    else:
        path.write_text(html_of(recording, levels), encoding="utf-8")
