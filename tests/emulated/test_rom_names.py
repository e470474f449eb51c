"""The names that stand for ours cost the board nothing: the image has them."""

import re

from halite.build import intern as names
from halite.emulator.repl import run_code

_ASK = """
import micropython
micropython.qstr_info()
for name in {names!r}.split(): getattr(micropython, name, 0)
micropython.qstr_info()
"""


def counted(board, asked):
    """How many names the interpreter had to learn, beside those of the code that asks."""
    printed = run_code(board, _ASK.format(names=" ".join(asked)), 4000, 120)
    before, after = (int(count) for count in re.findall(r"n_qstr=(\d+)", printed))
    return after - before


def test_the_image_knows_every_one_of_them(shared_board):
    rom = sorted(names.rom_names())
    assert sum(counted(shared_board, rom[at : at + 200]) for at in range(0, len(rom), 200)) == 0


def test_a_name_of_ours_would_cost(shared_board):
    assert counted(shared_board, ["a_name_that_no_image_has"]) == 1
