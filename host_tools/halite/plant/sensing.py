"""Readings of the rack: the truth as each sensor, wire and message shows it, with all its lies.

Both faces of a simulated rack take their readings here, the values face and the chip models, so both see the same lie.
"""

from collections import deque
from collections.abc import Iterable

import numpy as np

from halite.common.paths import use_firmware
from halite.plant.cells import Cells
from halite.plant.chemistries import Array
from halite.plant.contactor import Contactor
from halite.plant.failures import Failures
from halite.plant.faults import LIES, Faults
from halite.plant.heat import Heat
from halite.plant.parameters import Plant
from halite.plant.pcs import Pcs

use_firmware()

from rack.definitions.codes import (  # noqa: E402 - only after use_firmware
    IN_AUX_NEG,
    IN_AUX_POS,
    IN_COOLANT_FLOW,
    IN_ESTOP,
    IN_HVIL,
    IN_OC_OK,
)

_MIN_PUMP_PCT = 10  # the pump does not turn below this duty: engineering judgement
_ORDER = ("delayed", "frozen", "gain", "sign", "drift", "offset", "noise", "stuck")
# Lies of a whole AFE: (fault, channel, mode)
_OF_DEVICE = (
    ("afe_frozen", "cell", "frozen"),
    ("afe_frozen", "ntc", "frozen"),
    ("ntcs_frozen", "ntc", "frozen"),
    ("afe_gain", "cell", "gain"),
)
_NOISE_LENGTH, _NOISE_PRIMES = 4096, (7919, 613)
_ALTERNATES, _RUNS_BACK = 1, 2  # values of the fault pcs_counter; 0: the counter stands


class Lies:
    """The lies of all channels. A lie depends on the time of the reading, not on the number of readings.

    per_device: number of places of one AFE by channel. seed: of the noise.
    """

    def __init__(self, faults: Faults, per_device: dict[str, int], seed: int = 1) -> None:
        self._faults = faults
        self._per_device = per_device
        self._version = faults.version
        self._active: dict[str, list[tuple[str, dict[int, float]]]] = {}
        self._is_quiet = not faults.active  # no lie is active
        self._held: dict[tuple[str, str, int], float] = {}
        self._past: dict[tuple[str, int], deque[tuple[float, float]]] = {}
        self._noise: list[float] = np.random.default_rng(seed).normal(0.0, 1.0, _NOISE_LENGTH).tolist()

    def told(self, channel: str, truth: float, us: float) -> float:
        """The reading of a channel of the whole rack at a time in µs since the start."""
        for mode, places in self._of(channel):
            truth = self._altered(channel, mode, 0, places[0], truth, us)
        return truth

    def told_at(self, channel: str, truth: Array, us: float) -> Array:
        """The readings of a channel with many places; the array itself changes."""
        if self.is_quiet:
            return truth
        for mode, places in self._of(channel):
            for place, value in places.items():
                truth[place] = self._altered(channel, mode, place, value, float(truth[place]), us)
        return truth

    @property
    def is_quiet(self) -> bool:
        """True while no lie is active."""
        return self._is_quiet and self._version == self._faults.version

    def _of(self, channel: str) -> Iterable[tuple[str, dict[int, float]]]:
        if self._version != self._faults.version:
            self._version = self._faults.version
            self._collect()
        return self._active.get(channel, ())

    def _collect(self) -> None:
        """Sort the active lies by channel, in the order in which they act, and forget the held values of ended lies."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for name, (channel, mode) in LIES.items():
            if name in self._faults:
                found.setdefault(channel.name, {})[mode] = dict(self._faults.places(name))
        for name, where, mode in _OF_DEVICE:
            count = self._per_device[where]
            for device, value in self._faults.places(name).items():
                places = found.setdefault(where, {}).setdefault(mode, {})
                places.update({place: value for place in range(device * count, (device + 1) * count)})
        self._active = {where: [(m, modes[m]) for m in _ORDER if m in modes] for where, modes in found.items()}
        self._is_quiet = not self._active
        live = {(where, mode, at) for where, modes in found.items() for mode, places in modes.items() for at in places}
        self._held = {key: value for key, value in self._held.items() if key in live}
        self._past = {key: past for key, past in self._past.items() if (key[0], "delayed", key[1]) in live}

    def _altered(self, channel: str, mode: str, at: int, value: float, reading: float, us: float) -> float:
        if mode == "gain":
            return reading * value
        if mode == "sign":
            return -reading
        if mode == "offset":
            return reading + value
        if mode == "stuck":
            return value
        if mode == "noise":
            place = int(us // 1000) * _NOISE_PRIMES[0] + at * _NOISE_PRIMES[1]
            return reading + value * self._noise[place % _NOISE_LENGTH]
        if mode == "delayed":
            return self._delayed((channel, at), value * 1e6, reading, us)
        if mode == "drift":
            return reading + value * (us - self._held.setdefault((channel, mode, at), us)) / 60e6
        return self._held.setdefault((channel, mode, at), reading)

    def _delayed(self, key: tuple[str, int], delay_us: float, reading: float, us: float) -> float:
        past = self._past.setdefault(key, deque())
        if not past or past[-1][0] < us:
            past.append((us, reading))
        while len(past) > 1 and past[1][0] <= us - delay_us:
            past.popleft()
        return past[0][1]


class Sensing:
    """Readings of a rack, which derives from this class and holds the truth in the attributes below."""

    plant: Plant
    faults: Faults
    lies: Lies
    cells: Cells
    heat: Heat
    failures: Failures
    pcs: Pcs
    main_pos: Contactor
    main_neg: Contactor
    pump_pct: int
    current_A: float
    bus_V: float
    _counter: int = 0
    _told_counter: int = 0

    @property
    def now_us(self) -> int:
        """The end of the last inner step."""
        raise NotImplementedError

    def _told(self, channel: str, truth: float) -> float:
        """The reading of a channel of the whole rack now."""
        return truth if self.lies.is_quiet else self.lies.told(channel, truth, self.now_us)

    def sample(self) -> None:
        """Take each reading once, so that a lie that starts now holds the reading of now."""
        self.measured_cells_V()
        self.measured_temps_degC()
        _ = self.measured_current_A, self.measured_rack_V, self.measured_bus_V, self.measured_pcs_power_W
        _ = self.measured_pcs_state, self.measured_coolant_degC, self.gas_mV, self.measured_insulation_kohm

    @property
    def insulation_kohm(self) -> float:
        """True insulation resistance of the connected parts against earth."""
        raise NotImplementedError

    # message of the EMS

    @property
    def measured_insulation_kohm(self) -> float | None:
        """Insulation that the EMS reports from its monitor; None while it reports no value."""
        told_kohm = self._told("insulation", self.insulation_kohm)
        return None if "insulation_unreported" in self.faults.active else told_kohm

    # inputs of the board

    @property
    def coolant_flow(self) -> bool:
        """True while the flow switch is closed: the pump turns and the coolant is not blocked."""
        return self.pump_pct >= _MIN_PUMP_PCT and "coolant_stopped" not in self.faults.active

    @property
    def hvil(self) -> bool:
        """True while the interlock loop is closed."""
        return "hvil_open" not in self.faults.active

    @property
    def estop(self) -> bool:
        """True while the emergency stop is released."""
        return "estop_pressed" not in self.faults.active

    @property
    def oc_ok(self) -> bool:
        """True while the hardware over-current alert is not raised."""
        sensors = self.plant.sensors_of
        current_A = self.current_A if self.lies.is_quiet else self.measured_current_A
        return -sensors.alert_charge_A < current_A < sensors.alert_discharge_A and "oc_alert" not in self.faults.active

    def in_bits(self, at_us: float | None = None) -> int:
        """Digital inputs at at_us (default: now) as bits IN_*."""
        us = float(self.now_us) if at_us is None else at_us
        return (
            (IN_HVIL if self.hvil else 0)
            | (IN_ESTOP if self.estop else 0)
            | (IN_OC_OK if self.oc_ok else 0)
            | (IN_AUX_POS if self.main_pos.aux(us) else 0)
            | (IN_AUX_NEG if self.main_neg.aux(us) else 0)
            | (IN_COOLANT_FLOW if self.coolant_flow else 0)
        )

    @property
    def gas_mV(self) -> float:
        """Voltage of the gas sensor; it rises when cells vent."""
        return self._told("gas", self.failures.gas.sensor_mV)

    @property
    def measured_coolant_degC(self) -> float:
        """Temperature that the coolant sensor reads at the inlet."""
        return self._told("coolant", self.heat.tank_degC)

    @property
    def board_degC(self) -> float:
        """Temperature of the controller's board."""
        return self.heat.ambient_degC + 8.0

    # current sensor

    @property
    def string_V(self) -> float:
        """True voltage of the cell string at the rack side of the contactors."""
        return self.cells.emf_V - self.current_A * self.cells.resistance_ohm

    @property
    def measured_current_A(self) -> float:
        """Rack current as the sensor reads it; positive discharges."""
        return self._told("current", self.current_A)

    @property
    def measured_rack_V(self) -> float:
        """Voltage of the string as the current sensor reads it at its bus pin."""
        return self._told("rack_voltage", self.string_V)

    # status of the PCS

    @property
    def measured_bus_V(self) -> float:
        """Voltage of the DC bus that the PCS reports."""
        return self._told("bus_voltage", self.bus_V)

    @property
    def forged_bus_V(self) -> float | None:
        """Bus voltage in the status frames of a second node, None without one."""
        return self.faults.places("pcs_forged").get(0)

    @property
    def forged_request_W(self) -> float | None:
        """Power in the request frames of a second node, None without one."""
        return self.faults.places("request_forged").get(0)

    @property
    def measured_pcs_power_W(self) -> float:
        """Power that the PCS reports; positive discharges."""
        return self._told("pcs_power", self.pcs.power_W)

    @property
    def measured_pcs_state(self) -> int:
        """State PCS_* that the PCS reports."""
        return int(self._told("pcs_state", self.pcs.state))

    @property
    def pcs_fault_code(self) -> int:
        """Fault that the PCS reports, 0..15: 1 when it has failed."""
        return int(self.faults.value("pcs_fault_code", float(self.pcs.failed)))

    def measured_pcs_echo(self, counter: int) -> int:
        """Request counter 0..15 that the PCS repeats. counter: of the last request that it accepted."""
        return int(self._told("pcs_echo", counter))

    def next_status_counter(self) -> int:
        """Counter 0..15 of the next status frame of the PCS."""
        self._counter = self._counter + 1 & 15
        mode = self.faults.places("pcs_counter").get(0)
        if mode is None:
            self._told_counter = self._counter
        elif mode >= _RUNS_BACK:
            self._told_counter = -self._counter & 15
        elif mode >= _ALTERNATES:
            self._told_counter = self._counter & 1
        return self._told_counter

    # AFEs

    def measured_cells_V(self) -> Array:
        """Voltage in V at each cell input of the AFEs, with the faults of the wires."""
        volts = self.lies.told_at("cell", self.cells.voltages(self.current_A), self.now_us)
        for cell in self.faults.places("cell_wire_open"):
            above = cell + 1
            if above < len(volts) and above % self.plant.cells_per_device:
                volts[above] += volts[cell]
            volts[cell] = 0.0
        return volts

    def measured_temps_degC(self) -> Array:
        """Temperature in °C of each NTC; +inf stands for a shorted sensor, -inf for an open one."""
        temps = self.lies.told_at("ntc", self.heat.surface_degC.copy(), self.now_us)
        for device in self.faults.places("ntcs_open"):
            temps[device * self.plant.temps_per_device : (device + 1) * self.plant.temps_per_device] = -np.inf
        for sensor in self.faults.places("ntc_open"):
            temps[sensor] = -np.inf
        for sensor in self.faults.places("ntc_short"):
            temps[sensor] = np.inf
        return temps

    def afe_devices_reached(self) -> int:
        """Number of devices that answer, from the base of the daisy chain to the first lost one."""
        lost = self.faults.active.get("afe_lost")
        return min(lost) if lost else self.plant.devices

    def afe_faults(self) -> dict[int, int]:
        """Bits of FAULT_SUMMARY that devices set by themselves, by position."""
        return {device: int(bits) for device, bits in self.faults.places("afe_fault").items()}
