"""Put a build on a board: compare, upload what differs, verify, exchange, reset, wait for its own report.

A half-updated rack is the hazard. New files are written beside the old ones and verified first;
then the manifest goes away, names are exchanged, and the manifest comes back last. Whatever
interrupts it, the same command finishes it.
"""

import ast
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from halite.board import client, scripts
from halite.board.mpremote_adapter import RawRepl, Session
from halite.board.refusal import BoardError
from halite.board.serial_port import Port
from halite.build.firmware import MANIFEST, Built

Progress = Callable[[str, int, int], None]  # step, done, of

# Chip of a build: a part of the name that MicroPython has for the board, and its _mpy:
# .mpy version 6, sub-version 3, armv6m or armv7emsp (py/persistentcode.h; the second not yet seen on a board).
# boot.py for another chip would read a register where this one has none.
_BOARDS = {"rp2040": ("RP2040", 0x1306), "rp2350": ("RP2350", 0x1F06)}
_CHUNK = 1024
_PROMPTS = 3  # a REPL seen so often: the application has ended
_PATIENCE_s = 20.0  # the longest wait for one answer
_SCANS = 1_000  # scans after which a rack that does not call itself healthy never will: it does after 50
_LOADABLE = (".py", ".mpy", ".new")


@dataclass
class Survey:
    """What is on a board: identity, free bytes, and the SHA-256 of every file."""

    firmware: str
    machine: str
    unique_id: str
    free: int
    files: dict[str, str]


@dataclass
class Plan:
    """upload: path → name to write it under; rename: paths whose `.new` takes their place; remove: paths to delete."""

    upload: dict[str, str]
    rename: list[str]
    remove: list[str]


@dataclass
class Job:
    """One flash run; the steps fill it in."""

    path: str
    built: Built
    maintenance_key: bytes
    progress: Progress
    silence_s: float = 0  # longest silence after the reset; 0: what a board behind such a port may need
    port: Port | None = None
    repl: RawRepl | None = None
    survey: Survey | None = None
    plan: Plan | None = None
    report: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A board starts in 3 s; an emulated one took 171 s on a machine with much else to do."""
        emulated = self.path.startswith("/dev/pts/")
        self.silence_s = self.silence_s or (600 if emulated else 120)

    @property
    def wanted(self) -> dict[str, bytes]:
        """Every file of the board, the manifest last."""
        return {**self.built.files, MANIFEST: self.built.manifest}


def make_plan(wanted: dict[str, bytes], present: dict[str, str]) -> Plan:
    """Compare wanted contents with the hashes on the board.

    A file the board does not have is written under its name, another beside the old one as `.new`. Whatever the
    interpreter could load is ours to delete: a stale .py would shadow a new .mpy. Data files outside rack/ stay.
    The manifest is deleted first and renamed last, so that it is there only for a complete set.
    """
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in wanted.items()}
    differ = [path for path in wanted if present.get(path) != digests[path]]
    ours = [path for path in present if path.startswith("rack/") or path.endswith(_LOADABLE)]
    beside = {path + ".new" for path in differ if path in present or path == MANIFEST}
    stale = [path for path in ours if path not in wanted and path not in beside]
    if (differ or stale) and MANIFEST not in differ:
        differ.append(MANIFEST)
    rename = [path for path in differ if path in present or path == MANIFEST]
    fresh = {path: path + ".new" if path in rename else path for path in differ}
    upload = {path: name for path, name in fresh.items() if present.get(name) != digests[path]}
    first = [MANIFEST] if rename and MANIFEST in present else []
    return Plan(upload, rename, first + [path for path in stale if path not in fresh.values()])


def _folders(paths: list[str]) -> list[str]:
    """The folders of the paths, deepest first."""
    found = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}
    return sorted(found, key=lambda folder: -folder.count("/"))


def _open(job: Job) -> None:
    job.port = Port(job.path)


def _maintenance(job: Job) -> None:
    """Ask a running application for maintenance mode; a bare board is at its prompt already."""
    assert job.port
    if client.version(job.port) is None:
        return
    client.enter_maintenance(job.port, job.maintenance_key)
    job.port.close()
    job.port = client.reopen(job.path, 10)


def _repl(job: Job) -> None:
    assert job.port
    job.repl = RawRepl(job.port)
    job.repl.enter()


def _compare(job: Job) -> None:
    """One exchange: identity and every file's hash."""
    assert job.repl
    lines = [line for line in job.repl.run(scripts.SURVEY, 30).splitlines() if line.strip()]
    try:
        head, *rows = (ast.literal_eval(line) for line in lines)
        name, version, machine, mpy, unique_id, free = head
    except (ValueError, SyntaxError, TypeError):
        text = f"{job.path}: the list of its files cannot be read: {lines[:1]!r}"
        raise BoardError("board_error", text[:200]) from None
    firmware = f"{name} {'.'.join(str(part) for part in version)}"
    chip, wanted = _BOARDS[job.built.chip]
    if name != "micropython" or mpy != wanted or chip not in machine:
        found = f"{firmware} on {machine} (mpy {mpy:#x})"
        raise BoardError("wrong_firmware", f"{job.path}: {found}, the config is for {chip} (mpy {wanted:#x})")
    job.survey = Survey(firmware, machine, unique_id, free, dict(rows))
    job.plan = make_plan(job.wanted, job.survey.files)


def _upload(job: Job) -> None:
    assert job.repl and job.plan and job.survey
    files = {"/" + name: job.wanted[path] for path, name in job.plan.upload.items()}
    size = sum(len(data) for data in files.values())
    if size + 4096 * len(files) > job.survey.free:
        raise BoardError("no_space", f"{job.path}: {size} bytes to write, {job.survey.free} free")
    if files:
        stream = scripts.stream(files)  # before the board waits for it: its patience is 4 s
        with job.repl.running(scripts.UPLOAD, 60 + size / 500) as session:
            _send(list(files), stream, session, job.progress)


def _send(files: list[str], stream: bytes, session: Session, progress: Progress) -> None:
    """Feed the board's receiver; USB holds us back while the board writes its flash."""
    marks = ""
    session.marks(wait=True)  # ready: before that a Ctrl-C among the bytes would stop it
    for at in range(0, len(stream), _CHUNK):
        session.send(stream[at : at + _CHUNK])
        progress("upload what differs", at + _CHUNK, len(stream))
        marks += session.marks()
        if session.ended:
            return  # the receiver failed: its error follows in the exchange
    while len(marks) < len(files) and "-" not in marks and (more := session.marks(wait=True)):
        marks += more
    if "-" in marks:
        raise BoardError("verify", f"{files[marks.index('-')]} does not read back as it was sent")


def _exchange(job: Job) -> None:
    """Swap the verified files in; from the first deletion to the last rename the manifest is missing."""
    assert job.repl and job.plan
    plan = job.plan
    if plan.remove or plan.rename:
        kept = _folders(list(job.wanted))
        empty = [folder for folder in _folders(plan.remove) if folder not in kept]
        job.repl.run(scripts.commit(plan.remove, plan.rename, empty), 60)


def _reset(job: Job) -> None:
    assert job.repl and job.port
    job.repl.start(scripts.RESET)
    job.port.close()


def _report(job: Job) -> None:
    """Wait until the application calls itself healthy; its own reason, or what came instead, is the failure.

    How long it has run is counted in its own scans: an emulated board may be many times slower than a real one.
    """
    end = time.monotonic() + job.silence_s
    last, prompts, patience = f"{job.path}: nothing came back", 0, 2.0
    while time.monotonic() < end and prompts < _PROMPTS:
        try:
            with client.reopen(job.path, 10) as port:
                job.report = client.ask(port, "version", min(patience, job.silence_s))
            end = time.monotonic() + job.silence_s
        except BoardError as error:
            prompts += error.reason.code == "at_prompt"
            last = error.text if prompts < 2 else last  # the first prompt comes with the traceback
            patience = min(2 * patience, _PATIENCE_s)  # what was asked during the reset is lost: ask again soon
        if job.report.get("healthy"):
            return
        if job.report.get("mode") == "standby":
            raise BoardError("not_healthy", f"{job.path}: standby: {job.report.get('reason')}")
        if job.report.get("scans", 0) > _SCANS:
            last = f"{job.path}: runs, but not healthy: {job.report}"
            break
        time.sleep(0.2)
    raise BoardError("not_healthy", last)


#        name        what a person reads               action
STEPS = (
    ("open", "open the port", _open),
    ("maintenance", "ask for maintenance mode", _maintenance),
    ("repl", "enter the raw REPL", _repl),
    ("compare", "compare the files", _compare),
    ("upload", "upload what differs", _upload),
    ("exchange", "swap the new files in", _exchange),
    ("reset", "reset the board", _reset),
    ("report", "wait for the rack's report", _report),
)


def flash(job: Job) -> Job:
    """Run all steps; BoardError carries the step that failed. The port is closed in any case."""
    try:
        for name, text, action in STEPS:
            job.progress(text, 0, 0)
            begin = time.monotonic()
            try:
                action(job)
            except BoardError as error:
                error.step = name
                raise
            job.seconds[name] = round(time.monotonic() - begin, 3)
    finally:
        if job.port:
            job.port.close()
    return job
