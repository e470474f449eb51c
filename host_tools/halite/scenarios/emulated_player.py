"""Play a scenario on an emulated rack, at exact emulated times from the moment it starts."""

from collections.abc import Callable
from typing import Any

from halite.emulator.rack_wires import RackWires
from halite.hosts.emulated import EmulatedRack
from halite.scenarios.scenario import Command, Scenario, Setpoint, on_rack


def shifted(scenario: Scenario, by_ms: int) -> Scenario:
    """The same scenario by_ms later, for a board whose clock runs when the scenario starts."""
    later = [action.model_copy(update={"at_ms": action.at_ms + by_ms}) for action in scenario.action]
    return scenario.model_copy(update={"action": later})


class ScenarioPlayer:
    """Carries out the actions of a scenario on an emulated board, from now on.

    started_ms: emulated time at which the scenario begins; ends_ms: at which it ends.
    on_command: gets each command for the controller as a line of text; default: the board's console.
    """

    def __init__(self, wires: RackWires, scenario: Scenario, on_command: Callable[[str], None] | None = None) -> None:
        self._wires = wires
        self._board = wires.board
        self.started_ms = int(self._board.now_us / 1000) + 1
        self.ends_ms = self.started_ms + scenario.duration_ms
        self._on_command = on_command or (lambda line: self._board.send(line.encode() + b"\r\n"))
        later = shifted(scenario, self.started_ms)
        later.prepare_grid(wires.rack)
        self._waiting: list[Any] = later.timed()
        self._alarm = self._board.clock.create_alarm(self._due)
        self._aim()

    @property
    def over(self) -> bool:
        """True once the scenario's duration has passed."""
        return self._board.now_us >= self.ends_ms * 1000.0

    def _aim(self) -> None:
        if self._waiting:
            wait_us = self._waiting[0].at_ms * 1000.0 - self._board.now_us
            self._alarm.schedule(max(wait_us, 0.0) * 1000.0)

    def _due(self) -> None:
        action = self._waiting.pop(0)
        self._wires.rack.step_to(self._board.now_us)
        if isinstance(action, Command):
            self._on_command(action.what)
        elif isinstance(action, Setpoint):
            self._on_command(f"setpoint {action.power_W}")
        elif on_rack(action, self._wires.rack):
            self._board.record("fault", action.do, getattr(action, "name", ""))
            self._wires.refresh()
        self._aim()


def play(emulated: EmulatedRack, scenario: Scenario) -> ScenarioPlayer:
    """Start a scenario now; its commands and setpoints go to the board's console."""
    return ScenarioPlayer(emulated.wires, scenario)


def play_after(emulated: EmulatedRack, emulated_ms: float, scenario: Scenario) -> None:
    """Start a scenario when emulated_ms of emulated time have passed."""

    def begin() -> None:
        play(emulated, scenario)

    emulated.board.after(emulated_ms, begin)
