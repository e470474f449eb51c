"""One emulated rack: board, wires, chips and simulated rack of one board config."""

from dataclasses import dataclass
from pathlib import Path

from halite.chips.attach import Chips, chips_of
from halite.common.image import image_path
from halite.config import RackConfig, load
from halite.emulator.board import EmulatedBoard
from halite.emulator.rack_wires import RackWires
from halite.emulator.rs485_line import BoardLine
from halite.plant.rack import Rack, StartState

_PINS = "pins_"


@dataclass
class EmulatedRack:
    """The parts of one emulated rack. board: time and console. rack: physics.

    rs485: the line of the EMS; None when the config has no Modbus.
    """

    config: RackConfig
    board: EmulatedBoard
    rack: Rack
    chips: Chips
    wires: RackWires
    rs485: BoardLine | None


def emulated_rack(
    config: RackConfig | str | Path,
    *,
    seed: int = 1,
    start: StartState | None = None,
    flash: bytes | None = None,
    fram: bytes | None = None,
    image: Path | None = None,
) -> EmulatedRack:
    """Return a powered emulated rack; no time has passed yet.

    start: the rack's state before it is powered. flash: the flash_snapshot of an earlier board instead of the bare
    image. fram: the FRAM content of an earlier run. image: a local UF2 instead of the cached one.
    """
    loaded = config if isinstance(config, RackConfig) else load(config)
    rack = Rack.from_config(loaded.sections, seed=seed, **(start or {}))
    chips = chips_of(rack, fram)
    board = EmulatedBoard(image_path(image), flash=flash)
    pins = {name[len(_PINS) :]: pin for name, pin in loaded.values.items() if name.startswith(_PINS)}
    rs485 = None
    if loaded["modbus_enabled"]:
        rs485 = BoardLine(board, pins, loaded["modbus_baud"], loaded["modbus_parity"])
    return EmulatedRack(loaded, board, rack, chips, RackWires(board, pins, rack, chips), rs485)
