"""Log records with names: the console's `log` sends them as numbers (rack.storage.retention)."""

from typing import Any

from halite.common.paths import use_firmware

use_firmware()

from rack.control.protect import reasons as why  # noqa: E402 - only after use_firmware
from rack.definitions import codes  # noqa: E402
from rack.definitions.alarms import ROWS  # noqa: E402
from rack.definitions.texts import LEVEL_NAMES, STATE_NAMES  # noqa: E402

_FIELDS = ("sequence", "boot", "ms", "kind", "code", "value", "current_dA", "rack_dV", "request_W")
_KINDS = {
    codes.KIND_START: "start",
    codes.KIND_CAME: "alarm_came",
    codes.KIND_WENT: "alarm_went",
    codes.KIND_STATE: "state",
}


def _names_of(prefix: str) -> dict[int, str]:
    """{number: name in lower case} of the codes with this prefix."""
    found = {name: getattr(codes, name) for name in dir(codes) if name.startswith(prefix)}
    return {number: name.removeprefix(prefix).lower() for name, number in found.items()}


_STARTS = _names_of("REASON_")
_TASKS = _names_of("TASK_")


def _state(code: int) -> str:
    return STATE_NAMES[code] if 0 <= code < len(STATE_NAMES) else str(code)


def decoded(record: list[int]) -> dict[str, Any]:
    """One record as a dictionary; `ms` counts from the start of that boot and wraps at 2**30.

    value: of the signal that the alarm watches; the state before; the task that hung, -1 unknown. why: the first
    reason for a state, when there was one.
    """
    row: dict[str, Any] = dict(zip(_FIELDS, record, strict=True))
    kind, code = row.pop("kind"), row.pop("code")
    row["event"] = _KINDS.get(kind, f"kind {kind}")
    if row["event"].startswith("alarm") and 0 < code <= len(ROWS):
        key, signal, _, level, *_, text = ROWS[code - 1]
        return row | {"alarm": key, "level": LEVEL_NAMES[level], "signal": signal, "text": text}
    if row["event"] == "state":
        before, reason = row["value"] & 15, row["value"] >> 4
        named = {"state": _state(code), "value": _state(before)}
        return row | named | ({"why": why.text(reason)} if reason else {})
    return row | {"reason": _STARTS.get(code, str(code)), "value": _TASKS.get(row["value"], row["value"])}
