"""Emulated boards that have booted the real MicroPython image."""

from collections.abc import Callable

import pytest
from halite.emulator.board import EmulatedBoard
from halite.emulator.repl import at_prompt
from halite.image import image_path

BOOT_MS = 1200.0


def booted_board(wire: Callable[[EmulatedBoard], None] | None = None) -> EmulatedBoard:
    """A board at its raw REPL."""
    board = EmulatedBoard(image_path(), wire)
    board.run_for(BOOT_MS)
    at_prompt(board)
    board.events.clear()  # the first boot makes a filesystem
    return board


@pytest.fixture
def board() -> EmulatedBoard:
    return booted_board()


@pytest.fixture(scope="module")
def shared_board() -> EmulatedBoard:
    """One board for tests that leave no trace on it."""
    return booted_board()
