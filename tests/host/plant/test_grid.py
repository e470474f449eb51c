"""The mains of the simulated rack: zero crossings, frequency, phases and jitter."""


import numpy as np
import pytest
from halite.config import load_params
from halite.plant.grid import Grid
from halite.plant.rack import Rack
from hypothesis import given, settings
from hypothesis import strategies as st

PARAMS = load_params("sodium_rack")


@st.composite
def histories(draw):
    grid = Grid(draw(st.sampled_from([50.0, 60.0])))
    us = 0.0
    for _ in range(draw(st.integers(0, 5))):
        us += draw(st.floats(1_000, 500_000))
        kind = draw(st.sampled_from(["set", "ramp", "sine"]))
        if kind == "set":
            grid.set(draw(st.floats(45, 65)), us)
        elif kind == "ramp":
            grid.ramp(draw(st.floats(45, 65)), draw(st.floats(0.1, 20)), us)
        else:
            grid.sine(draw(st.floats(0.01, 0.5)), draw(st.floats(0.1, 5)), us)
    return grid


@settings(max_examples=40)
@given(grid=histories())
def test_zero_crossings_are_half_a_cycle_apart(grid):
    """Through any history of the grid, two crossings are half a cycle apart, to 2e-7 of a half cycle."""
    us = 0.0
    before = 0.0
    for _ in range(60):
        us, level = grid.next_crossing(us)
        assert level == round(2 * grid.cycles_at(us) + 1) % 2
        assert abs(2 * grid.cycles_at(us) - before - 1) < 2e-7
        before += 1


@settings(max_examples=40)
@given(grid=histories(), phase=st.sampled_from([1, 2]))
def test_each_phase_crosses_a_third_of_a_cycle_later(grid, phase):
    """Phase 1 crosses a third of a cycle after phase 0, and phase 2 a third of a cycle after phase 1."""
    us, before = 0.0, None
    for _ in range(40):
        us, level = grid.next_crossing(us, phase=phase)
        halves = 2 * grid.cycles_at(us) - 2 * phase / 3
        assert abs(halves - round(halves)) < 2e-7 and level == (round(halves) + 1) % 2
        assert before is None or round(halves) == before + 1
        before = round(halves)


@given(hz=st.floats(45, 65), at_us=st.floats(100_000, 200_000))
def test_periods_after_a_jump_have_the_new_frequency(hz, at_us):
    """The first full period after a jump has the length of the new frequency to 1 ns."""
    grid = Grid(50.0)
    grid.set(hz, at_us)
    first = grid.next_edge_us(at_us)
    second = grid.next_edge_us(first)
    assert abs(second - first - 1e6 / hz) < 1e-3


def test_a_ramp_ends_at_its_frequency_on_time():
    """A ramp of 1 Hz/s passes half of its way after 0.25 s and stays at its final frequency after 0.5 s."""
    grid = Grid(50.0)
    grid.ramp(49.5, 1.0, 1e6)
    assert grid.hz_at(1.25e6) == pytest.approx(49.75)
    assert grid.hz_at(1.5e6) == grid.hz_at(9e6) == 49.5


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from([None, 0, 1, 2]), st.integers(0, 200), st.integers(1, 200)), max_size=5),
    st.integers(0, 2),
)
def test_a_loss_removes_only_the_crossings_within_it(losses, phase):
    """Outside its own losses and those of the mains, a phase has the crossings of an undisturbed mains."""
    grid, whole = Grid(), Grid()
    spans = []
    for which, after_ms, for_ms in losses:
        begin_us = 1000.0 * after_ms + (spans[-1][2] if spans else 0.0)
        grid.lose(begin_us, which)
        grid.restore(begin_us + 1000 * for_ms, which)
        spans.append((which, begin_us, begin_us + 1000 * for_ms))
    away = [(begin, end) for which, begin, end in spans if which in (None, phase)]
    us = seen_us = 0.0
    for _ in range(60):
        us = whole.next_edge_us(us, phase)
        if not any(begin <= us < end for begin, end in away):
            seen_us = grid.next_edge_us(seen_us, phase)
            assert abs(seen_us - us) < 1e-3


def test_phases_are_lost_and_restored_one_by_one():
    """Lost phases do not count as loss of the mains. `at` restores one of them; without `at` all return."""
    rack = Rack.from_params(PARAMS)
    for phase in range(3):
        rack.start_fault("phase_lost", phase)
    assert rack.grid.present(rack.now_us)
    edges = [rack.grid.next_edge_us(rack.now_us, phase) for phase in range(3)]
    assert edges == [None] * 3
    rack.stop_fault("phase_lost", 1)
    edges = [rack.grid.next_edge_us(rack.now_us, phase) for phase in range(3)]
    assert edges[0] is None and edges[1] is not None and edges[2] is None
    rack.stop_fault("phase_lost")
    assert None not in [rack.grid.next_edge_us(rack.now_us, phase) for phase in range(3)]


def test_the_phase_continues_during_a_loss_of_mains():
    """A loss of mains suppresses crossings; the first one after it comes where the undisturbed phase has it."""
    grid = Grid(50.0)
    grid.lose(100_000)
    assert grid.next_edge_us(101_000) is None
    grid.restore(205_000)
    assert grid.next_edge_us(100_001) == pytest.approx(220_000)


def test_edge_jitter_has_its_rms_and_repeats_with_its_seed():
    """The jitter of the edges has the requested rms; the same seed gives the same jitter, another seed another."""
    def errors(seed):
        grid, us, found = Grid(50.0, jitter_us=5.0, seed=seed), 0.0, []
        for n in range(400):
            us = grid.next_edge_us(us)
            found.append(us - 20_000 * (n + 1))
        return np.array(found)

    assert errors(1).std() == pytest.approx(5.0, rel=0.15)
    assert (errors(1) == errors(1)).all()
    assert (errors(1) != errors(2)).any()
