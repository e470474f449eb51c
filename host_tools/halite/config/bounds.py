"""Absolute bounds of a config: how far a rack may go, for each alarm row and for each value.

The checks of `checks.py` find values that contradict each other. A config whose values agree can still be dangerous: a
trip that comes an hour late, or at a level that its signal cannot reach. So each trip has a bound of its level from
the cell's data sheet and a maximum debounce. Rows of `LEVELS` and `VALUES` are the only place of these numbers.

Sources. EJ: engineering judgement. GB: GB 38031-2025 C.5.3.7. Schneider: Galaxy cabinet (990-55224).
Paneco: 314 Ah LFP cell of 20C1600K (technical.paneco.energy). Lishen: LFP 202 Ah (pdfhost.io LP54173207-202Ah).
TOB: layered oxide TOB-18650-C-Na (tobmachine.com p1317). MG: MG Energy LFP (manualshive.com 1782740).
Seplos: Seplos 3.0 (dermarki.de).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from halite.common.paths import use_firmware
from halite.config import rows
from halite.config.curves import Tables, Values, levels_of, ocv_mV

use_firmware()

from rack.definitions.alarms import ABOVE, BELOW, DERATE, TRIP  # noqa: E402 - only after use_firmware
from rack.definitions.codes import RUN_FAST, RUN_SLOW  # noqa: E402

SODIUM, LFP = 0, 1  # rack_chemistry
NO_LIVE_ZERO_mV = -2  # set level of gas_lost for a sensor that reads 0 V in clean air: the row then stays off
Limit = int | tuple[int, int] | Callable[[Values, Tables], int]  # a pair: sodium, LFP


def _of_capacity(permille: int, other: int | None = None) -> Callable[[Values, Tables], int]:
    """A current in 0.1 A from the C rate in permille; other: that of LFP."""

    def limit(values: Values, tables: Tables) -> int:
        rate = permille if other is None or values["rack_chemistry"] == SODIUM else other
        return int(values["cell_capacity_dAh"] * rate / 1000)

    return limit


def _of_voltage(numerator: int, denominator: int) -> Callable[[Values, Tables], int]:
    """A share of the string's voltage at half charge, in V."""
    return lambda values, tables: int(ocv_mV(tables, 5_000) * values["cell_series"] / 1000 * numerator / denominator)


def _lost_sensors(values: Values, tables: Tables) -> int:
    """Half of one device's sensors, or 6 % of all in a large rack."""
    per_device = values["afe_temps_per_device"]
    return max(1, per_device // 2, per_device * values["afe_devices"] * 6 // 100)


def _sensor_range(values: Values, tables: Tables) -> int:
    return values["overcurrent_sensor_dA"]


@dataclass(frozen=True)
class Level:
    """Bounds of one alarm row: of `set`, in the unit of its signal, and of the debounce `set_ms`."""

    key: str
    low: Limit
    high: Limit
    max_ms: int
    source: str


LEVELS = (
    Level("wire_trip", 1, 1, 500, "flag"),
    Level("cell_high_derate", (3_400, 3_350), (4_200, 3_650), 1_000, "as cell_high_trip"),
    Level("cell_high_trip", (3_500, 3_400), (4_200, 3_650), 500,
          "sodium 4P20S pack 4.2 V (zmartec.com 143); LFP: Paneco, MG, Seplos"),
    Level("cell_low_derate", (1_500, 2_300), (2_900, 3_200), 1_000, "as cell_low_trip"),
    Level("cell_low_trip", (1_500, 2_400), (2_700, 3_000), 500,
          "sodium family 1.5 V (batterydesign.net); LFP: MG critical 2.4 V"),
    Level("deep_discharge", (1_000, 1_800), (2_000, 2_400), 5_000, "family 1.5 V; Seplos fail 2.0 V; margin EJ"),
    Level("spread_derate", 50, 900, 10_000, "EJ, below spread_trip"),
    Level("spread_trip", 100, 1_000, 10_000, "Seplos 1.0 V"),
    Level("sum_warn", 5, lambda v, t: min(408, _of_voltage(10, 10)(v, t)), 10_000, "as sum_trip"),
    Level("sum_trip", 10, lambda v, t: min(408, _of_voltage(10, 10)(v, t)), 10_000,
          "Schneider: 40.8 V in 10 s; 10 % of the string EJ"),
    Level("charge_current_trip", _of_capacity(-1_500), _of_capacity(-50), 200,
          "TOB charge 1C; Lishen 1C, 2C for 30 s; 1.5C EJ"),
    Level("charge_current_derate", _of_capacity(-1_500), _of_capacity(-50), 2_000,
          "as charge_current_trip"),
    Level("discharge_current_trip", _of_capacity(50), _of_capacity(6_000, 2_000), 200, "TOB 6C; Lishen 2C for 30 s"),
    Level("discharge_current_derate", _of_capacity(50), _of_capacity(6_000, 2_000), 2_000, "as discharge_current_trip"),
    Level("charge_i2t_derate", 100, 999, 1_000, "1000 is the whole budget"),
    Level("charge_i2t_trip", 100, 1_000, 500, "1000 is the whole budget"),
    Level("discharge_i2t_derate", 100, 999, 1_000, "1000 is the whole budget"),
    Level("discharge_i2t_trip", 100, 1_000, 500, "1000 is the whole budget"),
    Level("oc_alert", 1, 1, 50, "flag"),
    Level("charge_hot_derate", 300, (540, 590), 5_000, "as charge_hot_trip"),
    Level("charge_hot_trip", 350, (550, 600), 2_000, "TOB charge to 55 degC; Paneco, Lishen to 60 degC"),
    Level("charge_cold_derate", (-200, 0), 150, 5_000, "as charge_cold_trip"),
    Level("charge_cold_trip", (-200, 0), 150, 2_000,
          "TOB charge from -20 degC; Paneco, Lishen from 0 degC: lithium plating"),
    Level("hot_derate", 350, 590, 5_000, "as hot_trip"),
    Level("hot_trip", 400, 600, 2_000, "TOB, Paneco, Lishen discharge to 60 degC"),
    Level("cold_derate", (-400, -350), 100, 5_000, "as cold_trip"),
    Level("cold_trip", (-400, -350), 100, 2_000, "TOB discharge from -40 degC; Lishen from -35 degC"),
    Level("core_hot_warn", 400, 600, 10_000, "EJ: the core of a cell at its maximum"),
    Level("core_hot_derate", 400, 650, 10_000, "EJ: the core of a cell at its maximum"),
    Level("temp_spread_derate", 50, 300, 30_000, "EJ, below temp_spread_trip"),
    Level("temp_spread_trip", 50, 400, 30_000, "Schneider: 40 K in 30 s"),
    Level("rise_warn", 100, 1_000, 3_000, "GB: 1 degC/s for 3 s"),
    Level("rise_slow_warn", 50, 1_000, 60_000,
          "polyanion sodium stays below 1 degC/min (Carter, Energies 2025 18 661)"),
    Level("runaway_derate", 1, 1, 500, "RUN_SUSPECT"),
    Level("runaway_trip", RUN_SLOW, RUN_SLOW, 500, "RUN_SLOW: a higher level ignores the slow tier"),
    Level("gas_warn", 50, 2_000, 5_000, "EJ, below gas_trip"),
    Level("gas_trip", 50, 2_500, 2_000, "EJ: the ADC ends at 3300 mV, a saturated sensor below it"),
    Level("coolant_derate", 200, 650, 30_000, "EJ: water and glycol under the cells' maximum"),
    Level("flow_derate", 1, 1, 5_000, "flag; [cooling] flow_ms is its time"),
    Level("board_trip", 500, 850, 10_000, "RP2040 up to 85 degC (data sheet)"),
    Level("insulation_warn", _of_voltage(90, 1000), 1_000_000, 10_000, "100 ohm/V class value, less 10 % EJ"),
    Level("insulation_trip", _of_voltage(90, 1000), 50_000, 10_000, "100 ohm/V class value, less 10 % EJ"),
    Level("hvil", 1, 1, 50, "flag"),
    Level("estop", 1, 1, 50, "flag"),
    Level("stuck", 1, 1, 200, "flag; debounced by [contactor] aux_ms"),
    Level("welded", 1, 1, 200, "flag; debounced by [contactor] aux_ms"),
    Level("precharge_fast_trip", 2, 5, 100, "three tries: foxBMS 2, bms_cfg.h; 5 EJ"),
    Level("module_blind_trip", 1, 1, 5_000, "EJ: cells without a temperature are watched by nothing else"),
    Level("power_derate", 500, 2_000, 2_000, "EJ: permille of [pcs] tolerance_*, which has its own bounds"),
    Level("power_trip", 500, 2_000, 5_000, "EJ: as power_derate"),
    Level("delivery_derate", 500, 2_000, 1_000, "EJ: as power_derate"),
    Level("delivery_trip", 500, 2_000, 2_000, "EJ: as power_derate"),
    Level("echo_derate", 200, 2_000, 1_000, "EJ: ten to a hundred requests"),
    Level("echo_trip", 400, 5_000, 1_000, "EJ: beyond echo_derate"),
    Level("bus_trip", 10, 50, 2_000, "EJ: both meters within 1 %; 5 % of 1500 V are 75 V across a contact"),
    Level("refused_trip", 2, 20, 5_000, "EJ: a healthy link refuses none of ten frames"),
    Level("foreign_trip", 1, 10, 1_000, "EJ: nobody else sends this identifier"),
    Level("step_derate", 1, 5, 1_000, "EJ: steps in a row"),
    Level("step_trip", 2, 10, 1_000, "EJ: beyond step_derate"),
    Level("precharge_slow_trip", 2, 5, 100, "three tries: foxBMS 2, bms_cfg.h; 5 EJ"),
    Level("cells_lost", 100, 2_500, 500,
          "voltages each 100 ms (GB/T 34131 working value), with an AFE of 1 s; 2.5 s EJ"),
    Level("temps_lost", 200, 3_000, 1_000, "temperatures each 1 s (GB/T 34131 working value); three of them EJ"),
    Level("current_lost", 30, 200, 100, "current sensor silent: foxBMS 2, 200 ms"),
    Level("current_bad", 1, 1, 100, "flag"),
    Level("pcs_lost", 50, 1_000, 500, "EJ: a second of power without an acknowledged request"),
    Level("sensor_derate", 1, _lost_sensors, 10_000, "as sensor_trip"),
    Level("sensor_trip", 2, _lost_sensors, 10_000, "EJ: half of a module, or 6 % of the rack"),
    Level("late_trip", 30, 200, 50, "EJ: the dead-man drops within [deadman] window_ms"),
    Level("time_trip", 1, 1_000, 0, "EJ"),
    Level("config_bad", 1, 1, 50, "flag"),
    Level("link_warn", 1, 1, 10_000, "flag"),
    Level("wire_check_trip", 1, 1, 500, "cell number from 1"),
    Level("fram_warn", 1, 1, 10_000, "BAD_* from 1"),
    Level("coolant_lost", -1_000, -300, 10_000, "EJ: colder than any coolant"),
    Level("afe_derate", 1, 1, 10_000, "device number from 1"),
    Level("phase_lost", 1, 1, 10_000, "bits of the silent phases"),
    Level("pcs_warn", 4, 4, 10_000, "states 4 and up: docs/protocols/pcs_can.md"),
    # life signs
    Level("insulation_old_warn", 1, 1, 10_000, "levels of rack.control.sense.life_signs"),
    Level("insulation_old_trip", 2, 2, 10_000, "the same; the time is [insulation] open_ms"),
    Level("gas_lost", NO_LIVE_ZERO_mV, 500, 10_000, "live zero 500 mV at most: ratiometric 0.5 to 4.5 V"),
    Level("gas_lost_derate", NO_LIVE_ZERO_mV, 500, 300_000, "as gas_lost"),
    Level("afe_trip", 1, 1, 60_000, "device number from 1; a minute EJ"),
    Level("afe_frozen_trip", 1, 1, 1_000, "device number from 1; debounced by [afe] still_scans"),
    Level("wire_check_old_warn", 10_000, 120_000, 10_000, "the check repeats every 10 s; EJ"),
    Level("wire_check_old_trip", 20_000, 600_000, 10_000, "as wire_check_old_warn; ten minutes EJ"),
)  # fmt: skip

# Lowest and highest value that a signal takes. A set level outside it would stay off or on for ever.
REACH: dict[str, tuple[Limit, Limit]] = {
    "cell_max_mV": (0, 5_000), "cell_min_mV": (0, 5_000),  # 5 V: the ADCs of both AFE chips, data sheets
    "cell_spread_mV": (0, 5_000),
    "current_dA": (lambda v, t: -_sensor_range(v, t), _sensor_range),
    "gas_mV": (0, 3_299),  # rack.hal.rp2_board.adc_mV
    "temp_max_ddegC": (-500, 1_900), "temp_min_ddegC": (-500, 1_900),  # rack.drivers.ntc
    "charge_temp_max_ddegC": (-500, 1_900), "charge_temp_min_ddegC": (-500, 1_900),
    "coolant_ddegC": (-32_767, 1_900), "board_ddegC": (-400, 1_500),
    "temps_lost": (0, lambda v, t: v["afe_devices"] * v["afe_temps_per_device"]),
    "wires_open": (0, lambda v, t: v["cell_series"]), "wire_check": (0, lambda v, t: v["cell_series"]),
    "afe_fault": (0, lambda v, t: v["afe_devices"]), "afe_frozen": (0, lambda v, t: v["afe_devices"]),
    "insulation_old": (0, 2), "runaway": (0, RUN_FAST), "pcs_state": (0, 5),
    "insulation_kohm": (0, 1_000_000), "fram_bad": (0, 3), "phases_lost": (0, 7), "time_jump_ms": (0, 2**28),
    **{name: (0, 1) for name in ("oc_alert", "coolant_stopped", "hvil_open", "estop_pressed", "current_bad",
                                 "config_bad", "link_broken")},
    "contactor_stuck": (0, 3), "contactor_welded": (0, 7),
}  # fmt: skip

# Longest debounce of a row without an entry in LEVELS, by its level: engineering judgement.
MAX_ms = {TRIP: 60_000, DERATE: 60_000}
_MAX_WARN_ms = 600_000


@dataclass(frozen=True)
class Value:
    """Bounds of one scalar, in its own unit, tighter than those that the firmware can compute with."""

    name: str
    low: Limit
    high: Limit
    source: str


VALUES = (
    Value("cell_voltage_max_mV", (3_500, 3_400), (4_200, 3_650),
          "sodium 4P20S pack 4.2 V (zmartec.com 143); LFP: Paneco, MG, Seplos"),
    Value("cell_voltage_min_mV", (1_500, 2_400), (2_600, 2_900),
          "sodium family 1.5 V (batterydesign.net); LFP: MG critical 2.4 V"),
    Value("overcurrent_charge_dA", 10, _of_capacity(1_000), "TOB and Lishen: charge at 1C"),
    Value("overcurrent_discharge_dA", 10, _of_capacity(3_000, 1_000), "TOB 6C, half of it EJ; Lishen: 1C continuous"),
    Value("overcurrent_charge_A2s", 10, lambda v, t: 3 * v["overcurrent_charge_dA"] ** 2 // 100 * 60,
          "60 s at twice the rating: EJ; Lishen 2C for 30 s"),
    Value("overcurrent_discharge_A2s", 10, lambda v, t: 3 * v["overcurrent_discharge_dA"] ** 2 // 100 * 60,
          "as charge"),
    Value("limit_rise_permilleps", 1, 1_000, "EJ"),
    Value("limit_derate_permille", 0, 500, "EJ: a derate halves the power at least"),
    Value("limit_current_permille", 500, 990, "EJ: a full request must stay below the alarm of a sensor 1 % high"),
    Value("limit_hold_permille", 20, 500, "EJ: a step that is more than the noise of a current"),
    Value("limit_hold_ms", 10_000, 3_600_000, "EJ"),
    Value("plausible_jump_dK", 20, 300, "EJ"),
    Value("plausible_disagree_dK", 50, 250, "EJ"),
    Value("plausible_frozen_dK", 20, 150, "EJ"),
    Value("plausible_return_ms", 1_000, 600_000, "EJ"),
    Value("plausible_wire_mV", 200, 1_000, "EJ"),
    Value("runaway_temp_ddegC", 450, 700, "GB: the maker's maximum, 60 degC; 10 K EJ"),
    Value("runaway_drop_pct", 5, 25, "GB: 25 %"),
    Value("runaway_rise_mKps", 200, 1_000, "GB: 1 degC/s"),
    Value("runaway_rise_ms", 500, 3_000, "GB: 3 s"),
    Value("runaway_slow_mKpmin", 100, 1_000, "polyanion sodium stays below 1 degC/min (Carter, Energies 2025 18 661)"),
    Value("runaway_slow_rack_mKpmin", 100, 1_000, "EJ: as runaway_slow_mKpmin"),
    Value("runaway_slow_ms", 60_000, 600_000, "EJ: a slow runaway opens within 10 min"),
    Value("precharge_over_permille", 1_005, 1_050, "EJ: twice the error of bus and rack meter"),
    Value("precharge_charge_pct", 5, 50, "EJ: tolerance of resistor and capacitor, twice"),
    Value("precharge_samples", 3, 20, "EJ: three readings outvote a wrong one"),
    Value("core_rth_mKpW", 50, 2_000, "EJ"),
    Value("core_heat_JpK", lambda v, t: v["cell_capacity_dAh"] // 2, lambda v, t: 4 * v["cell_capacity_dAh"],
          "EJ: 5 to 40 J/K for each Ah; LFP 280 Ah 5.6 kg at 1130 J/kgK"),
    Value("cooling_cool_on_ddegC", 0, 400, "EJ"),
    Value("cooling_cool_full_ddegC", 0, 500, "EJ"),
    Value("cooling_heat_off_ddegC", -500, 250, "EJ"),
    Value("cooling_preheat_ddegC", -500, 250, "EJ"),
    Value("cooling_heater_max_ddegC", 0, 450, "EJ: below hot_warn"),
    Value("cooling_flow_ms", 500, 30_000, "EJ"),
    Value("contactor_aux_ms", 20, 200, "operate time 20 ms at most: TE EVC500, Gigavac HX21; ten times EJ"),
    Value("contactor_low_dA", 1, lambda v, t: max(20, v["cell_capacity_dAh"] // 20), "EJ: C/20"),
    Value("contactor_open_ms", 10, 5_000, "EJ"),
    Value("contactor_bus_permille", 10, 500, "EJ"),
    Value("contactor_trips", 1, 10, "Seplos locks after 5; twice EJ"),
    Value("contactor_trips_s", 600, 86_400, "EJ"),
    Value("soc_rest_dA", 0, _of_capacity(10), "EJ: C/100. Also the current from which the rack counts as charging"),
    Value("soc_rest_s", 300, 86_400, "EJ: the voltage of a cell needs minutes to settle"),
    Value("soc_slope_uV", 10, 10_000, "LFP's plateau has 4 uV per 0.01 %"),
    Value("precharge_done_permille", 900, 995, "EJ: the step at main + stays below a tenth of the rack's voltage"),
    Value("precharge_cooldown_ms", lambda v, t: min(600_000, v["precharge_energy_J"]), 600_000,
          "EJ: a resistor sheds 1 kW at most"),
    Value("deadman_window_ms", 20, 100, "EJ: two lost scans of 20 ms, and a collection"),
    Value("deadman_wdt_ms", 200, 5_000, "EJ"),
    Value("afe_still_dA", 10, _of_capacity(100), "EJ: C/10 moves every cell by more than a mV"),
    Value("afe_still_scans", 3, 20, "EJ"),
    Value("afe_still_permille", 1, 50, "EJ: 5 % of the capacity move the plateau of LFP by more than a mV"),
    Value("insulation_age_ms", 10_000, 120_000, "a slow monitor needs 60 to 100 s for a value; 120 s EJ"),
    Value("insulation_open_ms", 0, 300_000, "EJ"),
    Value("overcurrent_sensor_dA", 10, lambda v, t: 10 * v["sensor_shunt_A"], "the shunt's nameplate"),
    Value("sensor_ntc_pullup_ohm", 1_000, 100_000, "EJ"),
)  # fmt: skip


def _number(limit: Limit, values: Values, tables: Tables) -> int:
    if callable(limit):
        return limit(values, tables)
    return limit[values["rack_chemistry"]] if isinstance(limit, tuple) else limit


_BY_KEY = {level.key: level for level in LEVELS}


def level_bounds(values: Values, tables: Tables) -> Iterator[str]:
    """Each alarm row against its bounds and against the reach of its signal."""
    for key, signal, direction, level, (set_at, clear_at, set_ms, _) in levels_of(tables):
        bound = _BY_KEY.get(key)
        unit = rows.unit_of(signal)
        if bound:
            low, high = _number(bound.low, values, tables), _number(bound.high, values, tables)
            if not low <= set_at <= high:
                yield f"[alarms] {key}: set {set_at} {unit}: allowed is {low} to {high} {unit} ({bound.source})"
        max_ms = bound.max_ms if bound else MAX_ms.get(level, _MAX_WARN_ms)
        if set_ms > max_ms:
            yield f"[alarms] {key}: set_ms {set_ms} ms: allowed is 0 to {max_ms} ms"
        without_live_zero = signal == "gas_mV" and direction == BELOW and set_at == NO_LIVE_ZERO_mV
        if signal in REACH and not without_live_zero:
            low, high = (_number(limit, values, tables) for limit in REACH[signal])
            if direction == ABOVE:
                reached, cleared = low < set_at <= high, clear_at >= low
            else:
                reached, cleared = low <= set_at < high, clear_at <= high
            if not reached:
                yield f"[alarms] {key}: set {set_at} {unit} cannot be reached: {signal} is {low} to {high} {unit}"
            elif not cleared:
                yield f"[alarms] {key}: clear {clear_at} {unit} cannot be reached: {signal} is {low} to {high} {unit}"


def value_bounds(values: Values, tables: Tables) -> Iterator[str]:
    """Each scalar against its bounds."""
    for bound in VALUES:
        low, high = _number(bound.low, values, tables), _number(bound.high, values, tables)
        if not low <= values[bound.name] <= high:
            section, key = rows.split(bound.name)
            unit = rows.unit_of(bound.name)
            yield f"[{section}] {key} = {values[bound.name]} {unit}: allowed is {low} to {high} {unit} ({bound.source})"
