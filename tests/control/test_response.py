"""The response as the grid sees it: droop, limits, delay, ramps."""

from response_rig import Rig


def test_half_a_hertz_low_asks_for_full_power_within_two_periods():
    rig = Rig()
    rig.periods(50.0, 40)
    assert rig.response.request_W == 0
    first, second = rig.periods(49.5, 2)
    assert first > 0
    assert second == 200_000


def test_nothing_is_asked_for_inside_the_dead_band():
    rig = Rig()
    assert set(rig.periods(49.985, 30) + rig.periods(50.015, 30)) == {0}


def test_without_permission_the_request_is_zero_at_once():
    rig = Rig()
    rig.periods(49.5, 40)
    assert rig.response.request_W == 200_000
    rig.response.set_limits(200_000, 200_000, 0)
    assert rig.response.request_W == 0
    assert rig.period(49.5) == 0
