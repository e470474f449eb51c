"""Output of the compliance suite: a table, one HTML page of plots, JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from rich.console import Console
from rich.table import Table

from halite.scenarios.compliance import rules as compliance_rules
from halite.scenarios.compliance import suite as compliance
from halite.scenarios.compliance.rules import Judged, Row
from halite.scenarios.compliance.services import CATALOGUE, Service

_POINTS = 1_200  # in a line: more points make the page slow and show no more
_COLUMNS = ("step -", "ramp -1 Hz/s", "sine sweep", "GB 2019-like")  # the cases whose names begin like this are drawn
_COLOURS = {"power": "#0b6e99", "asked": "#999999", "bound": "#c8553d", "frequency": "#d9a404"}


def as_dicts(judged: Sequence[Judged]) -> list[dict[str, object]]:
    """Every row as plain data."""
    return [{"service": one.service, **_row_dict(row)} for one in judged for row in one.rows]


def _row_dict(row: Row) -> dict[str, object]:
    value = row.value if np.isfinite(row.value) else None
    return {
        "case": row.case, "figure": row.figure, "value": value, "unit": row.unit,
        "min": row.min_value, "max": row.max_value, "ok": row.ok,
    }  # fmt: skip


def _value(row: Row) -> str:
    return f"{round(row.value, 6):.4g} {row.unit}" if np.isfinite(row.value) else "never"


def count(judged: Sequence[Judged]) -> str:
    """Number of rows that hold, in words."""
    rows = [row for one in judged for row in one.rows]
    return f"{sum(row.ok for row in rows)} of {len(rows)} rows hold"


def table_of(judged: Sequence[Judged]) -> Table:
    """All rows as a table, the failed ones in red."""
    table = Table("service", "case", "figure", "value", "bar", "", title="Grid services", header_style="bold")
    for one in judged:
        for row in one.rows:
            table.add_row(
                one.service,
                row.case,
                row.figure,
                _value(row),
                row.bars(),
                "ok" if row.ok else "FAILS",
                style=None if row.ok else "red",
            )
    return table


def _failures(judged: Sequence[Judged]) -> list[str]:
    """The failed rows as HTML, one line each."""
    return [
        f"<span style='color:red'>FAILS: {one.service}, {row.case}, {row.figure}: "
        f"{_value(row)}, bar {row.bars()}</span>"
        for one in judged
        for row in one.rows
        if not row.ok
    ]


def figure_of(judged: Sequence[Judged], services: Sequence[Service] = CATALOGUE) -> go.Figure:
    """One row of plots per service: delivered power, demanded power, GB bounds and frequency."""
    names = list(dict.fromkeys(one.service for one in judged))
    columns = [kind for kind in _COLUMNS if any(one.case.startswith(kind) for one in judged)]
    titles = [f"{name}: {column.rstrip(' -')}" for name in names for column in columns]
    figure = make_subplots(
        len(names), len(columns), subplot_titles=titles, vertical_spacing=0.35 / len(names), horizontal_spacing=0.04
    )
    for one in judged:
        column = next((i for i, kind in enumerate(columns) if one.case.startswith(kind)), None)
        if column is not None:
            service = next(service for service in services if service.name == one.service)
            _draw(figure, names.index(one.service) + 1, column + 1, one, service)
    failures = _failures(judged)
    title = "Grid services: delivered (blue), demanded (grey), GB bounds (red), deviation in Hz (yellow)"
    text = "<br>".join([f"{title}: {count(judged)}", *failures])
    top = 100 + 23 * len(failures)
    figure.update_layout(
        height=300 * len(names) + top, margin_t=top, showlegend=False, template="plotly_white",
        title={"text": text, "yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 30}},
    )  # fmt: skip
    return figure


def _draw(figure: go.Figure, row: int, column: int, one: Judged, service: Service) -> None:
    track = one.track

    def line(name: str, t: compliance_rules.Array, y: compliance_rules.Array, colour: str, dash: str = "solid") -> None:
        style = {"color": _COLOURS[colour], "dash": dash, "width": 1.5}
        figure.add_trace(go.Scatter(x=t, y=np.round(y, 4), name=name, mode="lines", line=style), row, column)

    every = max(1, len(track.t_s) // _POINTS)
    t = np.round(track.t_s[::every], 3)
    line("deviation, Hz", t, (track.f_hz[::every] - service.nominal_hz), "frequency", "dot")
    line("demanded", t, service.wanted(track.f_hz[::every]), "asked", "dash")
    if service.gb:
        seen = compliance_rules.at_20_hz(track)
        lower, upper = compliance_rules.gb_bounds(seen.f_hz, service.asks().low_only())
        line("lower bound", seen.t_s, lower, "bound")
        line("upper bound", seen.t_s, upper, "bound")
    line("delivered power", t, track.power[::every], "power")
    figure.update_xaxes(title_text="s", row=row, col=column)
    figure.update_yaxes(title_text="pu, Hz", row=row, col=column)


def run(names: list[str] | None, config: str, quick: bool, report: Path | None, as_json: bool) -> int:
    """Judge grid services, print the rows, write the page. Returns 0 if every row holds, else 1.

    names: only these services. config: this rack instead of the presets. quick: without the cases that last minutes.
    """
    judged = compliance.suite(names, not quick, config)
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
        figure_of(judged, compliance.chosen(names, config)).write_html(report, include_plotlyjs=True)
        print(f"report: {report}", file=sys.stderr)
    if as_json:
        print(json.dumps(as_dicts(judged)))
    else:
        Console(width=None if sys.stdout.isatty() else 130).print(table_of(judged))
        print(count(judged))
    return 0 if all(row.ok for one in judged for row in one.rows) else 1
