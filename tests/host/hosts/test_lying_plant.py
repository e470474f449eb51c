"""One lie, or two, on a rack in random operation: no danger lasts longer than its row allows. See `make lies`."""

from array import array
from types import SimpleNamespace
from typing import Any

import pytest
from halite.config.rows import levels_at
from support import lying_plant, lying_rack
from support.lying_plant import LIES, Story, told

RACKS = ("sodium", "lfp")


@pytest.mark.parametrize("config", RACKS)
@pytest.mark.parametrize("seed", range(9))
def test_no_danger_lasts_behind_one_lie(config: str, seed: int) -> None:
    """Within the row's time the rack is open, or the condition is not dangerous."""
    story = Story(config, seed, 1)
    assert story.play() == [], told(story)


@pytest.mark.parametrize("config", RACKS)
@pytest.mark.parametrize("seed", range(6))
def test_no_cell_leaves_its_limits_behind_two_lies(config: str, seed: int) -> None:
    """No closed rack has a cell outside its limits for longer than the table allows."""
    story = Story(config, seed, 2)
    assert story.play() == [], told(story)


@pytest.mark.parametrize(("config", "seed", "key"), [
    ("sodium", 1, "module_blind_trip"), ("sodium", 11, "bus_trip"), ("sodium", 52, "delivery_trip"),
    ("lfp", 3, "power_trip"),
])  # fmt: skip
def test_a_rack_without_the_cross_check_is_found(
    config: str, seed: int, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property can fail: without the alarm the danger of the same story lasts."""
    shipped = lying_rack.params

    def without(name: str, **changed: Any) -> SimpleNamespace:
        found = shipped(name, **changed)
        found.alarms_levels = array("i", found.alarms_levels)
        for row in (key, key.replace("trip", "derate")):
            if row in lying_plant.KEYS:
                found.alarms_levels[levels_at(row)] = 1 << 28
        return found

    monkeypatch.setattr(lying_rack, "params", without)
    assert any(text.startswith(key) for text in Story(config, seed, 1).play())


def test_each_lie_exists_and_its_alarm_too() -> None:
    """The names and places of the lies are those of the plant; the alarms are those of the list."""
    for lie in LIES:
        spec = lying_plant.FAULTS[lie.name]
        assert spec.where == lie.where, lie.name
        assert all(value is None or spec.min_value <= value <= spec.max_value for value in lie.values), lie.name
        assert not lie.found_by or lie.found_by in lying_plant.KEYS
