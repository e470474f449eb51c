"""Faults of the rack that a scenario starts and ends by name: the table of all faults, and the active ones."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FaultSpec:
    """One kind of fault.

    where: the place that `at` counts: "cell", "sensor", "device" or "phase"; "" for a fault of the whole rack.
    min_value, max_value, default: of the fault's value, in `unit`.
    """

    where: str
    unit: str
    min_value: float
    max_value: float
    default: float
    text: str


FAULTS: dict[str, FaultSpec] = {
    "hvil_open": FaultSpec("", "", 0, 1, 1, "interlock loop open"),
    "estop_pressed": FaultSpec("", "", 0, 1, 1, "emergency stop pressed"),
    "oc_alert": FaultSpec("", "", 0, 1, 1, "hardware over-current alert raised"),
    "weld_pos": FaultSpec("", "", 0, 1, 1, "main + contact welded"),
    "weld_neg": FaultSpec("", "", 0, 1, 1, "main - contact welded"),
    "stuck_pos": FaultSpec("", "", 0, 1, 1, "main + contact does not close"),
    "stuck_neg": FaultSpec("", "", 0, 1, 1, "main - contact does not close"),
    "stuck_pre": FaultSpec("", "", 0, 1, 1, "precharge relay does not close"),
    "aux_pos": FaultSpec("", "0/1", 0, 1, 0, "auxiliary contact of main + stuck at the value"),
    "aux_neg": FaultSpec("", "0/1", 0, 1, 0, "auxiliary contact of main - stuck at the value"),
    "bus_leak": FaultSpec("", "ohm", 1, 1e6, 500, "leak across the DC bus"),
    "bus_open": FaultSpec("", "", 0, 1, 1, "PCS disconnected from the DC bus"),
    "pcs_silent": FaultSpec("", "", 0, 1, 1, "PCS sends no status"),
    "pcs_failed": FaultSpec("", "", 0, 1, 1, "PCS in fault, delivers no power"),
    "can_cut": FaultSpec("", "", 0, 1, 1, "CAN bus interrupted in both directions"),
    "current_lost": FaultSpec("", "", 0, 1, 1, "current sensor does not answer"),
    "current_offset": FaultSpec("", "A", -2000, 2000, 10, "current sensor reads too much"),
    "afe_lost": FaultSpec("device", "", 0, 1, 1, "AFE device silent, and the devices after it"),
    "ntc_open": FaultSpec("sensor", "", 0, 1, 1, "temperature sensor open"),
    "ntc_short": FaultSpec("sensor", "", 0, 1, 1, "temperature sensor shorted"),
    "ntc_frozen": FaultSpec("sensor", "degC", -50, 200, 25, "temperature sensor frozen at the value"),
    "ntc_offset": FaultSpec("sensor", "K", -100, 100, 20, "temperature sensor reads too much"),
    "cell_offset": FaultSpec("cell", "V", -5, 5, 0.5, "cell voltage reads too much"),
    "cell_wire_open": FaultSpec("cell", "", 0, 1, 1, "sense wire above the cell open"),
    "cell_shorted": FaultSpec("cell", "V", 0, 5, 1.0, "cell shorted: its true voltage is lower by the value"),
    "heat": FaultSpec("device", "K/s", 0, 100, 8, "module heated from outside"),
    "runaway": FaultSpec("sensor", "", 0, 1, 1, "cells at the sensor in thermal runaway"),
    "coolant_stopped": FaultSpec("", "", 0, 1, 1, "no coolant flow"),
    "gas": FaultSpec("", "mV", 0, 3300, 2500, "gas sensor voltage"),
    "mains_lost": FaultSpec("", "", 0, 1, 1, "no mains"),
    "phase_lost": FaultSpec("phase", "", 0, 1, 1, "sense wire or fuse of a mains phase open"),
}


@dataclass
class Faults:
    """The active faults: name → {place: value}; place 0 for faults of the whole rack."""

    active: dict[str, dict[int, float]] = field(default_factory=dict)
    version: int = 0  # number of changes so far

    def start(self, name: str, at: int = 0, value: float | None = None) -> None:
        """Start or change a fault. value: None for the default.

        Raises KeyError for an unknown name, ValueError for a value out of range.
        """
        spec = FAULTS[name]
        value = spec.default if value is None else value
        if not spec.min_value <= value <= spec.max_value:
            raise ValueError(f"{name}: {value} {spec.unit} is not within {spec.min_value}..{spec.max_value}")
        self.active.setdefault(name, {})[at] = value
        self.version += 1

    def stop(self, name: str, at: int | None = None) -> None:
        """End a fault at one place; at None: at every place."""
        self.version += 1
        places = self.active.get(name, {})
        if at is not None:
            places.pop(at, None)
        if at is None or not places:
            self.active.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self.active

    def places(self, name: str) -> dict[int, float]:
        """The places where the fault is active, with their values."""
        return self.active.get(name, {})

    def value(self, name: str, default: float) -> float:
        """The value of a fault of the whole rack, or `default` when it is not active."""
        return self.active.get(name, {}).get(0, default)
