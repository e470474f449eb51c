"""The register map agrees with the SunSpec models in pysunspec2, and the files that are generated from it are valid."""

import json
from pathlib import Path
from typing import Any

import pytest
import sunspec2
from halite.generate import modbus
from rack.definitions import codes, sunspec
from rack.definitions.alarms import ROWS, TRIP

MODELS = Path(sunspec2.__file__).parent / "models" / "json"


def model(number: int) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = json.loads((MODELS / f"model_{number}.json").read_text())["group"]["points"]
    return points


@pytest.mark.parametrize("number", [1, 802])
def test_the_models_are_those_of_sunspec(number: int) -> None:
    """Each point has the name, the type and the size of the SunSpec model."""
    ours = [point for point in modbus.points() if point.model == number]
    kinds = ["string" if p.kind.startswith("string") else p.kind for p in ours]
    assert [(p.name, kind, p.registers) for p, kind in zip(ours, kinds, strict=True)] == [
        (p["name"], p["type"], p["size"]) for p in model(number)
    ]
    assert ours[0].source == number and ours[1].source == sum(p.registers for p in ours[2:])


def test_only_the_inverters_mandatory_points_are_missing() -> None:
    """The rack controls its PCS itself, so SetInvState reads as "not implemented"."""
    ours = {p.name: p for p in modbus.points() if p.model == 802}
    missing = {p["name"] for p in model(802) if p.get("mandatory") == "M" and ours[p["name"]].source is None}
    assert missing == {"SetInvState"}


def test_writable_points_are_writable_in_the_models() -> None:
    writable = {p["name"] for p in model(802) if p.get("access") == "RW"}
    assert {p.name for p in modbus.points() if p.model == 802 and p.writable} <= writable


def test_each_alarm_has_the_bit_of_its_kind() -> None:
    (events,) = (p for p in model(802) if p["name"] == "Evt1")
    names = {symbol["value"]: symbol["name"] for symbol in events["symbols"]}
    for key, _signal, _direction, level, *_, bit, _text in ROWS:
        kind = names[bit]
        if kind.endswith("_ALARM"):
            assert level == TRIP, key
        if kind.endswith("_WARNING") and (kind.replace("_WARNING", "_ALARM") in names.values()):
            assert level < TRIP, key
    for part, kind in (
        ("cell_high", "OVER_VOLT"), ("cell_low", "UNDER_VOLT"), ("hot", "OVER_TEMP"), ("cold", "UNDER_TEMP"),
        ("insulation", "GROUND_FAULT"), ("cells_lost", "COMMUNICATION_ERROR"), ("stuck", "CONTACTOR_ERROR"),
        ("config_bad", "CONFIGURATION_ALARM"), ("temp_spread", "TEMPERATURE_IMBALANCE"),
        ("charge_current_trip", "CURRENT_ALARM"),
    ):  # fmt: skip
        rows = [row for row in ROWS if part in row[0]]
        assert rows and all(kind in names[row[6]] for row in rows), part


def test_the_own_model_is_a_sunspec_model_definition() -> None:
    from sunspec2 import mdef

    definition = json.loads(modbus.model_text())
    points = definition["group"]["points"]
    known = json.loads((MODELS / "schema.json").read_text())["definitions"]["point"]
    for point in points:
        assert set(point) <= set(known["properties"]) and set(known["required"]) <= set(point)
        assert point["type"] in known["properties"]["type"]["enum"]
    assert sum(point["size"] for point in points) == points[1]["value"] + 2
    assert mdef.from_json_str(modbus.model_text())["id"] == sunspec.VENDOR
    assert len({point["name"] for point in points}) == len(points)


def test_the_layout_number_changes_with_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    before = modbus.layout()
    *others, (own, name, points) = sunspec.MODELS
    monkeypatch.setattr(sunspec, "MODELS", (*others, (own, name, (*points[:-2], points[-1], points[-2]))))
    assert modbus.layout() != before


def test_every_refusal_has_a_text() -> None:
    refusals = {value for name, value in vars(codes).items() if name.startswith("REFUSED_")}
    assert refusals - {codes.REFUSED_UNKNOWN} == {code for code, *_ in sunspec.REFUSALS} - {0}


def test_the_map_ends_with_the_end_model() -> None:
    """The map ends with the end model and fits one block of flash."""
    rows = modbus.map_rows()
    assert [(high, low) for _, high, low in rows[-2:]] == [(0xFF, 0xFF), (0, 0)]
    assert all(len(row) == 3 and max(row) < 256 for row in rows)
    assert 3 * len(rows) < 2_500  # a text across two blocks of flash stays in the heap (halite.build.flash_index)
