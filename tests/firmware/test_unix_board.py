"""The whole application on the MicroPython unix port, against the simulated rack over pipes."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def three_phases(folder: Path) -> Path:
    """The bench rack on the pin map with three zero crossings."""
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    for old, new in (('board = "pico_w"', 'board = "pico_w_three_phase"'), ("phases = 1", "phases = 3")):
        assert old in text
        text = text.replace(old, new)
    config = folder / "three.toml"
    config.write_text(text, encoding="utf-8")
    return config


def test_three_phases_give_the_frequency_three_times_a_period(tmp_path: Path) -> None:
    with UnixBoard(three_phases(tmp_path)) as board:
        board.rack.grid.set(49.9, 800_000)
        board.run_for(1500)
        signals = asked(board, "status")["signals"]
        assert signals["freq_mHz"] == pytest.approx(49_900, abs=1)
        assert signals["grid_age_ms"] <= 10


def asked(board: UnixBoard, command: str) -> dict[str, Any]:
    board.console = b""
    board.send(command + "\n")
    board.run_for(300)
    return json.loads(next(line for line in board.console.splitlines() if line.startswith(b"{")))


def test_a_locked_out_rack_is_unlocked_with_its_key_only(tmp_path: Path) -> None:
    config = tmp_path / "strict.toml"
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    config.write_text(re.sub(r"^trips = \d+", "trips = 1", text, flags=re.MULTILINE), encoding="utf-8")
    with UnixBoard(config) as board:
        board.run_for(1500)
        board.send("close\n")
        board.run_for(1500)
        assert board.coils == CLOSED
        board.rack.start_fault("estop_pressed")
        board.run_for(500)
        board.rack.stop_fault("estop_pressed")
        board.run_for(1000)
        assert asked(board, "status")["state"] == "locked_out"
        assert "wrong answer" in asked(board, "unlock " + 64 * "0")["error"]
        nonce = bytes.fromhex(asked(board, "service")["nonce"])
        proof = hmac.new(board.config.service_key, nonce, hashlib.sha256).hexdigest()
        assert asked(board, f"unlock {proof}")["ok"] is True
        assert "wrong answer" in asked(board, f"unlock {proof}")["error"]
        assert asked(board, "reset")["ok"] is True
        assert asked(board, "close")["ok"] is True
        board.run_for(1500)
        assert board.coils == CLOSED


def test_standby_tells_the_whole_reason_in_pieces_that_fit(on_unix: Callable[[str], str]) -> None:
    reason = 'config: response_step_release_permille_ps = 1000000 is outside 10..10000, "really"'
    code = f"""
from rack.comms.commands import Commands
pieces = list(Commands(None, {reason!r}).table["version"][0]([]))
print(max(len(piece) for piece in pieces))
print('{{"re":"version"' + "".join(pieces) + "}}")
"""
    longest, answer = on_unix(code).splitlines()
    assert int(longest) <= 64  # rack.comms.console: room for a piece
    assert json.loads(answer)["reason"] == reason
