"""Duty of a healthy rack: random events of the grid and of people, and the regimes of a day."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from rack.definitions.codes import CMD_CLOSE, CMD_OPEN
from rack.generated import ids as I

from support.lying_rack import LyingRack


def run_duty(rig: LyingRack, seconds: int, seed: int) -> None:
    """Run a closed rack for this time; every few seconds one random event. Full power in both directions is common."""
    random = Random(seed)
    end = rig.ms + seconds * 1000
    power = rig.host.controller.params.rack_power_max_W
    while rig.ms < end:
        _event(rig, random, power)
        rig.run(random.choice((20, 60, 110, 500, 1500, 4000, 12_000)))


def _event(rig: LyingRack, random: Random, power: int) -> None:
    us = rig.ms * 1000.0
    kind = random.choice(("step", "step", "ramp", "sine", "quick", "setpoint", "mains", "open"))
    if kind == "step":
        rig.grid(random.choice((49.5, 49.8, 49.95, 50.0, 50.05, 50.2, 50.5)))
    elif kind == "ramp":
        rig.rack.grid.ramp(random.choice((49.4, 50.0, 50.6)), random.choice((0.1, 0.5, 1.0)), us)
    elif kind == "sine":
        rig.rack.grid.sine(random.uniform(0.02, 0.3), random.choice((0.1, 0.5, 2.0)), us, us + 20e6)
    elif kind == "quick":
        for _ in range(10):
            rig.grid(random.choice((49.5, 50.5))).run(random.choice((100, 200, 300)))
    elif kind == "setpoint":
        rig.s[I.SETPOINT_W] = random.randint(-power, power)
    elif kind == "mains":
        rig.rack.grid.lose(us)
        rig.run(random.choice((200, 1000)))
        rig.rack.grid.restore(rig.ms * 1000.0)
    elif random.random() < 0.3:
        rig.host.controller.command(CMD_OPEN)
        rig.run(9000)  # the DC link discharges, so that the noise of its meter does not look like a weld
        rig.host.controller.command(CMD_CLOSE)


@dataclass(frozen=True)
class Regime:
    """One regime of a day for the whole rack. soc, start_degC, ambient_degC: at its start.

    frequency: moves the mains, once in turn_s; stops_s: the coolant stands and flows in turns of this length, 0 for
    always. justified: alarms that the regime itself causes.
    """

    name: str
    soc: float
    start_degC: float
    ambient_degC: float
    frequency: Callable[[LyingRack, Random], None]
    turn_s: int = 20
    stops_s: int = 0
    justified: tuple[str, ...] = ()


FULL_Hz = 0.5       # full power of the shipped services at this distance from 50 Hz


def _full_turns(rig: LyingRack, random: Random) -> None:
    """Full charge up to 90 %, then full discharge down to 10 %; an EMS turns there: engineering judgement."""
    soc, current_A = rig.rack.cells.rest_soc(), rig.rack.current_A
    charging = soc < 0.10 or (soc < 0.90 and current_A <= 0)
    rig.grid(50.0 + FULL_Hz if charging else 50.0 - FULL_Hz)


def _regulation(rig: LyingRack, random: Random) -> None:
    """The grid wanders around 50 Hz, with an event now and then."""
    if random.random() < 0.1:
        rig.grid(random.choice((49.5, 49.7, 50.3)))
    else:
        rig.rack.grid.ramp(50.0 + random.gauss(0.0, 0.08), random.choice((0.02, 0.1)), rig.ms * 1000.0)


def _pulses(rig: LyingRack, random: Random) -> None:
    """Full discharge, rest or full charge, for some seconds each."""
    soc = rig.rack.cells.rest_soc()
    rig.grid(random.choice((50.0 - FULL_Hz if soc > 0.15 else 50.0, 50.0, 50.0 + FULL_Hz if soc < 0.85 else 50.0)))


def _rest(rig: LyingRack, random: Random) -> None:
    """No demand."""
    rig.grid(50.0)


REGIMES = (
    Regime("fast charge", 0.30, 25.0, 25.0, _full_turns, turn_s=60),
    Regime("regulation", 0.50, 22.0, 20.0, _regulation, turn_s=4),
    Regime("cold start", 0.50, -3.0, -8.0, _regulation, turn_s=4, justified=("charge_cold_derate",)),
    Regime("hot afternoon", 0.60, 36.0, 42.0, _full_turns, turn_s=60),
    Regime("cooling on and off", 0.50, 30.0, 30.0, _pulses, stops_s=120, justified=("flow_derate",)),
    Regime("night", 0.80, 12.0, 5.0, _rest),
)
CHEMISTRIES = ("sodium", "lfp")
# What a healthy rack may say: the time before its first messages, a lost mains, and warnings near its limits.
JUSTIFIED = {"cells_lost", "temps_lost", "grid_lost", "hot_warn", "cold_warn", "core_hot_warn", "charge_cold_warn",
             "cell_high_warn", "cell_low_warn"}  # fmt: skip


@dataclass(frozen=True)
class Hour:
    """What one hour of duty gave. came: first time in ms of each alarm that it does not justify; highest_A: current."""

    name: str
    came: dict[str, int]
    trip: str
    highest_A: float


def hour(number: int, seconds: int = 3600) -> Hour:
    """Play one hour of duty. number: chooses chemistry and regime in turn, and seeds everything that is random."""
    regime, chemistry = REGIMES[number // 2 % len(REGIMES)], CHEMISTRIES[number % 2]
    start = {"soc": regime.soc, "start_degC": regime.start_degC, "ambient_degC": regime.ambient_degC}
    rig = LyingRack(chemistry, number, start=start).close()
    rig.came.clear()
    random = Random(number)
    highest_A, end = 0.0, rig.ms + seconds * 1000
    while rig.ms < end:
        regime.frequency(rig, random)
        if regime.stops_s:
            stands = rig.ms // 1000 // regime.stops_s % 2 == 1
            (rig.lie if stands else rig.truth)("coolant_stopped")
        rig.run(min(regime.turn_s * 1000, end - rig.ms))
        highest_A = max(highest_A, abs(rig.rack.current_A))
    came = {key: ms for key, ms in rig.came.items() if key not in JUSTIFIED and key not in regime.justified}
    return Hour(f"{regime.name}, {chemistry}, seed {number}", came, rig.trip(), highest_A)
