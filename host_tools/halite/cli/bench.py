"""`halite bench`: the project's measured figures."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command(epilog="Example: halite bench response")
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PART", help="Only these parts: simulation, board, deadman, racks, kernel, response, demo."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file of the figures; build/bench.json when all parts are measured.")
    ] = None,
) -> None:
    """Measure the project's figures.

    All parts take about half an hour. The status is 1 when a figure misses its bar.
    """
    from halite.bench import figures

    raise typer.Exit(figures.run(parts or (), out or (None if parts else figures.OUTPUT)))
