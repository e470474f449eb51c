"""Two sources for one quantity: lies about current, power and bus open the rack; a healthy rack stays closed."""

from array import array
from fractions import Fraction
from typing import Any

import pytest
from halite.hosts.controller_rig import Rig
from halite.scenarios import scenario
from halite.scenarios.cpython_run import play
from hypothesis import given
from hypothesis import strategies as st
from rack.control.sense.cross_checks import in_tolerance
from rack.definitions.alarms import ROWS
from rack.definitions.codes import STATE_CLOSED
from rack.generated import cross_checks_state as W
from rack.generated import ids as I
from support.duty import run_duty
from support.lying_rack import LyingRack

KEYS = {
    "power_derate", "power_trip", "delivery_derate", "delivery_trip", "echo_derate", "echo_trip", "bus_trip",
    "refused_warn", "refused_trip", "foreign_trip", "step_derate", "step_trip",
}  # fmt: skip
ROWS_OF = [row[0] for row in ROWS]
RACKS = ("sodium", "lfp")
_STEP_ms = 40  # of the simulation and of the contacts


def at_power(config: str, hz: float, **changed: Any) -> LyingRack:
    """A closed rack at full power: below 50 Hz it discharges."""
    return LyingRack(config, **changed).close().grid(hz).run(1500)


def opens(rig: LyingRack, name: str, value: float | None, key: str, max_ms: int) -> LyingRack:
    """Start a lie and assert that the rack opens with this alarm in time."""
    rig.lie(name, value)
    rig.until_open(max_ms + _STEP_ms)
    assert rig.trip() == key
    return rig


def active(rig: LyingRack) -> set[str]:
    """The cross-checks' alarms that are active now."""
    rows = zip(ROWS, rig.host.controller.alarms.active, strict=True)
    return {row[0] for row, state in rows if state and (row[0] in KEYS or row[0] == "pcs_fault_warn")}


# the arithmetic


@given(st.integers(0, 1 << 24), st.integers(0, 1 << 24), st.integers(10, 100), st.integers(5, 100_000))
def test_an_error_is_a_share_of_the_larger_tolerance(error: int, power: int, permille: int, watts: int) -> None:
    """The result is the error over the larger of both tolerances, to one percent, up to ten times the tolerance."""
    words = array("i", [0] * W.WORDS)
    words[W.TOLERANCE_PERMILLE], words[W.TOLERANCE_W] = permille, watts
    power = min(power, 10_000_000)
    tolerance = max(power * permille // 1000, watts)
    exact = min(Fraction(error * 1000, tolerance), Fraction(10_000))
    assert abs(in_tolerance(error, power, words) - exact) <= exact / 100 + 1


def rig_with(**signals: int) -> Rig:
    """A closed minimal rack with a true tolerance; keywords set signals."""
    rig = Rig("lfp", pcs_tolerance_W=5_000).close()
    for name, value in signals.items():
        rig.s[getattr(I, name)] = value
    return rig


@pytest.mark.parametrize(("current", "power", "permille"), [
    (0, 4_990, 998), (0, -4_990, 998), (0, 5_000, 1_000), (0, -5_000, 1_000),
    (1000, 135_200 + 6_759, 1_000 * 6_759 // 7_097),
])  # fmt: skip
def test_the_tolerance_is_the_larger_one(current: int, power: int, permille: int) -> None:
    """5 kW counts below 100 kW, 5 % of the larger power above it; both signs."""
    rig = rig_with(CURRENT_dA=current, PCS_POWER_W=power)
    rig.s[I.RACK_dV] = rig.rack_dV = 13_520
    rig.run(80)
    assert rig.s[I.POWER_ERROR_PERMILLE] == permille


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("settle_ms", [100, 300, 2_000])
def test_a_moving_power_is_compared_with_the_last_moments(sign: int, settle_ms: int) -> None:
    """A status may be one settling time older than the current, and at most two and a slot; then it is an error."""
    rig = Rig("lfp", pcs_tolerance_W=5_000, pcs_settle_ms=settle_ms)
    s, checks = rig.close().s, rig.c.cross_checks
    s[I.RACK_dV] = 10_000
    for now_dA, status_W in ((1_000, 0), (0, 100_000), (1_000, 0), (-1_000, 100_000)):
        for _ in range(30):  # both agree for long
            s[I.CURRENT_dA], s[I.PCS_POWER_W] = sign * status_W // 100, sign * status_W
            checks.slot(80)
        assert s[I.POWER_ERROR_PERMILLE] == 0
        s[I.CURRENT_dA] = sign * now_dA
        after_ms = 0
        while s[I.POWER_ERROR_PERMILLE] < 1_000:
            checks.slot(80)
            after_ms += 80
            assert after_ms <= 2 * settle_ms + 160
        assert after_ms >= settle_ms * 4 // 5


def test_requests_that_step_without_end_do_not_hide_a_lie() -> None:
    """A grid that steps each 60 ms: a dead current sensor opens, a healthy rack has no alarm."""
    rig = at_power("lfp", 49.5)
    for dead in (False, True):
        if dead:
            rig.lie("current_stuck", 0.0)
        for turn in range(100):
            rig.grid(49.5 if turn % 2 else 50.5).run(60)
        assert (rig.s[I.STATE] != STATE_CLOSED) == dead
        assert dead or not active(rig)
    assert rig.trip() == "power_trip"


def test_the_pcs_may_deliver_less_than_requested() -> None:
    """Less power than requested, or zero, leaves the delivery without error."""
    rig = rig_with(CURRENT_dA=-500, PCS_POWER_W=-67_600)
    for request in (-67_600, -70_000, -186_000):
        rig.c.cross_checks.words[W.CHARGE_W] = -request
        rig.s[I.REQUEST_W] = request
        rig.c.cross_checks.slot(0)
        assert rig.s[I.DELIVERY_PERMILLE] == 0, request
    rig.s[I.REQUEST_W], rig.c.cross_checks.words[W.CHARGE_W] = 70_000, 0
    rig.c.cross_checks.slot(0)
    assert rig.s[I.DELIVERY_PERMILLE] == 10_000


def test_after_a_request_the_power_has_its_settling_time() -> None:
    """The allowed power falls to a third in the settling time, and with the ramp of the PCS when that is slower."""
    for ramp, low, high in ((100_000, 60_000, 70_000), (1_000, 166_000, 168_000)):
        rig = Rig("lfp", pcs_ramp_permille_ps=ramp, pcs_tolerance_W=5_000).close()
        words = rig.c.cross_checks.words
        words[W.DISCHARGE_W] = 186_000
        for _ in range(10):
            rig.c.cross_checks.slot(10)
        assert low < words[W.DISCHARGE_W] < high
        for _ in range(200):
            rig.c.cross_checks.slot(10)
        assert words[W.DISCHARGE_W] == 0


def test_all_errors_are_zero_while_not_closed() -> None:
    """An open rack has no error, and closing again starts every time from zero."""
    rig = rig_with(CURRENT_dA=500)
    rig.silent.add("echo")
    rig.run(500)
    signals = (I.POWER_ERROR_PERMILLE, I.PCS_ECHO_AGE_ms)
    assert all(rig.s[signal] for signal in signals)
    rig.c.command(1)
    rig.until(lambda: rig.s[I.STATE] != STATE_CLOSED)
    rig.run(80)
    assert not any(rig.s[signal] for signal in (*signals, I.DELIVERY_PERMILLE, I.BUS_ERROR_PERMILLE))


# lies on the simulated rack: the row's time, from the lie to the open contacts


@pytest.mark.parametrize("config", RACKS)
@pytest.mark.parametrize("hz", [49.5, 50.5])
@pytest.mark.parametrize(("lie", "value"), [
    ("current_stuck", 0), ("current_sign", None), ("current_gain", 1.2), ("current_gain", 0.5),
    ("pcs_power_stuck", 0),
])  # fmt: skip
def test_a_wrong_current_derates_and_trips(config: str, hz: float, lie: str, value: float | None) -> None:
    """A dead, reversed or scaled sensor, or a wrong power of the PCS, derates after 2 s and trips after 5 s.

    A moment more passes because the powers of the last two settling times count, too.
    """
    rig = at_power(config, hz)
    began = rig.ms
    opens(rig, lie, value, "power_trip", 5_350)
    assert 1_990 <= rig.came["power_derate"] - began <= 2_300
    assert rig.came["power_trip"] - began >= 4_990


@pytest.mark.parametrize("config", RACKS)
@pytest.mark.parametrize(("hz", "lie", "value"), [
    (49.5, "pcs_delivers", -186_000.0), (50.0, "pcs_delivers", 100_000.0), (50.0, "pcs_delivers", -8_000.0),
    (50.5, "pcs_gain", -1.0), (49.9, "pcs_gain", 1.2),
])  # fmt: skip
def test_power_beyond_the_request_derates_and_trips(config: str, hz: float, lie: str, value: float) -> None:
    """Power that the rack has not requested derates after 1 s and trips after 2 s."""
    rig = at_power(config, hz)
    began = rig.ms
    opens(rig, lie, value, "delivery_trip", 2_250)
    assert 990 <= rig.came["delivery_derate"] - began <= 1_250


@pytest.mark.parametrize("config", RACKS)
def test_a_pcs_that_ignores_a_limit_is_cut_off(config: str) -> None:
    """The PCS keeps its power while the request falls to the derated limit."""
    rig = at_power(config, 49.5).lie("pcs_ignores").run(500)
    assert rig.s[I.STATE] == STATE_CLOSED
    rig.lie("coolant_stuck", 90)  # coolant_derate after 5 s
    rig.until_open(5_000 + 2_300)
    assert rig.trip() == "delivery_trip"


@pytest.mark.parametrize("lie", ["pcs_echo_frozen", "pcs_echo_stuck"])
def test_a_standing_echo_derates_and_trips(lie: str) -> None:
    """The PCS no longer accepts requests, also at zero power: derate after 1 s, trip after 2 s."""
    rig = at_power("lfp", 50.0)
    began = rig.ms
    opens(rig, lie, None, "echo_trip", 2_150)
    assert 990 <= rig.came["echo_derate"] - began <= 1_150


@pytest.mark.parametrize("config", RACKS)
@pytest.mark.parametrize(("lie", "value"), [
    ("bus_voltage_stuck", 0.0), ("bus_voltage_gain", 1.04), ("bus_voltage_gain", 0.96), ("fuse_blown", None),
    ("rack_voltage_gain", 1.04),
])  # fmt: skip
def test_a_bus_apart_from_the_rack_trips(config: str, lie: str, value: float | None) -> None:
    """More than 3 % between bus and rack for 1 s opens, at rest and at power."""
    for hz in (50.0, 49.7):
        opens(at_power(config, hz), lie, value, "bus_trip", 1_250)


def test_a_fault_code_is_an_alarm_in_any_state() -> None:
    """A fault code comes with state run; its alarm ends with it, and the rack stays closed."""
    rig = at_power("sodium", 49.8).lie("pcs_fault_code", 7).run(100)
    assert "pcs_fault_warn" in rig.came and "pcs_warn" not in rig.came
    rig.truth("pcs_fault_code").run(5_200)
    assert not active(rig) and rig.s[I.STATE] == STATE_CLOSED


# a PCS without measured power: the cells are the witness


def steps(rig: LyingRack, number: int) -> LyingRack:
    """Move the power by steps, one each 1.5 s."""
    for n in range(number):
        rig.grid(49.8 if n % 2 else 50.0).run(1500)
    return rig


@pytest.mark.parametrize("config", RACKS)
@pytest.mark.parametrize(("lie", "value"), [("current_stuck", 0), ("current_sign", None), ("current_gain", 0.1)])
def test_steps_of_the_cells_contradict_a_wrong_current(config: str, lie: str, value: float | None) -> None:
    """A dead, reversed or far too small current derates at the second step of the power and trips at the third."""
    rig = steps(LyingRack(config, pcs_reports_power=0).close(), 4)
    rig.rack.start_fault("pcs_power_stuck", 0, 0)
    assert rig.s[I.STEP_ERRORS] == 0
    steps(rig.lie(lie, value), 4)
    assert rig.trip() == "step_trip" and "step_derate" in rig.came


@pytest.mark.parametrize("degC", [-10.0, 0.0, 45.0])
@pytest.mark.parametrize("config", RACKS)
def test_steps_of_a_true_current_agree(config: str, degC: float) -> None:
    """Cold and hot cells, charge and discharge: their steps agree with the current; one contradiction is forgotten."""
    rig = LyingRack(config, pcs_reports_power=0)
    rig.rack.start_from(3, start_degC=degC, ambient_degC=degC)
    rig.close()
    for hz in (49.8, 50.0, 50.15, 50.0, 49.7, 50.2, 50.0):
        rig.grid(hz).run(1500)
        assert rig.s[I.STEP_ERRORS] == 0, hz
    rig.s[I.STEP_ERRORS] = 1
    rig.grid(49.8).run(1500)
    assert rig.s[I.STEP_ERRORS] == 0


# status frames of the PCS


@pytest.mark.parametrize("value", [0, 1, 2])
def test_a_status_counter_without_order_trips(value: int) -> None:
    """A counter that stands, alternates or runs back makes the PCS silent."""
    opens(at_power("lfp", 49.8), "pcs_counter", value, "pcs_lost", 340)


def test_a_flooded_bus_opens_and_is_named() -> None:
    """A flood looks like a silent PCS, which opens; the warning names the flood and ends with it."""
    rig = at_power("sodium", 49.8)
    opens(rig, "can_flood", 1, "pcs_lost", 340)
    rig.run(200)
    assert "refused_warn" in rig.came
    rig.truth("can_flood").run(5_600)
    assert not rig.host.controller.alarms.active[ROWS_OF.index("refused_warn")]


def test_a_second_pcs_warns_and_trips() -> None:
    """A second node whose status replaces the true one warns at once and trips after 2 s, even with true values."""
    rig = at_power("lfp", 50.0)
    began = rig.ms
    opens(rig, "pcs_forged", rig.rack.string_V, "refused_trip", 2_450)
    assert rig.came["refused_warn"] - began <= 420


def test_a_second_sender_of_requests_trips() -> None:
    """Requests of a second node open the rack within 350 ms; after a reset and a new closing again."""
    rig = LyingRack("sodium").close()
    for _ in range(2):
        opens(rig, "request_forged", 150_000, "foreign_trip", 350)
        rig.truth("request_forged").run(5_600)
        assert rig.reset() == 0
        rig.run(1_500).close()


# second occurrence, and both ways to clear


def test_a_short_lie_only_derates_and_returns() -> None:
    """A lie of 3 s derates and clears by itself after 10 s; a second one gets its full time again."""
    rig = at_power("lfp", 49.8)
    for _ in range(2):
        rig.came.clear()
        began = rig.ms
        rig.lie("current_stuck", 0).run(3_000).truth("current_stuck").run(10_200)
        assert 1_990 <= rig.came["power_derate"] - began <= 2_200
        assert "power_trip" not in rig.came
        assert not active(rig)
    opens(rig, "current_stuck", 0, "power_trip", 5_250)


def test_a_trip_clears_by_reset_and_comes_again() -> None:
    """A reset releases the trip when the cause is gone; the rack closes and trips again with a new lie."""
    rig = LyingRack("sodium").close()
    for _ in range(2):
        rig.grid(49.5).run(1500)
        opens(rig, "bus_voltage_stuck", 0, "bus_trip", 1_250)
        rig.truth("bus_voltage_stuck").grid(50.0).run(5_500)
        assert rig.trip() == "bus_trip"
        assert rig.reset() == 0
        rig.run(1_500)
        assert rig.trip() == ""
        rig.close()


# healthy racks


@pytest.mark.parametrize("name", sorted(path.stem for path in scenario.FOLDER.glob("*.toml") if path.stem != "gb_2019"))
def test_no_shipped_scenario_raises_a_cross_check(name: str) -> None:
    """Faults of other kinds, closing and opening do not raise these alarms."""
    story = scenario.load(name)
    rig = LyingRack("sodium")
    rig.rack.start_from(1, **story.start_state())
    story.prepare_grid(rig.rack)
    play(story, rig.host)
    assert not KEYS & rig.came.keys()


@pytest.mark.parametrize(("config", "pcs", "changed"), [
    ("sodium", {}, {}),
    ("lfp", {}, {}),
    ("bench", {}, {}),
    ("sodium", {"lag_ms": 60.0}, {}),
    ("lfp", {"lag_ms": 20.0, "ramp_W_per_s": 100_000.0}, {"pcs_ramp_permille_ps": 500}),
    ("sodium", {}, {"pcs_reports_power": 0}),
])  # fmt: skip
def test_random_duty_raises_no_cross_check(config: str, pcs: dict[str, Any], changed: dict[str, Any]) -> None:
    """A minute of random duty at full power does not raise these alarms, with lag and ramp as configured."""
    rig = LyingRack(config, pcs=pcs, **changed).close()
    rig.lie("current_noise", 2.0 if config != "bench" else 0.1)
    rig.lie("bus_voltage_noise", 2.0 if config != "bench" else 0.1)
    run_duty(rig, 60, seed=7)
    assert not KEYS & rig.came.keys(), rig.came
    assert rig.trip() == ""
