"""The application with an LTC6813 stack, on the MicroPython unix port, against the simulated rack."""

import json
from pathlib import Path
from typing import Any

import pytest
from halite.hosts.unix_port import UnixPort
from support.ltc_rack import ltc_rack

CLOSED = 5  # COIL_NEG | COIL_POS


def asked(board: UnixPort, question: str) -> Any:
    """The answer of the console as JSON."""
    board.console = b""
    board.send(f"{question}\n")
    board.run_for(500)
    return json.loads(next(line for line in board.console.splitlines() if line.startswith(b"{")))


def alarms(board: UnixPort) -> list[str]:
    return [alarm["text"] for alarm in asked(board, "alarms")["alarms"]]


def closed(config: Path) -> UnixPort:
    board = UnixPort(config)
    board.run_for(1500)
    board.send("close\n")
    board.run_for(1500)
    assert board.coils == CLOSED and board.alive
    return board


def test_a_rack_with_an_ltc6813_closes_and_reads_its_cells(tmp_path: Path) -> None:
    """Cells and temperatures on the console match the simulated rack; no alarm is active."""
    with closed(ltc_rack(tmp_path)) as board:
        assert asked(board, "cells")["mV"] == pytest.approx(list(1000 * board.rack.measured_cells_V()), abs=2)
        temps = asked(board, "temps")["ddegC"]
        assert temps == pytest.approx(list(10 * board.rack.measured_temps_degC()), abs=2)
        assert asked(board, "status")["signals"]["afe_seen"] == 1
        assert alarms(board) == []


def test_an_ltc6813_rack_sees_an_open_sense_wire(tmp_path: Path) -> None:
    """The wire between two cells is open: one reads far too low, its neighbour too high, and the rack opens."""
    with closed(ltc_rack(tmp_path)) as board:
        board.rack.start_fault("cell_wire_open", 5)
        board.run_for(1_000)
        assert board.coils == 0
        assert any("wire" in text for text in alarms(board))


def test_an_ltc6813_rack_opens_when_its_afe_is_lost(tmp_path: Path) -> None:
    """[alarms] cells_lost after the last complete scan; it can close again when the AFE answers."""
    with closed(ltc_rack(tmp_path)) as board:
        board.rack.start_fault("afe_lost", 0)
        board.run_for(200)
        assert board.coils == 0
        board.run_for(300)
        assert asked(board, "status")["signals"]["afe_seen"] == 0
        board.rack.stop_fault("afe_lost")
        board.run_for(2_000)
        assert asked(board, "status")["signals"]["afe_seen"] == 1


def test_a_stack_of_26_ltc6813_is_read_in_time(tmp_path: Path) -> None:
    """The largest rack closes without an alarm."""
    with closed(ltc_rack(tmp_path, "lfp_rack")) as board:
        assert alarms(board) == []
        assert asked(board, "status")["signals"]["afe_seen"] == 26
