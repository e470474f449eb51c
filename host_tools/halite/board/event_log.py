"""Records of a rack's event log with names: what `logs` on the console sends as numbers (rack.storage.retention)."""

from typing import Any

from halite.common.paths import use_firmware

use_firmware()

from rack.control.protect import reasons as why  # noqa: E402
from rack.definitions import codes as bits  # noqa: E402
from rack.definitions.alarms import ROWS  # noqa: E402 - only after use_firmware

_FIELDS = ("sequence", "boot", "ms", "kind", "code", "value", "current_dA", "rack_dV", "request_W")
_LEVELS = ("none", "warn", "derate", "trip")


def _names_of(prefix: str) -> dict[int, str]:
    """{number: name in lower case} of the codes with this prefix."""
    return {getattr(bits, name): name.removeprefix(prefix).lower() for name in dir(bits) if name.startswith(prefix)}


_STATES = _names_of("STATE_")
_STARTS = _names_of("REASON_")
_TASKS = _names_of("TASK_")
_KINDS = {
    bits.KIND_START: "start", bits.KIND_CAME: "alarm_came", bits.KIND_WENT: "alarm_went", bits.KIND_STATE: "state",
}  # fmt: skip


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
        return row | {"alarm": key, "level": _LEVELS[level], "signal": signal, "text": text}
    if row["event"] == "state":
        before, reason = row["value"] & 15, row["value"] >> 4
        named = {"state": _STATES.get(code, str(code)), "value": _STATES.get(before, str(before))}
        return row | named | ({"why": why.text(reason)} if reason else {})
    return row | {"reason": _STARTS.get(code, str(code)), "value": _TASKS.get(row["value"], row["value"])}
