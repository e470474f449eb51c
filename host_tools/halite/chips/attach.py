"""Join the chip models to a rack: the one place that says which chip measures what.

Both users of the wires face, driver tests under CPython and the emulated board, take their chips from here.
"""

from dataclasses import dataclass

from halite.chips.bq79616 import Bq79616Stack
from halite.chips.can_bus import CanBus
from halite.chips.fram import Fram
from halite.chips.ina228 import Ina228
from halite.chips.mcp2515 import Mcp2515
from halite.chips.pcs_node import PcsNode
from halite.plant.rack import Rack


@dataclass
class Chips:
    """The chips of the reference hardware on one rack."""

    afe: Bq79616Stack
    can_bus: CanBus
    mcp2515: Mcp2515
    pcs_node: PcsNode
    ina228: Ina228
    fram: Fram


def afe_of(rack: Rack) -> Bq79616Stack:
    """The AFE stack on the rack's cells and temperature sensors."""
    plant, ntc = rack.plant, rack.plant.sensors_of.ntc
    sampled_us = -1
    cells: list[float] = []
    ratios: list[float] = []

    def inputs(position: int) -> tuple[list[float], list[float]]:
        nonlocal sampled_us, cells, ratios
        if rack.now_us != sampled_us:
            sampled_us = rack.now_us
            cells = rack.measured_cells_V().tolist()
            ratios = [ntc.ratio(degC) for degC in rack.measured_temps_degC().tolist()]
        cell, sensor = position * plant.cells_per_device, position * plant.temps_per_device
        return cells[cell : cell + plant.cells_per_device], ratios[sensor : sensor + plant.temps_per_device]

    stack = Bq79616Stack(plant.devices, inputs)
    stack.open_wires = lambda: [divmod(cell, plant.cells_per_device) for cell in rack.faults.places("cell_wire_open")]
    stack.lost_devices = lambda: rack.faults.places("afe_lost")
    return stack


def ina_of(rack: Rack) -> Ina228:
    """The current sensor on the rack's shunt; a lost sensor no longer acknowledges."""
    sensors = rack.plant.sensors_of
    chip = Ina228(
        lambda: (rack.measured_current_A, rack.string_V / sensors.divider, rack.board_degC), sensors.shunt_ohm
    )
    chip.lost = lambda: "current_lost" in rack.faults
    return chip


def coolant_ratio(rack: Rack) -> float:
    """Voltage of the coolant NTC's divider over its reference, for the board's ADC."""
    return rack.plant.sensors_of.ntc.ratio(rack.coolant_degC)


def chips_of(rack: Rack, fram: bytes | None = None) -> Chips:
    """All chips, joined to the rack. fram: its content from an earlier power cycle."""
    bus = CanBus()
    controller = Mcp2515(bus, rack.plant.sensors_of.can_crystal_hz)
    return Chips(afe_of(rack), bus, controller, PcsNode(bus, rack), ina_of(rack), Fram(fram))
