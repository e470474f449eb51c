"""`halite simulate`: run scenarios on the control logic under CPython, print what happened, write the report."""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from halite.cli.arguments import Parser, parsed, report_file, seed
from halite.common.errors import MisuseError
from halite.plant.faults import FAULTS
from halite.scenarios import report, scenario
from halite.scenarios.trace import Trace

_DEFAULT_CONFIG = "sodium_rack"
_SUITES = {"board": "halite.scenarios.board_suite", "compliance": "halite.scenarios.compliance.suite"}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="halite simulate",
        description="Run scenarios on the control logic, faster than real time.",
        epilog="Example: halite simulate demo --config sodium_rack --report demo.html",
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="a scenario file, or the name of a shipped one"
    )
    parser.add_argument("--config", default=_DEFAULT_CONFIG, help="board config: file, or the name of a shipped one")
    parser.add_argument("--seed", type=seed, default=1, help="seed of spread and noise (default 1)")
    parser.add_argument(
        "--report",
        type=report_file,
        metavar="FILE",
        help="write a .html, .json or .csv file; with several scenarios their names are added to it",
    )
    parser.add_argument("--json", action="store_true", help="print events and figures as JSON")
    parser.add_argument("--list", action="store_true", help="list the shipped scenarios")
    parser.add_argument("--faults", action="store_true", help="list the faults that a scenario may name")
    parser.add_argument("--suite", choices=sorted(_SUITES), help="run a whole suite instead of scenarios")
    return parser


def _print_trace(trace: Trace) -> None:
    print(f"{trace.meta['scenario']}: {trace.meta['text']}")
    for event in trace.events:
        print(f"  {event.time_ms:10.1f} ms  {event.kind:8} {event.text}")
    print(f"  simulated {trace.time_ms[-1] / 1000:g} s at {trace.meta['simulate_realtime_factor']:g} times real time")


def _summary(trace: Trace) -> dict[str, Any]:
    return {**trace.meta, "events": [vars(event) for event in trace.events]}


def _print_list() -> None:
    for path in sorted(scenario.FOLDER.glob("*.toml")):
        print(f"{path.stem:16} {scenario.load(path).text}")


def _print_faults() -> None:
    for name, spec in FAULTS.items():
        value = f"{spec.least:g} to {spec.most:g} {spec.unit}, else {spec.default:g}" if spec.unit else ""
        print(f"{name:16} {spec.where or 'rack':8} {value:30} {spec.text}")


def _run(arguments: argparse.Namespace) -> int:
    from halite.config import load
    from halite.hosts.cpython import run

    loaded = [scenario.load(name) for name in arguments.scenarios]
    config = load(arguments.config)
    levels = report.alarm_levels(config)
    traces = []
    for one in loaded:
        trace = run(one, config.path, arguments.seed)
        traces.append(trace)
        if not arguments.json:
            _print_trace(trace)
        if arguments.report:
            target: Path = arguments.report
            if len(loaded) > 1:
                target = target.with_stem(f"{target.stem}_{one.name}")
            report.write(trace, target, levels)
            print(f"report: {target}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([_summary(trace) for trace in traces]))
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit status. Raises HaliteError for what a user can put right."""
    suite = Parser(prog="halite simulate", add_help=False, allow_abbrev=False)
    suite.add_argument("--suite", choices=sorted(_SUITES))
    chosen, own = suite.parse_known_args(arguments)
    if chosen.suite:  # a suite has options of its own: it gets all that is left
        return int(import_module(_SUITES[chosen.suite]).main(own) or 0)
    options = parsed(_parser(), arguments)
    if options is None:
        return 0
    if options.list:
        _print_list()
        return 0
    if options.faults:
        _print_faults()
        return 0
    if not options.scenarios:
        raise MisuseError("simulate: which scenario?", "`halite simulate --list` shows the shipped ones")
    return _run(options)
