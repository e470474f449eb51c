"""The power conversion system: it follows power requests with lag and ramp, and stops when they stop."""

import math
from dataclasses import dataclass

from halite.common import jit
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


@jit.part
def state_of(failed: bool, permitted: bool, is_silent: bool, bus_V: float) -> int:
    """State PCS_* of a PCS. is_silent: the last request is older than the timeout."""
    if failed:
        return PCS_FAULT
    if bus_V < _MIN_BUS_V:
        return PCS_OFF
    if is_silent:
        return PCS_TIMEOUT
    return PCS_RUN if permitted else PCS_STANDBY


@jit.part
def moved_W(power_W: float, target_W: float, share: float, cap_W: float) -> float:
    """Power after one step towards the target. share: 0..1 of the way. cap_W: the most that it moves."""
    move = (target_W - power_W) * share
    if move > cap_W:
        move = cap_W
    elif move < -cap_W:
        move = -cap_W
    return power_W + move


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

    def share(self, dt_s: float) -> float:
        """Part of the way to the target that the power moves in dt_s, 0..1."""
        return 1 - math.exp(-dt_s * 1000 / self.lag_ms) if self.lag_ms else 1.0

    def cap_W(self, dt_s: float) -> float:
        """The most that the power moves in dt_s; inf without a limit of the ramp."""
        return self.ramp_W_per_s * dt_s if self.ramp_W_per_s else math.inf

    @property
    def silent_from_us(self) -> float:
        """The PCS times out after this time, in µs, unless a request comes."""
        return self.last_request_us + self.timeout_ms * 1000

    def step_disconnected(self, now_us: float, bus_V: float) -> None:
        """One step without both main contacts: the power is 0."""
        self.state = state_of(self.failed, self.permitted, now_us > self.silent_from_us, bus_V)
        self.power_W = 0.0
