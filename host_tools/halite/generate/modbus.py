"""Generate the Modbus registers for board, integrator and SunSpec client from rack.definitions.sunspec.

`halite.generate.outputs` writes the files. A client that reads SunSpec JSON can use the definition of the vendor model.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halite.common.paths import BOARD_CONFIGS, FIRMWARE, ROOT, use_firmware
from halite.config.reader import read_toml

use_firmware()

from rack.comms import ems  # noqa: E402 - only after use_firmware
from rack.definitions import sunspec  # noqa: E402
from rack.definitions.alarms import ROWS  # noqa: E402
from rack.definitions.signals import SIGNALS  # noqa: E402
from rack.drivers.crc16 import TABLE, crc16  # noqa: E402

MAP_FILE = FIRMWARE / "rack" / "generated" / "modbus_map.py"
PROTOCOLS = ROOT / "docs" / "protocols"
PAGE_FILE = PROTOCOLS / "modbus.md"
HEAD_FILE = Path(__file__).with_name("modbus_page.md")
MODEL_FILE = PROTOCOLS / f"model_{sunspec.VENDOR}.json"

_KIND = {name: number for number, name in enumerate(sunspec.KINDS)}
# act of a writable point: the index of an EMS value, or one of these numbers, which are above all indices
_ACTS = {name: ems.VALUES + number for number, name in enumerate(("CTRL_HB", "ALM_RST", "SET_OP"))}

Row = tuple[int, int, int]


@dataclass(frozen=True)
class Point:
    """One point of a model. offset: registers from the base of the map; source: as in rack.definitions.sunspec."""

    model: int
    name: str
    kind: str
    source: Any
    meaning: str
    offset: int

    @property
    def registers(self) -> int:
        return sunspec.REGISTERS[self.kind]

    @property
    def writable(self) -> str:
        """Return the act of a write, as in rack.definitions.sunspec; "" for a read-only point."""
        return next((act for model, name, act in sunspec.WRITABLE if (model, name) == (self.model, self.name)), "")


def length_of(points: Any) -> int:
    """Return L of a model: its number of registers after ID and L."""
    return sum(sunspec.REGISTERS[kind] for _, kind, *_ in points)


def points() -> list[Point]:
    """Return every point of every model, with ID and L, in the order of their registers."""
    found = []
    offset = len(sunspec.SUNS)
    for model, _, rows in sunspec.MODELS:
        head = (("ID", "uint16", model, "model identifier"), ("L", "uint16", length_of(rows), "registers that follow"))
        for name, kind, source, meaning in (*head, *rows):
            found.append(Point(model, name, kind, source, meaning, offset))
            offset += sunspec.REGISTERS[kind]
    return found


def layout() -> int:
    """Return a number that changes when the points of the rack's own model change."""
    names = ",".join(f"{name}:{kind}" for name, kind, *_ in sunspec.MODELS[-1][2]).encode()
    return int(crc16(names, 0, len(names), TABLE))


def _text_rows(text: str, registers: int) -> list[Row]:
    data = text.encode("ascii").ljust(2 * registers, b"\0")
    return [(_KIND["CONSTANT"], data[at], data[at + 1]) for at in range(0, len(data), 2)]


def _number_rows(number: int, registers: int) -> list[Row]:
    data = (number & (1 << 16 * registers) - 1).to_bytes(2 * registers, "big")
    return [(_KIND["CONSTANT"], data[at], data[at + 1]) for at in range(0, len(data), 2)]


def _rows(point: Point) -> list[Row]:
    match point.source:
        case None:
            return _number_rows(sunspec.ABSENT[point.kind], point.registers)
        case int(number):
            return _number_rows(number, point.registers)
        case str(text):
            return _text_rows(text, point.registers)
        case ("layout",):
            return _number_rows(layout(), 1)
        case ("text", first):
            return [(_KIND["TEXT"], first + at, 0) for at in range(point.registers)]
        case ("x", word):
            index = sunspec.WORDS.index(word)
            return [(_KIND["WORD_HIGH"], index, 0), (_KIND["WORD_LOW"], index, 0)][-point.registers :]
        case ("s", signal):
            index = [row[0] for row in SIGNALS].index(signal)
            if point.registers == 2:
                return [(_KIND["SIGNAL_HIGH"], index, 0), (_KIND["SIGNAL_LOW"], index, 0)]
            return [(_KIND["SIGNAL_SIGNED" if point.kind == "int16" else "SIGNAL_UNSIGNED"], index, 0)]
    raise ValueError(f"{point.name}: unknown source: {point.source!r}")


def map_rows() -> list[Row]:
    """Return three bytes for each register, from the base to the end model."""
    rows = [row for number in sunspec.SUNS for row in _number_rows(number, 1)]
    for point in points():
        rows += _rows(point)
    return rows + [row for number in sunspec.END for row in _number_rows(number, 1)]


def writable_rows() -> list[tuple[int, int, int, int]]:
    """Return for each writable point: offset in two bytes, registers, act.

    ValueError if the number of points differs from the number of EMS values.
    """
    rows = []
    value = 0
    for point in points():
        if not point.writable:
            continue
        act = _ACTS.get(point.writable, value)
        value += point.writable == "EMS"
        rows.append((point.offset >> 8, point.offset & 0xFF, point.registers, act))
    if value != ems.VALUES:
        raise ValueError(f"{value} points for {ems.VALUES} values of the EMS")
    return rows


def _bytes(rows: list[Any], per_line: int = 8) -> str:
    lines = [bytes(value for row in rows[at : at + per_line] for value in row) for at in range(0, len(rows), per_line)]
    return "(\n" + "".join('    b"' + "".join(f"\\x{byte:02x}" for byte in line) + '"\n' for line in lines) + ")\n"


def firmware_text() -> str:
    """Return the module of the map for the board, with bytes that the board reads directly from flash."""
    at = {(point.model, point.name): point.offset for point in points()}
    rows = map_rows()
    own = sunspec.VENDOR
    numbers = {
        "BASE": sunspec.BASE,
        "REGISTERS": len(rows),
        "BATTERY": at[802, "ID"],       # the slave computes the words of these registers at each read
        "BATTERY_END": at[own, "ID"],
        "WHY": at[own, "WhyN"],
        "WHY_END": at[own, "Soc"],
        **_KIND,
        **_ACTS,
        **{f"X_{word.upper()}": index for index, word in enumerate(sunspec.WORDS[: -sunspec.REASONS])},
        "REASONS": sunspec.REASONS,
        "WORDS": len(sunspec.WORDS),
    }
    return (
        '"""The board\'s form of rack/definitions/sunspec.py. Generated by `make generate`."""\n\n'
        "from micropython import const\n\n"
        + "".join(f"{name} = const({value})\n" for name, value in numbers.items())
        + "# per register: its kind, and the constant, or the index of the signal, of the word or of the text\n"
        + "MAP = " + _bytes(rows)
        + "# per writable point: offset in two bytes, registers, index of a value of the EMS or act\n"
        + "WRITABLE = " + _bytes(writable_rows(), 3)
        + "# per alarm: its bit in Evt1 of model 802\n"
        + "EVENTS = " + _bytes([(row[6],) for row in ROWS], 27)
    )  # fmt: skip


# -- protocol page and model for EMS engineers and clients


def _model_point(point: Point) -> dict[str, Any]:
    row: dict[str, Any] = {"name": point.name, "type": point.kind, "size": point.registers, "mandatory": "M"}
    if point.name in ("ID", "L"):
        row |= {"static": "S", "value": point.source}
    if point.name == "Layout":
        row |= {"static": "S", "value": layout()}
    if point.writable:
        row["access"] = "RW"
    if point.name == "Refused":
        row["symbols"] = [{"name": name.upper(), "value": code} for code, name, _ in sunspec.REFUSALS]
    return row | {"desc": point.meaning} if point.meaning else row


def model_text() -> str:
    """Return the rack's own model as SunSpec JSON."""
    own, name, _ = sunspec.MODELS[-1]
    group = {
        "name": name,
        "type": "group",
        "label": "Halite rack",
        "desc": "Reasons, values of the EMS and every signal of a Halite rack. Units are the suffixes of the names.",
        "points": [_model_point(point) for point in points() if point.model == own],
    }
    return json.dumps({"id": own, "group": group}, indent=1) + "\n"


def _source(point: Point) -> str:
    match point.source:
        case None:
            return "not implemented"
        case ("layout",):
            return str(layout())
        case ("s", signal):
            return "" if signal == point.name else f"`{signal}`"
        case int(number) if point.name not in ("ID", "L"):
            return f"always {number}"
        case str(text):
            return f'"{text}"'
    return str(point.source) if isinstance(point.source, int) else ""


def _table(model: int) -> Iterator[str]:
    yield "| register | point | type | access | meaning |"
    yield "|---|---|---|---|---|"
    for point in points():
        if point.model == model:
            access = "**RW**" if point.writable else ""
            text = "; ".join(part for part in (point.meaning, _source(point)) if part)
            yield f"| {sunspec.BASE + point.offset} | {point.name} | {point.kind} | {access} | {text} |"


def page_text() -> str:
    """Return the protocol page: modbus_page.md with its values, then the registers.

    ValueError if modbus_page.md has an unknown @NAME@.
    """
    lost = read_toml(BOARD_CONFIGS / "sodium_rack.toml")["alarms"]["ems_lost"]
    at = {(point.model, point.name): sunspec.BASE + point.offset for point in points()}
    end = sunspec.BASE + len(map_rows()) - len(sunspec.END)
    refusals = "\n".join(f"| {code} | {name} | {text} |" for code, name, text in sunspec.REFUSALS)
    head = HEAD_FILE.read_text(encoding="utf-8")
    for name, value in {
        "VENDOR": sunspec.VENDOR, "BASE": sunspec.BASE, "END": end, "REFUSALS": refusals,
        "EMS_LOST_s": lost[0] // 1000, "WHY_N": at[sunspec.VENDOR, "WhyN"], "SET_W": at[sunspec.VENDOR, "SetW"],
        "SOC": at[sunspec.VENDOR, "Soc"], "BATTERY": at[802, "ID"], "REASONS": sunspec.REASONS,
    }.items():  # fmt: skip
        head = head.replace(f"@{name}@", str(value))
    if "@" in head:
        raise ValueError(f"{HEAD_FILE.name}: unknown value: {head[head.index('@'):][:20]!r}")
    tables = "".join(
        f"\n## Model {model}: {name}\n\n" + "\n".join(_table(model)) + "\n" for model, name, _ in sunspec.MODELS
    )
    return head + tables


def outputs() -> dict[Path, str]:
    """Return every generated file with the text that it must have."""
    return {MAP_FILE: firmware_text(), PAGE_FILE: page_text(), MODEL_FILE: model_text()}
