"""Print a config for people, and make a new config from a shipped one."""

import re
import secrets
from pathlib import Path

from halite.common.errors import HaliteError
from halite.common.paths import BOARD_CONFIGS
from halite.config import RackConfig, rows
from halite.config.reader import find_config

_NAME = re.compile(r'^name = ".*?"', re.MULTILINE)
_PLAIN_NAME = re.compile(r'(?! )[ !#-\[\]-~]{1,32}')
_KEY = re.compile(r'^(?:#.*\n)?key_hex = ".*?"', re.MULTILINE)


def _value(name: str, value: object) -> str:
    for word, number in rows.NAMED_VALUES.get(name, {}).items():
        if number == value:
            return word
    unit = rows.unit_of(name)
    return f"{value} {unit}".rstrip()


def as_text(config: RackConfig) -> str:
    """Every section with its values and units, without the maintenance key."""
    lines = []
    for section, body in config.sections.items():
        lines.append(f"[{section}]")
        for key, value in body.items():
            shown = "(kept secret)" if key == "key_hex" else _value(f"{section}_{key}", value)
            lines.append(f"  {key:<28} {shown}")
    return "\n".join(lines)


def start_from(preset: str, file: Path, name: str) -> None:
    """Copy a shipped config with its comments, under another name and with a fresh maintenance key."""
    source = find_config(preset)
    if not source.is_file():
        shipped = ", ".join(path.stem for path in sorted(BOARD_CONFIGS.glob("*.toml")))
        raise HaliteError(f"{preset}: no such config to start from", f"shipped with Halite: {shipped}")
    if not _PLAIN_NAME.fullmatch(name):
        raise HaliteError(f"{name!r} is not a valid rack name", "1 to 32 printable ASCII characters, no quotes or \\")
    text = _NAME.sub(f'name = "{name}"', source.read_text(encoding="utf-8"), count=1)
    text = _KEY.sub(f'key_hex = "{secrets.token_hex(32)}"', text, count=1)
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise HaliteError(f"{file}: exists already", "give another name") from None
    except OSError as error:
        raise HaliteError(f"{file}: cannot be written: {error.strerror}") from None
