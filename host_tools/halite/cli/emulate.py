"""`halite emulate` and `halite demo`: an emulated rack controller on a serial port, and the demonstration on one."""

from pathlib import Path
from typing import Annotated

import typer

from halite.cli.options import CONFIG_HELP, JsonOption, SeedOption, html_file
from halite.cli.options import seconds as parse_seconds

app = typer.Typer()


@app.command(epilog="Example: halite emulate --config sodium_rack --flash rack.flash --scenario demo --after 4")
def emulate(
    config: Annotated[str, typer.Option("--config", "-c", metavar="FILE", help=CONFIG_HELP)] = "sodium_rack",
    scenario: Annotated[
        str | None,
        typer.Option(metavar="SCENARIO", help="Scenario to play: a file, or the name of a shipped scenario."),
    ] = None,
    after: Annotated[
        float,
        typer.Option(
            parser=parse_seconds, metavar="S", help="Emulated seconds before the scenario; a rack takes 4 to start."
        ),
    ] = 0.0,
    seed: SeedOption = 1,
    flash: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the flash in this file between runs; without it the board is bare."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="UF2", help="MicroPython image instead of the cached image.")
    ] = None,
) -> None:
    """Start an emulated rack controller on a serial port.

    The board is a Raspberry Pi Pico W with the real MicroPython image, wired to a simulated rack. Prints the path of
    its serial port, then that of its RS-485 line. Runs until Ctrl-C.
    """
    from halite.scenarios import emulate as live

    raise typer.Exit(live.emulate(config, scenario, after, seed, flash, image))


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
