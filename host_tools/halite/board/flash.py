"""Put a build on a board: compare, upload the differences, verify, exchange, reset, wait for the rack's report.

The hazard is a half-updated rack. New files are written next to the old ones and verified first. Then the manifest is
deleted, the files are renamed, and the manifest is renamed last. After any interruption, the same command finishes the
update. If the board has no space for both sets, the files that only the old set has are deleted before the upload: an
interruption then leaves the board at its prompt, with the outputs off.
"""

import ast
import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from halite.board import client, scripts
from halite.board.mpremote_adapter import RawRepl, Session
from halite.board.refusal import BoardError
from halite.board.serial_port import SerialPort
from halite.build.firmware import MANIFEST, Built

Progress = Callable[[str, int, int], None]  # step, done, of

# Chip of a build: a part of MicroPython's name for the board, and its _mpy: .mpy version 6, sub-version 3, armv6m or
# armv7emsp (py/persistentcode.h; armv7emsp is not tested on a board yet).
# A boot.py for another chip would read a register that this chip does not have.
_BOARDS = {"rp2040": ("RP2040", 0x1306), "rp2350": ("RP2350", 0x1F06)}
_CHUNK = 1024
_PROMPTS = 3  # after this number of REPL prompts, the application has ended
_MAX_WAIT_s = 20.0  # for one answer
_SCANS = 1_000  # a rack that is not healthy after this number of scans has failed; it reports healthy after 50
_LOADABLE = (".py", ".mpy", ".new")


@dataclass
class Survey:
    """Contents of a board: identity, free bytes, and the SHA-256 of every file."""

    firmware: str
    machine: str
    unique_id: str
    free: int
    files: dict[str, str]


@dataclass
class Plan:
    """upload: path → name of the new file; rename: paths that their `.new` replaces; remove: paths to delete."""

    upload: dict[str, str]
    rename: list[str]
    remove: list[str]


@dataclass
class Job:
    """One flash run; the steps fill in its fields."""

    path: str
    built: Built
    maintenance_key: bytes
    progress: Progress
    silence_s: float = 0  # longest silence after the reset; 0: the default of the kind of port
    port: SerialPort | None = None
    repl: RawRepl | None = None
    survey: Survey | None = None
    plan: Plan | None = None
    removed: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Set the default silence: a board starts in 3 s, an emulated board took 171 s on a busy machine."""
        emulated = self.path.startswith("/dev/pts/")
        self.silence_s = self.silence_s or (600 if emulated else 120)

    @property
    def wanted(self) -> dict[str, bytes]:
        """Every file of the board, the manifest last."""
        return {**self.built.files, MANIFEST: self.built.manifest}


def make_plan(wanted: dict[str, bytes], present: dict[str, str]) -> Plan:
    """Compare wanted contents with the hashes on the board.

    A file that the board lacks is written under its own name; a changed file is written next to the old one as `.new`.
    Files that the interpreter could load are deleted, because a stale .py would shadow a new .mpy. Data files outside
    rack/ stay. The manifest is deleted first and renamed last, so that it exists only for a complete set.
    """
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in wanted.items()}
    differ = [path for path in wanted if present.get(path) != digests[path]]
    ours = [path for path in present if path.startswith("rack/") or path.endswith(_LOADABLE)]
    new_names = {path + ".new" for path in differ if path in present or path == MANIFEST}
    stale = [path for path in ours if path not in wanted and path not in new_names]
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
    job.port = SerialPort(job.path)


def _maintenance(job: Job) -> None:
    """Reset a running application into maintenance mode; a bare board is at its prompt already."""
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
    """Read identity and hashes of all files in one exchange, and make the plan."""
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
    needed = size + 4096 * len(files)
    if job.survey.free < needed <= job.survey.free + 4096 * len(job.plan.remove):
        _delete(job)
        _compare(job)
    if needed > job.survey.free:
        raise BoardError("no_space", f"{job.path}: {size} bytes to write, {job.survey.free} free")
    if files:
        stream = scripts.stream(files)  # made before the board waits for it: its timeout is 4 s
        with job.repl.running(scripts.UPLOAD, 60 + size / 500) as session:
            _send(list(files), stream, session, job.progress)


def _send(files: list[str], stream: bytes, session: Session, progress: Progress) -> None:
    """Send the stream to the board's receiver; USB pauses it while the board writes its flash."""
    marks = ""
    session.marks(wait=True)  # wait for "ready": before it, a Ctrl-C among the bytes would stop the receiver
    for at in range(0, len(stream), _CHUNK):
        session.send(stream[at : at + _CHUNK])
        progress("upload the differences", at + _CHUNK, len(stream))
        marks += session.marks()
        if session.ended:
            return  # the receiver has failed; RawRepl.running raises its error
    while len(marks) < len(files) and "-" not in marks and (more := session.marks(wait=True)):
        marks += more
    if "-" in marks:
        raise BoardError("verify", f"{files[marks.index('-')]} differs on the board from the file that was sent")


def _delete(job: Job, rename: Iterable[str] = ()) -> None:
    """Delete the files and the folders that the new set does not have, then rename the verified files."""
    assert job.repl and job.plan
    kept = _folders(list(job.wanted))
    empty = [folder for folder in _folders(job.plan.remove) if folder not in kept]
    job.repl.run(scripts.commit(job.plan.remove, rename, empty), 60)
    job.removed += job.plan.remove


def _exchange(job: Job) -> None:
    """Rename the verified files; the manifest is missing from the first deletion to the last rename."""
    assert job.plan
    if job.plan.remove or job.plan.rename:
        _delete(job, job.plan.rename)


def _reset(job: Job) -> None:
    assert job.repl and job.port
    job.repl.start(scripts.RESET)
    job.port.close()


def _report(job: Job) -> None:
    """Wait until the application reports healthy; else BoardError with its reason, or with the last line that came.

    Its run time is counted in its scans, because an emulated board may be many times slower than a real one.
    """
    end = time.monotonic() + job.silence_s
    last, prompts, wait_s = f"{job.path}: no answer", 0, 2.0
    while time.monotonic() < end and prompts < _PROMPTS:
        try:
            with client.reopen(job.path, 10) as port:
                job.report = client.ask(port, "version", min(wait_s, job.silence_s))
            end = time.monotonic() + job.silence_s
        except BoardError as error:
            prompts += error.reason.code == "at_prompt"
            last = error.text if prompts < 2 else last  # the first prompt comes with the traceback
            wait_s = min(2 * wait_s, _MAX_WAIT_s)  # short at first, because a question during the reset is lost
        if job.report.get("healthy"):
            return
        if job.report.get("mode") == "standby":
            raise BoardError("not_healthy", f"{job.path}: standby: {job.report.get('reason')}")
        if job.report.get("scans", 0) > _SCANS:
            last = f"{job.path}: runs, but not healthy: {job.report}"
            break
        time.sleep(0.2)
    raise BoardError("not_healthy", last)


#        name        text for the user                 action
STEPS = (
    ("open", "open the port", _open),
    ("maintenance", "ask for maintenance mode", _maintenance),
    ("repl", "enter the raw REPL", _repl),
    ("compare", "compare the files", _compare),
    ("upload", "upload the differences", _upload),
    ("exchange", "rename the new files", _exchange),
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
