"""MicroPython's compile-time names for CPython, so that the firmware's modules import as they are."""

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., object])


def const(value: _T) -> _T:
    """Return the value; mpy-cross folds it."""
    return value


def viper(function: _F) -> _F:
    """Return the function; on the board the viper compiler makes machine code of it."""
    return function


def native(function: _F) -> _F:
    """Return the function; on the board the native compiler makes machine code of it."""
    return function
