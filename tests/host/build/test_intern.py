"""The build's renaming for the board changes only names."""

import ast
import keyword

import pytest
from halite.build import firmware as build
from halite.build import intern
from halite.build.flat import flatten


@pytest.fixture(scope="module")
def modules():
    return flatten(build.board_sources())


@pytest.fixture(scope="module")
def mapped(modules):
    return intern.mapping(modules, [modules["boot.py"], modules["main.py"]])


def test_new_names_are_free_names_of_the_image(modules, mapped):
    """No source uses one of the new names, and every wanted name got one."""
    used = set().union(*(intern._identifiers(source) for source in modules.values()))
    assert len(mapped) > 700
    assert set(mapped.values()) <= intern.rom_names() - used
    assert not any(keyword.iskeyword(name) for name in mapped.values())


def test_no_function_has_two_names_that_share_a_new_one(modules, mapped):
    """Two names with one new name are both arguments or local, and no statement of a module has both."""
    shared = 0
    for source in modules.values():
        for scope in intern._scopes(source):
            names = scope & set(mapped)
            assert len({mapped[name] for name in names}) == len(names)
            shared += len(names)
    assert shared > 2000
    attributes = {node.attr for source in modules.values() for node in ast.walk(ast.parse(source))
                  if isinstance(node, ast.Attribute)}  # fmt: skip
    news = [new for name, new in mapped.items() if name in attributes]
    assert len(set(news)) == len(news) and not set(news) & {mapped[name] for name in set(mapped) - attributes}


def _same_but_names(source: str) -> str:
    """Return the syntax tree without names: of each kind of name only that there is one."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname"):
            if isinstance(getattr(node, field, None), str):
                setattr(node, field, "x")
    return ast.dump(tree)


def test_the_structure_of_every_module_stays_the_same(modules, mapped):
    """Renaming changes only names, and no line."""
    for name, source in modules.items():
        renamed = intern.rename(name, source, mapped)
        assert renamed.count("\n") == source.count("\n")
        if not name.endswith("definitions/params.py"):
            assert _same_but_names(renamed) == _same_but_names(source), name


def test_the_list_of_parameters_gets_the_names_of_the_attributes(modules, mapped):
    """The texts of the list are the attributes that the other modules read; the ranges stay."""
    path = next(name for name in modules if name.endswith("definitions/params.py"))
    before: dict = {}
    after: dict = {}
    exec(modules[path], before)
    exec(intern.rename(path, modules[path], mapped), after)
    for table in ("SCALARS", "TABLES"):
        assert after[table] == tuple((mapped.get(row[0], row[0]), *row[1:]) for row in before[table])
    assert mapped["rack_power_max_W"] in {row[0] for row in after["SCALARS"]}
    assert len({row[0] for row in (*after["SCALARS"], *after["TABLES"])}) == len(intern._parameters(modules))


def test_names_that_other_parts_need_stay(modules, mapped):
    """Tracebacks and the interpreter need these names."""
    for name in ("Controller", "scan", "viper", "readfrom_mem_into", "ipoll", "const", "ptr32"):
        assert name not in mapped


def test_names_of_pio_assembler_stay(mapped):
    assert not {"pull", "noblock", "isr", "osr", "pins"} & set(mapped)


def test_one_more_name_moves_few_others(modules, mapped):
    """A new name in the sources changes fewer than 20 entries."""
    more = intern.mapping(
        {**modules, "rack/more.py": "def f(entirely_new):\n    pass\n"}, [modules["boot.py"], modules["main.py"]]
    )
    changed = sum(more[name] != short for name, short in mapped.items() if name in more)
    assert changed < 20


def test_the_number_of_a_parameter_gives_its_name(modules, mapped, capsys):
    """The board's reason has the number of a parameter: `halite dev names 2` prints its names."""
    intern.print_names(modules, ["2"])
    assert capsys.readouterr().out.split() == [mapped["rack_power_max_W"], "rack_power_max_W"]
