"""Life signs in the whole application: the insulation that an EMS reports, and the wire check of the AFE."""

import json
from pathlib import Path
from typing import Any

from halite.common.paths import BOARD_CONFIGS
from halite.hosts.unix_port import UnixPort


def asked(board: UnixPort, command: str) -> dict[str, Any]:
    """The answer to one console command."""
    board.console = b""
    board.send(command + "\n")
    board.run_for(150)
    answer: dict[str, Any] = json.loads(next(line for line in board.console.splitlines() if line.startswith(b"{")))
    return answer


def test_a_rack_with_a_monitor_closes_after_a_report(tmp_path: Path) -> None:
    """Without a report it stays open and `why` names the cause; the first report lets it close by itself."""
    config = tmp_path / "monitored.toml"
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    text = text.replace("auto_close = false", "auto_close = true").replace("monitor = false", "monitor = true")
    config.write_text(text, encoding="utf-8")
    with UnixPort(config) as board:
        board.run_for(4_000)
        assert board.coils == 0
        answer = asked(board, "why")
        assert "insulation unknown for too long" in answer["why"] and "unwatched" not in answer
        assert asked(board, "insulation 900")["ok"]
        board.run_for(5_000)
        assert board.coils
        assert 4_000 < asked(board, "status")["signals"]["insulation_age_ms"] < 6_000


def test_a_rack_without_a_monitor_shows_it_in_why() -> None:
    """`why` names the protection that the config switches off; the wire check has a young age after its second run."""
    with UnixPort(BOARD_CONFIGS / "bench_rack.toml") as board:
        board.run_for(12_000)
        assert "insulation" in asked(board, "why")["unwatched"]
        status = asked(board, "status")["signals"]
        assert 0 <= status["wire_check_age_ms"] < 3_000
        assert status["gas_mV"] == 400
