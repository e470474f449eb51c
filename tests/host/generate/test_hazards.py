"""The list of hazards: every alarm has a place, every test exists, and the times are those of the measurement."""

import ast
import re

import pytest
from halite.common.paths import ROOT
from halite.generate.hazard_rows import CLOSED, HAZARDS, OPEN, REST, Hazard
from halite.generate.hazards import FILE, TIMES, page, times
from halite.generate.reaction_faults import FAULTS, NO_ROW
from rack.definitions.alarms import ROWS, TRIP

REVIEWED = 44           # hazards of the review, in its order; those behind the other alarms follow
TRIPS = {row[0] for row in ROWS if row[3] == TRIP}
TEXT = FILE.read_text(encoding="utf-8")
MEASURED = times(TIMES.read_text(encoding="utf-8"))
TRIP_ROW = re.compile(r"^\| `(\w+)` \| `\w+` [≥≤] -?\d+ \| opens[^|]* \| ([^|]*) \|$", re.MULTILINE)
each_hazard = pytest.mark.parametrize("hazard", HAZARDS, ids=lambda hazard: hazard.title)


def test_every_alarm_has_a_hazard() -> None:
    """Every alarm of the firmware is the detection of at least one hazard, and no other key is named."""
    named = {key for hazard in HAZARDS for key in hazard.alarms}
    assert named == {row[0] for row in ROWS}


@each_hazard
def test_every_named_test_exists(hazard: Hazard) -> None:
    """Each file has each function that the row names, once."""
    assert hazard.tests
    for file, *names in hazard.tests:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert names and set(names) <= functions, file
        assert all(name.startswith("test_") for name in names) and len(set(names)) == len(names)


@each_hazard
def test_a_gap_has_its_reason(hazard: Hazard) -> None:
    """A closed hazard has no rest. Another one names it, and each row has a cause and a reaction."""
    assert hazard.state in (CLOSED, REST, OPEN)
    assert bool(hazard.rest) == (hazard.state != CLOSED)
    assert hazard.cause and hazard.reaction
    assert hazard.state != CLOSED or hazard.alarms or "config check" in hazard.reaction


def test_every_trip_has_its_time_or_a_reason() -> None:
    """The page of the reaction times has a time or a reason for each trip, and the list shows the same one."""
    assert set(MEASURED) == TRIPS
    shown = {row[1]: row[2] for row in TRIP_ROW.finditer(TEXT)}
    assert shown == MEASURED
    assert {key for key, time in MEASURED.items() if time in NO_ROW.values()} == set(NO_ROW)
    assert all(re.fullmatch(r"[\d.]+ ms", MEASURED[fault.key]) for fault in FAULTS)


def test_the_rows_are_numbered_without_a_gap() -> None:
    """Summary and sections have each number once, in order, and titles do not repeat."""
    numbers = list(range(1, len(HAZARDS) + 1))
    assert len(HAZARDS) >= REVIEWED
    assert [int(n) for n in re.findall(r"^## (\d+)\. ", TEXT, re.MULTILINE)] == numbers
    assert [int(n) for n in re.findall(r"^\| (\d+) \| ", TEXT, re.MULTILINE)] == numbers
    assert len({hazard.title for hazard in HAZARDS}) == len(HAZARDS)


def test_the_page_is_current() -> None:
    assert page(MEASURED) == TEXT, "run: make generate"


def test_a_trip_without_a_measurement_has_no_time() -> None:
    """Before the first measurement the page is written without times."""
    assert page({}) == TRIP_ROW.sub(lambda row: row[0].replace(f"{row[2]} |", " |"), TEXT)
