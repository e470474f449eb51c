"""Code runs from flash only if every byte of it is there, and it computes the same."""

import random

import pytest
from halite.build import firmware as build
from halite.build import flash_index
from halite.common.image import image_path
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code

_MOVE = """
import gc, machine
from array import array

def load():     # returns before the collection: an import's frame may still point to the module that it has loaded
    global soc, interpolate, limits, rp2_board, rp2_run_from_flash
    from rack.control import interpolate
    from rack.control.protect import limits
    from rack.control.sense import soc
    from rack.drivers import ntc
    from rack.hal import rp2_board, rp2_run_from_flash

load()
table = array("i", (0, 10, 100, 30))
gc.collect(); before = gc.mem_alloc()
moved = rp2_run_from_flash.move()
gc.collect(); freed = before - gc.mem_alloc()
again = rp2_run_from_flash.move()
print((moved, again, freed, [interpolate.interpolate(table, 4, x) for x in (-5, 0, 50, 100, 200)],
    [machine.mem32[id(function) + 12] for function in (soc.SocEstimator.__init__, rp2_board.Rp2Board.fast_path)]))
"""
_FLASH, _RAM = 1, 2  # regions of the address space, 256 MB each
_BLOCK = 4096


def moved(files):
    kept = {name: data for name, data in files.items() if name != "main.py"}
    board = EmulatedBoard(image_path(), flash=with_files(EmulatedBoard(image_path()).flash_snapshot(), kept))
    board.run_for(1200)
    at_prompt(board)
    return eval(run_code(board, _MOVE, 4000, 120))


@pytest.fixture(scope="module")
def files():
    return build.make(load("bench_rack"), short=False).files


@pytest.fixture(scope="module")
def found(files):
    return moved(files)


def test_functions_move_once_and_compute_the_same(found):
    """Functions move once, their memory is free afterwards, and they compute the same."""
    size, again, freed, values, at = found
    assert size > 6000
    assert again == 0
    assert freed > 0.8 * size
    assert values == [10, 10, 20, 30, 30]
    assert [address >> 28 for address in at] == [_FLASH, _FLASH]


def test_code_in_the_second_block_is_behind_its_pointer(files, found):
    """Code in the second block of a file lies behind the pointer that littlefs keeps at the start of that block."""
    mpy = files["rack/hal/rp2_board.mpy"]
    last = flash_index.functions(mpy)[-1]
    assert last.offset > _BLOCK
    address = found[4][1]
    assert address % _BLOCK == last.offset - _BLOCK + 4


def test_each_part_of_a_file_lies_behind_its_blocks_pointers():
    """Each part of a file lies behind the pointers that littlefs keeps in its block."""
    data = random.Random(1).randbytes(5 * _BLOCK)
    flash = with_files(EmulatedBoard(image_path()).flash_snapshot(), {"large": data})
    blocks = [flash[at : at + _BLOCK] for at in range(0, len(flash), _BLOCK)]
    parts = list(flash_index._blocks(len(data)))
    assert [skip for _, _, skip in parts] == [0, 4, 8, 4, 12, 4]
    for first, end, skip in parts:
        assert any(block[skip:].startswith(data[first:end]) for block in blocks)


def test_an_index_of_another_build_moves_no_function(files):
    """An index of another build moves no function and does no harm."""
    index = bytearray(files[flash_index.INDEX])
    at = 0
    while at < len(index):
        rows_at = at + 3 + index[at] + 32
        end = rows_at + 8 * index[at + 1]
        for row in range(rows_at, end, 8):
            index[row + 4] = (index[row + 4] + 4) % 256  # each function four bytes off
        at = end
    size, _, _, values, at = moved({**files, flash_index.INDEX: bytes(index)})
    assert (size, values, [address >> 28 for address in at]) == (0, [10, 10, 20, 30, 30], [_RAM, _RAM])
