"""Overload over time, and the plausibility of the current sensor."""

from array import array
from fractions import Fraction

import pytest
from halite.config.rows import levels_at
from halite.hosts.controller_rig import Rig, params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.sense.overcurrent import Overcurrent, add_overload, overload
from rack.definitions.alarms import code_of
from rack.generated import alarm_levels as L
from rack.generated import ids as I
from rack.generated import retained_words as W


@settings(max_examples=60)
@given(st.integers(10, 10_000), st.integers(10, 100) | st.integers(10, 20_000_000),
       st.lists(st.tuples(st.integers(0, 4_000_000), st.integers(0, 100)), max_size=50))  # fmt: skip
def test_an_overload_is_the_integral_above_the_rating(
    rated: int, budget: int, steps: list[tuple[int, int]]
) -> None:
    """The used budget is the integral of the squared current above the squared rating."""
    words = overload(rated, budget)
    exact = Fraction(0)
    for square, dt in steps:
        told = add_overload(words, square, dt)
        exact += Fraction((square - rated * rated // 100) * dt, 1000)
        exact = max(Fraction(0), exact)
        if exact > 2 * budget:
            exact = Fraction(2 * budget)
        assert 0 <= told <= 2 * 1000 * 1.02
        assert abs(told - exact * 1000 / budget) <= Fraction(1000, budget) + told // 50 + 1


def test_twice_the_rating_uses_the_budget_in_its_time() -> None:
    """Twice the rating uses the budget in its time; the rating itself does not change the used part."""
    words = overload(2000, 1_200_000)    # 200 A; 3 x 200^2 A2 for 10 s
    assert [add_overload(words, 400 * 400, 10) for _ in range(1000)][-1] == 1000
    assert [add_overload(words, 200 * 200, 10) for _ in range(1000)][-1] == 1000
    assert [add_overload(words, 0, 10) for _ in range(3100)][-1] == 0


def test_an_overload_of_less_than_a_unit_a_scan_adds_up() -> None:
    words = overload(10, 10)             # 1 A2 above the rating for 5 s of 10 A2s
    assert [add_overload(words, 2, 10) for _ in range(500)][-1] == 500
    assert [add_overload(words, 0, 10) for _ in range(500)][-1] == 0


@pytest.mark.parametrize("current", [180, -100])
def test_a_silent_sensors_last_value_does_not_count(current: int) -> None:
    """The last value of a silent sensor is neither counted as charge nor as heat or overload."""
    rig = Rig("bench", soc_rest_s=10).close()
    rig.s[I.CURRENT_dA] = current
    rig.run(1000)
    rig.silent.add("current")
    rig.run(200)
    assert rig.s[I.TRIP_CODE] == code_of("current_lost")
    soc, used = rig.s[I.SOC_cpct], rig.c.retained[W.CHARGE_dAs]
    assert rig.s[I.CURRENT_dA] == 0
    rig.run(60_000)
    assert (rig.s[I.SOC_cpct], rig.c.retained[W.CHARGE_dAs]) == (soc, used)
    assert rig.s[I.I2T_CHARGE_PERMILLE] == rig.s[I.I2T_DISCHARGE_PERMILLE] == rig.s[I.HEAT_W] == 0
    assert rig.s[I.CHARGE_TEMP_MAX_ddegC] == 250


def test_a_reading_just_younger_than_the_alarm_still_counts() -> None:
    s = array("i", [0] * I.COUNT)
    p = params("bench")
    unit = Overcurrent(p, s)
    for age, kept in ((p.alarms_levels[levels_at("current_lost") + L.SET] - 1, 77), (10**6, 0)):
        s[I.CURRENT_dA], s[I.CURRENT_AGE_ms] = 77, age
        unit.scan(10)
        assert s[I.CURRENT_dA] == kept


@given(st.integers(-30_000, 30_000))
def test_charge_and_discharge_overload_are_separate(current: int) -> None:
    """Charge and discharge have separate budgets, and a current at the end of the sensor's range is reported."""
    s = array("i", [0] * I.COUNT)
    p = params("sodium")
    unit = Overcurrent(p, s)
    s[I.CURRENT_dA] = current
    for _ in range(3):
        unit.scan(1000)
    beyond = abs(current) >= p.overcurrent_sensor_dA
    assert s[I.CURRENT_BAD] == (1 if beyond else 0)
    assert s[I.I2T_CHARGE_PERMILLE] == 0 or current < -p.overcurrent_charge_dA
    assert s[I.I2T_DISCHARGE_PERMILLE] == 0 or current > p.overcurrent_discharge_dA
    if abs(current) >= 6000:
        assert s[I.I2T_CHARGE_PERMILLE] + s[I.I2T_DISCHARGE_PERMILLE] > 0


@given(st.integers(-2000, 2000))
def test_charge_temperatures_count_only_while_charging(current: int) -> None:
    """The charge temperatures follow the cells while charging current flows; otherwise they are 25 degC."""
    s = array("i", [0] * I.COUNT)
    p = params("lfp")
    unit = Overcurrent(p, s)
    s[I.TEMP_MAX_ddegC], s[I.TEMP_COLD_ddegC], s[I.CURRENT_dA] = 620, -150, current
    unit.scan(10)
    charging = current < -p.soc_rest_dA
    assert s[I.CHARGE_TEMP_MAX_ddegC] == (620 if charging else 250)
    assert s[I.CHARGE_TEMP_MIN_ddegC] == (-150 if charging else 250)


@given(st.integers(-20_000, 20_000), st.integers(1, 20))
def test_the_mean_square_current_covers_the_time_since_taken(current: int, tenths: int) -> None:
    """The mean square current is that of the time since it was last taken."""
    s = array("i", [0] * I.COUNT)
    unit = Overcurrent(params(), s)
    s[I.CURRENT_dA] = current
    for _ in range(tenths * 10):
        unit.scan(10)
    exact = current * current // 100
    assert abs(unit.take_mean_square(tenths * 100) - exact) <= 10
    assert unit.take_mean_square(1000) == 0
