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


@dataclass(frozen=True)
class Channel:
    """One reading that can lie: its name in the names of faults, its unit, the range of a stuck value, its text.

    offset, stuck, noise: defaults of these lies in `unit`. where: as in FaultSpec. modes: the lies that exist.
    """

    name: str
    where: str
    unit: str
    min_value: float
    max_value: float
    offset: float
    stuck: float
    noise: float
    text: str
    modes: tuple[str, ...] = ("gain", "offset", "sign", "stuck", "frozen", "delayed", "noise")


_HELD = ("stuck", "frozen")
_UNSIGNED = ("gain", "offset", "stuck", "frozen", "delayed", "noise")

CHANNELS = (
    Channel("current", "", "A", -5000, 5000, 10, 0, 5, "current sensor"),
    Channel("rack_voltage", "", "V", 0, 3000, 20, 0, 5, "rack voltage", _UNSIGNED),
    Channel("bus_voltage", "", "V", 0, 3000, 20, 0, 20, "bus voltage that the PCS reports", _UNSIGNED),
    Channel("pcs_power", "", "W", -2e6, 2e6, 2e4, 0, 5e3, "power that the PCS reports"),
    Channel("pcs_echo", "", "", 0, 15, 0, 0, 0, "request counter that the PCS repeats", _HELD),
    Channel("pcs_state", "", "state", 0, 15, 0, 3, 0, "state that the PCS reports", _HELD),
    Channel("cell", "cell", "V", -5, 5, 0.5, 3, 0.05, "cell voltage"),
    Channel("ntc", "sensor", "degC", -50, 200, 20, 25, 2, "temperature sensor", (*_UNSIGNED, "drift")),
    Channel("coolant", "", "degC", -50, 200, 20, 25, 2, "coolant sensor", _UNSIGNED),
    Channel("gas", "", "mV", 0, 3300, 500, 2500, 100, "gas sensor", _UNSIGNED),
    Channel("insulation", "", "kohm", 0, 1e6, 1000, 10_000, 100, "insulation that the EMS reports", _UNSIGNED),
)


def _lie(channel: Channel, mode: str) -> FaultSpec:
    """The row of one lie of a channel."""
    difference = "K" if channel.unit == "degC" else channel.unit
    reach = max(abs(channel.min_value), abs(channel.max_value))
    unit, least, most, default, text = {
        "gain": ("factor", -10.0, 10.0, 1.2, "reads the value times too much"),
        "offset": (difference, -reach, reach, channel.offset, "reads too much"),
        "sign": ("", 0, 1, 1, "reads with the opposite sign"),
        "stuck": (channel.unit, channel.min_value, channel.max_value, channel.stuck, "stuck at the value"),
        "frozen": ("", 0, 1, 1, "frozen at its present reading"),
        "delayed": ("s", 0.001, 60.0, 1.0, "late by the value"),
        "noise": (f"{difference} rms", 0, reach, channel.noise, "noisy"),
        "drift": (f"{difference}/min", -60.0, 60.0, -1.0, "drifts"),
    }[mode]
    return FaultSpec(channel.where, unit, least, most, default, f"{channel.text} {text}")


# Faults that change the rack itself.
_TRUE: dict[str, FaultSpec] = {
    "hvil_open": FaultSpec("", "", 0, 1, 1, "interlock loop open"),
    "estop_pressed": FaultSpec("", "", 0, 1, 1, "emergency stop pressed"),
    "oc_alert": FaultSpec("", "", 0, 1, 1, "hardware over-current alert raised"),
    "weld_pos": FaultSpec("", "", 0, 1, 1, "main + contact welded"),
    "weld_neg": FaultSpec("", "", 0, 1, 1, "main - contact welded"),
    "weld_pre": FaultSpec("", "", 0, 1, 1, "precharge relay welded"),
    "stuck_pos": FaultSpec("", "", 0, 1, 1, "main + contact does not close"),
    "stuck_neg": FaultSpec("", "", 0, 1, 1, "main - contact does not close"),
    "stuck_pre": FaultSpec("", "", 0, 1, 1, "precharge relay does not close"),
    "fuse_blown": FaultSpec("", "", 0, 1, 1, "main fuse blown: closed contacts do not reach the bus"),
    "bus_leak": FaultSpec("", "ohm", 1, 1e6, 500, "leak across the DC bus"),
    "bus_open": FaultSpec("", "", 0, 1, 1, "PCS disconnected from the DC bus"),
    "pcs_failed": FaultSpec("", "", 0, 1, 1, "PCS in fault, delivers no power"),
    "pcs_gain": FaultSpec("", "factor", -10, 10, 3, "PCS delivers the value times its request"),
    "pcs_ignores": FaultSpec("", "", 0, 1, 1, "PCS keeps its last request and ignores new ones"),
    "pcs_delivers": FaultSpec("", "W", -2e6, 2e6, -1e5, "PCS delivers the value without a request"),
    "can_cut": FaultSpec("", "", 0, 1, 1, "CAN bus interrupted in both directions"),
    "cell_shorted": FaultSpec("cell", "V", 0, 5, 1.0, "cell shorted: its true voltage is lower by the value"),
    "internal_short": FaultSpec("cell", "ohm", 1e-4, 1e4, 1.0, "internal short of a cell: it discharges and heats"),
    "heat": FaultSpec("device", "K/s", 0, 100, 8, "module heated from outside"),
    "self_heat": FaultSpec("sensor", "K/min", 0, 100, 0.5, "cells at the sensor heat themselves"),
    "runaway": FaultSpec("sensor", "K/s", 0.01, 100, 1.5, "cells at the sensor heated until they run away"),
    "coolant_stopped": FaultSpec("", "", 0, 1, 1, "no coolant flow"),
    "insulation_fault": FaultSpec("", "kohm", 0, 1e6, 100, "insulation of the cells against earth at the value"),
    "mains_lost": FaultSpec("", "", 0, 1, 1, "no mains"),
    "phase_lost": FaultSpec("phase", "", 0, 1, 1, "sense wire or fuse of a mains phase open"),
}

# Faults that change only the readings of the controller.
_READ: dict[str, FaultSpec] = {
    "aux_pos": FaultSpec("", "0/1", 0, 1, 0, "auxiliary contact of main + stuck at the value"),
    "aux_neg": FaultSpec("", "0/1", 0, 1, 0, "auxiliary contact of main - stuck at the value"),
    "current_lost": FaultSpec("", "", 0, 1, 1, "current sensor does not answer"),
    "insulation_unreported": FaultSpec("", "", 0, 1, 1, "EMS does not report the insulation"),
    "pcs_silent": FaultSpec("", "", 0, 1, 1, "PCS sends no status"),
    "pcs_fault_code": FaultSpec("", "", 0, 15, 7, "PCS reports the value as its fault"),
    "pcs_counter": FaultSpec("", "0/1/2", 0, 2, 0, "PCS status counter stands (0), alternates (1), runs back (2)"),
    "pcs_forged": FaultSpec("", "V", 0, 3000, 0, "a second node sends PCS status with the value as its bus voltage"),
    "request_forged": FaultSpec("", "W", -2e6, 2e6, 1e5, "a second node sends power requests with the value"),
    "can_flood": FaultSpec("", "1/ms", 1, 3, 1, "frames of garbage with the identifier of the PCS status"),
    "afe_lost": FaultSpec("device", "", 0, 1, 1, "AFE device silent, and the devices after it"),
    "afe_fault": FaultSpec("device", "bits", 1, 255, 1, "AFE device reports the bits of FAULT_SUMMARY"),
    "afe_frozen": FaultSpec("device", "", 0, 1, 1, "AFE registers stand still: its cells and temperatures"),
    "afe_gain": FaultSpec("device", "factor", 0.5, 1.5, 1.05, "AFE reads all its cells the value times too much"),
    "ntcs_frozen": FaultSpec("device", "", 0, 1, 1, "all temperature sensors of an AFE frozen"),
    "ntcs_open": FaultSpec("device", "", 0, 1, 1, "all temperature sensors of an AFE open"),
    "ntc_open": FaultSpec("sensor", "", 0, 1, 1, "temperature sensor open"),
    "ntc_short": FaultSpec("sensor", "", 0, 1, 1, "temperature sensor shorted"),
    "cell_wire_open": FaultSpec("cell", "", 0, 1, 1, "sense wire above the cell open"),
}

LIES = {f"{channel.name}_{mode}": (channel, mode) for channel in CHANNELS for mode in channel.modes}
FAULTS: dict[str, FaultSpec] = _TRUE | _READ | {name: _lie(*lie) for name, lie in LIES.items()}


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
