"""The list of `make mutants` fits the code: each mutant finds its place, and no module is left out."""

from typing import Any

import pytest
from halite.common.paths import FIRMWARE
from mutation.mutants import MUTANTS

CONTROL = FIRMWARE / "rack" / "control"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant[0]}: {mutant[3]}")
def test_a_mutant_finds_its_place_once_and_changes_it(mutant: Any) -> None:
    module, old, new, _ = mutant
    assert (CONTROL / module).read_text().count(old) == 1
    assert old != new


def test_every_control_module_is_broken_in_some_way_and_at_least_sixty_ways_in_all() -> None:
    assert {module for module, *_ in MUTANTS} == {
        path.relative_to(CONTROL).as_posix() for path in CONTROL.rglob("*.py") if path.name != "__init__.py"
    }
    assert len({mutant[:3] for mutant in MUTANTS}) == len(MUTANTS) >= 60
