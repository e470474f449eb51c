"""The keys that a board config may have, from the lists of the firmware. The host has no list of its own.

`precharge_tau_ms` of rack.definitions.params is key `tau_ms` of section `[precharge]`. The suffix is the unit.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from halite.common.paths import use_firmware

INT_MIN, INT_MAX = -(2**30), 2**30 - 1  # MicroPython's small integers on a 32-bit board

UNITS = {
    "mV": "mV", "dV": "x 0.1 V", "V": "V", "dA": "x 0.1 A", "mA": "mA", "A": "A", "W": "W", "kW": "kW", "Wh": "Wh",
    "Wps": "W/s", "mHz": "mHz", "Hz": "Hz", "mHzps": "mHz/s", "ddegC": "x 0.1 degC", "degC": "degC", "K": "K",
    "dK": "x 0.1 K", "s": "s", "ms": "ms", "us": "us", "min": "min", "cpct": "x 0.01 %", "pct": "%", "pm": "permille",
    "permille": "permille", "dAh": "x 0.1 Ah", "Ah": "Ah", "mohm": "mohm", "uohm": "uohm", "ohm": "ohm", "mF": "mF",
    "J": "J", "kJ": "kJ", "permille_ps": "permille/s", "permilleps": "permille/s",
    "permille_per_Hzps": "permille per Hz/s",
    "mKps": "mK/s", "mKpmin": "mK/min", "mKpW": "mK/W", "JpK": "J/K", "A2s": "A^2 s",
}  # fmt: skip

# Numbers that have names in the TOML file.
NAMED_VALUES = {
    "rack_chemistry": {"sodium": 0, "lfp": 1},
    "modbus_parity": {"none": 0, "odd": 1, "even": 2},
    "afe_chip": {"bq79616": 0, "ltc6813": 1},
}


@dataclass(frozen=True)
class Scalar:
    """One integer: minimum..maximum in the unit of its suffix."""

    name: str
    minimum: int
    maximum: int

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.name in NAMED_VALUES:
            return " or ".join(f'"{word}"' for word in NAMED_VALUES[self.name])
        if (self.minimum, self.maximum) == (0, 1):
            return "true or false"
        return f"{self.minimum} to {self.maximum} {unit_of(self.name)}".rstrip()


@dataclass(frozen=True)
class Table:
    """A list of up to `maximum` entries of `width` integers each."""

    name: str
    width: int
    maximum: int

    @property
    def allowed(self) -> str:
        if self.name == "response_curve":
            return f"up to {self.maximum} knots [deviation from nominal mHz, permille], whole numbers"
        entry = f"lists of {self.width} whole numbers" if self.width > 1 else "whole numbers"
        return f"up to {self.maximum} {entry}"


def unit_of(name: str) -> str:
    """The unit at the end of a name, written out; "" for a plain number."""
    parts = name.split("_")
    return next((UNITS[unit] for at in range(len(parts)) if (unit := "_".join(parts[at:])) in UNITS), "")


def split(name: str) -> tuple[str, str]:
    """`precharge_tau_ms` → ("precharge", "tau_ms")."""
    section, _, key = name.partition("_")
    return section, key


def scalars() -> tuple[Scalar, ...]:
    use_firmware()
    from rack.definitions.params import SCALARS

    return tuple(Scalar(*row) for row in SCALARS)


def tables() -> tuple[Table, ...]:
    use_firmware()
    from rack.definitions.params import TABLES

    return tuple(Table(*row) for row in TABLES)


@cache
def alarm_rows() -> tuple[tuple[object, ...], ...]:
    """The rows of rack.definitions.alarms. Each starts with key, signal, direction and level."""
    use_firmware()
    if find_spec("rack.definitions.alarms") is None:
        return ()
    return tuple(import_module("rack.definitions.alarms").ROWS)


def alarm_keys() -> tuple[str, ...]:
    return tuple(str(row[0]) for row in alarm_rows())


def levels_at(key: str) -> int:
    """Index of an alarm's first value in the table `alarms_levels`; ValueError for an unknown key.

    The columns from there are in rack.generated.alarm_levels.
    """
    use_firmware()
    from rack.generated import alarm_levels as L

    return int(L.WIDTH) * alarm_keys().index(key)
