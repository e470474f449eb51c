"""The module that waits for files: the parts of MicroPython and of CPython. Only the type check reads this file."""

from collections.abc import Iterable, Iterator
from typing import Any

POLLIN: int
POLLOUT: int

class poll:
    def register(self, file: Any, events: int = ...) -> None: ...
    def unregister(self, file: Any) -> None: ...
    def poll(self, timeout_ms: float | None = ...) -> list[tuple[int, int]]: ...
    def ipoll(self, timeout_ms: int = ..., flags: int = ...) -> Iterator[tuple[Any, int]]: ...  # MicroPython only

def select(
    readers: Iterable[Any], writers: Iterable[Any], errors: Iterable[Any], timeout: float | None = ...
) -> tuple[list[Any], list[Any], list[Any]]: ...
