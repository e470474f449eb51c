"""The demands of each grid service, independent of its preset: the preset is under test and cannot be the reference.

The comments of the presets in board_configs/grid_services name the sources of the numbers and mark engineering
judgement.
"""

from dataclasses import dataclass

import numpy as np

from halite.scenarios.compliance.rules import Array, Curve

Knots = tuple[tuple[int, int], ...]  # deviation in mHz, power in permille, at low frequency; the other side mirrors it

RECOVERY_PU = 0.05  # power of the energy recovery in every preset with recovery: engineering judgement


@dataclass(frozen=True)
class Service:
    """A preset and the bars of its service. Times are in s; None where the service makes no demand.

    * step_mHz: deviation of the test step.
    * full: latest time to `share` of the power that the curve or the step demands.
    * curve: empty for a step service, which has trigger_mHz instead.
    * earliest, first: bounds of the first movement.
    * settled: latest time from which the power stays within 1 %.
    * gb: True if the GB envelope applies.
    * jittered: its largest error in pu with 5 us rms edge jitter.
    * sustain: time until which the power stays full.
    * ramp_full: latest time to full power after a ramp has passed step_mHz.
    * ramps: test ramps in Hz/s.
    * energy: smallest share of the energy of an ideal response, in the trace of 2019.
    * release: steepest return to zero in pu/s.
    * lasts: duration of full power that the contract sells.
    * ready: time after which a second dip gets the full response.
    * rest: time at rest before energy recovery, None without recovery.
    * rest_mHz: deviation that still counts as rest.
    * config: path of a rack's config that is judged instead of the preset.
    """

    name: str
    step_mHz: int
    full: float
    curve: Knots = ()
    share: float = 0.99
    earliest: float = 0.0
    first: float | None = None
    settled: float | None = None
    gb: bool = False
    jittered: float = 0.0
    nominal_hz: float = 50.0
    sustain: float | None = None
    ramp_full: float | None = None
    ramps: tuple[float, ...] = (-1.0, 1.0)
    energy: float = 0.90
    trigger_mHz: int | None = None
    release: float | None = None
    lasts: float | None = None
    ready: float | None = None
    rest: float | None = 60.0
    rest_mHz: int | None = None
    config: str = ""

    @property
    def quiet_mHz(self) -> int:
        """Deviation in mHz at which the dead band ends, or at which the trigger lies."""
        return self.curve[0][0] if self.trigger_mHz is None else self.trigger_mHz

    def asks(self) -> Curve:
        """The demanded curve for both directions; zero for a step service."""
        knots = self.curve or ((500, 0),)
        high = [[mHz, -permille] for mHz, permille in knots]
        low = [[-mHz, permille] for mHz, permille in reversed(knots) if mHz]
        return Curve.of([*low, *high], self.nominal_hz)

    def wanted(self, f_hz: Array) -> Array:
        """Demanded power in pu in steady state; a step service demands it while the frequency is below its trigger."""
        if self.trigger_mHz is not None:
            return np.where((self.nominal_hz - f_hz) * 1000 >= self.trigger_mHz, 1.0, 0.0)
        return self.asks().at(f_hz)


_STRAIGHT = ((20, 0), (500, 1000))

# fmt: off
CATALOGUE = (
    Service("sodium_fast",    500, 0.15, _STRAIGHT, share=0.9, first=0.06, lasts=900),
    Service("lithium_steady", 500, 1.3, _STRAIGHT, lasts=900),
    Service("gb_dc",          500, 1.0, ((15, 0), (200, 50), (500, 1000)), earliest=0.2, first=0.5, gb=True, lasts=900,
            jittered=0.005),
    Service("gb_dm",          200, 1.0, ((15, 0), (100, 50), (200, 1000)), earliest=0.2, first=0.5, gb=True, lasts=1800,
            jittered=0.03),
    Service("gb_dr",          200, 10.0, ((15, 0), (200, 1000)), first=2.0, lasts=3600),
    Service("nordic_ffr_a",   305, 1.3, trigger_mHz=300, sustain=6.3, release=0.2, ready=900, rest=15, rest_mHz=100),
    Service("nordic_ffr_b",   405, 1.0, trigger_mHz=400, sustain=6.0, release=0.2, ready=900, rest=15, rest_mHz=100),
    Service("nordic_ffr_c",   505, 0.7, trigger_mHz=500, sustain=5.7, release=0.2, ready=900, rest=15, rest_mHz=100),
    Service("nordic_fcr_n",   100, 30.0, ((0, 0), (100, 1000)), rest=None),
    Service("nordic_fcr_d",   500, 7.5, ((100, 0), (500, 1000)), share=0.86, settled=30.0, lasts=900),
    Service("eirgrid_ffr",    500, 2.0, ((200, 0), (500, 1000)), sustain=10.0),
    Service("aemo_very_fast", 500, 1.0, ((150, 0), (500, 1000)), ramp_full=1.0, ramps=(-1.0, 1.0, -2.0, 2.0)),
    Service("csg_primary",    533, 3.0, ((33, 0), (533, 1000)), share=0.9, first=1.0, settled=4.0, energy=0.70),
    Service("ieee1547",       500, 5.0, ((36, 0), (3036, 1000)), share=0.9, nominal_hz=60.0),
)
# fmt: on
BY_NAME = {service.name: service for service in CATALOGUE}
