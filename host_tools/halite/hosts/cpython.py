"""Run the control core under CPython on a simulated rack, without wires, much faster than real time.

The host does the work of the drivers: it quantises each reading and delivers it after its bus time. While a fault stops
a sensor, it delivers no reading. The fast path gets every zero crossing at its exact time.
"""

import math
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halite.chips.bq79616 import CELL_LSB_V
from halite.common.paths import use_firmware
from halite.plant.rack import Rack

use_firmware()

from rack.base.clock import TICKS_MASK  # noqa: E402 - only after use_firmware
from rack.comms import pcs_codec  # noqa: E402
from rack.comms.ems import INSULATION, Ems  # noqa: E402
from rack.control.controller import Controller, may_request_power  # noqa: E402
from rack.control.response.response import PERIOD_TICK_NS  # noqa: E402
from rack.control.sense.message_ages import arrived  # noqa: E402
from rack.definitions import codes  # noqa: E402
from rack.definitions.pcs_codes import STATUS_PERIOD_MS  # noqa: E402
from rack.generated import ids as I  # noqa: E402
from rack.generated import pcs_link_state as L  # noqa: E402

# Time from the zero crossing to the request at the PCS: 75 µs for interrupt and kernel, measured on the emulated board;
# 13 µs for the SPI burst and 250 µs for the CAN frame.
REQUEST_LATENCY_us = 340
_REPORT_us = 1_000_000.0  # an EMS reports the insulation each second: the period of a Bender iso165C


class CpythonHost:
    """Joins one Controller to one Rack. `run_to(us)` runs mains periods and scans up to a time.

    start_ms: the controller's millisecond clock at simulated time zero, 0..2**30 - 1.
    scan_us: time from one scan to the next. on_scan: called after each scan with its time in us; may change scan_us.
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
        self._ems = Ems(controller.params, controller.s)
        self._report_us = 0.0 if controller.params.insulation_monitor else math.inf
        self._slow = (-1, -1)  # slow steps and version of the faults at the last slow inputs
        self._link = array("i", [0] * L.INTS)

    def _bus_time_us(self, size: int) -> float:
        """Time in µs of a broadcast read of `size` bytes from every device at 1 Mbit/s, plus 2 ms to evaluate it."""
        return 60.0 + self.plant.devices * (size + 6) * 10.0 + 2_000.0

    def restart(self) -> None:
        """Begin again with a new control core, as after a loss of power: coils off, the retained words restored."""
        kept, params = self.controller.retained, self.controller.params
        self.rack.set_coils(0, self.rack.now_us)
        self.controller = Controller(params)
        self.controller.restore(kept)
        self._last_edges_us = [None for _ in self._phases]
        self._afe = {}
        self._permitted = False
        self._ems = Ems(params, self.controller.s)
        self._slow = (-1, -1)
        self._link = array("i", [0] * L.INTS)

    # time

    def run_to(self, us: float) -> None:
        """Run every edge and scan up to and including `us`."""
        while True:
            edge, phase = self._next_edge()
            if min(edge, self._next_scan_us) > us:
                break
            if edge <= self._next_scan_us:
                self._edge(edge, phase)
            else:
                self._scan(self._next_scan_us)
                self._next_scan_us += self.scan_us
        self.rack.step_to(us)

    def _next_edge(self) -> tuple[float, int]:
        """Time in µs and phase of the next edge; inf without one."""
        if len(self._next_edges_us) == 1:
            return self._next_edges_us[0] or math.inf, 0
        return min((us or math.inf, phase) for phase, us in enumerate(self._next_edges_us))

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
        self._read_afe(us)  # on a board, tasks between two scans read AFE and PCS
        self._read_status(us)
        self._read_report(us)
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
        if may_request_power(s) != self._permitted or s[I.GRID_AGE_ms] > codes.MAINS_SILENT_ms:
            self._request(s[I.REQUEST_W], us)  # at once when the permission changes, and from every scan without mains

    # inputs

    def _read_afe(self, us: float) -> None:
        """Sample the AFEs each period, deliver the samples after their bus time."""
        for name in tuple(self._afe):
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

    def _deliver(self, name: str, values: "array[int]") -> None:
        if name == "CELLS":
            self.controller.cells_mV[:] = values
            self.controller.cells_arrived()
        else:
            self.controller.temps_ddegC[:] = values
            self.controller.temps_arrived()

    def _write_inputs(self, us: float) -> None:
        s, rack = self.controller.s, self.rack
        if "current_lost" not in rack.faults:
            self.controller.current_arrived(round(rack.measured_current_A * 10), round(rack.measured_rack_V * 10))
        s[I.IN_bits] = rack.in_bits(us)
        now = rack.slow_steps, rack.faults.version
        if now != self._slow or not rack.lies.is_quiet:
            self._slow = now
            self._write_slow_inputs()

    def _write_slow_inputs(self) -> None:
        """Write the inputs that move only with a slow step of the rack or with a fault."""
        s, rack = self.controller.s, self.rack
        s[I.COOLANT_ddegC] = round(rack.measured_coolant_degC * 10)
        s[I.BOARD_ddegC] = round(rack.board_degC * 10)
        s[I.GAS_mV] = round(rack.gas_mV)
        arrived(s, I.WIRE_CHECK_AGE_ms)
        s[I.AFE_SEEN] = rack.afe_devices_reached()
        s[I.AFE_FAULT] = min(rack.afe_faults(), default=-1) + 1

    def _read_report(self, us: float) -> None:
        """Take the insulation from the EMS of a rack with a monitor."""
        if us < self._report_us:
            return
        self._report_us += _REPORT_us
        kohm = self.rack.measured_insulation_kohm
        if kohm is not None:
            self._ems.values[INSULATION] = min(max(round(kohm), 0), self._ems.maximum[INSULATION])
            self._ems.apply(INSULATION, INSULATION + 1)

    def _read_status(self, us: float) -> None:
        if us < self._status_us:
            return
        self._status_us += STATUS_PERIOD_MS * 1000
        s, rack, link = self.controller.s, self.rack, self._link
        pcs_codec.publish_counts(s, link, round(us) & TICKS_MASK)
        if rack.forged_request_W is not None:
            link[L.FOREIGN] += 1
            rack.request(rack.forged_request_W, True, us)
        if "can_flood" in rack.faults:  # garbage fills both buffers of the CAN controller, twice in a period
            for _ in range(4):
                pcs_codec.refuse(s)
            rack.next_status_counter()
            return
        if rack.pcs.silent:
            return
        counter = rack.next_status_counter()
        if rack.forged_bus_V is not None:  # the forged frame with the next counter comes just after the true one
            self._take_status(counter, rack.measured_bus_V)
            self._take_status(counter + 1 & 15, rack.forged_bus_V)
        else:
            self._take_status(counter, rack.measured_bus_V)

    def _take_status(self, counter: int, bus_V: float) -> None:
        """Accept a status or refuse it, as the firmware does."""
        s, rack = self.controller.s, self.rack
        if not pcs_codec.is_fresh(s, self._link, counter):
            pcs_codec.refuse(s)
            return
        arrived(s, I.PCS_AGE_ms)
        s[I.PCS_POWER_W] = round(rack.measured_pcs_power_W)
        s[I.BUS_dV] = round(10 * bus_V)
        s[I.PCS_STATE] = rack.measured_pcs_state
        s[I.PCS_FAULT] = rack.pcs_fault_code
        s[I.PCS_ECHO] = rack.measured_pcs_echo(rack.pcs.accepted & 15)


def quantised_cells(rack: Rack) -> "array[int]":
    """Cell voltages in mV, rounded to the AFE's counts of 190.73 µV as the driver converts them."""
    counts = np.minimum(np.maximum(np.rint(rack.measured_cells_V() / CELL_LSB_V), -32767), 32767)
    raw = counts.astype(np.int64)
    return _integers((raw * 3125 + 8192) >> 14)


def quantised_temps(rack: Rack) -> "array[int]":
    """Temperatures in 0.1 °C; NO_OPEN or NO_SHORT for a broken sensor."""
    temps = rack.measured_temps_degC()
    codes_ddegC = np.rint(np.minimum(np.maximum(temps, -50.0), 200.0) * 10)
    codes_ddegC[temps == np.inf] = codes.NO_SHORT
    codes_ddegC[temps == -np.inf] = codes.NO_OPEN
    return _integers(codes_ddegC)


def _integers(values: NDArray[Any]) -> "array[int]":
    return array("i", values.astype(np.intc).tobytes())
