"""The values face: the firmware's own controller on a simulated rack, without wires, much faster than real time.

Every input arrives as the drivers would deliver it: quantised, late by its bus time, not at all when a fault
says so. Zero crossings call the fast path one by one at their exact times.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.plant.faults import FAULTS
from halite.plant.rack import Rack
from halite.scenarios.recording import TRUE_COLUMNS, rack_events, truth_of
from halite.scenarios.scenario import ClearFault, Command, Scenario, Setpoint, StartFault, on_rack
from halite.scenarios.trace import Trace, TraceEvent

use_firmware()

from rack.base.clock import TICKS_MASK  # noqa: E402
from rack.control.controller import Controller, may_request_power  # noqa: E402
from rack.control.response.response import PERIOD_TICK_NS  # noqa: E402
from rack.control.sense.message_ages import arrived  # noqa: E402
from rack.definitions import codes as bits  # noqa: E402
from rack.definitions.alarms import ROWS  # noqa: E402
from rack.definitions.names import LEVEL_NAMES, STATE_NAMES  # noqa: E402
from rack.definitions.signals import SIGNALS  # noqa: E402
from rack.drivers.ntc import NO_OPEN, NO_SHORT  # noqa: E402
from rack.generated import ids as I  # noqa: E402

_CELL_LSB_V = 190.73e-6
# From the edge to the request at the PCS: interrupt and kernel 75 µs (measured on the emulated board) and
# the SPI burst and CAN frame 13 + 250 µs.
REQUEST_LATENCY_us = 340
STATUS_PERIOD_ms = 20
COMMANDS = {"close": bits.CMD_CLOSE, "open": bits.CMD_OPEN, "reset": bits.CMD_RESET, "unlock": bits.CMD_UNLOCK}


class ValuesFace:
    """Joins one Controller to one Rack. `run_to(us)` runs scans and periods up to a time.

    start_ms: value of the controller's millisecond clock at simulated time zero (to test its wrap).
    scan_us: time to the next scan; `on_scan` may change it.
    """

    def __init__(self, rack: Rack, controller: Controller, start_ms: int = 0) -> None:
        self.rack = rack
        self.controller = controller
        self.plant = rack.plant
        self.start_ms = start_ms
        self.on_scan: Callable[[float], None] = lambda us: None
        self.scan_us = self.plant.scan_ms * 1000
        self._next_scan_us = float(self.scan_us)
        self._phases = range(controller.params.grid_phases)
        self._next_edges_us = [rack.grid.next_edge_us(0.0, phase) for phase in self._phases]
        self._last_edges_us: list[float | None] = [None for _ in self._phases]
        self._afe_us = 0.0
        self._frame_us = {
            "CELLS": self._bus_time_us(2 * self.plant.cells_per_device),
            "TEMPS": self._bus_time_us(2 * self.plant.temps_per_device + 2),
        }
        self._afe: dict[str, tuple[float, Any]] = {}
        self._status_us = 0.0
        self._permitted = False

    def _bus_time_us(self, size: int) -> float:
        """A broadcast read of `size` bytes from every device at 1 Mbit/s, plus a slice of 2 ms to use it."""
        return 60.0 + self.plant.devices * (size + 6) * 10.0 + 2_000.0

    # time

    def run_to(self, us: float) -> None:
        """Run every edge and scan up to and including `us`."""
        while True:
            edge, phase = min((self._next_edges_us[n] or math.inf, n) for n in self._phases)
            if min(edge, self._next_scan_us) > us:
                break
            if edge <= self._next_scan_us:
                self._edge(edge, phase)
            else:
                self._scan(self._next_scan_us)
                self._next_scan_us += self.scan_us
        self.rack.step_to(us)

    def _edge(self, us: float, phase: int) -> None:
        self.rack.step_to(us)
        last_us = self._last_edges_us[phase]
        if last_us is not None:
            count = round((us - last_us) * 1000 / PERIOD_TICK_NS)
            self._request(self.controller.response.on_period(min(count, TICKS_MASK), phase), us)
        self._last_edges_us[phase] = us
        self._next_edges_us[phase] = self.rack.grid.next_edge_us(us, phase)

    def _request(self, power_W: int, us: float) -> None:
        self._permitted = bool(may_request_power(self.controller.s))
        self.rack.request(power_W, self._permitted, us + REQUEST_LATENCY_us)

    def _scan(self, us: float) -> None:
        self.rack.step_to(us)
        for phase in self._phases:
            if self._next_edges_us[phase] is None or (self._last_edges_us[phase] or 0.0) < us - 200_000:
                self._next_edges_us[phase] = self.rack.grid.next_edge_us(us - 1, phase)
        self._read_afe(us)  # as the tasks between two scans do
        self._read_status(us)
        now_ms = (self.start_ms + round(us / 1000)) & TICKS_MASK
        self.controller.advance_ages(now_ms)
        self._write_inputs(us)
        self.controller.scan(now_ms)
        self._act(us)
        self.on_scan(us)

    def _act(self, us: float) -> None:
        s, rack = self.controller.s, self.rack
        rack.command_coils(s[I.COILS], us)
        rack.set_cooling(s[I.FAN_pct], s[I.PUMP_pct], s[I.HEATER])
        if may_request_power(s) != self._permitted or s[I.GRID_AGE_ms] > bits.MAINS_SILENT_ms:
            self._request(s[I.REQUEST_W], us)  # at once on a change, and without mains from every scan

    # inputs

    def _read_afe(self, us: float) -> None:
        """Sample at the period, deliver after the bus time."""
        for name in list(self._afe):
            due, values = self._afe[name]
            if due <= us:
                del self._afe[name]
                self._deliver(name, values)
        if us >= self._afe_us:
            self._afe_us += self.plant.afe_period_ms * 1000
            if self.rack.afe_devices_reached() == self.plant.devices:
                cells = us + self._frame_us["CELLS"]
                self._afe = {
                    "CELLS": (cells, quantised_cells(self.rack)),
                    "TEMPS": (cells + self._frame_us["TEMPS"], quantised_temps(self.rack)),
                }

    def _deliver(self, name: str, values: list[int]) -> None:
        if name == "CELLS":
            for cell, mV in enumerate(values):
                self.controller.cells_mV[cell] = mV
            self.controller.cells_arrived()
        else:
            for sensor, ddegC in enumerate(values):
                self.controller.temps_ddegC[sensor] = ddegC
            self.controller.temps_arrived()

    def _write_inputs(self, us: float) -> None:
        s, rack = self.controller.s, self.rack
        if "current_lost" not in rack.faults:
            self.controller.current_arrived(round(rack.measured_current_A * 10), round(rack.string_V * 10))
        s[I.IN_bits] = rack.in_bits(us)
        s[I.COOLANT_ddegC] = round(rack.coolant_degC * 10)
        s[I.BOARD_ddegC] = round(rack.board_degC * 10)
        s[I.GAS_mV] = round(rack.gas_mV)
        s[I.AFE_SEEN] = rack.afe_devices_reached()

    def _read_status(self, us: float) -> None:
        if us < self._status_us:
            return
        self._status_us += STATUS_PERIOD_ms * 1000
        if self.rack.pcs.silent:
            return
        s = self.controller.s
        arrived(s, I.PCS_AGE_ms)
        s[I.PCS_POWER_W] = round(self.rack.pcs.power_W)
        s[I.BUS_dV] = round(self.rack.bus_V * 10)
        s[I.PCS_STATE] = self.rack.pcs.state

    # actions

    def do(self, action: Any) -> str | None:
        """Carry out a scenario's action now; returns what a reader should know of it."""
        if on_rack(action, self.rack):
            return None
        if isinstance(action, Setpoint):
            self.controller.s[I.SETPOINT_W] = action.power_W
            return f"EMS asks for {action.power_W} W"
        if isinstance(action, Command):
            refused = self.controller.command(COMMANDS[action.what])
            return f"command {action.what}" + (f" refused ({refused})" if refused else "")
        return None


def quantised_cells(rack: Rack) -> list[int]:
    """Cell voltages in mV as they come out of the AFE's 190.73 µV counts."""
    raw = np.clip(np.round(rack.measured_cells_V() / _CELL_LSB_V), -32767, 32767).astype(np.int64)
    return [int(mV) for mV in (raw * 3125 + 8192) >> 14]


def quantised_temps(rack: Rack) -> list[int]:
    """Temperatures in 0.1 °C; NO_OPEN and NO_SHORT for broken sensors."""
    temps = rack.measured_temps_degC()
    finite = np.clip(np.nan_to_num(temps, posinf=0.0, neginf=0.0), -50.0, 200.0)
    codes = np.where(np.isneginf(temps), NO_OPEN, np.where(np.isposinf(temps), NO_SHORT, np.round(finite * 10)))
    return [int(code) for code in codes]


class _Recorder:
    """Collects the process image and the truth at every scan."""

    def __init__(self, face: ValuesFace, scans: int) -> None:
        self.face = face
        self.image = np.zeros((scans, I.COUNT), dtype=np.int64)
        self.truth = np.zeros((scans, len(TRUE_COLUMNS)))
        self.time_ms = np.zeros(scans)
        self.count = 0
        face.on_scan = self.take

    def take(self, us: float) -> None:
        """One row."""
        rack, n = self.face.rack, self.count
        self.time_ms[n] = us / 1000
        self.image[n] = self.face.controller.s
        self.truth[n] = truth_of(rack, us)
        self.count += 1

    def columns(self) -> dict[str, Any]:
        """Signals by their names, then the truth."""
        columns: dict[str, Any] = {row[0]: self.image[: self.count, n] for n, row in enumerate(SIGNALS)}
        columns |= {name: self.truth[: self.count, n] for n, name in enumerate(TRUE_COLUMNS)}
        return columns


def check_places(scenario: Scenario, rack: Rack) -> None:
    """Refuse a fault at a cell, sensor, device or phase that this rack does not have."""
    sizes = {"cell": rack.plant.series, "sensor": rack.plant.sensors, "device": rack.plant.devices, "phase": 3, "": 1}
    for action in scenario.action:
        if isinstance(action, StartFault | ClearFault) and (action.at or 0) >= sizes[FAULTS[action.name].where]:
            where = FAULTS[action.name].where or "place"
            raise HaliteError(
                f"scenario {scenario.name}: fault {action.name}: at = {action.at}: allowed is 0 to "
                f"{sizes[FAULTS[action.name].where] - 1}, the {where}s of this rack"
            )


def decisions(columns: dict[str, Any], time_ms: Any) -> Iterator[TraceEvent]:
    """State changes, alarm levels and trips as events, from the recorded process image."""
    texts: dict[str, Callable[[int], str]] = {
        "state": lambda value: f"state: {STATE_NAMES[value].replace('_', ' ')}",
        "alarm_level": lambda value: f"alarm level: {LEVEL_NAMES[value]}",
        "trip_code": lambda value: f"trip: {ROWS[value - 1][7]}" if value else "trip acknowledged",
    }
    for name, text in texts.items():
        values = columns[name]
        for n in np.nonzero(np.diff(values, prepend=0))[0]:
            yield TraceEvent(float(time_ms[n]), "control", text(int(values[n])))


def run(scenario: Scenario, config: str | Path, seed: int = 1, start_ms: int = 0) -> Trace:
    """Run a scenario on the control logic; deterministic for the same arguments.

    config: a board config file. meta["simulate_realtime_factor"] is simulated over elapsed time.
    """
    from halite.config import load_params

    params = load_params(config)
    rack = Rack.from_params(params, seed=seed, **scenario.start_values())
    check_places(scenario, rack)
    scenario.prepare_grid(rack)
    face = ValuesFace(rack, Controller(params), start_ms)
    recorder = _Recorder(face, scenario.duration_ms // rack.plant.scan_ms + 1)
    began = time.perf_counter()
    causes = []
    for action in scenario.timed():
        if action.at_ms > scenario.duration_ms:
            break
        face.run_to(action.at_ms * 1000.0 - 0.001)
        text = face.do(action)
        if text:
            causes.append(TraceEvent(float(action.at_ms), "cause", text))
    face.run_to(scenario.duration_ms * 1000.0)
    elapsed_s = time.perf_counter() - began
    columns, time_ms = recorder.columns(), recorder.time_ms[: recorder.count]
    events = causes + rack_events(rack)
    events += list(decisions(columns, time_ms)) + grid_events(scenario)
    meta = {
        "scenario": scenario.name,
        "text": scenario.text,
        "config": Path(config).stem,
        "seed": seed,
        "face": "values",
        "simulate_realtime_factor": round(scenario.duration_ms / 1000 / elapsed_s, 1),
    }
    return Trace(time_ms, columns, sorted(events, key=lambda e: e.time_ms), meta)


_GRID_TEXTS: dict[str, Callable[[Any], str]] = {
    "set": lambda a: f"grid jumps to {a.frequency_mHz / 1000:g} Hz",
    "ramp": lambda a: f"grid moves to {a.to_mHz / 1000:g} Hz at {a.rate_mHzps / 1000:g} Hz/s",
    "trace": lambda a: "grid follows a trace",
    "sine": lambda a: "grid oscillates",
}


def grid_events(scenario: Scenario) -> list[TraceEvent]:
    """The scenario's changes of grid frequency as events."""
    grid = (action for action in scenario.action if action.do in _GRID_TEXTS)
    return [TraceEvent(float(action.at_ms), "cause", _GRID_TEXTS[action.do](action)) for action in grid]
