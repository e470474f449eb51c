"""Check a merged config document with pydantic models that are made from the rows of the firmware.

Every problem becomes one line: file, section and key, value, unit, allowed values.
"""

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from halite.config import rows
from halite.config.reader import Document

_Int = Annotated[int, Field(strict=True, ge=rows.INT_MIN, le=rows.INT_MAX)]
_Name = Annotated[str, Field(strict=True, min_length=1, max_length=32, pattern=r"^[!-~][ -~]*$")]  # as the console
_KeyHex = Annotated[str, Field(strict=True, pattern=r"^[0-9a-fA-F]{64}$")]

_ASKS = re.compile(r": (?:unit \S+ is wrong here|the unit is missing): use (\S+)|: did you mean (?P<name>\S+)")

# Keys that are not integers: (type, required, allowed values).
TEXT_KEYS: Mapping[str, tuple[Any, bool, str]] = {
    "rack_name": (_Name, True, "1 to 32 printable ASCII characters"),
    "rack_board": (str, True, "the name of a file in boards/"),
    "response_grid_service": (str, False, "the name of a file in grid_services/"),
    "maintenance_key_hex": (_KeyHex, True, "64 hexadecimal digits"),
}


def _table_type(width: int, maximum: int) -> Any:
    entry = Annotated[list[_Int], Field(min_length=width, max_length=width)] if width > 1 else _Int
    return Annotated[list[entry], Field(max_length=maximum)]  # type: ignore[valid-type]


def _fields() -> dict[str, dict[str, Any]]:
    """The pydantic field of each key, by section."""
    types: dict[str, Any] = {name: (kind, ... if needed else None) for name, (kind, needed, _) in TEXT_KEYS.items()}
    for row in rows.scalars():
        types[row.name] = (Annotated[int, Field(strict=True, ge=row.minimum, le=row.maximum)], ...)
    for table in rows.tables():
        if table.name != "alarms_levels":
            types[table.name] = (_table_type(table.width, table.maximum), ...)
    sections: dict[str, dict[str, Any]] = {}
    for name, field in types.items():
        section, key = rows.split(name)
        sections.setdefault(section, {})[key] = field
    if rows.alarm_keys():
        level = Annotated[list[_Int], Field(min_length=4, max_length=4)]
        sections["alarms"] = {key: (level, ...) for key in rows.alarm_keys()}
    return sections


@cache
def document_model() -> type[BaseModel]:
    """The model of a config: one sub-model per section, without other keys."""
    strict = ConfigDict(extra="forbid")
    parts: dict[str, Any] = {}
    for section, fields in _fields().items():
        parts[section] = (create_model(section, __config__=strict, **fields), ...)
    return create_model("Config", __config__=strict, **parts)


def _numbered(document: Document) -> Document:
    """The document with integers instead of named values, and instead of booleans in rows of 0..1."""
    result = {name: dict(body) if isinstance(body, dict) else body for name, body in document.items()}
    for row in rows.scalars():
        section, key = rows.split(row.name)
        body = result.get(section)
        if not isinstance(body, dict):
            continue
        value = body.get(key)
        if row.name in rows.NAMED_VALUES:
            if isinstance(value, str):
                body[key] = rows.NAMED_VALUES[row.name].get(value, value)
        elif isinstance(value, bool) and (row.minimum, row.maximum) == (0, 1):
            body[key] = int(value)
    return result


def _allowed() -> dict[str, str]:
    """The allowed values in words, by full name."""
    words = {name: text for name, (_, _, text) in TEXT_KEYS.items()}
    words.update({row.name: row.allowed for row in rows.scalars()})
    words.update({table.name: table.allowed for table in rows.tables()})
    words.update({f"alarms_{key}": "[set, clear, set_ms, clear_ms], whole numbers" for key in rows.alarm_keys()})
    return words


def _stem(key: str) -> str:
    """A key without its unit."""
    stem, _, unit = key.rpartition("_")
    return stem if unit in rows.UNITS else key


def _unknown(where: str, key: str, known: Mapping[str, str]) -> str:
    """A line for an unknown key that proposes the right unit, a similar name, or all keys."""
    unit = key.rpartition("_")[2]
    for name, allowed in known.items():
        if name != key and _stem(name) == _stem(key):
            wrong = f"unit {unit} is wrong here" if unit in rows.UNITS else "the unit is missing"
            return f"{where}: {wrong}: use {name} ({allowed})"
    near = difflib.get_close_matches(key, known, 1, 0.6)
    if near:
        return f"{where}: unknown: did you mean {near[0]} ({known[near[0]]})?"
    return f"{where}: unknown: known here are {', '.join(known)}"


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "..."


def _line(error: Any, document: Document, allowed: Mapping[str, str], sections: list[str]) -> str:
    """One problem of pydantic as one line for the user."""
    section, *rest = (str(part) for part in error["loc"])
    if not rest:
        return _section_line(error, section, sections)
    key = rest[0]
    where = f"[{section}] {key}"
    here = {name[len(section) + 1:]: text for name, text in allowed.items() if name.startswith(f"{section}_")}
    if error["type"] == "extra_forbidden":
        return _unknown(f"{where} = {_shown(error['input'])}", key, here)
    words = here.get(key, "")
    if error["type"] == "missing":
        return f"{where}: missing: allowed is {words}"
    entry = f", entry {int(rest[1]) + 1}," if len(rest) > 1 and rest[1].isdigit() else ""
    unit = rows.unit_of(key)
    value = _shown(document[section][key] if not entry else error["input"])
    numeric = words[:1] in "-0123456789" and not entry
    whole = "a whole number, " if numeric and error["type"].startswith("int_") else ""
    return f"{where}{entry} = {value}{' ' + unit if unit and not entry else ''}: allowed is {whole}{words}"


def _section_line(error: Any, section: str, sections: list[str]) -> str:
    if error["type"] == "missing":
        return f"[{section}]: the section is missing"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(section, sections, 1, 0.6)
        tail = f"did you mean [{near[0]}]?" if near else "known are " + ", ".join(f"[{name}]" for name in sections)
        return f"[{section}]: unknown section: {tail}"
    return f"[{section}]: must be a section with keys, not a single value"


def validate(path: Path, document: Document) -> tuple[dict[str, Any], list[str]]:
    """Check a merged document.

    Returns the validated document and the problems, one line each with the name of the file. With problems the
    document is {}.
    """
    model = document_model()
    try:
        return model.model_validate(_numbered(document)).model_dump(exclude_none=True), []
    except ValidationError as failure:
        allowed, sections = _allowed(), sorted(model.model_fields)
        lines = [_line(error, document, allowed, sections) for error in failure.errors(include_url=False)]
    lines = _without_echo(list(dict.fromkeys(lines)))
    return {}, [f"{path}: {re.sub(chr(10), ' ', line)}" for line in lines]


def _without_echo(lines: list[str]) -> list[str]:
    """Remove "missing" for a key that another line already proposes with the right unit."""
    asked = set()
    for line in lines:
        if found := _ASKS.search(line):
            asked.add(f"{line.partition(' ')[0]} {found.group(1) or found.group(2)}: missing")
    return [line for line in lines if line.partition(": allowed")[0] not in asked]
