"""The outcome of a run, and the promises of the shipped scenarios.

The same promises judge the control core under CPython (tests/host) and the emulated board (`halite simulate --suite
board`, tests/emulated). A run without the promised trip is a failure, even if it has no other finding.
"""

from dataclasses import dataclass

import numpy as np

from halite.common.paths import use_firmware
from halite.scenarios.observations import Observation
from halite.scenarios.recording import Recording

use_firmware()

from rack.definitions.alarms import ROWS  # noqa: E402 - only after use_firmware
from rack.definitions.texts import LEVEL_NAMES, STATE_NAMES  # noqa: E402

PHASE_ms = 200.0  # AFE period of 100 ms and its scan: two runs differ in the phase at which a fault begins
PHASE_SHARE = 0.02  # of the time since the cause: noise differs between two runs that heat for seconds
POWER_SHARE = 0.01  # of the larger request


def trip_key(code: int) -> str:
    """Name of a trip in rack.definitions.alarms; code 0 gives an empty name."""
    return ROWS[code - 1][0] if code else ""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run.

    * state, level: at the end.
    * trip: the first latched trip, empty without one; trip_ms: its time.
    * left: the trip that is still latched at the end, empty without one.
    * refused: commands that the rack refused.
    * rack: (ms, text) of each change of a contact or a fault.
    * peak_W: the request of largest magnitude, with its sign.
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
        """The changes of each contact and of each fault in order; the order between two of them does not count."""
        done: dict[str, list[str]] = {}
        for _, text in self.rack:
            subject, _, act = text.rpartition(" ") if text.endswith((" closed", " open")) else (text, "", "came")
            done.setdefault(subject, []).append(act)
        return done


@dataclass(frozen=True)
class Promise:
    """The end of a scenario on the rack that it was written for, a sodium rack. Fields as in Outcome."""

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


def of_recording(recording: Recording) -> Outcome:
    """The outcome of a run on the control core (halite.scenarios.cpython_run)."""
    codes = recording["trip_code"]
    tripped = np.flatnonzero(codes)
    first = int(tripped[0]) if len(tripped) else None
    requests = recording["request_W"]

    def seen_by(source: str) -> list[Observation]:
        return [seen for seen in recording.observations if seen.source == source]

    return Outcome(
        state=STATE_NAMES[int(recording["state"][-1])],
        level=LEVEL_NAMES[int(recording["alarm_level"][-1])],
        trip="" if first is None else trip_key(int(codes[first])),
        trip_ms=None if first is None else float(recording.time_ms[first]),
        left=trip_key(int(codes[-1])),
        refused=tuple(seen.text for seen in seen_by("scenario") if "refused" in seen.text),
        rack=tuple((seen.time_ms, seen.text) for seen in seen_by("rack")),
        peak_W=int(requests[np.argmax(np.abs(requests))]),
    )


def broken(outcome: Outcome, promise: Promise) -> list[str]:
    """Every broken part of a promise, in words; a refused command counts as broken."""
    return [
        f"{name} is {getattr(outcome, name) or 'none'}, promised is {wanted or 'none'}"
        for name, wanted in vars(promise).items()
        if getattr(outcome, name) != wanted
    ] + list(outcome.refused)


def differences(outcome: Outcome, other: Outcome, cause_ms: float) -> list[str]:
    """Every difference between a run and the run under CPython, in words.

    cause_ms: time at which the cause of the trip begins.
    """
    found = [
        f"{name} is {getattr(outcome, name) or 'none'}, under CPython {getattr(other, name) or 'none'}"
        for name in ("state", "level", "trip", "left")
        if getattr(outcome, name) != getattr(other, name)
    ]
    if outcome.story() != other.story():
        found.append(f"changes in the rack are {outcome.story()}, under CPython {other.story()}")
    if outcome.trip_ms is not None and other.trip_ms is not None:
        apart_ms = abs(outcome.trip_ms - other.trip_ms)
        if apart_ms > max(PHASE_ms, PHASE_SHARE * (other.trip_ms - cause_ms)):
            found.append(f"tripped at {outcome.trip_ms:.0f} ms, under CPython at {other.trip_ms:.0f} ms")
    if abs(outcome.peak_W - other.peak_W) > POWER_SHARE * abs(other.peak_W):
        found.append(f"largest request {outcome.peak_W} W, under CPython {other.peak_W} W")
    return found
