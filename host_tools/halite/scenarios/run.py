"""`halite simulate`: run scenarios on the control logic under CPython, print what happened, write the report."""

import json
import sys
from pathlib import Path
from typing import Any

from halite.plant.faults import FAULTS
from halite.scenarios import report, scenario
from halite.scenarios.trace import Trace


def _print_trace(trace: Trace) -> None:
    print(f"{trace.meta['scenario']}: {trace.meta['text']}")
    for event in trace.events:
        print(f"  {event.time_ms:10.1f} ms  {event.kind:8} {event.text}")
    print(f"  simulated {trace.time_ms[-1] / 1000:g} s at {trace.meta['simulate_realtime_factor']:g} times real time")


def _summary(trace: Trace) -> dict[str, Any]:
    return {**trace.meta, "events": [vars(event) for event in trace.events]}


def print_list() -> None:
    """List the shipped scenarios."""
    for path in sorted(scenario.FOLDER.glob("*.toml")):
        print(f"{path.stem:16} {scenario.load(path).text}")


def print_faults() -> None:
    """List the faults that a scenario may name."""
    for name, spec in FAULTS.items():
        value = f"{spec.least:g} to {spec.most:g} {spec.unit}, else {spec.default:g}" if spec.unit else ""
        print(f"{name:16} {spec.where or 'rack':8} {value:30} {spec.text}")


def simulate(scenarios: list[str], config_name: str, seed: int, report_file: Path | None, as_json: bool) -> None:
    """Run scenarios one after the other, print them, write their reports.

    report_file: with several scenarios, the name of each is added to it. HaliteError for what a user can put right.
    """
    from halite.config import load
    from halite.hosts.cpython import run

    loaded = [scenario.load(name) for name in scenarios]
    config = load(config_name)
    levels = report.alarm_levels(config)
    traces = []
    for one in loaded:
        trace = run(one, config.path, seed)
        traces.append(trace)
        if not as_json:
            _print_trace(trace)
        if report_file:
            several = len(loaded) > 1
            target = report_file.with_stem(f"{report_file.stem}_{one.name}") if several else report_file
            report.write(trace, target, levels)
            print(f"report: {target}", file=sys.stderr)
    if as_json:
        print(json.dumps([_summary(trace) for trace in traces]))
