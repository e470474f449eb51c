"""The console protocol against arbitrary bytes: it answers or refuses, and never escapes."""

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
def test_any_bytes_give_whole_json_lines_and_nothing_else(lines: list[bytes]) -> None:
    terminal = talk(b"\n".join(lines) + b"\n")
    for line in answers(terminal):
        assert "re" in json.loads(line)


@given(st.integers(0, 2_000))
def test_a_long_answer_arrives_whole_when_the_host_reads(count: int) -> None:
    terminal = talk(b"numbers %d\n" % count)
    (line,) = answers(terminal)
    assert json.loads(line)["n"] == list(range(count))
    assert terminal.dropped == 0


def test_a_host_that_does_not_read_stops_the_answer_and_not_the_console() -> None:
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


def test_of_a_long_word_that_is_no_command_only_the_beginning_is_told() -> None:
    for said, told in ((b"x" * 119, "x" * 16), (b'"' * 119, "")):
        (line,) = answers(talk(said + b"\n"))
        assert json.loads(line) == {"re": told, "error": "no such command; try help"}


def test_an_answer_never_reads_more_than_one_record_at_a_time() -> None:
    """A memory that has fallen silent costs its time for each."""
    read = []
    log = SimpleNamespace(lost=0, head=900, oldest=lambda: 0, read=read.append)
    app = SimpleNamespace(storage=SimpleNamespace(log=log, lost=0, bad=0))
    for _ in Commands._records(SimpleNamespace(_app=app), 900):
        assert len(read) <= 1
        read.clear()


TAKE_WORDS = {"insulation", "logs", "open", "pair", "response", "maintenance", "setpoint", "unlock"}
TAKE_ONE = {"tasks": "clear", "events": "now"}


def like(handler, entry):
    """The handler, with the words that the command's own may be given."""
    return (handler, entry[1]) if isinstance(entry, tuple) else handler


@pytest.mark.parametrize("name", sorted(Commands(MagicMock()).table))
def test_words_that_a_command_does_not_take_are_refused_and_nothing_is_done(name: str) -> None:
    entry, one = Commands(MagicMock()).table[name], TAKE_ONE.get(name, "")
    asked = MagicMock(return_value=(',"ok":true',))
    taken = {"": True, one: True, "nope": name in TAKE_WORDS, f"{one} nope": name in TAKE_WORDS}
    for words, is_taken in taken.items():
        asked.reset_mock()
        (line,) = answers(talk(f"{name} {words}\n".encode(), commands={name: like(asked, entry)}))
        refusal = json.loads(line).get("error")
        assert (asked.called, refusal is None) == (is_taken, is_taken), line
        assert is_taken or refusal == "takes no such words"


@pytest.mark.parametrize(("line", "says"), [("logs 5 6", "number of records"), ("logs x", "number of records"),
                                            ("unlock ab cd", "wrong answer"), ("maintenance ab cd", "wrong answer"),
                                            ("setpoint 1 2", "one whole number")])  # fmt: skip
def test_one_word_too_many_is_not_passed_over(line: str, says: str) -> None:
    app = MagicMock()
    app.params.maintenance_key, app.params.rack_power_max_W = bytes(32), 1_000
    (answer,) = answers(talk(line.encode() + b"\n", commands=Commands(app).table))
    assert says in json.loads(answer)["error"]


def test_links_tells_what_every_driver_on_a_wire_has_counted() -> None:
    app = MagicMock()
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


def test_the_texts_that_are_sent_without_quoting_need_none() -> None:
    commands = Commands(MagicMock()).table
    told = dict(entry.split(":", 1) for text in Commands.help for entry in text.split("|"))
    assert len(commands) >= 20 and set(told) == set(commands)
    for text in (*told, *told.values(), *(row[7] for row in ROWS)):
        assert json.dumps(text) == f'"{text}"'
    assert all(len(name) + len(text) < 58 for name, text in told.items())  # a piece of an answer


def test_help_tells_each_command_that_there_is_and_no_other() -> None:
    (line,) = answers(talk(b"help\n"))
    assert json.loads(line)["commands"] == {"help": "list the commands", "numbers": "count"}


def test_a_line_that_is_too_long_is_refused_once_and_the_next_one_works() -> None:
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
def test_a_challenge_refuses_what_is_not_hexadecimal(answer: str) -> None:
    challenge = Challenge(b"key", lambda n: bytes(n))
    challenge.ask()
    assert not challenge.accepts(answer)


@pytest.mark.parametrize(("scan_ms", "passed_us"), [(5, 0), (10, 4_000), (10, 9_000)])
def test_an_answer_that_waits_for_a_quiet_moment_ends_without_one(scan_ms: int, passed_us: int) -> None:
    app = SimpleNamespace(console_task=pacing(scan_ms, passed_us).console_task)
    pieces = list(islice(Commands._heap(SimpleNamespace(_app=app), "heap_free", lambda: 7), 1_000))
    assert len(pieces) > 1 and "".join(pieces) == ',"heap_free":7'
