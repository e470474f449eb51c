"""Join the chip models to a rack: the one place that connects chip inputs to physics.

Both users of the wires face, driver tests under CPython and the emulated board, take their chips from here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from halite.chips.bq79616 import Bq79616Stack
from halite.chips.can_bus import CanBus
from halite.chips.fram import Fram
from halite.chips.ina228 import Ina228
from halite.chips.ltc6813 import Ltc6813Stack
from halite.chips.mcp2515 import Mcp2515
from halite.chips.pcs_node import PcsNode
from halite.common.paths import use_firmware
from halite.plant.rack import Rack

use_firmware()

from rack.definitions.codes import AFE_BQ79616, AFE_LTC6813  # noqa: E402 - only after use_firmware

_LTC6811_CELLS, _LTC6813_CELLS = 12, 18
_Inputs = Callable[[int], tuple[list[float], list[float]]]


@dataclass
class Chips:
    """The chips on one rack.

    ltc6813: the AFE stack of a rack with `[afe] chip = "ltc6813"`; the BQ79616 stack `afe` then gets no frames.
    """

    afe: Bq79616Stack
    can_bus: CanBus
    mcp2515: Mcp2515
    pcs_node: PcsNode
    ina228: Ina228
    fram: Fram
    ltc6813: Ltc6813Stack | None = None


def _afe_inputs(rack: Rack) -> _Inputs:
    """(cell voltages, NTC ratios) of one device by its position; sampled once at each simulated time."""
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

    return inputs


def afe_of(rack: Rack) -> Bq79616Stack:
    """The BQ79616 stack on the rack's cells and temperature sensors."""
    plant = rack.plant
    stack = Bq79616Stack(plant.devices, _afe_inputs(rack))
    stack.open_wires = lambda: [divmod(cell, plant.cells_per_device) for cell in rack.faults.places("cell_wire_open")]
    stack.lost_devices = lambda: rack.faults.places("afe_lost")
    stack.own_faults = rack.afe_faults
    return stack


def ltc6813_of(rack: Rack) -> Ltc6813Stack:
    """The LTC6811 or LTC6813 stack on the same; a device without supply cuts off the devices behind it."""
    plant = rack.plant
    cells = _LTC6811_CELLS if plant.cells_per_device <= _LTC6811_CELLS else _LTC6813_CELLS
    stack = Ltc6813Stack(plant.devices, _afe_inputs(rack), cells)
    stack.shut_down = rack.afe_faults
    stack.reached = lambda: min(rack.faults.places("afe_lost"), default=plant.devices)
    return stack


def ina_of(rack: Rack) -> Ina228:
    """The current sensor on the rack's shunt; a lost sensor no longer acknowledges."""
    sensors = rack.plant.sensors_of
    chip = Ina228(
        lambda: (rack.measured_current_A, rack.measured_rack_V / sensors.divider, rack.board_degC), sensors.shunt_ohm
    )
    chip.lost = lambda: "current_lost" in rack.faults
    return chip


def coolant_ratio(rack: Rack) -> float:
    """Voltage of the coolant NTC's divider over its reference, for the board's ADC."""
    return rack.plant.sensors_of.ntc.ratio(rack.measured_coolant_degC)


def chips_of(rack: Rack, fram: bytes | None = None, afe_chip: int = AFE_BQ79616) -> Chips:
    """All chips, joined to the rack. fram: its content from an earlier power cycle. afe_chip: `[afe] chip`."""
    bus = CanBus()
    controller = Mcp2515(bus, rack.plant.sensors_of.can_crystal_hz)
    ltc6813 = ltc6813_of(rack) if afe_chip == AFE_LTC6813 else None
    return Chips(afe_of(rack), bus, controller, PcsNode(bus, rack), ina_of(rack), Fram(fram), ltc6813)
