"""What each service demands, written down a second time: the judge must not ask the preset what is right.

Sources of the numbers, and which are engineering judgement: the comments of the presets in board_configs/grid_services.
"""

from dataclasses import dataclass

import numpy as np

from halite.scenarios.compliance.rules import Array, Curve

Knots = tuple[tuple[int, int], ...]  # deviation mHz, permille; low frequency, high frequency is its mirror

RECOVERY_PU = 0.05  # energy recovery of every preset that has one: engineering judgement


@dataclass(frozen=True)
class Service:
    """A preset with the bars of its service; times in s, None where the service says nothing.

    curve: empty for a step service, which has trigger_mHz instead; step_mHz: the test step.
    earliest, first, full: first movement not before and not after, latest `share` of what curve or step ask.
    settled: latest time to stay within 1 %; sustain: full until then; lasts: full energy until then, no longer.
    ready: a second event so long after the first is answered; rest: recovery after so long, None: never.
    gb: judged by the GB envelope; jittered: its error with 5 us rms edge jitter, pu; ramps: Hz/s.
    config: of a rack that is judged in place of the preset.
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
        """Where the dead band ends, or the trigger is."""
        return self.curve[0][0] if self.trigger_mHz is None else self.trigger_mHz

    def asks(self) -> Curve:
        """The curve on both sides; zero for a step service."""
        knots = self.curve or ((500, 0),)
        high = [[mHz, -permille] for mHz, permille in knots]
        low = [[-mHz, permille] for mHz, permille in reversed(knots) if mHz]
        return Curve.of([*low, *high], self.nominal_hz)

    def wanted(self, f_hz: Array) -> Array:
        """What the service owes in steady state, pu; of a step service: while the frequency is below its trigger."""
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
