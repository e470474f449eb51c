"""One emulated rack, put together: board, wires, chips and simulated rack of one board config."""

from dataclasses import dataclass
from pathlib import Path

from halite.chips.attach import Chips, chips_of
from halite.common.image import image_path
from halite.config import RackConfig, load
from halite.emulator.board import EmulatedBoard
from halite.emulator.rs485 import BoardLine
from halite.emulator.wires import RackWires
from halite.hosts.scenario_player import ScenarioPlayer
from halite.plant.rack import Rack
from halite.scenarios.scenario import Scenario

_PINS = "pins_"


@dataclass
class EmulatedRack:
    """Everything of one emulated rack; `board` has the time and the console, `rack` the physics.

    rs485: the EMS's line, None when the config has none.
    """

    config: RackConfig
    board: EmulatedBoard
    rack: Rack
    chips: Chips
    wires: RackWires
    rs485: BoardLine | None

    def play(self, scenario: Scenario) -> ScenarioPlayer:
        """Start a scenario now; its commands and setpoints go to the console."""
        return ScenarioPlayer(self.wires, scenario)

    def play_after(self, emulated_ms: float, scenario: Scenario) -> None:
        """Start a scenario when that much emulated time has passed."""

        def begin() -> None:
            self.play(scenario)

        self.board.after(emulated_ms, begin)


def emulated_rack(
    config: RackConfig | str | Path,
    *,
    seed: int = 1,
    start: Scenario | None = None,
    flash: bytes | None = None,
    fram: bytes | None = None,
    image: Path | None = None,
) -> EmulatedRack:
    """A powered emulated rack; no time has passed yet.

    start: the scenario that states the rack's condition. flash: the flash_snapshot of an earlier board instead
    of the bare image; fram: its FRAM content. image: a local UF2 instead of the cached one.
    """
    loaded = config if isinstance(config, RackConfig) else load(config)
    values = start.start_values() if start else {}
    rack = Rack.from_config(loaded.sections, seed=seed, **values)
    chips = chips_of(rack, fram, loaded["afe_chip"])
    board = EmulatedBoard(image_path(image), flash=flash)
    pins = {name[len(_PINS) :]: pin for name, pin in loaded.values.items() if name.startswith(_PINS)}
    rs485 = None
    if loaded["modbus_enabled"]:
        rs485 = BoardLine(board, pins, loaded["modbus_baud"], loaded["modbus_parity"])
    return EmulatedRack(loaded, board, rack, chips, RackWires(board, pins, rack, chips), rs485)
