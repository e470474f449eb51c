"""The command `halite`: one verb per job, one line on failure, never a traceback for a user's mistake."""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from halite import __version__
from halite.common.errors import HaliteError, MisuseError, from_system

ConfigOption = Annotated[str, typer.Option("--config", "-c", help="A board config, or the name of a shipped one.")]
PortOption = Annotated[str, typer.Option("--port", "-p", help="Serial port; may be left out with one board.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
FilesArgument = Annotated[list[str], typer.Argument(help="Board configs (TOML), or names of shipped ones.")]

_TRACE = "HALITE_TRACE"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Configure, flash, watch and simulate Halite rack controllers.",
)
config_app = typer.Typer(no_args_is_help=True, help="Check, show and start board configs.")
app.add_typer(config_app, name="config")


def _print_json(answer: object) -> None:
    print(json.dumps(answer, indent=1))


@config_app.command("check", epilog="Example: halite config check board_configs/sodium_rack.toml")
def config_check(files: FilesArgument, as_json: JsonOption = False) -> None:
    """Say what is wrong with configs, line by line."""
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
    lines = [line for found in problems.values() for line in found]
    if as_json:
        _print_json([{"file": file, "ok": not found, "problems": found} for file, found in problems.items()])
    else:
        for file, found in problems.items():
            if not found:
                print(f"{file}: ok")
    if lines:
        raise HaliteError("\n".join(lines))


@config_app.command("show", epilog="Example: halite config show sodium_rack --json")
def config_show(file: Annotated[str, typer.Argument(help="A board config.")], as_json: JsonOption = False) -> None:
    """Print a config with its units.

    Presets are merged: this is what the board receives.
    """
    from halite.config import load
    from halite.config.show import as_text

    config = load(file)
    if as_json:
        _print_json(config.sections)
    else:
        print(as_text(config))


@config_app.command("new", epilog="Example: halite config new my_rack.toml --from lfp_rack --name north-3")
def config_new(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    preset: Annotated[str, typer.Option("--from", help="The shipped config to start from.")] = "sodium_rack",
    name: Annotated[str, typer.Option(help="Name of the rack; the file's name when left out.")] = "",
) -> None:
    """Start a config from a shipped one.

    It gets its own name and a fresh maintenance key.
    """
    from halite.config.show import start_from

    start_from(preset, file, name or file.stem)
    print(f"{file}: edit it, then `halite config check {file}`")


@app.command(epilog="Example: halite build --config sodium_rack --out build/sodium")
def build(
    config: ConfigOption,
    out: Annotated[Path, typer.Option(help="Folder to write; new, empty or an earlier build.")] = Path("build/board"),
    plain: Annotated[bool, typer.Option(help="Sources without viper, for the MicroPython unix port.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compile firmware and config for a board."""
    from halite.build import firmware as builder
    from halite.config import load

    built = builder.make(load(config), plain)
    builder.write(built, out)
    if as_json:
        _print_json(json.loads(built.manifest))
    else:
        print(f"{out}: {len(built.files)} files, {built.size} bytes")


@app.command(epilog="Example: halite flash --config sodium_rack --port /dev/ttyACM0")
def flash(config: ConfigOption, port: PortOption = "", as_json: JsonOption = False) -> None:
    """Put firmware and config on a board.

    Uploads what differs, verifies every file, resets, waits for the rack's own report.
    """
    from halite.board.flash_view import run

    answer = run(config, port, quiet=as_json)
    if as_json:
        _print_json(answer)


@app.command(
    "exec",
    epilog="Example: halite exec --port /dev/ttyACM0 why",
    context_settings={"ignore_unknown_options": True},  # numbers for the rack may be negative
)
def execute(
    command: Annotated[list[str], typer.Argument(help="status, cells, temps, alarms, version, tasks, why, help …")],
    port: PortOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ask a running rack one thing; it keeps running."""
    from halite.board.client import ask
    from halite.board.render import as_text
    from halite.board.serial_port import Port
    from halite.board.serial_ports import choose

    for word in command:
        if word.startswith("-") and not word[1:].isdigit():
            raise MisuseError(f"exec: no such option: {word}", "see `halite exec --help`")
    with Port(choose(port)) as link:
        answer = ask(link, " ".join(command))
    if as_json:
        _print_json(answer)
    else:
        print(as_text(answer))


@app.command(epilog="Example: halite unlock --config north-3.toml --port /dev/ttyACM0")
def unlock(config: ConfigOption, port: PortOption = "") -> None:
    """Take a rack out of its lock-out after repeated trips.

    Needs the config with the rack's maintenance key. Find out first why it trips.
    """
    from halite.board import client
    from halite.board.serial_port import Port
    from halite.board.serial_ports import choose
    from halite.config import load

    key = load(config).maintenance_key
    with Port(choose(port)) as link:
        client.unlock(link, key)
    print("unlocked: `halite exec reset`, then `halite exec close`")


@app.command(epilog="Example: halite console --port /dev/ttyACM0")
def console(
    port: PortOption = "",
    seconds: Annotated[float, typer.Option(help="Stop after this time; 0: until Ctrl-C.")] = 0,
) -> None:
    """Watch a running rack live.

    Ctrl-C leaves the view, the rack keeps running.
    """
    from halite.board.live import watch
    from halite.board.serial_ports import choose

    watch(choose(port), seconds)


@app.command(epilog="Example: halite boards --json")
def boards(as_json: JsonOption = False) -> None:
    """List the serial ports and their boards.

    Nothing is sent to them.
    """
    from halite.board.serial_ports import list_boards

    found = list_boards()
    if as_json:
        _print_json(found)
        return
    for row in found:
        print("  ".join(str(row[key]) for key in ("port", "kind", "serial_number", "location")))
    if not found:
        print("no serial ports")


def _verb(module: str) -> Callable[[typer.Context], None]:
    """A verb whose options belong to another part: `main(arguments) -> exit status` of its module."""

    def command(context: typer.Context) -> None:
        status: Any = import_module(module).main(context.args)
        raise typer.Exit(int(status or 0))

    return command


_OTHERS = {
    "emulate": ("halite.hosts.emulate", "Start an emulated rack controller on a serial port."),
    "simulate": ("halite.scenarios.run", "Run a scenario on the control logic, and write its report."),
    "demo": ("halite.cli.demo", "Flash an emulated rack and run the demonstration on it."),
    "bench": ("halite.bench.figures", "Measure the project's figures."),
}
for _name, (_module, _help) in _OTHERS.items():
    app.command(
        _name,
        help=_help,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_verb(_module))


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"halite {__version__}")
        raise typer.Exit


def _failed(error: HaliteError, arguments: list[str]) -> int:
    """Say it on stderr; also as data where data was asked for."""
    if "--json" in arguments and hasattr(error, "as_dict"):
        _print_json({"ok": False, **error.as_dict()})
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 2 if isinstance(error, MisuseError) else 1


def _broken(error: Exception) -> int:
    """A fault of ours: one line for who only uses it, the place for who mends it."""
    if os.environ.get(_TRACE):
        raise error
    said = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"error: a fault in halite itself: {said[:200]} ({_TRACE}=1 shows where; please report it)", file=sys.stderr)
    return 70


def _misused(error: typer.TyperException) -> int:
    """Wrong usage: one line, or the help of a verb that was given nothing."""
    message = str(getattr(error, "format_message", error.__str__)())
    print(message if "\n" in message else f"error: {message} (see `halite --help`)", file=sys.stderr)
    return 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; returns the exit status: 0, 1 refused, 2 wrong usage, 70 our fault, 130 Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(given, standalone_mode=False, prog_name="halite")
        sys.stdout.flush()  # who reads us may have left: known here, not when the interpreter ends
    except HaliteError as error:
        return _failed(error, given)
    except typer.TyperException as error:
        return _misused(error)
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # who read us left: nothing to flush at exit
        return 141
    except OSError as error:
        return _failed(from_system(error), given)
    except Exception as error:
        return _broken(error)
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
