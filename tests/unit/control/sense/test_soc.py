"""State of charge, energy, health and cycles."""

from array import array
from itertools import pairwise
from typing import Any

import pytest
from halite.hosts.controller_rig import params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.sense.soc import (
    KEEP_WORDS,
    Charge,
    KEEP_CHARGE_dAs,
    KEEP_IN_Ah,
    KEEP_IN_dAs,
    KEEP_OUT_Ah,
    KEEP_OUT_dAs,
    KEEP_SOH_cpct,
)
from rack.generated import ids as I


def _charge(name: str = "sodium", **changed: Any) -> tuple[Charge, array, Any]:
    s = array("i", [0] * I.COUNT)
    p = params(name, **changed)
    return Charge(p, s), s, p


def _exact(charge: Charge) -> int:
    """Charge in the cells in 0.1 A ms, remainder and all."""
    return charge.retained[KEEP_CHARGE_dAs] * 1000 - charge._rest_dAms


@given(st.integers(0, 999), st.integers(-20_000, 20_000), st.integers(0, 1000), st.integers(1_000_000, 6_000_000))
def test_no_step_gains_or_loses_any_charge(rest: int, current: int, dt: int, held: int) -> None:
    """By induction no number of steps does: 10**8 steps of I over dt move exactly 10**8 * I * dt."""
    charge, s, _ = _charge()
    charge.retained[KEEP_CHARGE_dAs] = held
    charge._rest_dAms = rest
    before = _exact(charge)
    s[I.CURRENT_dA] = current
    charge.scan(dt)
    assert _exact(charge) == before - current * dt
    assert 0 <= charge._rest_dAms < 1000


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(-20_000, 20_000), st.integers(0, 1000)), max_size=200))
def test_throughput_counts_both_directions_and_the_charge_stays_in_the_cells(steps: list[tuple[int, int]]) -> None:
    charge, s, p = _charge("bench")
    moved_in = moved_out = 0
    for current, dt in steps:
        held = _exact(charge)
        s[I.CURRENT_dA] = current
        charge.scan(dt)
        assert 0 <= charge.retained[KEEP_CHARGE_dAs] <= p.cell_capacity_dAh * 3600
        assert abs(held - _exact(charge)) <= abs(current * dt) + 1000
        moved_in += max(0, -current * dt)
        moved_out += max(0, current * dt)
    k = charge.retained
    told_in = k[KEEP_IN_Ah] * 36_000 + k[KEEP_IN_dAs]
    told_out = k[KEEP_OUT_Ah] * 36_000 + k[KEEP_OUT_dAs]
    assert k[KEEP_IN_dAs] < 36_000 and k[KEEP_OUT_dAs] < 36_000
    # the carried remainder floors each step: what one direction counts more, the other counts more too
    assert abs((told_out - told_in) * 1000 + charge._rest_dAms - (moved_out - moved_in)) < 1000
    assert told_in * 1000 - moved_in <= 1000 * len(steps)


@given(st.integers(0, 7_560_000))
def test_soc_is_the_share_of_the_capacity_and_energy_follows_the_curve(held: int) -> None:
    charge, s, p = _charge()
    charge.retained[KEEP_CHARGE_dAs] = held
    charge.derive()
    soc = held * 10_000 // 7_560_000
    assert s[I.SOC_cpct] == soc
    points = list(zip(p.cell_ocv[0::2], p.cell_ocv[1::2], strict=True))

    def volts(x: float) -> float:
        for (x0, y0), (x1, y1) in pairwise(points):
            if x <= x1:
                return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        raise AssertionError

    def area(x: float) -> float:
        ends = [0.0, *(float(p) for p, _ in points if 0 < p < x), float(x)]
        return sum((b - a) * (volts(a) + volts(b)) / 2 for a, b in pairwise(ends))

    assert abs(s[I.SOE_cpct] - 10_000 * area(soc) / area(10_000)) <= 3


@given(st.integers(-20_000, 20_000), st.lists(st.integers(0, 1000), max_size=20), st.integers(-(2**29), 2**29))
def test_what_was_seen_all_the_time_is_counted_by_the_scans_alone(current: int, steps: list[int], told: int) -> None:
    charge, s, _ = _charge()
    s[I.CURRENT_dA] = current
    before = _exact(charge)
    for dt in steps:
        charge.scan(dt)
        charge.metered(told, True)
    assert _exact(charge) == before - current * sum(steps)


@given(st.integers(-10_000, 10_000), st.integers(-10_000, 10_000), st.integers(1, 200), st.integers(1, 200))
def test_what_nobody_saw_is_counted_by_the_accumulator(seen: int, true: int, before: int, gap: int) -> None:
    charge, s, _ = _charge()
    s[I.COILS] = 5
    start = _exact(charge)
    s[I.CURRENT_dA] = seen
    for _ in range(before):
        charge.scan(10)
    for at in range(gap):
        s[I.CURRENT_AGE_ms] = 10 * (at + 1)
        charge.scan(10)
    s[I.CURRENT_AGE_ms] = 0
    whole = 10 * (seen * before + true * gap)
    charge.metered(whole // 1000, True)
    assert abs(start - _exact(charge) - whole) <= 2000
    charge.metered(123, True)               # nothing was missed since
    assert abs(start - _exact(charge) - whole) <= 2000


@pytest.mark.parametrize(("told", "whole"), [(3_000, True), (-3_000, True), (40, False)])
def test_an_accumulator_that_cannot_be_right_changes_nothing(told: int, whole: bool) -> None:
    """In 100 ms unseen 2000 A make 2000 dAs; one that was cleared in between has counted less."""
    charge, s, _ = _charge()
    s[I.COILS] = 5
    s[I.CURRENT_AGE_ms] = 100
    before = _exact(charge)
    charge.scan(100)
    charge.metered(told, whole)
    assert _exact(charge) == before


def test_the_time_unseen_limits_what_the_accumulator_may_add() -> None:
    for told, moved in ((2_400, 2_400), (2_401, 0)):
        charge, s, _ = _charge()
        s[I.CURRENT_AGE_ms] = 100
        before = charge.retained[KEEP_CHARGE_dAs]
        charge.scan(100)
        charge.metered(told, True)
        assert before - charge.retained[KEEP_CHARGE_dAs] == moved


def test_a_lost_sensor_is_not_counted_on_once_the_contactors_are_open() -> None:
    charge, s, _ = _charge()
    s[I.CURRENT_dA] = 2_000
    s[I.CURRENT_AGE_ms] = 10
    s[I.COILS] = 5
    before = _exact(charge)
    charge.scan(10)
    assert before - _exact(charge) == 20_000
    s[I.COILS] = 0
    for _ in range(1000):
        charge.scan(1000)
    assert before - _exact(charge) == 20_000


def test_a_current_that_is_not_seen_is_no_rest_while_a_contactor_is_held() -> None:
    charge, s, p = _charge("sodium", soc_rest_s=5)
    charge.retained[KEEP_CHARGE_dAs] = 756 * 1000
    s[I.COILS] = 5
    s[I.CURRENT_AGE_ms] = 10
    _rest(charge, s, p, 3590)
    assert charge.retained[KEEP_CHARGE_dAs] == 756 * 1000
    s[I.COILS] = 0
    _rest(charge, s, p, 3590)
    assert s[I.SOC_cpct] > 8_500


def _rest(charge: Charge, s: array, p: Any, mV: int, seconds: int = 60) -> None:
    s[I.CURRENT_dA] = 0
    s[I.CELL_MEAN_mV] = mV
    for _ in range(p.soc_rest_s + seconds):
        charge.scan(1000)
        for _ in range(4):
            charge.slot(250)


@settings(max_examples=15)
@given(st.integers(500, 9500), st.integers(0, 10_000))
def test_at_rest_sodium_finds_its_charge_from_its_voltage(true: int, believed: int) -> None:
    charge, s, p = _charge("sodium", soc_rest_s=5)
    charge.retained[KEEP_CHARGE_dAs] = 756 * believed
    ocv = p.cell_ocv
    mV = next(ocv[at - 1] + (ocv[at + 1] - ocv[at - 1]) * (true - ocv[at - 2]) / (ocv[at] - ocv[at - 2])
              for at in range(2, len(ocv), 2) if true <= ocv[at])  # fmt: skip
    _rest(charge, s, p, round(mV), 120)
    assert abs(s[I.SOC_cpct] - true) <= 20


@settings(max_examples=15)
@given(st.integers(3268, 3273), st.integers(0, 10_000))
def test_on_lfp_s_plateau_the_count_is_left_alone(mV: int, believed: int) -> None:
    charge, s, p = _charge("lfp", soc_rest_s=5)
    charge.retained[KEEP_CHARGE_dAs] = 1008 * believed
    _rest(charge, s, p, mV)
    assert charge.retained[KEEP_CHARGE_dAs] == 1008 * believed


@pytest.mark.parametrize("age", [I.CURRENT_AGE_ms, I.CELLS_AGE_ms])
def test_a_reading_that_is_old_proves_no_rest(age: int) -> None:
    charge, s, p = _charge("sodium", soc_rest_s=5)
    held = charge.retained[KEEP_CHARGE_dAs]
    s[age] = 5_000
    _rest(charge, s, p, 3590)
    assert charge.retained[KEEP_CHARGE_dAs] == held
    s[age] = 4_999
    _rest(charge, s, p, 3590)
    assert charge.retained[KEEP_CHARGE_dAs] > held


def test_nothing_is_anchored_before_the_rest_or_outside_the_curve() -> None:
    charge, s, p = _charge("sodium", soc_rest_s=100)
    s[I.CELL_MEAN_mV] = 3590
    held = charge.retained[KEEP_CHARGE_dAs]
    s[I.CURRENT_dA] = 0
    for second in range(99):
        charge.scan(1000)
        for _ in range(4):
            charge.slot(250)
        if second == 50:
            s[I.CURRENT_dA] = p.soc_rest_dA + 1
            charge.scan(0)
            s[I.CURRENT_dA] = 0
    assert charge.retained[KEEP_CHARGE_dAs] == held
    for mV in (0, 1899, 3851, 5000):
        _rest(charge, s, p, mV, 3)
        assert charge.retained[KEEP_CHARGE_dAs] == held


def test_capacity_is_learnt_between_two_rests_far_apart() -> None:
    charge, s, p = _charge("sodium", soc_rest_s=5)
    charge.retained[KEEP_CHARGE_dAs] = 756 * 9000
    _rest(charge, s, p, 3590)                       # 90 %
    s[I.CURRENT_dA] = 2100
    for _ in range(1620):                           # 94.5 Ah of 210: 45 %
        charge.scan(1000)
    _rest(charge, s, p, 2940)                       # 40 %: 50 % of the scale for 45 % of the nominal
    assert charge.retained[KEEP_SOH_cpct] == 10_000 + (9000 - 10_000) // 4
    assert s[I.SOH_cpct] == charge.retained[KEEP_SOH_cpct]
    assert abs(s[I.SOC_cpct] - 4000) <= 1
    learnt = charge.retained[KEEP_SOH_cpct]
    _rest(charge, s, p, 2880)                       # too near to tell
    assert charge.retained[KEEP_SOH_cpct] == learnt


def test_a_full_cycle_is_one_capacity_out() -> None:
    charge, s, _ = _charge("bench")
    for _ in range(2):
        s[I.CURRENT_dA] = 230
        for _ in range(3600):
            charge.scan(1000)
        s[I.CURRENT_dA] = -230
        for _ in range(3600):
            charge.scan(1000)
    charge.derive()
    assert (s[I.DISCHARGED_Ah], s[I.CHARGED_Ah], s[I.CYCLES_C]) == (46, 46, 230)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=KEEP_WORDS, max_size=KEEP_WORDS))
def test_whatever_was_kept_the_charge_is_possible(words: list[int]) -> None:
    charge, s, _ = _charge()
    charge.restore(array("i", words))
    assert 0 <= s[I.SOC_cpct] <= 10_000 and 0 <= s[I.SOE_cpct] <= 10_000
    assert 3000 <= s[I.SOH_cpct] <= 12_000
    assert all(0 <= word < 2**30 for word in charge.retained)


def test_what_was_kept_is_taken_over() -> None:
    charge, s, _ = _charge()
    s[I.CURRENT_dA] = 1234
    for _ in range(5000):
        charge.scan(1000)
    charge.derive()
    other, t, _ = _charge()
    other.restore(charge.retained)
    assert list(other.retained) == list(charge.retained)
    assert t[I.SOC_cpct] == s[I.SOC_cpct] != 5000


@pytest.mark.parametrize("capacity", [10, 11, 199, 2101, 10_000])
def test_capacity_scales_exactly_for_every_size(capacity: int) -> None:
    charge, _, _ = _charge("bench", cell_capacity_dAh=capacity)
    for soh in (3000, 9999, 10_000, 12_000):
        charge.retained[KEEP_SOH_cpct] = soh
        assert charge.capacity_dAs() == capacity * 3600 * soh // 10_000
