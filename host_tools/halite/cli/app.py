"""The command `halite`: one verb per job. A user's mistake costs one line without a traceback.

Each verb's module imports the parts that do the work inside its functions: `halite --help` must not load them all.
"""

import os
import sys
from typing import Annotated

import typer

from halite import __version__
from halite.cli import bench, board, build, config, dev, emulate, simulate
from halite.cli.options import print_json
from halite.common.errors import HaliteError, MisuseError, from_system

_TRACE = "HALITE_TRACE"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Configure, flash, watch and simulate Halite rack controllers.",
)
for _part in (build, board, simulate, emulate, bench):
    app.add_typer(_part.app)
app.add_typer(config.app, name="config")
app.add_typer(dev.app, name="dev")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"halite {__version__}")
        raise typer.Exit


def _failed(error: HaliteError, arguments: list[str]) -> int:
    """Print the error on stderr, and as JSON on stdout when --json was given; returns the exit status."""
    if "--json" in arguments and hasattr(error, "as_dict"):
        print_json({"ok": False, **error.as_dict()})
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 2 if isinstance(error, MisuseError) else 1


def _broken(error: Exception) -> int:
    """Internal error: one line for the user, a traceback with HALITE_TRACE=1."""
    if os.environ.get(_TRACE):
        raise error
    text = " ".join(f"{type(error).__name__}: {error}".split())
    print(
        f"error: internal error in halite: {text[:200]} ({_TRACE}=1 shows the traceback; please report it)",
        file=sys.stderr,
    )
    return 70


def _misused(error: typer.TyperException) -> int:
    """Wrong usage: one line, or the help of a command group that was called without a verb."""
    message = str(getattr(error, "format_message", error.__str__)())
    if "\n" in message:
        print(message, file=sys.stderr)
        return 2
    option, text = getattr(error, "param_hint", None) or _option(error), getattr(error, "message", "")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "halite"
    verb = command.removeprefix("halite").strip()
    shown = f"{option}: {text}" if option and text else message
    print(f"error: {f'{verb}: ' if verb else ''}{shown} (see `{command} --help`)", file=sys.stderr)
    return 2


def _option(error: typer.TyperException) -> str:
    """The option with a wrong value, as `--seed`; "" for another mistake."""
    parameter = getattr(error, "param", None)
    names = getattr(parameter, "opts", None) or [""]
    return str(names[0]) if str(names[0]).startswith("--") else ""


def main(arguments: list[str] | None = None) -> int:
    """Run one command line.

    Returns the exit status: 0; 1 refused; 2 wrong usage; 70 internal error; 130 Ctrl-C; 141 the reader has closed.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(given, standalone_mode=False, prog_name="halite")
        sys.stdout.flush()  # the reader of our pipe may be gone: detect it here, not when the interpreter ends
    except HaliteError as error:
        return _failed(error, given)
    except typer.TyperException as error:
        return _misused(error)
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter flushes to the pipe again
        return 141
    except OSError as error:
        return _failed(from_system(error), given)
    except Exception as error:
        return _broken(error)
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
