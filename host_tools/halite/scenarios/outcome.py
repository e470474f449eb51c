"""What a scenario has come to, whatever it was played on; and what the shipped scenarios promise.

The same promises judge the control core under CPython (tests/host) and the emulated board (`halite simulate --suite
board`, tests/board): a run in which the promised trip does not come is a failure, however quiet it was.
"""

from dataclasses import dataclass

import numpy as np

from halite.common.paths import use_firmware
from halite.scenarios.trace import Trace

use_firmware()

from rack.definitions.alarms import ROWS  # noqa: E402 - only after use_firmware
from rack.definitions.names import LEVEL_NAMES, STATE_NAMES  # noqa: E402

PHASE_ms = 200.0  # AFE period of 100 ms and its scan: the phase in which a fault meets them differs between two runs
PHASE_SHARE = 0.02  # of the time since the cause: what heats for seconds is met by another noise
POWER_SHARE = 0.01  # of the larger request


def trip_key(code: int) -> str:
    """The name of a trip in rack.definitions.alarms; empty for none."""
    return ROWS[code - 1][0] if code else ""


@dataclass(frozen=True)
class Outcome:
    """state, level: at the end. trip: the first one latched. left: the one still latched at the end, empty for none.

    refused: commands that the rack refused. rack: (ms, text) of what happened in the rack itself: contactors, faults.
    peak_W: the request of largest magnitude, with its sign.
    """

    state: str
    level: str
    trip: str
    trip_ms: float | None
    left: str
    refused: tuple[str, ...]
    rack: tuple[tuple[float, str], ...]
    peak_W: int

    def story(self) -> dict[str, list[str]]:
        """What each contact and each fault has done, in its order; two that act together have none."""
        done: dict[str, list[str]] = {}
        for _, text in self.rack:
            subject, _, act = text.rpartition(" ") if text.endswith((" closed", " open")) else (text, "", "came")
            done.setdefault(subject, []).append(act)
        return done


@dataclass(frozen=True)
class Promise:
    """How a scenario ends on the rack that it was written for, a sodium rack."""

    state: str
    level: str
    trip: str = ""
    left: str = ""


# fmt: off
PROMISES = {
    "afe_lost":       Promise("fault",  "trip", "cells_lost", "cells_lost"),
    "cold_start":     Promise("closed", "derate"),
    "demo":           Promise("fault",  "trip", "hot_trip", "hot_trip"),
    "gb_2019":        Promise("closed", "none"),
    "hvil_open":      Promise("open",   "none", "hvil"),
    "overvoltage":    Promise("fault",  "trip", "cell_high_trip", "cell_high_trip"),
    "pcs_silent":     Promise("fault",  "trip", "pcs_lost", "pcs_lost"),
    "precharge_leak": Promise("open",   "warn"),
    "runaway":        Promise("fault",  "trip", "runaway_trip", "runaway_trip"),
    "weld":           Promise("fault",  "trip", "welded", "welded"),
}
# fmt: on


def of_trace(trace: Trace) -> Outcome:
    """The outcome of a run on the control core (halite.hosts.cpython)."""
    codes = trace["trip_code"]
    tripped = np.flatnonzero(codes)
    first = int(tripped[0]) if len(tripped) else None
    requests = trace["request_W"]
    return Outcome(
        state=STATE_NAMES[int(trace["state"][-1])],
        level=LEVEL_NAMES[int(trace["alarm_level"][-1])],
        trip="" if first is None else trip_key(int(codes[first])),
        trip_ms=None if first is None else float(trace.time_ms[first]),
        left=trip_key(int(codes[-1])),
        refused=tuple(event.text for event in trace.events if event.kind == "cause" and "refused" in event.text),
        rack=tuple((event.time_ms, event.text) for event in trace.events if event.kind == "rack"),
        peak_W=int(requests[np.argmax(np.abs(requests))]),
    )


def broken(outcome: Outcome, promise: Promise) -> list[str]:
    """What of a promise does not hold, in words."""
    return [
        f"{name} is {getattr(outcome, name) or 'none'}, promised is {wanted or 'none'}"
        for name, wanted in vars(promise).items()
        if getattr(outcome, name) != wanted
    ] + list(outcome.refused)


def differences(outcome: Outcome, other: Outcome, cause_ms: float) -> list[str]:
    """What two runs of one scenario do not agree in, in words; cause_ms: when the cause of a trip begins."""
    found = [
        f"{name} is {getattr(outcome, name) or 'none'}, under CPython {getattr(other, name) or 'none'}"
        for name in ("state", "level", "trip", "left")
        if getattr(outcome, name) != getattr(other, name)
    ]
    if outcome.story() != other.story():
        found.append(f"in the rack happened {outcome.story()}, under CPython {other.story()}")
    if outcome.trip_ms is not None and other.trip_ms is not None:
        apart_ms = abs(outcome.trip_ms - other.trip_ms)
        if apart_ms > max(PHASE_ms, PHASE_SHARE * (other.trip_ms - cause_ms)):
            found.append(f"tripped at {outcome.trip_ms:.0f} ms, under CPython at {other.trip_ms:.0f} ms")
    if abs(outcome.peak_W - other.peak_W) > POWER_SHARE * abs(other.peak_W):
        found.append(f"largest request {outcome.peak_W} W, under CPython {other.peak_W} W")
    return found
