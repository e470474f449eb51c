"""Scenario files: actions on a rack, at exact simulated times.

A misread scenario would test another case than its author wanted. Every key is therefore checked, and a refusal names
the file, the key, the value with its unit and the allowed range.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from halite.common.errors import HaliteError
from halite.common.paths import BOARD_CONFIGS
from halite.config.reader import read_toml
from halite.plant.faults import FAULTS
from halite.plant.parameters import Perturbation
from halite.plant.rack import Rack, StartState

FOLDER = BOARD_CONFIGS / "scenarios"

_Frequency = Annotated[int, Field(ge=40_000, le=70_000)]
_Time = Annotated[int, Field(ge=0, le=86_400_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Start(_Strict):
    """State of the rack before the first scan.

    cell: chemistry of the plant instead of the config's. resistance_pct, capacity_pct, other_ocv: its perturbation.
    """

    soc_pct: Annotated[float, Field(ge=0, le=100)] = 50.0
    temp_degC: Annotated[float, Field(ge=-40, le=80)] = 25.0
    ambient_degC: Annotated[float, Field(ge=-40, le=60)] = 25.0
    jitter_us: Annotated[float, Field(ge=0, le=100)] = 0.0
    cell: Literal["sodium", "lfp", "nfpp"] | None = None
    resistance_pct: Annotated[float, Field(ge=50, le=200)] = 100.0
    capacity_pct: Annotated[float, Field(ge=50, le=120)] = 100.0
    other_ocv: bool = False


class _Action(_Strict):
    at_ms: _Time


class SetFrequency(_Action):
    """Make the grid frequency jump."""

    do: Literal["set"]
    frequency_mHz: _Frequency


class RampFrequency(_Action):
    """Move the grid frequency at a constant rate."""

    do: Literal["ramp"]
    to_mHz: _Frequency
    rate_mHzps: Annotated[int, Field(ge=1, le=100_000)]


class FollowFrequency(_Action):
    """Let the grid frequency follow points [ms after at_ms, mHz], linear between them."""

    do: Literal["follow"]
    points: Annotated[list[tuple[_Time, _Frequency]], Field(min_length=2)]

    @model_validator(mode="after")
    def _rising(self) -> "FollowFrequency":
        times = [point[0] for point in self.points]
        if any(b <= a for a, b in pairwise(times)):
            raise ValueError("points must be in rising order of time")
        return self


class SineFrequency(_Action):
    """Add an oscillation to the grid frequency, from at_ms for for_ms, or to the end."""

    do: Literal["sine"]
    amplitude_mHz: Annotated[int, Field(ge=1, le=5_000)]
    rate_mHz: Annotated[int, Field(ge=10, le=5_000)]
    for_ms: _Time | None = None


class StartFault(_Action):
    """Start a fault of the rack. at: its cell, sensor, device or phase. for_ms: its duration, or to the end."""

    do: Literal["fault"]
    name: str
    at: Annotated[int, Field(ge=0, le=415)] = 0
    value: float | None = None
    for_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None

    @model_validator(mode="after")
    def _known(self) -> "StartFault":
        spec = FAULTS.get(self.name)
        if spec is None:
            raise ValueError(f"name = {self.name!r}: known faults are {', '.join(FAULTS)}")
        if self.value is not None and not spec.min_value <= self.value <= spec.max_value:
            raise ValueError(
                f"value = {self.value:g} {spec.unit}: allowed for {self.name} is "
                f"{spec.min_value:g} to {spec.max_value:g} {spec.unit}".rstrip()
            )
        return self


class ClearFault(_Action):
    """End a fault at one place; without `at` at every place."""

    do: Literal["clear"]
    name: Literal[tuple(FAULTS)]  # type: ignore[valid-type]
    at: Annotated[int, Field(ge=0, le=415)] | None = None


class Command(_Action):
    """Give an operator's command to the controller."""

    do: Literal["command"]
    what: Literal["close", "open", "reset", "unlock"]


class Setpoint(_Action):
    """Set the power that the EMS requests; positive discharges."""

    do: Literal["setpoint"]
    power_W: Annotated[int, Field(ge=-2_000_000, le=2_000_000)]


Action = Annotated[
    SetFrequency | RampFrequency | FollowFrequency | SineFrequency | StartFault | ClearFault | Command | Setpoint,
    Field(discriminator="do"),
]
GRID_ACTIONS = (SetFrequency, RampFrequency, FollowFrequency, SineFrequency)


class Scenario(_Strict):
    """One scenario. action: in the order of the file, which may differ from the order of time."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^/\\\x00-\x1f]+$")]
    text: str = ""
    duration_ms: Annotated[int, Field(ge=10, le=86_400_000)]
    start: Start = Start()
    action: list[Action] = []

    def timed(self) -> list[_Action]:
        """All actions except those on the grid, in order of time; the end of a limited fault is a ClearFault."""
        actions: list[_Action] = [a for a in self.action if not isinstance(a, GRID_ACTIONS)]
        actions += [
            ClearFault(at_ms=a.at_ms + a.for_ms, do="clear", name=a.name, at=a.at)
            for a in self.action
            if isinstance(a, StartFault) and a.for_ms is not None
        ]
        return sorted(actions, key=lambda a: a.at_ms)

    def start_state(self) -> StartState:
        """The start state as Rack takes it."""
        return {
            "soc": self.start.soc_pct / 100,
            "start_degC": self.start.temp_degC,
            "ambient_degC": self.start.ambient_degC,
            "jitter_us": self.start.jitter_us,
            "cell": self.start.cell,
            "perturbation": Perturbation(
                self.start.resistance_pct / 100, self.start.capacity_pct / 100, self.start.other_ocv
            ),
        }

    def prepare_grid(self, rack: Rack) -> None:
        """Give the grid all its changes before the run, so that zero crossings are exact across every change."""
        for action in sorted((a for a in self.action if isinstance(a, GRID_ACTIONS)), key=lambda a: a.at_ms):
            _on_grid(action, rack)


def _on_grid(action: Any, rack: Rack) -> None:
    us = action.at_ms * 1000.0
    if isinstance(action, SetFrequency):
        rack.grid.set(action.frequency_mHz / 1000, us)
    elif isinstance(action, RampFrequency):
        rack.grid.ramp(action.to_mHz / 1000, action.rate_mHzps / 1000, us)
    elif isinstance(action, FollowFrequency):
        rack.grid.knots([(ms / 1000, mHz / 1000) for ms, mHz in action.points], us)
    elif isinstance(action, SineFrequency):
        stop_us = float("inf") if action.for_ms is None else us + action.for_ms * 1000
        rack.grid.sine(action.amplitude_mHz / 1000, action.rate_mHz / 1000, us, stop_us)


def on_rack(action: _Action, rack: Rack) -> bool:
    """Carry out an action on the rack; returns False for an action on the controller, which is not carried out."""
    us = action.at_ms * 1000.0
    if isinstance(action, StartFault):
        rack.start_fault(action.name, action.at, action.value, us)
    elif isinstance(action, ClearFault):
        rack.stop_fault(action.name, action.at, us)
    else:
        return False
    return True


# reading

_UNITS = ("mHzps", "mHz", "ms", "us", "pct", "degC", "W")
_KINDS: dict[str, type[BaseModel]] = {
    "set": SetFrequency,
    "ramp": RampFrequency,
    "follow": FollowFrequency,
    "sine": SineFrequency,
    "fault": StartFault,
    "clear": ClearFault,
    "command": Command,
    "setpoint": Setpoint,
}
_SECTIONS: dict[str, type[BaseModel]] = _KINDS | {"start": Start}
_ALLOWED = {
    "greater_than_equal": "allowed is at least {ge}",
    "less_than_equal": "allowed is at most {le}",
    "string_pattern_mismatch": "allowed is text that can be part of a file's name",
    "too_short": "allowed is at least {min_length} entries",
    "literal_error": "allowed is {expected}",
    "union_tag_invalid": "allowed is {expected_tags}",
    "union_tag_not_found": f"must be given: one of {', '.join(_KINDS)}",
    "missing": "must be given",
}


def _allowed(error: dict[str, Any]) -> str:
    """The allowed values, in words."""
    if error["type"] == "extra_forbidden":
        holder = next((_SECTIONS[part] for part in reversed(error["loc"][:-1]) if part in _SECTIONS), Scenario)
        return f"no such key here, known are {', '.join(holder.model_fields)}"
    text = _ALLOWED.get(error["type"])
    return text.format(**error.get("ctx", {})) if text else str(error["msg"]).removeprefix("Value error, ")


def _line(file: str, error: dict[str, Any]) -> str:
    """One line for one refusal: file, place, key, value with unit, allowed values."""
    names = [part for n, part in enumerate(error["loc"]) if not (n == 2 and part in _KINDS)]
    value = error.get("input")
    if error["type"].startswith("union_tag"):
        names.append("do")
        value = value.get("do") if isinstance(value, dict) else value
    place = ".".join(f"{part + 1}" if isinstance(part, int) else str(part) for part in names)
    unit = next((u for u in _UNITS if place.endswith("_" + u)), "")
    plain = isinstance(value, str | int | float) and error["type"] != "missing"
    shown = f" = {value!r} {unit}".rstrip() if plain else ""
    return f"{file}: {place}{shown}: {_allowed(error)}"


def parse(document: dict[str, Any], file: str) -> Scenario:
    """Check a parsed TOML document. Raises HaliteError with one line per problem."""
    try:
        return Scenario.model_validate(document)
    except ValidationError as refused:
        raise HaliteError("\n".join(_line(file, dict(error)) for error in refused.errors())) from None


def find(name: str | Path) -> Path:
    """Path of a scenario file, given by its path or by the name of a shipped one. Raises HaliteError."""
    path = Path(name)
    if path.exists():
        return path
    shipped = FOLDER / f"{path.stem}.toml"
    if path.parent == Path() and shipped.exists():
        return shipped
    known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
    raise HaliteError(f"{name}: no such scenario", f"shipped scenarios: {known}")


def load(name: str | Path) -> Scenario:
    """Read and check a scenario file. Raises HaliteError with one line per problem."""
    path = find(name)
    return parse(read_toml(path), path.name)
