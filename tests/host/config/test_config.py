"""Board configs: the values of a file arrive on the board, and each mistake is named."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from halite.common.errors import HaliteError
from halite.common.paths import BOARD_CONFIGS, FIRMWARE
from halite.config import blob, compile_config, load, load_params, rows
from halite.config.reader import read
from halite.config.show import as_text, start_from
from hypothesis import given, settings
from hypothesis import strategies as st
from rack import config as board
from rack.definitions import params as board_rows
from support.config_documents import SCALARS, SHIPPED, SODIUM, TABLES, changed, problems


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_arrives_on_the_board_as_written(name):
    """Each shipped config is valid, and the board reads the values that the file has."""
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


# -- refused by the host

NUMBERS = [row for row in SCALARS if row.name not in rows.NAMED_VALUES and row.maximum > 1]


@given(st.sampled_from(NUMBERS), st.integers(1, 10**6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_value_out_of_range_is_refused_with_its_range(row, beyond, high):
    """A value out of its range is refused; the text names key, value and the allowed range."""
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


# -- refused by the board

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
    with pytest.raises(board.ConfigError, match=f"parameter {SCALARS.index(row) + 1} = "):
        board.load(blob.pack_values(values, config.tables, "x", bytes(32)))


def test_a_config_of_another_layout_or_version_is_refused(monkeypatch):
    """The board refuses a config for other parameters, or for another version of the format."""
    monkeypatch.setattr(board, "LAYOUT_CRC", board.LAYOUT_CRC ^ 1)
    with pytest.raises(board.ConfigError, match="other parameters"):
        board.load(BLOB)
    monkeypatch.undo()
    monkeypatch.setattr(board_rows, "VERSION", board_rows.VERSION + 1)
    with pytest.raises(board.ConfigError, match="version"):
        board.load(BLOB)


def test_host_and_board_name_the_layout_alike(monkeypatch):
    """The generated sum of the names is the one that the host writes, and one other name changes it."""
    assert blob.layout_crc() == board.LAYOUT_CRC
    rows = board_rows.SCALARS
    monkeypatch.setattr(board_rows, "SCALARS", (*rows[:-1], ("pins_other", *rows[-1][1:])))
    assert blob.layout_crc() != board.LAYOUT_CRC


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
