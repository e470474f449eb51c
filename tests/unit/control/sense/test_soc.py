"""State of charge, energy, health and cycles."""

from array import array
from itertools import pairwise
from typing import Any

import pytest
from halite.hosts.controller_rig import params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.protect.retained import Retained
from rack.control.sense.soc import SocEstimator
from rack.generated import ids as I
from rack.generated import retained_words as W


def _estimator(name: str = "sodium", **changed: Any) -> tuple[SocEstimator, array, Any]:
    s = array("i", [0] * I.COUNT)
    p = params(name, **changed)
    return SocEstimator(p, s, Retained(p).words), s, p


def _exact(soc: SocEstimator) -> int:
    """Charge in the cells in 0.1 A ms, remainder and all."""
    return soc.words[W.CHARGE_dAs] * 1000 - soc.rest_dAms


@given(st.integers(0, 999), st.integers(-20_000, 20_000), st.integers(0, 1000), st.integers(1_000_000, 6_000_000))
def test_no_step_gains_or_loses_any_estimator(rest: int, current: int, dt: int, held: int) -> None:
    """By induction no number of steps does: 10**8 steps of I over dt move exactly 10**8 * I * dt."""
    soc, s, _ = _estimator()
    soc.words[W.CHARGE_dAs] = held
    soc.rest_dAms = rest
    before = _exact(soc)
    s[I.CURRENT_dA] = current
    soc.scan(dt)
    assert _exact(soc) == before - current * dt
    assert 0 <= soc.rest_dAms < 1000


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(-20_000, 20_000), st.integers(0, 1000)), max_size=200))
def test_throughput_counts_both_directions(steps: list[tuple[int, int]]) -> None:
    """The throughput counts both directions, and the charge stays between empty and full."""
    soc, s, p = _estimator("bench")
    moved_in = moved_out = 0
    for current, dt in steps:
        held = _exact(soc)
        s[I.CURRENT_dA] = current
        soc.scan(dt)
        assert 0 <= soc.words[W.CHARGE_dAs] <= p.cell_capacity_dAh * 3600
        assert abs(held - _exact(soc)) <= abs(current * dt) + 1000
        moved_in += max(0, -current * dt)
        moved_out += max(0, current * dt)
    k = soc.words
    told_in = k[W.IN_Ah] * 36_000 + k[W.IN_dAs]
    told_out = k[W.OUT_Ah] * 36_000 + k[W.OUT_dAs]
    assert k[W.IN_dAs] < 36_000 and k[W.OUT_dAs] < 36_000
    # the carried remainder floors each step, so both directions count the same excess
    assert abs((told_out - told_in) * 1000 + soc.rest_dAms - (moved_out - moved_in)) < 1000
    assert told_in * 1000 - moved_in <= 1000 * len(steps)


@given(st.integers(0, 7_560_000))
def test_soc_follows_the_capacity_and_soe_the_curve(held: int) -> None:
    """SoC is the share of the capacity; SoE is the share of the area under the OCV curve."""
    soc, s, p = _estimator()
    soc.words[W.CHARGE_dAs] = held
    soc.derive()
    expected = held * 10_000 // 7_560_000
    assert s[I.SOC_cpct] == expected
    points = list(zip(p.cell_ocv[0::2], p.cell_ocv[1::2], strict=True))

    def volts(x: float) -> float:
        for (x0, y0), (x1, y1) in pairwise(points):
            if x <= x1:
                return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        raise AssertionError

    def area(x: float) -> float:
        ends = [0.0, *(float(p) for p, _ in points if 0 < p < x), float(x)]
        return sum((b - a) * (volts(a) + volts(b)) / 2 for a, b in pairwise(ends))

    assert abs(s[I.SOE_cpct] - 10_000 * area(expected) / area(10_000)) <= 3


@given(st.integers(-20_000, 20_000), st.lists(st.integers(0, 1000), max_size=20), st.integers(-(2**29), 2**29))
def test_a_current_seen_all_the_time_ignores_the_accumulator(current: int, steps: list[int], told: int) -> None:
    """When each scan had a new current, the accumulator of the sensor does not change the count."""
    soc, s, _ = _estimator()
    s[I.CURRENT_dA] = current
    before = _exact(soc)
    for dt in steps:
        soc.scan(dt)
        soc.metered(told, True)
    assert _exact(soc) == before - current * sum(steps)


@given(st.integers(-10_000, 10_000), st.integers(-10_000, 10_000), st.integers(1, 200), st.integers(1, 200))
def test_what_nobody_saw_is_counted_by_the_accumulator(seen: int, true: int, before: int, gap: int) -> None:
    soc, s, _ = _estimator()
    s[I.COILS] = 5
    start = _exact(soc)
    s[I.CURRENT_dA] = seen
    for _ in range(before):
        soc.scan(10)
    for at in range(gap):
        s[I.CURRENT_AGE_ms] = 10 * (at + 1)
        soc.scan(10)
    s[I.CURRENT_AGE_ms] = 0
    whole = 10 * (seen * before + true * gap)
    soc.metered(whole // 1000, True)
    assert abs(start - _exact(soc) - whole) <= 2000
    soc.metered(123, True)               # each scan since then had a current
    assert abs(start - _exact(soc) - whole) <= 2000


@pytest.mark.parametrize(("told", "whole"), [(3_000, True), (-3_000, True), (40, False)])
def test_an_accumulator_that_cannot_be_right_changes_nothing(told: int, whole: bool) -> None:
    """In 100 ms unseen 2000 A make 2000 dAs; one that was cleared in between has counted less."""
    soc, s, _ = _estimator()
    s[I.COILS] = 5
    s[I.CURRENT_AGE_ms] = 100
    before = _exact(soc)
    soc.scan(100)
    soc.metered(told, whole)
    assert _exact(soc) == before


def test_the_time_unseen_limits_what_the_accumulator_may_add() -> None:
    for told, moved in ((2_400, 2_400), (2_401, 0)):
        soc, s, _ = _estimator()
        s[I.CURRENT_AGE_ms] = 100
        before = soc.words[W.CHARGE_dAs]
        soc.scan(100)
        soc.metered(told, True)
        assert before - soc.words[W.CHARGE_dAs] == moved


def test_a_lost_sensor_counts_zero_once_coils_are_off() -> None:
    """The last current of a lost sensor does not count once the contactors are open."""
    soc, s, _ = _estimator()
    s[I.CURRENT_dA] = 2_000
    s[I.CURRENT_AGE_ms] = 10
    s[I.COILS] = 5
    before = _exact(soc)
    soc.scan(10)
    assert before - _exact(soc) == 20_000
    s[I.COILS] = 0
    for _ in range(1000):
        soc.scan(1000)
    assert before - _exact(soc) == 20_000


def test_an_unseen_current_is_not_rest_while_a_coil_is_on() -> None:
    """A current without a new value does not count as rest while a contactor is held."""
    soc, s, p = _estimator("sodium", soc_rest_s=5)
    soc.words[W.CHARGE_dAs] = 756 * 1000
    s[I.COILS] = 5
    s[I.CURRENT_AGE_ms] = 10
    _rest(soc, s, p, 3590)
    assert soc.words[W.CHARGE_dAs] == 756 * 1000
    s[I.COILS] = 0
    _rest(soc, s, p, 3590)
    assert s[I.SOC_cpct] > 8_500


def _rest(soc: SocEstimator, s: array, p: Any, mV: int, seconds: int = 60) -> None:
    s[I.CURRENT_dA] = 0
    s[I.CELL_MEAN_mV] = mV
    for _ in range(p.soc_rest_s + seconds):
        soc.scan(1000)
        for _ in range(4):
            soc.slot(250)


@settings(max_examples=15)
@given(st.integers(500, 9500), st.integers(0, 10_000))
def test_at_rest_sodium_finds_its_charge_from_its_voltage(true: int, believed: int) -> None:
    """The correction inverts the configured table within 0.2 %; test_soc_accuracy.py has cells of another table."""
    soc, s, p = _estimator("sodium", soc_rest_s=5)
    soc.words[W.CHARGE_dAs] = 756 * believed
    ocv = p.cell_ocv
    mV = next(ocv[at - 1] + (ocv[at + 1] - ocv[at - 1]) * (true - ocv[at - 2]) / (ocv[at] - ocv[at - 2])
              for at in range(2, len(ocv), 2) if true <= ocv[at])  # fmt: skip
    _rest(soc, s, p, round(mV), 120)
    assert abs(s[I.SOC_cpct] - true) <= 20


@settings(max_examples=15)
@given(st.integers(3268, 3273), st.integers(0, 10_000))
def test_on_lfp_s_plateau_the_count_is_left_alone(mV: int, believed: int) -> None:
    soc, s, p = _estimator("lfp", soc_rest_s=5)
    soc.words[W.CHARGE_dAs] = 1008 * believed
    _rest(soc, s, p, mV)
    assert soc.words[W.CHARGE_dAs] == 1008 * believed


@pytest.mark.parametrize("age", [I.CURRENT_AGE_ms, I.CELLS_AGE_ms])
def test_a_reading_that_is_old_proves_no_rest(age: int) -> None:
    soc, s, p = _estimator("sodium", soc_rest_s=5)
    held = soc.words[W.CHARGE_dAs]
    s[age] = 5_000
    _rest(soc, s, p, 3590)
    assert soc.words[W.CHARGE_dAs] == held
    s[age] = 4_999
    _rest(soc, s, p, 3590)
    assert soc.words[W.CHARGE_dAs] > held


def test_no_ocv_correction_before_rest_or_outside_the_curve() -> None:
    """The OCV corrects neither before the rest time nor outside the curve."""
    soc, s, p = _estimator("sodium", soc_rest_s=100)
    s[I.CELL_MEAN_mV] = 3590
    held = soc.words[W.CHARGE_dAs]
    s[I.CURRENT_dA] = 0
    for second in range(99):
        soc.scan(1000)
        for _ in range(4):
            soc.slot(250)
        if second == 50:
            s[I.CURRENT_dA] = p.soc_rest_dA + 1
            soc.scan(0)
            s[I.CURRENT_dA] = 0
    assert soc.words[W.CHARGE_dAs] == held
    for mV in (0, 1899, 3851, 5000):
        _rest(soc, s, p, mV, 3)
        assert soc.words[W.CHARGE_dAs] == held


def test_capacity_is_learnt_between_two_rests_far_apart() -> None:
    soc, s, p = _estimator("sodium", soc_rest_s=5)
    soc.words[W.CHARGE_dAs] = 756 * 9000
    _rest(soc, s, p, 3590)                       # 90 %
    s[I.CURRENT_dA] = 2100
    for _ in range(1620):                           # 94.5 Ah of 210: 45 %
        soc.scan(1000)
    _rest(soc, s, p, 2940)                       # 40 %: 50 % of the scale for 45 % of the nominal
    assert soc.words[W.SOH_cpct] == 10_000 + (9000 - 10_000) // 4
    assert s[I.SOH_cpct] == soc.words[W.SOH_cpct]
    assert abs(s[I.SOC_cpct] - 4000) <= 1
    learnt = soc.words[W.SOH_cpct]
    _rest(soc, s, p, 2880)                       # too near to tell
    assert soc.words[W.SOH_cpct] == learnt


def test_a_full_cycle_is_one_capacity_out() -> None:
    soc, s, _ = _estimator("bench")
    for _ in range(2):
        s[I.CURRENT_dA] = 230
        for _ in range(3600):
            soc.scan(1000)
        s[I.CURRENT_dA] = -230
        for _ in range(3600):
            soc.scan(1000)
    soc.derive()
    assert (s[I.DISCHARGED_Ah], s[I.CHARGED_Ah], s[I.CYCLES_C]) == (46, 46, 230)


@pytest.mark.parametrize("capacity", [10, 11, 199, 2101, 10_000])
def test_capacity_scales_exactly_for_every_size(capacity: int) -> None:
    soc, _, _ = _estimator("bench", cell_capacity_dAh=capacity)
    for soh in (3000, 9999, 10_000, 12_000):
        soc.words[W.SOH_cpct] = soh
        assert soc.capacity_dAs() == capacity * 3600 * soh // 10_000
