"""The console postpones pieces of an answer before the next scan and while cells are late, up to a limit."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from rack.definitions.codes import AFE_RUN, AFE_WAKE
from rack.generated import ids as I
from support.task_rig import pacing


def answering(turns):
    """Return a console with an endless answer, which appends to `turns` for each piece."""
    return SimpleNamespace(busy=True, poll=lambda: turns.append(True), notice=None)


@pytest.mark.parametrize(
    ("passed_us", "may"), [(0, True), (6_900, True), (7_001, False), (9_999, False), (10_500, False)]
)
def test_no_piece_begins_close_before_a_scan(passed_us, may):
    """The console leaves the last 3 ms of a scan period of 10 ms free; a scan that is due runs first."""
    assert pacing(10, passed_us).console_task.may_answer(passed_us) == may


@pytest.mark.parametrize(("scan_ms", "passed_us", "may"), [(5, 3_400, True), (5, 3_501, False), (20, 13_900, True)])
def test_the_kept_share_follows_the_scan_period(scan_ms, passed_us, may):
    """The console leaves three tenths of any scan period free."""
    assert pacing(scan_ms, passed_us).console_task.may_answer(passed_us) == may


def test_a_busy_rack_still_answers():
    """A rack without free time sends one piece after each 20 postponements."""
    turns = []
    task = pacing(10, 9_000, console=answering(turns), terminal=SimpleNamespace(waiting=1)).console_task
    served = []
    for _ in range(63):
        task.run(9_000)
        served.append(len(turns))
    assert [served.count(number) for number in range(4)] == [20, 21, 21, 1]


def test_turns_lost_to_late_cells_are_not_caught_up():
    """While cells are late no postponement is counted, so the next scan is not delayed afterwards."""
    turns = []
    app = pacing(10, 9_000, console=answering(turns), terminal=SimpleNamespace(waiting=1))
    app.controller.s[I.CELLS_AGE_ms] = 111
    for _ in range(63):
        app.console_task.run(9_000)
    app.controller.s[I.CELLS_AGE_ms] = 0
    for _ in range(20):
        app.console_task.run(9_000)
    assert turns == []
    app.console_task.run(9_000)
    assert turns == [True]


@pytest.mark.parametrize(
    ("age_ms", "state", "late"),
    [(110, AFE_RUN, False), (111, AFE_RUN, True), (199, AFE_RUN, True), (200, AFE_RUN, False),
     (0, AFE_WAKE, True), (200, AFE_WAKE, False)],
)  # fmt: skip
def test_an_answer_waits_for_late_cells_until_they_are_lost(age_ms, state, late):
    """Cells are late after a period and a scan, or while the AFEs wake up. The console does not wait for lost cells."""
    app = pacing(10, 0)
    app.controller.s[I.CELLS_AGE_ms], app.afe.state = age_ms, state
    assert app.console_task.cells_are_late() == late
    assert app.console_task.may_answer(0) == (not late)


def test_a_long_answer_requests_a_collection():
    """After 64 pieces of an answer, and after its end, the garbage is collected."""
    app = pacing(10, 0, console=answering([]), terminal=MagicMock())
    for _ in range(63):
        app.console_task.run(0)
    assert not app.collector.requested
    app.console_task.run(0)
    assert app.collector.requested
    app.collector.requested = False
    app.console.poll = lambda: setattr(app.console, "busy", False)
    app.console_task.run(0)
    assert app.collector.requested
