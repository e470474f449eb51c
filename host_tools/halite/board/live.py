"""A live view of a running rack: its answers to `status` and `alarms`, refreshed until Ctrl-C."""

import contextlib
import time

from rich.columns import Columns
from rich.live import Live
from rich.panel import Panel

from halite.board.client import ask
from halite.board.render import as_text
from halite.board.serial_port import SerialPort

_COMMANDS = ("status", "alarms")
_PERIOD_s = 1.0


def _view(port: SerialPort) -> Columns:
    return Columns([Panel(as_text(ask(port, command)), title=command) for command in _COMMANDS])


def watch(path: str, seconds: float) -> None:
    """Show the rack for `seconds`, or until Ctrl-C when 0; BoardError when the rack stops answering."""
    end = time.monotonic() + seconds if seconds else float("inf")
    with (
        SerialPort(path) as port,
        contextlib.suppress(KeyboardInterrupt),
        Live(_view(port), auto_refresh=False) as live,
    ):
        while time.monotonic() < end:
            time.sleep(min(_PERIOD_s, max(0.0, end - time.monotonic())))
            live.update(_view(port), refresh=True)
