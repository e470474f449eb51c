"""The reaction times are within their bars, and the page agrees with the code."""

import copy

import pytest
from halite.generate.reaction_faults import (
    FAULTS,
    NO_ROW,
    CELLS_ms,
    CHECK_ms,
    COLLECT_ms,
    COUNT_ms,
    CURRENT_ms,
    ECHO_ms,
    Fault,
    FROZEN_ms,
    LATE_ms,
    PERIOD_ms,
    RUNAWAY_ms,
    SCAN_ms,
    SLICE_ms,
    STATUS_ms,
    TAKE_OVER_ms,
    TEMPS_ms,
)
from halite.generate.reaction_times import DOC, Board, closed, debounce_ms, level, measure, table
from rack.definitions.alarms import ROWS, TRIP
from rack.generated import ids as I

SLOTS_ms = 8 * PERIOD_ms + LATE_ms      # the cross-checks run in one of eight slots, one in each scan


@pytest.fixture(scope="module")
def worst() -> dict[str, int]:
    return measure()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_every_fault_opens_within_its_bar(worst: dict[str, int], fault: Fault) -> None:
    time_ms = fault.hardware_us / 1000 if fault.hardware_us else worst[fault.key]
    assert fault.bar_ms is None or time_ms <= fault.bar_ms


def test_the_bars_are_the_required_ones() -> None:
    asked = {
        "hvil": 10, "estop": 10, "oc_alert": 10, "discharge_current_trip": 20, "charge_current_trip": 20,
        "cell_high_trip": 150, "cell_low_trip": 150, "hot_trip": 500, "cells_lost": 200, "current_lost": 100,
        "pcs_lost": 300,
    }  # fmt: skip
    bars = {fault.key: fault.bar_ms for fault in FAULTS}
    assert {key: bars[key] for key in asked} == asked


def test_every_trip_has_a_row_or_a_reason() -> None:
    """Every trip has a row, or a reason why it has no row."""
    rows = {fault.key for fault in FAULTS}
    assert rows | set(NO_ROW) == {row[0] for row in ROWS if row[3] == TRIP}
    assert not rows & set(NO_ROW)


# ms from the cause until a scan can see it: bus times, periods, and the ages that the config allows
SOURCES = {
    "hvil": 0, "estop": 0, "oc_alert": 0, "late_trip": level("late_trip"),
    "discharge_current_trip": CURRENT_ms, "charge_current_trip": CURRENT_ms, "current_lost": level("current_lost"),
    "cell_high_trip": 100 + CELLS_ms, "cell_low_trip": 100 + CELLS_ms, "wire_trip": 100 + CELLS_ms,
    "hot_trip": 100 + TEMPS_ms, "cold_trip": 100 + TEMPS_ms, "gas_trip": 100,
    "cells_lost": level("cells_lost") + TAKE_OVER_ms, "temps_lost": level("temps_lost") + TAKE_OVER_ms,
    "pcs_lost": level("pcs_lost") + 10,
    "charge_i2t_trip": CURRENT_ms, "charge_hot_trip": 100 + TEMPS_ms, "charge_cold_trip": 100 + TEMPS_ms,
    "spread_trip": 100 + CELLS_ms, "temp_spread_trip": 100 + TEMPS_ms, "sensor_trip": 100 + TEMPS_ms,
    "sum_trip": 0, "insulation_trip": 0, "board_trip": 100, "runaway_trip": 100 + TEMPS_ms + RUNAWAY_ms,
    "module_blind_trip": 100 + TEMPS_ms,
    # the power before the cause counts for one more slot
    "power_trip": CURRENT_ms + 2 * SLOTS_ms, "delivery_trip": STATUS_ms + SLOTS_ms, "bus_trip": STATUS_ms + SLOTS_ms,
    "refused_trip": COUNT_ms + PERIOD_ms, "foreign_trip": COUNT_ms + PERIOD_ms,
    "echo_trip": ECHO_ms + STATUS_ms + 2 * SLOTS_ms,
    "stuck": 100 + PERIOD_ms, "wire_check_trip": 100 + CHECK_ms, "config_bad": CHECK_ms,
    "afe_trip": 100, "afe_frozen_trip": FROZEN_ms + 100 + CELLS_ms,
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_each_time_has_an_upper_bound(worst: dict[str, int], fault: Fault) -> None:
    """A reaction takes at most: source, debounce, the scan that delays, a collection, a period, a slice, the scan.

    The slice is that of another task when the next scan is due.
    """
    wait_ms = 2 * SCAN_ms + COLLECT_ms + PERIOD_ms + SLICE_ms + (PERIOD_ms + LATE_ms if fault.played else 0)
    assert worst[fault.key] <= SOURCES[fault.key] + debounce_ms(fault.key) + wait_ms


def test_the_slowest_opening_is_behind_a_collection(worst: dict[str, int]) -> None:
    """A fault just after the inputs are read takes the rest of that scan, the collection and the next scan."""
    assert worst["hvil"] == SCAN_ms + COLLECT_ms + SCAN_ms + SLICE_ms
    assert LATE_ms == 13


@pytest.mark.parametrize("shift_ms", range(10))
def test_a_collection_and_a_retry_raise_no_age_alarm(shift_ms: int) -> None:
    """A collection and a repeated reading together keep each age below its alarm level."""
    settled = Board(closed(250), 250, shift_ms).settle(150)
    for number in range(settled.scans, settled.scans + 12):
        cells = current = pcs = 0
        board = copy.deepcopy(settled)
        board.collect_after = number
        for now in range(151, 450):
            s = board.rig.s
            current, pcs = max(current, s[I.CURRENT_AGE_ms]), max(pcs, s[I.PCS_AGE_ms])
            cells = max(cells, s[I.CELLS_AGE_ms])
            board.settle(now)
        assert board.rig.s[I.TRIP_CODE] == 0
        assert cells + CELLS_ms - TAKE_OVER_ms < level("cells_lost")
        assert current + 2 * PERIOD_ms < level("current_lost")
        assert pcs + STATUS_ms < level("pcs_lost")


def test_the_page_agrees_with_the_code(worst: dict[str, int]) -> None:
    assert DOC.read_text(encoding="utf-8") == table(worst), "run: make generate"
