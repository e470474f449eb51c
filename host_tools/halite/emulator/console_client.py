"""Asks the application on an emulated board over its console, in emulated time."""

import json
from typing import Any

from halite.common.errors import HaliteError
from halite.emulator.board import EmulatedBoard

_STEP_MS = 20.0


def ask(board: EmulatedBoard, command: str, emulated_ms: float = 2_000.0, wall_s: float = 300.0) -> dict[str, Any]:
    """Send a console command and return its answer; earlier output is forgotten. HaliteError without an answer."""
    board.forget_received()
    board.send(command.encode() + b"\n")
    name = command.split()[0]
    begin = _begin(name)

    def ended() -> bool:
        return b"}\n" in board.received.partition(begin)[2].replace(b"\r", b"")

    if not board.run_until(ended, emulated_ms, wall_s, _STEP_MS):
        raise HaliteError(f"the emulated board does not answer {command!r}")
    return last_answer(board, name)


def last_answer(board: EmulatedBoard, name: str) -> dict[str, Any]:
    """Return the last complete answer to the command `name` among the received lines. HaliteError without one."""
    begin = _begin(name)
    for line in reversed(board.received.replace(b"\r", b"").split(b"\n")[:-1]):
        if line.startswith(begin):
            answer: dict[str, Any] = json.loads(line)
            return answer
    raise HaliteError(f"the emulated board does not answer {name!r}")


def _begin(name: str) -> bytes:
    """Return the first bytes of an answer to a command."""
    return b'{"re":"%s"' % name.encode()
