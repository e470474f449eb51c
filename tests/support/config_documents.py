"""Documents of board configs: one with a change, and the findings of the checks in it."""

import copy

from halite.common.paths import BOARD_CONFIGS
from halite.config import flat_tables, rows
from halite.config.checks import cross_check
from halite.config.reader import read
from halite.config.validate import validate

SHIPPED = sorted(path.stem for path in BOARD_CONFIGS.glob("*.toml"))
SODIUM = BOARD_CONFIGS / "sodium_rack.toml"
SCALARS = rows.scalars()
TABLES = rows.tables()


def problems(document, file=SODIUM):
    return validate(file, document)[1]


def changed(section, key, value):
    """The sodium rack's document with one value replaced, or left out when None."""
    document = copy.deepcopy(read(SODIUM))
    if value is None:
        del document[section][key]
    else:
        document[section][key] = value
    return document


def conflicts(document):
    """The cross checks of a document whose single values are valid."""
    sections, wrong = validate(SODIUM, document)
    assert wrong == []
    values = {row.name: sections[rows.split(row.name)[0]][rows.split(row.name)[1]] for row in SCALARS}
    return cross_check(values, flat_tables(sections))
