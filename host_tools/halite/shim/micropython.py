"""MicroPython's compile-time names for CPython, so that the firmware's modules import as they are."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from halite.common import jit

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., object])


def const(value: _T) -> _T:
    """Return the value; mpy-cross folds it."""
    return value


def viper(function: Any) -> Any:
    """Return a function of the control core as a kernel of halite.common.jit; any other as it is.

    On the board the viper compiler makes machine code of it. A function of integers alone runs as Python when Python
    calls it: a call of machine code costs more than its work.
    """
    if not function.__module__.startswith("rack.control."):
        return function
    kinds = dict(function.__annotations__)
    kinds.pop("return", None)
    only_numbers = list(kinds.values()) == [int] * function.__code__.co_argcount
    return jit.part(function, _in_form) if only_numbers else jit.kernel(function, _in_form)


@cache
def _casts() -> tuple[Any, Any]:
    """The compiled forms of a pointer cast and of `int`."""
    import numpy as np
    from numba import njit

    return njit(lambda values: values), njit(lambda value: np.int64(value))


def _in_form(value: Any) -> Any:
    """Return the value of a global name in the compiled form of a viper function."""
    if value is int:
        return _casts()[1]
    if getattr(value, "__module__", "") == "rack.base.viper":
        return _casts()[0]
    if isinstance(value, bytes):
        import numpy as np

        return np.frombuffer(value, np.uint8)
    return value


def native(function: _F) -> _F:
    """Return the function; on the board the native compiler makes machine code of it."""
    return function
