"""The times that keep collections away from due cells fit every config that is accepted."""

from pathlib import Path

import pytest
from halite.common.paths import BOARD_CONFIGS
from halite.config import ConfigProblem, load, load_params
from rack.tasks.collector import cell_times

SHIPPED = "cells_lost = [160, 140, 0, 500]"


def rack(folder: Path, period_ms: int, scan_ms: int, row: str) -> Path:
    """A sodium rack with another AFE period, scan period and row of cells_lost."""
    text = (BOARD_CONFIGS / "sodium_rack.toml").read_text(encoding="utf-8")
    for old, new in (
        ("period_ms = 100 ", f"period_ms = {period_ms} "),
        ("scan_ms = 10 ", f"scan_ms = {scan_ms} "),
        (SHIPPED, f"cells_lost = {row}"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = folder / "rack.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_slow_afe_keeps_its_guard(tmp_path: Path) -> None:
    """With cells each 250 ms, lost at 300 ms, collections wait from 215 ms to 340 ms: the guard is active."""
    assert cell_times(load_params(rack(tmp_path, 250, 10, "[300, 280, 0, 500]"))) == (215, 260, 340)


@pytest.mark.parametrize(("period_ms", "scan_ms", "fits"), [(51, 15, True), (50, 15, False), (50, 14, True)])
def test_an_afe_period_leaves_room_for_a_collection(tmp_path: Path, period_ms: int, scan_ms: int, fits: bool) -> None:
    """The period is longer than a scan, a collection (20 ms) and the evaluation of the cells (15 ms)."""
    file = rack(tmp_path, period_ms, scan_ms, "[160, 140, 0, 500]")
    if fits:
        due_ms, late_ms, lost_ms = cell_times(load_params(file))
        assert scan_ms < due_ms < late_ms < lost_ms
        return
    with pytest.raises(ConfigProblem, match=rf"\[afe\] period_ms {period_ms} must be longer than 50 ms"):
        load(file)


@pytest.mark.parametrize(("row", "fits"), [("[4_960, 140, 0, 500]", True), ("[4_960, 140, 1, 500]", False)])
def test_cells_lost_ends_within_the_collector_limit(tmp_path: Path, row: str, fits: bool) -> None:
    """No collection waits longer than 5 s for cells, so the trip must come within that time."""
    file = rack(tmp_path, 100, 10, row)
    if fits:
        assert cell_times(load_params(file))[2] == 5_000
        return
    with pytest.raises(ConfigProblem, match=r"\[alarms\] cells_lost = 4960 \+ 1 ms is too slow: .* up to 4960 ms"):
        load(file)
