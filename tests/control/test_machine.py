"""The whole controller against random faults, operators, restarts and time jumps."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from rack import ids as I
from rack.alarms import ROWS, TRIP, code_of
from rack.control.alarm_engine import LATCHED
from rack.control.bits import (
    ACT_OPEN,
    ACT_ZERO,
    CMD_CLOSE,
    CMD_OPEN,
    CMD_RESET,
    CMD_UNLOCK,
    IN_ESTOP,
    IN_HVIL,
    IN_OC_OK,
    NO_OPEN,
    NO_SHORT,
    NO_VALUE,
    STATE_CLOSED,
    STATE_LOCKED_OUT,
    STATE_OPENING,
    STATE_PRECHARGE,
)
from rack.control.response import PERIOD_TICK_NS
from rig import HEALTHY, Rig

_PERIOD = 20_000_000 // PERIOD_TICK_NS
_MOVING = (STATE_PRECHARGE, STATE_OPENING)
_MOVES_AT_MOST_ms = 4000        # precharge window, contact times and opening bound of the bench rack together
_TEMPS = (NO_OPEN, NO_SHORT, NO_VALUE, -600, 0, 400, 590, 700, 2000, 32767)
_SURROUNDINGS = (I.GAS_mV, I.INSULATION_KOHM, I.COOLANT_ddegC, I.BOARD_ddegC, I.TASK_LATE_ms, I.CONFIG_BAD)


class Dangers:
    """What must not last: how long each cause of a trip has been there, read from the world and not from the alarms.

    An alarm's time in the config is counted from the first scan that can see the cause; what comes by a cell scan
    is seen one AFE period later.
    """

    #  alarm, what is true of the rig while the cause is there
    CAUSES: tuple[tuple[str, Callable[[Rig, int], bool]], ...] = (
        ("discharge_current_trip", lambda rig, level: rig.s[I.CURRENT_dA] >= level),
        ("charge_current_trip", lambda rig, level: rig.s[I.CURRENT_dA] <= level),
        ("gas_trip", lambda rig, level: rig.s[I.GAS_mV] >= level),
        ("board_trip", lambda rig, level: rig.s[I.BOARD_ddegC] >= level),
        ("insulation_trip", lambda rig, level: rig.s[I.INSULATION_KOHM] <= level),
        ("late_trip", lambda rig, level: rig.s[I.TASK_LATE_ms] >= level),
        ("config_bad", lambda rig, level: rig.s[I.CONFIG_BAD] >= level),
        ("hvil", lambda rig, level: not rig.in_bits & IN_HVIL),
        ("estop", lambda rig, level: not rig.in_bits & IN_ESTOP),
        ("oc_alert", lambda rig, level: not rig.in_bits & IN_OC_OK),
        ("cell_high_trip", lambda rig, level: max(rig.c.cells_mV) >= level),
        ("cell_low_trip", lambda rig, level: min(rig.c.cells_mV) <= level),
    )
    #  alarm whose level is an age: who falls silent
    AGES = (("cells_lost", "cells"), ("temps_lost", "temps"), ("current_lost", "current"), ("pcs_lost", "pcs"))

    def __init__(self, rig: Rig) -> None:
        self.held: dict[str, int] = {}
        self.most = {}
        self.level = {}
        for key, *_ in self.CAUSES + self.AGES:
            at = 4 * (code_of(key) - 1)
            self.level[key], self.most[key] = rig.params.alarms_levels[at], rig.params.alarms_levels[at + 2]
            if key.startswith("cell_"):
                self.most[key] += rig.params.afe_period_ms
        for key, _ in self.AGES:
            self.most[key] += self.level[key]

    def scan(self, rig: Rig, dt: int) -> None:
        """After each scan; dt: its believed ms."""
        for key, there in self.CAUSES:
            known = not (key.startswith("cell_") and "cells" in rig.silent)     # the silence itself is judged below
            self._count(rig, key, known and there(rig, self.level[key]), dt)
        for key, who in self.AGES:
            self._count(rig, key, who in rig.silent, dt)

    def _count(self, rig: Rig, key: str, there: bool, dt: int) -> None:
        if not there:
            self.held.pop(key, None)
            return
        self.held[key] = self.held[key] + dt if key in self.held else 0
        if self.held[key] >= self.most[key]:
            assert rig.s[I.COILS] == 0, f"{key} for {self.held[key]} ms"


class Machine(RuleBasedStateMachine):
    """Rules change the world, `invariant`s are checked after each scan as well as after each rule."""

    @initialize(name=st.sampled_from(["bench"] * 7 + ["sodium"]), start=st.sampled_from([0, 2**30 - 700, 12345]),
                auto=st.sampled_from([0, 1]))  # fmt: skip
    def start(self, name: str, start: int, auto: int) -> None:
        self.changed: dict[str, Any] = {"rack_auto_close": auto, "contactor_settle_ms": 200}
        self.changed["precharge_cooldown_ms"] = 500
        self.name = name
        self.rig = Rig(name, start, **self.changed)
        self.dangers = Dangers(self.rig)
        self.deep_scans = self.tripped_scans = 0
        self.moving_ms = 0
        self.tau_ms = self.rig.params.precharge_tau_ms
        self.tripped_since_reset = False

    # the world

    def _scan(self, dt: int = 10) -> None:
        rig = self.rig
        before = rig.s[I.STATE]
        if rig.ms % 20 == 0:
            rig.c.response.on_period(_PERIOD)
        rig.scan(dt)
        state = rig.s[I.STATE]
        self.deep_scans = self.deep_scans + 1 if rig.c.alarms.active[_DEEP] & LATCHED else 0
        self.moving_ms = self.moving_ms + dt if state in _MOVING and state == before else 0
        self.tripped_scans = self.tripped_scans + 1 if rig.s[I.TRIP_CODE] else 0
        if rig.s[I.TRIP_CODE]:
            self.tripped_since_reset = True
        self._check()
        self.dangers.scan(rig, min(dt, 1000))

    @rule(ms=st.sampled_from([20, 50, 200, 1000]))
    def time_passes(self, ms: int) -> None:
        for _ in range(ms // 10):
            self._scan()

    @rule(dt=st.sampled_from([0, 1, 37, 150, 1000, 5000, 2**29]))
    def time_jumps(self, dt: int) -> None:
        self._scan(dt)

    @rule(what=st.sampled_from([CMD_OPEN, CMD_CLOSE, CMD_CLOSE, CMD_RESET, CMD_RESET, CMD_UNLOCK, 77]))
    def operator(self, what: int) -> None:
        locked = self.rig.s[I.STATE] == STATE_LOCKED_OUT
        accepted = self.rig.c.command(what) == 0
        if what == CMD_RESET and accepted:
            assert not locked
            self.tripped_since_reset = False
        if what == CMD_CLOSE and accepted:
            assert not self.tripped_since_reset or self.rig.s[I.TRIP_CODE] == 0
        self._scan()

    @rule(bit=st.sampled_from([IN_HVIL, IN_ESTOP, IN_OC_OK]))
    def an_input_opens(self, bit: int) -> None:
        self.rig.in_bits &= ~bit
        self._scan()
        assert self.rig.s[I.COILS] == 0

    @rule(who=st.sampled_from(["cells", "temps", "current", "pcs"]))
    def something_falls_silent(self, who: str) -> None:
        self.rig.silent.add(who)

    @rule(cell=st.integers(0, 15), mV=st.sampled_from([0, 1000, 1790, 2490, 3640, 3949, 4100, 6500]))
    def a_cell_leaves_its_window(self, cell: int, mV: int) -> None:
        self.rig.c.cells_mV[cell] = mV

    @rule(at=st.integers(0, 7), value=st.sampled_from(_TEMPS))
    def a_temperature_changes(self, at: int, value: int) -> None:
        self.rig.c.temps_ddegC[at] = value

    @rule(value=st.sampled_from([-32768, -7000, -2000, -250, -10, 0, 9, 230, 2000, 7000, 32767]))
    def the_current_changes(self, value: int) -> None:
        self.rig.s[I.CURRENT_dA] = value

    @rule(signal=st.sampled_from(_SURROUNDINGS), value=st.sampled_from([-400, 0, 1, 900, 3300]))
    def surroundings_change(self, signal: int, value: int) -> None:
        self.rig.s[signal] = value

    @rule(aux=st.booleans(), bus=st.booleans(), tau=st.sampled_from([2, 50, 200, 2000]))
    def contacts_and_bus_misbehave(self, aux: bool, bus: bool, tau: int) -> None:
        self.rig.aux, self.rig.bus = aux, bus
        self.rig.params.precharge_tau_ms = tau

    @rule(watt=st.sampled_from([-200_000, -700, 0, 300, 1000]), mHz=st.sampled_from([49_000, 49_800, 50_000, 50_400]))
    def the_grid_and_the_station_ask(self, watt: int, mHz: int) -> None:
        self.rig.s[I.SETPOINT_W] = watt
        for _ in range(12):
            self.rig.c.response.on_period(1_000_000_000_000 // mHz // PERIOD_TICK_NS)
        self._scan()

    @rule()
    def everything_is_repaired(self) -> None:
        rig = self.rig
        rig.silent.clear()
        rig.in_bits |= HEALTHY
        rig.aux = rig.bus = True
        rig.params.precharge_tau_ms = self.tau_ms
        for at in range(len(rig.c.cells_mV)):
            rig.c.cells_mV[at] = rig.cell_mV
        for at in range(len(rig.c.temps_ddegC)):
            rig.c.temps_ddegC[at] = 250
        s = rig.s
        s[I.CURRENT_dA] = s[I.GAS_mV] = s[I.COOLANT_ddegC] = s[I.BOARD_ddegC] = s[I.TASK_LATE_ms] = s[I.CONFIG_BAD] = 0
        s[I.INSULATION_KOHM] = 1_000_000

    @rule()
    def power_fails_and_returns(self) -> None:
        kept = list(self.rig.c.retained)
        deep = self.deep_scans > 8      # every slot of the scan has run, so it has been kept
        tripped = self.rig.s[I.TRIP_CODE] if self.tripped_scans > 8 else 0
        trips = self.rig.s[I.TRIPS]
        settled = self.rig.ms > 200
        self.rig = Rig(self.name, self.rig.now_ms, **self.changed)
        self.dangers = Dangers(self.rig)
        self.rig.c.restore(kept)
        self.moving_ms = self.deep_scans = self.tripped_scans = 0
        self.tripped_since_reset = bool(tripped)
        self._scan()
        assert not tripped or self.rig.s[I.TRIP_CODE], "a restart is no operator's reset"
        if deep:
            assert self.rig.s[I.TRIP_CODE], "a deep discharge outlives the power"
        if settled:
            assert abs(self.rig.s[I.TRIPS] - trips) <= 1

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.a_repaired_rack_can_always_be_closed_again()

    def a_repaired_rack_can_always_be_closed_again(self) -> None:
        """No state without an exit: repair, wait, unlock, reset, close."""
        self.everything_is_repaired()
        rig = self.rig
        rig.c.command(CMD_OPEN)
        self.time_passes(1000)
        for _ in range(750):            # the longest clear time and the slowest cool-down
            self._scan(100)
        rig.c.command(CMD_UNLOCK)
        self.time_passes(50)
        rig.c.command(CMD_RESET)
        self.tripped_since_reset = False
        self.time_passes(50)
        rig.c.command(CMD_CLOSE)
        self.time_passes(1500)
        assert rig.s[I.STATE] == STATE_CLOSED, (rig.s[I.STEP], rig.s[I.TRIP_CODE], rig.s[I.ACTIONS])

    # what always holds

    @invariant()
    def in_range(self) -> None:
        if hasattr(self, "rig"):
            assert all(-(2**30) < value < 2**30 for value in self.rig.s)
            assert 0 <= self.rig.s[I.SOC_cpct] <= 10_000

    def _check(self) -> None:
        rig, s = self.rig, self.rig.s
        if s[I.TRIP_CODE] or s[I.ACTIONS] & ACT_OPEN:
            assert s[I.COILS] == 0, "no coil while a trip is latched"
            assert s[I.REQUEST_W] == 0
        assert -s[I.LIMIT_CHARGE_W] <= s[I.REQUEST_W] <= s[I.LIMIT_DISCHARGE_W]
        if s[I.STATE] != STATE_CLOSED or s[I.ACTIONS] & ACT_ZERO:
            assert s[I.REQUEST_W] == 0
        assert self.moving_ms <= _MOVES_AT_MOST_ms, "no moving state without a timeout"
        assert s[I.PRECHARGE_J] <= 2 * rig.params.precharge_energy_J
        if s[I.COILS]:
            assert not self.tripped_since_reset, "re-closing needs an operator's reset"
            assert s[I.ALARM_LEVEL] < TRIP


_DEEP = next(at for at, row in enumerate(ROWS) if row[0] == "deep_discharge")

TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=15,
    stateful_step_count=15,
    deadline=None,
    phases=[Phase.generate],        # a failure's steps say enough, and shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
