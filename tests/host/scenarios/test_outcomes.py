"""The promises of the shipped scenarios: the control core under CPython keeps them, other runs break them."""

import pickle
from dataclasses import replace
from typing import Any

import pytest
from halite.cli import app as cli
from halite.common.errors import HaliteError
from halite.config import load
from halite.emulator.flash_watch import ClosedWatch
from halite.scenarios import board_suite, scenario
from halite.scenarios.cpython_run import run
from halite.scenarios.outcome import PROMISES, Outcome, PHASE_ms, broken, differences, of_recording

CONFIG = load("sodium_rack").path
FAULT_ms = 3_503.0


def outcome(name: str) -> Outcome:
    return of_recording(run(scenario.load(name), CONFIG))


@pytest.fixture(scope="module")
def overvoltage() -> Outcome:
    return outcome("overvoltage")


def test_every_shipped_scenario_has_a_promise() -> None:
    """PROMISES has exactly the shipped scenarios."""
    assert set(PROMISES) == {path.stem for path in scenario.FOLDER.glob("*.toml")}


@pytest.mark.parametrize("name", sorted(PROMISES))
def test_every_scenario_keeps_its_promise_under_cpython(name: str) -> None:
    """Every shipped scenario closes a contactor and keeps its promise on the control core under CPython."""
    kept = outcome(name)
    assert broken(kept, PROMISES[name]) == []
    assert any(text == "main - closed" for _, text in kept.rack)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trip": "", "trip_ms": None, "left": ""}, "trip is none, promised is cell_high_trip"),
        ({"trip": "spread_trip"}, "trip is spread_trip"),
        ({"left": ""}, "left is none"),
        ({"state": "closed"}, "state is closed"),
        ({"level": "warn"}, "level is warn"),
        ({"refused": ("command close refused (2)",)}, "command close refused"),
    ],
)
def test_a_run_without_the_promised_outcome_is_broken(
    overvoltage: Outcome, change: dict[str, Any], says: str
) -> None:
    """A run with another trip, state, level or a refused command breaks its promise."""
    (line,) = [line for line in broken(replace(overvoltage, **change), PROMISES["overvoltage"]) if says in line]
    assert line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trip": "spread_trip"}, "trip is spread_trip, under CPython cell_high_trip"),
        ({"trip_ms": 3_620.0 + PHASE_ms + 1}, "tripped at"),
        ({"state": "opening"}, "state is opening"),
        ({"rack": ()}, "changes in the rack"),
        ({"peak_W": -114_000}, "largest request"),
        ({"peak_W": 116_667}, "largest request"),
    ],
)
def test_a_difference_from_cpython_is_reported(
    overvoltage: Outcome, change: dict[str, Any], says: str
) -> None:
    """Every difference between an outcome and the outcome under CPython is reported."""
    assert differences(overvoltage, overvoltage, FAULT_ms) == []
    (line,) = differences(replace(overvoltage, **change), overvoltage, FAULT_ms)
    assert says in line


def test_another_phase_of_the_afes_does_not_count(overvoltage: Outcome) -> None:
    """A trip that is later by the phase of the AFEs, with a slightly smaller peak, does not count as a difference."""
    rack = tuple((ms + 90, text) for ms, text in overvoltage.rack)
    later = replace(overvoltage, trip_ms=3_700.0, peak_W=-116_000, rack=rack)
    assert differences(later, overvoltage, FAULT_ms) == []


@pytest.mark.parametrize("missing", ["main + open", "main - closed"])
def test_a_contact_that_does_not_move_is_a_difference(overvoltage: Outcome, missing: str) -> None:
    """A missing change of a contact counts as a difference."""
    without = replace(overvoltage, rack=tuple(event for event in overvoltage.rack if event[1] != missing))
    assert "changes in the rack" in differences(without, overvoltage, FAULT_ms)[0]


def test_only_a_flash_write_while_closed_is_reported() -> None:
    """The watch reports a flash write between closing and opening, and no write before or after."""
    contact, flash = ("contact", ("main_neg", 1)), ("flash", ("erase", 0, 4096))
    opened = ("contact", ("main_neg", 0))
    watch = ClosedWatch.over([(at, *event) for at, event in enumerate([flash, contact, flash, opened, flash])])
    assert (watch.closings, watch.openings) == (1, 1)
    (write,) = watch.writes
    assert write.startswith("2 us") and "main_neg" in write


def test_the_suite_refuses_an_unknown_scenario_at_once(tmp_path: Any) -> None:
    """The board suite refuses an unknown scenario before it plays; its error survives the way between processes."""
    with pytest.raises(HaliteError, match="no such scenario"):
        board_suite.run(["no_such_story"], "sodium_rack", 2, tmp_path / "out.json", as_json=False)
    refused = pickle.loads(pickle.dumps(HaliteError("what", "do")))  # it comes out of a process of its own
    assert str(refused) == "what (do)"


def test_the_suite_fails_when_a_run_is_wrong(
    overvoltage: Outcome, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The board suite prints each failure and returns 1; without failures it returns 0."""
    right = board_suite.Played("overvoltage", "sodium", 1.0, 5.0, (), 3, 3, overvoltage, overvoltage, ())
    for wrong, status in ((), 0), (("1 us: flash written",), 1):
        found = [replace(right, wrong=wrong)]
        monkeypatch.setattr(board_suite, "suite", lambda *_, found=found: iter(found))
        assert cli.main(["simulate", "--suite", "board", "overvoltage", "--out", str(tmp_path / "out.json")]) == status
        said = capsys.readouterr().out
        assert "cell_high_trip at 3620 ms (3620 under CPython)" in said and ("WRONG" in said) == bool(status)
