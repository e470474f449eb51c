"""Client of a running rack's console: it sends a line and reads a line of JSON.

It does not send Ctrl-C and does not open a REPL, so it cannot interrupt a running rack.
"""

import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

from halite.board.refusal import BoardError
from halite.board.serial_port import SerialPort
from halite.common.errors import MisuseError

Answer = dict[str, Any]
PROMPT = ">>> "
_REFUSALS = dict.fromkeys(("close", "open", "reset", "maintenance", "unlock"), "refused")  # by the rack's state
_REFUSALS["response"] = "not_now"  # by config, grid, recorder or an earlier test, which `why` does not list
_LONGEST = 120  # characters of a line: rack.comms.console_protocol
_ECHOED = 16  # characters of an unknown word in a refusal, if it has letters only: rack.comms.console_protocol
_DEADLINE = 6  # of a port that keeps sending, in multiples of the longest silence
_LONG_DEADLINES = {"trace": 36}  # 11 kB: it took 70 s from a closed emulated board on a busy machine


def _answer(line: str, word: str) -> Answer | None:
    """The JSON object of an answer to `word`; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    own = ("", word[:_ECHOED], word) if "error" in found else (word,)
    return found if found.get("re") in own else None


def ask(port: SerialPort, command: str, seconds: float = 5) -> Answer:
    """Send one command and return its answer. seconds: longest silence before and within the answer.

    BoardError "no_answer" when no answer comes, with the last line; another code when the rack refuses.
    """
    word = _first_word(command)
    last = ""
    deadline = _LONG_DEADLINES.get(word, _DEADLINE) * seconds
    with _within(port, deadline):
        port.write(b"\r\n" + command.encode() + b"\r\n")
        for line in port.lines(seconds):
            answer = _answer(line, word)
            if answer is not None:
                if "error" in answer:
                    raise _refused(port, word, answer["error"])
                return answer
            if PROMPT in line:
                raise BoardError("at_prompt", f"{port.path}: no application, only the REPL{_quoted(last)}")
            last = line.strip() or last
    missing, waited = ("no complete answer", deadline) if port.expired else ("no answer", seconds)
    raise BoardError("no_answer", f"{port.path}: {missing} to {word} in {waited:g} s{_quoted(last)}")


def _refused(port: SerialPort, word: str, error: object) -> BoardError:
    """The rack's text with a code: the state refuses, or the command was not understood ("takes" in the text)."""
    text = str(error)
    code = "not_taken" if "takes" in text else _REFUSALS.get(word, "not_taken")
    return BoardError("wrong_key" if text.startswith("wrong answer") else code, f"{port.path}: {word}: {text}")


def _proof(port: SerialPort, key: bytes, nonce: object) -> str:
    try:
        return hmac.new(key, bytes.fromhex(str(nonce)), hashlib.sha256).hexdigest()
    except ValueError:
        raise BoardError("no_answer", f"{port.path}: {str(nonce)[:40]!r} is not a nonce") from None


@contextlib.contextmanager
def _within(port: SerialPort, seconds: float) -> Iterator[None]:
    """As SerialPort.within, but without an error at the deadline: a port that keeps sending has not answered."""
    try:
        with port.within(seconds):
            yield
    except BoardError as error:
        if error.reason.code != "silent":
            raise


def _first_word(command: str) -> str:
    """The command's word, which its answer repeats; MisuseError for a line that the console would refuse."""
    words = command.split()
    if not words or len(command) > _LONGEST or not (command.isascii() and command.isprintable()):
        hint = f"printable ASCII, one line of 1 to {_LONGEST} characters"
        raise MisuseError(f"{command[:40]!r} is not a command", hint)
    return words[0]


def _quoted(line: str) -> str:
    return f", last line {line[-80:]!r}" if line else ""


def version(port: SerialPort, seconds: float = 8) -> Answer | None:
    """The application's answer to `version`; None for a REPL prompt, silence, or an endless stream of other lines.

    The Ctrl-B ends a raw REPL; the application refuses it as an unprintable line.
    """
    with _within(port, 2 * seconds):
        port.write(b"\r\n\x02\r\nversion\r\n")
        for line in port.lines(seconds):
            answer = _answer(line, "version")
            if answer is not None or PROMPT in line:
                return answer
    return None


def _leaves(port: SerialPort, command: str, seconds: float = 5) -> Answer | None:
    """Send a command that ends in a reset. Returns None after the reset, else the answer."""
    try:
        with port.within(_DEADLINE * seconds):
            port.write(b"\r\n" + command.encode() + b"\r\n")
            for line in port.lines(seconds):
                if (answer := _answer(line, "maintenance")) is not None:
                    return answer
                if PROMPT in line:
                    return None
    except BoardError as error:
        if error.reason.code != "vanished":
            raise
    return None


def enter_maintenance(port: SerialPort, key: bytes) -> None:
    """Reset a running rack into maintenance mode; BoardError "refused" or "wrong_key" with the reason.

    A rack in standby cannot close, so it enters maintenance mode without a proof.
    """
    asked = _leaves(port, "maintenance")
    if asked is not None and "nonce" in asked:
        asked = _leaves(port, f"maintenance {_proof(port, key, asked['nonce'])}")
    if asked is not None and "error" in asked:
        raise _refused(port, "maintenance", asked["error"])


def unlock(port: SerialPort, key: bytes) -> Answer:
    """Take a rack out of its lock-out; BoardError "refused" or "wrong_key" with the reason."""
    return ask(port, f"unlock {_proof(port, key, ask(port, 'maintenance').get('nonce'))}")


def reopen(path: str, seconds: float) -> SerialPort:
    """Open a port that disappears and returns during a reset; try for `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            return SerialPort(path)
        except BoardError as error:
            if time.monotonic() > end or error.reason.code not in ("missing", "busy", "permission"):
                raise
            time.sleep(0.1)
