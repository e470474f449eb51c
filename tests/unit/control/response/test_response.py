"""The response as the grid and the rack see it: limits, delay, ramps, loss of mains, services."""

from array import array
from itertools import pairwise

import numpy as np
import pytest
from halite.hosts.response_rig import DC_LOW, STRAIGHT, Rig, freq_mHz, parameters, rocof_mHzps
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response.grid_services import STEP_ACTIVE, STEP_READY, STEP_SPENT, STEP_STATE
from rack.control.response.response import Response
from rack.generated import ids as I
from rack.generated import response_state as K

FREQUENCIES = st.floats(46.0, 54.0)
STORIES = st.lists(st.tuples(FREQUENCIES, st.integers(1, 30)), min_size=1, max_size=8)
PERIODS, NEAR, ANY = st.integers(1_230_000, 1_270_000), st.integers(1_100_000, 1_400_000), st.integers(0, 2**30 - 1)
ANY_COUNTS = st.lists(st.one_of(PERIODS, PERIODS, NEAR, ANY, st.integers(0, 700_000)), max_size=120)
CAPS = st.integers(10, 100_000)


def ppm(rig):
    return rig.response.state[K.NOW_PPM]


def test_half_a_hertz_low_asks_for_full_power_within_two_periods():
    rig = Rig()
    rig.periods(50.0, 40)
    assert rig.response.request_W == 0
    first, second = rig.periods(49.5, 2)
    assert first > 0
    assert second == 200_000


@pytest.mark.parametrize("phase", [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
def test_a_step_anywhere_in_a_period_changes_the_request_within_two_periods(phase):
    rig = Rig()
    rig.periods(50.0, 40)
    rig.period(1 / (phase / 50.0 + (1 - phase) / 49.5))  # the step falls inside this one
    rig.period(49.5)
    assert rig.response.request_W > 0


@settings(max_examples=60, deadline=None)
@given(st.floats(-480, 480), st.floats(0, 1))
def test_a_step_is_never_answered_by_going_back_on_the_way(step_mHz, phase):
    rig = Rig()
    rig.periods(50.0, 40)
    final = 50.0 + step_mHz / 1000
    requests = [0, rig.period(1 / (phase / 50.0 + (1 - phase) / final)), *rig.periods(final, 20)]
    if step_mHz > 0:
        requests = [-r for r in requests]
    slack = 100  # W: rounding of 0.1 mHz on the curve
    assert all(later >= earlier - slack for earlier, later in pairwise(requests))


@given(
    st.sampled_from([STRAIGHT, DC_LOW]),
    st.lists(st.tuples(st.floats(-1, 1), st.integers(1, 25)), min_size=1, max_size=12),
    st.integers(20, 400),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_asked_for_inside_the_dead_band_however_the_grid_wanders(curve, walk, window_ms):
    edge_mHz = min(abs(mHz) for mHz in curve[::2]) - 0.1
    rig = Rig(parameters(curve, grid_window_ms=window_ms))
    for share, number in walk:
        assert set(rig.periods(50.0 + share * edge_mHz / 1000, number)) == {0}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([49.4, 49.9, 50.6]),
    st.integers(-200_000, 200_000),
    ANY_COUNTS,
    st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 300_000), st.booleans()), min_size=1, max_size=10),
)
def test_the_request_is_within_the_limits_after_any_count(Hz, setpoint_W, counts, limits):
    rig = Rig(parameters(DC_LOW, response_inertia_permille_per_Hzps=1_000, pair_role=1))
    rig.s[I.SETPOINT_W] = setpoint_W
    rig.periods(Hz, 40)
    assert rig.response.request_W, "there is something to limit"
    for i, count in enumerate(counts):
        charge, discharge, permitted = limits[i % len(limits)]
        rig.response.set_limits(charge, discharge, permitted)
        for request in (rig.response.request_W, rig.response.on_period(count), rig.response.request_W):
            assert -charge * permitted <= request <= discharge * permitted
        rig.scans_until(rig.now_us + 20_000 * i)
        assert -charge * permitted <= rig.response.request_W <= discharge * permitted


@settings(max_examples=60, deadline=None)
@given(STORIES, CAPS, CAPS, st.integers(0, 300))
def test_ramp_caps_are_never_exceeded(story, up, down, delay_ms):
    rig = Rig(response_up_permille_ps=up, response_down_permille_ps=down, response_delay_ms=delay_ms)
    rig.periods(50.0, 12)
    before = ppm(rig)
    for Hz, number in story:
        for _ in range(number):
            start_us = rig.now_us
            rig.period(Hz)
            now, ms = ppm(rig), (rig.now_us - start_us) / 1000
            away = abs(now) > abs(before) or now * before < 0
            assert now * before >= 0 or before == 0, "through zero only in two steps"
            assert abs(now - before) <= (up if away else down) * ms + 1
            before = now


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 600), st.floats(48.0, 52.0), st.integers(12, 60))
def test_nothing_moves_before_the_delay_and_all_has_moved_soon_after(delay_ms, Hz, quiet):
    rig = Rig(response_delay_ms=delay_ms)
    rig.periods(50.0, quiet)
    start_us = rig.now_us
    now_ms = 0
    answer = rig.periods(Hz, 14)[-1] if delay_ms == 0 else 0
    if abs(Hz - 50.0) < 0.1 or not delay_ms:
        assert answer == 0 or answer * (50.0 - Hz) > 0
        return
    # Below the jump the window has to turn: 100 mHz in three samples of ten weigh 23.6 % (10 + 18 + 24 of 220), beyond
    # the dead band of 20 mHz; what is due then goes out with the next edge.
    soon_ms = delay_ms + 4 * 1000 / Hz
    first = None
    while now_ms < soon_ms:
        request = rig.period(Hz)
        now_ms = (rig.now_us - start_us) / 1000
        if request and first is None:
            first = now_ms
    assert first is not None
    assert first >= delay_ms


@st.composite
def curves(draw):
    """Any curve that the kernel takes, also with power at nominal frequency, as (mHz, permille) knots."""
    mHz = draw(st.lists(st.integers(-1_000, 1_000), min_size=2, max_size=8, unique=True))
    permille = draw(st.lists(st.integers(-1_000, 1_000), min_size=len(mHz), max_size=len(mHz)))
    return list(zip(sorted(mHz), sorted(permille, reverse=True), strict=True))


@settings(max_examples=60, deadline=None)
@given(curves(), st.integers(100, 2_000_000), st.lists(st.integers(-11_000, 11_000), min_size=2, max_size=30))
def test_any_curve_is_answered_monotone_and_to_the_watt_between_its_knots(curve, power_W, deviations):
    """Steady, at deviations in 0.1 mHz; a window of one period measures them exactly."""
    rig = Rig(parameters([n for knot in curve for n in knot], rack_power_max_W=power_W, grid_window_ms=20),
              charge_W=power_W, discharge_W=power_W)  # fmt: skip
    answers = {}
    for tenths in sorted([*deviations, *(10 * mHz + off for mHz, _ in curve for off in (-1, 0, 1))]):
        answers[tenths] = rig.periods(50.0 + tenths / 10_000, 3)[-1]
    assert list(answers.values()) == sorted(answers.values(), reverse=True)
    for tenths, answer_W in answers.items():
        exact = np.interp(tenths / 10, *zip(*curve, strict=True)) / 1_000 * power_W
        assert abs(answer_W - exact) <= 3 + power_W / 1_000_000, tenths
    assert all(answers[10 * mHz] == permille * power_W // 1_000 for mHz, permille in curve)


def test_without_permission_the_request_is_zero_at_once_and_comes_back_on_its_ramp():
    rig = Rig(response_up_permille_ps=1_000)
    rig.periods(49.5, 80)
    assert rig.response.request_W == 200_000
    rig.response.set_limits(200_000, 200_000, 0)
    assert rig.response.request_W == 0
    assert rig.period(49.5) == 0
    rig.response.set_limits(200_000, 200_000, 1)
    assert 0 < rig.period(49.5) <= 200_000 * 0.0203


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_limit_holds_in_the_next_period_too_and_permission_ends_all_of_it(sign):
    rig = Rig()
    rig.s[I.SETPOINT_W] = sign * 100_000
    rig.periods(50.0 - sign * 0.5, 60)
    assert rig.response.request_W == sign * 200_000
    rig.response.set_limits(30_000, 40_000, 1)
    assert rig.period(50.0 - sign * 0.5) == (40_000 if sign > 0 else -30_000)
    rig.response.set_limits(30_000, 40_000, 0)
    assert rig.period(50.0 - sign * 0.5) == 0


def test_a_lower_limit_holds_at_once_without_a_period():
    rig = Rig()
    rig.periods(49.5, 20)
    rig.response.set_limits(10_000, 30_000, 1)
    assert rig.response.request_W == 30_000


@pytest.mark.parametrize("nominal_mHz", [50_000, 60_000])
@pytest.mark.parametrize("phase_ms", range(0, 10, 3))
def test_loss_of_mains_is_seen_within_three_periods_held_and_ramped_to_zero(nominal_mHz, phase_ms):
    rig = Rig(grid_nominal_mHz=nominal_mHz)
    Hz = nominal_mHz / 1000 - 0.5
    rig._next_scan_us = phase_ms * 1000
    rig.periods(Hz, 40)
    last_us = rig.now_us
    seen_ms = None
    requests = []
    while rig.now_us < last_us + 1_500_000:
        rig.silence(1)
        rig.now_us += 1000
        if not rig.response.grid_valid and seen_ms is None:
            seen_ms = (rig.now_us - last_us) / 1000
        requests.append((rig.now_us - last_us, rig.response.request_W))
    assert seen_ms is not None and seen_ms <= 3 * 1000 / (nominal_mHz / 1000)
    held = [W for us, W in requests if us < 220_000]
    assert set(held) == {200_000}
    falling = [W for _, W in requests]
    assert falling == sorted(falling, reverse=True)
    zero_ms = next(us for us, W in requests if W == 0) / 1000
    assert 700 < zero_ms < 800  # 50..60 until seen, 200 held, 500 at 2 pu/s


@pytest.mark.parametrize("nominal_mHz", [50_000, 60_000])
@pytest.mark.parametrize("short_ms", [0, 1])
def test_a_scan_whose_clock_is_a_millisecond_short_does_not_put_off_the_loss(nominal_mHz, short_ms):
    rig = Rig(grid_nominal_mHz=nominal_mHz)
    rig.periods(nominal_mHz / 1000, 40)
    seen_ms = rig._next_scan_us // 1000 + short_ms
    rig.response.scan(seen_ms)
    last_ms = seen_ms - short_ms + 3 * 1000 // (nominal_mHz // 1000) // 10 * 10 - 10
    for now_ms in range(seen_ms - short_ms + 10, last_ms + 1, 10):
        assert rig.response.grid_valid
        rig.response.scan(now_ms)
    assert not rig.response.grid_valid


@pytest.mark.parametrize("nominal_mHz", [50_000, 60_000])
@pytest.mark.parametrize("late_ms", range(0, 10, 3))
def test_a_missing_edge_of_a_slow_grid_is_no_loss_whatever_the_scans_phase(nominal_mHz, late_ms):
    rig = Rig(grid_nominal_mHz=nominal_mHz)
    Hz = nominal_mHz / 1000 - 4
    rig._next_scan_us = late_ms * 1000
    rig.periods(Hz, 60)
    rig.silence(2000 / Hz)
    assert rig.response.grid_valid


def test_after_a_loss_of_mains_the_measurement_starts_afresh():
    rig = Rig()
    rig.periods(49.5, 40)
    rig.silence(2_000)
    assert rig.response.request_W == 0
    assert not rig.response.grid_valid
    assert set(rig.periods(50.0, 20)) == {0}
    assert rig.response.grid_valid
    assert freq_mHz(rig.response) == 50_000


def test_one_missing_edge_is_no_loss_of_mains():
    rig = Rig()
    rig.periods(49.8, 40)
    before = rig.response.request_W
    rig.silence(1000 / 49.8)
    rig.response.on_period(round(2e9 / 16 / 49.8))
    assert rig.response.grid_valid
    assert abs(rig.response.request_W - before) < 200


@pytest.mark.parametrize("count", [0, -1, 1, 2**30 - 1])
def test_a_count_that_is_no_period_changes_nothing(count):
    rig = Rig()
    before = rig.periods(49.6, 40)[-1]
    assert rig.response.on_period(count) == before
    assert freq_mHz(rig.response) == 49_600
    assert rig.response.state[K.REJECTED] == 1


def test_the_millisecond_counter_may_wrap():
    rig = Rig()
    rig._next_scan_us = rig._edge_us = (2**30 - 200) * 1000
    rig.periods(49.5, 40)
    assert rig.response.grid_valid
    assert rig.response.state[K.AGE_ms] < 30
    assert rig.response.request_W == 200_000


def test_the_setpoint_leaves_room_for_the_response_when_it_must():
    def settled(priority, setpoint_W):
        rig = Rig(response_priority=priority, pair_power_W=200_000, rack_power_max_W=150_000)
        rig.s[I.SETPOINT_W] = setpoint_W
        rig.periods(50.0, 700)
        base = rig.response.request_W
        return base, rig.periods(49.5, 20)[-1]

    assert settled(0, 200_000) == (200_000, 200_000)
    assert settled(1, 200_000) == (50_000, 200_000)
    assert settled(1, -200_000) == (-50_000, 100_000)


def test_the_setpoint_moves_at_its_own_ramp():
    rig = Rig(response_setpoint_permille_ps=100)
    rig.periods(50.0, 50)
    start_us = rig.now_us
    rig.s[I.SETPOINT_W] = 100_000
    for request in rig.periods(50.0, 200):
        assert request <= 20_000 * ((rig.now_us - start_us) / 1e6 + 0.01)
    assert 75_000 < rig.response.request_W <= 80_200


@pytest.mark.parametrize("what", ["setpoint", "recovery"])
def test_what_is_wanted_beside_the_response_begins_at_zero_when_the_rack_may_deliver(what):
    rig = Rig(response_recovery_permille=100, response_setpoint_permille_ps=100)
    rig.s[I.SETPOINT_W], rig.s[I.SOC_cpct] = (100_000, 5_000) if what == "setpoint" else (0, 9_000)
    for open_for in (100, 3):
        rig.response.set_limits(200_000, 200_000, 0)
        rig.periods(50.0, open_for)
        rig.response.set_limits(200_000, 200_000, 1)
        assert rig.period(50.0) <= 400
        assert rig.periods(50.0, 20)[-1] <= 200 * 42
        assert rig.periods(50.0, 400)[-1] == (100_000 if what == "setpoint" else 20_000)


def test_recovery_asks_for_no_more_than_the_limits_allow():
    rig = Rig(charge_W=4_000, response_recovery_permille=100, response_setpoint_permille_ps=500)
    rig.s[I.SOC_cpct] = 1_000
    rig.periods(50.0, 100)
    assert rig.response.state[K.WANTED] == -4_000


def step_rig(**changes):
    usual = {"response_step_permille": 1_000, "response_step_hold_ms": 5_000}
    return Rig(parameters([-500, 0, 500, 0], **{**usual, **changes}))


def test_the_step_service_triggers_holds_releases_and_rearms():
    rig = step_rig()
    service = rig.response._services
    rig.periods(49.71, 60)
    assert (service[STEP_STATE], rig.response.request_W) == (STEP_READY, 0)
    rig.periods(49.69, 30)
    assert (service[STEP_STATE], rig.response.request_W) == (STEP_ACTIVE, 200_000)
    rig.periods(50.0, 200)
    assert rig.response.request_W == 200_000, "held for its minimum duration although the grid recovered"
    released = rig.periods(50.0, 320)
    assert released == sorted(released, reverse=True)
    assert released[-1] == 0
    assert service[STEP_STATE] == STEP_SPENT
    rig.periods(49.6, 30)
    assert rig.response.request_W == 0, "not again before the grid has rested"
    rig.periods(50.0, 520)
    assert service[STEP_STATE] == STEP_READY
    rig.periods(49.6, 30)
    assert rig.response.request_W == 200_000


def test_a_dip_shorter_than_the_step_delay_does_not_trigger():
    rig = step_rig(response_step_delay_ms=400)
    rig.periods(50.0, 20)
    assert set(rig.periods(49.6, 10) + rig.periods(50.0, 20)) == {0}
    assert rig.periods(49.6, 40)[-1] == 200_000


def test_delivery_fades_after_its_duration_until_the_grid_has_rested():
    rig = Rig(response_duration_s=2, response_recovery_delay_s=1, response_release_permille_ps=1_000)
    assert rig.periods(49.5, 90)[-1] == 200_000
    assert rig.periods(49.5, 100)[-1] == 0
    assert rig.periods(50.0, 30)[-1] == 0
    assert rig.periods(49.5, 30)[-1] == 0, "a short rest gives no new energy"
    rig.periods(50.0, 60)
    assert rig.periods(49.5, 30)[-1] == 200_000


def test_recovery_moves_towards_the_target_and_yields_to_the_response():
    rig = Rig(response_recovery_permille=50, response_recovery_delay_s=1, response_setpoint_permille_ps=500)
    rig.s[I.SOC_cpct] = 4_000
    assert rig.periods(50.0, 45)[-1] == 0
    assert rig.periods(50.0, 40)[-1] == -10_000
    rig.s[I.SOC_cpct] = 4_900
    assert rig.periods(50.0, 10)[-1] == -10_000, "goes on inside the band until the target"
    rig.s[I.SOC_cpct] = 5_000
    assert rig.periods(50.0, 20)[-1] == 0
    for inside in (4_500, 4_600, 5_400, 5_500):
        rig.s[I.SOC_cpct] = inside
        assert set(rig.periods(50.0, 10)) == {0}, "begins only outside the band"
    rig.s[I.SOC_cpct] = 6_000
    assert rig.periods(50.0, 20)[-1] == 10_000
    assert rig.periods(50.3, 60)[-1] < -100_000, "the grid comes first"


def test_a_setpoint_s_ramp_loses_no_fraction_of_a_watt():
    """30 kW at 1 permille a second: 0.3 W a scan."""
    rig = Rig(rack_power_max_W=30_000, response_setpoint_permille_ps=1)
    rig.periods(50.0, 20)
    rig.s[I.SETPOINT_W] = 1_000
    assert abs(rig.periods(50.0, 100)[-1] - 60) <= 1
    assert abs(rig.periods(50.0, 100)[-1] - 120) <= 1


@pytest.mark.parametrize("sign", [-1, 1])
def test_inertia_opposes_the_rate_of_change_in_both_directions(sign):
    rig = Rig(parameters([-5_000, 0, 5_000, 0], response_inertia_permille_per_Hzps=500, response_inertia_band_mHzps=20))
    Hz = 50.0
    rig.periods(Hz, 60)
    assert rig.response.request_W == 0
    for _ in range(50):
        Hz += sign * 0.2 / Hz  # 200 mHz/s
        rig.period(Hz)
    assert abs(rocof_mHzps(rig.response) - sign * 200) < 5
    assert abs(rig.response.request_W + sign * 0.5 * 0.180 * 200_000) < 600


@pytest.mark.parametrize("sign", [-1, 1])
def test_inertia_asks_for_nothing_inside_its_band(sign):
    rig = Rig(parameters([-5_000, 0, 5_000, 0], response_inertia_permille_per_Hzps=500, response_inertia_band_mHzps=20))
    rig.periods(50.0, 60)
    assert {rig.period(50.0 + sign * i * 0.0003) for i in range(100)} == {0}  # 15 mHz/s


def test_a_disabled_response_still_follows_the_setpoint():
    rig = Rig(response_enabled=0)
    rig.s[I.SETPOINT_W] = 10_000
    assert rig.periods(49.5, 60)[-1] == 10_000
    assert rig.response.response_W == 0


@pytest.mark.parametrize("curve", [[-500, 1000], [-20, 0, -500, 1000], [-500, 0, 0, 100], [0, 0, 0, 0]])
def test_a_curve_that_rises_or_turns_back_is_refused(curve):
    with pytest.raises(ValueError, match="response_curve"):
        Response(parameters(curve), array("i", [0] * I.COUNT))


def test_the_straight_curve_of_the_rig_is_the_sodium_racks():
    from halite.config import load_params

    assert list(load_params("sodium_rack").response_curve) == STRAIGHT
