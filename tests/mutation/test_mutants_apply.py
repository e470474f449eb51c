"""The list of `make mutants` agrees with the code: each row changes its module, and every module has a row."""

import ast

import pytest
from halite.common.paths import FIRMWARE
from mutation.mutants import MUTANTS, Mutant
from mutation.syntax_operators import mutated

CONTROL = FIRMWARE / "rack" / "control"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.module}: {mutant.fault}")
def test_each_row_changes_its_module(mutant: Mutant) -> None:
    """The place of a row exists, and the syntax tree after the change differs from the tree before."""
    source = (CONTROL / mutant.module).read_text(encoding="utf-8")
    tree, _ = mutated(source, *mutant[1:4])
    assert ast.unparse(tree) != ast.unparse(ast.parse(source))
    compile(ast.unparse(tree), mutant.module, "exec")


def test_every_control_module_has_a_mutant() -> None:
    """All modules of the control core have a row, all rows differ, and there are at least sixty."""
    assert {mutant.module for mutant in MUTANTS} == {
        path.relative_to(CONTROL).as_posix() for path in CONTROL.rglob("*.py") if path.name != "__init__.py"
    }
    assert len({mutant[:4] for mutant in MUTANTS}) == len(MUTANTS) >= 60
