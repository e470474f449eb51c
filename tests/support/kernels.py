"""Every kernel with drawn arguments: the Python form and the compiled form run on copies of the same buffers."""

import copy
import importlib
import inspect
import pkgutil
from array import array
from random import Random
from typing import Any

import numpy as np
import rack.control
from halite.common.jit import Kernel
from halite.plant import cell_step, dc_bus, grid, heat, pcs

for _found in pkgutil.walk_packages(rack.control.__path__, "rack.control."):
    importlib.import_module(_found.name)
PLANT = (cell_step, dc_bus, grid, heat, pcs)
NAMES = sorted(name for name in Kernel.every if name.startswith(("rack.control.", "halite.plant.")))

_WORDS = 1000  # more than the words of any layout and of the rings
# largest value of a word; the rings of a state array have 256 places, so most of its indices fit
_SPANS = (2, 9, 130, 3_000, 30_000)
_TABLES, _ROWS, _COLUMNS = ("state", "circuit", "now", "rows", "nodes"), 14, 5  # tables of the plant
_POSITIVE = ("emf_V", "ohm")
_ENDLESS = ("rack.control.response.request_kernel.request_kernel",)  # with an index outside its ring


def arguments(name: str, random: Random) -> tuple[Any, ...]:
    """Return arguments of the types that the annotations of a kernel name; no annotation: array('i')."""
    parameters = inspect.signature(Kernel.every[name].function).parameters.values()
    spans = _SPANS[:3] if name in _ENDLESS else _SPANS
    low = 0 if name in _ENDLESS else random.choice((0, -1))
    return tuple(
        _argument(each.name, getattr(each.annotation, "__name__", each.annotation), random, random.choice(spans), low)
        for each in parameters
    )


def _argument(name: str, kind: str, random: Random, span: int, low: int) -> Any:
    if name in _POSITIVE:
        return random.uniform(0.001, span)
    if kind == "bool":
        return random.random() < 0.5
    if kind == "int":
        return random.randint(-1, span)
    if kind == "float":
        return random.choice((-1.0, 1.0)) * random.uniform(0.0, 3.0) * span
    if kind == "_Rows":
        return array("d", sorted(random.uniform(0.1, 60.0) for _ in range(4 * random.randint(1, 9))))
    if kind == "ndarray":
        return _drawn_array(name, random, span)
    if kind == "ptr8":
        return bytearray(random.randint(0, min(span, 255)) for _ in range(_WORDS))
    if name == "words":  # holds the size of a group, and a group of 0 has no end
        return array("i", [random.randint(1, span) for _ in range(_WORDS)])
    return array("h" if kind == "ptr16" else "i", [random.randint(low * span, span) for _ in range(_WORDS)])


def _drawn_array(name: str, random: Random, span: int) -> Any:
    if name == "position_of":
        return np.array([random.randint(0, 2) for _ in range(_COLUMNS)])
    rows = _ROWS if name in _TABLES else 1
    drawn = np.array([[random.uniform(-3.0, 3.0) * span for _ in range(_COLUMNS)] for _ in range(rows)])
    return drawn if name in _TABLES else drawn[0]


def outcome(run: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return result or type of the exception, and the buffers after the call. Runs on a copy.

    OverflowError for a result beyond 31 bits too: rule R1 excludes it.
    """
    own = copy.deepcopy(args)
    try:
        result = run(*own)
        if isinstance(result, int) and not -(2**30) <= result < 2**30:
            return OverflowError, own
    except (IndexError, ZeroDivisionError, OverflowError, ValueError) as error:
        return type(error), own
    return result, own
