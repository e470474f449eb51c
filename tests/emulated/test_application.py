"""The whole application on the emulated board: the worst coincidence of its tasks, and a loss of power."""

from itertools import pairwise
from pathlib import Path

import pytest
from halite.bench.figures import BARS
from halite.build.firmware import make
from halite.common.image import image_path
from halite.common.paths import BOARD_CONFIGS
from halite.config import RackConfig, load
from halite.emulator.board import EmulatedBoard
from halite.emulator.console_client import ask
from halite.emulator.filesystem import with_files
from halite.hosts.emulated import EmulatedRack, emulated_rack

WINDOW_us = 50_000  # [deadman] window_ms
MEETING_ms = 700.0
WALL_s = 600.0
CHANGES = (
    ("cells_lost = [160, 140, 0, 500]", "cells_lost = [2_000, 150, 0, 500]"),  # otherwise the AFEs' restart is a trip
    ("deep_discharge = [2_000, 2_500, 1_000, 5_000]", "deep_discharge = [2_000, 2_500, 100, 5_000]"),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RackConfig:
    """The largest rack: the fullest heap, the longest collection, the longest answers."""
    text = (BOARD_CONFIGS / "lfp_rack.toml").read_text(encoding="utf-8")
    for old, new in CHANGES:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path: Path = tmp_path_factory.mktemp("rack") / "largest.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


@pytest.fixture(scope="module")
def flash(config: RackConfig) -> bytes:
    return with_files(EmulatedBoard(image_path()).flash_snapshot(), make(config).files)


def healthy(config: RackConfig, flash: bytes, fram: bytes | None = None) -> EmulatedRack:
    rack = emulated_rack(config, flash=flash, fram=fram)
    assert rack.board.run_until(lambda: b"# healthy" in rack.board.received, 8_000, WALL_s, 10), rack.board.received
    return rack


@pytest.fixture(scope="module")
def rack(config: RackConfig, flash: bytes) -> EmulatedRack:
    """A rack whose coils are held: its dead-man is armed from the precharge on."""
    rack = healthy(config, flash)
    board = rack.board

    def armed() -> bool:
        return any(event.what == "enable" for event in board.events)

    while not armed():
        ask(board, "close")
        board.run_until(armed, 100, WALL_s, 5)
    return rack


def feeds(board: EmulatedBoard) -> list[float]:
    """Return a list that grows by the time in us of every feed of the dead-man's window."""
    found: list[float] = []
    fifo = board.rp2040.pio[0].machines[0].tx_fifo
    push = fifo.push

    def pushed(value: int) -> None:
        found.append(board.now_us)
        push(value)

    setattr(fifo, "push", pushed)  # noqa: B010 - a method, replaced on purpose
    return found


def test_the_worst_coincidence_of_tasks_keeps_the_coils(
    rack: EmulatedRack, config: RackConfig
) -> None:
    """A long answer, a collection, a restart of the AFEs and a lost reading together do not drop the coils."""
    board, chips = rack.board, rack.chips
    fed = feeds(board)
    before = ask(board, "tasks clear")
    board.events.clear()
    board.send(b"status\ncells\nlogs 100\n")  # each ends in a collection
    board.run_for(20)
    chips.afe.faults.reset_after = 3
    board.run_for(40)
    chips.ina228.faults.missing = True
    board.run_for(12)
    chips.ina228.faults.missing = False
    board.run_for(MEETING_ms)
    dropped = [event for event in board.events if event.what in ("enable", "reset") or event[1:] == ("coil", (0,))]
    after = ask(board, "tasks")
    assert dropped == [] and rack.wires.coil_driver.alive
    gaps = [b - a for a, b in pairwise(fed)]
    assert len(fed) > MEETING_ms / 20 and max(gaps) < WINDOW_us, (max(gaps), len(fed))
    print(f"longest time between two feeds: {max(gaps):.0f} us of {WINDOW_us}")
    # the coincidence was real: all answers were given, the AFEs were lost, the collection ran
    assert after["timeouts"] > before["timeouts"] and after["collect_us"] > 10_000
    # loss, wake, addresses and configuration are also in slices, and have ended
    longest_us = next(task["worst"] for task in after["tasks"] if task["name"] == "afe")
    print(f"longest slice of the AFEs: {longest_us} us")
    assert longest_us <= BARS["afe_longest_slice_us"].limit
    assert ask(board, "status")["signals"]["cells_age_ms"] < config["afe_period_ms"] + 50


def test_a_deep_discharge_stays_latched_over_a_power_loss(
    rack: EmulatedRack, config: RackConfig, flash: bytes
) -> None:
    """A deep discharge is still latched on the board when its power returns."""
    board = rack.board
    rack.rack.start_fault("cell_offset", 7, -2.0, at_us=board.now_us)
    latched = board.run_until(lambda: "deep discharge" in str(ask(board, "alarms")), 1_500, WALL_s, 50)
    assert latched
    board.run_for(200)
    assert rack.wires.coil_driver.coils == 0
    fram = bytes(rack.chips.fram.content)
    again = healthy(config, flash, fram)  # its cells are healthy
    refused = ask(again.board, "close")
    assert "trip is latched" in refused["error"]
    assert any("deep discharge" in reason for reason in ask(again.board, "why")["why"])
    new = emulated_rack(config, flash=flash)
    assert fram != bytes(new.chips.fram.content)
