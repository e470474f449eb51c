"""However a board looks and wherever a flash is cut, running it again ends with exactly the wanted files."""

import contextlib
import hashlib
from types import SimpleNamespace

import pytest
from halite.board import flash
from halite.board.flash import MANIFEST, make_plan
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ["boot.py", "main.py", "rack/a.mpy", "rack/b.mpy", "rack/control/c.mpy", "sense/c.mpy", "config.bin"]
STRAY = [
    "rack/a.py",
    "rack/old.mpy",
    "sense/c.py",
    "lib/rack.py",
    "rack/a.mpy.new",
    "manifest.json.new",
    "notes.txt",
    "data/log.bin",
]
OURS_TO_DELETE = {"rack/a.py", "rack/old.mpy", "sense/c.py", "lib/rack.py", "rack/a.mpy.new", "manifest.json.new"}

contents = st.sampled_from([b"one", b"two", b"three"])
wanted_files = st.dictionaries(st.sampled_from(NAMES), contents, min_size=1).map(
    lambda files: {"config.bin": b"c", **files, MANIFEST: repr(sorted(files.items())).encode()}
)
boards = st.dictionaries(st.sampled_from([*NAMES, *STRAY, MANIFEST]), contents)


def operations(wanted, files):
    """The single changes a flash makes to a board, in order."""
    plan = make_plan(wanted, {path: hashlib.sha256(data).hexdigest() for path, data in files.items()})
    return [
        *(("write", name, wanted[path]) for path, name in plan.upload.items()),
        *(("remove", path, None) for path in plan.remove),
        *(("rename", path, None) for path in plan.rename),
    ]


def apply(files, steps):
    for what, path, data in steps:
        if what == "write":
            files[path] = data
        elif what == "remove":
            del files[path]
        else:
            files[path] = files.pop(path + ".new")


@given(wanted_files, boards, st.integers(0, 30))
@settings(max_examples=300, deadline=None)
def test_a_cut_flash_is_finished_by_the_next_one(wanted, files, cut):
    kept = {path: data for path, data in files.items() if path in STRAY and path not in OURS_TO_DELETE}
    steps = operations(wanted, files)
    apply(files, steps[:cut])
    if files.get(MANIFEST) == wanted[MANIFEST] and cut >= len(steps):
        assert {path: files[path] for path in wanted} == wanted
    apply(files, operations(wanted, files))
    assert files == {**kept, **wanted}
    assert operations(wanted, files) == []


@given(wanted_files, boards, st.integers(0, 30))
@settings(max_examples=300, deadline=None)
def test_the_manifest_is_there_only_for_a_complete_set(wanted, files, cut):
    before = dict(files)
    files.pop(MANIFEST, None) if files.get(MANIFEST) == wanted[MANIFEST] else None
    apply(files, operations(wanted, files)[:cut])
    if files.get(MANIFEST) == wanted[MANIFEST]:
        assert {path: files[path] for path in wanted} == wanted
    elif MANIFEST in files:  # still the old manifest: its files have not changed
        assert all(files.get(path) == data for path, data in before.items() if not path.endswith(".new"))


def test_a_board_with_equal_files_is_not_changed():
    wanted = {"main.py": b"x", MANIFEST: b"m"}
    assert operations(wanted, dict(wanted)) == []


def test_the_upload_is_compressed_before_it_starts(monkeypatch: pytest.MonkeyPatch):
    """The receiver's patience is 4 s, and packing takes the host longer than that when it is busy."""
    order = []

    @contextlib.contextmanager
    def running(code, seconds):
        order.append("the board waits")
        yield None

    files = {"main.py": b"x", MANIFEST: b"m"}
    job = SimpleNamespace(repl=SimpleNamespace(running=running), plan=make_plan(files, {}), wanted=files,
                          survey=SimpleNamespace(free=1 << 20), path="", progress=None)  # fmt: skip
    monkeypatch.setattr(flash.scripts, "stream", lambda files: order.append("packed") or b"packed")
    monkeypatch.setattr(flash, "_send", lambda names, stream, session, progress: order.append(f"{stream!r} sent"))
    flash._upload(job)
    assert order == ["packed", "the board waits", "b'packed' sent"]


class SmallBoard:
    """A board that reports its free bytes and runs the scripts of an update on a dictionary of its files."""

    _HEAD = ("micropython", (1, 27, 0), "Pico W with RP2040", 0x1306, "id")

    def __init__(self, files, free_by_files):
        self.files, self.free_by_files, self.folders = dict(files), free_by_files, []

    def run(self, code, seconds):
        if code == flash.scripts.SURVEY:
            rows = [(path, hashlib.sha256(data).hexdigest()) for path, data in self.files.items()]
            return "\n".join(map(repr, [(*self._HEAD, self.free_by_files[len(self.files)]), *rows]))
        board = SimpleNamespace(remove=lambda path: self.files.pop(path[1:]),
                                rename=lambda old, new: self.files.update({new[1:]: self.files.pop(old[1:])}),
                                rmdir=self.folders.append)  # fmt: skip
        exec(code.replace("import os", ""), {"os": board})
        return ""

    @contextlib.contextmanager
    def running(self, code, seconds):
        yield None


def update(monkeypatch, board, wanted):
    """Run the steps of an update that change files; return the job."""
    job = flash.Job("board", flash.Built(wanted, b"new"), b"", lambda *_: None)
    job.repl = board
    monkeypatch.setattr(flash.scripts, "stream", lambda files: files)
    monkeypatch.setattr(flash, "_send", lambda names, files, *_: board.files.update(
        {name[1:]: data for name, data in files.items()}))  # fmt: skip
    for step in (flash._compare, flash._upload, flash._exchange):
        step(job)
    return job


OLD_LAYOUT = {
    "boot.py": b"b",
    "rack/app.mpy": b"1",
    "rack/control/sense/c.mpy": b"1",
    MANIFEST: b"old",
    "notes.txt": b"m",
}
NEW_LAYOUT = {"boot.py": b"b", "rack/app.mpy": b"2", "sense/c.mpy": b"2"}


@pytest.mark.parametrize("free", [1 << 20, 2 * 4096])
def test_an_update_replaces_the_nested_folders(monkeypatch, free):
    """A board without space for two sets loses the old files first. Both ways end with the same files and folders."""
    board = SmallBoard(OLD_LAYOUT, {5: free, 3: 1 << 20})
    job = update(monkeypatch, board, NEW_LAYOUT)
    assert board.files == {**NEW_LAYOUT, MANIFEST: b"new", "notes.txt": b"m"}
    assert board.folders == ["/rack/control/sense", "/rack/control"]
    assert job.removed == [MANIFEST, "rack/control/sense/c.mpy"]


def test_an_update_that_cannot_fit_deletes_no_file(monkeypatch):
    """Without space also after the deletions, the update is refused and the board keeps its files."""
    board = SmallBoard(OLD_LAYOUT, {5: 0})
    with pytest.raises(flash.BoardError, match="0 free"):
        update(monkeypatch, board, NEW_LAYOUT)
    assert board.files == OLD_LAYOUT
