"""`halite simulate`: scenarios on the control logic, and the suites that judge all of them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from halite.cli.options import (
    ConfigOption,
    FaultsOption,
    FiguresOption,
    GridServiceOption,
    JsonOption,
    ListOption,
    OptionalSeedOption,
    QuickOption,
    ReportOption,
    ScenarioArgument,
    whole_number,
)
from halite.common.errors import MisuseError

app = typer.Typer()

_DEFAULT_CONFIG = "sodium_rack"
_DEFAULT_SEED = 1
# the options that each suite takes; "": a run without --suite
_OWN = {
    "": ("scenarios", "--seed", "--report", "--list", "--faults"),
    "board": ("scenarios", "--processes", "--out"),
    "compliance": ("--grid-service", "--quick", "--report"),
}


def _suite(text: str) -> str:
    if text not in _OWN:
        raise typer.BadParameter(f"{text!r}: allowed are {', '.join(name for name in _OWN if name)}")
    return text


def _processes(text: str) -> int:
    number = whole_number(text)
    if not 1 <= number <= 64:
        raise typer.BadParameter(f"{text!r}: allowed is 1 to 64")
    return number


SuiteOption = Annotated[
    str | None, typer.Option(parser=_suite, metavar="NAME", help="Run a whole suite: board or compliance.")
]
ProcessesOption = Annotated[
    int | None, typer.Option(parser=_processes, metavar="N", help="Suite board: boards that run at a time (2).")
]


def _refuse_foreign(suite: str, given: dict[str, Any]) -> None:
    """MisuseError for an option that belongs to another suite; it would be ignored without a word."""
    for name, value in given.items():
        if value and name not in _OWN[suite]:
            where = f"`--suite {suite}`" if suite else "a run without --suite"
            raise MisuseError(f"simulate: {name} does not apply to {where}", "see `halite simulate --help`")


def _board(names: list[str], config: str, processes: int | None, out: Path | None, as_json: bool) -> int:
    """Run the suite `board`; the status of the command."""
    from halite.scenarios import board_suite

    return board_suite.run(names, config, processes or board_suite.PROCESSES, out or board_suite.OUTPUT, as_json)


def _compliance(
    grid_services: list[str] | None, config: str, quick: bool, report: Path | None, as_json: bool
) -> int:
    """Run the suite `compliance`; the status of the command."""
    from halite.scenarios.compliance import report as compliance

    if report and report.suffix != ".html":
        raise MisuseError("simulate: --report: allowed endings are .html", "see `halite simulate --help`")
    return compliance.run(grid_services, config, quick, report, as_json)


@app.command(epilog="Example: halite simulate demo --config sodium_rack --report demo.html")
def simulate(
    scenarios: ScenarioArgument = None,
    suite: SuiteOption = None,
    config: ConfigOption = "",
    seed: OptionalSeedOption = None,
    report: ReportOption = None,
    as_json: JsonOption = False,
    list_scenarios: ListOption = False,
    list_faults: FaultsOption = False,
    grid_service: GridServiceOption = None,
    quick: QuickOption = False,
    processes: ProcessesOption = None,
    out: FiguresOption = None,
) -> None:
    """Run scenarios on the control logic, faster than real time.

    `--suite board` plays scenarios whole on the emulated board and compares. `--suite compliance` judges every preset
    of a grid service, or the rack of --config. The status is 1 when a suite finds a failure.
    """
    given = {"--seed": seed, "--report": report, "--list": list_scenarios, "--faults": list_faults,
             "--grid-service": grid_service, "--quick": quick, "--processes": processes, "--out": out,
             "scenarios": scenarios}  # fmt: skip
    _refuse_foreign(suite or "", {name: value is not None and value is not False for name, value in given.items()})
    if suite == "board":
        raise typer.Exit(_board(scenarios or [], config or _DEFAULT_CONFIG, processes, out, as_json))
    if suite == "compliance":
        raise typer.Exit(_compliance(grid_service, config, quick, report, as_json))
    from halite.scenarios import simulate as runs

    if list_scenarios:
        runs.print_list()
    elif list_faults:
        runs.print_faults()
    elif not scenarios:
        raise MisuseError("simulate: which scenario?", "`halite simulate --list` shows the shipped ones")
    else:
        runs.simulate(scenarios, config or _DEFAULT_CONFIG, _DEFAULT_SEED if seed is None else seed, report, as_json)
