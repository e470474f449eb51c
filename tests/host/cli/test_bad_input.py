"""Mistakes on the command line: one line, the right status, no traceback, no incomplete result."""

import os
import subprocess
import sys

import pytest
from halite.cli import app as cli
from halite.common.image import NAME
from halite.common.paths import BOARD_CONFIGS
from halite.config import load

BENCH = (BOARD_CONFIGS / "bench_rack.toml").read_text()
FAULT = 'name = "x"\nduration_ms = 100\n[[action]]\nat_ms = 5\ndo = "fault"\n'


def said(capsys, words, status):
    """The error lines of a command line that must end with this status, without any traceback."""
    assert cli.main(words) == status
    text = capsys.readouterr().err
    assert "Traceback" not in text and "usage:" not in text
    lines = text.splitlines()
    assert lines and all(line.startswith("error: ") for line in lines)
    return lines


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_byte_order_mark_and_crlf_are_accepted(folder):
    (folder / "bom.toml").write_bytes(b"\xef\xbb\xbf" + BENCH.replace("\n", "\r\n").encode())
    assert load(folder / "bom.toml").values == load("bench_rack").values


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("a = " + "9" * 5000, "not valid TOML"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("x" * 1_000_001, "larger than 1000000 bytes"),
        ("[cell\n", "line 1"),
        ("[rack]\n\xff", "not UTF-8 text (at line 2)"),
    ],
)
@pytest.mark.parametrize("verb", ["config check", "simulate"])
def test_text_that_is_not_toml_is_refused(folder, capsys, content, wanted, verb):
    """Text that is not TOML is refused in one line, also when it exhausts the parser."""
    (folder / "bad.toml").write_bytes(content.encode("latin-1"))
    (line,) = said(capsys, [*verb.split(), "bad.toml"], 1)
    assert "bad.toml" in line and wanted in line


@pytest.mark.parametrize("verb", ["config check", "config show", "build --config", "simulate", "emulate --config"])
def test_a_folder_is_refused_as_a_file(folder, capsys, verb):
    (folder / "dir.toml").mkdir()
    (line,) = said(capsys, [*verb.split(), "dir.toml"], 1)
    assert line == "error: dir.toml: cannot be read: Is a directory"


@pytest.mark.parametrize("name", ['a"b', "a\\1b", "", "S\u00fcd", "x" * 33, "a\tb", " a"])
def test_a_new_config_refuses_unprintable_names(folder, capsys, name):
    """A new config refuses a name that the console cannot print."""
    status = cli.main(["config", "new", "new.toml", "--name", name])
    capsys.readouterr()
    assert status == (1 if name else 0)  # no name: the file's
    assert (folder / "new.toml").exists() == (not name)


def test_a_name_with_a_blank_makes_a_config_that_checks(folder, capsys):
    assert cli.main(["config", "new", "north 3.toml"]) == 0
    assert load(folder / "north 3.toml").name == "north 3"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("simulate demo --seed -1", "--seed: '-1'"),
        ("simulate demo --foo", "No such option: --foo"),
        ("simulate demo --report x.pdf", "allowed endings are .html, .json, .csv"),
        ("simulate demo --report .", "allowed endings"),
        ("simulate", "which scenario?"),
        ("simulate --suite nope", "--suite: 'nope': allowed are board, compliance"),
        ("simulate --suite compliance --foo", "No such option: --foo"),
        ("simulate --suite compliance --report x.csv", "allowed endings are .html"),
        ("simulate demo --quick", "--quick does not apply to a run without --suite"),
        ("simulate --suite compliance demo", "scenarios does not apply to `--suite compliance`"),
        ("simulate --suite board --processes 65", "--processes: '65': allowed is 1 to 64"),
        ("simulate --suite", "Option '--suite' requires an argument"),
        ("bench nothing", "no part nothing"),
        ("emulate --after nan", "--after: 'nan'"),
        ("emulate --after -5", "--after"),
        ("emulate --seed 1.5", "--seed: '1.5'"),
        ("emulate extra", "unexpected extra argument(s) (extra)"),
    ],
)
def test_wrong_usage_of_a_verb_is_one_line_and_status_2(capsys, words, wanted):
    (line,) = said(capsys, words.split(), 2)
    assert wanted in line
    assert line.endswith(("--help`)", "shows the shipped ones)", "response, demo)"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (FAULT + 'name = "nope"', "known faults are hvil_open"),
        (FAULT + 'name = "afe_lost"\nat = 9', "at = 9: allowed is 0 to 0, the devices of this rack"),
        (FAULT.replace("fault", "clear") + 'name = "afe_lost"\nat = 9', "allowed is 0 to 0"),
        (FAULT.replace('"x"', '"../x"') + 'name = "afe_lost"', "a file's name"),
        (FAULT.replace("5", "-5") + 'name = "afe_lost"', "at_ms = -5 ms: allowed is at least 0"),
    ],
)
def test_an_impossible_scenario_is_refused(folder, capsys, text, wanted):
    (folder / "s.toml").write_text(text)
    (line,) = said(capsys, ["simulate", "s.toml", "--config", "bench_rack"], 1)
    assert wanted in line


def test_an_error_of_the_system_is_one_line(folder, capsys):
    (folder / "file").write_text("")
    (line,) = said(capsys, ["build", "--config", "bench_rack", "--out", "file/below"], 1)
    assert line == "error: file: File exists (correct that, then run this again)"
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_flash_file_is_checked_before_the_run(folder, capsys):
    """A flash file that could not be kept is refused before the run."""
    (folder / "short.bin").write_bytes(b"short")
    no_flash, no_folder = "not a flash of", "no such folder"
    for path, wanted in (("short.bin", no_flash), (".", no_flash), ("none/flash.bin", no_folder)):
        (line,) = said(capsys, ["emulate", "--config", "bench_rack", "--flash", path], 1)
        assert wanted in line
    assert (folder / "short.bin").read_bytes() == b"short"


def test_a_missing_image_without_a_network(folder, capsys, monkeypatch):
    """Without a network, the missing image costs one line with the reason and a remedy."""
    monkeypatch.setenv("HALITE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (line,) = said(capsys, ["emulate", "--config", "bench_rack"], 1)
    assert "is there a network?" in line and NAME in line and str(folder / "cache") in line
    assert not (folder / "cache").exists()


def test_a_folder_instead_of_the_image_is_reported(folder, capsys, monkeypatch):
    monkeypatch.setenv("HALITE_CACHE", str(folder))
    (folder / NAME).mkdir()
    (line,) = said(capsys, ["emulate", "--config", "bench_rack"], 1)
    assert "a folder where the image should be" in line


@pytest.mark.parametrize("verb", ["check", "show"])  # a line that waits in the buffer, and more than it holds
def test_a_closed_pipe_prints_no_error(verb):
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from halite.cli.app import main; sys.exit(main(['config', sys.argv[1], 'bench_rack']))"
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run([sys.executable, "-c", code, verb], stdout=gone, stderr=subprocess.PIPE, check=False)
    assert done.returncode != 0
    assert done.stderr == b""


def test_an_unknown_preset_lists_the_known_ones(capsys):
    (line,) = said(capsys, ["config", "new", "new.toml", "--from", "nope"], 1)
    assert "bench_rack, lfp_rack, sodium_rack" in line


def test_an_internal_error_is_one_line(capsys, monkeypatch):
    """An internal error is one line; with HALITE_TRACE=1 the traceback is there."""
    def broken(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("halite.config.load", broken)
    (line,) = said(capsys, ["config", "show", "bench_rack"], 70)
    assert "RuntimeError: two lines" in line and "HALITE_TRACE=1" in line
    monkeypatch.setenv("HALITE_TRACE", "1")
    with pytest.raises(RuntimeError):
        cli.main(["config", "show", "bench_rack"])
