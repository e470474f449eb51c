"""A controller that has run for 48 days, and one whose clock wraps at a bad time, behave as one that has just started.

The clocks in ms wrap at 2**30 ms (12.4 days), those in µs at 2**30 µs (18 minutes).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from halite.common.paths import BOARD_CONFIGS
from halite.hosts.unix_port import UnixPort
from halite.scenarios import scenario
from halite.scenarios.cpython_run import run
from halite.scenarios.recording import Recording
from rack.base.clock import TICKS_MASK

DAY_48_ms = 48 * 86_400_000
CLOSE_ms, FAULT_ms, RESET_ms, END_ms = 800, 2600, 4200, 6000
# the wrap comes in the precharge, at the mains event, in the debounce of the fault, in its clear time, at the reset
BEFORE_WRAP_ms = (900, 1000, 2005, 2650, 3000, RESET_ms)


def story() -> scenario.Scenario:
    """A rack closes, answers a frequency drop, trips by a silent PCS, gets a reset and closes again."""
    commands = [
        {"at_ms": at, "do": "command", "what": what}
        for at, what in ((CLOSE_ms, "close"), (RESET_ms, "reset"), (RESET_ms + 200, "close"))
    ]
    event = {"at_ms": 2000, "do": "ramp", "to_mHz": 49_600, "rate_mHzps": 2000}
    fault = {"at_ms": FAULT_ms, "do": "fault", "name": "pcs_silent", "for_ms": 600}
    actions = [*commands, event, fault]
    return scenario.parse({"name": "t", "duration_ms": END_ms, "start": {}, "action": actions}, "t.toml")


@pytest.fixture(scope="module")
def from_zero() -> Recording:
    """The recording of a controller that starts at 0."""
    return run(story(), "bench_rack")


def test_the_story_has_its_trip_and_its_reset(from_zero: Recording) -> None:
    """Otherwise the comparison would be easy."""
    assert CLOSE_ms < from_zero.first("main + closed") < 2000 < FAULT_ms < from_zero.first("trip: PCS") < RESET_ms
    assert from_zero["contacts"][-1] != 0


@pytest.mark.parametrize("start_ms", [DAY_48_ms & TICKS_MASK, *(TICKS_MASK + 1 - ms for ms in BEFORE_WRAP_ms)])
def test_the_same_bits_from_any_start_of_the_clock(from_zero: Recording, start_ms: int) -> None:
    """Every value of every scan and every event, from day 48 and over wraps."""
    other = run(story(), "bench_rack", start_ms=start_ms)
    assert other.observations == from_zero.observations
    for name in from_zero.columns:
        assert np.array_equal(other[name], from_zero[name], equal_nan=True), name


def trajectory(start_us: int) -> Iterator[Any]:
    """Every frame on the CAN bus with its time, every contact, and the cells at the end, of the whole application."""
    with UnixPort(BOARD_CONFIGS / "bench_rack.toml", start_us=start_us) as board:
        board.run_for(CLOSE_ms)
        board.send("close\n")
        board.run_for(2000 - CLOSE_ms)
        board.rack.grid.ramp(49.6, 2.0, board.now_us)
        board.run_for(FAULT_ms - 2000)
        board.rack.start_fault("cell_offset", 3, 0.5)
        board.run_for(500)
        yield board.coils
        yield [(at_us, frame.id, bytes(frame.data)) for at_us, frame in board.chips.can_bus.log]
        yield board.rack.changes
        yield board.rack.cells.emf_V


@pytest.mark.parametrize("start_us", [1000 * DAY_48_ms, 2**30 - 1_500_000, 1000 * (2**30 - 2_650)])
def test_the_whole_application_starts_anywhere(start_us: int, application_from_zero: list[Any]) -> None:
    """Drivers and tasks on the unix port: the same frames at the same times."""
    coils, frames, *rack = trajectory(start_us)
    assert coils == 0 and len(frames) > 150
    assert [coils, frames, *rack] == application_from_zero


@pytest.fixture(scope="module")
def application_from_zero() -> list[Any]:
    """The trajectory of an application whose clock starts at 0."""
    return list(trajectory(0))
