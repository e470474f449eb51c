"""Verbs that talk to a board over its serial port: flash, exec, console, unlock, commission; boards, image."""

from typing import Annotated

import typer

from halite.cli.options import ConfigOption, JsonOption, PortOption, print_json
from halite.common.errors import MisuseError

app = typer.Typer()


@app.command(epilog="Example: halite flash --config sodium_rack --port /dev/ttyACM0")
def flash(
    config: ConfigOption,
    port: PortOption = "",
    as_json: JsonOption = False,
    development: Annotated[bool, typer.Option(help="Accept a maintenance key that everybody knows.")] = False,
) -> None:
    """Put firmware and config on a board.

    Uploads the files that differ, verifies every file, resets the board, and waits for the rack's own report.
    """
    from halite.board.flash_view import run

    answer = run(config, port, quiet=as_json, development=development)
    if as_json:
        print_json(answer)


@app.command(
    "exec",
    epilog="Example: halite exec --port /dev/ttyACM0 why",
    context_settings={"ignore_unknown_options": True},  # numbers for the rack may be negative
)
def execute(
    command: Annotated[list[str], typer.Argument(help="status, cells, temps, alarms, version, tasks, why, help ...")],
    port: PortOption = "",
    as_json: JsonOption = False,
) -> None:
    """Send one console command to a running rack.

    The rack keeps running. `halite exec help` lists its commands.
    """
    from halite.board.client import ask
    from halite.board.render import as_text
    from halite.board.serial_port import SerialPort
    from halite.board.serial_ports import choose

    for word in command:
        if word.startswith("-") and not word[1:].isdigit():
            raise MisuseError(f"exec: no such option: {word}", "see `halite exec --help`")
    with SerialPort(choose(port)) as link:
        answer = ask(link, " ".join(command))
    if as_json:
        print_json(answer)
    else:
        print(as_text(answer))


@app.command(epilog="Example: halite unlock --config north-3.toml --port /dev/ttyACM0")
def unlock(config: ConfigOption, port: PortOption = "") -> None:
    """Take a rack out of its lock-out after repeated trips, or release a deep discharge.

    Needs the config with the rack's maintenance key. Find the cause of the trips, inspect the cells first.
    """
    from halite.board import client
    from halite.board.serial_port import SerialPort
    from halite.board.serial_ports import choose
    from halite.config import load

    key = load(config, judged=False).maintenance_key
    with SerialPort(choose(port)) as link:
        client.unlock(link, key)
    print("unlocked: `halite exec reset`, then `halite exec close`")


@app.command(epilog="Example: halite console --port /dev/ttyACM0")
def console(
    port: PortOption = "",
    seconds: Annotated[float, typer.Option(help="Stop after this time; 0: until Ctrl-C.")] = 0,
) -> None:
    """Watch a running rack live.

    Ctrl-C leaves the view; the rack keeps running.
    """
    from halite.board.live import watch
    from halite.board.serial_ports import choose

    watch(choose(port), seconds)


@app.command(epilog="Example: halite commission --grid-service gb_dc --port /dev/ttyACM0")
def commission(
    grid_service: Annotated[str, typer.Option(metavar="NAME", help="Grid service of the rack, a preset.")],
    port: PortOption = "",
) -> None:
    """Judge the response test that a rack has run.

    Run the test first: `halite exec response test step -500`, for example. The status is 1 when a figure misses its
    limit.
    """
    from halite.board import commissioning
    from halite.board.client import ask
    from halite.board.serial_port import SerialPort
    from halite.board.serial_ports import choose

    with SerialPort(choose(port)) as link:
        rows = commissioning.judge(grid_service, ask(link, "response test"), ask(link, "trace"))
    for row in rows:
        print(commissioning.as_text(row))
    print("the recorder holds this trace and records no later event until `halite exec rearm`")
    raise typer.Exit(0 if all(row.ok for row in rows) else 1)


@app.command(epilog="Example: halite boards --json")
def boards(as_json: JsonOption = False) -> None:
    """List the serial ports and their boards.

    The command does not send anything to them.
    """
    from halite.board.serial_ports import list_boards

    found = list_boards()
    if as_json:
        print_json(found)
        return
    for row in found:
        print("  ".join(str(row[key]) for key in ("port", "kind", "serial_number", "location")))
    if not found:
        print("no serial ports")


@app.command(epilog="Example: halite image")
def image() -> None:
    """Print the path of the tested MicroPython image.

    Fetches the image once and checks its hash. A new board needs this file: copy it while the board is in BOOTSEL mode.
    """
    from halite.common.image import image_path

    print(image_path())
