"""A task of the real application that never returns, on the emulated board: coils off, reset, its name afterwards."""

from pathlib import Path

import pytest
from halite import build
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.console import ask
from halite.emulator.filesystem import with_files
from halite.emulator.rig import EmulatedRack, emulated_rack
from halite.image import image_path
from halite.paths import BOARD_CONFIGS

TASK, HUNG = "memory", 6  # its place among the tasks, from 0
WDT_MS = 200
WALL_S = 300.0
GIVE_UP_US = 6e6
WORKS = "    def _poll_memory(self, now_us):\n"
# With a coil on the task hangs, and says so on the heater's pin; after the watchdog's reset (REASON_HANG) it works.
HANGS = """
        if self._coils and self.reset_reason != 1:
            self.port._heater(1)
            while True:
                pass
"""


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EmulatedRack:
    """A rack whose firmware has the fault built in."""
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    assert text.count("wdt_ms = 2_000") == 1
    path = tmp_path / "hang.toml"
    path.write_text(text.replace("wdt_ms = 2_000", f"wdt_ms = {WDT_MS}"), encoding="utf-8")
    sources = build.board_sources

    def faulty(plain: bool = False, lean: bool = True, chip: str = "rp2040") -> dict[str, str]:
        modules = sources(plain, lean, chip)
        assert modules["rack/app.py"].count(WORKS) == 1
        modules["rack/app.py"] = modules["rack/app.py"].replace(WORKS, WORKS + HANGS)
        return modules

    monkeypatch.setattr(build, "board_sources", faulty)
    config = load(path)
    flash = with_files(EmulatedBoard(image_path()).flash_snapshot(), build.make(config).files)
    return emulated_rack(config, flash=flash)


def healthy(board: EmulatedBoard) -> None:
    assert board.run_until(lambda: b"# healthy" in board.received, 6_000, WALL_S, 10), board.received


def test_a_task_that_never_returns_drops_the_coils_and_is_named_after_the_reset(emulated: EmulatedRack) -> None:
    board = emulated.board
    healthy(board)
    hung_us: list[float] = []
    board.rp2040.gpio[emulated.config.values["pins_heater"]].add_listener(lambda new, old: hung_us.append(board.now_us))
    board.events.clear()
    while not hung_us:
        assert board.now_us < GIVE_UP_US
        board.send(b"close\n")  # refused until cells, temperatures and the PCS have been heard
        board.run_until(lambda: hung_us, 100, WALL_S, 5)
    assert board.run_until(lambda: any(event.what == "reset" for event in board.events), 1_000, WALL_S)
    reset_us = next(event.at_us for event in board.events if event.what == "reset")
    dropped_us = next(event.at_us for event in board.events if event.what == "enable" and not event.detail[0])
    assert 0 < dropped_us - hung_us[0] <= 1000 * emulated.config.values["deadman_window_ms"]
    assert dropped_us < reset_us <= hung_us[0] + 1000 * (WDT_MS + 1)
    board.forget_received()
    healthy(board)
    version = ask(board, "version")
    assert (version["reset"], version["hung"]) == ("hang", HUNG)
    assert ask(board, "tasks")["tasks"][HUNG]["name"] == TASK
    assert emulated.wires.coil_driver.coils == 0 and ask(board, "status")["state"] == "fault"
    assert ask(board, "why")["why"][0] == "task overrun"  # a restart is no operator's reset
