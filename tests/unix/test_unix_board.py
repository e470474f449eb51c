"""The whole application on the MicroPython unix port, against the simulated rack over pipes."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from halite.common.paths import BOARD_CONFIGS
from halite.config import compile_config, load
from halite.hosts.unix_port import UnixPort
from rack.definitions.alarms import code_of
from rack.definitions.codes import COIL_NEG, COIL_POS, KIND_CAME

CLOSED = COIL_NEG | COIL_POS


def started(start_us: int = 0) -> UnixPort:
    board = UnixPort(BOARD_CONFIGS / "bench_rack.toml", start_us=start_us)
    board.run_for(1500)
    board.send("close\n")
    return board


@pytest.mark.parametrize("start_us", [0, 2**30 * 1000 - 1_000_000])
def test_it_works_over_a_wrap_of_its_clock(start_us: int) -> None:
    """It starts, closes and answers from clock zero and around the wrap of the milliseconds."""
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


def test_an_open_interlock_drops_the_coils() -> None:
    """The coils are off within 20 ms, and `why` names the interlock."""
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


def test_a_broken_afe_link_is_a_warning() -> None:
    """The largest rack stays closed: the AFEs are read from both ends."""
    with UnixPort(BOARD_CONFIGS / "lfp_rack.toml") as board:
        board.run_for(2_500)
        board.send("close\n")
        board.run_for(2_500)
        assert board.coils == CLOSED and alarms(board) == []
        board.chips.afe.broken_links = {11}
        board.run_for(700)
        assert board.coils == CLOSED and board.alive
        assert alarms(board) == ["AFE link broken, read from both ends"]
        came = [record[4] for record in asked(board, "log")["log"] if record[3] == KIND_CAME]
        assert code_of("link_warn") in came and came.count(code_of("cells_lost")) <= 1  # once, at the start
        signals = asked(board, "status")["signals"]
        assert (signals["afe_seen"], signals["link_broken"]) == (26, 1)


def test_automatic_closing_respects_an_open_command(tmp_path: Path) -> None:
    """After `open` on the console the rack closes on a command only."""
    config = tmp_path / "automatic.toml"
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    config.write_text(text.replace("auto_close = false", "auto_close = true"), encoding="utf-8")
    with UnixPort(config) as board:
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
    for old, new in (('board = "pico_w"', 'board = "pico_w_three_phase"'), ("phases = 1", "phases = 3"),
                     ("enabled = true\nunit", "enabled = false\nunit")):
        assert old in text
        text = text.replace(old, new)
    config = folder / "three.toml"
    config.write_text(text, encoding="utf-8")
    return config


def test_three_phases_give_three_samples_a_period(tmp_path: Path) -> None:
    """With three zero crossings the age of the mains stays within a third of a period and a scan."""
    with UnixPort(three_phases(tmp_path)) as board:
        board.rack.grid.set(49.9, 800_000)
        board.run_for(1500)
        signals = asked(board, "status")["signals"]
        assert signals["freq_mHz"] == pytest.approx(49_900, abs=1)
        assert signals["grid_age_ms"] <= 10


def test_the_other_phases_replace_a_lost_phase(tmp_path: Path) -> None:
    """A lost phase is a warning; RoCoF stays right while it is lost and after it has returned."""
    with UnixPort(three_phases(tmp_path)) as board:
        board.rack.grid.ramp(48.0, 0.5, 1_000_000)
        board.run_for(1_400)
        assert "mains phase lost" not in alarms(board)
        board.rack.start_fault("phase_lost", 1)
        board.run_for(300)
        board.rack.start_fault("phase_lost", 0)
        board.run_for(300)
        signals = asked(board, "status")["signals"]
        assert signals["phases_lost"] == 0b011
        assert signals["rocof_mHzps"] == pytest.approx(-500, rel=0.03)
        assert "mains phase lost" in alarms(board)
        for phase in (0, 1):
            board.rack.stop_fault("phase_lost", phase)
        board.run_for(100)
        signals = asked(board, "status")["signals"]
        assert signals["phases_lost"] == 0
        assert signals["rocof_mHzps"] == pytest.approx(-500, rel=0.03)
        board.rack.start_fault("mains_lost")
        board.run_for(300)
        status = asked(board, "status")["signals"]
        assert status["phases_lost"] == 0 and status["grid_age_ms"] > 100
        assert "no mains signal" in alarms(board)


def asked(board: UnixPort, command: str) -> dict[str, Any]:
    board.console = b""
    board.send(command + "\n")
    board.run_for(300)
    return json.loads(next(line for line in board.console.splitlines() if line.startswith(b"{")))


def test_only_the_key_unlocks_a_locked_out_rack(tmp_path: Path) -> None:
    """`unlock` takes the HMAC of a nonce, once."""
    config = tmp_path / "strict.toml"
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    config.write_text(re.sub(r"^trips = \d+", "trips = 1", text, flags=re.MULTILINE), encoding="utf-8")
    with UnixPort(config) as board:
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
        nonce = bytes.fromhex(asked(board, "maintenance")["nonce"])
        proof = hmac.new(board.config.maintenance_key, nonce, hashlib.sha256).hexdigest()
        assert asked(board, f"unlock {proof}")["ok"] is True
        assert "wrong answer" in asked(board, f"unlock {proof}")["error"]
        assert asked(board, "reset")["ok"] is True
        assert asked(board, "close")["ok"] is True
        board.run_for(1500)
        assert board.coils == CLOSED


def test_standby_gives_the_whole_reason(on_unix: Callable[[str], str]) -> None:
    """A long reason is sent in pieces that fit the console's buffer."""
    reason = 'config: parameter 123 = 1000000 is outside -1000000000..1000000000, "really"'
    code = f"""
from rack.comms.commands_read import Commands
pieces = list(Commands(None, {reason!r}).table["version"]([]))
print(max(len(piece) for piece in pieces))
print('{{"re":"version"' + "".join(pieces) + "}}")
"""
    longest, answer = on_unix(code).splitlines()
    assert int(longest) <= 64  # rack.comms.console_protocol: room for a piece
    assert json.loads(answer)["reason"] == reason


# Commands for the tests only: `stall` keeps the console's task busy for some ms; `flip` raises a trip level by 256 mV.
MISUSE = """
app.port.now_us += 500_000     # as long as a start may take
def _stall(words):
    app.port.now_us += 1000 * int(words[0])
    return (',"ok":true',)
def _flip(words):
    app.params.alarms_levels[12] ^= 1 << 8
    return (',"ok":true',)
app.console._table["stall"] = (_stall, "")
app.console._table["flip"] = (_flip, "")
"""


@pytest.fixture
def misused() -> Iterator[UnixPort]:
    with UnixPort(BOARD_CONFIGS / "bench_rack.toml", prepare=MISUSE) as board:
        board.run_for(1500)
        yield board


def alarms(board: UnixPort) -> list[str]:
    return [alarm["text"] for alarm in asked(board, "alarms")["alarms"]]


def test_a_wait_as_long_as_a_collection_is_no_alarm(misused: UnixPort) -> None:
    """Neither the start nor a delay of 40 ms makes a task late."""
    misused.send("close\n")
    misused.run_for(1500)
    assert asked(misused, "stall 40")["ok"] is True
    assert alarms(misused) == []
    assert misused.coils == CLOSED and misused.alive
    came = [record[4] for record in asked(misused, "log")["log"] if record[3] == KIND_CAME]
    assert not {code_of("late_warn"), code_of("late_trip")} & set(came)


def test_a_delay_of_the_tasks_is_a_warning_at_rest(misused: UnixPort) -> None:
    """A delay of 70 ms with open contactors is a warning that clears by itself."""
    assert asked(misused, "stall 70")["ok"] is True
    assert alarms(misused) == ["task late"]
    misused.run_for(11_000)
    assert alarms(misused) == []


def test_a_dropped_dead_man_is_a_task_overrun(misused: UnixPort) -> None:
    """A delay of 70 ms is shorter than the alarm's level, but the coils' supply is off and stays off."""
    misused.send("close\n")
    misused.run_for(1500)
    assert misused.alive
    misused.send("stall 70\n")
    misused.run_for(300)
    assert not misused.alive and misused.coils == 0
    assert asked(misused, "why")["why"][0] == "task too late"


def test_a_long_delay_of_the_tasks_opens_the_rack(misused: UnixPort) -> None:
    """A delay of 150 ms trips in the next scan."""
    misused.send("close\n")
    misused.run_for(1500)
    assert asked(misused, "stall 150")["ok"] is True
    assert misused.coils == 0
    assert "task too late" in asked(misused, "why")["why"]


def test_a_changed_trip_level_opens_the_rack(misused: UnixPort) -> None:
    """A bit that flips in the alarm levels opens the rack until it is restarted."""
    misused.send("close\n")
    misused.run_for(1500)
    assert asked(misused, "flip")["ok"] is True
    misused.run_for(10_000)     # the guard has read every word again
    assert misused.coils == 0
    for _ in range(2):
        assert asked(misused, "why")["why"][0] == "config damaged in memory: restart"
        misused.send("reset\n")
        misused.run_for(300)


@pytest.mark.parametrize("at, reason", [(-1, "wrong CRC"), (0, "wrong magic"), (8, "wrong CRC")])
def test_a_damaged_config_is_refused_with_its_reason(
    on_unix: Callable[[str], str], tmp_path: Path, at: int, reason: str
) -> None:
    """A flipped bit or a missing file keeps the rack in standby."""
    data = bytearray(compile_config(load("bench_rack")))
    data[at] ^= 0x10
    (tmp_path / "config.bin").write_bytes(data)
    code = f"""
from rack import start
start.CONFIG_PATH = {str(tmp_path / "config.bin")!r}
try:
    start._read_config()
except start._Refused as refused:
    print(refused)
start.CONFIG_PATH = "nothing.bin"
try:
    start._read_config()
except start._Refused as refused:
    print(refused)
"""
    assert on_unix(code).splitlines() == ["config: " + reason, "config: there is no nothing.bin"]


def test_silence_of_the_ems_ends_its_setpoint(tmp_path: Path) -> None:
    """The EMS's insulation is judged; when the EMS is silent, an alarm comes and the setpoint ends."""
    config = tmp_path / "impatient.toml"
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    text = text.replace("ems_lost = [20_000, 5_000,", "ems_lost = [1_500, 1_000,")
    config.write_text(text.replace("[5, 10, 5_000, 5_000]", "[5, 10, 200, 5_000]"), encoding="utf-8")
    with UnixPort(config) as board:
        board.run_for(800)
        assert asked(board, "status")["signals"]["ems_age_ms"] == 0, "the EMS has not written yet"
        assert asked(board, "setpoint 100")["ok"]
        assert asked(board, "insulation 4")["ok"]
        status = asked(board, "status")["signals"]
        assert 0 < status["ems_age_ms"] < 900 and status["setpoint_W"] == 100
        assert any("insulation fault" in alarm["text"] for alarm in asked(board, "alarms")["alarms"])
        board.run_for(1_000)
        assert any("EMS silent" in alarm["text"] for alarm in asked(board, "alarms")["alarms"])
        assert asked(board, "status")["signals"]["setpoint_W"] == 0
