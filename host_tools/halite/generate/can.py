"""The CAN database and the protocol page of the PCS link, generated from rack.definitions.pcs_frames.

`halite.generate.outputs` writes both files; an integrator gives the DBC to any CAN tool.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from halite.common.paths import BOARD_CONFIGS, ROOT, use_firmware
from halite.config.reader import read_toml

use_firmware()

from rack.definitions import pcs_codes, pcs_frames  # noqa: E402 - only after use_firmware
from rack.definitions.alarms import ROWS  # noqa: E402
from rack.definitions.texts import LEVEL_NAMES  # noqa: E402

DBC_FILE = ROOT / "docs" / "protocols" / "pcs_can.dbc"
PAGE_FILE = ROOT / "docs" / "protocols" / "pcs_can.md"

Field = tuple[str, int, int, bool, float, str, str]

_NODES = {"rack": "RACK", "pcs": "PCS"}

_PAGE_HEAD = """# Rack and PCS on CAN

`make generate` writes this page from `firmware/rack/definitions/pcs_frames.py`. [pcs_can.dbc](pcs_can.dbc) is the same
definition as a CAN database.

CAN 2.0A, {bitrate} kbit/s, 11-bit identifiers, {length} data bytes, little-endian (Intel) fields. **Positive power
discharges the rack** (export to the grid).

| rule | |
|---|---|
| CRC | byte 7: CRC-8 SAE J1850 over nine bytes: the identifier, low byte first, and bytes 0 to 6 |
| its parameters | polynomial 0x1D, start and final XOR 0xFF; `123456789` gives 0x4B |
| sequence | 4 bits; each frame of an identifier adds 1 |
| stale request | the PCS refuses a request with the last sequence |
| stale status | the rack refuses a status whose sequence did not advance by 1 to {max_step} |
| restart of the PCS | the third status in order begins a new count |
| second node | the rack trips on frames with the identifier of its request, and when it refuses many status frames |
| request stops | after {request_timeout} ms without a valid, new request the PCS goes to zero, state {timeout_state} |
| states {timeout_state}, {fault_state} | the rack warns ("{fault_text}") and stays closed |
| status stops | the rack trips ("{status_text}") after the time in `[alarms] pcs_lost`; shipped: {status_lost} ms |
| not permitted | while flag {permit} or {enable} is clear, the PCS goes to zero at once and ignores the power field |
| remote frames | rack and PCS do not answer them; each sends its frames without a request |

Both times are engineering judgement: they allow for five lost requests in a row, or twelve lost status frames.
"""


def _bounds(bits: int, signed: bool, scale: float) -> tuple[float, float]:
    minimum, maximum = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return minimum * scale, maximum * scale


def _signals(fields: Iterable[Field]) -> Iterator[Field]:
    """Return the fields as signals of a CAN tool: each flag is a signal, and the unused bits are one more signal."""
    for field in fields:
        name, first, bits, *_ = field
        if name != "flags":
            yield field
            continue
        for at, (_, flag, text) in enumerate(pcs_frames.FLAGS):
            yield flag, first + at, 1, False, 1, "", text
        used = len(pcs_frames.FLAGS)
        yield "flags_reserved", first + used, bits - used, False, 1, "", "always 0"


def _values(texts: Iterable[str]) -> str:
    return " ".join(f'{value} "{text}"' for value, text in enumerate(texts))


def _note() -> str:
    """Return the comment of the database: common properties of the frames, and the reactions when frames stop."""
    return (
        f"Halite rack and its PCS: CAN 2.0A at {pcs_codes.BITRATE // 1000} kbit/s, positive power discharges the rack. "
        f"CRC: SAE J1850 of the identifier, low byte first, and bytes 0 to 6. A repeated sequence is stale. "
        f"After {pcs_codes.REQUEST_TIMEOUT_MS} ms without a valid request the PCS goes to zero; "
        f"without a status the rack trips."
    )


def _dbc_lines() -> Iterator[str]:
    yield 'VERSION "' + str(pcs_codes.VERSION) + '"'
    yield from ("", "NS_ :", "", "BS_:", "", f"BU_: {' '.join(_NODES.values())}", "")
    for identifier, name, sender, _, _, fields in pcs_frames.FRAMES:
        receiver = _NODES["pcs" if sender == "rack" else "rack"]
        yield f"BO_ {identifier} {name}: {pcs_codes.LENGTH} {_NODES[sender]}"
        for field, first, bits, signed, scale, unit, _ in _signals(fields):
            minimum, maximum = _bounds(bits, signed, scale)
            sign = "-" if signed else "+"
            limits = f"[{minimum:.10g}|{maximum:.10g}]"
            yield f' SG_ {field} : {first}|{bits}@1{sign} ({scale:g},0) {limits} "{unit}" {receiver}'
        yield ""
    yield f'CM_ "{_note()}";'
    for identifier, _, _, _, meaning, fields in pcs_frames.FRAMES:
        yield f'CM_ BO_ {identifier} "{meaning}";'
        for field, *_, text in _signals(fields):
            yield f'CM_ SG_ {identifier} {field} "{text}";'
    yield 'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;'
    yield 'BA_DEF_DEF_ "GenMsgCycleTime" 0;'
    for identifier, _, _, period_ms, _, _ in pcs_frames.FRAMES:
        yield f'BA_ "GenMsgCycleTime" BO_ {identifier} {period_ms};'
    yield f"VAL_ {pcs_codes.LIMITS_ID} level {_values(LEVEL_NAMES)} ;"
    yield f"VAL_ {pcs_codes.STATUS_ID} state {_values(pcs_frames.STATES)} ;"


def dbc_text() -> str:
    """Return the CAN database."""
    return "\n".join(_dbc_lines()) + "\n"


def _frame_page(identifier: int, name: str, sender: str, period_ms: int, meaning: str, fields: Iterable[Field]) -> str:
    sender = "PCS" if sender == "pcs" else sender
    lines = [f"\n## 0x{identifier:03X} {name}\n", f"From the {sender}, each {period_ms} ms: {meaning}.\n"]
    lines += ["| field | first bit | bits | type | scale | unit | meaning |", "|---|---|---|---|---|---|---|"]
    for field, first, bits, signed, scale, unit, text in fields:
        kind = "signed" if signed else "unsigned"
        lines.append(f"| {field} | {first} | {bits} | {kind} | {scale:g} | {unit} | {text} |")
    return "\n".join(lines) + "\n"


def page_text() -> str:
    """Return the protocol page."""
    shipped = read_toml(BOARD_CONFIGS / "sodium_rack.toml")
    head = _PAGE_HEAD.format(
        bitrate=pcs_codes.BITRATE // 1000,
        length=pcs_codes.LENGTH,
        request_timeout=pcs_codes.REQUEST_TIMEOUT_MS,
        status_lost=shipped["alarms"]["pcs_lost"][0],
        status_text=next(row[7] for row in ROWS if row[0] == "pcs_lost"),
        fault_text=next(row[7] for row in ROWS if row[0] == "pcs_warn"),
        timeout_state=pcs_codes.PCS_TIMEOUT,
        fault_state=pcs_codes.PCS_FAULT,
        max_step=pcs_codes.MAX_STEP,
        permit=pcs_codes.FLAG_PERMIT,
        enable=pcs_codes.FLAG_ENABLE,
    )
    note = (
        "\nThe rack sends a request after each zero crossing of the mains: each mains period, or each third of one "
        "with three phases.\nWithout mains the rack sends a request in each scan "
        f"({shipped['rack']['scan_ms']} ms). It also sends a request at once when the permission changes.\n"
    )
    flags = "\n## Request flags\n\n| value | signal of the database | meaning |\n|---|---|---|\n"
    flags += "".join(f"| {value} | {name} | {text} |\n" for value, name, text in pcs_frames.FLAGS)
    states = "\n## PCS states\n\n| value | state |\n|---|---|\n"
    states += "".join(f"| {value} | {text} |\n" for value, text in enumerate(pcs_frames.STATES))
    return head + note + "".join(_frame_page(*frame) for frame in pcs_frames.FRAMES) + flags + states


def outputs() -> dict[Path, str]:
    """Return every generated file with the text that it must have."""
    return {DBC_FILE: dbc_text(), PAGE_FILE: page_text()}
