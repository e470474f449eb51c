"""Rule R2 on the chip: the control core with its real viper kernels decides the same as CPython."""

import sys
from functools import cache
from pathlib import Path

import pytest
from halite import build
from halite.config import compile_config, load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.image import image_path

FIRMWARE_TESTS = Path(__file__).parents[1] / "firmware"
sys.path.insert(0, str(FIRMWARE_TESTS))

from recorded import SCENARIOS, config_of, record_of, second, told  # noqa: E402
from recording import INPUT_SIGNALS, replayed  # noqa: E402

SERVICE_MAGIC = 0x05E41CE5  # rack.ports.scratch
CONFIGS = {name: config_of(name).path for name in SCENARIOS} | {"second": load("bench_rack").path}


@cache
def record(name: str) -> bytes:
    return record_of(name) if name in SCENARIOS else second("bench_rack")


@pytest.fixture(scope="module")
def board() -> EmulatedBoard:
    """In service mode at its prompt, the records beside the firmware in its flash."""
    files = dict(build.make(load("bench_rack"), short=False).files)
    files["replay.py"] = (FIRMWARE_TESTS / "replay.py").read_bytes()
    for name, config in CONFIGS.items():
        files[f"{name}.bin"] = record(name)
        files[f"{config.stem}.bin"] = compile_config(load(config.stem))
    blank = EmulatedBoard(image_path()).flash_snapshot()
    board = EmulatedBoard(image_path(), flash=with_files(blank, files))
    board.rp2040.watchdog.scratch_data[0] = SERVICE_MAGIC
    board.run_for(100)
    at_prompt(board)
    run_code(board, "import replay, rack.config, rack.control.controller", emulated_ms=3_000)
    return board


def digests_on_board(board: EmulatedBoard, name: str, every: bool) -> list[str]:
    """What replay.run prints there: every digest, or the last one (which has those before in it) and their number."""
    code = f"replay.run('{CONFIGS[name].stem}.bin', '{name}.bin', {INPUT_SIGNALS}, True, {every})"
    return run_code(board, code, emulated_ms=10_000, wall_s=240).split()


@pytest.mark.parametrize("name", sorted(CONFIGS, key=lambda name: (CONFIGS[name].stem, name)))
def test_a_record_has_the_same_bits_on_the_emulated_board(board: EmulatedBoard, name: str) -> None:
    expected, controller = replayed(record(name), CONFIGS[name])
    if digests_on_board(board, name, every=False) != [expected[-1], str(len(expected))]:
        decided = digests_on_board(board, name, every=True)
        first = next((at for at, pair in enumerate(zip(expected, decided, strict=False)) if pair[0] != pair[1]), -1)
        pytest.fail(f"{len(decided)} of {len(expected)} scans; scan {first} of {name} is the first that differs")
    assert name not in SCENARIOS or told(controller, name), "the record ends before what it is recorded for"


def test_all_ten_scenarios_are_replayed_on_the_board() -> None:
    assert len(SCENARIOS) == 10
    assert set(SCENARIOS) < set(CONFIGS)
