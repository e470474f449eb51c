"""The measurement is exact, precise under jitter, and ignores false edges."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from halite.hosts.response_rig import Rig, parameters, rocof_mHzps
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response import frequency
from rack.generated import ids as I
from rack.generated import response_state as K

TICK = Fraction(16, 10**9)
NOMINALS = st.sampled_from([50_000, 60_000])


def deviation(rig):
    """The measured deviation, 0.1 mHz."""
    return rig.response.state[K.DEVIATION]


def one_sample(nominal_mHz):
    """Return a rig whose frequency window is one period."""
    return Rig(grid_nominal_mHz=nominal_mHz, grid_window_ms=20)


@settings(max_examples=300, deadline=None)
@given(NOMINALS, st.integers(-4_999, 4_999), st.integers(-20, 20))
def test_the_deviation_of_a_period_is_exact_to_0_05_mHz(nominal_mHz, off_mHz, ticks):
    """The deviation of one period is exact to 0.05 mHz, half of its unit."""
    count = int(1 / (Fraction(nominal_mHz + off_mHz, 1000) * TICK)) + ticks
    exact = (1 / (count * TICK)) * 10_000 - nominal_mHz * 10
    if abs(exact) >= 49_990:
        return
    rig = one_sample(nominal_mHz)
    rig.response.on_period(count)
    assert abs(deviation(rig) - exact) <= Fraction(1, 2)


@given(st.integers(40_000, 70_000))
def test_ticks_of_a_frequency_are_exact(mHz):
    assert frequency.ticks(mHz) == Fraction(1000, mHz) // TICK


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-40_000, 40_000), min_size=60, max_size=120), st.integers(20, 600))
def test_the_window_is_the_weighted_mean_of_its_samples(samples, window_ms):
    rig = Rig(grid_window_ms=window_ms, grid_jump_mHz=10_000)
    n = frequency.window(rig.params)
    weights = [i * (n + 1 - i) for i in range(1, n + 1)]
    measured = []
    for sample in samples:
        count = round(62_500_000_000 / (50_000 + sample / 10))
        rig.response.on_period(count)
        measured.append(rig.response.arrays[1][rig.response.state[K.NEWEST]])
        if len(measured) >= n:
            mean = Fraction(sum(w * x for w, x in zip(weights, measured[::-1], strict=False)), sum(weights))
            assert abs(deviation(rig) - mean) <= Fraction(1, 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(46, 54), st.integers(1, 15)), min_size=1, max_size=8))
def test_the_frequency_stays_within_the_extremes_of_its_window(story):
    """The measured frequency is always between the extremes of the samples in its window."""
    rig = Rig()
    seen = []
    for Hz, number in story:
        for _ in range(number):
            rig.period(Hz)
            seen.append(rig.response.arrays[1][rig.response.state[K.NEWEST]])
            if rig.response.grid_valid:
                assert min(seen[-10:]) <= deviation(rig) <= max(seen[-10:])


@pytest.mark.parametrize("nominal_Hz", [50, 60])
def test_5_us_of_edge_jitter_cost_less_than_5_mHz(nominal_Hz):
    """Edge jitter of 5 us rms costs less than 5 mHz at three sigma."""
    noise = np.random.default_rng(7).normal(0, 5e-6, 4_000)
    edges = np.arange(4_000) / (nominal_Hz - 0.1) + noise
    counts = np.rint(np.diff(edges) / 16e-9).astype(int)
    rig = Rig(grid_nominal_mHz=nominal_Hz * 1000)
    errors = []
    for count in counts.tolist():
        rig.response.on_period(count)
        errors.append(deviation(rig) / 10 + 100)
    assert 3 * np.std(errors[20:]) < 5.0
    assert abs(np.mean(errors[20:])) < 0.2


@settings(max_examples=30, deadline=None)
@given(st.integers(100, 1_000), st.floats(-3.0, 3.0))
def test_rocof_is_the_least_squares_slope(window_ms, Hz_per_s):
    rig = Rig(grid_rocof_ms=window_ms)
    Hz, t = 50.0, 0.0
    for _ in range(70):
        Hz = 50.0 + Hz_per_s * (t + 0.01)
        if not 46 < Hz < 54:
            break
        rig.period(Hz)
        t += 1 / Hz
    slope_n = frequency.slope_window(rig.params)
    if rig.response.state[K.FILLED] < slope_n:
        assert rocof_mHzps(rig.response) == 0
        return
    # The slope assumes equal spacing at nominal frequency, which costs 1 % per half a hertz.
    resolution = 60_000 / slope_n**2
    assert abs(rocof_mHzps(rig.response) - Hz_per_s * 1000) <= abs(Hz_per_s) * 90 + resolution + 2


@pytest.mark.parametrize("Hz_per_s", [-3, 3])
@pytest.mark.parametrize(("nominal_Hz", "phases", "window_ms"), [(60, 3, 500), (50, 3, 666), (50, 1, 1_500)])
def test_a_steep_ramp_gets_full_rocof_and_inertia(nominal_Hz, phases, window_ms, Hz_per_s):
    """RoCoF and inertia of a steep ramp are right for any window length."""
    flat = {"curve": [-5_000, 0, 5_000, 0], "response_inertia_permille_per_Hzps": 100}
    rig = Rig(parameters(**flat, grid_nominal_mHz=nominal_Hz * 1000, grid_phases=phases, grid_rocof_ms=window_ms))
    Hz = nominal_Hz - Hz_per_s
    for i in range(round(nominal_Hz * phases * 1.6)):
        Hz += Hz_per_s / Hz / phases
        rig.response.on_period(round(62.5e6 / Hz), i % phases)
    rig.response.publish(1)
    assert rig.s[I.ROCOF_mHzps] == pytest.approx(1000 * Hz_per_s, rel=0.05)
    assert rig.response.request_W == pytest.approx(-20_000 * Hz_per_s, rel=0.05)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([1_000, 3_000, 5_000]),
    st.lists(
        st.one_of(
            st.integers(-5, 2**30 - 1),
            st.integers(1_130_000, 1_390_000),
            st.integers(0, 1_000_000),
            st.integers(2_200_000, 2_700_000),
        ),
        max_size=200,
    ),
)
def test_no_counts_move_the_deviation_beyond_plausible(plausible_mHz, counts):
    """No sequence of counts moves the measured deviation beyond the plausible range."""
    rig = Rig(grid_plausible_mHz=plausible_mHz)
    for count in counts:
        rig.response.on_period(count)
        assert abs(deviation(rig)) <= plausible_mHz * 10 + 1
        assert 0 <= rig.response.state[K.PENDING] < rig.response.state[K.MIN_PERIOD]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, 3]),
    st.lists(
        st.one_of(st.integers(-5, 2**30 - 1), st.integers(1_130_000, 1_390_000), st.integers(0, 400_000)), max_size=80
    ),
    st.floats(49.0, 51.0),
)
def test_clean_mains_is_measured_after_any_counts(phases, counts, Hz):
    """After any sequence of counts, clean mains is measured again within the length of the windows."""
    rig = Rig(grid_phases=phases)
    for i, count in enumerate(counts):
        rig.response.on_period(count, i * i % phases)
    for i in range(2 + phases * 26):  # one period for pending pieces, 25 for both windows
        rig.response.on_period(round(62_500_000 / Hz), i % phases)
    assert abs(deviation(rig) - (Hz - 50) * 10_000) <= 1
    assert abs(rocof_mHzps(rig.response)) <= 5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 19_000), st.integers(12, 40))
def test_a_double_edge_costs_at_most_one_sample_and_no_time(early_us, position):
    rig = Rig()
    rig.periods(49.9, position)
    clock = rig.response.state[K.CLOCK_NOW]
    piece = round(early_us * 1000 / 16)
    whole = round(1e9 / 16 / 49.9)
    rig.response.on_period(piece)
    rig.response.on_period(whole - piece)
    rig.periods(49.9, 12)
    assert abs(deviation(rig) + 1_000) <= 1
    elapsed = rig.response.state[K.CLOCK_NOW] - clock
    assert abs(elapsed - 13 * 2_004) <= 13


@pytest.mark.parametrize("shift_us", [50, 200, 600, -600])
def test_one_edge_shifted_by_noise_is_damped_twentyfold(shift_us):
    rig = Rig()
    rig.periods(50.0, 40)
    worst = 0
    for shift in (shift_us, -shift_us):
        rig.response.on_period(1_250_000 + round(shift * 1000 / 16))
        worst = max(worst, abs(deviation(rig)))
    assert worst <= abs(shift_us) / 20_000 * 500_000 / 20


def test_noise_bursts_are_rejected_and_counted():
    rig = Rig()
    rig.periods(50.0, 40)
    noise = random.Random(5)
    rejected = rig.response.state[K.REJECTED]
    pieces = [noise.randint(1_000, 100_000) for _ in range(200)]
    for piece in pieces:
        rig.response.on_period(piece)
    assert rig.response.state[K.REJECTED] >= rejected + 190
    assert deviation(rig) == 0


@pytest.mark.parametrize(
    ("nominal_mHz", "window_ms", "samples"), [(50_000, 200, 10), (60_000, 200, 12), (50_000, 20, 1)]
)
def test_the_window_is_as_long_as_configured(nominal_mHz, window_ms, samples):
    assert frequency.window(parameters(grid_nominal_mHz=nominal_mHz, grid_window_ms=window_ms)) == samples
    assert math.isclose(samples * 1e6 / nominal_mHz, window_ms, rel_tol=0.01)


def test_three_phases_measure_in_a_third_of_the_time():
    """Three phases give the same result in a third of the time."""
    rig = Rig(grid_phases=3)
    for i in range(60):
        rig.response.on_period(round(1e9 / 16 / 49.75), i % 3)
        rig.scans_until(rig.now_us)
        rig.now_us += 20_100 / 3
    assert abs(deviation(rig) + 2_500) <= 1
    assert abs(rig.response.request_W - 95_833) < 100


@pytest.mark.parametrize("nominal_mHz", [50_000, 60_000])
def test_a_missing_edge_costs_one_sample_and_no_time(nominal_mHz):
    rig = Rig(grid_nominal_mHz=nominal_mHz)
    Hz = nominal_mHz / 1000 - 0.1
    rig.periods(Hz, 40)
    seen, clock = rig.response.state[K.SEEN], rig.response.state[K.CLOCK_NOW]
    rig.response.on_period(round(2e9 / 16 / Hz))
    assert rig.response.state[K.SEEN] == seen + 1
    assert abs(rig.response.state[K.CLOCK_NOW] - clock - 200_000 / Hz) <= 2
    assert abs(deviation(rig) + 1_000) <= 1


def test_a_missing_edge_after_a_loss_repeats_no_old_sample():
    """When mains returns with a missing edge, no sample from before the loss is repeated."""
    rig = Rig(parameters(response_inertia_permille_per_Hzps=300, response_hold_ms=0))
    rig.periods(48.5, 40)
    rig.silence(2_000)
    assert {rig.period(25.0), *rig.periods(50.0, 60)} == {0}


def test_one_odd_count_with_a_missing_edge_is_not_a_step():
    """One odd count with a missing edge is not a step; with the next period it is one.

    Such a count stands for two samples, and two samples far off start the window again.
    """
    rig = Rig()
    for _ in range(40):
        rig.response.on_period(1_250_000)
    rig.response.on_period(2 * 1_275_000)
    assert -3_000 < deviation(rig) < 0  # its part of the window; a step would give -9 804
    rig.response.on_period(1_275_000)
    assert deviation(rig) == -9_804


@pytest.mark.parametrize("every", [2, 3])
def test_a_ramp_with_missing_edges_is_the_ramp(every):
    whole, holed = Rig(), Rig()
    Hz, pending = 52.0, 0
    for i in range(150):
        Hz -= 1.0 / Hz
        count = round(62.5e6 / Hz)
        whole.response.on_period(count)
        pending += count
        if i % every:
            holed.response.on_period(pending)
            pending = 0
            if i > 60:
                assert abs(rocof_mHzps(holed.response) - rocof_mHzps(whole.response)) < 25
                assert abs(deviation(holed) - deviation(whole)) <= 210  # 0.1 mHz: one period of the ramp


@pytest.mark.parametrize("rocof_ms", [60, 500, 1_000, 2_000])
def test_slope_div_is_the_exact_spread_of_the_sample_times(rocof_ms):
    """The slope is divided by the exact spread of the sample times.

    Least squares: 12 x sum of (i - mean)^2 over n samples, here 3 x sum of (2 i - n + 1)^2.
    """
    changed = parameters(grid_rocof_ms=rocof_ms)
    n = frequency.slope_window(changed)
    assert frequency.slope_div(changed) == 3 * sum((2 * i - n + 1) ** 2 for i in range(n))
