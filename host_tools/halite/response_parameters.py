"""docs/response_parameters.md: every parameter of the response in one place, from the rows of rack.params.

A parameter's meaning is the comment in its row, so whoever adds a row says what it does. Written by `halite.generate`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from halite.config import RackConfig, load, rows
from halite.config.reader import read_toml
from halite.paths import BOARD_CONFIGS, FIRMWARE, ROOT

FILE = ROOT / "docs" / "response_parameters.md"

_SECTIONS = ("grid", "response", "split", "recorder")
_ROW = re.compile(r'^    \("(\w+)", .*\), +# (.*)$', re.MULTILINE)

_PAGE = """# Parameters of the response

Generated from `firmware/rack/params.py` by `make generate`. What each does in the chain: [response.md](response.md).

There are no defaults: a key that neither the rack's file nor its preset gives is refused. Keys marked `*` are those of
a preset (`board_configs/services`); the rack's own file may give them too, and wins. Numbers are whole. *Shipped* is
what `sodium_rack` with `sodium_fast` has; `halite config show FILE` prints your own. Both racks of a pair need the same
`[grid]`, `[response]` and `[split]`, but for `role` and what is a rack's own affair (setpoint, recovery, tests).
"""


def _meanings() -> dict[str, str]:
    return dict(_ROW.findall((FIRMWARE / "rack" / "params.py").read_text(encoding="utf-8")))


def _shown(value: int | Sequence[int]) -> str:
    """As it would be written in TOML."""
    if isinstance(value, int):
        return f"{value:_}"
    return "`[" + ", ".join(f"[{x}, {y}]" for x, y in zip(value[::2], value[1::2], strict=True)) + "]`"


def _lines(section: str, rack: RackConfig, preset: set[str]) -> Iterator[str]:
    meanings = _meanings()
    every: tuple[rows.Scalar | rows.Table, ...] = (*rows.scalars(), *rows.tables())
    yield from (f"\n## [{section}]\n", "| key | unit | allowed | shipped | meaning |", "|---|---|---|---|---|")
    for row in every:
        of, key = rows.split(row.name)
        if of != section:
            continue
        if isinstance(row, rows.Scalar):
            flag = (row.least, row.most) == (0, 1)
            unit, allowed = rows.unit_of(row.name), row.allowed if flag else f"{row.least:_} to {row.most:_}"
            value = str(bool(rack[row.name])).lower() if flag else _shown(rack[row.name])
        else:
            unit, allowed, value = "mHz, permille", f"2 to {row.most} knots", _shown(rack.tables[row.name])
        star = " *" if key in preset else ""
        yield f"| `{key}`{star} | {unit} | {allowed} | {value} | {meanings[row.name]} |"


def text() -> str:
    """The whole page; KeyError for a row of these sections without a comment."""
    rack, preset = load("sodium_rack"), set(read_toml(BOARD_CONFIGS / "services" / "sodium_fast.toml"))
    return "\n".join([_PAGE.rstrip(), *(line for name in _SECTIONS for line in _lines(name, rack, preset))]) + "\n"


def outputs() -> dict[Path, str]:
    """Every generated file with the text it must have."""
    return {FILE: text()}
