"""Lies on a rack in random operation, judged by the truth of the simulated rack.

A danger is a condition of the rack itself, whatever the controller reads: a cell outside its limits, or a protection
that is blind. Its allowed time comes from the rows of the config: the alarm that watches the condition, or the
cross-check that finds the lie in front of that alarm.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from halite.config import load_params
from halite.config.rows import alarm_keys, levels_at
from halite.plant.faults import FAULTS
from rack.definitions.codes import CMD_CLOSE, CMD_OPEN, CMD_RESET, COIL_NEG, COIL_POS
from rack.generated import alarm_levels as L
from rack.generated import ids as I

from support.lying_rack import LyingRack

__all__ = ["FAULTS", "KEYS", "LIES", "Lie", "Story", "told"]

KEYS = alarm_keys()
_LOOK_ms = 50
# From a cause to the open contact beyond the debounce: AFE period and judging, scans, a collection, contact, look.
_REACTION_ms = 600
_CLOSED = COIL_NEG | COIL_POS
# Dangers of the cells themselves. The others are a protection that is blind, which a second lie may hide.
OF_CELLS = ("cell_high_trip", "cell_low_trip", "hot_trip", "charge_current_trip", "discharge_current_trip",
            "charge_cold_trip")  # fmt: skip
# The dangers that the controller sees by the current: a lie about it hides these, and no other one.
BY_CURRENT = ("charge_current_trip", "discharge_current_trip", "charge_cold_trip", "power_trip")
_MARGIN = 1.5  # of a tolerance: the truth of the plant and the readings differ by less without a lie
_SETTLED_ms = 600  # requests of this time count for the delivery of the PCS


@dataclass(frozen=True)
class Lie:
    """A fault of the plant with its possible values. where: the number of places, 0 for the whole rack.

    found_by: the alarm that finds the lie, when the lie hides a danger from the alarm that watches it.
    """

    name: str
    values: tuple[float | None, ...] = (None,)
    where: str = ""
    found_by: str = ""


_FACTORS = (0.0, 0.5, 0.8, 1.2, 2.0)

# Every input that may lie, in each way.
LIES = (
    Lie("current_gain", _FACTORS, found_by="power_trip"),
    Lie("current_offset", (-100.0, -20.0, 20.0, 100.0), found_by="power_trip"),
    Lie("current_sign", found_by="power_trip"),
    Lie("current_stuck", (-100.0, 0.0, 100.0), found_by="power_trip"),
    Lie("current_frozen", found_by="power_trip"),
    Lie("current_delayed", (0.5, 5.0), found_by="power_trip"),
    Lie("current_lost"),
    Lie("rack_voltage_gain", (0.0, 0.9, 1.1)), Lie("rack_voltage_offset", (-100.0, 100.0)),
    Lie("rack_voltage_stuck", (0.0, 1300.0)), Lie("rack_voltage_frozen"),
    Lie("bus_voltage_gain", (0.0, 0.9, 1.1, 3.0)), Lie("bus_voltage_stuck", (0.0, 1300.0)), Lie("bus_voltage_frozen"),
    Lie("bus_voltage_offset", (-100.0, 100.0)), Lie("bus_voltage_delayed", (0.5,)),
    Lie("pcs_power_gain", _FACTORS), Lie("pcs_power_sign"), Lie("pcs_power_stuck", (-1e5, 0.0, 1e5)),
    Lie("pcs_power_frozen"), Lie("pcs_power_delayed", (1.0,)),
    Lie("pcs_echo_frozen"), Lie("pcs_echo_stuck", (3.0,)), Lie("pcs_state_stuck", (0.0, 3.0, 5.0)),
    Lie("pcs_counter", (0.0, 1.0, 2.0)), Lie("pcs_forged", (0.0, 1300.0)), Lie("request_forged", (-1e5, 1e5)),
    Lie("pcs_fault_code", (7.0,)), Lie("can_flood", (1.0, 3.0)), Lie("pcs_silent"), Lie("can_cut"),
    Lie("pcs_gain", (-1.0, 0.0, 1.5, 3.3)), Lie("pcs_ignores"), Lie("pcs_delivers", (-186e3, -3e4, 3e4, 186e3)),
    Lie("fuse_blown"), Lie("bus_open"), Lie("stuck_pos"), Lie("aux_pos", (0.0, 1.0)), Lie("aux_neg", (0.0, 1.0)),
    Lie("cell_offset", (-0.3, 0.3), "cell"), Lie("cell_stuck", (2.5, 3.3), "cell"), Lie("cell_frozen", where="cell"),
    Lie("cell_gain", (0.9, 1.1), "cell"), Lie("cell_wire_open", where="cell"),
    Lie("afe_gain", (0.95, 1.05), "device"), Lie("afe_frozen", where="device"), Lie("afe_lost", where="device"),
    Lie("afe_fault", (1.0, 128.0), "device"),
    Lie("ntc_offset", (-20.0, 20.0), "sensor"), Lie("ntc_stuck", (-20.0, 25.0, 90.0), "sensor"),
    Lie("ntc_frozen", where="sensor"), Lie("ntc_drift", (-5.0, 5.0), "sensor"), Lie("ntc_open", where="sensor"),
    Lie("ntc_short", where="sensor"), Lie("ntcs_frozen", where="device"), Lie("ntcs_open", where="device"),
    Lie("coolant_stuck", (-40.0, 100.0)), Lie("gas_stuck", (0.0, 500.0)), Lie("gas_gain", (0.0,)),
    Lie("insulation_frozen"), Lie("insulation_unreported"),
)  # fmt: skip


class Story:
    """A rack with its random operation; `play` returns the dangers that lasted too long, as texts."""

    def __init__(self, config: str, seed: int, lies: int) -> None:
        self._random = random = Random(f"{config} {seed} {lies}")
        start = {
            "soc": random.choice((0.03, 0.3, 0.5, 0.7, 0.97)),
            "start_degC": (degC := random.choice((-8.0, 3.0, 25.0, 42.0))),
            "ambient_degC": degC,
        }
        self.rig = LyingRack(config, seed, start=start)
        self.params = self.rig.host.controller.params
        self._levels = load_params(f"{config}_rack").alarms_levels
        self._requests: deque[int] = deque([0], _SETTLED_ms // _LOOK_ms)
        self.lies = random.sample(LIES, lies)
        self.tale: list[str] = [f"{config} {start}"]
        self._since_ms: dict[str, float] = {}
        self._found: list[str] = []
        self._next_ms = 0.0
        note = self.rig.host.on_scan

        def on_scan(us: float) -> None:
            note(us)
            self._look(us / 1000)

        self.rig.host.on_scan = on_scan

    def _row(self, key: str, column: int) -> int:
        return int(self._levels[levels_at(key) + column])

    # the truth

    def _dangers(self) -> dict[str, bool]:
        """The key of the alarm that watches each danger, and whether the danger is there."""
        rack, row = self.rig.rack, self._row
        volts = rack.cells.voltages(rack.current_A)
        degC = rack.heat.surface_degC
        cold = degC.min() * 10 < row("charge_cold_trip", L.SET) - 20
        self._requests.append(self.rig.s[I.REQUEST_W])
        power_W = rack.pcs.power_W
        beyond_W = max(power_W - max(0, *self._requests), min(0, *self._requests) - power_W)
        misread_W = abs(rack.measured_current_A - rack.current_A) * rack.string_V
        return {
            "cell_high_trip": volts.max() * 1000 > row("cell_high_trip", L.SET) + 5,
            "cell_low_trip": volts.min() * 1000 < row("cell_low_trip", L.SET) - 5,
            "hot_trip": degC.max() * 10 > row("hot_trip", L.SET) + 10,
            "charge_current_trip": rack.current_A * 10 < row("charge_current_trip", L.SET) - 20,
            "discharge_current_trip": rack.current_A * 10 > row("discharge_current_trip", L.SET) + 20,
            "charge_cold_trip": bool(cold and rack.current_A * 10 < -2 * self.params.soc_rest_dA),
            "bus_trip": abs(rack.bus_V - rack.string_V) > rack.string_V * (row("bus_trip", L.SET) + 10) / 1000,
            "delivery_trip": beyond_W > _MARGIN * self._tolerance_W(power_W),
            "power_trip": misread_W > _MARGIN * self._tolerance_W(rack.current_A * rack.string_V),
            "module_blind_trip": "ntcs_open" in rack.faults,
        }

    def _tolerance_W(self, power_W: float) -> float:
        return max(abs(power_W) * self.params.pcs_tolerance_permille / 1000, self.params.pcs_tolerance_W)

    def allowed_ms(self, key: str) -> int:
        """How long a danger may last: the debounce of its alarm, or of the alarm that finds the lie before it."""
        found = 0
        if key in BY_CURRENT:
            found = max((self._row(lie.found_by, L.SET_ms) for lie in self.lies if lie.found_by), default=0)
        return max(self._row(key, L.SET_ms), found) + _REACTION_ms

    def _look(self, ms: float) -> None:
        if ms < self._next_ms:
            return
        self._next_ms = ms + _LOOK_ms
        closed = self.rig.rack.contact_bits(ms * 1000) & _CLOSED == _CLOSED
        for key, there in self._dangers().items():
            if len(self.lies) > 1 and key not in OF_CELLS:
                continue
            if not (there and closed):
                self._since_ms.pop(key, None)
            elif ms - self._since_ms.setdefault(key, ms) > self.allowed_ms(key):
                self._found.append(f"{key}: {ms - self._since_ms[key]:.0f} ms closed, {self.allowed_ms(key)} allowed")
                self._since_ms[key] = float("inf")

    # the operation

    def _places(self, lie: Lie) -> int:
        return {"": 1, "cell": self.params.cell_series, "device": self.params.afe_devices,
                "sensor": self.params.afe_devices * self.params.afe_temps_per_device}[lie.where]  # fmt: skip

    def _act(self) -> Iterator[tuple[str, Any]]:
        rig, random = self.rig, self._random
        yield "full power", lambda: rig.grid(random.choice((49.4, 50.6)))
        yield "part", lambda: rig.grid(random.choice((49.7, 50.0, 50.3)))
        yield "open", lambda: rig.host.controller.command(CMD_OPEN)
        yield "close", lambda: rig.host.controller.command(CMD_CLOSE)
        yield "reset", lambda: (rig.host.controller.command(CMD_RESET), rig.host.controller.command(CMD_CLOSE))
        yield "restart", lambda: (rig.restart(), rig.run(1_500), rig.host.controller.command(CMD_CLOSE))

    def play(self, acts: int = 8) -> list[str]:
        """Close, operate, lie in the middle of the operation, and go on. Returns the dangers that lasted too long."""
        random, rig = self._random, self.rig
        rig.run(1_500)
        rig.host.controller.command(CMD_CLOSE)
        begin = sorted(random.randrange(acts) for _ in self.lies)
        waiting = list(self.lies)
        for turn in range(acts):
            while begin and begin[0] == turn:
                begin.pop(0)
                lie = waiting.pop(0)
                value, at = random.choice(lie.values), random.randrange(self._places(lie))
                rig.lie(lie.name, value, at)
                self.tale.append(f"{rig.ms} ms: {lie.name} {value} at {at}")
                rig.run(random.choice((100, 1_000, 4_000)))
            name, act = random.choices(list(self._act()), (5, 2, 1, 3, 2, 1))[0]
            self.tale.append(f"{rig.ms} ms: {name}")
            act()
            rig.run(random.choice((200, 1_000, 3_000, 8_000)))
        return self._found


def told(story: Story) -> str:
    """The tale and the alarms of a story, for a test that fails."""
    came = ", ".join(f"{key} {ms}" for key, ms in story.rig.came.items())
    return "; ".join(story.tale) + f"; alarms: {came}"
