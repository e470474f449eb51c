"""Integers that raise an error where an RP2040 would allocate: beyond 31 bits, or for a float result (rule R1)."""

from collections.abc import Iterable
from typing import Any

from halite.config.rows import INT_MAX, INT_MIN


class Overflow(AssertionError):
    """An intermediate result that does not fit."""


def checked(value: Any) -> Any:
    """Return an integer as a Checked; return booleans and all other objects unchanged. Overflow beyond 31 bits."""
    if type(value) is bool or not isinstance(value, int):
        return value
    if not INT_MIN <= value <= INT_MAX:
        raise Overflow(f"{int(value)} needs more than 31 bits")
    return Checked(value)


def _binary(name: str) -> Any:
    plain = getattr(int, name)

    def operate(self: int, other: Any) -> Any:
        if isinstance(other, list):
            return NotImplemented  # [0] * n
        if not isinstance(other, int):
            raise Overflow(f"{name} with {type(other).__name__}")
        return checked(plain(self, other))

    return operate


def _unary(name: str) -> Any:
    plain = getattr(int, name)
    return lambda self: checked(plain(self))


def _refused(name: str) -> Any:
    def refuse(self: int, *_: Any) -> Any:
        raise Overflow(f"{name} leaves the integers")

    return refuse


_OPERATORS = ("add", "sub", "mul", "floordiv", "mod", "lshift", "rshift", "and", "or", "xor")


class Checked(int):
    """An int whose results are checked."""

    for _name in _OPERATORS:
        locals()[f"__{_name}__"] = _binary(f"__{_name}__")
        locals()[f"__r{_name}__"] = _binary(f"__r{_name}__")
    for _name in ("neg", "abs", "invert", "pos"):
        locals()[f"__{_name}__"] = _unary(f"__{_name}__")
    for _name in ("truediv", "rtruediv", "pow", "rpow", "float", "divmod", "rdivmod"):
        locals()[f"__{_name}__"] = _refused(f"__{_name}__")
    __hash__ = int.__hash__


class CheckedArray(list[int]):
    """array('i', …) whose elements are Checked and stay in range."""

    def __init__(self, code: str, values: Iterable[int] = ()) -> None:
        assert code in ("i", "h", "H", "B")
        super().__init__(checked(int(value)) for value in values)

    def __getitem__(self, at: Any) -> Any:
        assert not isinstance(at, int) or -len(self) <= at
        if isinstance(at, int) and at < 0:
            raise Overflow("a kernel has no negative index")
        return super().__getitem__(at)

    def __setitem__(self, at: Any, value: Any) -> None:
        if isinstance(at, int) and at < 0:
            raise Overflow("a kernel has no negative index")
        super().__setitem__(at, checked(int(value)))
