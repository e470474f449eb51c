"""The power conversion system: follows a power request with lag and ramp, and stops when it stops coming."""

import math
from dataclasses import dataclass

from halite.common.paths import use_firmware

use_firmware()

from rack.definitions.pcs_codes import (  # noqa: E402 - only after use_firmware
    PCS_FAULT,
    PCS_OFF,
    PCS_RUN,
    PCS_STANDBY,
    PCS_TIMEOUT,
)

_MIN_BUS_V = 5.0


@dataclass
class Pcs:
    """First-order lag with an optional ramp cap. Power in W, positive discharges the rack."""

    lag_ms: float
    ramp_W_per_s: float
    timeout_ms: int
    power_max_W: float
    power_W: float = 0.0
    target_W: float = 0.0
    permitted: bool = False
    state: int = PCS_OFF
    last_request_us: float = -math.inf
    silent: bool = False
    failed: bool = False

    def request(self, power_W: float, permitted: bool, at_us: float) -> None:
        """A valid request frame has arrived."""
        self.target_W = max(-self.power_max_W, min(self.power_max_W, power_W))
        self.permitted = permitted
        self.last_request_us = at_us

    def step(self, now_us: float, dt_s: float, connected: bool, bus_V: float) -> float:
        """Advance by dt_s and return the power drawn from the DC bus.

        connected: main contactors closed on both poles; without them there is nothing to convert.
        """
        self.state = self._next_state(now_us, bus_V)
        target = self.target_W if self.state == PCS_RUN and connected else 0.0
        if not connected:
            self.power_W = 0.0
            return 0.0
        move = (target - self.power_W) * (1 - math.exp(-dt_s * 1000 / self.lag_ms) if self.lag_ms else 1.0)
        if self.ramp_W_per_s:
            cap = self.ramp_W_per_s * dt_s
            move = max(-cap, min(cap, move))
        self.power_W += move
        return self.power_W

    def _next_state(self, now_us: float, bus_V: float) -> int:
        if self.failed:
            return PCS_FAULT
        if bus_V < _MIN_BUS_V:
            return PCS_OFF
        if now_us - self.last_request_us > self.timeout_ms * 1000:
            return PCS_TIMEOUT
        return PCS_RUN if self.permitted else PCS_STANDBY
