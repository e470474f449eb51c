"""Every shipped scenario on the emulated board, cut down to what happens in it, under the watch of rule R6.

One desk rack boots and closes once. Each scenario is played in a process that branches off from there, so that all of
them begin from the same closed rack, warm and half charged, and none has to wait for another's trip to clear. Its
actions come in their order 0.06 s apart, a curve of the grid is run through in 0.2 s, and a cell, sensor or device is
one that the rack has; then an operator opens. Whole scenarios are played under CPython (tests/host), the demonstration
whole in test_demo.py.
"""

import json
import os
from functools import cache
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import FlashWatch
from halite.build import make
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.rig import EmulatedRack, emulated_rack
from halite.image import image_path
from halite.simulator import scenario as scenarios
from halite.simulator.rack_faults import FAULTS
from halite.simulator.scenario import Command, Scenario, StartFault, TraceFrequency

NAMES = sorted({path.stem for path in scenarios.FOLDER.glob("*.toml")} - {"demo"})
FROM_OPEN = {"precharge_leak"}  # what happens in it happens while it closes
OPENS_BY_ITSELF = {"afe_lost", "hvil_open", "overvoltage", "pcs_silent", "precharge_leak", "weld"}
STEP_ms, CURVE_ms, OPEN_ms = 60, 200, 100
LAST_ms = {"pcs_silent": 280, "afe_lost": 220, "overvoltage": 180, "precharge_leak": 700}  # until the alarm has opened
WALL_S = 300.0
KEPT = ("contact", "flash", "fault", "operator", "reset")


def condensed(whole: Scenario, emulated: EmulatedRack, from_open: bool) -> Scenario:
    plant = emulated.rack.plant
    sizes = {"": 1, "cell": plant.series, "sensor": plant.sensors, "device": plant.devices}
    actions = []
    for action in sorted(whole.action, key=lambda action: action.at_ms):
        if isinstance(action, Command) and action.what == "close" and not from_open:
            continue
        changes: dict[str, object] = {"at_ms": 10 + STEP_ms * len(actions)}
        if isinstance(action, StartFault):
            changes |= {"at": action.at % sizes[FAULTS[action.name].where], "for_ms": action.for_ms and STEP_ms // 2}
        elif isinstance(action, TraceFrequency):
            longest = action.points[-1][0]
            changes |= {"points": [(ms * CURVE_ms // longest, mHz) for ms, mHz in action.points]}
        actions.append(action.model_copy(update=changes))
    length_ms = STEP_ms * len(actions) + LAST_ms.get(whole.name, STEP_ms)
    return whole.model_copy(update={"action": actions, "duration_ms": length_ms})


def play(emulated: EmulatedRack, name: str) -> None:
    """In a branch of the process: the scenario, then an operator who opens."""
    whole = scenarios.load(name)
    player = emulated.play(condensed(whole, emulated, name in FROM_OPEN))
    emulated.board.run_until(lambda: player.over, 5_000, WALL_S, 5)
    emulated.board.record("operator", "open")
    emulated.board.send(b"open\n")
    emulated.board.run_for(OPEN_ms)


Events = list[tuple[str, tuple[object, ...]]]


def watched(events: Events) -> FlashWatch:
    """What the watch of this folder says to them."""
    watch, board = FlashWatch(), cast(EmulatedBoard, SimpleNamespace(now_us=0.0))
    for what, detail in events:
        watch.see(board, what, detail)
    return watch


class Start:
    """The rack, healthy, and a second later closed; branches leave it as it is."""

    def __init__(self) -> None:
        config = load("bench_rack")
        flash = with_files(EmulatedBoard(image_path()).flash_snapshot(), make(config).files)
        self.emulated = emulated_rack(config, flash=flash)
        self.board = self.emulated.board
        assert self.board.run_until(lambda: b"# healthy" in self.board.received, 6_000, WALL_S, 10)
        self.board.run_for(400)
        self._closed = False

    def close(self) -> None:
        if self._closed:
            return
        self.board.send(b"close\n")
        rack = self.emulated.rack
        assert self.board.run_until(lambda: rack.main_pos.closed(self.board.now_us), 3_000, WALL_S, 10)
        self.board.run_for(20)
        self._closed = True

    def branch(self, name: str) -> Events:
        """Play a scenario in a process of its own; what happened since the boot comes back through a pipe."""
        if name not in FROM_OPEN:
            self.close()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                play(self.emulated, name)
                with os.fdopen(writing, "w") as pipe:
                    json.dump([(e.what, e.detail) for e in self.board.events if e.what in KEPT], pipe)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        assert os.waitpid(child, 0)[1] == 0, "the branch has failed"
        return [(what, tuple(detail)) for what, detail in json.loads(text)]


@cache
def start() -> Start:
    return Start()


@pytest.mark.parametrize("name", sorted(NAMES, key=lambda name: name not in FROM_OPEN))
def test_no_scenario_writes_flash_while_a_contactor_is_closed(name: str) -> None:
    events = start().branch(name)
    watch = watched(events)
    assert watch.writes == [] and watch.closings >= 1 and not any(what == "reset" for what, _ in events)
    said = events.index(("operator", ("open",)))
    opened = [at for at, event in enumerate(events) if event == ("contact", ("main_neg", 0))]
    assert opened and (opened[0] < said) == (name in OPENS_BY_ITSELF)
