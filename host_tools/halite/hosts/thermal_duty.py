"""Hours of a rack's temperatures under normal duty, for the judgement of slow thermal runaway and of its sensors.

A rack takes 100 inner steps for each 0.1 s, which is too slow for days. This drives cells, heat, failures and lies of a
simulated rack directly, at a given current, and gives each temperature scan to the controller's own judgement:
temperatures, runaway and cooling. The contactors and the PCS take no part.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from halite.common.paths import use_firmware
from halite.config import load_params
from halite.hosts.cpython import quantised_temps
from halite.plant.heat import Cooling
from halite.plant.rack import Rack

use_firmware()

from rack.control.controller import Controller  # noqa: E402 - only after use_firmware
from rack.definitions.codes import IN_COOLANT_FLOW, RUN_SLOW  # noqa: E402
from rack.generated import ids as I  # noqa: E402

HOT_degC = 52.0  # the duty pauses above this surface temperature, as the limits do

Power = Callable[[float, "ThermalDuty"], float]  # share of rated power, -1 (charge) to 1, at a time in s


@dataclass
class Unequal:
    """Difference between the positions of a built rack, rms; all of it is engineering judgement.

    heat: factor of the losses, by resistance and contacts. offset_K: of the sensors. noise_K: of one reading.
    """

    heat: float = 0.10
    offset_K: float = 0.7
    noise_K: float = 0.05


class ThermalDuty:
    """One rack of a shipped config. config: its name without `_rack`. seed: of the cells, positions and noise.

    step_s: time between two temperature scans, 0.1 to 2 s; the controller takes them as its own period.
    """

    def __init__(
        self, config: str, seed: int = 1, step_s: float = 1.0, soc: float = 0.5, start_degC: float = 25.0,
        ambient_degC: float = 25.0, unequal: Unequal | None = None, cell: str | None = None,
    ) -> None:  # fmt: skip
        self.params = load_params(f"{config}_rack")
        self.rack = Rack.from_params(
            self.params, seed, soc=soc, start_degC=start_degC, ambient_degC=ambient_degC, cell=cell
        )
        self.controller = Controller(self.params)
        self.s = self.controller.s
        self.step_s = step_s
        self.seconds = 0.0
        self.current_A = 0.0
        self.setpoint_W = 0
        self.is_cooled = True  # False: the coolant stands while the pump runs
        self._rng = np.random.default_rng((seed, 2))
        unequal = unequal or Unequal()
        count = self.rack.plant.sensors
        self._factor = np.clip(1 + unequal.heat * self._rng.normal(0.0, 1.0, count), 0.5, 1.5)
        self._offset_K = unequal.offset_K * self._rng.normal(0.0, 1.0, count)
        self._noise_K = unequal.noise_K

    def step(self, share: float) -> None:
        """Advance by one temperature scan at a share of rated power, -1 (charge) to 1."""
        rack, plant, dt_s = self.rack, self.rack.plant, self.step_s
        self.current_A = share * plant.power_max_W / rack.cells.emf_V
        heat_W = rack.cells.step_charge(self.current_A, dt_s, rack.heat.core_degC)
        rack.heat.warm("electrical", heat_W * self._factor)
        rack.failures.step(rack.faults, dt_s)
        s = self.s
        flows = self.is_cooled and s[I.PUMP_pct] >= 10
        rack.heat.step(dt_s, Cooling(s[I.PUMP_pct], s[I.FAN_pct], bool(s[I.HEATER]), flows))
        self.seconds += dt_s
        self._judge(flows)

    def _judge(self, flows: bool) -> None:
        s, controller, ms = self.s, self.controller, round(self.step_s * 1000)
        s[I.CURRENT_dA] = round(self.current_A * 10)
        s[I.COOLANT_ddegC] = round(self.rack.measured_coolant_degC * 10)
        s[I.GAS_mV] = round(self.rack.gas_mV)
        s[I.SETPOINT_W] = self.setpoint_W
        s[I.IN_bits] = IN_COOLANT_FLOW if flows else 0
        s[I.CELL_DROP_AT] = -1
        controller.temps_ddegC[:] = self._read()
        controller.temperatures.judge(ms)
        controller.temperatures.compare()
        controller.runaway.judge_slow(ms)
        controller.runaway.judge_fast(ms)
        controller.cooling.slot(ms)

    def _read(self) -> "array[int]":
        """One scan of all sensors in 0.1 °C, with the offsets and the noise of the parts."""
        surface = self.rack.heat.surface_degC
        true = surface.copy()
        surface += self._offset_K + self._noise_K * self._rng.normal(0.0, 1.0, len(surface))
        read = quantised_temps(self.rack)
        surface[:] = true
        return read

    @property
    def hottest_degC(self) -> float:
        """Highest surface temperature."""
        return float(self.rack.heat.surface_degC.max())

    @property
    def soc(self) -> float:
        """Mean state of charge, 0..1."""
        return self.rack.cells.rest_soc()


@dataclass
class Regime:
    """One part of a day. hours: its length. share: of rated power over time; see Power.

    ambient_degC: the air, or None for as before. stops_s: the coolant stands and flows in turns of this length.
    """

    name: str
    hours: float
    share: Power
    ambient_degC: float | None = None
    stops_s: float = 0.0


def fast_charge(seconds: float, duty: ThermalDuty) -> float:
    """Full charge to 95 %, then full discharge to 10 %, in turns."""
    if duty.soc > 0.95:
        duty.setpoint_W = 1
    elif duty.soc < 0.10:
        duty.setpoint_W = -1
    return 1.0 if duty.setpoint_W > 0 else -1.0


@dataclass
class Regulation:
    """Frequency regulation: a random walk of power that returns to zero, around half charge. seed: of the walk."""

    seed: int
    _walk: float = 0.0
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng((self.seed, 3))

    def __call__(self, seconds: float, duty: ThermalDuty) -> float:
        """Share of rated power."""
        self._walk += 0.03 * float(self._rng.normal()) - 0.002 * self._walk
        self._walk = min(1.0, max(-1.0, self._walk))
        return min(1.0, max(-1.0, self._walk + 2.0 * (duty.soc - 0.5)))


def rest(seconds: float, duty: ThermalDuty) -> float:
    """No current."""
    return 0.0


def pulses(seconds: float, duty: ThermalDuty) -> float:
    """Full discharge and full charge in turns of ten minutes."""
    return 1.0 if int(seconds / 600) % 2 == 0 else -1.0


def day(seed: int) -> tuple[Regime, ...]:
    """Every regime of a day, in 24 hours."""
    return (
        Regime("cold start", 4.0, fast_charge, -15.0),
        Regime("warming up", 2.0, Regulation(seed), 10.0),
        Regime("fast charge", 5.0, fast_charge, 25.0),
        Regime("hot afternoon", 4.0, fast_charge, 42.0),
        Regime("cooling switches", 3.0, pulses, 30.0, 300.0),
        Regime("regulation", 4.0, Regulation(seed + 100), 20.0),
        Regime("night", 2.0, rest, 5.0),
    )


def run(duty: ThermalDuty, regimes: tuple[Regime, ...]) -> Iterator[tuple[Regime, ThermalDuty]]:
    """Play the regimes; yields after each temperature scan."""
    paused = False
    for regime in regimes:
        until_s = duty.seconds + regime.hours * 3600
        if regime.ambient_degC is not None:
            duty.rack.heat.ambient_degC = regime.ambient_degC
        while duty.seconds < until_s:
            duty.is_cooled = not regime.stops_s or int(duty.seconds / regime.stops_s) % 2 == 0
            paused = duty.hottest_degC > HOT_degC - (4.0 if paused else 0.0)
            share = regime.share(duty.seconds, duty)
            full = (share > 0 and duty.soc < 0.03) or (share < 0 and duty.soc > 0.97)
            duty.step(0.0 if paused or full else share)
            yield regime, duty
    duty.is_cooled = True


@dataclass(frozen=True)
class Found:
    """Time from the begin of a self-heating until the controller calls it a runaway, and the rise of its sensor."""

    seconds: float
    rise_K: float


def find_self_heating(
    duty: ThermalDuty, sensor: int, K_per_min: float, share: Power = rest, max_s: float = 3600.0
) -> Found | None:
    """Start a self-heating at a sensor and play until the controller finds it there. None when it does not.

    K_per_min: without cooling. share: power during it; see Power.
    """
    surface_degC = duty.rack.heat.surface_degC
    begin_s, begin_degC = duty.seconds, float(surface_degC[sensor])
    duty.rack.faults.start("self_heat", sensor, K_per_min)
    while duty.seconds < begin_s + max_s:
        duty.step(share(duty.seconds, duty))
        if duty.s[I.RUNAWAY] >= RUN_SLOW and duty.s[I.RUNAWAY_AT] == sensor:
            return Found(duty.seconds - begin_s, float(duty.rack.heat.surface_degC[sensor]) - begin_degC)
    return None
