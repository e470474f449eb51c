"""Emulated boards that have booted the real MicroPython image. Rule R6 is checked on each of them."""

from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import pytest
from halite.bench.heap import BOOT_MS
from halite.common.image import image_path
from halite.emulator.board import EmulatedBoard
from halite.emulator.flash_watch import ClosedWatch
from halite.emulator.repl import at_prompt


class SessionWatch:
    """Rule R6 over all boards of a session: finds writes of flash while a contact of that board's rack is closed."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self._boards: WeakKeyDictionary[EmulatedBoard, ClosedWatch] = WeakKeyDictionary()

    def see(self, board: EmulatedBoard, what: str, detail: tuple[object, ...]) -> None:
        """Take one entry of a board's record."""
        watch = self._boards.setdefault(board, ClosedWatch())
        watch.see(board.now_us, what, detail)
        self.writes += watch.writes
        watch.writes.clear()


@pytest.fixture(scope="session", autouse=True)
def flash_watch() -> Iterator[SessionWatch]:
    """Watch every entry that an emulated board records."""
    watch, record = SessionWatch(), EmulatedBoard.record

    def seen(board: EmulatedBoard, what: str, *detail: object) -> None:
        watch.see(board, what, detail)
        record(board, what, *detail)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmulatedBoard, "record", seen)
        yield watch


@pytest.fixture(autouse=True)
def no_flash_write_while_closed(flash_watch: SessionWatch) -> Iterator[None]:
    """Fail every test of this folder in which flash was written under closed contacts."""
    yield
    writes, flash_watch.writes = flash_watch.writes, []
    assert writes == []


def booted_board(wire: Callable[[EmulatedBoard], None] | None = None) -> EmulatedBoard:
    """Return a board at its raw REPL, with an empty record."""
    board = EmulatedBoard(image_path(), wire)
    board.run_for(BOOT_MS)
    at_prompt(board)
    board.events.clear()  # the first boot writes a filesystem
    return board


@pytest.fixture
def board() -> EmulatedBoard:
    return booted_board()


@pytest.fixture(scope="module")
def shared_board() -> EmulatedBoard:
    """One board for tests that leave no trace on it."""
    return booted_board()
