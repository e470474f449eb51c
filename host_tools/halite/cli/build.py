"""`halite build`: compile firmware and config into a folder."""

import json
from pathlib import Path
from typing import Annotated

import typer

from halite.cli.options import ConfigOption, JsonOption, print_json

app = typer.Typer()


@app.command(epilog="Example: halite build --config sodium_rack --out build/sodium")
def build(
    config: ConfigOption,
    out: Annotated[Path, typer.Option(help="Folder to write: new, empty, or an earlier build.")] = Path("build/board"),
    plain: Annotated[bool, typer.Option(help="Sources without viper, for the MicroPython unix port.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compile firmware and config for a board."""
    from halite.build import firmware
    from halite.config import load

    built = firmware.make(load(config), plain)
    firmware.write(built, out)
    if as_json:
        print_json(json.loads(built.manifest))
    else:
        print(f"{out}: {len(built.files)} files, {built.size} bytes")
