"""The bench rack with a controller whose numbers are all Checked, and a record of the functions that ran."""

import importlib
import inspect
import pkgutil
from array import array
from collections.abc import Iterator
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import rack.control
from halite.hosts.controller_rig import Rig
from rack.control.controller import Controller

from support.checked_int import CheckedArray, checked

MODULES = [importlib.import_module(m.name) for m in pkgutil.walk_packages(rack.control.__path__, "rack.control.")]


def checked_controller(p: Any) -> Controller:
    """Return a controller whose parameters and attributes are Checked after its start. The start may allocate."""
    for key, value in vars(p).items():
        if isinstance(value, array):
            setattr(p, key, CheckedArray("i", value))
    c = Controller(p)
    for key, value in vars(p).items():
        setattr(p, key, checked(value))
    _check_attributes(c, {id(p)})
    return c


def _check_attributes(what: Any, seen: set[int]) -> None:
    """Make all integers Checked in an object of the control core and in the objects that it contains."""
    seen.add(id(what))
    for key, value in vars(what).items():
        if type(value).__module__.startswith("rack.control.") and id(value) not in seen:
            _check_attributes(value, seen)
        else:
            setattr(what, key, checked(value))


class CheckedRig(Rig):
    """The simulated world uses plain integers; needs the fixture `checked_arrays`."""

    def _controller(self) -> Controller:
        return checked_controller(SimpleNamespace(**vars(self.params)))

    def arrive(self) -> None:
        super().arrive()
        self.rack_dV = int(self.rack_dV)

    def _advance_ages(self, dt: int) -> None:
        self.c.advance_ages(checked(self.now_ms))

    def _heat(self, coils: int, before_dV: int, dt: int) -> None:
        """These tests do not read the resistor's energy."""


def functions() -> dict[str, FunctionType]:
    """Return every function of the control core by module and name."""
    return {f"{module.__name__.rpartition('.')[2]}.{name}": f for module in MODULES for name, f in _of(module)}


def _of(module: Any) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") != module.__name__ or value.__name__ != name:
            continue  # imported, or a second name
        members = vars(value).items() if inspect.isclass(value) else ((None, value),)
        for member, what in members:
            function = inspect.unwrap(what.fget if isinstance(what, property) else what)  # a kernel: its Python form
            if isinstance(function, FunctionType):
                yield (f"{name}.{member}" if member else name), function


class Entered:
    """Records the functions of the control core that run inside the `with` block.

    Each function gets a code that records the call and then restores the original code, so only its first call is slow.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._codes: dict[str, CodeType] = {}
        self._functions = functions()

    def __enter__(self) -> "Entered":
        for name, function in self._functions.items():
            self._codes[name] = function.__code__
            function.__globals__["_enter"] = self._enter
            made: dict[str, Any] = {}
            exec(f"def enter(*args, **named):\n return _enter({name!r}, args, named)", made)
            function.__code__ = made["enter"].__code__
        return self

    def __exit__(self, *_: object) -> None:
        for name, code in self._codes.items():
            self._functions[name].__code__ = code
            self._functions[name].__globals__.pop("_enter", None)

    def _enter(self, name: str, args: Any, named: Any) -> Any:
        self.names.add(name)
        function = self._functions[name]
        function.__code__ = self._codes[name]
        return function(*args, **named)
