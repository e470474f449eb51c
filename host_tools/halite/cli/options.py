"""Options and arguments that several verbs share, and the checks of their values.

A check runs before the verb's work: a wrong value costs one line and status 2. Typer also gives the default values to
the checks, so each must accept its own result.
"""

import json
import math
from pathlib import Path
from typing import Annotated

import typer


def _report_file(text: str, endings: tuple[str, ...]) -> Path:
    path = Path(text)
    if path.suffix not in endings:
        raise typer.BadParameter(f"{text!r}: allowed endings are {', '.join(endings)}")
    if path.is_dir():
        raise typer.BadParameter(f"{text!r}: is a folder")
    return path


def html_file(text: str) -> Path:
    """Path of a page to write. BadParameter for another ending than .html and for a folder."""
    return _report_file(text, (".html",))


def report_file(text: str) -> Path:
    """Path of a report to write: .html, .json or .csv."""
    return _report_file(text, (".html", ".json", ".csv"))


def whole_number(text: str | int) -> int:
    """A whole number from 0 on."""
    if not str(text).isdecimal():
        raise typer.BadParameter(f"{text!r}: allowed is a whole number from 0 on")
    return int(text)


def seconds(text: str) -> float:
    """Seconds, from 0 to a day."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 86_400:
        raise typer.BadParameter(f"{text!r}: allowed is 0 to 86400 s")
    return value


def print_json(answer: object) -> None:
    """Print an answer as indented JSON."""
    print(json.dumps(answer, indent=1))


CONFIG_HELP = "Board config: a file, or the name of a shipped config."

ConfigOption = Annotated[str, typer.Option("--config", "-c", metavar="FILE", help=CONFIG_HELP)]
PortOption = Annotated[str, typer.Option("--port", "-p", help="Serial port; optional while one board is connected.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
SeedOption = Annotated[int, typer.Option(parser=whole_number, metavar="N", help="Seed of spread and noise.")]

# of `halite simulate`
ScenarioArgument = Annotated[
    list[str] | None, typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of a shipped scenario.")
]
OptionalSeedOption = Annotated[
    int | None, typer.Option(parser=whole_number, metavar="N", help="Seed of spread and noise (1).")
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        parser=report_file,
        metavar="FILE",
        help="Write a .html, .json or .csv file (compliance: .html); with several scenarios, one for each name.",
    ),
]
ListOption = Annotated[bool, typer.Option("--list", help="List the shipped scenarios.")]
FaultsOption = Annotated[bool, typer.Option("--faults", help="List the faults that a scenario may name.")]
GridServiceOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Suite compliance: only this grid service; may be repeated.")
]
QuickOption = Annotated[bool, typer.Option("--quick", help="Suite compliance: skip the cases that last minutes.")]
FiguresOption = Annotated[Path | None, typer.Option(help="Suite board: JSON file of the figures.")]
