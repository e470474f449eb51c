"""The whole application on the MicroPython unix port, against the simulated rack over pipes."""

import json
from pathlib import Path

import pytest
from halite.paths import BOARD_CONFIGS
from halite.unix_board import UnixBoard

CLOSED = 5  # COIL_NEG | COIL_POS


def started(start_us: int = 0) -> UnixBoard:
    board = UnixBoard(BOARD_CONFIGS / "bench_rack.toml", start_us=start_us)
    board.run_for(1500)
    board.send("close\n")
    return board


@pytest.mark.parametrize("start_us", [0, 2**30 * 1000 - 1_000_000])
def test_it_starts_closes_and_answers_over_any_wrap_of_its_clock(start_us: int) -> None:
    with started(start_us) as board:
        board.run_for(1500)
        assert b"healthy" in board.console
        assert board.coils == CLOSED and board.alive
        board.console = b""
        board.send("status\n")
        board.run_for(300)
        line = next(line for line in board.console.splitlines() if line.startswith(b"{"))
        status = json.loads(line)
        assert status["state"] == "closed"
        assert status["signals"]["cell_min_mV"] == pytest.approx(1000 * board.rack.measured_cells_V().min(), abs=2)
        assert status["signals"]["freq_mHz"] == 50_000


def test_an_open_interlock_drops_the_coils_and_is_told() -> None:
    with started() as board:
        board.run_for(1500)
        assert board.coils == CLOSED
        board.rack.start_fault("hvil_open")
        board.run_for(20)
        assert not board.alive and board.coils == 0
        board.console = b""
        board.send("why\n")
        board.run_for(300)
        assert b"interlock" in board.console.lower() or b"hvil" in board.console.lower()


def test_automatic_closing_does_not_overrule_an_operator_who_said_open(tmp_path: Path) -> None:
    config = tmp_path / "automatic.toml"
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    config.write_text(text.replace("auto_close = false", "auto_close = true"), encoding="utf-8")
    with UnixBoard(config) as board:
        board.rack.start_fault("pcs_silent")
        board.run_for(1500)
        board.send("open\n")
        board.run_for(300)
        board.rack.stop_fault("pcs_silent")
        board.run_for(1500)
        assert board.coils == 0
        board.send("close\n")
        board.run_for(1500)
        assert board.coils == CLOSED
