"""Response tests: a virtual frequency takes the real path, and a real disturbance ends the test."""

from array import array
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
    """A rig with a PCS of 10 ms lag."""

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
    assert test.delay_ms <= 130  # 20 ms to the dead band, and half a window


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


def test_a_test_needs_a_quiet_grid_a_closed_rack_and_no_other():
    """A test starts only on a quiet grid, with sufficient limits and permission, and after the end of another test."""
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


@pytest.mark.parametrize("disturbance", ["low", "high", "lost"])
def test_a_real_disturbance_ends_the_test_at_once(disturbance):
    rig = TestRig()
    test = rig.response.test
    test.start(c.STEP, -300)
    rig.periods(50.0, 60)
    assert rig.response.request_W > 100_000
    if disturbance == "lost":
        rig.silence(150)
    else:
        rig.periods(49.8 if disturbance == "low" else 50.4, 5)
    assert test.result == c.ENDED_BY_GRID
    if disturbance == "high":
        assert rig.periods(50.4, 20)[-1] < -150_000


def test_the_end_of_the_permission_ends_the_test():
    """A rack that opens ends the test and delivers no power when it is closed again."""
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
def test_a_test_of_the_step_service_measures_its_held_power(kind, value):
    """A step service is measured while it holds its power, and may be tested again when it is ready."""
    rig = TestRig(**FFR)
    test = rig.response.test
    assert test.start(kind, value) == 0
    rig.periods(50.0, 280)
    assert (test.result, test.final_W, test.error_permille) == (c.DONE, 200_000, 0)
    assert 5_000 <= test.elapsed_ms < 5_500 and 0 < test.rise_ms <= test.settle_ms < 500
    assert test.start(kind, value) == c.REFUSED_STEP
    rig.periods(50.0, 50 * 20)      # release in 5 s, ready after 10 s of rest
    assert test.start(kind, value) == 0


@pytest.mark.parametrize("end", ["stop", "open", "disturbance", "stayed"])
def test_a_step_that_a_test_has_fired_ends_with_the_test(end):
    """A step that a test has fired ends with the test, unless the real grid demands a step."""
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
    elif end == "disturbance":
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
def test_on_curve_agrees_with_the_knots_of_the_kernel(deviation):
    curve = frequency.knots(DC_LOW)
    x = max(-5_000, min(5_000, deviation))
    points = sorted((curve[i], curve[i + 1]) for i in range(1, len(curve), 2))
    for (a, p), (b, q) in pairwise(points):
        if a <= x <= b:
            assert abs(c.on_curve(curve, deviation) - (p + (q - p) * (x - a) / (b - a))) <= 1
            return
    raise AssertionError("no segment")


def test_a_rack_without_tests_in_its_config_refuses_one():
    rig = Rig()
    test = c.ResponseTest(parameters(response_test_enabled=0), rig.response, rig.s)
    assert test.refusal(c.STEP, 100) == c.REFUSED_OFF


@given(st.integers(-(2**23), 2**23 - 1), st.integers(-(2**23), 2**23 - 1), st.integers(-1_000, 1_000),
       st.integers(100, 2_000_000))  # fmt: skip
def test_the_error_is_exact_within_31_bits_for_any_pcs_power(before_W, now_W, permille, contracted_W):
    """The error of a test is exact within 31 bits for any power that the PCS reports."""
    real, s = BENCH.response, CheckedArray("i", BENCH.s)
    response = SimpleNamespace(
        contracted_W=Checked(contracted_W), state=array("i", real.state), services=real.services, arrays=real.arrays,
        grid_valid=True,
    )  # fmt: skip
    test = c.ResponseTest(BENCH.params, response, s)
    s[I.LIMIT_DISCHARGE_W], s[I.PCS_POWER_W] = 2_000_000, before_W
    assert test.start(c.STEP, -500) == 0
    test.expected_W = Checked(permille * contracted_W // 1000)
    s[I.PCS_POWER_W] = now_W
    test.scan(10)  # starts
    test.scan(10)  # measures
    error_W = now_W - before_W - int(test.expected_W)
    assert test.error_permille == error_W * 1000 // contracted_W
    assert (test.settle_ms == 10) == (abs(error_W) * 100 <= contracted_W)
