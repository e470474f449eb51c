"""Judge the response test that a rack has run, from the answers of its console.

The rack reports its own delay, rise and settling. This module judges the recorded trace against the curve of the
grid service and, where the service has one, its envelope. It uses the virtual frequency as requested, not as measured,
so that the delay of the measurement counts against the rack.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from halite.common.errors import HaliteError
from halite.scenarios.compliance.rules import GB_STEP_S, Array, Row, Track, gb_errors
from halite.scenarios.compliance.services import BY_NAME, Service

_BEFORE_S = 1.2  # the rule of the envelope skips the first 21 samples
_RAMP_END_HZ = 1.0  # of a ramp test: rack.control.response.response_test
_RESOLUTION = 0.001  # pu, of the recorded power


def virtual_hz(kind: str, value: int, t_s: Array, nominal_hz: float) -> Array:
    """The virtual frequency of a test; value in mHz or mHz/s, t_s since its start."""
    if kind == "step":
        return nominal_hz + np.where(t_s >= 0, value / 1000, 0.0)
    return nominal_hz + np.clip(np.maximum(t_s, 0.0) * value / 1000, -_RAMP_END_HZ, _RAMP_END_HZ)


def track_of(result: Mapping[str, Any], trace: Mapping[str, Any], nominal_hz: float) -> Track:
    """The recorded trace at 20 Hz, per unit; HaliteError when it is not the trace of this test."""
    if trace["cause"] != "command" or not trace["frozen"]:
        raise HaliteError("the recorded trace is not that of the test", hint="rearm, then run the test again")
    columns = trace["columns"].split(",")
    table = np.array([[int(field) for field in row.split(",")] for row in trace["rows"]], dtype=float)
    if len(table) < 2:
        raise HaliteError("the recorded trace is empty")
    at_s = table[:, columns.index("t_ms")] / 1000
    t_s = np.arange(-_BEFORE_S, at_s[-1], GB_STEP_S)
    newest = np.maximum(np.searchsorted(at_s, t_s, side="right") - 1, 0)
    request, power = (table[newest, columns.index(name)] / result["contracted_W"] for name in ("request_W", "pcs_W"))
    return Track(t_s, virtual_hz(result["kind"], result["value"], t_s, nominal_hz), request, power)


def judge(service: str, result: Mapping[str, Any], trace: Mapping[str, Any]) -> list[Row]:
    """The figures of the test with the limits of the grid service; HaliteError for a test that did not finish."""
    found = BY_NAME.get(service)
    if found is None:
        raise HaliteError(f"no such grid service: {service}", hint=f"one of {', '.join(BY_NAME)}")
    if result["test"] != "done":
        raise HaliteError(f"the test has not finished: {result['test']}")
    case = f"{result['kind']} {result['value']:+d}"
    rows = _figures(case, found, result)
    if found.gb:
        error = max(gb_errors(track_of(result, trace, found.nominal_hz), found.asks()))
        rows.append(Row(case, "outside the envelope", error, "pu", None, _RESOLUTION))
    return rows


def _figures(case: str, service: Service, result: Mapping[str, Any]) -> list[Row]:
    """The rack's own figures. Times of a ramp count from the deviation of the service's step."""
    if not result["expected_W"]:
        return [Row(case, "power not owed", abs(result["peak_W"]) / result["contracted_W"], "pu", None, 0.01)]
    since_s = abs(service.step_mHz / result["value"]) if result["kind"] == "ramp" else 0.0
    first, full, settled = (None if t is None else since_s + t for t in (service.first, service.full, service.settled))
    rows = [
        Row(case, "first movement", _seconds(result["delay_ms"]), "s", service.earliest or None, first),
        Row(case, "90 % delivered", _seconds(result["rise_ms"]), "s", None, full),
        Row(case, "settled to 1 %", _seconds(result["settle_ms"]), "s", None, settled),
        Row(case, "error at the end", abs(result["error_permille"]) / 1000, "pu", None, 0.01),
    ]
    if service.sustain:
        rows.append(Row(case, "held until", _seconds(result["elapsed_ms"]), "s", service.sustain, None))
    return rows


def _seconds(ms: int) -> float:
    """Seconds of a time in the rack's report; infinite for -1, not reached."""
    return ms / 1000 if ms >= 0 else float("inf")


def as_text(row: Row) -> str:
    """One row of the answer: figure, value, limits in ASCII for any terminal, verdict."""
    bars = row.bars((">=", "<="))
    return f"{row.figure:<24} {row.value:>8.3f} {row.unit:<3} {bars:<16} {'ok' if row.ok else 'MISSED'}"
