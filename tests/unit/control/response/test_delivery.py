"""The contracted energy limits the delivery of a service, each direction on its own."""

import random

import pytest
from halite.hosts.response_rig import Rig, parameters
from rack.control.response import frequency
from rack.control.response.grid_services import grid_services_kernel, make
from rack.control.response.response_test import on_curve
from rack.generated import grid_services_state as G
from rack.generated import ids as I
from rack.generated import response_state as K

FULL_W = 200_000


def limited(**changes):
    usual = {"response_duration_s": 2, "response_recovery_delay_s": 1, "response_release_permille_ps": 1_000}
    return Rig(parameters(**{**usual, **changes}))


def test_half_power_lasts_twice_as_long():
    rig = limited()
    half = rig.periods(49.74, 190)  # 3.8 s
    assert min(half[12:]) > 0.49 * FULL_W
    assert rig.periods(49.74, 80)[-1] == 0


def test_a_rack_with_spent_energy_still_charges():
    """A rack that has delivered its contracted energy still takes energy in the other direction."""
    rig = limited()
    assert rig.periods(49.5, 200)[-1] == 0
    assert rig.periods(50.5, 20)[-1] == -FULL_W


def test_returned_energy_may_be_delivered_again():
    """Energy that the grid has returned may be delivered again."""
    rig = limited()
    assert rig.periods(49.5, 200)[-1] == 0
    rig.periods(50.5, 110)  # longer than the second of the fade-out
    again = rig.periods(49.5, 60)
    assert max(again) == FULL_W


def test_a_spent_step_service_stays_off_during_an_overshoot():
    """A step service that has spent its energy does not return when the frequency overshoots."""
    step = {"response_step_permille": 1_000, "response_step_hold_ms": 10_000, "response_recovery_delay_s": 60}
    rig = limited(curve=[-500, 0, 500, 0], **step)
    rig.periods(50.0, 20)
    assert max(rig.periods(49.6, 60)) == FULL_W
    assert rig.periods(49.6, 120)[-1] == 0
    assert set(rig.periods(50.05, 60) + rig.periods(49.98, 60)) == {0}


def test_inertia_may_charge_while_discharging_is_spent():
    """Inertia may take energy while a low frequency has spent the energy for discharging."""
    rig = limited(curve=[-500, 1_000, 500, 0], response_inertia_permille_per_Hzps=1_000)
    assert rig.periods(49.3, 200)[-1] == 0
    assert rig.periods(49.9, 14)[-1] < -0.9 * FULL_W  # the frequency is low and rises


@pytest.mark.parametrize("low_first", [True, False])
def test_the_limit_holds_in_either_direction(low_first):
    rig = limited()
    Hz = 49.5 if low_first else 50.5
    full = rig.periods(Hz, 90)
    assert abs(full[-1]) == FULL_W
    assert rig.periods(Hz, 110)[-1] == 0


def test_a_slow_fade_in_does_not_limit_the_other_direction():
    """A slow fade-in after spent energy does not limit the response in the other direction."""
    rig = limited(response_release_permille_ps=20)
    assert rig.periods(49.5, 3_000)[-1] == 0
    # The fade-out took 50 s: its energy has returned after 27 s, with FADE still at 4 %.
    back = rig.periods(50.5, 50 * 28)
    assert set(back[20:]) == {-FULL_W} and rig.response.state[K.SPENT_DIRECTION] == -1


def test_recovery_without_delay_keeps_the_energy_limit():
    """A recovery delay of zero does not switch the energy limit off."""
    rig = limited(response_recovery_delay_s=0)
    assert rig.periods(49.5, 200)[-1] == 0
    rig.periods(50.0, 12)
    assert rig.periods(49.5, 20)[-1] == FULL_W


def test_a_swinging_grid_does_not_use_up_a_regulating_service():
    """A grid that swings about its nominal frequency does not use up the energy of a regulating service.

    Six hours, 65 mHz rms with a correlation time of five minutes: engineering judgement, similar to the British grid.
    """
    curve = [-200, 1000, -15, 0, 15, 0, 200, -1000]
    params = parameters(curve, response_duration_s=3_600, response_recovery_delay_s=60)
    services, curve, noise = make(params), frequency.knots(params.response_curve), random.Random(2)
    image, state = [0] * I.COUNT, [0] * K.STATES
    state[K.CHARGE_LIMIT] = state[K.DISCHARGE_LIMIT] = FULL_W
    deviation_mHz = 0.0
    for _ in range(6 * 36_000):
        deviation_mHz += -deviation_mHz / 3_000 + 65 * (2 / 3_000) ** 0.5 * noise.gauss(0, 1)
        deviation = round(deviation_mHz * 10)
        response_W = on_curve(curve, deviation) * (FULL_W // 1000)
        state[K.DEVIATION], state[K.RESPONSE] = deviation, response_W
        grid_services_kernel(services, state, image, 100, 1)
        assert services[G.AUTHORITY] == 1000
