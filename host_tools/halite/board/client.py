"""Speak the console protocol of a running rack: a line out, a line of JSON back.

Nothing here sends Ctrl-C or opens a REPL: a running rack is asked, never interrupted.
"""

import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

from halite.board.refusal import BoardError
from halite.board.serial_port import Port
from halite.common.errors import MisuseError

Answer = dict[str, Any]
PROMPT = ">>> "
_REFUSALS = dict.fromkeys(("close", "open", "reset", "maintenance", "unlock"), "refused")  # the rack's state refuses
_REFUSALS["response"] = "not_now"  # config, grid, recorder or an earlier test: `why` does not know them
_LONGEST = 120  # rack.comms.console_protocol
_TOLD = 16  # the same: of an unknown word so much comes back, of what is no word nothing
_PATIENCE = 6  # a talkative port is given so many times the longest silence
_LONG = {"trace": 36}  # but these: 11 kB; from a closed emulated board beside other work it took 70 s


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
    own = ("", word[:_TOLD], word) if "error" in found else (word,)
    return found if found.get("re") in own else None


def ask(port: Port, command: str, seconds: float = 5) -> Answer:
    """Send one command and return its answer; seconds: longest silence before and within it.

    BoardError: "no_answer" when there is none (with what came instead), "refused" when the rack says why not.
    """
    word = _first_word(command)
    last = ""
    most = _LONG.get(word, _PATIENCE) * seconds
    with _at_most(port, most):
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
    wanted, waited = ("no end of an answer", most) if port.expired else ("no answer", seconds)
    raise BoardError("no_answer", f"{port.path}: {wanted} to {word} in {waited:g} s{_quoted(last)}")


def _refused(port: Port, word: str, said: object) -> BoardError:
    """The rack's own words; the hint depends on whether it refuses, or the command was not understood."""
    text = str(said)
    code = "not_taken" if "takes" in text else _REFUSALS.get(word, "not_taken")
    return BoardError("wrong_key" if text.startswith("wrong answer") else code, f"{port.path}: {word}: {text}")


def _proof(port: Port, key: bytes, nonce: object) -> str:
    try:
        return hmac.new(key, bytes.fromhex(str(nonce)), hashlib.sha256).hexdigest()
    except ValueError:
        raise BoardError("no_answer", f"{port.path}: {str(nonce)[:40]!r} is no nonce") from None


@contextlib.contextmanager
def _at_most(port: Port, seconds: float) -> Iterator[None]:
    """As Port.within, but a port that talks on and on has simply not answered."""
    try:
        with port.within(seconds):
            yield
    except BoardError as error:
        if error.reason.code != "silent":
            raise


def _first_word(command: str) -> str:
    """What the answer will name; HaliteError for what the console would not take as one command."""
    words = command.split()
    if not words or len(command) > _LONGEST or not (command.isascii() and command.isprintable()):
        hint = f"printable ASCII, one line of 1 to {_LONGEST} characters"
        raise MisuseError(f"{command[:40]!r} is not a command", hint)
    return words[0]


def _quoted(line: str) -> str:
    return f", last line {line[-80:]!r}" if line else ""


def version(port: Port, seconds: float = 8) -> Answer | None:
    """What the application says of itself; None when a REPL prompt, nothing, or something else for ever comes.

    The Ctrl-B brings a raw REPL back to its prompt; the application refuses it like any other unprintable line.
    """
    with _at_most(port, 2 * seconds):
        port.write(b"\r\n\x02\r\nversion\r\n")
        for line in port.lines(seconds):
            answer = _answer(line, "version")
            if answer is not None or PROMPT in line:
                return answer
    return None


def _leaves(port: Port, command: str, seconds: float = 5) -> Answer | None:
    """Send a command that ends in a reset: None when the board left, else its answer."""
    try:
        with port.within(_PATIENCE * seconds):
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


def enter_maintenance(port: Port, key: bytes) -> None:
    """Ask a running rack to reset into maintenance mode; BoardError "refused" or "wrong_key" says why not.

    A rack in standby without a config has no key and closes nothing: it leaves at the first word.
    """
    asked = _leaves(port, "maintenance")
    if asked is not None and "nonce" in asked:
        asked = _leaves(port, f"maintenance {_proof(port, key, asked['nonce'])}")
    if asked is not None and "error" in asked:
        raise _refused(port, "maintenance", asked["error"])


def unlock(port: Port, key: bytes) -> Answer:
    """Take a rack out of its lock-out; BoardError "refused" or "wrong_key" says why not."""
    return ask(port, f"unlock {_proof(port, key, ask(port, 'maintenance').get('nonce'))}")


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
