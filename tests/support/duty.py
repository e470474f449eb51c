"""Random duty of a healthy rack: steps, ramps and jitter of the grid, setpoints, loss of mains, opening and closing."""

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
        rig.run(9000)   # the DC link discharges, so that the noise of its meter does not look like a weld
        rig.host.controller.command(CMD_CLOSE)
