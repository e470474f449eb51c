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
    """Return the function as a kernel of halite.common.jit; on the board the viper compiler makes machine code of it.

    Methods stay as they are, and so do functions of integers alone when Python calls them: a call costs more than
    their work.
    """
    if "." in function.__qualname__:
        return function
    numbers = [kind for kind in function.__annotations__.values() if kind is int]
    only_numbers = len(numbers) >= function.__code__.co_argcount
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
