"""Speak the console protocol of a running rack: a line out, a line of JSON back.

Nothing here sends Ctrl-C or opens a REPL: a running rack is asked, never interrupted.
"""

import hashlib
import hmac
import json
import time
from typing import Any

from halite.board.refusal import BoardError
from halite.board.serial_port import Port

Answer = dict[str, Any]
PROMPT = ">>> "


def _answer(line: str, word: str) -> Answer | None:
    """The JSON object of an answer to `word`; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and found.get("re") == word else None


def ask(port: Port, command: str, seconds: float = 5) -> Answer:
    """Send one command and return its answer.

    BoardError: "no_answer" when there is none (with what came instead), "refused" when the rack says why not.
    """
    word = command.split()[0]
    last = ""
    with port.within(seconds + 1):
        port.write(b"\r\n" + command.encode() + b"\r\n")
        for line in port.lines(seconds):
            answer = _answer(line, word)
            if answer is not None:
                if "error" in answer:
                    raise BoardError("refused", f"{port.path}: {word}: {answer['error']}")
                return answer
            last = line.strip() or last
    came = f", last line {last[-60:]!r}" if last else ""
    raise BoardError("no_answer", f"{port.path}: no answer to {word} in {seconds:g} s{came}")


def is_running(port: Port, seconds: float = 3) -> bool:
    """True when the application answers, False when a REPL prompt or nothing comes."""
    with port.within(seconds + 1):
        port.write(b"\r\nstatus\r\n")
        for line in port.lines(seconds):
            if _answer(line, "status") is not None:
                return True
            if line.endswith(PROMPT) or line.startswith(PROMPT):
                return False
    return False


def enter_service(port: Port, key: bytes) -> None:
    """Ask a running rack to reset into service mode; BoardError "refused" or "wrong_key" says why not."""
    nonce = ask(port, "service").get("nonce", "")
    proof = hmac.new(key, bytes.fromhex(nonce), hashlib.sha256).hexdigest()
    try:
        ask(port, f"service {proof}")
    except BoardError as error:
        if error.reason.code == "refused" and "key" in error.text:
            raise BoardError("wrong_key", error.text) from None
        raise


def reopen(path: str, seconds: float) -> Port:
    """Open a port that goes away and comes back during a reset."""
    end = time.monotonic() + seconds
    while True:
        try:
            return Port(path)
        except BoardError as error:
            if time.monotonic() > end or error.reason.code not in ("missing", "busy", "permission"):
                raise
            time.sleep(0.1)
