"""The build's renaming for the board changes only names."""

import ast
import keyword

import pytest
from halite.build import firmware as build
from halite.build import intern


@pytest.fixture(scope="module")
def modules():
    return build.board_sources()


@pytest.fixture(scope="module")
def mapped(modules):
    return intern.mapping(modules.values(), [modules["boot.py"], modules["main.py"]])


def test_each_name_gets_a_free_name_of_its_own(modules, mapped):
    """No two names share a new name, and no source uses one of the new names."""
    used = set().union(*(intern._identifiers(source) for source in modules.values()))
    assert len(mapped) > 400
    assert len(set(mapped.values())) == len(mapped)
    assert not set(mapped.values()) & used
    assert not any(keyword.iskeyword(name) for name in mapped.values())


def test_the_structure_of_every_module_stays_the_same(modules, mapped):
    """A module that is renamed and renamed back has the same syntax tree and the same number of lines."""
    back = {short: name for name, short in mapped.items()}
    for name, source in modules.items():
        renamed = intern.rename(source, mapped)
        assert ast.dump(ast.parse(intern.rename(renamed, back))) == ast.dump(ast.parse(source)), name
        assert renamed.count("\n") == source.count("\n")


def test_names_that_other_parts_need_stay(modules, mapped):
    """Tracebacks, the config and the interpreter need these names."""
    for name in ("Controller", "scan", "rack_power_max_W", "viper", "readfrom_mem_into", "ipoll", "const", "ptr32"):
        assert name not in mapped


def test_names_of_pio_assembler_stay(mapped):
    assert not {"pull", "noblock", "isr", "osr", "pins"} & set(mapped)


def test_one_more_name_moves_few_others(modules, mapped):
    """A new name in the sources changes fewer than 20 entries."""
    more = intern.mapping([*modules.values(), "def f(entirely_new):\n    pass\n"])
    changed = sum(more[name] != short for name, short in mapped.items() if name in more)
    assert changed < 20
