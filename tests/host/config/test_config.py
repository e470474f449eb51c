"""Board configs: what is written arrives, and whatever is wrong is named."""

import copy
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from halite.common.errors import HaliteError
from halite.common.paths import BOARD_CONFIGS, FIRMWARE
from halite.config import ConfigProblem, blob, checks, compile_config, flat_tables, load, load_params, rows
from halite.config.checks import _windows, cross_check
from halite.config.reader import read, read_toml
from halite.config.show import as_text, start_from
from halite.config.validate import validate
from hypothesis import given, settings
from hypothesis import strategies as st
from rack import config as board
from rack.control.controller import Controller
from rack.control.response import frequency
from rack.definitions import params as board_rows
from rack.definitions.codes import AGE_NEVER
from rack.generated import ids as I

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


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_is_valid_and_arrives_on_the_board_as_written(name):
    config, params = load(name), load_params(name)
    for row in SCALARS:
        assert getattr(params, row.name) == config[row.name]
    for table in TABLES:
        assert list(getattr(params, table.name)) == config.tables[table.name]
    assert params.rack_name == config.name
    assert params.maintenance_key == config.maintenance_key


def test_every_chemistry_and_a_bench_are_shipped():
    assert {"sodium_rack", "lfp_rack", "bench_rack"} <= set(SHIPPED)
    assert {load(name)["rack_chemistry"] for name in SHIPPED} == {0, 1}


def test_a_rack_without_an_ems_s_link_needs_no_pins_for_it():
    document = changed("modbus", "enabled", False)
    for name in ("rs485_tx", "rs485_rx", "rs485_de"):
        document["pins"][name] = -1
    assert conflicts(document) == []
    document["pins"]["coolant_flow"] = 6  # one of those that are free now
    assert conflicts(document) == []


# -- what the host refuses

NUMBERS = [row for row in SCALARS if row.name not in rows.NAMED_VALUES and row.maximum > 1]


@given(st.sampled_from(NUMBERS), st.integers(1, 10**6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_value_out_of_range_is_refused_with_key_value_and_what_is_allowed(row, beyond, high):
    section, key = rows.split(row.name)
    value = row.maximum + beyond if high else row.minimum - beyond
    lines = problems(changed(section, key, value))
    written = f"[{section}] {key} = {value} {rows.unit_of(row.name)}".rstrip()
    assert lines == [f"{SODIUM}: {written}: allowed is {row.allowed}"]


@given(st.sampled_from(NUMBERS))
@settings(max_examples=15, deadline=None)
def test_a_missing_key_is_named(row):
    section, key = rows.split(row.name)
    if section != "pins" and section != "response":  # those come from presets
        lines = problems(changed(section, key, None))
        assert lines == [f"{SODIUM}: [{section}] {key}: missing: allowed is {row.allowed}"]


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("precharge", "tau_s", 1, "unit s is wrong here: use tau_ms (10 to 5000 ms)"),
        ("precharge", "tau", 1, "the unit is missing: use tau_ms"),
        ("precharge", "tua_ms", 1, "did you mean tau_ms"),
        ("rack", "scan_ms", 10.0, "a whole number, 5 to 20 ms"),
        ("rack", "scan_ms", True, "a whole number, 5 to 20 ms"),
        ("rack", "scan_ms", "10", "a whole number, 5 to 20 ms"),
        ("response", "up_permille_ps", 3, "= 3 permille/s: allowed is 10 to 100000 permille/s"),
        ("response", "curve", [[-0.5, 1000], [500, -1000]], "knots [deviation from nominal mHz, permille]"),
        ("rack", "chemistry", "lead", 'allowed is "sodium" or "lfp"'),
        ("rack", "name", "", "1 to 32 printable ASCII characters"),
        ("cell", "ocv", [[0, 1900], [10_000]], "entry 2"),
        ("cell", "ocv", [[0, 1900.5]], "entry 1"),
        ("alarms", "hot_trip", [600, 550, 100], "[set, clear, set_ms, clear_ms]"),
        ("alarms", "hot_tripp", [600, 550, 100, 0], "did you mean hot_trip"),
        ("maintenance", "key_hex", "12", "64 hexadecimal digits"),
        ("modbus", "parity", "mark", 'allowed is "none" or "odd" or "even"'),
        ("modbus", "unit", 248, "1 to 247"),
        ("modbus", "speed", 9_600, "unknown"),
    ],
)
def test_a_wrong_entry_says_what_would_be_right(section, key, value, said):
    lines = problems(changed(section, key, value))
    assert len(lines) == 1, lines
    assert f"[{section}] {key}" in lines[0]
    assert said in lines[0]
    assert str(SODIUM) in lines[0]


def test_an_unknown_section_is_named_with_the_likely_one():
    lines = problems({**read(SODIUM), "deadmen": {}})
    assert lines == [f"{SODIUM}: [deadmen]: unknown section: did you mean [deadman]?"]


def test_a_section_that_is_a_single_value_is_refused():
    lines = problems({**read(SODIUM), "cell": 3})
    assert lines == [f"{SODIUM}: [cell]: must be a section with keys, not a single value"]


@given(
    st.dictionaries(
        st.sampled_from(["rack", "cell", "alarms", "pins", "response", "maintenance", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
@settings(max_examples=40, deadline=None)
def test_any_document_gives_single_lines_and_no_exception(document):
    lines = problems(document)
    assert lines
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("alarms", "cell_high_derate", [3_860, 3_800, 200, 5_000], "must be beyond cell_high_warn"),
        ("alarms", "hot_trip", [600, 600, 200, 5_000], "clear 600 must be below set 600"),
        ("alarms", "cold_trip", [-400, -500, 200, 5_000], "clear -500 must be above set -400"),
        ("alarms", "ems_lost", [1_000_000, 5_000, 0, 0], None),
        ("alarms", "ems_lost", [1_000_001, 5_000, 0, 0], "cannot be reached: allowed is at most 1000000 ms"),
        ("alarms", "grid_lost", [60_000, 60, 0, 1_000], None),
        ("alarms", "grid_lost", [60_001, 60, 0, 1_000], "set 60001 cannot be reached: allowed is at most 60000 ms"),
        ("alarms", "cell_high_trip", [3_960, 3_800, 0, 5_000], "no trip at 3950 mV"),
        ("alarms", "cell_low_trip", [1_700, 2_100, 0, 5_000], "no trip at 1800 mV"),
        ("alarms", "discharge_current_trip", [6_100, 1_000, 0, 1_000], "beyond [overcurrent] sensor_dA"),
        ("cell", "ocv", [[0, 1_700], [10_000, 3_900]], "leaves the cell's window: allowed is 1800 to 3950 mV"),
        ("cell", "ocv", [[0, 2_500], [5_000, 2_400], [10_000, 3_900]], "the voltage must rise"),
        ("cell", "ocv", [[0, 2_500], [10_000, 3_900], [9_000, 3_910]], "the SoC must rise"),
        ("precharge", "early_ms", 700, "must enclose 599 ms"),
        ("precharge", "energy_J", 1_000, "less than the energy of one precharge"),
        ("deadman", "wdt_ms", 200, "must be longer than window_ms 200"),
        ("deadman", "window_ms", 20, None),
        ("rack", "scan_ms", 12, None),
        ("rack", "scan_ms", 18, "[rack] scan_ms 18: one missing edge at 50000 mHz would be a loss of mains"),
        ("rack", "scan_ms", 20, "[rack] scan_ms 20: one missing edge at 50000 mHz would be a loss of mains"),
        ("afe", "period_ms", 159, None),
        ("afe", "period_ms", 160, "[afe] period_ms 160 must be shorter than [alarms] cells_lost, 160 ms"),
        ("afe", "devices", 23, "384 cells at 16 each need 24"),
        ("afe", "devices", 25, "384 cells at 16 each need 24"),
        ("sensor", "divider_pct", 1_700, "INA228"),
        ("sensor", "alert_charge_A", 315, None),
        ("sensor", "alert_charge_A", 316, "alert_charge_A = 316 A: allowed is at most 315 A, the trip level of"),
        ("sensor", "alert_discharge_A", 421, "at most 420 A, the trip level of [alarms] discharge_current_trip"),
        ("sensor", "alert_discharge_A", 9, "[sensor] alert_discharge_A = 9 A: allowed is at least 10 A with"),
        ("sensor", "alert_discharge_A", 10, None),
        ("sensor", "shunt_uohm", 274, "[overcurrent] sensor_dA = 6000 x 0.1 A: allowed is at most 5979 x 0.1 A"),
        ("sensor", "shunt_uohm", 273, None),
        ("grid", "phases", 2, "allowed is 1 or 3"),
        ("response", "curve", [[49_500, 1000], [49_985, 0], [50_500, -1000]], "power at nominal frequency"),
        ("response", "curve", [[-50_500, 1000], [-49_985, 0], [-49_500, -1000]], "power at nominal frequency"),
        ("response", "curve", [[-500, 1000], [500, 0]], "power at nominal frequency"),
        ("response", "curve", [[-500, 1000], [0, 1], [500, 0]], "power at nominal frequency"),
        ("response", "curve", [[-100, 1000], [101, -1000]], "power at nominal frequency"),
        ("response", "curve", [[-500, 1000], [500, -1000]], None),
        ("response", "curve", [[-500, 1000], [-15, 0]], None),
        ("response", "curve", [[0, 0], [500, -1000]], None),
        ("response", "curve", [[-500, -1000], [500, 1000]], "power must not rise with the frequency"),
        ("grid", "phases", 3, "needs [pins] zero_crossing_b"),
        ("limit", "charge_cell", [[3_780, 1_000], [3_960, 0]], "must end with 0 at 3950 mV"),
        ("limit", "discharge_temp", [[0, 1_000], [-10, 0]], "must rise"),
        ("pins", "can_sck", 19, "allowed is one of 2, 6, 18, 22"),
        ("pins", "heater", 23, "is used by the board itself"),
        ("pins", "pump_pwm", 20, "both use GP20"),
        ("pins", "coolant_flow", 22, "both use GP22"),
        ("pins", "estop", 12, "must be neighbours"),
        ("pins", "coil_enable", 21, "both use GP21"),
        ("pins", "hvil", -1, "must be connected"),
        ("cooling", "cool_off_ddegC", 330, "must be below cool_on_ddegC"),
        ("modbus", "baud", 14_400, "[modbus] baud = 14400: allowed is one of 9600, 19200, 38400, 57600, 115200"),
        ("modbus", "baud", 115_200, None),
        ("pins", "rs485_de", -1, "[modbus] enabled needs [pins] rs485_de"),
        ("pins", "rs485_rx", 7, "[pins] rs485_rx = 7: allowed is one of 5, 9, 21"),
    ],
)
def test_values_that_fight_each_other_are_refused(tmp_path, section, key, value, said):
    document = changed(section, key, value)
    if (section, key) == ("deadman", "wdt_ms"):
        document["deadman"]["window_ms"] = 200
    lines = conflicts(document)
    if said is None:
        assert lines == []
    else:
        assert any(said in line for line in lines), lines


@given(st.sampled_from(["charge", "discharge"]), st.integers(11, 500), st.integers(2_301, 6_000))
@settings(max_examples=25, deadline=None)
def test_a_hardware_alert_above_its_trip_level_is_refused_and_no_other(direction, alert_A, trip_dA):
    sign = -1 if direction == "charge" else 1
    document = changed("sensor", f"alert_{direction}_A", alert_A)
    document["alarms"][f"{direction}_current_derate"][0] = sign * 2_300
    document["alarms"][f"{direction}_current_warn"][0] = sign * 2_200
    document["alarms"][f"{direction}_current_trip"][0] = sign * trip_dA
    lines = [line for line in conflicts(document) if "alert" in line]
    assert bool(lines) == (10 * alert_A > trip_dA)
    assert all(f"alert_{direction}_A = {alert_A} A: allowed is at most {trip_dA / 10:g} A" in line for line in lines)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_rack_cuts_an_over_current_in_hardware_at_its_trip_levels(name):
    config = load(name)
    sets = dict(zip(rows.alarm_keys(), config.tables["alarms_levels"][::4], strict=True))
    assert -10 * config["sensor_alert_charge_A"] == sets["charge_current_trip"]
    assert 10 * config["sensor_alert_discharge_A"] == sets["discharge_current_trip"]


def conflicts(document):
    """The cross checks of a document whose single values are valid."""
    sections, wrong = validate(SODIUM, document)
    assert wrong == []
    values = {row.name: sections[rows.split(row.name)[0]][rows.split(row.name)[1]] for row in SCALARS}
    return cross_check(values, flat_tables(sections))


def test_a_conflict_reaches_the_user_with_the_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(SODIUM.read_text().replace("devices = 24", "devices = 23"))
    with pytest.raises(ConfigProblem) as refused:
        load(file)
    assert refused.value.problems == [f"{file}: [afe] devices 23: 384 cells at 16 each need 24"]


def ltc6813(board):
    """The document of the sodium rack with an LTC6813 stack on a board map."""
    document = changed("afe", "chip", "ltc6813")
    document["pins"] = dict(read_toml(BOARD_CONFIGS / "boards" / f"{board}.toml")["pins"])
    document["modbus"]["enabled"] = False
    return document


def test_an_ltc6813_rack_needs_a_board_map_with_its_pins():
    """The reference map is refused with each missing pin and the GPIOs that can serve it."""
    assert conflicts(ltc6813("pico_w_ltc6813")) == []
    needed = '[afe] chip = "ltc6813" needs this pin'
    assert conflicts(ltc6813("pico_w")) == [
        f"[pins] afe_miso = -1: {needed}: allowed is 8, 12, 28",
        f"[pins] afe_cs = -1: {needed}: allowed is any free GPIO",
        f"[pins] afe_sck = -1: {needed}: allowed is 10, 14, 26",
        f"[pins] afe_mosi = -1: {needed}: allowed is 11, 15, 27",
    ]


def test_a_bq79616_rack_is_refused_on_the_map_of_an_ltc6813():
    """Its UART has no pins there."""
    document = ltc6813("pico_w_ltc6813")
    document["afe"]["chip"] = "bq79616"
    needed = '[afe] chip = "bq79616" needs this pin'
    assert conflicts(document) == [
        f"[pins] afe_tx = -1: {needed}: allowed is 0, 12, 16, 28",
        f"[pins] afe_rx = -1: {needed}: allowed is 1, 13, 17",
    ]


@pytest.mark.parametrize(
    ("chip", "board", "cells", "devices", "allowed"),
    [
        ("bq79616", "pico_w", 5, 5, "6 to 16"),
        ("bq79616", "pico_w", 18, 2, "6 to 16"),
        ("ltc6813", "pico_w_ltc6813", 18, 2, ""),
        ("ltc6813", "pico_w_ltc6813", 4, 6, ""),
    ],
)
def test_a_device_has_the_cells_that_its_chip_can_measure(chip, board, cells, devices, allowed):
    """cells_per_device out of the chip's range is refused with the range."""
    document = ltc6813(board)
    document["afe"].update(chip=chip, cells_per_device=cells, devices=devices)
    document["cell"]["series"] = cells * devices
    said = f'[afe] cells_per_device = {cells}: allowed is {allowed} with [afe] chip = "{chip}"'
    assert [line for line in conflicts(document) if line.startswith("[afe]")] == ([said] if allowed else [])


def test_an_unknown_afe_chip_is_refused_with_the_two_that_exist():
    lines = problems(changed("afe", "chip", "bq76952"))
    assert lines == [f"{SODIUM}: [afe] chip = 'bq76952': allowed is \"bq79616\" or \"ltc6813\""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[rack", "not valid TOML"),
        ('[rack]\nboard = "nano"\n', "allowed is one of pico_2, pico_w"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, text, said):
    file = tmp_path / "bad.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(HaliteError, match=said) as refused:
        load(file)
    assert str(file) in refused.value.text
    assert "\n" not in str(refused.value)


def test_the_racks_own_keys_win_over_the_service_preset(tmp_path):
    document = tomllib.loads(SODIUM.read_text())
    name = document["response"]["grid_service"]
    preset = tomllib.loads((BOARD_CONFIGS / "grid_services" / f"{name}.toml").read_text())
    preset = preset.get("response", preset)
    merged = read(SODIUM)["response"]
    own = document["response"]
    assert all(merged[key] == own[key] for key in own)
    assert all(merged[key] == value for key, value in preset.items() if key not in own)
    assert set(preset) - set(own)


@pytest.mark.parametrize(
    ("service", "nominal_mHz", "refused"),
    [("ieee1547", 50_000, True), ("ieee1547", 60_000, False), ("gb_dc", 60_000, True), ("sodium_fast", 60_000, False)],
)
def test_a_service_of_another_grid_than_the_racks_is_refused(tmp_path, service, nominal_mHz, refused):
    file = tmp_path / "rack.toml"
    text = SODIUM.read_text().replace('"sodium_fast"', f'"{service}"')
    file.write_text(text.replace("nominal_mHz = 50_000", f"nominal_mHz = {nominal_mHz}"))
    if refused:
        with pytest.raises(HaliteError, match=rf"'{service}' is for \d+ mHz, .grid. nominal_mHz is {nominal_mHz}"):
            load(file)
    else:
        assert load(file)["grid_nominal_mHz"] == nominal_mHz


def test_a_preset_of_another_form_is_refused_and_breaks_nothing(tmp_path):
    (tmp_path / "grid_services").mkdir()
    (tmp_path / "grid_services" / "odd.toml").write_text("response = 5\n")
    file = tmp_path / "rack.toml"
    file.write_text(SODIUM.read_text().replace('"sodium_fast"', '"odd"'))
    with pytest.raises(HaliteError, match="delay_ms"):
        load(file)


def test_a_new_config_has_its_name_its_own_key_and_is_valid(tmp_path):
    file = tmp_path / "north.toml"
    start_from("lfp_rack", file, "north-3")
    config = load(file)
    assert config.name == "north-3"
    assert config.maintenance_key != load("lfp_rack").maintenance_key
    with pytest.raises(HaliteError, match="exists already"):
        start_from("lfp_rack", file, "north-3")


def test_show_keeps_the_maintenance_key_secret():
    config = load("sodium_rack")
    text = as_text(config)
    assert config.maintenance_key.hex() not in text
    assert "tau_ms" in text and "200 ms" in text


# -- what the board refuses

BLOB = compile_config(load("bench_rack"))


@given(st.integers(0, 8 * len(BLOB) - 1))
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_refused_by_the_board(bit):
    damaged = bytearray(BLOB)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(board.ConfigError):
        board.load(bytes(damaged))


@given(st.binary(max_size=64) | st.integers(0, len(BLOB) - 1).map(lambda size: BLOB[:size]))
@settings(max_examples=100, deadline=None)
def test_garbage_and_cut_configs_are_refused_by_the_board(data):
    with pytest.raises(board.ConfigError):
        board.load(data)


WITHIN = st.fixed_dictionaries({row.name: st.integers(row.minimum, row.maximum) for row in SCALARS})
CONTENTS = st.fixed_dictionaries(
    {
        table.name: st.integers(0, min(table.maximum, 4)).flatmap(
            lambda entries, width=table.width: st.lists(
                st.integers(rows.INT_MIN + 1, rows.INT_MAX), min_size=entries * width, max_size=entries * width
            )
        )
        for table in TABLES
    }
)


@given(WITHIN, CONTENTS, st.text(min_size=1, max_size=20), st.binary(min_size=32, max_size=32))
@settings(max_examples=20, deadline=None)
def test_whatever_is_compiled_is_read_back_equal(values, tables, name, key):
    params = board.load(blob.pack_values(values, tables, name, key))
    assert {row.name: getattr(params, row.name) for row in SCALARS} == values
    assert {table.name: list(getattr(params, table.name)) for table in TABLES} == tables
    assert (params.rack_name, params.maintenance_key) == (name, key)


@given(st.sampled_from(SCALARS), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_board_checks_the_ranges_again(row, high):
    config = load("bench_rack")
    values = {**config.values, row.name: row.maximum + 1 if high else row.minimum - 1}
    with pytest.raises(board.ConfigError, match=row.name):
        board.load(blob.pack_values(values, config.tables, "x", bytes(32)))


def test_a_config_for_other_parameters_or_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(board_rows, "SCALARS", (*board_rows.SCALARS[:-1], ("pins_other", -1, 28)))
    with pytest.raises(board.ConfigError, match="other parameters"):
        board.load(BLOB)
    monkeypatch.undo()
    monkeypatch.setattr(board_rows, "VERSION", board_rows.VERSION + 1)
    with pytest.raises(board.ConfigError, match="version"):
        board.load(BLOB)


def test_host_and_board_name_the_layout_alike():
    assert board.layout_crc(board_rows.SCALARS, board_rows.TABLES) == blob.layout_crc()


def test_paths_are_found_beside_the_config(tmp_path):
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "mine.toml").write_text((BOARD_CONFIGS / "boards" / "pico_w.toml").read_text())
    file = tmp_path / "rack.toml"
    file.write_text(SODIUM.read_text().replace('board = "pico_w"', 'board = "mine"'))
    assert load(str(file)).board == "mine"
    assert load(Path(file)).values == load("sodium_rack").values


_ON_MICROPYTHON = """
import sys
from rack.config import ConfigError, load
from rack.definitions.params import SCALARS, TABLES
data = open(sys.argv[1], "rb").read()
params = load(data)
print([getattr(params, row[0]) for row in SCALARS], [list(getattr(params, row[0])) for row in TABLES])
refused = 0
for bit in range(0, 8 * len(data), 61):
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        load(damaged)
    except ConfigError:
        refused += 1
print(refused)
"""


def test_micropython_reads_and_refuses_the_same(tmp_path):
    (tmp_path / "config.bin").write_bytes(BLOB)
    (tmp_path / "check.py").write_text(_ON_MICROPYTHON)
    interpreter = Path(sys.executable).with_name("micropython")
    done = subprocess.run(
        [interpreter, tmp_path / "check.py", tmp_path / "config.bin"],
        env={"MICROPYPATH": str(FIRMWARE)},
        capture_output=True,
        text=True,
        check=True,
    )
    values, refused = done.stdout.splitlines()
    config = load("bench_rack")
    assert values == f"{[config[row.name] for row in SCALARS]} {[config.tables[table.name] for table in TABLES]}"
    assert int(refused) == len(range(0, 8 * len(BLOB), 61))


@pytest.mark.parametrize(
    ("nominal_mHz", "phases", "window_ms", "rocof_ms", "named"),
    [
        (50_000, 1, 800, 2_000, ""),
        (60_000, 1, 800, 1_666, ""),
        (60_000, 1, 200, 2_000, "rocof_ms 2000: allowed is at most 1666 ms, 100 samples at 60 a second"),
        (50_000, 3, 320, 666, ""),
        (50_000, 3, 400, 500, "window_ms 400: allowed is at most 320 ms, 48 samples at 150 a second"),
    ],
)
def test_a_window_that_its_buffer_does_not_hold_is_refused(nominal_mHz, phases, window_ms, rocof_ms, named):
    values = {
        "grid_nominal_mHz": nominal_mHz, "grid_phases": phases, "grid_window_ms": window_ms, "grid_rocof_ms": rocof_ms
    }  # fmt: skip
    found = "; ".join(_windows(values, {}))
    assert named in found and bool(named) == bool(found)
    assert named or frequency.window(SimpleNamespace(**values)) == window_ms * nominal_mHz // 1_000_000 * phases


FFR = {"step_permille": 1_000, "step_below_mHz": 300, "step_rearm_mHz": 100, "rest_mHz": 15}


@pytest.mark.parametrize(
    ("section", "keys", "named"),
    [
        ("response", FFR, ""),
        ("response", {**FFR, "step_rearm_mHz": 300}, "step_rearm_mHz 300 must be below step_below_mHz 300"),
        ("response", {**FFR, "rest_mHz": 400, "curve": [[-500, 0], [500, 0]]}, "rest_mHz 400 must be below step_below"),
        ("response", {**FFR, "step_below_mHz": 3_000}, ""),
        ("response", {"curve": [[0, 0]]}, "curve: at least 2 entries"),
        ("response", {"curve": [[-600_000, 1_000], [600_000, -1_000]]}, "curve: allowed is -20000 to 20000 mHz"),
        ("response", {"rest_mHz": 69}, "rest_mHz 69: the curve gives 102 permille"),
        ("response", {"rest_mHz": 1_000, "recovery_permille": 0, "duration_s": 0}, ""),
        ("grid", {"nominal_mHz": 55_000}, "nominal_mHz = 55000: allowed is 50000 or 60000"),
        ("limit", {"charge_soc": []}, "charge_soc: at least 1 entry"),
        ("limit", {"charge_temp": [[-10_000_000, 0], [10_000_000, 1_000]]}, "charge_temp: an entry is too far from"),
    ],
)
def test_a_service_or_a_table_that_the_board_cannot_keep_is_refused(section, keys, named):
    document = copy.deepcopy(read(SODIUM))
    document[section].update(keys)
    found = conflicts(document)
    assert any(named in line for line in found) if named else not found


def test_a_step_service_below_what_is_a_period_at_all_is_refused():
    document = copy.deepcopy(read(SODIUM))
    document["response"].update({**FFR, "step_below_mHz": 2_000})
    document["grid"]["plausible_mHz"] = 2_000
    assert any("step_below_mHz 2000 must be below [grid] plausible_mHz 2000" in line for line in conflicts(document))


def test_an_age_stands_still_where_the_check_of_the_levels_says():
    assert checks.AGE_NEVER == AGE_NEVER
    controller = Controller(load_params("bench_rack"))
    for now_ms in range(0, 70_000, 100):
        controller.scan(now_ms)
    assert 0 <= controller.s[I.GRID_AGE_ms] - checks._MAX_AGE_ms["grid_age_ms"] < 100
