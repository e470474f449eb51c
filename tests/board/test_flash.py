"""Flashing a real MicroPython over its serial port: complete, verified, repeatable after any cut."""

import hashlib
import os
import re

import pytest
from halite import build
from halite.board import scripts
from halite.board.client import enter_service
from halite.board.flash import STEPS, Job, flash
from halite.board.mpremote_adapter import RawRepl
from halite.board.refusal import BoardError
from halite.board.serial_port import Port
from halite.emulator.board import EmulatedBoard
from halite.emulator.runner import BoardRunner
from halite.image import image_path

KEY = bytes(range(32))

# What main.py starts.
START = re.search(r"import (rack\.\w+)", (build.FIRMWARE / "main.py").read_text()).group(1).replace(".", "/") + ".py"

# A small application with the firmware's own console and service protocol, so that the test takes seconds.
APP = f"""
import os, machine
from rack.comms.console import Console
from rack.comms.service import Challenge
from rack.comms.stdio import Stdio
challenge = Challenge({KEY!r}, os.urandom)
def version(words):
    yield ',"healthy":true,"mode":"run"'
def service(words):
    if not words:
        return (',"nonce":"%s"' % challenge.ask(),)
    if not challenge.accepts(words[0]):
        raise ValueError("wrong answer: ask for a new nonce")
    machine.mem32[0x4005800C] = 0x05E41CE5
    machine.reset()
def main():
    console = Console(Stdio(), {{"version": (version, ""), "service": (service, "")}})
    while True:
        console.poll()
"""


def built(filler=1000):
    """The firmware's start files and console, the small application, and some bytes that do not compress."""
    noise = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(filler // 32))
    files = {START: APP.encode(), "rack/table.mpy": noise, "config.bin": b"config"}
    for name in ("boot.py", "main.py", "rack/__init__.py", "rack/comms/__init__.py"):
        files[name] = (build.FIRMWARE / name).read_bytes()
    for name in ("console", "service", "stdio"):
        files[f"rack/comms/{name}.py"] = (build.FIRMWARE / f"rack/comms/{name}.py").read_bytes()
    return build.Built(files, repr(sorted(files)).encode() + str(filler).encode())


@pytest.fixture(scope="module")
def port():
    with BoardRunner(EmulatedBoard(image_path())) as runner:
        yield runner.port.path


def job(port, contents, key=KEY):
    return Job(port, contents, key, lambda *_: None)


def on_board(port):
    """{path: sha256} of what the board holds, asked apart from the flash."""
    with Port(port) as link:
        repl = RawRepl(link)
        repl.enter()
        return dict(eval(line) for line in repl.run(scripts.SURVEY, 30).splitlines()[1:] if line)


def hashes(contents):
    files = {**contents.files, build.MANIFEST: contents.manifest}
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def put(port, path, data):
    with Port(port) as link:
        repl = RawRepl(link)
        repl.enter()
        repl.run("import os\nif 'rack' not in os.listdir():\n os.mkdir('rack')")
        repl.run(f"with open({path!r}, 'wb') as f:\n f.write({data!r})")


def cut_after(monkeypatch, chunks):
    """Let the port vanish after so many chunks of the upload."""
    sent = []

    def send(session, data):
        sent.append(data)
        if len(sent) > chunks:
            raise OSError("unplugged")
        session._port.write(data)

    monkeypatch.setattr("halite.board.mpremote_adapter.Session.send", send)


def test_a_bare_board_becomes_a_running_rack_whatever_happens_on_the_way(port, monkeypatch):
    wanted = built()
    put(port, "rack/table.py", b"stale = True")  # would shadow table.mpy
    put(port, "notes.txt", b"mine")

    cut_after(monkeypatch, 2)
    with pytest.raises(BoardError) as cut:
        flash(job(port, wanted))
    assert (cut.value.step, cut.value.reason.code) == ("upload", "vanished")
    assert build.MANIFEST not in on_board(port)
    monkeypatch.undo()

    right = scripts.stream
    monkeypatch.setattr(scripts, "stream", lambda files: right(files)[:40] + os.urandom(400))
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
    assert (refused.value.step, refused.value.reason.code) == ("service", "wrong_key")

    again = flash(job(port, built(2000)))
    assert set(again.plan.upload) == {"rack/table.mpy", build.MANIFEST}
    assert again.report["healthy"] is True


def test_what_is_on_the_board_then_is_exactly_what_was_built(port):
    with Port(port) as link:
        enter_service(link, KEY)
    assert on_board(port) == {**hashes(built(2000)), "notes.txt": hashlib.sha256(b"mine").hexdigest()}
