"""The whole controller against random faults, operators, restarts and time jumps."""

from array import array
from collections import Counter
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from halite.hosts.controller_rig import HEALTHY, CLEAN_mV, Rig
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from rack.control.controller import may_request_power
from rack.control.protect.alarm_engine import LATCHED
from rack.control.response.response import PERIOD_TICK_NS, Response
from rack.definitions.alarms import ROWS, TRIP
from rack.definitions.codes import (
    ACT_OPEN,
    ACT_ZERO,
    BY_CONSOLE,
    BY_EMS,
    BY_KEY,
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
from rack.generated import ids as I
from rack.generated import response_state as K
from support.dangers import DANGERS, NOT_HERE, Dangers, level_of, max_ms

_MOVING = (STATE_PRECHARGE, STATE_OPENING)
_MOVES_AT_MOST_ms = 4000        # precharge window, contact times and opening bound of the bench rack together
_SOC = st.sampled_from([0, 4_000, 5_000, 10_000])
_TEMPS = (NO_OPEN, NO_SHORT, NO_VALUE, -600, 0, 400, 590, 700, 2000, 32767)
_SURROUNDINGS = (I.GAS_mV, I.INSULATION_KOHM, I.COOLANT_ddegC, I.BOARD_ddegC, I.TASK_LATE_ms, I.CONFIG_BAD)


_SETTINGS = {
    "contactor_settle_ms": 200,
    "precharge_cooldown_ms": 500,
    # faults that another trip would hide otherwise
    "plausible_wire_mV": 200,
    "runaway_temp_ddegC": 450,
    **dict.fromkeys(("overcurrent_charge_dA", "overcurrent_discharge_dA"), 100),
    **dict.fromkeys(("overcurrent_charge_A2s", "overcurrent_discharge_A2s"), 1000),
}
_DANGERS = {danger.key: danger for danger in DANGERS}


def _period_of(mHz: int) -> int:
    return 1_000_000_000_000 // mHz // PERIOD_TICK_NS

_WHO = st.sampled_from([BY_EMS, BY_CONSOLE, BY_KEY])


class Lithium:
    """The other rack of the pair: the same mains, limits and words of the EMS, no link to the sodium rack."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.s = array("i", rig.s)
        self.response = Response(SimpleNamespace(**{**vars(rig.params), "pair_role": 2}), self.s)

    def scan(self) -> None:
        c, s = self.rig.c, self.s
        s[:] = self.rig.s
        self.response.update_mains_age(c.now_ms)
        self.response.set_limits(s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W], may_request_power(s))
        self.response.scan(c.now_ms)

    def check(self) -> bool:
        """The sum of both shares, before limits and without each rack's base, is the request. True: neither is 0."""
        sodium, lithium = self.rig.c.response.state, self.response.state
        one, other = (k[K.WANTED] - k[K.BASE] for k in (sodium, lithium))
        assert one + other == sodium[K.RESPONSE] == lithium[K.RESPONSE], (one, other)
        return one != 0 != other


class Machine(RuleBasedStateMachine):
    """Rules change the world, `invariant`s are checked after each scan as well as after each rule."""

    met: ClassVar[Counter[str]] = Counter()         # dangers that came while a coil was on, in the whole run
    paired: ClassVar[Counter[str]] = Counter()      # steps with a share of both racks

    @initialize(name=st.sampled_from(["bench"] * 7 + ["sodium"]), start=st.sampled_from([0, 2**30 - 700, 12345]),
                auto=st.sampled_from([0, 1]), closed=st.sampled_from([True] * 5 + [False]),
                mHz=st.sampled_from([49_700, 49_900, 50_000, 50_300]))  # fmt: skip
    def start(self, name: str, start: int, auto: int, closed: bool, mHz: int = 50_000) -> None:
        self.changed: dict[str, Any] = {**_SETTINGS, "rack_auto_close": auto, "pair_role": 1}
        self.name = name
        self._begin(start)
        self.deep_scans = self.tripped_scans = 0
        self.moving_ms = 0
        self.mains = _period_of(mHz)
        self.tau_ms = self.rig.params.precharge_tau_ms
        self.tripped_since_reset = False
        if closed:
            self.it_is_repaired_and_closed()

    def _begin(self, now_ms: int) -> None:
        """A controller that has just got power, and a precharge resistor that has cooled."""
        self.rig = Rig(self.name, now_ms, **self.changed)
        self.dangers = Dangers(self.rig, self.met)
        self.lithium = Lithium(self.rig)

    # the world

    def _period(self, count: int) -> None:
        self.rig.c.response.on_period(count)
        self.lithium.response.on_period(count)
        self.paired["both"] += self.lithium.check()

    def scan(self, dt: int = 10) -> None:
        rig = self.rig
        before, energised = rig.s[I.STATE], rig.s[I.COILS] != 0
        if rig.ms % 20 == 0:
            self._period(self.mains)
        rig.scan(dt)
        self.lithium.scan()
        if self.lithium.response.state[K.LOST]:
            self.lithium.check()
        state = rig.s[I.STATE]
        self.deep_scans = self.deep_scans + 1 if rig.c.alarms.active[_DEEP] & LATCHED else 0
        self.moving_ms = self.moving_ms + dt if state in _MOVING and state == before else 0
        self.tripped_scans = self.tripped_scans + 1 if rig.s[I.TRIP_CODE] else 0
        if rig.s[I.TRIP_CODE]:
            self.tripped_since_reset = True
        self._check()
        self._check_resistor(dt)
        self.dangers.scan(min(dt, 1000), energised)

    @rule(ms=st.sampled_from([20, 50, 200, 1000]))
    def time_passes(self, ms: int) -> None:
        for _ in range(ms // 10):
            self.scan()

    @rule(dt=st.sampled_from([0, 1, 37, 150, 1000, 5000, 2**29]))
    def time_jumps(self, dt: int) -> None:
        self.scan(dt)

    @rule(what=st.sampled_from([CMD_OPEN, CMD_CLOSE, CMD_CLOSE, CMD_RESET, CMD_RESET, CMD_UNLOCK, 77]), who=_WHO)
    def operator(self, what: int, who: int = BY_KEY) -> None:
        locked = self.rig.s[I.STATE] == STATE_LOCKED_OUT
        accepted = self.rig.c.command(what, who) == 0
        if what == CMD_RESET and accepted:
            assert not locked
            self.tripped_since_reset = False
        if what == CMD_CLOSE and accepted:
            assert not self.tripped_since_reset or self.rig.s[I.TRIP_CODE] == 0
        self.scan()

    @rule(bit=st.sampled_from([IN_HVIL, IN_ESTOP, IN_OC_OK]))
    def an_input_opens(self, bit: int) -> None:
        self.rig.in_bits &= ~bit
        self.scan()
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
    def the_grid_and_the_ems_ask(self, watt: int, mHz: int) -> None:
        self.rig.s[I.SETPOINT_W] = watt
        self.mains = _period_of(mHz)
        for _ in range(12):
            self._period(self.mains)
        self.scan()

    @rule(low=_SOC, high=_SOC, age=st.sampled_from([0, 0, 5_000]))
    def the_ems_tells_of_the_pair(self, low: int, high: int, age: int) -> None:
        s = self.rig.s
        s[I.PAIR_LOW_cpct], s[I.PAIR_HIGH_cpct], s[I.PAIR_AGE_ms] = low, high, age

    @rule(mHz=st.sampled_from([49_700, 49_900, 50_300]))
    def a_closed_pair_shares_an_event(self, mHz: int) -> None:
        self.it_is_repaired_and_closed()
        self.mains = _period_of(mHz)
        for _ in range(60):
            self.scan()

    @rule(key=st.sampled_from(sorted(_DANGERS)))
    def a_closed_rack_meets_a_danger(self, key: str) -> None:
        """`Dangers` holds it to its row; here it opens at all, and the cause was one."""
        self.it_is_repaired_and_closed()
        rig, danger = self.rig, _DANGERS[key]
        met, level = self.met[key], level_of(rig.params, key)
        limit_ms = max_ms(rig.params, danger) + 2000
        while rig.s[I.COILS]:
            assert limit_ms > 0, key
            danger.cause(rig, level)
            self.scan(danger.step_ms)
            limit_ms -= danger.step_ms
        assert self.met[key] == met + 1, key

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
        s[I.GAS_mV] = CLEAN_mV
        s[I.CURRENT_dA] = s[I.COOLANT_ddegC] = s[I.BOARD_ddegC] = s[I.TASK_LATE_ms] = s[I.CONFIG_BAD] = 0
        s[I.WIRE_CHECK] = s[I.PCS_REFUSED] = s[I.FOREIGN_REQUESTS] = rig.rack_error_dV = 0
        s[I.INSULATION_KOHM] = 1_000_000

    @rule()
    def it_is_repaired_and_closed(self) -> None:
        """No state without an exit: repair, wait, unlock, reset, close; within the longest clear time.

        The next AFE period brings the repaired cells. Before it, an earlier cause can still open the closed rack.
        """
        self.everything_is_repaired()
        rig = self.rig
        for _ in range(rig.params.afe_period_ms // 10):
            self.scan()
        for _ in range(900):
            if rig.s[I.STATE] == STATE_CLOSED and not self.dangers.present():
                return
            if rig.c.command(CMD_RESET) == 0:
                self.tripped_since_reset = False
            rig.c.command(CMD_UNLOCK, BY_KEY)
            rig.c.command(CMD_CLOSE)
            self.scan(10 if rig.s[I.STATE] in _MOVING else 100)
        raise AssertionError((rig.s[I.STEP], rig.s[I.TRIP_CODE], rig.s[I.ACTIONS]))

    @rule()
    def power_fails_and_returns(self) -> None:
        kept = list(self.rig.c.retained)
        deep = self.deep_scans > 8      # every slot of the scan has run, so it has been kept
        tripped = self.rig.s[I.TRIP_CODE] if self.tripped_scans > 8 else 0
        trips = self.rig.s[I.TRIPS]
        settled = self.rig.ms > 200
        heat_J = self.rig.resistor_J
        self._begin(self.rig.now_ms)
        self.rig.resistor_J = heat_J        # the power was off for no time
        self.rig.c.restore(kept)
        self.moving_ms = self.deep_scans = self.tripped_scans = 0
        self.tripped_since_reset = bool(tripped)
        self.scan()
        assert not tripped or self.rig.s[I.TRIP_CODE], "a restart is no operator's reset"
        if deep:
            assert self.rig.s[I.TRIP_CODE], "a deep discharge outlives the power"
        if settled:
            assert abs(self.rig.s[I.TRIPS] - trips) <= 1

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.a_repaired_rack_can_always_be_closed_again()

    def a_repaired_rack_can_always_be_closed_again(self) -> None:
        self.rig.c.command(CMD_OPEN)
        self.time_passes(1000)
        self.it_is_repaired_and_closed()

    # invariants

    @invariant()
    def in_range(self) -> None:
        if hasattr(self, "rig"):
            assert all(-(2**30) < value < 2**30 for value in self.rig.s)
            assert 0 <= self.rig.s[I.SOC_cpct] <= 10_000

    def _check(self) -> None:
        s = self.rig.s
        if s[I.TRIP_CODE] or s[I.ACTIONS] & ACT_OPEN:
            assert s[I.COILS] == 0, "no coil while a trip is latched"
            assert s[I.REQUEST_W] == 0
        assert -s[I.LIMIT_CHARGE_W] <= s[I.REQUEST_W] <= s[I.LIMIT_DISCHARGE_W]
        if s[I.STATE] != STATE_CLOSED or s[I.ACTIONS] & ACT_ZERO:
            assert s[I.REQUEST_W] == 0
        assert self.moving_ms <= _MOVES_AT_MOST_ms, "no moving state without a timeout"
        if s[I.COILS]:
            assert not self.tripped_since_reset, "re-closing needs an operator's reset"
            assert s[I.ALARM_LEVEL] < TRIP

    def _check_resistor(self, dt: int) -> None:
        """At most its budget, plus the energy until the next scan, plus the rounding to whole volts."""
        p, volts = self.rig.params, self.rig.rack_dV / 10
        late_J = volts * volts / p.precharge_ohm * min(dt, p.deadman_window_ms) / 1000
        most_J = p.precharge_energy_J * (1 + 3 / max(10, volts)) + late_J
        assert self.rig.resistor_J <= most_J


_DEEP = next(at for at, row in enumerate(ROWS) if row[0] == "deep_discharge")

class TestMachine(Machine.TestCase):
    settings = settings(
        max_examples=15,
        stateful_step_count=15,
        deadline=None,
        phases=[Phase.generate],        # a failure's steps say enough, and shrinking takes minutes
        suppress_health_check=[HealthCheck.too_slow],
    )

    def runTest(self) -> None:
        """And the run has not passed because the rack was open anyway."""
        Machine.met.clear()
        Machine.paired.clear()
        super().runTest()
        assert Machine.met.total() >= 20 and len(Machine.met) >= 5, Machine.met
        assert Machine.paired["both"] >= 20, "the pair has hardly shared anything"


@pytest.mark.parametrize("key", sorted(_DANGERS))
def test_a_danger_opens_a_closed_rack_within_its_row(key: str) -> None:
    machine = Machine()
    machine.start("bench", 0, 0, True)
    machine.a_closed_rack_meets_a_danger(key)


def test_a_danger_is_new_after_the_same_one_was_repaired() -> None:
    """A cell was low for 20 ms: its repair reaches the controller before the next low cell begins."""
    machine = Machine()
    machine.start("bench", 0, 0, True)
    machine.a_cell_leaves_its_window(15, 1790)
    machine.time_passes(20)
    machine.a_closed_rack_meets_a_danger("cell_low_trip")


@pytest.mark.parametrize(("tau_ms", "least"), [(50, 0.1), (200, 0.5), (2000, 0.95), (60_000, 0.95)])
def test_the_resistor_takes_no_more_than_its_energy(tau_ms: int, least: float) -> None:
    """The precharge resistor does not take more than its energy budget, however slow the bus is."""
    machine = Machine()
    machine.start("bench", 0, 0, False)
    machine.contacts_and_bus_misbehave(True, True, tau_ms)
    machine.operator(CMD_CLOSE)
    most_J = 0.0
    for _ in range(300):
        machine.scan()
        most_J = max(most_J, machine.rig.resistor_J)
    assert most_J > least * machine.rig.params.precharge_energy_J


def test_every_trip_is_among_the_dangers_or_has_its_reason() -> None:
    trips = {row[0] for row in ROWS if row[3] == TRIP and row[4] & ACT_OPEN}
    assert trips == _DANGERS.keys() | NOT_HERE.keys()
    assert not _DANGERS.keys() & NOT_HERE.keys()
