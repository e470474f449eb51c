"""Bad input to a running rack, on its console and its wires: the rack keeps running and reports the fault."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from halite.common.paths import BOARD_CONFIGS
from halite.hosts.unix_port import UnixPort


@pytest.fixture(scope="module")
def rack() -> Iterator[UnixPort]:
    """A healthy rack in standby. Each test restores this state."""
    with UnixPort(BOARD_CONFIGS / "bench_rack.toml") as board:
        board.run_for(1500)
        yield board


def typed(board: UnixPort, data: bytes, ms: float = 300) -> list[dict[str, Any]]:
    """The answers to bytes on the console."""
    board.console = b""
    assert board._process.stdin
    board._process.stdin.write(data)
    board._process.stdin.flush()
    board.run_for(ms)
    return [json.loads(line) for line in board.console.splitlines() if line.startswith(b"{")]


def why(board: UnixPort) -> str:
    return "; ".join(typed(board, b"why\n")[0]["why"])


def test_no_mains_edge_is_lost(rack: UnixPort) -> None:
    """Between two reads of the signals each zero crossing reaches the response."""
    ages = [typed(rack, b"status\n", 70)[0]["signals"]["grid_age_ms"] for _ in range(15)]
    assert max(ages) <= 20


GARBLED = ("close now", "close\x7f", "reset q", "closes", "open" + "n" * 117, "Close", "\x00close")


@pytest.mark.parametrize("line", GARBLED)
def test_a_garbled_command_is_refused(rack: UnixPort, line: str) -> None:
    """The refusal has a text, and no coil moves."""
    (answer,) = typed(rack, line.encode() + b"\n")
    assert answer["error"]
    assert rack.coils == 0


@pytest.mark.parametrize("words", ["", "1e9", "9" * 40, "-9999999", "1 2", "0x10", "W"])
def test_a_bad_setpoint_is_refused(rack: UnixPort, words: str) -> None:
    """A setpoint that is not one whole number in the range of this rack leaves the old one."""
    (answer,) = typed(rack, f"setpoint {words}\n".encode())
    assert "setpoint" in answer["error"]
    assert typed(rack, b"status\n")[0]["signals"]["setpoint_W"] == 0


@pytest.mark.parametrize("words", ["", "-1", "1000001", "0x10", "many", "1 2"])
def test_a_bad_insulation_is_refused(rack: UnixPort, words: str) -> None:
    """An insulation that is not one whole number in range leaves the old one."""
    (answer,) = typed(rack, f"insulation {words}\n".encode())
    assert "insulation" in answer["error"]
    assert typed(rack, b"status\n")[0]["signals"]["insulation_kohm"] == 1_000_000


@pytest.mark.parametrize("words", ["00", "zz", "0" * 64, "a b"])
def test_maintenance_mode_refuses_a_wrong_answer(rack: UnixPort, words: str) -> None:
    """Only the HMAC of the nonce is accepted."""
    typed(rack, b"maintenance\n")
    assert "wrong answer" in typed(rack, f"maintenance {words}\n".encode())[0]["error"]


def test_random_bytes_do_not_disturb_the_scan(rack: UnixPort) -> None:
    """After random bytes and overlong lines the console answers, and no scan was late."""
    scans = next(row for row in typed(rack, b"tasks\n")[0]["tasks"] if row["name"] == "scan")
    noise = random.Random(1).randbytes(3000).replace(b"\x04", b"")  # the unix terminal would end there
    typed(rack, noise + b"\n" + b"y" * 3000 + b"\n\x03\x03\x01\x02\n", 3000)
    assert typed(rack, b"version\n")[0]["healthy"] is True
    after = next(row for row in typed(rack, b"tasks\n")[0]["tasks"] if row["name"] == "scan")
    assert after["late"] == scans["late"]
    assert after["runs"] - scans["runs"] == pytest.approx(360, abs=40)
    assert rack.coils == 0


#    fault, place, simulated ms until the alarm, part of its text
FAULTS = (
    ("afe_lost", 0, 600, "cell voltages not read"),
    ("afe_crc", 0, 600, "cell voltages not read"),
    ("current_lost", 0, 400, "current sensor"),
    ("pcs_silent", 0, 800, "PCS"),
    ("can_cut", 0, 800, "PCS"),
    ("ntc_open", 2, 2_500, "sensor"),
    ("ntc_short", 3, 2_500, "sensor"),
    ("cell_wire_open", 4, 3_500, "wire"),
)


@pytest.mark.parametrize(("fault", "at", "ms", "part"), FAULTS)
def test_a_fault_on_the_wires_is_an_alarm(
    rack: UnixPort, fault: str, at: int, ms: float, part: str
) -> None:
    """Each fault raises an alarm whose text names it; the rack recovers after the fault."""
    if fault == "afe_crc":
        answers = rack.chips.afe.transmit
        rack.chips.afe.transmit = lambda data, at_us: answers(data[:-1] + bytes([data[-1] ^ 1]), at_us)
    else:
        rack.rack.start_fault(fault, at)
    try:
        rack.run_for(ms)
        texts = [alarm["text"] for alarm in typed(rack, b"alarms\n")[0]["alarms"]]
    finally:
        if fault == "afe_crc":
            rack.chips.afe.transmit = answers
        else:
            rack.rack.stop_fault(fault, at)
        rack.run_for(ms)
    assert any(part in text for text in texts), texts
    typed(rack, b"reset\n")
    assert typed(rack, b"version\n")[0]["healthy"] is True


def test_links_counts_the_faults_of_the_chips(rack: UnixPort) -> None:
    """`links` on the whole application: only the counter of the chip with a fault grows."""
    before = typed(rack, b"links\n")[0]
    assert before["can_starts"] >= 1 and before["afe_wakes"] >= 1 and before["shunt_starts"] >= 1
    rack.rack.start_fault("current_lost", 0)
    rack.run_for(200)
    rack.rack.stop_fault("current_lost", 0)
    after = typed(rack, b"links\n")[0]
    assert {name for name in after if after[name] != before[name]} == {"shunt_errors"}
