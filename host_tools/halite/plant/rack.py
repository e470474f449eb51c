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
from halite.plant.dc_bus import STEP_US, run_connected
from halite.plant.failures import Failures
from halite.plant.faults import FAULTS, Faults
from halite.plant.grid import Grid
from halite.plant.heat import Cooling, Heat
from halite.plant.parameters import Perturbation, Plant, plant_of_config, plant_of_params, with_cells
from halite.plant.pcs import Pcs
from halite.plant.sensing import Lies, Sensing

use_firmware()

from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE  # noqa: E402 - only after use_firmware

SLOW_STEPS = 100  # inner steps between two steps of cells and heat

_MAINS = ("mains_lost", "phase_lost")
_IN_CELLS = ("cell_shorted", "internal_short")  # faults that the voltages of the cells show at once
_CONTACT_OHM = 0.5e-3
_AT_ONCE_s = 1e-6  # step of the cells that only puts a fault into their voltages


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


class Rack(Sensing):
    """One rack with its PCS and its grid; its readings are those of Sensing.

    Times are in µs since the start, powers in W; positive discharges.

    changes: every move of a contact and every fault so far. inrush_A: largest current at closing onto an uncharged bus.
    precharge_J: energy that the precharge resistor has absorbed. slow_steps: steps of cells and heat so far.
    """

    def __init__(self, plant: Plant, seed: int = 1, **start: Unpack[StartState]) -> None:
        self.plant = plant
        self.faults = Faults()
        self.start_from(seed, **start)
        self.pcs = Pcs(plant.pcs_lag_ms, plant.pcs_ramp_W_per_s, plant.pcs_timeout_ms, plant.power_max_W)
        self.main_pos, self.main_neg, self.precharge = (Contactor(plant.pull_in_us, plant.release_us) for _ in range(3))
        self.changes: list[Change] = []
        self.fan_pct = self.pump_pct = 0
        self.heater = False
        self.current_A = 0.0
        self.bus_V = 0.0
        self.precharge_J = 0.0
        self.inrush_A = 0.0
        self._steps = 0
        self.slow_steps = 0
        self._charge_As = 0.0
        self._contacts_rest = False  # the contacts stand since the last look, and no coil or fault has changed
        self._contactors = (self.main_neg, self.precharge, self.main_pos)
        self._contacts = self._moved = (False, False, False)  # contacts that carry current; contacts as they stand
        self._apply_faults()
        self._pcs_share, self._pcs_cap_W = self.pcs.share(STEP_US * 1e-6), self.pcs.cap_W(STEP_US * 1e-6)
        self._coils = self._supplied = 0
        self._cut = False

    def start_from(self, seed: int = 1, **start: Unpack[StartState]) -> None:
        """Put cells, heat and grid into a start state; call it before a controller has measured the rack."""
        start_degC = start.get("start_degC", 25.0)
        ambient_degC = start.get("ambient_degC", 25.0)
        self.plant = with_cells(self.plant, start.get("cell"), start.get("perturbation"))
        self.cells = Cells(self.plant, start.get("soc", 0.5), start_degC, np.random.default_rng(seed))
        self.grid = Grid(self.plant.nominal_hz, start.get("jitter_us", 0.0), seed)
        cells_at = np.maximum(np.bincount(self.cells.sensor_of, minlength=self.plant.sensors), 1)
        self.heat = Heat(self.plant, cells_at, start_degC, ambient_degC, np.random.default_rng((seed, 1)))
        self.cells.rest_at(self.heat.core_degC)
        self.failures = Failures(self.plant, self.heat, self.cells.sensor_of)
        per_device = {"cell": self.plant.cells_per_device, "ntc": self.plant.temps_per_device}
        self.lies = Lies(self.faults, per_device, seed)

    @classmethod
    def from_config(cls, config: Mapping[str, Mapping[str, Any]], seed: int = 1, **start: Unpack[StartState]) -> "Rack":
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
        last = int(us // STEP_US)
        while self._steps < last:
            self._advance(last - self._steps)

    def _advance(self, most: int) -> None:
        """Take one inner step, or up to `most` while nothing but current, bus and PCS can change."""
        start_us = self.now_us
        if self._faults_seen != self.faults.version:
            self._apply_faults()
        self._move_contacts(start_us)
        neg, pre, pos = self._contacts
        if neg and pos:
            self._steps += self._step_connected(start_us, most)
        else:
            self._step_disconnected(start_us, neg and pre)
            self._steps += 1
        if self._steps % SLOW_STEPS == 0:
            self._slow_step(SLOW_STEPS * STEP_US * 1e-6)
            self.slow_steps += 1

    def _slow_step(self, dt_s: float) -> None:
        """Advance cells and heat by dt_s at the mean current since the last slow step."""
        mean_A, self._charge_As = self._charge_As / dt_s, 0.0
        self.heat.warm("electrical", self._step_cells(mean_A, dt_s))
        self.failures.step(self.faults, dt_s)
        self.heat.step(dt_s, Cooling(self.pump_pct, self.fan_pct, self.heater, self.coolant_flow))

    def _step_cells(self, mean_A: float, dt_s: float) -> Array:
        """Advance the cells with their internal shorts and lost voltages; returns the heat of each position in W."""
        short_A = self.failures.short_A(self.faults, self.cells, mean_A)
        self.failures.drop(self.faults, self.cells)
        heat_W = self.cells.step_charge(mean_A, dt_s, self.heat.core_degC, short_A)
        return heat_W if short_A is None else heat_W + self.failures.short_W(self.faults, short_A)

    # electrical

    @property
    def insulation_kohm(self) -> float:
        """True insulation resistance against earth: of the string, with closed main contacts also of the PCS."""
        string_kohm = self.faults.value("insulation_fault", self.plant.string_insulation_kohm)
        if not (self._contacts[0] and self._contacts[2]) or string_kohm <= 0.0:
            return string_kohm
        return 1 / (1 / string_kohm + 1 / self.plant.pcs_insulation_kohm)

    def _apply_faults(self) -> None:
        self._faults_seen = self.faults.version
        self._contacts_rest = False
        active = self.faults.active
        self.main_pos.welded, self.main_neg.welded = "weld_pos" in active, "weld_neg" in active
        self.main_pos.stuck_open, self.main_neg.stuck_open = "stuck_pos" in active, "stuck_neg" in active
        self.precharge.welded, self.precharge.stuck_open = "weld_pre" in active, "stuck_pre" in active
        for name, contactor in (("aux_pos", self.main_pos), ("aux_neg", self.main_neg)):
            contactor.aux_stuck = bool(self.faults.value(name, 0)) if name in active else None
        self._is_bus_open = "bus_open" in active
        self._load_S = 1 / self.plant.bleeder_ohm + 1 / self.faults.value("bus_leak", math.inf)
        self.pcs.silent, self.pcs.failed = "pcs_silent" in active or "can_cut" in active, "pcs_failed" in active
        self.pcs.set_gain(self.faults.value("pcs_gain", 1.0))
        kept_W = self.pcs.target_W if "pcs_ignores" in active else None
        self.pcs.force(self.faults.places("pcs_delivers").get(0, kept_W))

    def _move_contacts(self, us: float) -> None:
        """Note the contacts that have moved. A blown fuse keeps the string from the bus even if they are closed."""
        if self._contacts_rest:
            return
        now = (self.main_neg.closed(us), self.precharge.closed(us), self.main_pos.closed(us))
        self._contacts_rest = all(each.next_change_us() is None for each in self._contactors)
        if now != self._moved:
            for name, was, closed in zip(("main -", "precharge", "main +"), self._moved, now, strict=True):
                if was != closed:
                    self._note(us, f"{name} {'closed' if closed else 'open'}")
            self._moved = now
        self._contacts = (False, False, False) if "fuse_blown" in self.faults else now

    def _steps_at_rest(self, start_us: int, most: int) -> int:
        """Number of inner steps, 1 or more, until the cells step, a contact moves or `most` is reached."""
        steps = min(most, SLOW_STEPS - self._steps % SLOW_STEPS)
        if self._contacts_rest:
            return steps
        for contactor in self._contactors:
            change_us = contactor.next_change_us()
            if change_us is not None:
                steps = min(steps, math.ceil((change_us - start_us) / STEP_US))
        return max(steps, 1)

    def _step_connected(self, start_us: int, most: int) -> int:
        """Take inner steps until the next event, up to `most`; returns their number."""
        steps, pcs = self._steps_at_rest(start_us, most), self.pcs
        (self.current_A, self.bus_V, pcs.power_W, pcs.state, self._charge_As, self.inrush_A) = run_connected(
            steps, float(start_us), self.cells.emf_V, self.cells.resistance_ohm + 2 * _CONTACT_OHM, self._load_S,
            self._is_bus_open, self.bus_V, pcs.power_W, float(pcs.target_W), self._pcs_share, self._pcs_cap_W,
            pcs.failed, pcs.permitted, pcs.silent_from_us, self._charge_As, self.inrush_A,
        )  # fmt: skip
        return steps

    def _step_disconnected(self, start_us: int, connected: bool) -> None:
        """Take one inner step without both main contacts. connected: the bus is on the precharge resistor."""
        self.pcs.step_disconnected(start_us, self.bus_V)
        capacity_F = self.plant.bus_F * (0.02 if self._is_bus_open else 1.0)
        load_S = self._load_S if connected else self._load_S + 1 / self.plant.discharge_ohm
        self._step_precharge(STEP_US * 1e-6, capacity_F, load_S, connected)
        self._charge_As += self.current_A * STEP_US * 1e-6

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
        if bits == self._supplied:
            return
        self._supplied = bits
        self._contacts_rest = False
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

    # faults

    def start_fault(self, name: str, at: int = 0, value: float | None = None, at_us: float | None = None) -> None:
        """Start a fault of FAULTS at cell, sensor, device or phase `at`. Raises the errors of Faults.start."""
        us = float(self.now_us) if at_us is None else at_us
        self.faults.start(name, at, value)
        self._apply_faults()
        self.sample()
        if name in _IN_CELLS:
            self._step_cells(self.current_A, _AT_ONCE_s)
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
        self._apply_faults()
        if name in _IN_CELLS:
            self._step_cells(self.current_A, _AT_ONCE_s)
        self._note(us, f"{FAULTS[name].text}: over")

    def _note(self, us: float, text: str) -> None:
        self.changes.append(Change(us, text))
