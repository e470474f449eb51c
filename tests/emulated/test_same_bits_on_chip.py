"""Rule R2 on the chip: the control core with its real viper kernels decides the same as CPython."""

from functools import cache
from pathlib import Path

import pytest
from halite.build import firmware as build
from halite.common.image import image_path
from halite.config import compile_config, load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from rack.hal.scratch import MAINTENANCE_MAGIC
from support.ltc_rack import ltc_rack
from support.recorded import SCENARIOS, config_of, has_decided, record_of, second
from support.recording import INPUT_SIGNALS, replayed

SUPPORT = Path(__file__).parents[1] / "support"

# Not part of a replay: the records need the blocks of these files.
_NOT_REPLAYED = ("rack/comms/", "rack/tasks/", "rack/hal/", "rack/storage/")
CONFIGS = {name: config_of(name).path for name in SCENARIOS} | {"second": load("bench_rack").path}


@cache
def record(name: str) -> bytes:
    return record_of(name) if name in SCENARIOS else second("bench_rack")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> EmulatedBoard:
    """A board in maintenance mode at its prompt, with firmware and records in its flash."""
    built = build.make(load("bench_rack"), short=False).files
    files = {path: data for path, data in built.items() if not path.startswith(_NOT_REPLAYED)}
    with_ltc = build.make(load(ltc_rack(tmp_path_factory.mktemp("ltc"))), short=False).files
    drivers = [f"rack/drivers/{name}.mpy" for name in ("ltc681x", "ltc681x_convert", "pec15")]
    files |= {path: with_ltc[path] for path in drivers}
    files["replay.py"] = (SUPPORT / "replay.py").read_bytes()
    for name, config in CONFIGS.items():
        files[f"{name}.bin"] = record(name)
        files[f"{config.stem}.bin"] = compile_config(load(config.stem))
    blank = EmulatedBoard(image_path()).flash_snapshot()
    board = EmulatedBoard(image_path(), flash=with_files(blank, files))
    board.rp2040.watchdog.scratch_data[0] = MAINTENANCE_MAGIC
    board.run_for(100)
    at_prompt(board)
    run_code(board, "import replay, rack.config, rack.control.controller", emulated_ms=3_000)
    return board


def digests_on_board(board: EmulatedBoard, name: str, every: bool) -> list[str]:
    """Return the output of replay.run: every digest, or the last one, which includes all before, and their number."""
    code = f"replay.run('{CONFIGS[name].stem}.bin', '{name}.bin', {INPUT_SIGNALS}, True, {every})"
    return run_code(board, code, emulated_ms=10_000, wall_s=240).split()


@pytest.mark.parametrize("name", sorted(CONFIGS, key=lambda name: (CONFIGS[name].stem, name)))
def test_a_record_has_the_same_bits_on_the_emulated_board(board: EmulatedBoard, name: str) -> None:
    """A record gives the same decisions, bit by bit, on the emulated board and under CPython."""
    expected, controller = replayed(record(name), CONFIGS[name])
    if digests_on_board(board, name, every=False) != [expected[-1], str(len(expected))]:
        decided = digests_on_board(board, name, every=True)
        first = next((at for at, pair in enumerate(zip(expected, decided, strict=False)) if pair[0] != pair[1]), -1)
        pytest.fail(f"{len(decided)} of {len(expected)} scans; scan {first} of {name} is the first that differs")
    assert name not in SCENARIOS or has_decided(controller, name), "the record ends before what it is recorded for"


def test_all_ten_scenarios_are_replayed_on_the_board() -> None:
    """All ten scenarios are replayed on the board."""
    assert len(SCENARIOS) == 10
    assert set(SCENARIOS) < set(CONFIGS)


_LTC_POLLS = """
from array import array
from machine import disable_irq, enable_irq
from time import ticks_us
from rack.drivers.ltc681x import Ltc681x
from rack.drivers.pec15 import seal

class Spi:
    def begin(self, tx, rx, n):         # 26 devices: configured, cells and GPIOs of 1.5 V, references of 3 V
        begin = ticks_us()
        rx[4:] = groups[0 if tx[1] == 2 else 2 if tx[1] == 14 else 1]
        self.us -= ticks_us() - begin   # DMA does that on a rack
    def done(self):
        return True
    def transfer(self, tx, rx, n):
        self.us += 8 * n                # 1 Mbit/s

def group(data):
    b = bytearray(data + b"..")
    seal(b, 6)
    return bytes(b) * 26

groups = (group(b"\\xfc\\0\\0\\0\\0\\0"), group(b"\\x98\\x3a" * 3), group(b"\\x98\\x3a\\x98\\x3a\\x30\\x75"))
cells, temps, spi = array("i", [0] * 468), array("i", [0] * 234), Spi()
ltc = Ltc681x(spi, (26, 18, 9), (cells, temps, array("i", range(25600, -100, -100))))
now_us = longest_us = 0
for poll in range(100):
    now_us += 3000                  # less than the ports take to fall asleep
    spi.us = 0
    state = disable_irq()
    begin = ticks_us()
    ltc.poll(now_us)
    longest_us = max(longest_us, ticks_us() - begin + spi.us)
    enable_irq(state)
print(longest_us, ltc.cells_ready, ltc.temps_ready, ltc.crc_errors, ltc.invalid, set(cells), set(temps))
"""


def test_a_poll_of_the_longest_ltc6813_stack_stays_below_2_ms(board: EmulatedBoard) -> None:
    """A poll takes less than 2 ms: processor time with interrupts off, plus short commands on the bus."""
    longest_us, *read = run_code(board, _LTC_POLLS, emulated_ms=5_000).strip().split(maxsplit=5)
    assert read == ["True", "True", "0", "0", "{1500} {1280}"]
    assert int(longest_us) < 2_000
