"""Observations of a run: a line of text with its time, made by the scenario, by the rack or by the controller."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from halite.common.paths import use_firmware
from halite.plant.rack import Rack
from halite.scenarios.scenario import Scenario

use_firmware()

from rack.definitions.alarms import ROWS  # noqa: E402 - only after use_firmware
from rack.definitions.texts import LEVEL_NAMES, STATE_NAMES  # noqa: E402

_TRIP_TEXT = 7  # column of an alarm row


@dataclass(frozen=True)
class Observation:
    """One line of a recording. time_ms: since the start of the scenario.

    source: "scenario" (an action), "rack" (a contact or a fault) or "control" (a transition of the controller).
    """

    time_ms: float
    source: str
    text: str


def of_rack(rack: Rack, start_ms: float = 0.0) -> list[Observation]:
    """Every change of a contact or a fault from start_ms on, with times since start_ms."""
    since = ((change.us / 1000, change.text) for change in rack.changes)
    return [Observation(ms - start_ms, "rack", text) for ms, text in since if ms >= start_ms]


_TRANSITION_TEXTS: dict[str, Callable[[int], str]] = {
    "state": lambda value: f"state: {STATE_NAMES[value].replace('_', ' ')}",
    "alarm_level": lambda value: f"alarm level: {LEVEL_NAMES[value]}",
    "trip_code": lambda value: f"trip: {ROWS[value - 1][_TRIP_TEXT]}" if value else "trip acknowledged",
}


def of_control(columns: dict[str, Any], time_ms: Any) -> Iterator[Observation]:
    """Transitions of the state, the alarm level and the latched trip in a recorded process image.

    columns: arrays of the signals `state`, `alarm_level` and `trip_code`, one entry per entry of time_ms.
    """
    for name, text in _TRANSITION_TEXTS.items():
        values = columns[name]
        for n in np.nonzero(np.diff(values, prepend=0))[0]:
            yield Observation(float(time_ms[n]), "control", text(int(values[n])))


_GRID_TEXTS: dict[str, Callable[[Any], str]] = {
    "set": lambda a: f"grid jumps to {a.frequency_mHz / 1000:g} Hz",
    "ramp": lambda a: f"grid moves to {a.to_mHz / 1000:g} Hz at {a.rate_mHzps / 1000:g} Hz/s",
    "follow": lambda a: "grid follows points",
    "sine": lambda a: "grid oscillates",
}


def of_grid(scenario: Scenario) -> list[Observation]:
    """The changes of the grid frequency that a scenario makes, at the times of their actions."""
    grid = (action for action in scenario.action if action.do in _GRID_TEXTS)
    return [Observation(float(action.at_ms), "scenario", _GRID_TEXTS[action.do](action)) for action in grid]
