"""The simulated rack: cells, heat, PCS, contactors and grid on one clock.

Time advances in inner steps of 1 ms on a fixed grid, independent of the caller's steps. The CPython host and the
emulated board therefore get the same trajectory for the same commands at the same times.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np

from halite.common.paths import use_firmware
from halite.plant.cells import Cells
from halite.plant.chemistries import Array
from halite.plant.contactor import Contactor
from halite.plant.faults import FAULTS, Faults
from halite.plant.grid import Grid
from halite.plant.parameters import Perturbation, Plant, plant_of_config, plant_of_params, with_cells
from halite.plant.pcs import Pcs

use_firmware()

from rack.definitions.codes import (  # noqa: E402 - only after use_firmware
    COIL_NEG,
    COIL_POS,
    COIL_PRE,
    IN_AUX_NEG,
    IN_AUX_POS,
    IN_COOLANT_FLOW,
    IN_ESTOP,
    IN_HVIL,
    IN_OC_OK,
)

STEP_US = 1000
SLOW_STEPS = 10  # inner steps between two steps of cells and heat

_MAINS = ("mains_lost", "phase_lost")
_CONTACT_OHM = 0.5e-3
_GAS_CLEAN_mV = 400.0
_COOLANT_J_PER_K = 120_000.0  # 30 l of glycol-water: engineering judgement
_FAN_W_PER_K = 400.0  # radiator with the fan at 100 %: engineering judgement
_MIN_PUMP_PCT = 10  # the pump does not turn below this duty: engineering judgement
_HEATER_W = 4_000.0  # engineering judgement


class StartState(TypedDict, total=False):
    """State of a rack before its first step; each key is optional.

    soc: 0..1. start_degC: of cells and coolant. ambient_degC: of the air. jitter_us: rms jitter of the zero crossings.
    cell: chemistry of the plant's cells instead of the config's. perturbation: their difference from the nominal cells.
    """

    soc: float
    start_degC: float
    ambient_degC: float
    jitter_us: float
    cell: str | None
    perturbation: Perturbation | None


@dataclass(frozen=True)
class Change:
    """A contact moved, or a fault began or ended. us: simulated time since the start."""

    us: float
    text: str


class Rack:
    """One rack with its PCS and its grid. Times are in µs since the start, powers in W; positive discharges.

    changes: every move of a contact and every fault so far. inrush_A: largest current at closing onto an uncharged bus.
    precharge_J: energy that the precharge resistor has absorbed.
    """

    def __init__(self, plant: Plant, seed: int = 1, **start: Unpack[StartState]) -> None:
        self.plant = plant
        self.start_from(seed, **start)
        self.pcs = Pcs(plant.pcs_lag_ms, plant.pcs_ramp_W_per_s, plant.pcs_timeout_ms, plant.power_max_W)
        self.main_pos, self.main_neg, self.precharge = (Contactor(plant.pull_in_us, plant.release_us) for _ in range(3))
        self.faults = Faults()
        self.changes: list[Change] = []
        self.fan_pct = self.pump_pct = 0
        self.heater = False
        self.current_A = 0.0
        self.bus_V = 0.0
        self.precharge_J = 0.0
        self.inrush_A = 0.0
        self._steps = 0
        self._charge_As = 0.0
        self._contacts = (False, False, False)
        self._faults_seen = 0
        self._coils = 0
        self._cut = False

    def start_from(self, seed: int = 1, **start: Unpack[StartState]) -> None:
        """Put cells, heat and grid into a start state; call it before a controller has measured the rack."""
        start_degC = start.get("start_degC", 25.0)
        ambient_degC = start.get("ambient_degC", 25.0)
        self.plant = with_cells(self.plant, start.get("cell"), start.get("perturbation"))
        self.cells = Cells(self.plant, start.get("soc", 0.5), start_degC, np.random.default_rng(seed))
        self.grid = Grid(self.plant.nominal_hz, start.get("jitter_us", 0.0), seed)
        self.ambient_degC = ambient_degC
        self.coolant_degC = min(start_degC, ambient_degC + 5.0)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Mapping[str, Any]], seed: int = 1, **start: Unpack[StartState]
    ) -> "Rack":
        """A rack of the size that a parsed board config states. seed: of the cells' spread and of the jitter."""
        return cls(plant_of_config(config), seed, **start)

    @classmethod
    def from_params(cls, params: object, seed: int = 1, **start: Unpack[StartState]) -> "Rack":
        """A rack of the size that compiled parameters state. seed: of the cells' spread and of the jitter."""
        return cls(plant_of_params(params), seed, **start)

    # time

    @property
    def now_us(self) -> int:
        """The end of the last inner step."""
        return self._steps * STEP_US

    def step_to(self, us: float) -> None:
        """Advance to the last inner step that ends at or before `us`."""
        while (self._steps + 1) * STEP_US <= us:
            self._step()

    def _step(self) -> None:
        start_us = self.now_us
        if self._faults_seen != self.faults.version:
            self._apply_faults()
        self._move_contacts(start_us)
        self._step_bus(start_us, STEP_US * 1e-6)
        self._charge_As += self.current_A * STEP_US * 1e-6
        self._steps += 1
        if self._steps % SLOW_STEPS == 0:
            self._slow_step(SLOW_STEPS * STEP_US * 1e-6)

    def _slow_step(self, dt_s: float) -> None:
        mean_A, self._charge_As = self._charge_As / dt_s, 0.0
        flow = 0.2 + 0.8 * self.pump_pct / 100 if self.coolant_flow else 0.1
        into = 0.0
        if self.coolant_flow:
            surface = float(self.cells.surface_degC.mean())
            into = self.plant.series * self.plant.cooling_W_per_K * flow * (surface - self.coolant_degC)
        out = (20.0 + _FAN_W_PER_K * self.fan_pct / 100) * (self.coolant_degC - self.ambient_degC)
        heat = _HEATER_W if self.heater else 0.0
        self.cells.step(mean_A, dt_s, self.coolant_degC, flow, self.faults)
        self.coolant_degC += (into - out + heat) * dt_s / _COOLANT_J_PER_K

    # electrical

    def _apply_faults(self) -> None:
        self._faults_seen = self.faults.version
        active = self.faults.active
        self.main_pos.welded, self.main_neg.welded = "weld_pos" in active, "weld_neg" in active
        self.main_pos.stuck_open, self.main_neg.stuck_open = "stuck_pos" in active, "stuck_neg" in active
        self.precharge.stuck_open = "stuck_pre" in active
        for name, contactor in (("aux_pos", self.main_pos), ("aux_neg", self.main_neg)):
            contactor.aux_stuck = bool(self.faults.value(name, 0)) if name in active else None
        self.pcs.silent, self.pcs.failed = "pcs_silent" in active or "can_cut" in active, "pcs_failed" in active

    def _move_contacts(self, us: float) -> None:
        now = (self.main_neg.closed(us), self.precharge.closed(us), self.main_pos.closed(us))
        if now == self._contacts:
            return
        for name, was, closed in zip(("main -", "precharge", "main +"), self._contacts, now, strict=True):
            if was != closed:
                self._note(us, f"{name} {'closed' if closed else 'open'}")
        self._contacts = now

    def _step_bus(self, us: float, dt_s: float) -> None:
        neg, pre, pos = self._contacts
        capacity_F = self.plant.bus_F * (0.02 if "bus_open" in self.faults else 1.0)
        leak_ohm = self.faults.value("bus_leak", math.inf)
        load_S = 1 / self.plant.bleeder_ohm + 1 / leak_ohm
        if neg and pos:
            self._step_connected(us, dt_s, load_S)
            return
        self.pcs.step(us, dt_s, False, self.bus_V)
        connected = neg and pre
        self._step_precharge(
            dt_s, capacity_F, load_S if connected else load_S + 1 / self.plant.discharge_ohm, connected
        )

    def _step_connected(self, us: float, dt_s: float, load_S: float) -> None:
        emf, ohm = self.cells.emf_V, self.cells.resistance_ohm + 2 * _CONTACT_OHM
        if abs(emf - self.bus_V) > 0.05 * emf:
            self.inrush_A = max(self.inrush_A, abs(emf - self.bus_V) / ohm)
        power = self.pcs.step(us, dt_s, "bus_open" not in self.faults, self.bus_V) + self.bus_V**2 * load_S
        power = min(power, 0.99 * emf * emf / (4 * ohm))
        self.current_A = (emf - math.sqrt(emf * emf - 4 * ohm * power)) / (2 * ohm)
        self.bus_V = emf - self.current_A * ohm

    def _step_precharge(self, dt_s: float, capacity_F: float, load_S: float, connected: bool) -> None:
        """Exact solution of C dV/dt = (E - V)/R - V/Rload over the step."""
        source_S = 1 / self.plant.precharge_ohm if connected else 0.0
        total_S = source_S + load_S
        final_V = self.cells.emf_V * source_S / total_S
        before = self.bus_V
        self.bus_V = final_V + (before - final_V) * math.exp(-dt_s * total_S / capacity_F)
        if not connected:
            self.current_A = 0.0
            return
        mean_V = 0.5 * (before + self.bus_V)
        self.current_A = (self.cells.emf_V - mean_V) * source_S
        self.precharge_J += self.current_A**2 / source_S * dt_s

    # commands of the controller

    def command_coils(self, bits: int, at_us: float | None = None) -> None:
        """Command the coils, as bits COIL_*, through the interlock.

        An open HVIL, the E-stop and the over-current alert cut the supply of the coils. The supply returns only after
        the controller has released every coil, as with the dead-man.
        """
        self._cut = not (self.hvil and self.estop and self.oc_ok) or (self._cut and bits != 0)
        self._coils = bits
        self.set_coils(0 if self._cut else bits, at_us)

    def set_coils(self, bits: int, at_us: float | None = None) -> None:
        """Set the states that reach the coils after interlock and enable, as bits COIL_*."""
        us = float(self.now_us) if at_us is None else at_us
        for bit, contactor in ((COIL_NEG, self.main_neg), (COIL_PRE, self.precharge), (COIL_POS, self.main_pos)):
            contactor.command(bool(bits & bit), us)

    def set_cooling(self, fan_pct: int, pump_pct: int, heater: int) -> None:
        """Set the duty of fan and pump, 0..100, and the heater, 0 or 1."""
        self.fan_pct, self.pump_pct, self.heater = fan_pct, pump_pct, bool(heater)

    def request(self, power_W: float, permitted: bool = True, at_us: float | None = None) -> None:
        """Deliver a valid power request to the PCS, unless the CAN bus is cut."""
        if "can_cut" not in self.faults:
            self.pcs.request(power_W, permitted, float(self.now_us) if at_us is None else at_us)

    def contact_bits(self, at_us: float) -> int:
        """Contacts that conduct at at_us, as bits COIL_*."""
        pairs = ((COIL_NEG, self.main_neg), (COIL_PRE, self.precharge), (COIL_POS, self.main_pos))
        return sum(bit for bit, contactor in pairs if contactor.closed(at_us))

    # readings of the sensors

    @property
    def string_V(self) -> float:
        """True voltage of the cell string at the rack side of the contactors."""
        return self.cells.emf_V - self.current_A * self.cells.resistance_ohm

    @property
    def coolant_flow(self) -> bool:
        """True while the flow switch is closed: the pump turns and the coolant is not blocked."""
        return self.pump_pct >= _MIN_PUMP_PCT and "coolant_stopped" not in self.faults

    @property
    def hvil(self) -> bool:
        """True while the interlock loop is closed."""
        return "hvil_open" not in self.faults

    @property
    def estop(self) -> bool:
        """True while the emergency stop is released."""
        return "estop_pressed" not in self.faults

    @property
    def oc_ok(self) -> bool:
        """True while the hardware over-current alert is not raised."""
        sensors = self.plant.sensors_of
        within = -sensors.alert_charge_A < self.measured_current_A < sensors.alert_discharge_A
        return "oc_alert" not in self.faults and within

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
    def measured_current_A(self) -> float:
        """Rack current as the sensor reads it; positive discharges."""
        return self.current_A + self.faults.value("current_offset", 0.0)

    @property
    def gas_mV(self) -> float:
        """Voltage of the gas sensor; it rises when cells vent."""
        vented = (
            2000.0
            if any(self.cells.core_degC[s] > self.plant.chemistry.onset_degC for s in self.faults.places("runaway"))
            else 0.0
        )
        return self.faults.value("gas", _GAS_CLEAN_mV + vented)

    @property
    def board_degC(self) -> float:
        """Temperature of the controller's board."""
        return self.ambient_degC + 8.0

    def measured_cells_V(self) -> Array:
        """Voltage in V at each cell input of the AFEs, with the faults of the wires."""
        volts = self.cells.voltages(self.current_A)
        for cell, offset in self.faults.places("cell_offset").items():
            volts[cell] += offset
        for cell in self.faults.places("cell_wire_open"):
            above = cell + 1
            if above < len(volts) and above % self.plant.cells_per_device:
                volts[above] += volts[cell]
            volts[cell] = 0.0
        return volts

    def measured_temps_degC(self) -> Array:
        """Temperature in °C of each NTC; +inf stands for a shorted sensor, -inf for an open one."""
        temps = self.cells.surface_degC.copy()
        for name, effect in (("ntc_offset", 1.0), ("ntc_frozen", 0.0)):
            for sensor, value in self.faults.places(name).items():
                temps[sensor] = effect * temps[sensor] + value
        for sensor in self.faults.places("ntc_open"):
            temps[sensor] = -np.inf
        for sensor in self.faults.places("ntc_short"):
            temps[sensor] = np.inf
        return temps

    def afe_devices_reached(self) -> int:
        """Number of devices that answer, from the base of the daisy chain to the first lost one."""
        return min((*self.faults.places("afe_lost"), self.plant.devices))

    # faults

    def start_fault(self, name: str, at: int = 0, value: float | None = None, at_us: float | None = None) -> None:
        """Start a fault of FAULTS at cell, sensor, device or phase `at`. Raises the errors of Faults.start."""
        us = float(self.now_us) if at_us is None else at_us
        self.faults.start(name, at, value)
        if name in _MAINS:
            self.grid.lose(us, at if name == "phase_lost" else None)
        spec = FAULTS[name]
        if self._coils:
            self.command_coils(self._coils, us)
        self._note(us, f"{spec.text}" + (f" ({spec.where} {at})" if spec.where else ""))

    def stop_fault(self, name: str, at: int | None = None, at_us: float | None = None) -> None:
        """End a fault at one place; at None: at every place."""
        us = float(self.now_us) if at_us is None else at_us
        if name in _MAINS:
            for phase in (None,) if name == "mains_lost" else range(3) if at is None else (at,):
                self.grid.restore(us, phase)
        self.faults.stop(name, at)
        self._note(us, f"{FAULTS[name].text}: over")

    def _note(self, us: float, text: str) -> None:
        self.changes.append(Change(us, text))
