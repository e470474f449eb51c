"""The command: right words work, wrong words cost one line and a non-zero status."""

import json

import pytest
from halite.cli import app as cli
from halite.generate import outputs as generate

VERBS = [
    "build", "flash", "exec", "unlock", "console", "commission", "boards", "image", "simulate", "emulate", "demo",
    "bench", "config check", "config show", "config new", "dev heap", "dev names", "dev generate", "dev native-core",
    "dev reaction-times", "dev measurement-figures",
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    assert cli.main([*verb.split(), "--help"]) == 0
    assert f"Example: halite {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("bild", 2, "No such command 'bild'"),
        ("flash", 2, "Missing option '--config'"),
        ("config check nowhere.toml", 1, "nowhere.toml: no such file"),
        ("exec --port /dev/ttyNOWHERE status", 1, "/dev/ttyNOWHERE: no such port"),
        ("flash -c bench_rack -p /dev/null", 1, "not a serial port"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_no_traceback(words, status, said, capsys):
    assert cli.main(words.split()) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert [said in line for line in lines if line.startswith("error:")] == [True]
    assert "Traceback" not in "".join(lines)


def test_a_refusal_is_also_data(capsys):
    assert cli.main(["exec", "--port", "/dev/ttyNOWHERE", "status", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["code"]) == (False, "missing")


def test_config_check_reports_each_file(tmp_path, capsys):
    bad = tmp_path / "bad.toml"
    bad.write_text("[rack]\nname = 3\n")
    assert cli.main(["config", "check", "sodium_rack", str(bad), "--json"]) == 1
    good, wrong = json.loads(capsys.readouterr().out)
    assert good == {"file": "sodium_rack", "ok": True, "problems": []}
    assert any("[rack] name = 3" in line for line in wrong["problems"])


def test_config_show_gives_the_merged_document_as_json(capsys):
    assert cli.main(["config", "show", "sodium_rack", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["precharge"]["tau_ms"] == 200
    assert shown["pins"]["hvil"] == 13


def test_generated_files_are_up_to_date(capsys):
    assert generate.write(check=True) == 0


def test_a_stale_generated_file_is_noticed_and_rewritten(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "ids.py"
    stale.write_text("old")
    monkeypatch.setattr(generate, "firmware_outputs", lambda: {stale: "new"})
    monkeypatch.setattr(generate, "other_outputs", dict)
    assert generate.write(check=True) == 1
    assert "ids.py is stale" in capsys.readouterr().err
    assert stale.read_text() == "old"
    assert generate.write() == 0
    assert stale.read_text() == "new"
