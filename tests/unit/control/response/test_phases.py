"""Three phases with some missing: time, RoCoF, ramps and delay stay right, and the loss is reported.

Patterns of loss and return are random; the reference is the simulated mains, or the same mains with all phases.
"""

from itertools import pairwise

import pytest
from halite.hosts.controller_rig import params
from halite.hosts.response_rig import freq_mHz, rocof_mHzps
from halite.plant.grid import Grid
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rack.control.controller import Controller
from rack.control.response import frequency
from rack.definitions.alarms import code_of
from rack.generated import ids as I
from rack.generated import response_state as K
from support.phase_rig import PERIOD_US, PhaseRig

BEGIN_US = 1_000_000.0
LOWEST_Hz = 47.5  # end of a falling ramp of `mains`
SCAN_US = 10_000.0
SEEN_US = 3 * PERIOD_US  # the loss of a phase or of the mains is seen within three periods

# One phase stays, the others go and come: (which, after ms, for ms). Times from half a scan to 0.9 s.
_AWAY = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 250), st.sampled_from([5, 20, 41, 60, 75, 130, 400, 900])), max_size=8
)
_STAYS = st.integers(0, 2)
_PHASES = [Phase.generate]  # no shrinking: it takes minutes, and a pattern is readable without it


def mains(away, stays, ramp_Hzps=0.0, jitter_us=0.0):
    """Return a grid that ramps and loses phases from BEGIN_US on, and the time when all phases are back."""
    grid = Grid(jitter_us=jitter_us)
    if ramp_Hzps:
        grid.ramp(50.0 + (2.5 if ramp_Hzps > 0 else -2.5), ramp_Hzps, BEGIN_US)
    free_us = [BEGIN_US] * 3
    at_us = BEGIN_US
    for step, after_ms, for_ms in away:
        phase = (stays + step) % 3
        at_us = max(at_us + 1000 * after_ms, free_us[phase])
        grid.lose(at_us, phase)
        grid.restore(at_us + 1000 * for_ms, phase)
        free_us[phase] = at_us + 1000 * for_ms + 1000
    return grid, max(free_us)


def taken(rig, until_us):
    """Yield (time, input) of each period that the kernel has taken."""
    seen = rig.response.state[K.SEEN]
    for us, at in rig.edges(until_us):
        if rig.response.state[K.SEEN] != seen:
            seen = rig.response.state[K.SEEN]
            yield us, at


@settings(max_examples=40, deadline=None, phases=_PHASES)
@given(_AWAY, _STAYS, st.floats(-2.0, 2.0), st.sampled_from([0.0, 5.0]))
def test_the_clock_is_true_whichever_phases_are_present(away, stays, Hzps, jitter_us):
    """The kernel's clock is the true time at every period, whichever phases are present."""
    grid, end_us = mains(away, stays, Hzps, jitter_us)
    rig = PhaseRig(grid)
    rig.run_to(BEGIN_US - 100_000)
    offsets_us = [us - rig.clock_us() for us, _ in taken(rig, end_us + 300_000)]
    assert len(offsets_us) > 30
    assert max(offsets_us) - min(offsets_us) < 10 + 30 * jitter_us


@settings(max_examples=30, deadline=None, phases=_PHASES)
@given(_AWAY, _STAYS, st.floats(-1.5, 1.5), st.sampled_from([100, 500, 660]))
def test_missing_phases_do_not_change_rocof_and_frequency(away, stays, Hzps, rocof_ms):
    """RoCoF and frequency are at every period those of all three phases, although some are missing."""
    grid, end_us = mains(away, stays, Hzps)
    whole, _ = mains([], 0, Hzps)
    rig, reference = (PhaseRig(g, grid_rocof_ms=rocof_ms) for g in (grid, whole))
    expected = {round(us): (rocof_mHzps(reference.response), freq_mHz(reference.response))
                for us, _ in reference.edges(end_us + 300_000)}  # fmt: skip
    samples = frequency.slope_window(rig.params)
    allowed_mHzps = 3 + abs(Hzps) * 1000 * 2 / samples  # start of the ramp, and repeated samples
    for us, _ in taken(rig, end_us + 300_000):
        if us > BEGIN_US - 100_000:
            expected_mHzps, expected_mHz = expected[round(us)]
            assert abs(rocof_mHzps(rig.response) - expected_mHzps) <= allowed_mHzps
            assert abs(freq_mHz(rig.response) - expected_mHz) <= 2 + abs(Hzps) * 1000 * PERIOD_US / 1e6


def test_a_ramp_read_by_one_phase_alone_is_the_ramp():
    grid = Grid()
    grid.ramp(48.0, 0.5, 0.0)
    for phase in (1, 2):
        grid.lose(300_000, phase)
    rig = PhaseRig(grid)
    rig.run_to(2_000_000)
    assert rocof_mHzps(rig.response) == pytest.approx(-500, rel=0.03)
    assert rig.s[I.PHASES_LOST] == 0  # `publish` sets it, not `scan`
    assert rig.response.state[K.PHASES_LOST] == 0b110


def test_a_single_phase_needs_two_odd_periods_for_a_step():
    """One odd period of the only phase left is not a step; a second one makes it a step.

    Its period stands for three samples, and two samples far off start the window again.
    """
    for odd in (1, 2):
        grid = Grid()
        for phase in (1, 2):
            grid.lose(300_000, phase)
        rig = PhaseRig(grid)
        rig.run_to(1_000_000)
        edge_us = rig.next_edge_us(0)
        grid.set(52.0, edge_us)
        grid.set(50.0, edge_us + odd * 1e6 / 52)
        seen = [freq_mHz(rig.response) for _ in rig.edges(edge_us + 80_000)]
        assert max(seen) == 52_000 if odd == 2 else max(seen) < 50_500


@pytest.mark.parametrize("degrees", [5, 10, 30])
@pytest.mark.parametrize("wires", [(0,), (0, 1, 2)])
def test_a_jump_of_the_mains_angle_is_not_a_frequency_step(wires, degrees):
    """A jump of the mains angle is not taken for a step of the frequency."""
    grid = Grid()
    grid.set(50.0 + degrees / 360 / 1e-4, BEGIN_US + 2_000)  # this angle within 0.1 ms
    grid.set(50.0, BEGIN_US + 2_100)
    rig = PhaseRig(grid, wires)
    rig.run_to(BEGIN_US)
    seen = [(us, abs(freq_mHz(rig.response) - 50_000)) for us, _ in rig.edges(BEGIN_US + 300_000)]
    assert 50 < max(off for _, off in seen) < 400
    assert all(off < 155 for us, off in seen if us > BEGIN_US + 3.5 * PERIOD_US)
    assert seen[-1][1] == 0


@settings(max_examples=30, deadline=None, phases=_PHASES)
@given(_AWAY, _STAYS, st.integers(100, 20_000), st.integers(100, 20_000), st.floats(-2.5, 2.5))
def test_ramp_caps_hold_in_true_time_and_are_used(away, stays, up, down, Hzps):
    grid, end_us = mains(away, stays, Hzps)
    rig = PhaseRig(grid, response_up_permille_ps=up, response_down_permille_ps=down)
    rig.run_to(BEGIN_US - 100_000)
    before_us, before = rig.now_us, rig.response.state[K.RESPONSE_PPM]
    for us, _ in taken(rig, end_us + 300_000):
        now = rig.response.state[K.RESPONSE_PPM]
        cap = up if abs(now) > abs(before) else down
        assert abs(now - before) <= cap * (us - before_us + 20) / 1000 + 1
        before_us, before = us, now


@pytest.mark.parametrize("phases_away", [(), (2,), (0, 2), (1, 2)])
def test_a_ramp_to_full_power_takes_its_time_with_any_phases(phases_away):
    grid = Grid()
    for phase in phases_away:
        grid.lose(500_000, phase)
    grid.set(49.5, BEGIN_US)
    rig = PhaseRig(grid, response_up_permille_ps=2_000)
    powers = [(us, rig.response.request_W) for us, _ in rig.edges(BEGIN_US + 700_000)]
    moved_us = next(us for us, W in powers if W)
    full_us = next(us for us, W in powers if W == 200_000)
    assert moved_us - BEGIN_US <= 2 * PERIOD_US + 500
    assert full_us - moved_us == pytest.approx(500_000, abs=PERIOD_US + 1_000)


@settings(max_examples=30, deadline=None, phases=_PHASES)
@given(_AWAY, _STAYS, st.integers(50, 600), st.floats(0, 20_000))
def test_a_step_is_answered_after_its_delay_and_not_before(away, stays, delay_ms, offset_us):
    grid, end_us = mains(away, stays)
    step_us = BEGIN_US + 100_000 + offset_us
    grid.set(49.5, step_us)
    rig = PhaseRig(grid, response_delay_ms=delay_ms)
    powers = [(us, rig.response.request_W) for us, _ in rig.edges(max(end_us, step_us) + 800_000)]
    moved_us = next(us for us, W in powers if W)
    assert step_us + delay_ms * 1000 - 20 <= moved_us <= step_us + delay_ms * 1000 + 3.2 * PERIOD_US
    due_us = step_us + delay_ms * 1000
    assert all(W > 140_000 for us, W in powers if us > due_us + 4 * PERIOD_US)  # some samples contain both frequencies
    assert all(W == 200_000 for us, W in powers if us > due_us + 200_000 + 3 * PERIOD_US)  # these have left the window


@settings(max_examples=25, deadline=None, phases=_PHASES)
@given(_AWAY, _STAYS, st.floats(47.0, 53.0))
def test_a_pair_shares_exactly_through_the_same_phase_losses(away, stays, Hz):
    """Both racks of a pair share the response exactly while they lose the same phases."""
    grid, end_us = mains(away, stays)
    grid.set(Hz, BEGIN_US)
    sodium, lithium = (PhaseRig(grid, pair_role=role, pair_tau_ms=500, pair_share_permille=700) for role in (1, 2))
    for one, other in zip(taken(sodium, end_us), taken(lithium, end_us), strict=True):
        assert one == other
        assert sodium.response.request_W + lithium.response.request_W == sodium.response.response_W


def test_a_rack_with_lost_phases_takes_nearly_its_share():
    """A rack that has lost phases takes nearly the share that its partner expects."""
    grid, short = Grid(), Grid()
    for each in (grid, short):
        each.set(49.6, BEGIN_US)
    for phase in (0, 1):
        short.lose(500_000, phase)
    sodium, lithium = (PhaseRig(g, pair_role=role, pair_tau_ms=2_000) for g, role in ((grid, 1), (short, 2)))
    for us in range(1_100_000, 5_000_000, 300_000):
        sodium.run_to(us)
        lithium.run_to(us)
        total_W = sodium.response.request_W + lithium.response.request_W
        assert abs(total_W - sodium.response.response_W) < 2_000  # 1 % of the pair: one period of the time constant


@pytest.mark.parametrize("phase", [0, 1, 2])
@pytest.mark.parametrize("offset_us", range(0, 20_000, 3_300))
def test_a_lost_phase_is_reported_within_three_periods(phase, offset_us):
    """A lost phase is reported within three periods, and no longer once it is back."""
    grid = Grid()
    lost_us = BEGIN_US + offset_us
    grid.lose(lost_us, phase)
    grid.restore(lost_us + 500_000, phase)
    rig = PhaseRig(grid)
    state = rig.response.state
    rig.run_to(lost_us)
    last_us, lost_seen_us, back_seen_us = rig.last_us[phase], None, None
    for ms in range(700):
        rig.run_to(lost_us + 1000 * ms)
        assert state[K.PHASES_LOST] in (0, 1 << phase)
        if state[K.PHASES_LOST] and lost_seen_us is None:
            lost_seen_us = rig.now_us
        if lost_seen_us and not state[K.PHASES_LOST] and back_seen_us is None:
            back_seen_us = rig.now_us
        assert rig.response.grid_valid
    assert lost_seen_us - last_us <= SEEN_US + 1000  # checked each ms
    assert lost_us + 500_000 + PERIOD_US < back_seen_us <= lost_us + 500_000 + 2 * PERIOD_US + SCAN_US + 1000


@settings(max_examples=40, deadline=None, phases=_PHASES)
@given(st.permutations([0, 1, 2]), st.lists(st.integers(0, 120), min_size=2, max_size=2), st.integers(0, 19))
def test_the_loss_of_all_phases_is_a_loss_of_mains(order, gaps_ms, phase_ms):
    """The loss of all phases in any order is a loss of mains within three periods."""
    grid = Grid()
    at_us = BEGIN_US + 1000 * phase_ms
    for phase, gap_ms in zip(order, [*gaps_ms, 0], strict=True):
        grid.lose(at_us, phase)
        at_us += 1000 * gap_ms
    rig = PhaseRig(grid)
    rig.run_to(at_us)
    last_us = max(rig.last_us)
    while rig.response.grid_valid:
        rig.run_to(rig.now_us + 1_000)
        assert rig.now_us - last_us <= SEEN_US + 1000
    rig.run_to(rig.now_us + 50_000)
    assert rig.response.state[K.PHASES_LOST] == 0, "reported as no mains, not as lost phases"


@settings(max_examples=25, deadline=None, phases=_PHASES)
@given(st.permutations([0, 1, 2]), st.lists(st.integers(0, 300), min_size=3, max_size=3), st.floats(49.0, 51.0))
def test_mains_that_returns_phase_by_phase_is_measured_again(order, gaps_ms, Hz):
    """Mains that returns phase by phase is measured again from the start."""
    grid = Grid()
    grid.set(Hz, BEGIN_US + 500_000)
    grid.lose(BEGIN_US)
    grid.restore(BEGIN_US + 1_000_000)
    at_us = BEGIN_US + 1_000_000
    for phase, gap_ms in zip(order, gaps_ms, strict=True):
        grid.lose(BEGIN_US, phase)
        grid.restore(at_us, phase)
        at_us += 1000 * gap_ms
    rig = PhaseRig(grid)
    rig.run_to(at_us)
    for _ in taken(rig, at_us + 600_000):
        if rig.response.grid_valid:
            assert abs(freq_mHz(rig.response) - 1000 * Hz) <= 1
            assert rocof_mHzps(rig.response) == pytest.approx(0, abs=2)
    assert rig.response.grid_valid


# Wired in another order than the config demands, or twice to the same phase
_WRONG = [(0, 2, 1), (0, 0, 1), (0, 1, 1), (1, 0, 0), (0, 0, 0)]


@pytest.mark.parametrize("wires", _WRONG)
def test_wrong_wires_only_shift_times_within_a_period(wires):
    """Inputs wired in the wrong order or to the same phase only shift times within a period."""
    grid = Grid()
    grid.ramp(48.0, 0.5, BEGIN_US)
    rig = PhaseRig(grid, wires)
    rig.run_to(BEGIN_US - 100_000)
    offsets_us = [us - rig.clock_us() for us, _ in taken(rig, BEGIN_US + 2_000_000)]
    assert max(offsets_us) - min(offsets_us) <= 2 / 3 * PERIOD_US * 1.05
    assert rocof_mHzps(rig.response) == pytest.approx(-500, rel=0.02)
    assert rig.response.state[K.PHASES_LOST] == 0


@settings(max_examples=30, deadline=None, phases=_PHASES)
@given(st.sampled_from(_WRONG), _AWAY, _STAYS)
def test_lost_phases_on_wrong_wires_keep_rocof(wires, away, stays):
    """On wrong wires, phases that come and go move the clock by less than two periods each, and RoCoF stays right."""
    grid, end_us = mains(away, stays, -0.5)
    rig = PhaseRig(grid, wires)
    rig.run_to(BEGIN_US - 100_000)
    offsets_us = [us - rig.clock_us() for us, _ in taken(rig, end_us + 700_000)]
    steps_us = [abs(b - a) for a, b in pairwise(offsets_us)]
    assert max(steps_us) < 2 * 1e6 / LOWEST_Hz
    if len(set(wires)) == 3 or not away:
        ended = grid.hz_at(end_us + 700_000) <= LOWEST_Hz
        assert ended or rocof_mHzps(rig.response) == pytest.approx(-500, rel=0.05)


def test_the_phase_alarm_comes_after_its_time_and_clears():
    """The alarm for a lost phase comes after its set time, warns only, and clears again."""
    controller = Controller(params("bench", grid_phases=3))
    grid = Grid()
    grid.lose(BEGIN_US, 1)
    grid.restore(BEGIN_US + 1_000_000, 1)
    rig = PhaseRig(grid)
    rig.response, rig.s = controller.response, controller.s
    rig.scans_until = lambda us: scans_of(controller, rig, us)
    alarm = code_of("phase_lost") - 1
    rig.run_to(BEGIN_US + 60_000)
    assert not controller.alarms.active[alarm]
    rig.run_to(BEGIN_US + 300_000)
    assert controller.alarms.active[alarm] == 1 and controller.s[I.PHASES_LOST] == 2
    rig.run_to(BEGIN_US + 5_900_000)
    assert controller.alarms.active[alarm] == 1
    rig.run_to(BEGIN_US + 6_200_000)
    assert not controller.alarms.active[alarm] and controller.s[I.PHASES_LOST] == 0


def scans_of(controller, rig, us):
    while rig.next_scan_us <= us:
        controller.scan(rig.next_scan_us // 1000)
        rig.next_scan_us += 10_000
