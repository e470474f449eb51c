"""The console protocol against arbitrary bytes: it answers or refuses, without an exception."""

import gc
import hashlib
import hmac
import json
from itertools import islice
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rack.comms.auth import Challenge, hmac_sha256
from rack.comms.commands_read import Commands
from rack.comms.console_protocol import Console
from rack.comms.terminal import Terminal
from rack.definitions.alarms import ROWS
from support.task_rig import pacing

RING = 1024


class Pipe(Terminal):
    """The real ring with a list of bytes on each side instead of a port."""

    def __init__(self, taking: bool = True) -> None:
        super().__init__()
        self.incoming = bytearray()
        self.sent = bytearray()
        self.taking = taking

    def read(self) -> int:
        return self.incoming.pop(0) if self.incoming else -1

    def _send(self, byte: int) -> bool:
        if self.taking:
            self.sent.append(byte)
        return self.taking

    def flush(self) -> None:
        while self.taking and self.room() < RING:
            self.drain()


def numbers(words: list[str]):
    yield ',"n":['
    for index in range(int(words[0]) if words else 3):
        yield ("," if index else "") + str(index)
    yield "]"


def table():
    return {"numbers": (numbers, "")}


def answers(terminal: Pipe) -> list[str]:
    return terminal.sent.decode("ascii").splitlines()


def talk(data: bytes, polls: int = 4_000, commands: dict | None = None) -> Pipe:
    terminal = Pipe()
    console = Console(terminal, commands or table(), ("numbers:count|others:not here",))
    terminal.incoming += data
    for _ in range(polls):
        console.poll()
        if not terminal.incoming and not console.busy:
            break
    terminal.flush()
    return terminal


@given(st.lists(st.one_of(st.binary(max_size=200), st.just(b"numbers 5"), st.just(b"help")), max_size=6))
def test_any_input_gives_complete_json_lines(lines: list[bytes]) -> None:
    """Any input bytes give complete lines of JSON and no other output."""
    terminal = talk(b"\n".join(lines) + b"\n")
    for line in answers(terminal):
        assert "re" in json.loads(line)


@given(st.integers(0, 2_000))
def test_a_long_answer_arrives_complete(count: int) -> None:
    """A long answer arrives complete at a host that reads."""
    terminal = talk(b"numbers %d\n" % count)
    (line,) = answers(terminal)
    assert json.loads(line)["n"] == list(range(count))
    assert terminal.dropped == 0


def test_a_host_that_does_not_read_stops_only_its_answer() -> None:
    """A host that does not read stops its answer, not the console."""
    terminal = Pipe(taking=False)
    console = Console(terminal, table(), ("numbers:count|others:not here",))
    terminal.incoming += b"numbers 2000\n"
    for _ in range(5_000):
        console.poll()
    assert console.busy and not terminal.sent and terminal.dropped == 0
    terminal.taking = True
    while console.busy:
        console.poll()
    terminal.flush()
    assert json.loads(answers(terminal)[0])["n"] == list(range(2_000))


def test_an_unknown_command_is_refused_with_its_name() -> None:
    (line,) = answers(talk(b"reboot now\n"))
    assert json.loads(line) == {"re": "reboot", "error": "no such command; try help"}


@pytest.mark.parametrize("said", [b"# healthy", b'{"re":"why","why":[]}', b'{"re":"","error":"no such command"}'])
def test_a_terminal_that_echoes_gets_no_answer_to_its_echo(said: bytes) -> None:
    assert answers(talk(said + b"\n")) == []


def test_a_long_unknown_word_is_echoed_in_part() -> None:
    """A refusal echoes only the beginning of a long unknown word."""
    for typed, echoed in ((b"x" * 119, "x" * 16), (b'"' * 119, "")):
        (line,) = answers(talk(typed + b"\n"))
        assert json.loads(line) == {"re": echoed, "error": "no such command; try help"}


def test_a_piece_of_an_answer_reads_one_record() -> None:
    """One piece of an answer reads at most one log record, because a silent FRAM costs its timeout for each."""
    read = []
    log = SimpleNamespace(lost=0, head=900, oldest=lambda: 0, read=read.append)
    app = MagicMock(reset_reason=0, storage=SimpleNamespace(log=log, lost=0, bad=0))
    records, _ = Commands(app).table["log"]
    for _ in records(["900"]):
        assert len(read) <= 1
        read.clear()


TAKE_WORDS = {"insulation", "log", "open", "pair", "response", "maintenance", "setpoint", "unlock"}
TAKE_ONE = {"tasks": "clear", "trace": "now"}


def like(handler, entry):
    """The handler with the words that the entry of the command accepts."""
    return (handler, entry[1]) if isinstance(entry, tuple) else handler


@pytest.mark.parametrize("name", sorted(Commands(MagicMock(reset_reason=0)).table))
def test_extra_words_are_refused_before_the_command(name: str) -> None:
    """A command with words that it does not take is refused and does not run."""
    entry, one = Commands(MagicMock(reset_reason=0)).table[name], TAKE_ONE.get(name, "")
    asked = MagicMock(return_value=(',"ok":true',))
    taken = {"": True, one: True, "nope": name in TAKE_WORDS, f"{one} nope": name in TAKE_WORDS}
    for words, is_taken in taken.items():
        asked.reset_mock()
        (line,) = answers(talk(f"{name} {words}\n".encode(), commands={name: like(asked, entry)}))
        refusal = json.loads(line).get("error")
        assert (asked.called, refusal is None) == (is_taken, is_taken), line
        assert is_taken or refusal == "takes no such words"


@pytest.mark.parametrize(("line", "says"), [("log 5 6", "number of records"), ("log x", "number of records"),
                                            ("unlock ab cd", "wrong answer"), ("maintenance ab cd", "wrong answer"),
                                            ("setpoint 1 2", "one whole number")])  # fmt: skip
def test_one_word_too_many_is_refused(line: str, says: str) -> None:
    app = MagicMock(reset_reason=0)
    app.params.maintenance_key, app.params.rack_power_max_W = bytes(32), 1_000
    (answer,) = answers(talk(line.encode() + b"\n", commands=Commands(app).table))
    assert says in json.loads(answer)["error"]


def test_links_shows_the_counters_of_every_driver() -> None:
    app = MagicMock(reset_reason=0)
    app.params.maintenance_key = bytes(32)
    app.afe = SimpleNamespace(invalid=1, wakes=2)
    app.can = SimpleNamespace(starts=3, bus_offs=4, aborted=5, rx_overflows=6, tec=7, rec=8)
    app.shunt = SimpleNamespace(starts=9, errors=10)
    app.storage.log.fram = SimpleNamespace(errors=11)
    (line,) = answers(talk(b"links\n", commands=Commands(app).table))
    assert json.loads(line) == {
        "re": "links", "afe_invalid": 1, "afe_wakes": 2, "can_starts": 3, "can_bus_offs": 4, "can_aborted": 5,
        "can_overflows": 6, "can_tec": 7, "can_rec": 8, "shunt_starts": 9, "shunt_errors": 10, "fram_errors": 11,
    }  # fmt: skip


def test_unquoted_texts_need_no_quoting() -> None:
    """Texts that the console sends without quoting are valid JSON strings and short."""
    commands = Commands(MagicMock(reset_reason=0)).table
    texts = dict(entry.split(":", 1) for text in Commands.help for entry in text.split("|"))
    assert len(commands) >= 20 and set(texts) == set(commands)
    for text in (*texts, *texts.values(), *(row[7] for row in ROWS)):
        assert json.dumps(text) == f'"{text}"'
    assert all(len(name) + len(text) < 58 for name, text in texts.items())  # a piece of an answer


def test_help_lists_exactly_the_commands() -> None:
    """`help` lists each command of the table and no other."""
    (line,) = answers(talk(b"help\n"))
    assert json.loads(line)["commands"] == {"help": "list the commands", "numbers": "count"}


def test_a_line_that_is_too_long_is_refused_once() -> None:
    """A line that is too long gets one refusal, and the next line works."""
    first, second = answers(talk(b"x" * 500 + b"\nnumbers 1\n"))
    assert "longer" in json.loads(first)["error"]
    assert json.loads(second)["n"] == [0]


@given(st.binary(max_size=64), st.binary(max_size=80))
def test_the_hmac_is_the_one_of_the_standard_library(key: bytes, message: bytes) -> None:
    assert hmac_sha256(key, message) == hmac.new(key, message, hashlib.sha256).digest()


@given(st.binary(min_size=16, max_size=32))
def test_a_challenge_is_answered_once_and_only_with_the_key(key: bytes) -> None:
    challenge = Challenge(key, lambda n: bytes(range(n)))
    answer = hmac.new(key, bytes.fromhex(challenge.ask()), hashlib.sha256).hexdigest()
    assert challenge.accepts(answer)
    assert not challenge.accepts(answer)
    challenge.ask()
    assert not challenge.accepts(hmac.new(key + b"x", bytes(range(16)), hashlib.sha256).hexdigest())


@pytest.mark.parametrize("answer", ["", "zz", "0", "é"])
def test_a_challenge_refuses_other_than_hexadecimal(answer: str) -> None:
    challenge = Challenge(b"key", lambda n: bytes(n))
    challenge.ask()
    assert not challenge.accepts(answer)


@pytest.mark.parametrize(("scan_ms", "passed_us"), [(5, 0), (10, 4_000), (10, 9_000)])
def test_an_answer_ends_without_a_quiet_moment(monkeypatch: pytest.MonkeyPatch, scan_ms: int, passed_us: int) -> None:
    """An answer that waits for a quiet moment continues after a bounded time without one."""
    monkeypatch.setattr(gc, "mem_free", lambda: 7, raising=False)
    tasks, _ = Commands(pacing(scan_ms, passed_us, reset_reason=0)).table["tasks"]
    pieces = list(islice(tasks([]), 1_000))
    start = "".join(pieces).index(',"heap_free":7')
    assert start == 0 and pieces.index(',"heap_free":7') > 1
