"""The firmware's frequency response without a rack: any parameters, exact periods of any frequency.

Tests and the generators of documents use it under CPython.
"""

from array import array
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from halite.common.paths import use_firmware

use_firmware()

from rack.base.clock import TICKS_MASK  # noqa: E402 - only after use_firmware
from rack.control.response.response import PERIOD_TICK_NS, Response  # noqa: E402
from rack.definitions.params import SCALARS  # noqa: E402
from rack.generated import ids as I  # noqa: E402
from rack.generated import response_state as K  # noqa: E402

DC_LOW = [-500, 1000, -200, 50, -15, 0, 15, 0, 200, -50, 500, -1000]
STRAIGHT = [-500, 1000, -20, 0, 20, 0, 500, -1000]

USUAL = {
    "rack_power_max_W": 200_000,
    "rack_scan_ms": 10,
    "grid_nominal_mHz": 50_000,
    "grid_phases": 1,
    "grid_window_ms": 200,
    "grid_jump_mHz": 150,
    "grid_rocof_ms": 500,
    "grid_plausible_mHz": 5_000,
    "response_enabled": 1,
    "response_delay_ms": 0,
    "response_up_permille_ps": 100_000,
    "response_down_permille_ps": 100_000,
    "response_hold_ms": 200,
    "response_release_permille_ps": 2_000,
    "response_rest_mHz": 15,
    "response_step_below_mHz": 300,
    "response_step_hold_ms": 5_000,
    "response_step_release_permille_ps": 200,
    "response_step_rearm_mHz": 100,
    "response_step_rearm_ms": 10_000,
    "response_recovery_target_cpct": 5_000,
    "response_recovery_band_cpct": 500,
    "response_setpoint_permille_ps": 100,
    "pair_power_W": 200_000,
    "pair_tau_ms": 20_000,
    "pair_share_permille": 1_000,
    "pair_bias_W": 10_000,
}


def parameters(curve: Sequence[int] = STRAIGHT, **changes: Any) -> SimpleNamespace:
    """Return the parameters that the response needs. All other parameters have their minimum, but at least 0."""
    values = {name: max(0, minimum) for name, minimum, _ in SCALARS}
    values.update(USUAL)
    values.update(changes)
    return SimpleNamespace(**values, response_curve=array("i", curve))


def freq_mHz(response: Response) -> int:
    """Return the frequency that `publish` would write at this moment, also between two scans."""
    k: Sequence[int] = response.state
    return k[K.FACTOR] * 10_000 + (k[K.DEVIATION] + 5) // 10


def rocof_mHzps(response: Response) -> int:
    """Return the rate of change of the frequency, mHz/s."""
    k: Sequence[int] = response.state
    return k[K.SLOPE] * k[K.SLOPE_MUL] // k[K.SLOPE_DIV]


class Rig:
    """Calls the response as the board does: a period at each mains edge, a scan each rack_scan_ms.

    edge_us: time of the newest edge; next_scan_us: time of the next scan.
    """

    def __init__(
        self, params: Any = None, charge_W: int = 200_000, discharge_W: int = 200_000, **changes: Any
    ) -> None:
        self.params = params or parameters(**changes)
        self.s = array("i", [0] * I.COUNT)
        self.s[I.SOC_cpct] = 5_000
        self.response = Response(self.params, self.s)
        self.response.set_limits(charge_W, discharge_W, 1)
        self.now_us = 0.0
        self.next_scan_us = 0
        self.edge_us = 0.0

    def scans_until(self, us: float) -> None:
        """Run every scan that is due up to this time."""
        while self.next_scan_us <= us:
            self.response.scan(self.next_scan_us // 1000 & TICKS_MASK)
            self.next_scan_us += self.params.rack_scan_ms * 1000

    def period(self, Hz: float) -> int:
        """Deliver one mains period at a frequency; return the request."""
        count = round(1e9 / PERIOD_TICK_NS / Hz)
        self.edge_us += count * PERIOD_TICK_NS / 1000
        self.scans_until(self.edge_us)
        self.now_us = self.edge_us
        return int(self.response.on_period(count))

    def periods(self, Hz: float, number: int) -> list[int]:
        """Deliver several periods at a frequency; return their requests."""
        return [self.period(Hz) for _ in range(number)]

    def silence(self, ms: float) -> None:
        """Run the scans of this time without mains edges."""
        self.edge_us += ms * 1000
        self.scans_until(self.edge_us)
