"""`halite simulate`: run scenarios on the control core under CPython, print observations, write reports."""

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
    """Print the name and the text of each shipped scenario."""
    for path in sorted(scenario.FOLDER.glob("*.toml")):
        print(f"{path.stem:16} {scenario.load(path).text}")


def print_faults() -> None:
    """Print the faults that a scenario may name, with place, range of the value and text."""
    for name, spec in FAULTS.items():
        value = f"{spec.min_value:g} to {spec.max_value:g} {spec.unit}, default {spec.default:g}" if spec.unit else ""
        print(f"{name:20} {spec.where or 'rack':8} {value:30} {spec.text}")


def simulate(scenarios: list[str], config_name: str, seed: int, report_file: Path | None, as_json: bool) -> None:
    """Run scenarios one after the other, print their observations, write their reports.

    scenarios, config_name: files, or names of shipped ones. report_file: with several scenarios, the name of each is
    added to it. Raises HaliteError for a file that is missing or not valid.
    """
    from halite.config import dangers, load
    from halite.scenarios.cpython_run import run

    loaded = [scenario.load(name) for name in scenarios]
    config = load(config_name, judged=False)
    for line in dangers(config):
        print(f"{config.path}: dangerous: {line}", file=sys.stderr)
    levels = report.alarm_levels(config)
    recordings = []
    for one in loaded:
        recording = run(one, config.path, seed)
        recordings.append(recording)
        if not as_json:
            _print_recording(recording)
        if report_file:
            several = len(loaded) > 1
            target = report_file.with_stem(f"{report_file.stem}_{one.name}") if several else report_file
            report.write(recording, target, levels)
            print(f"report: {target}", file=sys.stderr)
    if as_json:
        print(json.dumps([_summary(recording) for recording in recordings]))
