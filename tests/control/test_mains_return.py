"""Mains that is away for a moment: the response holds until the frequency is known again, for a bounded time."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control import response_state as K
from rack.control.recorder import CAUSE_FREQUENCY, CAUSE_NONE, Recorder
from response_rig import Rig

FULL_W = 200_000


def gap(rig, ms):
    """No edges for so long; the count that ends it is no period."""
    rig.silence(ms)
    rig.response.on_period(round(ms * 1e6 / 16))


def full_power(Hz=49.5, **changes):
    rig = Rig(**{"response_release_permille_ps": 1_000, **changes})
    rig.periods(Hz, 80)
    assert rig.response.request_W == FULL_W
    return rig


@pytest.mark.parametrize("delay_ms", [0, 200, 600])
@pytest.mark.parametrize("gap_ms", [70, 150])
@pytest.mark.parametrize("window_ms", [100, 200, 800])
def test_a_gap_shorter_than_the_hold_does_not_move_the_request(delay_ms, gap_ms, window_ms):
    rig = full_power(response_delay_ms=delay_ms, grid_window_ms=window_ms)
    gap(rig, gap_ms)
    assert not rig.response.grid_valid
    assert set(rig.periods(49.5, 90)) == {FULL_W}
    assert rig.response.grid_valid


def test_what_the_grid_wants_after_a_gap_is_answered_when_it_has_been_measured():
    rig = full_power()
    gap(rig, 100)
    assert rig.periods(50.0, 11)[-1] == 0


@pytest.mark.parametrize("delay_ms", [0, 400])
def test_mains_that_returns_after_the_hold_finds_no_old_target(delay_ms):
    rig = full_power(response_delay_ms=delay_ms)
    gap(rig, 2_000)
    assert rig.response.request_W == 0
    assert set(rig.periods(50.0, 60)) == {0}


def test_mains_that_returns_while_the_response_ramps_down_does_not_lift_it_again():
    rig = full_power(response_delay_ms=400, response_hold_ms=200)
    gap(rig, 800)
    requests = [rig.response.request_W, *rig.periods(50.0, 60)]
    assert 0 < requests[0] < FULL_W
    assert all(later <= earlier for earlier, later in pairwise(requests))
    assert requests[-1] == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(60, 160), st.integers(1, 9)), min_size=40, max_size=40))
def test_mains_that_flickers_holds_no_longer_than_hold_and_window(story):
    rig = full_power()
    start_us = rig._edge_us
    for gap_ms, periods in story:
        gap(rig, gap_ms)
        rig.periods(49.5, periods)  # fewer than a window has
        held_ms = (rig._edge_us - start_us) / 1000
        if held_ms < 200:
            assert rig.response.request_W == FULL_W
    most_W = max(0, FULL_W - FULL_W * (held_ms - 60 - 200 - 200 - 10) / 1000)
    assert rig.response.request_W <= most_W


def test_the_kernels_clock_runs_on_without_mains():
    rig = full_power()
    clock = rig.response.state[K.CLOCK_NOW]
    gap(rig, 3_000)
    assert abs(((rig.response.state[K.CLOCK_NOW] - clock) & K.CLOCK) - 300_000) <= 1_000


def recording():
    rig = Rig(recorder_trigger_mHz=200, recorder_after=50)
    return rig, Recorder(rig.params, rig.response, rig.s)


@pytest.mark.parametrize("first_ms", [18.3, 19.0, 21.0, 22.1])
def test_a_first_sample_that_is_far_off_triggers_no_recording(first_ms):
    rig, recorder = recording()
    for count in (round(first_ms * 62_500), *[1_250_000] * 30):
        rig.response.on_period(count)
        recorder.on_period()
    assert recorder.cause == CAUSE_NONE
    for _ in range(20):
        rig.period(49.7)
        recorder.on_period()
    assert recorder.cause == CAUSE_FREQUENCY
