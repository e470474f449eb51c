"""Run the firmware's response on exact zero crossings, with the delay of a CAN frame and the lag of a PCS after it."""

import math
from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np

from halite.common.paths import BOARD_CONFIGS, use_firmware
from halite.config import load_params
from halite.config.reader import read_toml
from halite.plant.grid import Grid
from halite.scenarios.compliance.rules import Track
from halite.scenarios.compliance.services import Service

use_firmware()

SERVICES = BOARD_CONFIGS / "grid_services"
PCS_LAG_MS = 10.0
CAN_DELAY_US = 400.0  # interrupt, SPI and 130 bits at 500 kbit/s, rounded up
STEP_S = 0.01
EVENT_S = 3.0  # every case is quiet until then, so that the measurement fills its windows
TOLERANCE = 0.002  # pu: 0.1 mHz resolution on the steepest curve, and the tail of the PCS lag


def preset(name: str) -> dict[str, Any]:
    """The keys of a shipped preset, without the nominal frequency of its grid."""
    return {key: value for key, value in read_toml(SERVICES / f"{name}.toml").items() if key != "nominal_mHz"}


def parameters(name: str, nominal_hz: float = 50.0, config: str = "") -> Any:
    """Parameters of the sodium rack with the preset `name` as its service; with `config` those of that rack, unchanged.

    The rack is alone and on one phase: this rig simulates neither the other rack of a pair nor three phases.
    """
    base = load_params(config or BOARD_CONFIGS / "sodium_rack.toml")
    from rack.definitions.params import SCALARS, TABLES

    values = {row[0]: getattr(base, row[0]) for row in (*SCALARS, *TABLES)}
    for key, value in () if config else preset(name).items():
        flat = array("i", [n for entry in value for n in entry]) if isinstance(value, list) else int(value)
        values[f"response_{key}"] = flat
    values["grid_nominal_mHz"] = round(nominal_hz * 1000)
    values["pair_role"] = 0
    values["grid_phases"] = 1
    return SimpleNamespace(**values)


def parameters_of(service: Service) -> Any:
    """The parameters with which a service is judged: of its preset, or of its config."""
    return parameters(service.name, service.nominal_hz, service.config)


def memory_s(params: Any) -> float:
    """Longest time in s for which the service may still respond to a past frequency."""
    ramps = 1000 / params.response_up_permille_ps + 1000 / params.response_down_permille_ps
    step = (params.response_step_hold_ms / 1000 + 1000 / params.response_step_release_permille_ps) * (
        params.response_step_permille > 0
    )
    return float((params.response_delay_ms + params.grid_window_ms + 80) / 1000 + ramps + step)


def run(params: Any, grid: Grid, seconds: float, soc_cpct: int = 5_000, step_s: float = STEP_S) -> Track:
    """Run the firmware's response on a grid, with a scan and a sample each step_s.

    seconds: duration. soc_cpct: state of charge in 0.01 %. step_s: 0.01 to 0.1.
    """
    from rack.base.clock import TICKS_MASK
    from rack.control.response.response import PERIOD_TICK_NS, Response
    from rack.definitions.codes import MAINS_SILENT_ms
    from rack.generated import ids as I
    from rack.generated import response_state as K

    s = array("i", [0] * I.COUNT)
    s[I.SOC_cpct] = soc_cpct
    response = Response(params, s)
    contract = float(params.rack_power_max_W)
    response.set_limits(params.rack_power_max_W, params.rack_power_max_W, 1)
    samples = round(seconds / step_s)
    track = np.zeros((4, samples))
    pcs = _PcsLag()
    edge = grid.next_edge_us(0.0)
    before = None
    for i in range(samples):
        now_us = i * step_s * 1e6
        while edge is not None and edge <= now_us:
            if before is not None:
                response.on_period(round((edge - before) * 1000 / PERIOD_TICK_NS))
                pcs.ask(edge + CAN_DELAY_US, response.request_W)
            before, edge = edge, grid.next_edge_us(edge)
        response.scan(round(now_us / 1000) & TICKS_MASK)
        if response.state[K.AGE_ms] > MAINS_SILENT_ms:
            pcs.ask(now_us + CAN_DELAY_US, response.request_W)
        pcs.at(now_us)
        track[:, i] = now_us * 1e-6, grid.hz_at(now_us), response.request_W / contract, pcs.power_W / contract
    return Track(*track)


class _PcsLag:
    """First-order lag of the PCS, exact between requests. Requests may arrive after the present time."""

    def __init__(self) -> None:
        self.power_W = 0.0
        self._target_W = 0.0
        self._now_us = 0.0
        self._coming: list[tuple[float, float]] = []

    def ask(self, at_us: float, power_W: float) -> None:
        self._coming.append((at_us, power_W))

    def at(self, us: float) -> None:
        while self._coming and self._coming[0][0] <= us:
            at_us, power_W = self._coming.pop(0)
            self._relax(at_us)
            self._target_W = power_W
        self._relax(us)

    def _relax(self, us: float) -> None:
        if us > self._now_us:
            self.power_W += (self._target_W - self.power_W) * (1 - math.exp((self._now_us - us) / 1000 / PCS_LAG_MS))
            self._now_us = us
