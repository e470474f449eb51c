"""However a board looks and wherever a flash is cut, running it again ends with exactly the wanted files."""

import contextlib
import hashlib
from types import SimpleNamespace

import pytest
from halite.board import flash
from halite.board.flash import MANIFEST, make_plan
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ["boot.py", "main.py", "rack/a.mpy", "rack/b.mpy", "rack/control/c.mpy", "config.bin"]
STRAY = ["rack/a.py", "rack/old.mpy", "lib/rack.py", "rack/a.mpy.new", "manifest.json.new", "notes.txt", "data/log.bin"]
OURS_TO_DELETE = {"rack/a.py", "rack/old.mpy", "lib/rack.py", "rack/a.mpy.new", "manifest.json.new"}

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
