"""Retained data: the whole application on the unix port, with the FRAM of one run given to the next."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from halite.board.render import as_text
from halite.common.paths import BOARD_CONFIGS
from halite.hosts.event_log import decoded
from halite.hosts.unix_port import UnixPort
from rack.definitions.codes import COIL_NEG, COIL_POS

BENCH = BOARD_CONFIGS / "bench_rack.toml"
CLOSED = COIL_NEG | COIL_POS
STORE_BYTES = 100  # two copies from address 0


def asked(board: UnixPort, command: str) -> dict[str, Any]:
    board.console = b""
    board.send(command + "\n")
    board.run_for(400)
    answer: dict[str, Any] = json.loads(next(line for line in board.console.splitlines() if line.startswith(b"{")))
    return answer


def logged(board: UnixPort) -> list[dict[str, Any]]:
    return [decoded(record) for record in asked(board, "log 100")["log"]]


def fram_of(board: UnixPort) -> bytes:
    return bytes(board.chips.fram.content)


def deep_discharged() -> bytes:
    """FRAM of a rack whose cells fell to 1.3 V and whose supply failed half a second after the latch."""
    with UnixPort(BENCH) as board:
        board.run_for(800)
        for cell in range(16):
            board.rack.start_fault("cell_offset", cell, -2.0)
        board.run_for(1500)
        return fram_of(board)


@pytest.fixture(scope="module")
def deep() -> bytes:
    return deep_discharged()


def proof(board: UnixPort) -> str:
    """Return the answer to a nonce of the rack."""
    nonce = bytes.fromhex(asked(board, "maintenance")["nonce"])
    return hmac.new(board.config.maintenance_key, nonce, hashlib.sha256).hexdigest()


def test_a_deep_discharge_stays_latched(deep: bytes) -> None:
    """It survives a loss of power until the rack's key releases it; the release survives too."""
    with UnixPort(BENCH, fram=deep) as board:
        board.run_for(1500)
        assert "trip is latched" in asked(board, "close")["error"]
        assert any("deep discharge" in reason for reason in asked(board, "why")["why"])
        board.run_for(4500)  # healthy for its clear time
        assert asked(board, "reset")["ok"] is True  # the other trips
        assert "only a person with the rack's key" in asked(board, "reset")["error"]
        assert asked(board, f"unlock {proof(board)}")["ok"] is True
        board.run_for(500)
        acknowledged = fram_of(board)
    with UnixPort(BENCH, fram=acknowledged) as board:
        board.run_for(1500)
        assert asked(board, "close")["ok"] is True
        board.run_for(1500)
        assert board.coils == CLOSED


def test_the_log_survives_a_power_cut(deep: bytes) -> None:
    """The records of the earlier run can be read after the next start."""
    with UnixPort(BENCH, fram=deep) as board:
        board.run_for(1200)
        rows = logged(board)
    assert [row["sequence"] for row in rows] == list(range(len(rows)))
    assert {row["boot"] for row in rows} == {1, 2}
    latched = next(row for row in rows if row.get("alarm") == "deep_discharge")
    assert latched["boot"] == 1 and latched["event"] == "alarm_came" and latched["level"] == "trip"
    assert latched["value"] == pytest.approx(1270, abs=60)
    assert 1_700 < latched["ms"] < 2_100  # 800 ms, a scan of the AFE, a second of debounce


def test_two_damaged_copies_are_an_alarm(deep: bytes) -> None:
    """One damaged copy falls back to the other without an alarm."""
    def with_damage(*places: int) -> list[dict[str, Any]]:
        content = bytearray(deep)
        for place in places:
            content[place] ^= 0x10
        with UnixPort(BENCH, fram=bytes(content)) as board:
            board.run_for(1200)
            return list(asked(board, "alarms")["alarms"])

    newest = max((0, STORE_BYTES // 2), key=lambda at: int.from_bytes(deep[at : at + 4], "little"))
    assert not any("FRAM" in alarm["text"] for alarm in with_damage(newest + 9))
    assert any("FRAM" in alarm["text"] for alarm in with_damage(9, STORE_BYTES // 2 + 9))


def test_a_silent_fram_is_a_warning() -> None:
    """A new board has no alarm; a FRAM that stops answering has one until it answers again."""
    with UnixPort(BENCH) as board:
        board.run_for(800)
        assert not any("FRAM" in alarm["text"] for alarm in asked(board, "alarms")["alarms"])
        board.chips.fram.faults.missing = True
        board.send("close\n")
        board.run_for(1200)
        assert board.coils == CLOSED  # a warning does not open the rack
        assert any("FRAM" in alarm["text"] for alarm in asked(board, "alarms")["alarms"])
        board.chips.fram.faults.missing = False
        board.run_for(6_500)  # it is tried again every 5 s
        assert not any("FRAM" in alarm["text"] for alarm in asked(board, "alarms")["alarms"])


def test_an_open_wire_trips_and_names_its_cell() -> None:
    """The AFE's own check finds the wire; the log has the number of the cell."""
    with UnixPort(BENCH) as board:
        board.run_for(800)
        board.rack.start_fault("cell_wire_open", 6)
        board.run_for(12_000)
        assert asked(board, "status")["signals"]["wire_check"] == 7
        assert any(row.get("alarm") == "wire_check_trip" and row["value"] == 7 for row in logged(board))


def test_the_log_is_shown_with_names() -> None:
    """Each record becomes a JSON line with the names of alarms and states."""
    answer = {"re": "log", "log": [[4, 1, 1234, 1, 1, 2, -15, 523, 0], [5, 1, 1234, 3, 3, 2, -15, 523, 0]]}
    alarm, state = (json.loads(line) for line in as_text(answer).splitlines())
    assert alarm["alarm"] == "wire_trip" and alarm["text"] == "open cell wire" and alarm["current_dA"] == -15
    assert state["state"] == "opening" and state["value"] == "closed" and state["ms"] == 1234
