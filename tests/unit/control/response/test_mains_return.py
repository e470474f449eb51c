"""After a short loss of mains the response holds until the frequency is known again, for a bounded time."""

from itertools import pairwise

import pytest
from halite.hosts.response_rig import Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response.recorder import CAUSE_FREQUENCY, CAUSE_NONE, Recorder
from rack.generated import response_state as K

FULL_W = 200_000


def gap(rig, ms):
    """Pause the edges for `ms`; the count that ends the pause is not a valid period."""
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


def test_the_response_follows_the_grid_one_window_after_a_gap():
    """After a gap, the response follows the grid as soon as a window has been measured."""
    rig = full_power()
    gap(rig, 100)
    assert rig.periods(50.0, 11)[-1] == 0


@pytest.mark.parametrize("delay_ms", [0, 400])
def test_mains_that_returns_after_the_hold_meets_no_old_target(delay_ms):
    """When mains returns after the hold, no target from before the loss is left."""
    rig = full_power(response_delay_ms=delay_ms)
    gap(rig, 2_000)
    assert rig.response.request_W == 0
    assert set(rig.periods(50.0, 60)) == {0}


def test_returning_mains_does_not_raise_a_falling_response():
    """Mains that returns while the response ramps down does not raise the response again."""
    rig = full_power(response_delay_ms=400, response_hold_ms=200)
    gap(rig, 800)
    requests = [rig.response.request_W, *rig.periods(50.0, 60)]
    assert 0 < requests[0] < FULL_W
    assert all(later <= earlier for earlier, later in pairwise(requests))
    assert requests[20] < 0.2 * FULL_W and requests[-1] == 0  # the ramp continues while the frequency is unknown


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(60, 160), st.integers(1, 9)), min_size=40, max_size=40))
def test_flickering_mains_holds_for_hold_and_window_at_most(story):
    """Mains that comes and goes holds the response no longer than the hold time and one window."""
    rig = full_power()
    start_us = rig.edge_us
    for gap_ms, periods in story:
        gap(rig, gap_ms)
        rig.periods(49.5, periods)  # fewer than a window needs
        held_ms = (rig.edge_us - start_us) / 1000
        if held_ms < 200:
            assert rig.response.request_W == FULL_W
    max_W = max(0, FULL_W - FULL_W * (held_ms - 60 - 200 - 200 - 10) / 1000)
    assert rig.response.request_W <= max_W


def test_the_kernels_clock_runs_on_without_mains():
    rig = full_power()
    clock = rig.response.state[K.CLOCK_NOW]
    gap(rig, 3_000)
    assert abs(((rig.response.state[K.CLOCK_NOW] - clock) & K.CLOCK_MASK) - 300_000) <= 1_000


@pytest.mark.parametrize("nominal_mHz", [50_000, 60_000])
@pytest.mark.parametrize("late_ms", [3.5, 6.0])
@pytest.mark.parametrize("phase_ms", [0.1 * n for n in range(1, 100, 7)])
def test_a_late_second_half_of_a_scan_does_not_delay_a_loss(nominal_mHz, late_ms, phase_ms):
    """A loss is seen within three periods although the second half of a scan is late."""
    rig = Rig(grid_nominal_mHz=nominal_mHz)
    response, period_ms = rig.response, 1e6 / nominal_mHz
    edge_ms, seen_ms = phase_ms, None
    for now_ms in range(0, 1_000, 10):
        for half, at_ms in ((response.update_mains_age, now_ms), (response.scan, now_ms + late_ms)):
            while edge_ms < min(at_ms, 800):
                response.on_period(round(period_ms * 62_500))
                last_ms, edge_ms = edge_ms, edge_ms + period_ms
            half(now_ms)
            if now_ms > 700 and not response.grid_valid and seen_ms is None:
                seen_ms = at_ms
    assert 2 * period_ms < seen_ms - last_ms < 3 * period_ms - 3


@pytest.mark.parametrize("nominal_mHz", [50_000, 60_000])
@pytest.mark.parametrize("late_ms", [4, 12, 15])
@pytest.mark.parametrize("phase_ms", [0.1 * n for n in range(1, 100, 7)])
def test_a_scan_late_from_a_collection_does_not_delay_a_loss(nominal_mHz, late_ms, phase_ms):
    """A scan that a garbage collection has delayed does not delay the detection of a loss."""
    rig = Rig(grid_nominal_mHz=nominal_mHz)
    rig.periods(nominal_mHz / 1000, 40)
    rig.scans_until(rig.edge_us + 20_000)
    begin_ms = rig.next_scan_us // 1000
    edge_ms = begin_ms + phase_ms
    times = [begin_ms, begin_ms + 10 + late_ms, *range(begin_ms + 20 + 10 * (late_ms // 10), begin_ms + 90, 10)]
    seen_ms = None
    for at_ms in times:
        if at_ms == times[1]:
            rig.response.on_period(round(1e6 / nominal_mHz * 62_500))
            if phase_ms < 3.5:
                rig.response.scan(begin_ms)  # the second half of the previous scan
        rig.response.scan(at_ms)
        if at_ms > edge_ms and not rig.response.grid_valid and seen_ms is None:
            seen_ms = at_ms
    assert 2e6 / nominal_mHz < seen_ms - edge_ms < 3e6 / nominal_mHz


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([50_000, 60_000]), st.lists(st.integers(0, 46), min_size=30, max_size=30), st.floats(-2, 2))
def test_late_scans_do_not_report_present_mains_as_lost(nominal_mHz, late_ms, off_Hz):
    """Late scans do not report a mains as lost that is present."""
    rig = Rig(grid_nominal_mHz=nominal_mHz)
    Hz = nominal_mHz / 1000 + off_Hz
    rig.periods(Hz, 40)
    due_ms = rig.next_scan_us // 1000
    for late in late_ms:
        at_ms = due_ms + late
        while rig.edge_us + 1e6 / Hz < at_ms * 1000:
            rig.edge_us += 1e6 / Hz
            rig.response.on_period(round(62.5e6 / Hz))
        rig.response.scan(at_ms)
        assert rig.response.grid_valid
        due_ms += 10 * (1 + late // 10)


def recording():
    rig = Rig(recorder_trigger_mHz=200, recorder_after=50)
    return rig, Recorder(rig.params, rig.response, rig.s)


@pytest.mark.parametrize("first_ms", [18.3, 19.0, 21.0, 22.1])
def test_an_odd_first_sample_does_not_trigger_a_trace(first_ms):
    """A first sample that is far off does not trigger a trace."""
    rig, recorder = recording()
    for count in (round(first_ms * 62_500), *[1_250_000] * 30):
        rig.response.on_period(count)
        recorder.on_period()
    assert recorder.cause == CAUSE_NONE
    for _ in range(20):
        rig.period(49.7)
        recorder.on_period()
    assert recorder.cause == CAUSE_FREQUENCY


@pytest.mark.parametrize("scan_ms", [5, 7, 10, 14, 20])
@pytest.mark.parametrize("nominal_mHz", [50_000, 60_000])
def test_present_mains_is_doubtful_in_few_scans(scan_ms, nominal_mHz):
    """A mains that is present is doubtful after at most half of its periods."""
    rig = Rig(rack_scan_ms=scan_ms, grid_nominal_mHz=nominal_mHz)
    doubts = []
    for _ in range(100):
        rig.period(nominal_mHz / 1000)
        doubts.append(rig.response.doubtful)
    assert sum(doubts) <= 50
