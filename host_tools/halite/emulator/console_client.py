"""Asks the application on an emulated board over its console, in emulated time."""

import json
from typing import Any

from halite.common.errors import HaliteError
from halite.emulator.board import EmulatedBoard

_STEP_MS = 20.0


def ask(board: EmulatedBoard, command: str, emulated_ms: float = 2_000.0, wall_s: float = 300.0) -> dict[str, Any]:
    """The application's answer to a command; HaliteError when none comes."""
    board.forget_received()
    board.send(command.encode() + b"\n")
    start = b'{"re":"%s"' % command.split()[0].encode()

    def rest() -> bytes:
        return board.received.partition(start)[2].replace(b"\r", b"")

    if not board.run_until(lambda: b"}\n" in rest(), emulated_ms, wall_s, _STEP_MS):
        raise HaliteError(f"the emulated board does not answer {command!r}")
    answer: dict[str, Any] = json.loads(start + rest().partition(b"\n")[0])
    return answer
