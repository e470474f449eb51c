"""Values of a config that are valid alone and conflict with each other: each conflict is refused."""

import copy
from types import SimpleNamespace

import pytest
from halite.common.paths import BOARD_CONFIGS
from halite.config import ConfigProblem, checks, load, load_params, rows
from halite.config.checks import _windows
from halite.config.reader import read, read_toml
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.controller import Controller
from rack.control.response import frequency
from rack.definitions.codes import AGE_NEVER
from rack.generated import alarm_levels as L
from rack.generated import ids as I
from support.config_documents import SHIPPED, SODIUM, changed, conflicts


def test_a_rack_without_an_ems_s_link_needs_no_pins_for_it():
    document = changed("modbus", "enabled", False)
    for name in ("rs485_tx", "rs485_rx", "rs485_de"):
        document["pins"][name] = -1
    assert conflicts(document) == []
    document["pins"]["coolant_flow"] = 6  # one of those that are free now
    assert conflicts(document) == []


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
def test_only_a_hardware_alert_above_its_trip_level_is_refused(direction, alert_A, trip_dA):
    sign = -1 if direction == "charge" else 1
    document = changed("sensor", f"alert_{direction}_A", alert_A)
    document["alarms"][f"{direction}_current_derate"][0] = sign * 2_300
    document["alarms"][f"{direction}_current_warn"][0] = sign * 2_200
    document["alarms"][f"{direction}_current_trip"][0] = sign * trip_dA
    lines = [line for line in conflicts(document) if "alert" in line]
    assert bool(lines) == (10 * alert_A > trip_dA)
    assert all(f"alert_{direction}_A = {alert_A} A: allowed is at most {trip_dA / 10:g} A" in line for line in lines)


@pytest.mark.parametrize("name", SHIPPED)
def test_hardware_alerts_of_shipped_racks_match_trip_levels(name):
    """The hardware alert of a shipped rack cuts an over-current at the trip level of its alarm."""
    config = load(name)
    sets = dict(zip(rows.alarm_keys(), config.tables["alarms_levels"][L.SET :: L.WIDTH], strict=True))
    assert -10 * config["sensor_alert_charge_A"] == sets["charge_current_trip"]
    assert 10 * config["sensor_alert_discharge_A"] == sets["discharge_current_trip"]


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
def test_a_service_or_table_beyond_the_board_is_refused(section, keys, named):
    """A grid service or a table that the board cannot run is refused with its reason."""
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
