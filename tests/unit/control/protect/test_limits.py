"""Available power: bounded, monotone, quick to fall and slow to rise."""

from array import array
from typing import Any

import pytest
from halite.hosts.controller_rig import params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.protect.limits import Limits, apply_limit
from rack.definitions.alarms import code_of
from rack.definitions.codes import (
    ACT_LIMIT_CHARGE,
    ACT_LIMIT_DISCHARGE,
    ACT_OPEN,
    ACT_ZERO,
    LIM_ALARM,
    LIM_CELL,
    LIM_CORE,
    LIM_CURRENT,
    LIM_HELD,
    LIM_NONE,
    LIM_RISING,
    LIM_SOC,
    LIM_STATE,
    LIM_TEMP_HIGH,
    LIM_TEMP_LOW,
)
from rack.generated import alarm_levels as L
from rack.generated import ids as I
from rack.generated import limit_side as W

NAMES = ["sodium", "lfp", "bench"]


def _limits(name: str = "lfp", **changed: Any) -> tuple[Limits, array, Any]:
    s = array("i", [0] * I.COUNT)
    p = params(name, **changed)
    s[I.TEMP_MIN_ddegC] = s[I.TEMP_MAX_ddegC] = s[I.CORE_MAX_ddegC] = 250
    s[I.CELL_MAX_mV] = s[I.CELL_MIN_mV] = 3260
    s[I.SOC_cpct] = 5000
    s[I.RACK_dV] = 3260 * p.cell_series // 100
    limits = Limits(p, s)
    limits.start()
    limits.scan(10)
    return limits, s, p


def _fresh(limits: Limits, s: array) -> tuple[int, int]:
    limits.start()
    limits.scan(10)
    return s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W]


@pytest.mark.parametrize("name", NAMES)
def test_a_rack_in_its_comfort_has_its_rated_power(name: str) -> None:
    _, s, p = _limits(name)
    assert s[I.LIMIT_CHARGE_W] == s[I.LIMIT_DISCHARGE_W] == p.rack_power_max_W
    assert s[I.LIMIT_CHARGE_BY] == s[I.LIMIT_DISCHARGE_BY] == LIM_NONE


@settings(max_examples=60)
@given(st.sampled_from(NAMES), st.integers(-600, 1300), st.integers(0, 500), st.integers(0, 5000), st.integers(0, 300),
       st.integers(0, 10_000))  # fmt: skip
def test_limits_follow_the_coldest_and_the_hottest_cell(
    name: str, cold: int, wider: int, low_mV: int, spread: int, soc: int
) -> None:
    """Limits stay within the rated power, and both the coldest and the hottest cell count."""
    limits, s, p = _limits(name)
    s[I.TEMP_MIN_ddegC], s[I.TEMP_MAX_ddegC], s[I.CORE_MAX_ddegC] = cold, cold + wider, cold + wider
    s[I.CELL_MIN_mV], s[I.CELL_MAX_mV], s[I.SOC_cpct] = low_mV, low_mV + spread, soc
    charge, discharge = _fresh(limits, s)
    assert 0 <= charge <= p.rack_power_max_W and 0 <= discharge <= p.rack_power_max_W
    for single in (cold, cold + wider):
        s[I.TEMP_MIN_ddegC] = s[I.TEMP_MAX_ddegC] = s[I.CORE_MAX_ddegC] = single
        alone = _fresh(limits, s)
        assert charge <= alone[0] and discharge <= alone[1]


@settings(max_examples=60)
@given(st.sampled_from(NAMES), st.integers(1000, 4500), st.integers(0, 1000))
def test_limits_are_monotonic_in_the_cell_voltage(name: str, mV: int, more: int) -> None:
    """A higher cell voltage does not raise the charge limit, and a lower one does not raise the discharge limit."""
    limits, s, _ = _limits(name)
    s[I.CELL_MAX_mV] = s[I.CELL_MIN_mV] = mV
    low = _fresh(limits, s)
    s[I.CELL_MAX_mV] = s[I.CELL_MIN_mV] = mV + more
    high = _fresh(limits, s)
    assert high[0] <= low[0] and high[1] >= low[1]


@pytest.mark.parametrize("name", NAMES)
def test_no_power_into_a_full_cell_nor_out_of_an_empty_one(name: str) -> None:
    limits, s, p = _limits(name)
    s[I.CELL_MAX_mV] = p.cell_voltage_max_mV
    assert _fresh(limits, s)[0] == 0 and s[I.LIMIT_CHARGE_BY] == LIM_CELL
    s[I.CELL_MIN_mV] = p.cell_voltage_min_mV
    assert _fresh(limits, s)[1] == 0 and s[I.LIMIT_DISCHARGE_BY] == LIM_CELL


@given(st.integers(-400, 600))
def test_lfp_charges_in_the_steps_of_its_data_sheet(ddegC: int) -> None:
    """LFP charges in the steps of its data sheet, with zero power at 0 degC."""
    limits, s, p = _limits("lfp")
    s[I.TEMP_MIN_ddegC] = s[I.TEMP_MAX_ddegC] = s[I.CORE_MAX_ddegC] = ddegC
    charge = _fresh(limits, s)[0]
    full = p.rack_power_max_W       # 0.5P
    allowed = 0 if ddegC <= 0 else 0.12 if ddegC <= 50 else 0.3 if ddegC <= 100 else 0.5
    assert charge <= round(full * allowed / 0.5)
    if ddegC <= 0:
        assert charge == 0 and s[I.LIMIT_CHARGE_BY] == LIM_TEMP_LOW
    elif ddegC <= 100 and ddegC not in (51,):
        assert charge == round(full * allowed / 0.5)


def test_sodium_charges_down_to_minus_twenty() -> None:
    """Sodium charges down to -20 degC, and the reason of the limit is reported."""
    limits, s, _ = _limits("sodium")
    s[I.TEMP_MIN_ddegC] = -195
    assert _fresh(limits, s)[0] > 0
    s[I.TEMP_MIN_ddegC] = -200
    assert _fresh(limits, s)[0] == 0 and s[I.LIMIT_CHARGE_BY] == LIM_TEMP_LOW
    s[I.TEMP_MIN_ddegC] = 250
    s[I.TEMP_MAX_ddegC] = 500
    _fresh(limits, s)
    assert s[I.LIMIT_CHARGE_BY] == LIM_TEMP_HIGH
    s[I.CORE_MAX_ddegC] = 540
    _fresh(limits, s)
    assert s[I.LIMIT_CHARGE_BY] == s[I.LIMIT_DISCHARGE_BY] == LIM_CORE
    s[I.TEMP_MAX_ddegC] = s[I.CORE_MAX_ddegC] = 250
    s[I.SOC_cpct] = 10_000
    _fresh(limits, s)
    assert (s[I.LIMIT_CHARGE_BY], s[I.LIMIT_DISCHARGE_BY]) == (LIM_SOC, LIM_NONE)


@pytest.mark.parametrize("action, own, other", [
    (ACT_LIMIT_CHARGE, I.LIMIT_CHARGE_W, I.LIMIT_DISCHARGE_W),
    (ACT_LIMIT_DISCHARGE, I.LIMIT_DISCHARGE_W, I.LIMIT_CHARGE_W),
])  # fmt: skip
def test_a_derating_alarm_takes_its_own_direction_at_once(action: int, own: int, other: int) -> None:
    limits, s, p = _limits("sodium")
    s[I.ACTIONS] = action
    limits.scan(10)
    assert s[own] == p.rack_power_max_W * p.limit_derate_permille // 1000
    assert s[other] == p.rack_power_max_W
    assert LIM_ALARM in (s[I.LIMIT_CHARGE_BY], s[I.LIMIT_DISCHARGE_BY])


@pytest.mark.parametrize("action", [ACT_OPEN, ACT_ZERO])
def test_power_is_zero_while_an_alarm_opens_and_back_at_once(action: int) -> None:
    """Available power is 0 while an alarm demands opening, and the full limit returns right after it."""
    limits, s, p = _limits("sodium")
    all_of_it = (0, p.rack_power_max_W, LIM_NONE)
    for actions, most_W, by in (all_of_it, (action, 0, LIM_STATE), all_of_it):
        s[I.ACTIONS] = actions
        limits.scan(10)
        assert (s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W]) == (most_W, most_W)
        assert s[I.LIMIT_CHARGE_BY] == s[I.LIMIT_DISCHARGE_BY] == by


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(2400, 3700), st.sampled_from([10, 20, 70])), min_size=1, max_size=60))
def test_a_limit_falls_at_once_and_rises_slowly(moves: list[tuple[int, int]]) -> None:
    """A limit falls at once and rises no faster than configured."""
    limits, s, p = _limits("lfp")
    elapsed = 0
    before = limits.charge.words[W.PERMILLE]
    lowest_at, lowest = 0, before
    for mV, dt in moves:
        s[I.CELL_MAX_mV] = mV
        limits.slot(0, 80)
        limits.scan(dt)
        elapsed += dt
        now = limits.charge.words[W.PERMILLE]
        assert now <= limits.charge.words[W.TABLE]
        assert now <= lowest + p.limit_rise_permilleps * (elapsed - lowest_at) // 1000 + 1
        if now == limits.charge.words[W.TABLE] and now < before:
            lowest_at, lowest = elapsed, now
        before = now


def test_a_rise_takes_its_time_exactly_and_is_named() -> None:
    limits, s, p = _limits("lfp", limit_rise_permilleps=100)
    s[I.CELL_MAX_mV] = 4000
    limits.slot(0, 80)
    limits.scan(10)
    assert s[I.LIMIT_CHARGE_W] == 0
    s[I.CELL_MAX_mV] = 3260
    limits.slot(0, 80)
    for n in range(1, 1000):
        limits.scan(10)
        assert limits.charge.words[W.PERMILLE] == n
        assert s[I.LIMIT_CHARGE_BY] == LIM_RISING
    limits.scan(10)
    assert s[I.LIMIT_CHARGE_W] == p.rack_power_max_W and s[I.LIMIT_CHARGE_BY] == LIM_NONE


def test_a_rise_in_uneven_steps_carries_its_remainder() -> None:
    limits, s, _ = _limits("lfp", limit_rise_permilleps=100)
    s[I.CELL_MAX_mV] = 4000
    limits.slot(0, 80)
    limits.scan(10)
    s[I.CELL_MAX_mV] = 3260
    limits.slot(0, 80)
    for n in range(1, 200):
        limits.scan(7)
        assert limits.charge.words[W.PERMILLE] == 7 * n * 100 // 1000


@given(st.integers(0, 2_000_000), st.integers(0, 1000))
def test_the_power_of_a_limit_is_exact_and_rounded_down(most_W: int, permille: int) -> None:
    s = array("i", [0] * I.COUNT)
    words = array("i", [permille, LIM_NONE, permille, 0, 0, most_W, 0, 1000, 0, 0])
    apply_limit(words, s, 1000, 875, 0, I.LIMIT_CHARGE_W, I.LIMIT_CHARGE_BY)
    assert s[I.LIMIT_CHARGE_W] == most_W * permille // 1000


class _Derated:
    """A rack whose charge side gets and loses a derate alarm. The request asks for all that is available."""

    def __init__(self, **changed: Any) -> None:
        self.limits, self.s, self.p = _limits("lfp", limit_rise_permilleps=10_000, **changed)

    def run(self, ms: int, alarm: bool = False, part: float = 1.0) -> int:
        """Go on for ms; part: of the available power that is requested. Returns the permille available at the end."""
        s = self.s
        s[I.ACTIONS] = ACT_LIMIT_CHARGE if alarm else 0
        for _ in range(0, ms, 80):
            self.limits.slot(0, 80)
            self.limits.slot(1, 80)
            self.limits.scan(80)
            s[I.REQUEST_W] = -round(part * s[I.LIMIT_CHARGE_W])
        return self.limits.charge.words[W.PERMILLE]


def test_a_derate_alarm_leaves_a_ceiling_below_its_limit() -> None:
    rack = _Derated()
    assert rack.run(800, alarm=True) == rack.p.limit_derate_permille
    assert rack.run(800) == 875 and rack.s[I.LIMIT_CHARGE_BY] == LIM_HELD
    assert rack.s[I.LIMIT_DISCHARGE_BY] == LIM_NONE  # the other direction is free
    assert rack.run(600_000) == 875  # for as long as it is used
    assert rack.run(800, alarm=True) == rack.p.limit_derate_permille
    assert rack.run(800) == 765  # each further alarm takes another eighth
    for _ in range(20):
        rack.run(800, alarm=True)
        rack.run(800)
    assert rack.run(800) == rack.p.limit_derate_permille  # and never less than the alarm itself leaves


@pytest.mark.parametrize("hold_ms", [10_000, 60_000])
def test_a_ceiling_goes_after_a_time_of_small_requests(hold_ms: int) -> None:
    rack = _Derated(limit_hold_ms=hold_ms)
    for _ in range(2):  # the second time takes as long as the first
        rack.run(800, alarm=True)
        assert rack.run(800) == 875
        assert rack.run(hold_ms - 240, part=0.49) == 875
        assert rack.run(160) == 875  # one larger request begins the time again
        assert rack.run(hold_ms - 240, part=0.49) == 875
        assert rack.run(400, part=0.49) == 1000
        assert rack.run(hold_ms + 800) == 1000


def test_a_request_the_other_way_counts_as_none() -> None:
    rack = _Derated(limit_hold_ms=10_000)
    rack.run(800, alarm=True)
    assert rack.run(11_000, part=-1.0) == 1000


def test_a_start_has_no_ceiling() -> None:
    rack = _Derated()
    rack.run(800, alarm=True)
    rack.limits.start()
    assert rack.run(80) == 1000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [500, 970, 990])
def test_power_limits_keep_the_current_below_its_derate(name: str, part: int) -> None:
    limits, s, p = _limits(name, limit_current_permille=part)
    for percent in (100, 60, 30, 10):
        s[I.RACK_dV] = 3260 * p.cell_series // 10_000 * percent
        limits.slot(0, 80)
        limits.slot(1, 80)
        limits.scan(10)
        for by, power_W, key in (
            (I.LIMIT_CHARGE_BY, I.LIMIT_CHARGE_W, "charge_current_derate"),
            (I.LIMIT_DISCHARGE_BY, I.LIMIT_DISCHARGE_W, "discharge_current_derate"),
        ):
            level_dA = abs(p.alarms_levels[L.WIDTH * (code_of(key) - 1) + L.SET])
            most_W = level_dA * part * s[I.RACK_dV] / 100_000
            assert s[power_W] <= most_W * 1.001
            if most_W < p.rack_power_max_W * 0.99:
                assert s[by] == LIM_CURRENT and s[power_W] >= most_W * 0.99


def test_a_voltage_that_was_not_measured_limits_nothing() -> None:
    """At the start; later the sum of the cells contradicts it (sum_trip)."""
    limits, s, p = _limits("lfp")
    s[I.RACK_dV] = 0
    limits.slot(0, 80)
    limits.scan(10)
    assert s[I.LIMIT_CHARGE_W] == p.rack_power_max_W
