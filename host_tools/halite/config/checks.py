"""What one row cannot say: which values of a board config fight each other. One small function per rule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

Values = Mapping[str, int]
Tables = Mapping[str, Sequence[int]]
Check = Callable[[Values, Tables], Iterator[str]]


def _ocv(values: Values, tables: Tables) -> Iterator[str]:
    soc, voltage = tables["cell_ocv"][0::2], tables["cell_ocv"][1::2]
    if len(soc) < 2 or soc[0] != 0 or soc[-1] != 10_000:
        yield "[cell] ocv must run from SoC 0 to 10000 (0.01 %)"
    for name, column in (("SoC", soc), ("voltage", voltage)):
        if any(later <= earlier for earlier, later in pairwise(column)):
            yield f"[cell] ocv: the {name} must rise from entry to entry"
    low, high = values["cell_voltage_min_mV"], values["cell_voltage_max_mV"]
    if voltage and (min(voltage) < low or max(voltage) > high):
        yield f"[cell] ocv leaves the cell's window: allowed is {low} to {high} mV"


CHECKS: tuple[Check, ...] = (_ocv,)


def cross_check(values: Values, tables: Tables) -> list[str]:
    """Every conflict, one line each."""
    return [line for check in CHECKS for line in check(values, tables)]
