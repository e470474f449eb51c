"""The recorder keeps the entries before the trigger and stops after it."""

from array import array
from itertools import pairwise

import pytest
from halite.hosts.response_rig import Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response.recorder import (
    CAUSE_COMMAND,
    CAUSE_FREQUENCY,
    CAUSE_NONE,
    CAUSE_TRIP,
    COLUMNS,
    FIELDS,
    Recorder,
)
from rack.generated import ids as I


def recording(**changes):
    rig = Rig(recorder_trigger_mHz=200, **{"recorder_after": 50, **changes})
    return rig, Recorder(rig.params, rig.response, rig.s)


def run(rig, recorder, Hz, number):
    for _ in range(number):
        rig.period(Hz)
        recorder.on_period()
        recorder.scan()


def entries(recorder):
    rows = []
    for index in range(len(recorder)):
        row = array("i", [0] * len(FIELDS))
        recorder.entry(index, row)
        rows.append(list(row))
    return rows


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 255), st.integers(12, 400))
def test_a_trace_holds_the_configured_periods_after_its_trigger(after, before):
    """A frozen trace holds the trigger and as many periods after it as configured."""
    rig, recorder = recording(recorder_after=after)
    run(rig, recorder, 50.0, before)
    run(rig, recorder, 49.7, after + 20)
    assert recorder.frozen
    assert recorder.cause == CAUSE_FREQUENCY
    kept = entries(recorder)
    assert len(kept) == min(256, before + 2 + after)  # a step needs a second period
    assert abs(kept[-1 - after][0]) > 2_000
    assert len(kept) == after + 1 or abs(kept[-2 - after][0]) <= 2_000


def test_entries_are_in_order_and_whole():
    rig, recorder = recording()
    run(rig, recorder, 50.0, 300)
    run(rig, recorder, 49.8, 30)
    kept = entries(recorder)
    assert len(kept) == 256
    deviations = [row[0] for row in kept]
    assert deviations == sorted(deviations, reverse=True)
    now = rig.response
    unit_W = 200_000 // 30_000 + 1
    for kept_W, real_W in zip(kept[-1][1:6], [now.response_W, now.request_W, 0, 200_000, 200_000], strict=True):
        assert 0 <= real_W - kept_W < unit_W
    assert kept[-1][0] == -2_000
    assert (kept[-1][6] - kept[-2][6]) & 0xFFFF in (125, 126)  # a period of 20.08 ms in units of 160 us


def test_a_trip_freezes_the_trace_once_and_rearm_starts_again():
    """A trip freezes the trace once; after a rearm the same trip does not freeze the next one."""
    rig, recorder = recording()
    run(rig, recorder, 50.0, 100)
    rig.s[I.TRIP_CODE] = 7
    run(rig, recorder, 50.0, 60)
    assert (recorder.frozen, recorder.cause) == (True, CAUSE_TRIP)
    recorder.rearm()
    run(rig, recorder, 50.0, 60)
    assert not recorder.frozen
    assert len(recorder) == 60


def test_the_csv_counts_milliseconds_from_the_trigger():
    rig, recorder = recording()
    run(rig, recorder, 50.0, 100)
    run(rig, recorder, 49.5, 100)
    assert COLUMNS == "t_ms,deviation_dmHz,response_W,request_W,pcs_W,charge_W,discharge_W"
    table = [[int(field) for field in line.split(",")] for line in recorder.lines()]
    trigger = next(row for row in table if row[0] == 0)
    assert table.index(trigger) == len(table) - 1 - 50
    assert abs(trigger[1]) > 2_000
    assert [row[0] for row in table] == sorted(row[0] for row in table)
    assert abs(table[0][0] + 20 * table.index(trigger)) <= 1
    assert abs(table[-1][0] - 50 * 20.2) <= 1  # 49.5 Hz after the trigger


def test_a_command_or_a_loss_of_mains_freezes_the_trace():
    """A command freezes the trace at once; a loss of mains freezes a triggered trace at its end."""
    rig, recorder = recording()
    run(rig, recorder, 50.0, 30)
    recorder.freeze()
    assert (recorder.frozen, recorder.cause, len(recorder)) == (True, CAUSE_COMMAND, 30)
    recorder.rearm()
    run(rig, recorder, 49.5, 20)
    rig.s[I.GRID_AGE_ms] = 1_500
    recorder.scan()
    assert (recorder.frozen, recorder.cause, len(recorder)) == (True, CAUSE_FREQUENCY, 20)


@given(st.integers(-(2**23), 2**23 - 1))
def test_no_power_of_the_pcs_damages_the_trace(power_W):
    rig, recorder = recording()
    rig.s[I.PCS_POWER_W] = power_W
    recorder.scan()
    run(rig, recorder, 50.0, 1)
    bound = 32_767 * (200_000 // 30_000 + 1)
    assert abs(entries(recorder)[0][3] - max(-bound, min(bound, power_W))) < 7


def test_a_frozen_trace_keeps_its_cause_at_any_trigger():
    """A frozen trace keeps its cause and stays frozen at any trigger."""
    _, recorder = recording()
    recorder.freeze()
    before = recorder.cause
    recorder.trigger(CAUSE_TRIP)
    assert recorder.frozen and recorder.cause == before != CAUSE_TRIP


def test_a_trip_from_before_a_restart_does_not_trigger():
    """A trip that was latched before a restart does not trigger.

    Its trace was lost with the power; a trace of the start would block the next trigger until a rearm.
    """
    rig, recorder = recording()
    rig.s[I.TRIP_CODE] = 7
    run(rig, recorder, 50.0, 100)
    assert not recorder.frozen and recorder.cause == CAUSE_NONE
    rig.s[I.TRIP_CODE] = 0
    run(rig, recorder, 50.0, 10)
    rig.s[I.TRIP_CODE] = 9
    run(rig, recorder, 50.0, 60)
    assert recorder.frozen and recorder.cause == CAUSE_TRIP


def test_noisy_edges_and_three_phases_leave_an_entry_a_period():
    rig, recorder = recording()
    run(rig, recorder, 50.0, 20)
    for _ in range(50):
        for piece in (200_000,) * 6 + (50_000,):
            rig.response.on_period(piece)
            recorder.on_period()
    assert len(recorder) == 20
    for lost in (None, 0, 1):
        rig, recorder = recording(grid_phases=3)
        for count in range(300):
            if count % 3 != lost:
                rig.response.on_period(1_250_000, count % 3)
                recorder.on_period()
        times = [int(line.split(",")[0]) for line in recorder.lines()]
        assert {b - a for a, b in pairwise(times[5:])} <= {20}
        assert 95 <= len(recorder) <= 100


@given(st.integers(1_010, 100_000))
def test_a_loss_of_mains_freezes_its_history_with_its_times(gap_ms):
    """A loss of mains freezes the entries before it, with the right times."""
    rig, recorder = recording()
    rig.s[I.GRID_AGE_ms] = gap_ms
    recorder.scan()
    assert not recorder.frozen  # a rack that has not seen mains has no history
    rig.s[I.GRID_AGE_ms] = 0
    run(rig, recorder, 50.0, 80)
    rig.s[I.GRID_AGE_ms] = gap_ms
    recorder.scan()
    rig.s[I.GRID_AGE_ms] = 0
    run(rig, recorder, 50.0, 300)
    assert (recorder.frozen, recorder.cause, len(recorder)) == (True, CAUSE_FREQUENCY, 80)
    times = [int(line.split(",")[0]) for line in recorder.lines()]
    assert times[-1] == 0 and {b - a for a, b in pairwise(times)} == {20}


@pytest.mark.parametrize("before", [0, 100])
@pytest.mark.parametrize("edges", [(), (0x1FFF_FFFF,), (100_000,) * 5, (1_800_000,)])
@pytest.mark.parametrize("scans", ["before the edge", "after it"])
def test_recording_begins_when_mains_comes_back(before, edges, scans):
    """Recording begins when mains comes, after a start without it or a rearm in its absence."""
    rig, recorder = recording()
    now_ms = 0

    def silence(ms):
        nonlocal now_ms
        for _ in range(0, ms, 10):
            now_ms += 10
            rig.response.scan(now_ms)
            rig.response.publish(1)
            recorder.scan()

    def period(count=1_250_000):
        silence(10 if scans == "after it" else 20)
        rig.response.on_period(count)
        recorder.on_period()
        recorder.scan()     # the scan that the edge has interrupted
        silence(10 if scans == "after it" else 0)

    silence(2_000)
    for _ in range(before):
        period()
    silence(2_000)
    assert recorder.frozen == bool(before)
    recorder.rearm()
    rig.s[I.TRIP_CODE] = 7
    silence(100)
    for count in edges:
        period(count)
    assert not recorder.frozen and len(recorder) == 0
    for _ in range(100):
        period()
    kept = len(recorder)
    assert not recorder.frozen and kept >= 99   # the first period may end pieces that were too short
    silence(2_000)
    assert (recorder.frozen, recorder.cause, len(recorder)) == (True, CAUSE_FREQUENCY, kept)
