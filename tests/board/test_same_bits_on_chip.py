"""Rule R2 on the chip: the control core with its real viper kernels decides the same as CPython."""

import io
import sys
from pathlib import Path

from halite import build
from halite.config import load, load_params
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.image import image_path
from halite.simulator import scenario

FIRMWARE_TESTS = Path(__file__).parents[1] / "firmware"
sys.path.insert(0, str(FIRMWARE_TESTS))

SERVICE_MAGIC = 0x05E41CE5  # rack.ports.scratch
CONFIG = "bench_rack"


def test_the_same_second_has_the_same_bits_on_the_emulated_board() -> None:
    from rack.control.controller import Controller
    from recording import INPUT_SIGNALS, record
    from replay import replay

    config = load(CONFIG)
    second = record(scenario.load(FIRMWARE_TESTS / "second.toml"), config.path)
    files = {
        **build.make(config, short=False).files,
        "replay.py": (FIRMWARE_TESTS / "replay.py").read_bytes(),
        "second.bin": second,
    }
    blank = EmulatedBoard(image_path()).flash_snapshot()
    board = EmulatedBoard(image_path(), flash=with_files(blank, files))
    board.rp2040.watchdog.scratch_data[0] = SERVICE_MAGIC
    board.run_for(100)
    at_prompt(board)
    code = f"import replay\nreplay.run('config.bin', 'second.bin', {INPUT_SIGNALS}, True)"
    decided = run_code(board, code, emulated_ms=10_000, wall_s=240).split()
    expected = [f"{crc:08x}" for crc in replay(Controller(load_params(config.path)), io.BytesIO(second), INPUT_SIGNALS)]
    assert len(decided) == 100
    assert decided == expected
