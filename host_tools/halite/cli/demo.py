"""`halite demo`: the demonstration on an emulated rack."""

from pathlib import Path
from typing import Annotated

import typer

from halite.cli.options import CONFIG_HELP, JsonOption, html_file

app = typer.Typer()


@app.command(epilog="Example: halite demo --config sodium_rack")
def demo(
    config: Annotated[str, typer.Option("--config", "-c", metavar="FILE", help=CONFIG_HELP)] = "sodium_rack",
    scenario: Annotated[str, typer.Option(help="Scenario: a file, or the name of a shipped scenario.")] = "demo",
    report: Annotated[Path, typer.Option(parser=html_file, metavar="FILE", help="Page to write (.html).")] = Path(
        "build/demo.html"
    ),
    as_json: JsonOption = False,
) -> None:
    """Flash an emulated rack through its serial port and run a scenario on it.

    The status is 1 when a part of the demonstration did not happen.
    """
    from halite.bench.demo import demonstrate

    demonstrate(config, scenario, report, as_json)
