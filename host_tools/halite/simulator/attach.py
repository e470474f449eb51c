"""Join the chip models to a rack: the one place that says which chip measures what.

Both users of the wires face, driver tests under CPython and the emulated board, take their chips from here.
"""

from dataclasses import dataclass

from halite.simulator.chips.bq79616 import Bq79616Stack
from halite.simulator.chips.can_bus import CanBus
from halite.simulator.chips.fram import Fram
from halite.simulator.chips.ina228 import Ina228
from halite.simulator.chips.mcp2515 import Mcp2515
from halite.simulator.chips.ntc import Ntc
from halite.simulator.chips.pcs_node import PcsNode
from halite.simulator.rack import Rack

BUS_DIVIDER = 20.0  # rack voltage to the INA228's 85 V input: engineering judgement
SHUNT_OHM = 50e-6  # 1500 A, 75 mV shunt: engineering judgement


@dataclass
class Chips:
    """The chips of the reference hardware on one rack."""

    afe: Bq79616Stack
    can_bus: CanBus
    mcp2515: Mcp2515
    pcs_node: PcsNode
    ina228: Ina228
    fram: Fram


def afe_of(rack: Rack, ntc: Ntc | None = None) -> Bq79616Stack:
    """The AFE stack on the rack's cells and temperature sensors."""
    sensor = ntc or Ntc()
    plant = rack.plant

    def inputs(position: int) -> tuple[list[float], list[float]]:
        cells = rack.measured_cells_V()
        temps = rack.measured_temps_degC()
        first, first_temp = position * plant.cells_per_device, position * plant.temps_per_device
        return (
            cells[first : first + plant.cells_per_device].tolist(),
            [sensor.ratio(t) for t in temps[first_temp : first_temp + plant.temps_per_device].tolist()],
        )

    stack = Bq79616Stack(plant.devices, inputs)
    stack.lost_devices = lambda: rack.faults.places("afe_lost")
    return stack


def ina_of(rack: Rack) -> Ina228:
    """The current sensor on the rack's shunt; a lost sensor no longer acknowledges."""
    chip = Ina228(lambda: (rack.measured_current_A, rack.string_V / BUS_DIVIDER, rack.board_degC), SHUNT_OHM)
    chip.lost = lambda: "current_lost" in rack.faults
    return chip


def chips_of(rack: Rack, crystal_hz: int = 16_000_000, fram: bytes | None = None) -> Chips:
    """All chips, joined to the rack."""
    bus = CanBus()
    controller = Mcp2515(bus, crystal_hz)
    return Chips(afe_of(rack), bus, controller, PcsNode(bus, rack), ina_of(rack), Fram(fram))
