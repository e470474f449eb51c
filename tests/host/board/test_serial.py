"""Ports and racks that misbehave: each gives one reason within its time, without a hang."""

import contextlib
import os
import pty
import subprocess
import sys
import threading
import time
import tty
from types import SimpleNamespace

import pytest
from halite.board import client, flash
from halite.board.mpremote_adapter import RawRepl
from halite.board.refusal import HINTS, BoardError
from halite.board.serial_port import SerialPort, holders
from halite.build.firmware import Built
from halite.cli import app as cli
from halite.common.errors import MisuseError
from rack.comms.auth import Challenge

KEY = bytes(range(32))


class FakeRack:
    """The far end of a pseudo-terminal: answers each line from `table`."""

    def __init__(self, table):
        self.table, self.lines = table, []
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path, self.slave = os.ttyname(slave), slave
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        """The thread ends with the slave; until then its handle must not become another test's."""
        os.close(self.slave)
        self.thread.join(5)
        os.close(self.master)

    def unplug(self):
        """Both ends go away; only while the rack is not served."""
        os.close(self.slave)
        os.close(self.master)

    def _serve(self):
        pending = b""
        with contextlib.suppress(OSError):
            while True:
                pending += os.read(self.master, 256)
                *whole, pending = pending.split(b"\n")
                for line in (line.strip().decode("latin-1") for line in whole):
                    if line:
                        self.lines.append(line)
                        os.write(self.master, self.answer(line))

    def answer(self, line):
        found = self.table.get(line.split()[0], b"")
        return found(line) if callable(found) else found


def reason(action):
    with pytest.raises(BoardError) as refused:
        action()
    assert "\n" not in str(refused.value)
    assert refused.value.reason.hint == HINTS[refused.value.reason.code]
    return refused.value.reason


def test_a_missing_port_is_reported_as_missing():
    assert reason(lambda: SerialPort("/dev/ttyNOWHERE")).code == "missing"


@pytest.mark.parametrize("path", ["/dev/null", __file__])
def test_a_path_that_is_not_a_port_is_refused(path):
    assert reason(lambda: SerialPort(path)).code == "not_a_port"


def test_a_port_in_use_names_its_holder():
    with FakeRack({}) as rack, SerialPort(rack.path):
        found = reason(lambda: SerialPort(rack.path))
        assert found.code == "busy"
        assert rack.path in found.text


def test_the_holder_is_the_process_with_the_lock():
    """As an emulator has its own port open: ending it would not free the port."""
    code = "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); {} print(flush=True); input()"
    both = ("", "fcntl.flock(fd, fcntl.LOCK_EX);")
    with FakeRack({}) as rack, contextlib.ExitStack() as stack:
        opener, locker = (
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code.format(lock), rack.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for lock in both
        )
        for process in (opener, locker):
            assert process.stdout.readline() == b"\n"
        assert set(holders(rack.path)) == {locker.pid}
        assert f"by process {locker.pid}" in reason(lambda: SerialPort(rack.path)).text
        for process in (locker, opener):
            process.communicate(b"\n")


def test_a_port_is_free_again_after_closing():
    with FakeRack({}) as rack:
        SerialPort(rack.path).close()
        SerialPort(rack.path).close()


def test_an_answer_is_found_among_other_lines():
    noise = b'# healthy\r\n{"re":"other"}\r\n{broken\r\n\xff\xfe\r\n{"re":"status","state":"open"}\r\n'
    with FakeRack({"status": noise}) as rack, SerialPort(rack.path) as port:
        assert client.ask(port, "status") == {"re": "status", "state": "open"}


def test_a_refusal_keeps_the_words_of_the_rack():
    with FakeRack({"close": b'{"re":"close","error":"a trip is latched"}\n'}) as rack, SerialPort(rack.path) as port:
        found = reason(lambda: client.ask(port, "close"))
        assert found.code == "refused"
        assert "a trip is latched" in found.text


def test_a_silent_port_ends_in_time_with_its_last_line():
    with FakeRack({"status": b"boo\r\n"}) as rack, SerialPort(rack.path) as port:
        begin = time.monotonic()
        found = reason(lambda: client.ask(port, "status", 0.3))
        assert found.code == "no_answer"
        assert "boo" in found.text
        assert time.monotonic() - begin < 3


def test_an_endless_talker_is_left_at_the_deadline():
    def chatter():
        while not quiet.wait(0.01):
            os.write(rack.master, b"blah\r\n")

    quiet, thread = threading.Event(), threading.Thread(target=chatter)
    with FakeRack({}) as rack, SerialPort(rack.path) as port:
        thread.start()
        begin = time.monotonic()
        try:
            found = reason(lambda: client.ask(port, "status", 0.2))
            assert (found.code, "blah" in found.text) == ("no_answer", True)
            assert client.version(port, 0.2) is None  # without an application, flash tries the REPL
            assert time.monotonic() - begin < 5
        finally:
            quiet.set()
            thread.join()


def test_a_port_that_vanishes_is_reported():
    rack = FakeRack({})  # not served: the test alone holds its end open
    with SerialPort(rack.path) as port:
        threading.Timer(0.2, rack.unplug).start()
        assert reason(lambda: client.ask(port, "status", 3)).code == "vanished"


def test_a_board_without_micropython_is_refused():
    """A board without MicroPython is refused, with the bytes that came back."""
    with FakeRack({}) as rack, SerialPort(rack.path) as port:
        begin = time.monotonic()
        found = reason(lambda: RawRepl(port).enter(1))
        assert found.code == "not_micropython"
        assert time.monotonic() - begin < 10


def test_a_prompt_is_not_a_running_rack():
    """A REPL prompt is not a running rack; an answer to `version` is."""
    with FakeRack({"version": b"Traceback\r\nNameError\r\n>>> "}) as rack, SerialPort(rack.path) as port:
        assert client.version(port, 1) is None
    with FakeRack({"version": b'{"re":"version","healthy":true}\n'}) as rack, SerialPort(rack.path) as port:
        assert client.version(port, 1) == {"re": "version", "healthy": True}


def rack_with_maintenance(key):
    """A fake rack whose maintenance command is the firmware's own challenge."""
    challenge = Challenge(key, os.urandom)

    def maintenance(line):
        words = line.split()
        if len(words) == 1:
            return b'{"re":"maintenance","nonce":"%s"}\n' % challenge.ask().encode()
        if challenge.accepts(words[1]):
            return b"MicroPython v1.27.0\r\n>>> "
        return b'{"re":"maintenance","error":"wrong answer: ask for a new nonce"}\n'

    def unlock(line):
        if challenge.accepts(line.split()[1]):
            return b'{"re":"unlock","ok":true}\n'
        return b'{"re":"unlock","error":"wrong answer: ask for a new nonce"}\n'

    return FakeRack({"maintenance": maintenance, "unlock": unlock})


def test_the_right_key_opens_maintenance_mode():
    with rack_with_maintenance(KEY) as rack, SerialPort(rack.path) as port:
        client.enter_maintenance(port, KEY)
        assert len(rack.lines) == 2


def test_a_wrong_key_is_reported():
    with rack_with_maintenance(KEY) as rack, SerialPort(rack.path) as port:
        assert reason(lambda: client.enter_maintenance(port, bytes(32))).code == "wrong_key"


def test_a_lock_out_ends_with_the_right_key_only():
    with rack_with_maintenance(KEY) as rack, SerialPort(rack.path) as port:
        assert client.unlock(port, KEY)["ok"] is True
        assert reason(lambda: client.unlock(port, bytes(32))).code == "wrong_key"


def test_a_rack_under_load_refuses_maintenance():
    table = {"maintenance": b'{"re":"maintenance","error":"under load: 900 dA flow"}\n'}
    with FakeRack(table) as rack, SerialPort(rack.path) as port:
        found = reason(lambda: client.enter_maintenance(port, KEY))
        assert (found.code, "under load" in found.text) == ("refused", True)


@pytest.mark.parametrize("nonce", [b'"zz"', b"7", b"null", b"[1]"])
def test_an_invalid_nonce_counts_as_no_answer(nonce):
    with FakeRack({"maintenance": b'{"re":"maintenance","nonce":%s}\n' % nonce}) as rack, SerialPort(rack.path) as port:
        for action in (client.enter_maintenance, client.unlock):
            assert reason(lambda action=action: action(port, KEY)).code == "no_answer"


@pytest.mark.parametrize(
    ("word", "said", "code"),
    [
        ("close", "a trip is latched", "refused"),
        ("close", "takes no such words", "not_taken"),
        ("response", "tests are not enabled in the config", "not_now"),
        ("response", "the recorder holds an event: read it, then rearm", "not_now"),
        ("response", "step takes 1..1000 mHz", "not_taken"),
        ("nope", "no such command; try help", "not_taken"),
        ("setpoint", "setpoint in W: one whole number, -1000 to 1000", "not_taken"),
    ],
)
def test_the_hint_depends_on_the_kind_of_refusal(word, said, code):
    """The hint differs for a refusal by state and for a command that was not understood."""
    table = {word: b'{"re":"%s","error":"%s"}\n' % (word.encode(), said.encode())}
    with FakeRack(table) as rack, SerialPort(rack.path) as port:
        assert reason(lambda: client.ask(port, word)).code == code


@pytest.mark.parametrize("log", ["[[1]]", "7", '[["a"]]', "null"])
def test_a_log_of_another_form_is_refused(log, capsys):
    """A log record of another form costs one line, not a traceback."""
    with FakeRack({"log": b'{"re":"log","log":%s}\n' % log.encode()}) as rack:
        assert cli.main(["exec", "--port", rack.path, "log"]) == 1
    assert capsys.readouterr().err.startswith("error: the log has another form")


def test_exec_passes_negative_numbers_but_no_options():
    """`exec` passes a negative number to the rack and refuses an unknown option."""
    with FakeRack({"response": b'{"re":"response","asked":"step"}\n'}) as rack:
        words = ["response", "test", "step", "-500", "mHz"]
        assert cli.main(["exec", "--port", rack.path, *words]) == 0
        assert rack.lines == ["response test step -500 mHz"]
        assert cli.main(["exec", "--port", rack.path, "open", "--now"]) == 2
        assert rack.lines == ["response test step -500 mHz"]


def test_a_long_answer_has_a_longer_deadline():
    """The client waits for a long answer while bytes come, and reports one without an end."""
    class Slow(FakeRack):
        def answer(self, line):
            for _ in range(70):     # far inside the longest silence each, together beyond the patience
                os.write(self.master, b"#")
                time.sleep(0.02)
            return b'\n{"re":"%s"}\n' % line.encode()

    with Slow({}) as rack, SerialPort(rack.path) as port:
        assert client.ask(port, "trace", 0.2) == {"re": "trace"}
        assert "no complete answer to status in 1.2 s" in reason(lambda: client.ask(port, "status", 0.2)).text


@pytest.mark.parametrize("command", ["", "  ", "sta\ntus", "caf\u00e9", "x" * 121, "a\x03"])
def test_an_invalid_command_is_not_sent(command):
    with FakeRack({}) as rack, SerialPort(rack.path) as port:
        with pytest.raises(MisuseError, match="is not a command"):
            client.ask(port, command)
        assert rack.lines == []


@pytest.mark.parametrize("garbled", [b'{"re":["status"]}', b"{}", b"[1]", b'{"re":' + b"9" * 3000 + b"}"])
def test_a_garbled_answer_counts_as_no_answer(garbled):
    with FakeRack({"status": garbled + b"\n"}) as rack, SerialPort(rack.path) as port:
        assert reason(lambda: client.ask(port, "status", 0.2)).code == "no_answer"


class Interrupted:
    """A raw REPL at whose door the user presses Ctrl-C."""

    def __init__(self, port):
        pass

    def enter(self):
        raise KeyboardInterrupt


class Garbled(Interrupted):
    """A raw REPL whose answers lost bytes on the way."""

    def enter(self):
        pass

    def run(self, code, seconds):
        return "('micropython', (1,\r\n"


def test_ctrl_c_in_a_flash_frees_the_port(monkeypatch, capsys):
    """Ctrl-C in a flash names the step where it stopped and frees the port."""
    monkeypatch.setattr("halite.board.flash.RawRepl", Interrupted)
    monkeypatch.setattr("halite.build.firmware.make", lambda config: Built({}, b""))
    with FakeRack({"version": b">>> "}) as rack:
        assert cli.main(["flash", "--config", "bench_rack", "--port", rack.path]) == 130
        assert "stopped at: enter the raw REPL; the same command finishes it" in capsys.readouterr().err
        SerialPort(rack.path).close()


def test_a_garbled_survey_ends_the_flash_with_a_reason(monkeypatch):
    monkeypatch.setattr("halite.board.flash.RawRepl", Garbled)
    with FakeRack({"version": b">>> "}) as rack:
        job = flash.Job(rack.path, Built({}, b""), KEY, lambda *_: None)
        assert reason(lambda: flash.flash(job)).code == "board_error"
        assert list(job.seconds) == ["open", "maintenance", "repl"]


@pytest.mark.parametrize("chip", ["rp2040", "rp2350"])
@pytest.mark.parametrize(
    ("machine", "mpy", "fits"),
    [
        ("Raspberry Pi Pico W with RP2040", 0x1306, "rp2040"),
        ("Raspberry Pi Pico2 with RP2350", 0x1F06, "rp2350"),
        ("Raspberry Pi Pico2 with RP2350-RISCV", 0x2F06, ""),
        ("Raspberry Pi Pico2 with RP2350", 0x1306, ""),
    ],
)
def test_code_for_one_chip_is_not_put_on_another(chip, machine, mpy, fits):
    job = flash.Job("port", Built({}, b"", chip), KEY, lambda *_: None)
    job.repl = SimpleNamespace(run=lambda code, seconds: repr(("micropython", (1, 27, 0), machine, mpy, "id", 10**6)))
    if chip == fits:
        flash._compare(job)
        assert job.survey.machine == machine
    else:
        found = reason(lambda: flash._compare(job))
        assert found.code == "wrong_firmware" and chip.upper() in found.text and job.plan is None


@pytest.mark.parametrize(
    ("path", "given", "wanted"), [("/dev/ttyACM0", 0, 120), ("/dev/pts/3", 0, 600), ("/dev/pts/3", 2, 2)]
)
def test_an_emulated_board_may_be_silent_for_longer(path, given, wanted):
    """After a reset, an emulated board may be silent for longer than a real one."""
    assert flash.Job(path, Built({}, b""), KEY, lambda *_: None, silence_s=given).silence_s == wanted


def test_a_wrong_port_is_refused_before_the_build(monkeypatch, capsys):
    monkeypatch.setattr("halite.build.firmware.make", lambda config: pytest.fail("built for nothing"))
    assert cli.main(["flash", "--config", "bench_rack", "--port", "/dev/null"]) == 1
    assert "not a serial port" in capsys.readouterr().err
