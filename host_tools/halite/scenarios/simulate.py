"""`halite simulate`: run scenarios on the control logic under CPython, print what happened, write the report."""

import json
import sys
from pathlib import Path
from typing import Any

from halite.plant.faults import FAULTS
from halite.scenarios import report, scenario
from halite.scenarios.recording import Recording


def _print_recording(recording: Recording) -> None:
    print(f"{recording.meta['scenario']}: {recording.meta['text']}")
    for seen in recording.observations:
        print(f"  {seen.time_ms:10.1f} ms  {seen.source:8} {seen.text}")
    factor = recording.meta["simulate_realtime_factor"]
    print(f"  simulated {recording.time_ms[-1] / 1000:g} s at {factor:g} times real time")


def _summary(recording: Recording) -> dict[str, Any]:
    return {**recording.meta, "observations": [vars(seen) for seen in recording.observations]}


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
    from halite.scenarios.cpython_run import run

    loaded = [scenario.load(name) for name in scenarios]
    config = load(config_name)
    levels = report.alarm_levels(config)
    traces = []
    for one in loaded:
        trace = run(one, config.path, seed)
        traces.append(trace)
        if not as_json:
            _print_recording(trace)
        if report_file:
            several = len(loaded) > 1
            target = report_file.with_stem(f"{report_file.stem}_{one.name}") if several else report_file
            report.write(trace, target, levels)
            print(f"report: {target}", file=sys.stderr)
    if as_json:
        print(json.dumps([_summary(trace) for trace in traces]))
