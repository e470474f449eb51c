"""The tables of a config as curves, and its alarm rows one by one, for every check."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from halite.common.paths import use_firmware
from halite.config import rows

use_firmware()

from rack.generated import alarm_levels as L  # noqa: E402 - only after use_firmware

Values = Mapping[str, int]
Tables = Mapping[str, Sequence[int]]
Check = Callable[[Values, Tables], Iterator[str]]


def columns(table: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """The two columns of a table of pairs."""
    return table[0::2], table[1::2]


def value_at(x: int, along: Sequence[int], value: Sequence[int]) -> float:
    """The value of a curve at x, constant beyond its ends; 0 without a knot."""
    if not along:
        return 0
    for (x0, y0), (x1, y1) in pairwise(zip(along, value, strict=True)):
        if x0 < x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return value[0] if x <= along[0] else value[-1]


def ocv_mV(tables: Tables, soc_cpct: int) -> float:
    """Open-circuit voltage of a cell at a state of charge of 0..10000, mV."""
    return value_at(soc_cpct, *columns(tables["cell_ocv"]))


def levels_of(tables: Tables) -> Iterator[tuple[str, str, int, int, Sequence[int]]]:
    """(key, signal, direction, level, [set, clear, set_ms, clear_ms]) of every alarm."""
    levels = tables.get("alarms_levels", ())
    for index, row in enumerate(rows.alarm_rows()):
        key, signal, direction, level = row[:4]
        at = L.WIDTH * index
        yield str(key), str(signal), int(str(direction)), int(str(level)), levels[at : at + L.WIDTH]


def set_levels(tables: Tables) -> dict[str, int]:
    """The set level of every alarm by its key."""
    return {key: levels[L.SET] for key, _, _, _, levels in levels_of(tables)}
