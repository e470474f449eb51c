"""The times at which a collection may begin, for the shipped configs and for any config that the checks accept."""

from itertools import pairwise

import pytest
from halite.config import load_params
from halite.config.rows import levels_at
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions import params as rows
from rack.generated import ids as I
from rack.tasks.collector import ANSWER_ms, COLLECT_ms, LOST_MAX_ms, cell_times
from support.schedule_rig import AppRig

RANGES = {name: (smallest, largest) for name, smallest, largest in rows.SCALARS}


def rack(scan_ms=10, period_ms=100, lost=(160, 140, 0, 500)):
    """Parameters of the largest rack with other times. lost: the row `cells_lost`."""
    params = load_params("lfp_rack")
    params.rack_scan_ms, params.afe_period_ms = scan_ms, period_ms
    at = levels_at("cells_lost")
    for offset, value in enumerate(lost):
        params.alarms_levels[at + offset] = value
    return params


def costs(row):
    """Return the µs of a task: 3 ms for the scan, the whole budget of a collection, a tenth of any other budget."""
    return {"scan": 3_000, "collect": row.budget_us}.get(row.name, row.budget_us // 10)


@given(st.sampled_from([5, 7, 10, 20]), st.lists(st.integers(0, 1_200_000), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_a_collection_follows_a_scan_at_once(scan_ms, asked_us):
    """Two collections are at least half a second and at most their period apart."""
    rig = AppRig(rack(scan_ms), costs)
    for gap_us in asked_us:
        rig.run(gap_us)
        rig.app.collector.requested = True
    rig.run(11_000_000, 300)
    scans, collections = rig.starts[rig.index("scan")], rig.starts[rig.index("collect")]
    ends = {start + 3_000 for start in scans}
    assert len(collections) >= 2 and set(collections) <= ends
    assert all(b - a >= 500_000 for a, b in pairwise(collections))
    assert all(b - a <= 10_000_000 for a, b in pairwise(collections))
    assert max(b - a for a, b in pairwise(scans)) <= max(23_000, 2_000 * scan_ms)


@pytest.mark.parametrize(("age_ms", "begins"), [(0, True), (64, True), (65, False), (199, False), (200, True)])
def test_no_collection_while_cells_are_due(age_ms, begins):
    """Cells that are due postpone a collection; lost cells do not. The ages are those of the shipped configs."""
    rig = AppRig(load_params("lfp_rack"), costs)
    rig.app.controller.s[I.CELLS_AGE_ms] = age_ms
    rig.app.collector.requested = True
    rig.run(700_000)
    collections = rig.starts[rig.index("collect")]
    assert bool(collections) is begins
    rig.app.controller.s[I.CELLS_AGE_ms] = 0
    rig.run(20_000)
    assert len(collections) == 1


def test_a_postponed_collection_comes_with_its_period():
    """Cells that stay due cannot postpone a collection beyond its period of 10 s."""
    rig = AppRig(rack(), costs)
    rig.app.controller.s[I.CELLS_AGE_ms] = 100
    rig.run(21_000_000, 300)
    assert [start // 10_000_000 for start in rig.starts[rig.index("collect")]] == [1, 2]


@pytest.mark.parametrize("name", ["sodium_rack", "lfp_rack", "bench_rack"])
def test_shipped_configs_keep_their_times(name):
    """docs/reaction_times.md depends on these values."""
    assert cell_times(load_params(name)) == (65, 110, 200)


def test_slow_cells_move_the_times_with_the_config():
    """Cells read each 250 ms and lost after 300 ms: due at 215 ms, late at 260 ms, lost at 340 ms."""
    assert cell_times(rack(10, 250, (300, 280, 0, 500))) == (215, 260, 340)


@given(st.data())
def test_the_guard_is_active_until_cells_are_lost(data):
    """For any valid config, the guard begins before the cells are due, includes late cells, and ends after the trip."""
    scan_ms = data.draw(st.integers(*RANGES["rack_scan_ms"]))
    shortest_ms = max(RANGES["afe_period_ms"][0], scan_ms + COLLECT_ms + ANSWER_ms + 1)
    period_ms = data.draw(st.integers(shortest_ms, RANGES["afe_period_ms"][1]))
    set_ms = data.draw(st.integers(0, 500))
    longest_ms = LOST_MAX_ms - set_ms - COLLECT_ms - 2 * scan_ms
    lost_at_ms = data.draw(st.integers(period_ms + 1, longest_ms))
    due_ms, late_ms, lost_ms = cell_times(rack(scan_ms, period_ms, (lost_at_ms, lost_at_ms - 1, set_ms, 500)))
    assert scan_ms < due_ms < period_ms         # the first scan after the cells may be followed by a collection
    assert due_ms + COLLECT_ms < period_ms      # this collection ends before the next cells
    assert due_ms < late_ms < lost_ms           # there is an interval in which answers are postponed
    assert late_ms >= period_ms + scan_ms       # cells in time are not late, at any phase of the scan
    assert lost_ms >= lost_at_ms + set_ms + COLLECT_ms + scan_ms    # the trip has come, also behind a collection


@pytest.mark.parametrize("scan_ms", [5, 10, 20])
def test_collections_wait_at_most_half_a_period(scan_ms):
    """If cells are lost only after minutes, collections still run, and they do not run all the time."""
    times = cell_times(rack(scan_ms, 1_000, (900_000, 800_000, 60_000, 500)))
    assert times[2] == LOST_MAX_ms
    rig = AppRig(rack(scan_ms, 1_000, (900_000, 800_000, 60_000, 500)), costs)
    rig.run(21_000_000, 300)
    assert 2 <= len(rig.starts[rig.index("collect")]) <= 5
