"""Record a run: the true values of the rack, and under CPython the process image of the controller too."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from halite.chips.attach import Chips
from halite.common.paths import use_firmware
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from halite.scenarios.observations import Observation, of_rack
from halite.scenarios.recording import Recording

use_firmware()

from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE  # noqa: E402 - only after use_firmware
from rack.definitions.signals import SIGNALS  # noqa: E402
from rack.generated import ids as I  # noqa: E402

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
    """One row of TRUE_COLUMNS at simulated time us, which the rack has reached.

    energised: coils that carry current; contacts: contacts that conduct; both as bits COIL_*.
    """
    cells = rack.cells
    volts = cells.voltages(rack.current_A)
    coils = ((COIL_NEG, rack.main_neg), (COIL_PRE, rack.precharge), (COIL_POS, rack.main_pos))
    return (
        rack.grid.hz_at(us) if rack.grid.present(us) else np.nan,
        rack.pcs.power_W,
        rack.current_A,
        rack.bus_V,
        float(rack.heat.core_degC.max()),
        float(rack.heat.surface_degC.max()),
        float(rack.heat.surface_degC.min()),
        float(volts.max()),
        float(volts.min()),
        100 * cells.rest_soc(),
        rack.contact_bits(us),
        sum(bit for bit, contactor in coils if contactor.coil),
    )


class ImageRecorder:
    """Records the process image and the true values at every scan of a CpythonHost. scans: how many at most."""

    def __init__(self, host: CpythonHost, scans: int) -> None:
        self.host = host
        self.image = np.zeros((scans, I.COUNT), dtype=np.int64)
        self.truth = np.zeros((scans, len(TRUE_COLUMNS)))
        self.time_ms = np.zeros(scans)
        self.count = 0
        host.on_scan = self.take

    def take(self, us: float) -> None:
        """Take one row at simulated time us."""
        n = self.count
        self.time_ms[n] = us / 1000
        self.image[n] = self.host.controller.s
        self.truth[n] = truth_of(self.host.rack, us)
        self.count += 1

    def columns(self) -> dict[str, Any]:
        """One array per signal by its name, then one per true value."""
        columns: dict[str, Any] = {row[0]: self.image[: self.count, n] for n, row in enumerate(SIGNALS)}
        columns |= {name: self.truth[: self.count, n] for n, name in enumerate(TRUE_COLUMNS)}
        return columns


class BoardRecorder:
    """Records an emulated board from the outside: rack, contactors and the frames on the CAN bus.

    Call `sample(us)` at a steady pace, then `recording(...)`. start_us becomes time zero of the recording.
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
        """Power in W of the last request that the PCS had accepted at each time; 0 before the first."""
        accepted = self.chips.pcs_node.requests
        at_us = np.array([at for at, _ in accepted])
        power = np.array([0, *(request.power_W for _, request in accepted)])
        return power[np.searchsorted(at_us, times, side="right")]

    def recording(self, meta: dict[str, Any], observations: Iterable[Observation] = ()) -> Recording:
        """The recording so far; `observations`, in ms of the recording, join those of the rack since start_us."""
        times = np.array(self._times)
        rows = np.array(self._rows).reshape(len(times), len(TRUE_COLUMNS))
        columns: dict[str, Any] = {name: rows[:, n] for n, name in enumerate(TRUE_COLUMNS)}
        columns["request_W"] = self._requests(times)
        found = sorted([*of_rack(self.rack, self.start_us / 1000), *observations], key=lambda seen: seen.time_ms)
        return Recording((times - self.start_us) / 1000, columns, found, meta)
