"""The names that the build uses instead of the firmware's cost no memory: the image has them."""

import re

from halite.build import intern
from halite.emulator.repl import run_code

_ASK = """
import micropython
micropython.qstr_info()
for name in {names!r}.split(): getattr(micropython, name, 0)
micropython.qstr_info()
"""


def counted(board, asked):
    """Return the number of names that the interpreter had to add, without those of the code that asks."""
    printed = run_code(board, _ASK.format(names=" ".join(asked)), 4000, 120)
    before, after = (int(count) for count in re.findall(r"n_qstr=(\d+)", printed))
    return after - before


def test_the_image_has_every_rom_name(shared_board):
    """The image has every name of the list."""
    rom = sorted(intern.rom_names())
    assert sum(counted(shared_board, rom[at : at + 200]) for at in range(0, len(rom), 200)) == 0


def test_another_name_costs_an_entry(shared_board):
    """A name that the image does not have costs one entry."""
    assert counted(shared_board, ["a_name_that_no_image_has"]) == 1
