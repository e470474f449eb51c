"""docs/response_parameters.md: every parameter and preset of the response, from rack.params and the presets.

A parameter's meaning is the comment in its row, a preset's its first comment, so whoever adds one says what it is.
Written by `halite.generate`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from halite.config import RackConfig, load, rows
from halite.config.reader import read_toml
from halite.paths import BOARD_CONFIGS, FIRMWARE, ROOT

FILE = ROOT / "docs" / "response_parameters.md"

_SECTIONS = ("grid", "response", "split", "recorder")
_SERVICES = BOARD_CONFIGS / "services"
_FIRST_WORDS = re.compile(r"# (.*?)(?:[.:,(]*$|[.:] | \()", re.MULTILINE)
_ROW = re.compile(r'^    \("(\w+)", .*\), +# (.*)$', re.MULTILINE)

_PAGE = """# Parameters of the response

Generated from `firmware/rack/params.py` and `board_configs/services` by `make generate`. What each does in the chain:
[response.md](response.md).

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


def _answers(keys: dict[str, Any]) -> str:
    """What a preset answers to, and where it is at full power; low frequency."""
    if keys["step_permille"]:
        return f"a step {keys['step_below_mHz']} mHz below"
    quiet = max((-mHz for mHz, permille in keys["curve"] if permille > 0), default=0)
    rest = min((-mHz for mHz, permille in keys["curve"] if permille == 0 and mHz <= 0), default=0)
    return f"{rest} to {quiet} mHz"


def _presets() -> Iterator[str]:
    head = "| `service` | for | from, full at | `delay_ms` | `up_`, `down_permille_ps` | `duration_s` |"
    yield from ("\n## Presets\n", head, "|---|---|---|---|---|---|")
    for path in sorted(_SERVICES.glob("*.toml")):
        keys = read_toml(path)
        told = _FIRST_WORDS.match(path.read_text(encoding="utf-8"))
        pace = f"{keys['up_permille_ps']:_}, {keys['down_permille_ps']:_}"
        figures = f"{_answers(keys)} | {keys['delay_ms']} | {pace} | {keys['duration_s']:_}"
        yield f"| `{path.stem}` | {told[1] if told else ''} | {figures} |"


def text() -> str:
    """The whole page; KeyError for a row of these sections without a comment."""
    rack, preset = load("sodium_rack"), set(read_toml(_SERVICES / "sodium_fast.toml"))
    parameters = (line for name in _SECTIONS for line in _lines(name, rack, preset))
    return "\n".join([_PAGE.rstrip(), *parameters, *_presets()]) + "\n"


def outputs() -> dict[Path, str]:
    """Every generated file with the text it must have."""
    return {FILE: text()}
