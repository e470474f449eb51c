"""Dangerous configs whose values agree with each other: each is refused with key, value, unit and bounds."""

import copy
from typing import Any

import pytest
from halite.cli.app import app
from halite.common.errors import MisuseError
from halite.common.paths import BOARD_CONFIGS
from halite.config import ConfigProblem, dangers, flat_tables, load, load_params, rows
from halite.config.bounds import LEVELS, REACH, VALUES
from halite.config.checks import cross_check
from halite.config.keys import is_published, require_secret
from halite.config.physics import judge
from halite.config.reader import Document, read
from halite.config.validate import validate
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions.alarms import ABOVE, ROWS, TRIP
from support.config_documents import SHIPPED
from typer.testing import CliRunner

Changes = dict[tuple[str, str], Any]
DOCUMENTS = {name: read(BOARD_CONFIGS / f"{name}.toml") for name in SHIPPED}


def refusals(document: Document, name: str = "lfp_rack") -> list[str]:
    """Every finding of `halite config check`, with those of both groups."""
    sections, wrong = validate(BOARD_CONFIGS / f"{name}.toml", document)
    if wrong:
        return wrong
    values = {row.name: sections[rows.split(row.name)[0]][rows.split(row.name)[1]] for row in rows.scalars()}
    tables = flat_tables(sections)
    return cross_check(values, tables) + judge(values, tables)


def changed(changes: Changes, name: str = "lfp_rack") -> Document:
    document = copy.deepcopy(DOCUMENTS[name])
    for (section, key), value in changes.items():
        document[section][key] = value
    return document


def copied(keys: list[tuple[str, str]]) -> Changes:
    """Values of the sodium rack."""
    return {(section, key): DOCUMENTS["sodium_rack"][section][key] for section, key in keys}


CASES: list[tuple[Changes, str]] = [
    ({("alarms", "hot_trip"): [20_000, 450, 200, 5_000]}, "hot_trip: set 20000 x 0.1 degC: allowed is 400 to 600"),
    ({("alarms", "hot_trip"): [620, 450, 200, 5_000]}, "[alarms] hot_trip: set 620 x 0.1 degC: allowed is 400 to 600"),
    ({("alarms", "cells_lost"): [1_000_000, 140, 0, 500]}, "[alarms] cells_lost"),
    ({("alarms", "pcs_lost"): [1_000_000, 150, 0, 500]}, "[alarms] pcs_lost: set 1000000 ms: allowed is 50 to 1000 ms"),
    ({("alarms", "cell_high_trip"): [3_650, 3_400, 3_600_000, 5_000]}, "cell_high_trip: set_ms 3600000 ms: allowed"),
    ({("alarms", "cell_high_trip"): [3_650, 3_400, 60_000, 5_000]}, "cell_high_trip: set_ms 60000 ms: allowed is 0 to"),
    (copied([("alarms", "charge_cold_warn"), ("alarms", "charge_cold_derate"), ("alarms", "charge_cold_trip"),
             ("limit", "charge_temp")]), "[limit] charge_temp: 150 permille at -19.9 degC: allowed is 0 below 0"),
    (copied([("limit", "charge_temp")]), "where charge_cold_trip opens"),
    ({("limit", "charge_temp"): [[-1, 0], [0, 240], [550, 1000], [600, 0]]}, "where charge_cold_trip opens"),
    ({("limit", "charge_temp"): [[0, 0], [100, 1000]]}, "allowed is 0 below 0 and above 60 degC"),
    ({("limit", "charge_temp"): [[-100, 0], [100, 1000], [600, 0]]}, "allowed is 0 below 0"),
    ({("soc", "rest_dA"): 1_000}, "[soc] rest_dA = 1000 x 0.1 A: allowed is 0 to 28"),
    ({("alarms", "gas_trip"): [15_000, 600, 500, 10_000]}, "gas_mV is 0 to 3299 mV"),
    ({("alarms", "gas_trip"): [3_300, 600, 500, 10_000]}, "gas_mV is 0 to 3299 mV"),
    ({("alarms", "sensor_trip"): [300, 6, 1_000, 5_000]}, "temps_lost is 0 to 208"),
    ({("alarms", "sensor_trip"): [100, 6, 1_000, 5_000]}, "sensor_trip: set 100 : allowed is 2 to 12"),
    ({("alarms", "runaway_trip"): [9, 1, 0, 60_000]}, "runaway is 0 to 3"),
    ({("alarms", "runaway_trip"): [3, 1, 0, 60_000]}, "runaway_trip: set 3"),
    ({("sensor", "shunt_uohm"): 100}, "[sensor] shunt_uohm = 100: allowed is 50 uohm within 2 %"),
    ({("sensor", "shunt_uohm"): 5}, "[sensor] shunt_uohm = 5: allowed is 50 uohm within 2 %"),
    ({("sensor", "shunt_uohm"): 5, ("sensor", "shunt_A"): 15_000}, "[sensor] shunt_A = 15000 A does not fit"),
    ({("contactor", "aux_ms"): 1_000, ("precharge", "tau_ms"): 700}, "aux_ms = 1000 ms: allowed is 20 to 200 ms"),
    ({("precharge", "tau_ms"): 700, ("precharge", "early_ms"): 1_000, ("precharge", "late_ms"): 4_000,
      ("precharge", "energy_J"): 10_000}, "a bus behind a welded precharge relay rises to 133 permille"),
    ({("rack", "chemistry"): "sodium"}, 'allowed is 150 to 1200 mV with [rack] chemistry = "sodium"'),
    ({("rack", "power_max_W"): 300_000}, "[rack] power_max_W 300000: allowed is at most 250"),
    ({("precharge", "early_ms"): 1}, "[precharge] early_ms 1: allowed is at least 200 ms"),
    ({("precharge", "late_ms"): 60_000}, "[precharge] late_ms 60000: allowed is at most 2397 ms"),
    ({("precharge", "cooldown_ms"): 100}, "[precharge] cooldown_ms = 100 ms: allowed is 8000 to 600000 ms"),
    ({("sensor", "ntc_pullup_ohm"): 100_000}, "[sensor] ntc_pullup_ohm 100000: allowed is"),
    ({("sensor", "ntc_b_e10"): 1_500_000}, "[sensor] ntc_a_e10, ntc_b_e10, ntc_c_e13"),
    ({("alarms", "oc_alert"): [0, -1, 0, 1_000]}, "oc_alert: set 0  cannot be reached: oc_alert is 0 to 1"),
    ({("alarms", "gas_warn"): [800, -1, 1_000, 10_000]}, "gas_warn: clear -1 mV cannot be reached"),
    ({("alarms", "gas_lost"): [-1, 350, 2_000, 5_000]}, "gas_lost: set -1 mV cannot be reached"),
    ({("alarms", "gas_lost"): [600, 650, 2_000, 5_000]}, "gas_lost: set 600 mV: allowed is -2 to 500 mV"),
    ({("alarms", "afe_frozen_trip"): [27, 0, 0, 5_000]}, "afe_frozen is 0 to 26"),
    ({("alarms", "insulation_old_trip"): [3, 1, 0, 1_000]}, "insulation_old is 0 to 2"),
    ({("alarms", "afe_trip"): [1, 0, 600_000, 5_000]}, "afe_trip: set_ms 600000 ms: allowed is 0 to 60000 ms"),
    ({("afe", "still_dA"): 1_000}, "[afe] still_dA = 1000 x 0.1 A: allowed is 10 to 280 x 0.1 A"),
    ({("afe", "still_permille"): 51}, "[afe] still_permille = 51 permille: allowed is 1 to 50 permille"),
    ({("insulation", "age_ms"): 121_000}, "[insulation] age_ms = 121000 ms: allowed is 10000 to 120000 ms"),
    ({("alarms", "insulation_trip"): [5, 300, 5_000, 5_000]}, "insulation_trip: set 5"),
    ({("limit", "derate_permille"): 1_000}, "[limit] derate_permille = 1000 permille: allowed is 0 to 500 permille"),
    ({("limit", "charge_cell"): [[3_640, 1_000], [3_650, 0]]}, "[limit] charge_cell: 1000 permille at 3600 mV"),
    ({("cell", "voltage_max_mV"): 3_950, ("alarms", "cell_high_trip"): [3_950, 3_400, 0, 5_000]},
     "[cell] voltage_max_mV = 3950 mV: allowed is 3400 to 3650 mV"),
    ({("alarms", "charge_current_trip"): [-4_000, -1_000, 0, 1_000]}, "must be below the end of the range"),
    ({("contactor", "close_ms"): 1_000}, "[contactor] close_ms 1000 must be longer than settle_ms 1000"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), CASES)
def test_a_dangerous_lfp_rack_is_refused(changes: Changes, said: str) -> None:
    """The shipped LFP rack with a dangerous change is refused, and the line names the bound."""
    lines = refusals(changed(changes))
    assert any(said in line for line in lines), lines


def test_a_sodium_rack_called_lfp_is_refused() -> None:
    """The label alone does not make another chemistry: window, OCV and temperatures contradict it."""
    lines = refusals(changed({("rack", "chemistry"): "lfp"}, "sodium_rack"), "sodium_rack")
    for said in ("[cell] voltage_max_mV", "[cell] ocv", "[limit] charge_temp", "[alarms] cell_high_trip"):
        assert any(said in line for line in lines), (said, lines)


def test_more_power_than_the_currents_allow_is_refused() -> None:
    """300 kW on the sodium rack: its charge limit rose and fell for ever between 300 and 90 kW."""
    lines = refusals(changed({("rack", "power_max_W"): 300_000}, "sodium_rack"), "sodium_rack")
    assert any("[rack] power_max_W 300000" in line and "charge" in line for line in lines)


def test_a_gas_sensor_without_live_zero_is_accepted() -> None:
    """A sensor that reads 0 V in clean air sets the rows of a lost sensor to -2 mV."""
    off = {("alarms", "gas_lost"): [-2, -1, 2_000, 5_000], ("alarms", "gas_lost_derate"): [-2, -1, 60_000, 5_000]}
    assert refusals(changed(off)) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_racks_have_no_danger(name: str) -> None:
    """Every shipped config is free of findings."""
    assert refusals(DOCUMENTS[name], name) == []
    assert dangers(load(name)) == []


_KEYS = [str(row[0]) for row in ROWS]


def test_each_row_that_acts_has_a_bound() -> None:
    """Each trip has a row of LEVELS, keys and signals exist, and each row of the tables has a source."""
    bounded = {level.key for level in LEVELS}
    assert {str(row[0]) for row in ROWS if row[3] == TRIP} <= bounded <= set(_KEYS)
    assert set(REACH) <= {str(row[1]) for row in ROWS}
    assert {value.name for value in VALUES} <= {row.name for row in rows.scalars()}
    assert all(entry.source for entry in (*LEVELS, *VALUES))
    assert len(bounded) == len(LEVELS) and len({value.name for value in VALUES}) == len(VALUES)


_TRIPS = [row for row in ROWS if row[3] == TRIP]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SHIPPED), st.sampled_from(_TRIPS), st.integers(0, 3), st.integers(1, 2**20))
def test_a_late_or_distant_trip_is_refused(name: str, row: Any, what: int, by: int) -> None:
    """Any shipped rack and any trip: an hour of debounce, or a level far beyond the shipped one, is refused."""
    document = copy.deepcopy(DOCUMENTS[name])
    levels = document["alarms"][row[0]]
    if what == 0:
        levels[2] = 3_600_000
    elif what == 1:
        levels[2] += 10_000 + by
    else:
        levels[0] += row[2] * (20 * abs(levels[0]) + by + (1_000 if "temp" in row[1] or "jump" in row[1] else 0))
        levels[1] = levels[0] - row[2]
    lines = refusals(document, name)
    assert any(f"[alarms] {row[0]}" in line for line in lines), (levels, lines)


_BOUNDED = [value for value in VALUES if isinstance(value.high, int)]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SHIPPED), st.sampled_from(_BOUNDED), st.floats(0, 1))
def test_a_value_beyond_its_bound_is_named(name: str, bound: Any, share: float) -> None:
    """Any scalar between its bound and the firmware's range is refused with its key."""
    row = next(row for row in rows.scalars() if row.name == bound.name)
    if row.maximum <= bound.high:
        return
    section, key = rows.split(bound.name)
    value = bound.high + 1 + int(share * (row.maximum - bound.high - 1))
    lines = refusals(changed({(section, key): value}, name), name)
    assert any(f"[{section}] {key} = {value}" in line and str(bound.high) in line for line in lines), lines


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SHIPPED), st.sampled_from([row for row in ROWS if row[3] == TRIP]), st.floats(0.96, 1.0))
def test_a_slightly_stricter_trip_stays_accepted(name: str, row: Any, factor: float) -> None:
    """Bounds do not fit the shipped values alone: up to 4 % stricter levels are accepted, if the order holds."""
    document = copy.deepcopy(DOCUMENTS[name])
    levels = document["alarms"][row[0]]
    stricter = round(levels[0] - row[2] * abs(levels[0]) * (1 - factor))
    if abs(levels[0]) < 30 or (stricter - levels[1]) * row[2] <= 0:
        return
    levels[0] = stricter
    lines = [line for line in refusals(document, name) if line.startswith(f"[alarms] {row[0]}:") and "allowed" in line]
    assert lines == []


def test_a_simulation_may_study_a_dangerous_rack(tmp_path: Any) -> None:
    """`load` refuses a dangerous config, `load_params` takes it, and `halite simulate` names the danger."""
    file = tmp_path / "strong.toml"
    text = (BOARD_CONFIGS / "sodium_rack.toml").read_text().replace("power_max_W = 200_000", "power_max_W = 300_000")
    file.write_text(text)
    with pytest.raises(ConfigProblem, match="power_max_W 300000"):
        load(file)
    assert load_params(file).rack_power_max_W == 300_000
    answer = CliRunner().invoke(app, ["config", "check", str(file)])
    assert answer.exit_code != 0


def test_a_key_of_one_byte_is_refused(tmp_path: Any) -> None:
    """A maintenance key of zeros, or of another repeated byte, is refused everywhere."""
    text = (BOARD_CONFIGS / "lfp_rack.toml").read_text()
    before = text[text.index('key_hex = "') :].splitlines()[0]
    for digits in ("00" * 32, "ff" * 32):
        file = tmp_path / "open.toml"
        file.write_text(text.replace(before, f'key_hex = "{digits}"'))
        with pytest.raises(ConfigProblem, match=r"\[maintenance\] key_hex repeats one byte"):
            load(file)


def test_a_published_key_needs_development() -> None:
    """A development key goes on an emulated board, or with --development; a secret key goes on any board."""
    key = load("lfp_rack").maintenance_key
    assert is_published(key)
    require_secret(key, "/dev/pts/3", False)
    require_secret(key, "/dev/ttyACM0", True)
    require_secret(bytes(range(32)), "/dev/ttyACM0", False)
    with pytest.raises(MisuseError, match="development key that everybody knows"):
        require_secret(key, "/dev/ttyACM0", False)


@pytest.mark.parametrize("direction", [ABOVE, -ABOVE])
def test_a_level_that_is_always_on_is_refused(direction: int) -> None:
    """A set level at the resting end of the signal would hold the rack open for ever."""
    row = next(row for row in ROWS if row[2] == direction and row[1] in REACH and row[1] != "coolant_ddegC")
    low, high = (end for end in REACH[row[1]])
    rest = low if direction == ABOVE else high
    rest = rest if isinstance(rest, int) else 2_000
    lines = refusals(changed({("alarms", row[0]): [rest, rest - direction, 0, 0]}))
    assert any(f"[alarms] {row[0]}" in line for line in lines)
