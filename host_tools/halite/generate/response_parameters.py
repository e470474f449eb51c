"""Generate docs/response_parameters.md: every parameter and preset of the response.

The meaning of a parameter is the comment in its row of params.py. The title of a preset is its first comment.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from halite.common.paths import BOARD_CONFIGS, FIRMWARE, ROOT
from halite.config import RackConfig, load, rows
from halite.config.reader import read_toml

FILE = ROOT / "docs" / "response_parameters.md"

_SECTIONS = ("grid", "response", "split", "recorder")
_SERVICES = BOARD_CONFIGS / "grid_services"
_FIRST_WORDS = re.compile(r"# (.*?)(?:[.:,(]*$|[.:] | \()", re.MULTILINE)
_ROW = re.compile(r'^    \("(\w+)", .*\), +# (.*)$', re.MULTILINE)

_PAGE = """# Parameters of the response

`make generate` writes this page from `firmware/rack/definitions/params.py` and `board_configs/grid_services`.
[response.md](response.md) explains the effect of each parameter.

The parameters have no defaults: each key must be in the rack's file or in its preset. Keys with `*` belong to a preset
(`board_configs/grid_services`); the rack's own file can override them. All numbers are integers. *Shipped* is the value
of `sodium_rack` with `sodium_fast`; `halite config show FILE` prints the values of your config. Both racks of a pair
need the same `[grid]`, `[response]` and `[pair]`, except `role` and the keys of one rack (setpoint, recovery, tests).
"""


def _meanings() -> dict[str, str]:
    return dict(_ROW.findall((FIRMWARE / "rack" / "definitions" / "params.py").read_text(encoding="utf-8")))


def _shown(value: int | Sequence[int]) -> str:
    """Return a value as in a TOML file."""
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
            flag = (row.minimum, row.maximum) == (0, 1)
            unit, allowed = rows.unit_of(row.name), row.allowed if flag else f"{row.minimum:_} to {row.maximum:_}"
            value = str(bool(rack[row.name])).lower() if flag else _shown(rack[row.name])
        else:
            unit, allowed, value = "mHz, permille", f"2 to {row.maximum} knots", _shown(rack.tables[row.name])
        star = " *" if key in preset else ""
        yield f"| `{key}`{star} | {unit} | {allowed} | {value} | {meanings[row.name]} |"


def _activation(keys: dict[str, Any]) -> str:
    """Return the low-frequency deviations at which a preset starts and reaches full power."""
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
        title = _FIRST_WORDS.match(path.read_text(encoding="utf-8"))
        pace = f"{keys['up_permille_ps']:_}, {keys['down_permille_ps']:_}"
        figures = f"{_activation(keys)} | {keys['delay_ms']} | {pace} | {keys['duration_s']:_}"
        yield f"| `{path.stem}` | {title[1] if title else ''} | {figures} |"


def text() -> str:
    """Return the whole page. KeyError if a row of these sections has no comment."""
    rack, preset = load("sodium_rack"), set(read_toml(_SERVICES / "sodium_fast.toml"))
    parameters = (line for name in _SECTIONS for line in _lines(name, rack, preset))
    return "\n".join([_PAGE.rstrip(), *parameters, *_presets()]) + "\n"


def outputs() -> dict[Path, str]:
    """Return every generated file with the text that it must have."""
    return {FILE: text()}
