"""Generate docs/hazards.md: the hazards of a rack with detection, reaction, time, rest and tests.

The text of each hazard is in `hazard_rows`. Actions come from rack.definitions.alarms, levels and debounce from
lfp_rack.toml, and the times of the trips from docs/reaction_times.md, which is measured. So each fact has one source.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from halite.common.paths import ROOT, use_firmware
from halite.config import load_params
from halite.config.rows import levels_at
from halite.generate.hazard_rows import HAZARDS, Hazard

use_firmware()

from rack.definitions import codes  # noqa: E402 - only after use_firmware
from rack.definitions.alarms import ABOVE, ROWS  # noqa: E402
from rack.generated import alarm_levels as L  # noqa: E402

FILE = ROOT / "docs" / "hazards.md"
TIMES = ROOT / "docs" / "reaction_times.md"

_PAGE = """# Hazards

`make generate` writes this page from `host_tools/halite/generate/hazard_rows.py`. It is the list of a safety review, in
its order, with the hazards behind the other alarms at the end. Each alarm of `firmware/rack/definitions/alarms.py`
appears. A test checks this, and that each named test exists (`tests/host/generate/test_hazards.py`).

A hazard is *closed* when no gap is known. It is *held* when the rack detects it and ends it in time, and a smaller rest
remains. It is *open* when one fault leaves a dangerous condition without a reaction. The rest names the reason and the
part that would close it.

Levels are those of `lfp_rack.toml`, in the unit of the signal. For a trip the time runs from the cause to the open
contact, in the worst case ([reaction times](reaction_times.md)). For a warning or a derate it is the debounce of the
config. Words: [glossary](glossary.md). Actions of an operator: [operation](operation.md).

| number | hazard | gap |
|---|---|---|
"""
_ALARMS = """
| alarm | set at | action | time |
|---|---|---|---|
"""
_LATCHES = {
    codes.LATCH_NEVER: "opens",
    codes.LATCH_ALWAYS: "opens, until a reset",
    codes.LATCH_ENERGISED: "opens, until a reset if a contactor was on",
    codes.LATCH_LOCAL: "opens, until a reset by a person at the rack",
    codes.LATCH_KEY: "opens, until an unlock with the rack's key",
    codes.LATCH_REPEAT: "opens, until a reset; the EMS may give one",
}
_ACTIONS = {
    codes.ACT_INFORM: "warns",
    codes.ACT_LIMIT_CHARGE: "derates the charge",
    codes.ACT_LIMIT_DISCHARGE: "derates the discharge",
    codes.ACT_LIMIT_CHARGE | codes.ACT_LIMIT_DISCHARGE: "derates",
    codes.ACT_ZERO: "sets the power to 0",
}
_MEASURED = re.compile(r"^\| [^|]+ \| `(\w+)` \| [^|]+ \| ([\d.]+) \|", re.MULTILINE)
_REASON = re.compile(r"^\| `(\w+)` \| ([^|]+) \|$", re.MULTILINE)


def times(page: str) -> dict[str, str]:
    """Return the time of each trip on the page of the reaction times, or the reason why it has no time."""
    return dict(_REASON.findall(page)) | {key: f"{float(ms):g} ms" for key, ms in _MEASURED.findall(page)}


def _alarm(key: str, levels: list[int], measured: dict[str, str]) -> str:
    """Return the row of an alarm. A trip that was not measured yet has no time."""
    row = next(row for row in ROWS if row[0] == key)
    at = levels_at(key)
    sign = "≥" if row[2] == ABOVE else "≤"
    if row[4] == codes.ACT_OPEN:
        action, time = _LATCHES[row[5]], measured.get(key, "")
    else:
        action, time = _ACTIONS[row[4]], f"debounce {levels[at + L.SET_ms]} ms"
    return f"| `{key}` | `{row[1]}` {sign} {levels[at + L.SET]} | {action} | {time} |\n"


def _paragraph(head: str, text: str) -> str:
    filled = textwrap.fill(f"**{head}** {text}".rstrip(), 120, break_long_words=False, break_on_hyphens=False)
    return f"\n{filled}\n"


def _section(number: int, hazard: Hazard, levels: list[int], measured: dict[str, str]) -> Iterator[str]:
    yield f"\n## {number}. {hazard.title}\n" + _paragraph("Cause.", hazard.cause)
    if hazard.alarms:
        yield _ALARMS
        yield from (_alarm(key, levels, measured) for key in hazard.alarms)
    else:
        yield _paragraph("Detection.", "This hazard has no alarm of its own.")
    yield _paragraph("Reaction.", hazard.reaction) + _paragraph(f"Gap: {hazard.state}.", hazard.rest) + "\nTests:\n\n"
    yield from (f"* `{file}::{name}`\n" for file, *names in hazard.tests for name in names)


def page(measured: dict[str, str]) -> str:
    """Return the whole page. measured: result of `times`."""
    levels = list(load_params("lfp_rack").alarms_levels)
    parts = [_PAGE]
    parts += (f"| {number} | {hazard.title} | {hazard.state} |\n" for number, hazard in enumerate(HAZARDS, 1))
    for number, hazard in enumerate(HAZARDS, 1):
        parts += _section(number, hazard, levels, measured)
    return "".join(parts)


def outputs() -> dict[Path, str]:
    """Return path and text of the page. Before the first measurement its trips have no time."""
    return {FILE: page(times(TIMES.read_text(encoding="utf-8") if TIMES.exists() else ""))}


def write() -> None:
    """Write the page after a measurement of the reaction times."""
    for path, text in outputs().items():
        path.write_text(text, encoding="utf-8")
