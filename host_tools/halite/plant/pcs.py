"""The power conversion system: it follows power requests with lag and ramp, and stops when they stop."""

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
    """First-order lag with an optional limit of the ramp. Power in W; positive discharges the rack.

    ramp_W_per_s: 0 for no limit. state: PCS_* of rack.definitions.pcs_codes. accepted: number of accepted requests.
    Faults: silent, failed; gain: share of a request that it delivers; `force` makes it ignore requests.
    """

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
    gain: float = 1.0
    accepted: int = 0
    _forced: bool = False
    _asked_W: float = 0.0

    def force(self, power_W: float | None) -> None:
        """Deliver power_W without requests, or at None follow requests again; the last one counts until the next."""
        if power_W is None:
            if self._forced:
                self._forced, self.target_W, self.last_request_us = False, 0.0, -math.inf
            return
        self._forced, self.target_W, self.permitted, self.last_request_us = True, power_W, True, math.inf

    def set_gain(self, gain: float) -> None:
        """Deliver `gain` times the request, from now on."""
        self.gain = gain
        if not self._forced:
            self.target_W = self.gain * self._asked_W

    def request(self, power_W: float, permitted: bool, at_us: float) -> None:
        """Accept a valid request frame. permitted: the rack allows the PCS to run."""
        self.accepted += 1
        self._asked_W = max(-self.power_max_W, min(self.power_max_W, power_W))
        if self._forced:
            return
        self.target_W = self.gain * self._asked_W
        self.permitted = permitted
        self.last_request_us = at_us

    def step(self, now_us: float, dt_s: float, connected: bool, bus_V: float) -> float:
        """Advance by dt_s and return the power in W that the PCS draws from the DC bus.

        connected: both main contactors are closed; without them the power is 0.
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
