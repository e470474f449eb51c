"""Compile kernels with numba, where it is installed: the one module that knows numba.

A kernel is a function at module level over integers, floats and buffers of numbers. It runs as Python until the
kernels of this process have taken LOAD_s together: loading numba takes about a second. Then its next call loads it
from the cache, or compiles it as soon as it alone has taken COMPILE_s. HALITE_JIT=0 keeps every kernel in Python;
HALITE_JIT=1 compiles each kernel in its first call. The firmware's kernels stay in Python in a mutant (HALITE_MUTANT).

The compiled form has the same bits. Integers have 64 bits; rule R1 keeps those of the firmware within 31. Floats are
IEEE doubles without contraction. An index is checked. A call with other arguments, such as checked integers in a
list, runs as Python.
"""

import builtins
import hashlib
import os
import sys
from array import array
from collections.abc import Callable, Iterator
from functools import cache, update_wrapper
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import numpy as np

from halite.common.image import cache_dir

LOAD_s = 1.0
COMPILE_s = 2.0
_FORMAT = 1  # of the cached files
_MAX_SIGNATURES = 4

_LEARN_AFTER = 32  # calls with other buffers
_MAX_KNOWN = 8  # sets of buffers that a kernel finds without numba's search
_NO_ONE = object()  # differs from every argument and from every type
_NUMBERS = {int, bool, float, np.float64}
_FITTING = _NUMBERS | {bytes, bytearray, array, np.ndarray}  # types of arguments

_F = TypeVar("_F", bound=Callable[..., Any])


def _switch() -> float:
    """Factor of the two times above: inf without compilation, 0 for compilation in the first call."""
    if os.environ.get("HALITE_JIT") == "0" or find_spec("numba") is None:
        return float("inf")
    return 0.0 if os.environ.get("HALITE_JIT") == "1" else 1.0


class Kernel:
    """One kernel and its compiled form.

    function: the Python form. place: returns the value that a global name has in the compiled form.
    problem: why the kernel cannot be compiled; "" while no problem is known.
    """

    every: dict[str, "Kernel"] = {}  # noqa: RUF012 - the kernels of this process, by module and name
    spent_s = 0.0  # time that all kernels have taken in Python
    switch = _switch()

    def __init__(self, function: FunctionType, place: Callable[[Any], Any]) -> None:
        self.function = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.problem = ""
        self._place = place
        self._spent_s = 0.0
        self._form: Any = None
        self.is_compiled = False
        self._misses = 0
        self._known: dict[tuple[Any, ...], tuple[Any, list[Any]]] = {}
        self._entries: dict[tuple[Any, ...], Any] = {}
        self._learn: Callable[..., None] = _ignore
        self._fingerprint = ""
        Kernel.every[self.name] = self

    # calls

    def call(self) -> Callable[..., Any]:
        """Return a function that runs the kernel: the compiled form at once for the buffers of an earlier call."""
        run, self._learn = _caller(self.function.__code__.co_argcount)(self._miss)
        return update_wrapper(run, self.function)

    def _miss(self, args: tuple[Any, ...]) -> Any:
        """Run the kernel for other buffers than those of the call before."""
        known = self._known.get(tuple([type(each) if type(each) in _NUMBERS else id(each) for each in args]))
        if known is not None:
            return known[0](*args)
        if not _FITTING.issuperset(map(type, args)):
            return self.function(*args)
        entry = self._entry(args)
        if entry is not None:
            self._misses += 1
            if self._misses % _LEARN_AFTER == 1 or len(self._known) < _MAX_KNOWN:
                self._remember(args, entry)
            return entry(*args)
        if self._is_time() and self.compile_for(args):
            return self._entry(args)(*args)
        return self._in_python(args)

    def _entry(self, args: tuple[Any, ...]) -> Any:
        """The machine code for exactly these types; None without it. numba's own search would cut a float to an int."""
        key = tuple([_kind(each) for each in args])
        entry = self._entries.get(key)
        if entry is None and self.is_compiled:
            found = self.form().overloads.get(tuple(map(_numba_type, args)))
            if found is not None:
                entry = self._entries[key] = found.entry_point
        return entry

    def _remember(self, args: tuple[Any, ...], entry: Any) -> None:
        """Let calls with the same buffers, and numbers of the same types, take the machine code directly."""
        buffers = [_NO_ONE if type(each) in _NUMBERS else each for each in args]
        numbers = [type(each) if type(each) in _NUMBERS else _NO_ONE for each in args]
        self._learn(entry, buffers, numbers)
        if len(self._known) < _MAX_KNOWN:  # a kept buffer stays alive, so its id belongs to it alone
            key = tuple([type(each) if type(each) in _NUMBERS else id(each) for each in args])
            self._known[key] = (entry, buffers)

    def _in_python(self, args: tuple[Any, ...]) -> Any:
        """Run the Python form and count its time."""
        begin_s = perf_counter()
        try:
            return self.function(*args)
        finally:
            taken_s = perf_counter() - begin_s
            self._spent_s += taken_s
            Kernel.spent_s += taken_s

    def _is_time(self) -> bool:
        """True when the compiled form has become cheaper than the time that Python takes."""
        if self.problem or Kernel.spent_s < LOAD_s * Kernel.switch:
            return False
        return self._spent_s >= COMPILE_s * Kernel.switch or self._is_cached()

    def compile_for(self, args: tuple[Any, ...]) -> bool:
        """Compile the kernel for these arguments, or load it; False if it does not take them."""
        from numba.core.caching import NullCache
        from numba.core.errors import NumbaError

        form = self.form()
        if len(form.overloads) >= _MAX_SIGNATURES:
            return False
        types = tuple(_numba_type(argument) for argument in args)
        form._can_compile = True
        try:
            form.compile(types)
        except OSError:  # the cache cannot be written
            form._cache = NullCache()
            form.compile(types)
        except NumbaError as error:
            self.problem = str(error).strip().splitlines()[0]
            return False
        form.disable_compile()
        self.is_compiled = True
        return True

    # the compiled form

    def form(self) -> Any:
        """The numba dispatcher of this kernel, without a compiled signature at first."""
        if self._form is None:
            from numba import njit

            names = {name: self._in_form(value) for name, value in self._globals()}
            made = FunctionType(self.function.__code__, names, self.function.__name__)
            made.__module__, made.__qualname__ = self.function.__module__, self.function.__qualname__
            self._form = njit(boundscheck=True)(made)
            _Locator.folder = self._folder()
            _enable_cache(self._form)
        return self._form

    def _globals(self) -> Iterator[tuple[str, Any]]:
        """Each global or builtin name of the function with its value."""
        known = self.function.__globals__
        for name in self.function.__code__.co_names:
            if name in known:
                yield name, known[name]
            elif hasattr(builtins, name):
                yield name, getattr(builtins, name)

    def _in_form(self, value: Any) -> Any:
        kernel = getattr(value, "kernel", None)
        if isinstance(kernel, Kernel):
            return kernel.form()
        return self._place(value)

    # cache

    def fingerprint(self) -> str:
        """Hash of all that the machine code follows from: code, constants, and the same of the kernels it calls."""
        if not self._fingerprint:
            code = self.function.__code__
            parts = [_FORMAT, self.name, code.co_code, code.co_consts, code.co_names, code.co_varnames]
            for name, value in self._globals():
                kernel = getattr(value, "kernel", None)
                if isinstance(kernel, Kernel):
                    parts.append(kernel.fingerprint())
                elif isinstance(value, ModuleType):
                    parts.append([(each, getattr(value, each, None)) for each in code.co_names if hasattr(value, each)])
                elif isinstance(value, int | float | bytes | tuple):
                    parts.append((name, value))
            self._fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
        return self._fingerprint

    def _folder(self) -> Path:
        return _cache_folder() / f"{self.name}-{self.fingerprint()}"

    def _is_cached(self) -> bool:
        return any(self._folder().glob("*.nbi"))


@cache
def _cache_folder() -> Path:
    from importlib.metadata import version

    return cache_dir() / f"kernels-{sys.implementation.cache_tag}-numba-{version('numba')}"


class _Locator:
    """Where numba keeps the machine code of a kernel: the interface of numba's cache locators."""

    folder = Path()

    @classmethod
    def from_function(cls, function: Any, file: str) -> "_Locator":
        return cls()

    def __init__(self) -> None:
        self._folder = _Locator.folder

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return ""


def _enable_cache(form: Any) -> None:
    from numba.core import config

    before = config.CACHE_LOCATOR_CLASSES
    config.CACHE_LOCATOR_CLASSES = f"{__name__}._Locator"
    try:
        form.enable_caching()
    finally:
        config.CACHE_LOCATOR_CLASSES = before


def _ignore(*_: Any) -> None:
    """Does not keep anything."""


@cache
def _caller(count: int) -> Any:
    """Return a function that makes the call of a kernel with `count` arguments.

    A call with the buffers and the types of numbers of one of the last two that it has learnt takes the machine code
    directly, without numba's search by types. That search takes longer than most kernels.
    """
    places = range(count)
    given = ", ".join(f"a{at}" for at in places) + ","
    names = [", ".join(f"{letter}{at}" for at in places) for letter in "bndm"]
    tests = [
        " and ".join(f"(a{at} is {kept}{at} or type(a{at}) is {kind}{at})" for at in places)
        for kept, kind in (("b", "n"), ("d", "m"))
    ]
    source = f"""
def make(miss):
    first = second = None
    {names[0]}, = {names[1]}, = {names[2]}, = {names[3]}, = [no_one] * {count}
    def call({given}):
        if {tests[0]}:
            return first({given})
        if {tests[1]}:
            return second({given})
        return miss(({given}))
    def learn(found, known_buffers, known_numbers):
        nonlocal first, second, {", ".join(names)}
        second, {names[2]}, {names[3]} = first, {names[0]}, {names[1]}
        first = found
        {names[0]}, = known_buffers
        {names[1]}, = known_numbers
    return call, learn
"""
    made: dict[str, Any] = {"no_one": _NO_ONE}
    exec(source, made)
    return made["make"]


def _kind(argument: Any) -> Any:
    """What the machine code follows from: type, kind of the elements, and order of the elements in memory."""
    if isinstance(argument, array):
        return argument.typecode
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim, argument.flags.num
    return type(argument)


def _numba_type(argument: Any) -> Any:
    from numba import int64, typeof

    return int64 if isinstance(argument, bool) else typeof(argument)


def _itself(value: Any) -> Any:
    return value


def part(function: _F, place: Callable[[Any], Any] = _itself) -> _F:
    """Decorate a function that kernels call: it is compiled into them, and runs as Python when Python calls it.

    place: returns the value that a global name of the function has in the compiled form.
    """
    function.kernel = Kernel(function, place)  # type: ignore[arg-type, attr-defined]
    return function


def kernel(function: _F, place: Callable[[Any], Any] = _itself) -> _F:
    """Decorate a function as a kernel. place: as for `part`."""
    made: Kernel = part(function, place).kernel  # type: ignore[attr-defined]
    stays = Kernel.switch == float("inf") or ("HALITE_MUTANT" in os.environ and made.name.startswith("rack."))
    return function if stays else made.call()  # type: ignore[return-value]
