"""Runs code on an emulated board through MicroPython's raw REPL, in emulated time; for tests and measurements."""

from halite.emulator.board import EmulatedBoard

_STEP_MS = 0.5


class ReplError(RuntimeError):
    """The code raised an exception on the board, or it did not end. The text is the traceback or the last output."""


def at_prompt(board: EmulatedBoard, emulated_ms: float = 5000.0) -> None:
    """Interrupt the running code and run until the raw REPL answers. ReplError when it does not answer in time."""
    board.forget_received()
    board.send(b"\r\x03\x03\x01")
    if not board.run_until(lambda: board.received.endswith(b"raw REPL; CTRL-B to exit\r\n>"), emulated_ms):
        raise ReplError(f"no raw REPL: {board.received[-200:]!r}")


def run_code(board: EmulatedBoard, code: str, emulated_ms: float = 2000.0, wall_s: float = 60.0) -> str:
    """Run code at the raw REPL and return its output. ReplError for an exception or a timeout."""
    board.forget_received()
    board.send(code.encode() + b"\x04")
    ended = board.run_until(lambda: board.received.count(b"\x04") >= 2, emulated_ms, wall_s, _STEP_MS)
    answer = board.received
    if not ended or not answer.startswith(b"OK"):
        raise ReplError(f"no end of the code within {emulated_ms:g} ms: {answer[-200:]!r}")
    output, error, *_ = answer[2:].split(b"\x04")
    if error:
        raise ReplError(error.decode(errors="replace"))
    return output.decode(errors="replace").replace("\r\n", "\n")
