"""Commissioning tests: a virtual frequency through the real path, never over a real event."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
from halite.hosts.response_rig import DC_LOW, STRAIGHT, Rig, parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response import frequency
from rack.control.response import response_test as c
from rack.generated import ids as I
from support.checked_int import Checked, CheckedArray


class TestRig(Rig):
    """A rig with a PCS of 10 ms lag, seen each scan."""

    __test__ = False

    def __init__(self, **changes):
        super().__init__(parameters(**{"response_test_enabled": 1, **changes}))
        self.s[I.LIMIT_CHARGE_W] = self.s[I.LIMIT_DISCHARGE_W] = 200_000
        self.power_W = 0.0
        self.periods(50.0, 40)

    def period(self, Hz):
        request = super().period(Hz)
        self.power_W += (request - self.power_W) * 0.86
        self.s[I.PCS_POWER_W] = round(self.power_W)
        return request


BENCH = TestRig()


def test_a_step_test_reports_delay_rise_settling_and_error():
    rig = TestRig(curve=DC_LOW, response_delay_ms=200, response_up_permille_ps=3_000)
    test = rig.response.test
    assert test.start(c.STEP, -500) == 0
    rig.periods(50.0, 520)
    assert test.result == c.DONE
    assert 200 <= test.delay_ms <= 280
    assert 500 <= test.rise_ms <= 620
    assert test.rise_ms < test.settle_ms <= 700
    assert test.expected_W == 200_000
    assert abs(test.final_W - 200_000) <= 100
    assert abs(test.peak_W) <= 200_000
    assert rig.periods(50.0, 60)[-1] == 0


def test_a_ramp_test_follows_its_slope():
    rig = TestRig(curve=STRAIGHT)
    test = rig.response.test
    assert test.start(c.RAMP, -1_000) == 0
    rig.periods(50.0, 24)
    assert -500 < test.injected_mHz < -400
    rig.periods(50.0, 540)
    assert (test.result, test.final_W) == (c.DONE, 200_000)
    assert test.delay_ms <= 130  # 20 ms to the dead band, half a window


@pytest.mark.parametrize(
    ("changes", "kind", "value", "reason"),
    [
        ({"response_test_enabled": 0}, c.STEP, -500, None),
        ({}, c.STEP, 0, c.REFUSED_VALUE),
        ({}, c.STEP, -1_001, c.REFUSED_VALUE),
        ({}, c.RAMP, 4_001, c.REFUSED_VALUE),
    ],
)
def test_a_test_that_is_not_allowed_is_refused(changes, kind, value, reason):
    test = TestRig(**changes).response.test
    if reason is None:
        assert test is None
    else:
        assert test.start(kind, value) == reason
        assert test.result == c.IDLE


def test_a_test_waits_for_a_quiet_grid_a_closed_rack_and_the_end_of_another():
    rig = TestRig()
    test = rig.response.test
    rig.periods(49.8, 20)
    assert test.start(c.STEP, -500) == c.REFUSED_GRID
    rig.periods(50.0, 20)
    rig.s[I.LIMIT_DISCHARGE_W] = 150_000
    assert test.start(c.STEP, -500) == c.REFUSED_LIMITS
    rig.s[I.LIMIT_DISCHARGE_W] = 200_000
    rig.response.set_limits(200_000, 200_000, 0)
    assert test.start(c.STEP, -500) == c.REFUSED_LIMITS
    rig.response.set_limits(200_000, 200_000, 1)
    assert test.start(c.STEP, -500) == 0
    assert test.start(c.STEP, -500) == c.REFUSED_BUSY


@pytest.mark.parametrize("event", ["low", "high", "lost"])
def test_a_real_event_ends_the_test_at_once(event):
    rig = TestRig()
    test = rig.response.test
    test.start(c.STEP, -300)
    rig.periods(50.0, 60)
    assert rig.response.request_W > 100_000
    if event == "lost":
        rig.silence(150)
    else:
        rig.periods(49.8 if event == "low" else 50.4, 5)
    assert test.result == c.ENDED_BY_GRID
    if event == "high":
        assert rig.periods(50.4, 20)[-1] < -150_000


def test_a_rack_that_opens_ends_the_test_and_delivers_nothing_when_it_is_closed_again():
    rig = TestRig()
    test = rig.response.test
    test.start(c.RAMP, -100)
    rig.periods(50.0, 200)
    assert rig.response.request_W > 100_000
    rig.response.set_limits(200_000, 200_000, 0)
    rig.periods(50.0, 2)
    assert (test.result, test.injected_mHz) == (c.STOPPED, 0)
    rig.response.set_limits(200_000, 200_000, 1)
    assert set(rig.periods(50.0, 100)) == {0}


FFR = {"curve": [-500, 0, 500, 0], "response_step_permille": 1_000, "response_step_hold_ms": 5_000}


@pytest.mark.parametrize(("kind", "value"), [(c.STEP, -320), (c.RAMP, -1_000)])
def test_a_step_service_is_judged_by_what_it_held_and_tested_again_when_it_is_ready(kind, value):
    rig = TestRig(**FFR)
    test = rig.response.test
    assert test.start(kind, value) == 0
    rig.periods(50.0, 280)
    assert (test.result, test.final_W, test.error_permille) == (c.DONE, 200_000, 0)
    assert 5_000 <= test.elapsed_ms < 5_500 and 0 < test.rise_ms <= test.settle_ms < 500
    assert test.start(kind, value) == c.REFUSED_STEP
    rig.periods(50.0, 50 * 20)      # release in 5 s, ready after 10 s of rest
    assert test.start(kind, value) == 0


@pytest.mark.parametrize("end", ["stop", "open", "event", "stayed"])
def test_a_step_that_a_test_has_fired_ends_with_it_unless_the_grid_wants_one(end):
    rig = TestRig(**FFR | {"response_step_hold_ms": 30_000})
    test = rig.response.test
    test.start(c.STEP, -320)
    rig.periods(50.0, 50)
    assert rig.response.request_W == 200_000
    if end == "stop":
        test.stop()
        assert rig.periods(50.0, 100)[-1] < 150_000, "at its release, 0.2 pu/s"
        rig.periods(50.0, 200)
    elif end == "stayed":
        rig.periods(50.0, 460 + 300)
    elif end == "event":
        assert set(rig.periods(49.5, 300)) == {200_000}
        return
    else:
        rig.response.set_limits(200_000, 200_000, 0)
        rig.periods(50.0, 2)
        rig.response.set_limits(200_000, 200_000, 1)
    assert set(rig.periods(50.0, 50)) == {0}
    assert test.start(c.STEP, -320) == c.REFUSED_STEP


def test_stop_ends_a_test():
    rig = TestRig()
    test = rig.response.test
    test.start(c.STEP, -300)
    rig.periods(50.0, 30)
    test.stop()
    assert test.result == c.STOPPED
    assert rig.periods(50.0, 20)[-1] == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(-60_000, 60_000))
def test_the_curve_for_people_is_the_curve_of_the_kernel(deviation):
    curve = frequency.knots(DC_LOW)
    x = max(-5_000, min(5_000, deviation))
    points = sorted((curve[i], curve[i + 1]) for i in range(1, len(curve), 2))
    for (a, p), (b, q) in pairwise(points):
        if a <= x <= b:
            assert abs(c.on_curve(curve, deviation) - (p + (q - p) * (x - a) / (b - a))) <= 1
            return
    raise AssertionError("no segment")


def test_a_rack_that_allows_no_tests_refuses_one():
    rig = Rig()
    test = c.ResponseTest(parameters(response_test_enabled=0), rig.response, rig.s, ())
    assert test.refusal(c.STEP, 100) == c.REFUSED_OFF


@given(st.integers(-(2**23), 2**23 - 1), st.integers(-(2**23), 2**23 - 1), st.integers(-1_000, 1_000),
       st.integers(100, 2_000_000))  # fmt: skip
def test_a_tests_error_is_exact_within_31_bits_whatever_the_pcs_tells(before_W, now_W, permille, contracted_W):
    test, s = BENCH.response.test, CheckedArray("i", BENCH.s)
    s[I.PCS_POWER_W] = now_W
    test._clear()
    test._s, test._start_W, test.expected_W = s, Checked(before_W), Checked(permille * contracted_W // 1000)
    test._response = SimpleNamespace(contracted_W=Checked(contracted_W))
    test.elapsed_ms = Checked(10)
    test._measure()
    error_W = now_W - before_W - int(test.expected_W)
    assert test.error_permille == error_W * 1000 // contracted_W
    assert (test.settle_ms == 10) == (abs(error_W) * 100 <= contracted_W)
