"""Record what is true of a rack while something else runs it: the columns that no controller can know."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from halite.chips.attach import Chips
from halite.plant.rack import COIL_NEG, COIL_POS, COIL_PRE, Rack
from halite.scenarios.trace import Trace, TraceEvent

TRUE_COLUMNS = (
    "true_freq_Hz",
    "true_power_W",
    "true_current_A",
    "true_bus_V",
    "true_core_max_degC",
    "true_surface_max_degC",
    "true_surface_min_degC",
    "true_cell_max_V",
    "true_cell_min_V",
    "true_soc_pct",
    "contacts",
    "energised",
)


def truth_of(rack: Rack, us: float) -> tuple[float, ...]:
    """One row of TRUE_COLUMNS. energised: coils that carry current, bits COIL_*; contacts: those that conduct."""
    cells = rack.cells
    volts = cells.voltages(rack.current_A)
    coils = ((COIL_NEG, rack.main_neg), (COIL_PRE, rack.precharge), (COIL_POS, rack.main_pos))
    return (
        rack.grid.hz_at(us) if rack.grid.present(us) else np.nan,
        rack.pcs.power_W,
        rack.current_A,
        rack.bus_V,
        float(cells.core_degC.max()),
        float(cells.surface_degC.max()),
        float(cells.surface_degC.min()),
        float(volts.max()),
        float(volts.min()),
        100 * cells.rest_soc(),
        rack.contact_bits(us),
        sum(bit for bit, contactor in coils if contactor.coil),
    )


def rack_events(rack: Rack) -> list[TraceEvent]:
    """What happened in the rack itself."""
    return [TraceEvent(event.us / 1000, "rack", event.text) for event in rack.events]


class BoardRecorder:
    """Makes a Trace of an emulated board from the outside: rack, contactors and the frames on the CAN bus.

    Call `sample(us)` at a steady pace, then `trace(...)`. start_us becomes time zero of the trace.
    """

    def __init__(self, rack: Rack, chips: Chips, start_us: float = 0.0) -> None:
        self.rack = rack
        self.chips = chips
        self.start_us = start_us
        self._times: list[float] = []
        self._rows: list[tuple[float, ...]] = []

    def sample(self, us: float) -> None:
        """Take one row at simulated time us."""
        self.rack.step_to(us)
        self._times.append(us)
        self._rows.append(truth_of(self.rack, us))

    def _requests(self, times: Any) -> Any:
        """The last request that the PCS had taken at each time, 0 before the first."""
        taken = self.chips.pcs_node.requests
        at_us = np.array([at for at, _ in taken])
        power = np.array([0, *(request.power_W for _, request in taken)])
        return power[np.searchsorted(at_us, times, side="right")]

    def trace(self, meta: dict[str, Any], events: Iterable[TraceEvent] = ()) -> Trace:
        """The recording; events with times of the trace join those of the rack since start_us."""
        times = np.array(self._times)
        rows = np.array(self._rows).reshape(len(times), len(TRUE_COLUMNS))
        columns: dict[str, Any] = {name: rows[:, n] for n, name in enumerate(TRUE_COLUMNS)}
        columns["request_W"] = self._requests(times)
        offset_ms = self.start_us / 1000
        seen = [
            TraceEvent(e.time_ms - offset_ms, e.kind, e.text) for e in rack_events(self.rack) if e.time_ms >= offset_ms
        ]
        return Trace((times - self.start_us) / 1000, columns, sorted([*seen, *events], key=lambda e: e.time_ms), meta)
