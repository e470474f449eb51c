"""A rack's answers as text, for any command, because an answer has names and units.

Only log records are bare numbers: they become JSON lines with the names of the firmware's lists. A frozen trace becomes
a CSV file.
"""

import json
from typing import Any

from halite.common.errors import HaliteError
from halite.hosts.event_log import decoded

_PER_LINE = 8


def _rows_of_numbers(values: list[Any]) -> list[str]:
    lines = []
    for at in range(0, len(values), _PER_LINE):
        cells = " ".join(f"{value!s:>8}" for value in values[at : at + _PER_LINE])
        lines.append(f"  {at:>4}: {cells}")
    return lines


def _lines(name: str, value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        return [f"{indent}{name}"] + [line for key, item in value.items() for line in _lines(key, item, indent + "  ")]
    if isinstance(value, list) and value and all(isinstance(item, int | float | None) for item in value):
        return [f"{indent}{name} ({len(value)})", *_rows_of_numbers(value)]
    if isinstance(value, list):
        return [f"{indent}{name} ({len(value)})"] + [f"{indent}  {_flat(item)}" for item in value]
    return [f"{indent}{name:<24} {value}"]


def _flat(item: Any) -> str:
    if isinstance(item, dict):
        return "  ".join(f"{key} {value}" for key, value in item.items())
    return "  ".join(str(part) for part in item) if isinstance(item, list) else str(item)


def _log(records: Any) -> str:
    try:
        return "\n".join(json.dumps(decoded(record)) for record in records)
    except (TypeError, ValueError, KeyError, IndexError):
        hint = "use the halite that flashed the rack"
        raise HaliteError("the log has another form than this version expects", hint) from None


def as_text(answer: dict[str, Any]) -> str:
    """One line per value; long lists in rows with the index of their first element; the log as JSON lines.

    A frozen trace is pure CSV, so that it can go into a file; `--json` shows its cause.
    """
    if answer.get("re") == "log":
        return _log(answer.get("log"))
    rows = answer.get("rows")
    if answer.get("re") == "trace" and isinstance(rows, list) and rows:
        return "\n".join(str(line) for line in (answer.get("columns"), *rows))
    return "\n".join(line for name, value in answer.items() if name != "re" for line in _lines(name, value, ""))
