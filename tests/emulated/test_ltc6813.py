"""A rack with an LTC6813 stack on the emulated board: its cells and sensors arrive over SPI1."""

from pathlib import Path

import pytest
from halite.build.firmware import make
from halite.common.image import image_path
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.console_client import ask
from halite.emulator.filesystem import with_files
from halite.hosts.emulated import emulated_rack
from support.ltc_rack import ltc_rack

WALL_s = 600.0


def test_an_ltc6813_rack_starts_and_reads_its_cells(tmp_path: Path) -> None:
    """Every cell and sensor matches the simulated rack, and a poll of the AFEs stays below its budget of 2 ms."""
    config = load(ltc_rack(tmp_path, "lfp_rack", **{"auto_close = true": "auto_close = false"}))
    flash = with_files(EmulatedBoard(image_path()).flash_snapshot(), make(config).files)
    rack = emulated_rack(config, flash=flash)
    board = rack.board
    assert board.run_until(lambda: b"# healthy" in board.received, 8_000, WALL_s, 10), board.received
    board.run_for(300)
    expected_mV = list(1000 * rack.rack.measured_cells_V())
    assert ask(board, "cells")["mV"] == pytest.approx(expected_mV, abs=2)
    assert ask(board, "temps")["ddegC"] == pytest.approx(list(10 * rack.rack.measured_temps_degC()), abs=2)
    assert ask(board, "links")["afe_invalid"] == 0
    tasks = ask(board, "tasks")
    assert (tasks["crc_errors"], tasks["timeouts"]) == (0, 0)
    assert {row["name"]: row["worst"] for row in tasks["tasks"]}["afe"] < 2_000
    assert tasks["afe_scan_us"] < 100_000
