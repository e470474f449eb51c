"""Grid services that run in the scan: setpoint, energy recovery, step service and duration of delivery."""

import pytest
from halite.hosts.response_rig import Rig, parameters
from rack.control.response.grid_services import STEP_ACTIVE, STEP_READY, STEP_SPENT
from rack.generated import grid_services_state as G
from rack.generated import ids as I
from rack.generated import response_state as K


def test_the_setpoint_leaves_a_reserve_for_the_response():
    """With response_priority the setpoint leaves a reserve for the response."""
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


@pytest.mark.parametrize("source", ["setpoint", "recovery"])
def test_setpoint_and_recovery_start_at_zero_with_permission(source):
    """Setpoint and recovery start their ramp at zero after each new permission."""
    rig = Rig(response_recovery_permille=100, response_setpoint_permille_ps=100)
    rig.s[I.SETPOINT_W], rig.s[I.SOC_cpct] = (100_000, 5_000) if source == "setpoint" else (0, 9_000)
    for open_for in (100, 3):
        rig.response.set_limits(200_000, 200_000, 0)
        rig.periods(50.0, open_for)
        rig.response.set_limits(200_000, 200_000, 1)
        assert rig.period(50.0) <= 400
        assert rig.periods(50.0, 20)[-1] <= 200 * 42
        assert rig.periods(50.0, 400)[-1] == (100_000 if source == "setpoint" else 20_000)


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
    service = rig.response.services
    rig.periods(49.71, 60)
    assert (service[G.STEP_STATE], rig.response.request_W) == (STEP_READY, 0)
    rig.periods(49.69, 30)
    assert (service[G.STEP_STATE], rig.response.request_W) == (STEP_ACTIVE, 200_000)
    rig.periods(50.0, 200)
    assert rig.response.request_W == 200_000, "held for its minimum duration although the grid recovered"
    released = rig.periods(50.0, 320)
    assert released == sorted(released, reverse=True)
    assert released[-1] == 0
    assert service[G.STEP_STATE] == STEP_SPENT
    rig.periods(49.6, 30)
    assert rig.response.request_W == 0, "not before the grid has rested"
    rig.periods(50.0, 520)
    assert service[G.STEP_STATE] == STEP_READY
    rig.periods(49.6, 30)
    assert rig.response.request_W == 200_000


def test_a_dip_shorter_than_the_step_delay_does_not_trigger():
    rig = step_rig(response_step_delay_ms=400)
    rig.periods(50.0, 20)
    assert set(rig.periods(49.6, 10) + rig.periods(50.0, 20)) == {0}
    assert rig.periods(49.6, 40)[-1] == 200_000


def test_delivery_fades_after_its_duration_until_the_grid_rests():
    """Delivery fades out after its duration and returns when the grid has rested."""
    rig = Rig(response_duration_s=2, response_recovery_delay_s=1, response_release_permille_ps=1_000)
    assert rig.periods(49.5, 90)[-1] == 200_000
    assert rig.periods(49.5, 100)[-1] == 0
    assert rig.periods(50.0, 30)[-1] == 0
    assert rig.periods(49.5, 30)[-1] == 0, "a short rest gives no new energy"
    rig.periods(50.0, 60)
    assert rig.periods(49.5, 30)[-1] == 200_000


def test_recovery_moves_to_the_target_and_yields_to_response():
    """Recovery moves the state of charge towards its target and yields to the response."""
    rig = Rig(response_recovery_permille=50, response_recovery_delay_s=1, response_setpoint_permille_ps=500)
    rig.s[I.SOC_cpct] = 4_000
    assert rig.periods(50.0, 45)[-1] == 0
    assert rig.periods(50.0, 40)[-1] == -10_000
    rig.s[I.SOC_cpct] = 4_900
    assert rig.periods(50.0, 10)[-1] == -10_000, "continues inside the band until the target"
    rig.s[I.SOC_cpct] = 5_000
    assert rig.periods(50.0, 20)[-1] == 0
    for inside in (4_500, 4_600, 5_400, 5_500):
        rig.s[I.SOC_cpct] = inside
        assert set(rig.periods(50.0, 10)) == {0}, "starts only outside the band"
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
