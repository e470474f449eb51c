"""A board with a damaged or missing config stays in standby and reports why, on the real interpreter."""

import json

import pytest
from halite.build import firmware as build
from halite.common.image import image_path
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files


@pytest.fixture(scope="module")
def files():
    return build.make(load("bench_rack")).files


@pytest.fixture(scope="module")
def blank():
    return EmulatedBoard(image_path()).flash_snapshot()


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda config: flipped(config, len(config) // 2), "config: wrong CRC"),
        (lambda config: config[:-1], "config: wrong CRC"),
        (lambda config: b"", "config: too short"),
        (lambda config: None, "config: there is no config.bin"),
    ],
)
def test_a_damaged_config_is_reported_in_standby(files, blank, damage, reason):
    """A board with a damaged or missing config reports the reason in standby and closes no contactor."""
    kept = {name: data for name, data in files.items() if name != "config.bin"}
    config = damage(files["config.bin"])
    if config is not None:
        kept["config.bin"] = config
    board = EmulatedBoard(image_path(), flash=with_files(blank, kept))
    assert board.run_until(lambda: b"# standby: " in board.received and board.received.endswith(b"\n"), 4_000, 120, 5)
    assert reason.encode() in board.received
    board.forget_received()
    board.send(b"\x00\xff\x03\x04 close\n" + b"x" * 300 + b"\nclose\nversion\n")
    assert board.run_until(lambda: b'"heap_used"' in board.received and board.received.endswith(b"}\n"), 2_000, 120, 5)
    answers = [json.loads(line) for line in board.received.splitlines() if line.startswith(b"{")]
    assert [answer.get("error") is not None for answer in answers] == [True, True, True, False]
    assert answers[-1]["mode"] == "standby"
    assert reason in answers[-1]["reason"]
    assert not any(event.what in ("coil", "enable") for event in board.events)
