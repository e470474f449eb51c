"""Flashing a real MicroPython over its serial port: complete, verified, repeatable after any interruption."""

import hashlib
import random
import re
from functools import cache

import pytest
from halite.board import scripts
from halite.board.flash import STEPS, Job, flash
from halite.board.refusal import BoardError
from halite.build import firmware as build
from halite.common.image import image_path
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import read_files, with_files
from halite.emulator.runner import BoardRunner

KEY = bytes(range(32))

NEEDED = re.compile(
    r"boot.py|main.py|comms/(console_protocol|auth|terminal).mpy"
)

# The module that main.py starts.
START = re.search(r"import (rack\.\w+)", (build.FIRMWARE / "main.py").read_text()).group(1).replace(".", "/") + ".py"

# A small application with the firmware's own console and maintenance protocol, so that the test takes seconds.
APP = f"""
import os, machine, time
from comms.console_protocol import Console
from comms.auth import Challenge
from comms.terminal import Stdio
challenge = Challenge({KEY!r}, os.urandom)
def version(words):
    yield ',"healthy":true,"mode":"run"'
def maintenance(words):
    if not words:
        return (',"nonce":"%s"' % challenge.ask(),)
    if not challenge.accepts(words[0]):
        raise ValueError("wrong answer: ask for a new nonce")
    machine.mem32[0x4005800C] = 0x05E41CE5
    machine.reset()
def main():
    console = Console(Stdio(), {{"version": version, "maintenance": (maintenance, "")}}, ())
    while True:
        console.poll()
        time.sleep_ms(1)
"""


@cache
def firmware():
    """The modules of the firmware that the small application imports, compiled as for any board."""
    files = build.make(load("bench_rack")).files
    return {name: data for name, data in files.items() if NEEDED.fullmatch(name)}


def built(filler=1000):
    """The firmware's start files and console, the small application, and some bytes that do not compress."""
    noise = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(filler // 32))
    files = {START: APP.encode(), "rack/table.mpy": noise, "config.bin": b"config"}
    files.update(firmware())
    return build.Built(files, repr(sorted(files)).encode() + str(filler).encode())


@pytest.fixture(scope="module")
def runner():
    """A board with MicroPython and two files: one that would shadow a module, one of the user's own."""
    flash = with_files(EmulatedBoard(image_path()).flash_snapshot(), {"rack/table.py": b"stale", "notes.txt": b"mine"})
    with BoardRunner(EmulatedBoard(image_path(), flash=flash)) as runner:
        yield runner


@pytest.fixture
def port(runner):
    return runner.port.path


def job(port, contents, key=KEY):
    return Job(port, contents, key, lambda *_: None)


def on_board(runner):
    """{path: sha256} of the files in the board's flash, read from a snapshot without the board."""
    files = read_files(runner.call(runner.board.flash_snapshot))
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def hashes(contents):
    files = {**contents.files, build.MANIFEST: contents.manifest}
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def cut_after(monkeypatch, chunks):
    """Let the port vanish after this many chunks of the upload."""
    sent = []

    def send(session, data):
        sent.append(data)
        if len(sent) > chunks:
            raise OSError("unplugged")
        session._port.write(data)

    monkeypatch.setattr("halite.board.mpremote_adapter.Session.send", send)


def test_a_bare_board_becomes_a_running_rack(runner, port, monkeypatch):
    """A bare board becomes a running rack, also after each kind of interruption on the way."""
    wanted = built()
    cut_after(monkeypatch, 2)
    with pytest.raises(BoardError) as cut:
        flash(job(port, wanted))
    assert (cut.value.step, cut.value.reason.code) == ("upload", "vanished")
    assert build.MANIFEST not in on_board(runner)
    monkeypatch.undo()

    right, noise = scripts.stream, random.Random(1).randbytes(400)
    monkeypatch.setattr(scripts, "stream", lambda files: right(files)[:40] + noise)
    with pytest.raises(BoardError) as damaged:
        flash(job(port, wanted))
    assert damaged.value.step == "upload"
    assert damaged.value.reason.code in ("verify", "board_error")
    monkeypatch.undo()

    done = flash(job(port, wanted))
    assert done.report["healthy"] is True
    assert done.plan.remove == ["rack/table.py"]
    assert list(done.seconds) == [name for name, _, _ in STEPS]

    with pytest.raises(BoardError) as refused:
        flash(job(port, wanted, key=bytes(32)))
    assert (refused.value.step, refused.value.reason.code) == ("maintenance", "wrong_key")

    again = flash(job(port, built(2000)))
    assert set(again.plan.upload) == {"rack/table.mpy", build.MANIFEST}
    assert again.report["healthy"] is True


def test_the_board_holds_exactly_the_build(runner):
    assert on_board(runner) == {**hashes(built(2000)), "notes.txt": hashlib.sha256(b"mine").hexdigest()}
