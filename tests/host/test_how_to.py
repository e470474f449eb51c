"""The recipes of docs/how_to: five are followed in a copy of the project, all name files and commands that exist."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from halite.cli.app import app
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "how_to").glob("*.md"))
_GUIDES = ("README.md", "docs/operation.md", "docs/response.md", "docs/porting.md", "docs/emulation.md")
GUIDES = [ROOT / name for name in _GUIDES]
NEW = re.compile(r"NAME|YOUR_|my_story")  # parts of a path that the reader chooses
PATH = re.compile(r"`((?:firmware|host_tools|board_configs|tests|docs)/[\w./]+)`")
CONFIGS = ("sodium_rack", "lfp_rack", "bench_rack")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_files_that_exist(page: Path) -> None:
    """Every path in backticks exists, unless it holds a name that the reader chooses."""
    paths = [path for path in PATH.findall(page.read_text()) if not NEW.search(path)]
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert paths or page.stem in {"README", "scenario"}


def commands(page: Path) -> list[list[str]]:
    """The words of each `make` and `halite` command of a page, from code blocks and from backticks."""
    text = page.read_text()
    found = re.findall(r"`((?:make|halite) [^`]+)`", text)
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        found += re.findall(r"^((?:make|halite) [^#\n>]+)", block, re.MULTILINE)
    return [command.split() for command in found]


def unknown(words: list[str]) -> str:
    """The first word of a `halite` command that the command line does not know, "" when all are known."""
    command: Any = get_command(app)
    for word in words:
        options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        if word.startswith("-") and word not in options:
            return word
        if hasattr(command, "commands"):
            if word not in command.commands:
                return word
            command = command.commands[word]
    return ""


@pytest.mark.parametrize("page", [*PAGES, *GUIDES], ids=lambda page: page.stem)
def test_a_page_names_commands_that_exist(page: Path) -> None:
    """Each `make` target, each verb of `halite` and each of its options is known."""
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for tool, *words in commands(page):
        if tool == "make":
            assert words[0] in targets, words
        elif words[0] != "exec":  # its words are the rack's: docs/protocols/console.md
            assert not unknown(words), words


class Copy:
    """A copy of the sources in a folder, with the commands of the project run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("firmware", "host_tools", "board_configs", "docs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, path: str, before: str, row: str) -> None:
        """Insert a row in front of the last occurrence of a text."""
        file = self.folder / path
        head, found, tail = file.read_text().rpartition(before)
        assert found, f"{path}: {before!r} is not there"
        file.write_text(head + row + found + tail)

    def to_section(self, section: str, line: str) -> None:
        """Add a line to a section of every shipped rack config."""
        for name in CONFIGS:
            file = self.folder / "board_configs" / f"{name}.toml"
            head, found, tail = file.read_text().partition(f"[{section}]")
            first, newline, rest = tail.partition("\n")
            file.write_text(head + found + first + newline + line + "\n" + rest)

    def run(self, *command: str) -> str:
        """Run Python on the copy; the test fails with the output when it fails."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "host_tools")}
        done = subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


HUMIDITY = '    ("humidity_pct", "i", "relative humidity in the rack"),\n'


def test_the_recipe_for_a_signal_gives_an_index(project: Copy) -> None:
    """A row and `make generate` give the index, the name and a Modbus register."""
    project.add("firmware/rack/definitions/signals.py", '    ("gas_mV"', HUMIDITY)
    project.run("-m", "halite", "dev", "generate")
    project.run("-m", "halite", "dev", "generate", "--check")
    assert "HUMIDITY_pct = const(" in (project.folder / "firmware/rack/generated/ids.py").read_text()
    assert "humidity_pct" in (project.folder / "docs/protocols/modbus.md").read_text()


def test_the_recipe_for_an_alarm_trips_the_rack(project: Copy) -> None:
    """With the rows of the page, a humid rack trips in the control core after its debounce time."""
    project.add("firmware/rack/definitions/signals.py", '    ("gas_mV"', HUMIDITY)
    page = (ROOT / "docs" / "how_to" / "alarm.md").read_text()
    rows = "".join(f"    {row}\n" for row in re.findall(r'^\("humidity.*$', page, re.MULTILINE))
    levels = re.findall(r"^humidity_\w+ = .*$", page, re.MULTILINE)
    assert rows.count("\n") == len(levels) == 2
    path = "firmware/rack/definitions/alarms.py"
    text = (project.folder / path).read_text()
    start = text.index("ROWS = (")
    end = text.index("\n)", start) + 1
    (project.folder / path).write_text(text[:end] + rows + text[end:])
    for line in reversed(levels):
        project.to_section("alarms", line)
    fault = re.search(r'^Fault\("air.*$', page, re.MULTILINE)
    assert fault
    project.add("host_tools/halite/generate/reaction_faults.py", ")\n\n# The other trips", f"    {fault[0]}\n")
    project.run("-m", "halite", "dev", "generate")
    project.run("-c", "from halite.generate.reaction_faults import FAULTS; assert FAULTS[-1].key == 'humidity_trip'")
    code = """
from halite.config import load_params
params = load_params("sodium_rack")
from rack.control.controller import Controller
from rack.definitions.alarms import code_of
from rack.generated import ids as I
controller = Controller(params)
controller.s[I.HUMIDITY_pct] = 96
code, now_ms = code_of("humidity_trip"), 0
for now_ms in range(0, 40_000, 10):
    controller.scan(now_ms)
    if controller.alarms.active[code - 1]:
        break
print(now_ms)
"""
    assert 30_000 <= int(project.run("-c", code)) <= 30_020


def test_the_recipe_for_a_parameter_is_enforced(project: Copy) -> None:
    """A row alone makes every config fail with the missing key; with value and `make generate` they load again."""
    project.add(
        "firmware/rack/definitions/params.py",
        '    ("precharge_ohm"',
        '    ("precharge_pause_ms", 0, 60_000),      # pause in front of the precharge\n',
    )
    check = "import halite.config as c\ntry: c.load('sodium_rack')\nexcept c.ConfigProblem as problem: print(problem)"
    assert "pause_ms" in project.run("-c", check)
    project.to_section("precharge", "pause_ms = 500           # engineering judgement")
    project.run("-m", "halite", "dev", "generate")
    code = "from halite.config import load_params\nprint(load_params('lfp_rack').precharge_pause_ms)"
    assert project.run("-c", code) == "500\n"


def test_the_recipe_for_a_scenario_plays(project: Copy) -> None:
    """A file in board_configs/scenarios is a scenario that `halite simulate` plays by its name."""
    text = (project.folder / "board_configs/scenarios/hvil_open.toml").read_text()
    (project.folder / "board_configs/scenarios/plug.toml").write_text(text.replace('"hvil_open"\ntext', '"plug"\ntext'))
    assert "plug" in project.run("-m", "halite", "simulate", "plug", "--json")


def test_the_recipe_for_a_grid_service_serves(project: Copy) -> None:
    """A preset of its own is named by a rack and shown on the generated page."""
    folder = project.folder / "board_configs/grid_services"
    (folder / "mine.toml").write_text((folder / "gb_dc.toml").read_text())
    rack = project.folder / "board_configs" / "sodium_rack.toml"
    rack.write_text(rack.read_text().replace('grid_service = "sodium_fast"', 'grid_service = "mine"'))
    project.run("-m", "halite", "dev", "generate")
    assert "mine" in (project.folder / "docs" / "response_parameters.md").read_text()
    code = "from halite.config import load_params\nprint(load_params('sodium_rack').response_delay_ms)"
    assert project.run("-c", code) == "200\n"
