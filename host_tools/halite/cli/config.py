"""`halite config`: check, show and start board configs."""

from pathlib import Path
from typing import Annotated

import typer

from halite.cli.options import JsonOption, print_json
from halite.common.errors import HaliteError

app = typer.Typer(no_args_is_help=True, help="Check, show and start board configs.")


@app.command("check", epilog="Example: halite config check board_configs/sodium_rack.toml")
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Board configs, or names of shipped configs.")],
    as_json: JsonOption = False,
) -> None:
    """Check configs; print each problem with its line."""
    from halite.config import ConfigProblem, load

    problems: dict[str, list[str]] = {}
    for file in files:
        try:
            load(file)
            problems[file] = []
        except ConfigProblem as error:
            problems[file] = error.problems
        except HaliteError as error:
            problems[file] = [str(error)]
    if as_json:
        print_json([{"file": file, "ok": not found, "problems": found} for file, found in problems.items()])
    else:
        for file in (file for file, found in problems.items() if not found):
            print(f"{file}: ok")
    if any(problems.values()):
        raise HaliteError("\n".join(line for found in problems.values() for line in found))


@app.command("show", epilog="Example: halite config show sodium_rack --json")
def show(
    file: Annotated[str, typer.Argument(help="A board config, or the name of a shipped config.")],
    as_json: JsonOption = False,
) -> None:
    """Print a config with its units.

    Presets are merged: the board receives these values.
    """
    from halite.config import load
    from halite.config.show import as_text

    config = load(file)
    if as_json:
        print_json(config.sections)
    else:
        print(as_text(config))


@app.command("new", epilog="Example: halite config new my_rack.toml --from lfp_rack --name north-3")
def new(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    preset: Annotated[str, typer.Option("--from", help="The shipped config to start from.")] = "sodium_rack",
    name: Annotated[str, typer.Option(help="Name of the rack; without it, the name of the file.")] = "",
) -> None:
    """Start a config from a shipped config.

    The new config has its own name and a new maintenance key.
    """
    from halite.config.show import start_from

    start_from(preset, file, name or file.stem)
    print(f"{file}: edit it, then `halite config check {file}`")
