"""The scan in two halves: a plan that comes late serves several protects, and no time is lost by it."""

from copy import deepcopy
from functools import cache

from halite.hosts.controller_rig import Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.base.clock import TICKS_MASK as MASK
from rack.control.response.response import PERIOD_TICK_NS
from rack.definitions.codes import IN_ESTOP
from rack.generated import controller_slots as S
from rack.generated import ids as I
from rack.generated import limit_side as L
from rack.generated import response_state as K

_LOW = 1_000_000_000_000 // 49_500 // PERIOD_TICK_NS
_HOLD_ms = 300
_PPM_ms = 100                   # of every ramp: a tenth of the power in a second
_SLOW = ("response_release_permille_ps", "response_setpoint_permille_ps", "limit_rise_permilleps")
_GROUPS = st.lists(st.integers(1, 3), min_size=60, max_size=60)


@cache
def _lost() -> Rig:
    rig = Rig("bench", response_delay_ms=0, response_hold_ms=_HOLD_ms, response_priority=0,
              **dict.fromkeys(_SLOW, _PPM_ms)).close()  # fmt: skip
    rig.s[I.SETPOINT_W] = 300
    for _ in range(100):
        rig.c.response.on_period(_LOW)
        rig.run(20)
    assert rig.s[I.RESPONSE_W] == rig.params.rack_power_max_W
    rig.run(100)
    assert rig.c.response.state[K.LOST]
    for side in (rig.c.limits.charge, rig.c.limits.discharge):
        side.words[L.PERMILLE] = 0
    return rig


def lost() -> Rig:
    """Closed; mains has just been lost, so that the full response is held; the setpoint ramps down, the limits rise."""
    return deepcopy(_lost())


def play(rig: Rig, groups: list[int]) -> dict[int, dict[str, int]]:
    """One plan after each group of protects; returns the state after each plan, by time."""
    seen = {}
    turns, k = rig.c.slots, rig.c.response.state
    for protects in groups:
        for _ in range(protects):
            rig.ms += 10
            rig.now_ms = (rig.now_ms + 10) & MASK
            rig.c.protect(rig.now_ms)
        rig.c.plan()
        seen[rig.ms] = {
            "slots' clock": turns[S.CLOCK_ms],
            "hold": k[K.UNKNOWN_ms],
            "age": k[K.AGE_ms],
            "rise of a limit": rig.c.limits.charge.words[L.PERMILLE],
            "setpoint": k[K.BASE],
        }
    return seen


@settings(max_examples=25, deadline=None)
@given(_GROUPS)
def test_late_plans_advance_as_punctual_ones(groups):
    """A plan that serves one to three protects advances slots, hold and ramps as punctual ones."""
    late, punctual = lost(), lost()
    expected = play(punctual, [1] * sum(groups))
    for at, what in play(late, groups).items():
        assert what == expected[at]
    released = [rig.c.response.state[K.RESPONSE_PPM] for rig in (late, punctual)]
    assert max(released) < 1_000_000 - 200 * _PPM_ms
    # the release begins with the plan that finds the hold over
    assert abs(released[0] - released[1]) <= 30 * _PPM_ms


@given(st.lists(st.integers(1, 3), min_size=5, max_size=20))
def test_a_slot_is_told_all_the_time_since_its_own_last_run(groups):
    rig = lost()
    told, began = 0, rig.c.slots[S.LAST_ms + 2]

    def slot(ms: int) -> None:
        nonlocal told
        told += ms

    rig.c.core_temperature.slot = slot
    play(rig, groups)
    assert told == rig.c.slots[S.LAST_ms + 2] - began


def test_a_very_late_plan_moves_no_further_than_a_gap() -> None:
    """A plan after a long time moves the slots by at most 1 s and the response by at most 100 ms."""
    rig = lost()
    clock, unknown = rig.c.slots[S.CLOCK_ms], rig.c.response.state[K.UNKNOWN_ms]
    play(rig, [400])
    assert rig.c.slots[S.CLOCK_ms] - clock == 1_000
    assert rig.c.response.state[K.UNKNOWN_ms] - unknown == 100


def test_the_phases_ages_do_not_wait_for_a_plan() -> None:
    rig = Rig("bench", grid_phases=3)
    rig.scan()
    response = rig.c.response
    for phase in (0, 1, 2):
        response.on_period(_LOW, phase)
    for _ in range(2):
        rig.now_ms += 10
        rig.c.protect(rig.now_ms)
    assert list(response.state[K.PHASE_AGES : K.PHASE_AGES + 3]) == [10, 10, 10]


def test_the_first_half_withdraws_a_new_request() -> None:
    """The first half also withdraws a request that a mains period has made since the last plan."""
    rig = Rig("bench", response_delay_ms=0).close()
    for _ in range(30):
        rig.c.response.on_period(1_250_000)
        rig.run(20)
    rig.c.response.on_period(_LOW)
    assert rig.c.response.on_period(_LOW) > 0 == rig.s[I.REQUEST_W]
    rig.s[I.IN_bits] &= ~IN_ESTOP
    rig.c.protect(rig.now_ms + 10)
    assert rig.c.response.request_W == 0
