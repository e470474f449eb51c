"""Board configs: TOML files, their checks, and config.bin for the board. A wrong config is refused (rule R9)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.config import blob, rows
from halite.config.checks import cross_check
from halite.config.keys import is_trivial
from halite.config.physics import judge
from halite.config.reader import chip_of, find_config, read
from halite.config.validate import validate

__all__ = ["ConfigProblem", "RackConfig", "compile_config", "dangers", "load", "load_params"]


class ConfigProblem(HaliteError):
    """A refused config; `problems` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class RackConfig:
    """A validated board config.

    values: every scalar of rack.definitions.params by its full name; tables: every table as a flat list of ints;
    chip: microcontroller of the board; sections: the merged TOML document, with numbers instead of named values.
    """

    path: Path
    name: str
    board: str
    chip: str
    maintenance_key: bytes
    values: Mapping[str, int]
    tables: Mapping[str, list[int]]
    sections: Mapping[str, Any]

    def __getitem__(self, name: str) -> int:
        """A scalar by its full name: config["precharge_tau_ms"]."""
        return self.values[name]


def flat_tables(sections: Mapping[str, Any]) -> dict[str, list[int]]:
    """Every table of a validated document as flat integers; the alarms are in the order of rack.definitions.alarms."""
    tables = {}
    for table in rows.tables():
        if table.name == "alarms_levels":
            tables[table.name] = blob.flat([sections["alarms"][key] for key in rows.alarm_keys()])
        else:
            section, key = rows.split(table.name)
            tables[table.name] = blob.flat(sections[section][key])
    return tables


def load(path: str | Path, judged: bool = True) -> RackConfig:
    """Read and check a board config. ConfigProblem has one line for each problem.

    judged: also refuse values that agree with each other and are dangerous (`dangers`). A simulation may study them.
    """
    file = find_config(path)
    sections, problems = validate(file, read(file))
    if problems:
        raise ConfigProblem(problems)
    values = {row.name: sections[rows.split(row.name)[0]][rows.split(row.name)[1]] for row in rows.scalars()}
    config = RackConfig(
        path=file,
        name=sections["rack"]["name"],
        board=sections["rack"]["board"],
        chip=chip_of(file, sections["rack"]["board"]),
        maintenance_key=bytes.fromhex(sections["maintenance"]["key_hex"]),
        values=values,
        tables=flat_tables(sections),
        sections=sections,
    )
    found = cross_check(config.values, config.tables) or (dangers(config) if judged else [])
    if found:
        raise ConfigProblem([f"{file}: {line}" for line in found])
    return config


def dangers(config: RackConfig) -> list[str]:
    """The dangerous values of a config without conflicts, one line each: bounds.py, physics.py and the key."""
    found = judge(config.values, config.tables)
    if is_trivial(config.maintenance_key):
        found.append("[maintenance] key_hex repeats one byte: allowed is a random key: `halite config new` makes one")
    return found


def compile_config(config: RackConfig) -> bytes:
    """The `config.bin` of a config."""
    return blob.pack_values(config.values, config.tables, config.name, config.maintenance_key)


def load_params(path: str | Path) -> Any:
    """The parameters as rack.config.Params for a simulation, read from the bytes that a board would receive.

    Accepts dangerous values, so that a simulation can show their effect.
    """
    use_firmware()
    from rack.config import load as board_load

    return board_load(compile_config(load(path, judged=False)))
