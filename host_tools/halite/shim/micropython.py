"""MicroPython's compile-time names for CPython, so that the firmware's modules import as they are."""

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., object])


def const(value: _T) -> _T:
    return value


def viper(function: _F) -> _F:
    return function


def native(function: _F) -> _F:
    return function
