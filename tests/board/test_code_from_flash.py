"""Code runs from flash only where every byte of it is there, and does the same."""

import pytest
from halite import build, in_place
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.image import image_path

_MOVE = """
import gc, machine
from array import array

def load():     # returns before the collection: an import's frame may still point to the module that it has loaded
    global charge, interp, limits, rp2_in_place
    from rack.control import charge, interp, limits
    from rack.drivers import ntc
    from rack.ports import rp2_in_place

load()
table = array("i", (0, 10, 100, 30))
gc.collect(); before = gc.mem_alloc()
moved = rp2_in_place.move()
gc.collect(); freed = before - gc.mem_alloc()
again = rp2_in_place.move()
print((moved, again, freed, [interp.interpolate(table, 4, x) for x in (-5, 0, 50, 100, 200)],
    machine.mem32[id(charge.Charge.__init__) + 12] >> 28))
"""


def moved(files):
    kept = {name: data for name, data in files.items() if name != "main.py"}
    board = EmulatedBoard(image_path(), flash=with_files(EmulatedBoard(image_path()).flash_snapshot(), kept))
    board.run_for(1200)
    at_prompt(board)
    return eval(run_code(board, _MOVE, 4000, 120))


@pytest.fixture(scope="module")
def files():
    return build.make(load("bench_rack")).files


def test_functions_move_once_give_their_room_back_and_compute_the_same(files):
    size, again, freed, values, region = moved(files)
    assert size > 3000
    assert again == 0
    assert freed > 0.8 * size
    assert values == [10, 10, 20, 30, 30]
    assert region == 1  # flash begins at 0x10000000


def test_an_index_of_another_build_moves_nothing_and_does_no_harm(files):
    index = bytearray(files[in_place.INDEX])
    at = 0
    while at < len(index):
        rows_at = at + 2 + index[at] + 32
        end = rows_at + 8 * index[at + 1]
        for row in range(rows_at, end, 8):
            index[row + 4] = (index[row + 4] + 4) % 256  # each function four bytes off
        at = end
    size, _, _, values, region = moved({**files, in_place.INDEX: bytes(index)})
    assert (size, values, region) == (0, [10, 10, 20, 30, 30], 2)
