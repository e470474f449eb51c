"""`halite simulate`: scenarios on the control logic, and the suites that judge all of them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from halite.cli.options import CONFIG_HELP, JsonOption, report_file, whole_number
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


def _refuse_foreign(suite: str, given: dict[str, Any]) -> None:
    """MisuseError for an option that belongs to another suite; it would be ignored without a word."""
    for name, value in given.items():
        if value and name not in _OWN[suite]:
            where = f"`--suite {suite}`" if suite else "a run without --suite"
            raise MisuseError(f"simulate: {name} does not apply to {where}", "see `halite simulate --help`")


@app.command(epilog="Example: halite simulate demo --config sodium_rack --report demo.html")
def simulate(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of a shipped scenario.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(parser=_suite, metavar="NAME", help="Run a whole suite: board or compliance.")
    ] = None,
    config: Annotated[str, typer.Option("--config", "-c", metavar="FILE", help=CONFIG_HELP)] = "",
    seed: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="N", help="Seed of spread and noise (1).")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            parser=report_file,
            metavar="FILE",
            help="Write a .html, .json or .csv file (compliance: .html); with several scenarios, one for each name.",
        ),
    ] = None,
    as_json: JsonOption = False,
    list_scenarios: Annotated[bool, typer.Option("--list", help="List the shipped scenarios.")] = False,
    list_faults: Annotated[bool, typer.Option("--faults", help="List the faults that a scenario may name.")] = False,
    grid_service: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Suite compliance: only this grid service; may be repeated."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Suite compliance: skip the cases that last minutes.")] = False,
    processes: Annotated[
        int | None, typer.Option(parser=_processes, metavar="N", help="Suite board: boards that run at a time (2).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Suite board: JSON file of the figures.")] = None,
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
        from halite.scenarios import board_suite

        status = board_suite.run(
            scenarios or [], config or _DEFAULT_CONFIG, processes or board_suite.PROCESSES,
            out or board_suite.OUTPUT, as_json,
        )  # fmt: skip
        raise typer.Exit(status)
    if suite == "compliance":
        from halite.scenarios.compliance import report as compliance

        if report and report.suffix != ".html":
            raise MisuseError("simulate: --report: allowed endings are .html", "see `halite simulate --help`")
        raise typer.Exit(compliance.run(grid_service, config, quick, report, as_json))
    from halite.scenarios import simulate as runs

    if list_scenarios:
        runs.print_list()
    elif list_faults:
        runs.print_faults()
    elif not scenarios:
        raise MisuseError("simulate: which scenario?", "`halite simulate --list` shows the shipped ones")
    else:
        runs.simulate(scenarios, config or _DEFAULT_CONFIG, _DEFAULT_SEED if seed is None else seed, report, as_json)
