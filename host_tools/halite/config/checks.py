"""Conflicts between the values of a board config. One small function for each rule."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log

from halite.common.paths import use_firmware
from halite.config import rows
from halite.config.curves import Check, Tables, Values, columns, levels_of, value_at
from halite.config.pins import AFE_SPI, AFE_UART, ALLOWED, check_pins

use_firmware()

from rack.control.response.frequency import MAX_SLOPE_WINDOW, MAX_WINDOW  # noqa: E402 - only after use_firmware
from rack.definitions.alarms import ABOVE, TRIP  # noqa: E402
from rack.definitions.codes import AGE_NEVER  # noqa: E402
from rack.tasks.collector import ANSWER_ms, COLLECT_ms, LOST_MAX_ms  # noqa: E402

_INA228_BUS_V = 85  # INA228 data sheet, common-mode range
_INA228_SHUNT_uV = 163_840  # the same, ADCRANGE 0
_INA228_BIT_uV = 5  # of SOVL and SUVL
_ALERT_BITS = 100  # the alert may come two bits early, which is within 2 % of this; engineering judgement
_NOMINALS_mHz = (50_000, 60_000)  # rack.control.response.frequency has a factor for these
_MAX_CURVE_mHz = 20_000  # keeps the kernel's products in 31 bits; a droop of 10 % saturates at 6 Hz
_MAX_REST_permille = 100  # response of FCR-N at its insensitivity of 10 mHz; as a limit: engineering judgement
_AFE_AGES = ("cells_lost", "temps_lost")  # with a longer period a rack would trip as soon as it closes
_MAX_AGE_ms = {"grid_age_ms": 60_000, "pcs_echo_age_ms": 60_000}  # where they stop; the others stop at AGE_NEVER
_WINDOW_SCANS = 2  # one late scan must not open the contactors


def _rises(column: Sequence[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(column))


def _ocv(values: Values, tables: Tables) -> Iterator[str]:
    soc, voltage = columns(tables["cell_ocv"])
    if len(soc) < 2 or soc[0] != 0 or soc[-1] != 10_000:
        yield "[cell] ocv must run from SoC 0 to 10000 (0.01 %)"
    for name, column in (("SoC", soc), ("voltage", voltage)):
        if not _rises(column):
            yield f"[cell] ocv: the {name} must rise from entry to entry"
    low, high = values["cell_voltage_min_mV"], values["cell_voltage_max_mV"]
    if voltage and (min(voltage) < low or max(voltage) > high):
        yield f"[cell] ocv leaves the cell's window: allowed is {low} to {high} mV"


def _cell_window(values: Values, tables: Tables) -> Iterator[str]:
    if values["cell_voltage_min_mV"] >= values["cell_voltage_max_mV"]:
        yield "[cell] voltage_min_mV must be below voltage_max_mV"


_CURVES = (
    "cell_resistance", "response_curve", "limit_charge_temp", "limit_discharge_temp", "limit_charge_cell",
    "limit_discharge_cell", "limit_charge_soc", "limit_discharge_soc",
)  # fmt: skip


def _curves(values: Values, tables: Tables) -> Iterator[str]:
    for name in _CURVES:
        section, key = rows.split(name)
        along, value = columns(tables.get(name, ()))
        minimum = 2 if name == "response_curve" else 1
        if len(along) < minimum:
            yield f"[{section}] {key}: at least {minimum} {'entries' if minimum > 1 else 'entry'}"
        knots = pairwise(zip(along, value, strict=True))
        if any(abs((x1 - x0) * (y1 - y0)) > rows.INT_MAX for (x0, y0), (x1, y1) in knots):
            yield f"[{section}] {key}: an entry is too far from the one before: the board has numbers of 31 bits"
        if not _rises(along):
            yield f"[{section}] {key}: the first numbers must rise from entry to entry"
        if section == "limit" and not all(0 <= permille <= 1000 for permille in value):
            yield f"[{section}] {key}: allowed is 0 to 1000 permille"
        if name == "response_curve" and not all(-1000 <= permille <= 1000 for permille in value):
            yield f"[{section}] {key}: allowed is -1000 to 1000 permille"
        if name == "response_curve" and any(earlier < later for earlier, later in pairwise(value)):
            yield f"[{section}] {key}: power must not rise with the frequency"


def _droop(values: Values, tables: Tables) -> Iterator[str]:
    """Knots written as frequencies instead of deviations would request full power on a healthy grid."""
    along, value = columns(tables["response_curve"])
    if any(abs(mHz) > _MAX_CURVE_mHz for mHz in along):
        yield f"[response] curve: allowed is -{_MAX_CURVE_mHz} to {_MAX_CURVE_mHz} mHz"
    if len(along) > 1 and _rises(along) and value_at(0, along, value):
        yield (
            "[response] curve requests power at nominal frequency: knots are [deviation from nominal mHz, permille], "
            "allowed is 0 permille at 0 mHz"
        )


def _services(values: Values, tables: Tables) -> Iterator[str]:
    """The step service can be triggered and armed again, and the response at rest is small enough for a recovery."""
    along, value = columns(tables["response_curve"])
    rest, below = values["response_rest_mHz"], values["response_step_below_mHz"]
    if values["response_step_permille"]:
        plausible = values["grid_plausible_mHz"]
        for name, limit, other in (
            ("response_step_below_mHz", plausible, "[grid] plausible_mHz"),
            ("response_step_rearm_mHz", below, "step_below_mHz"),
            ("response_rest_mHz", below, "step_below_mHz"),
        ):
            if values[name] >= limit:
                yield f"[response] {rows.split(name)[1]} {values[name]} must be below {other} {limit}"
    if values["response_duration_s"] or values["response_recovery_permille"]:
        answer = max((abs(value_at(mHz, along, value)) for mHz in (-rest, rest)), default=0) if along else 0
        if answer > _MAX_REST_permille:
            yield (
                f"[response] rest_mHz {rest}: the curve gives {answer:.0f} permille there, "
                f"where energy is recovered; allowed is at most {_MAX_REST_permille} permille"
            )


def _ends_of_charge(values: Values, tables: Tables) -> Iterator[str]:
    """No charging at the cell's maximum, no discharging at its minimum."""
    along, value = columns(tables.get("limit_charge_cell", ()))
    if not along or value[-1] != 0 or along[-1] > values["cell_voltage_max_mV"]:
        yield f"[limit] charge_cell must end with 0 at {values['cell_voltage_max_mV']} mV (voltage_max_mV) or below"
    along, value = columns(tables.get("limit_discharge_cell", ()))
    if not along or value[0] != 0 or along[0] < values["cell_voltage_min_mV"]:
        yield f"[limit] discharge_cell must begin with 0 at {values['cell_voltage_min_mV']} mV or above"


def _hysteresis(values: Values, tables: Tables) -> Iterator[str]:
    for key, _, direction, _, (set_at, clear_at, set_ms, clear_ms) in levels_of(tables):
        if (set_at - clear_at) * direction <= 0:
            side = "below" if direction == ABOVE else "above"
            yield f"[alarms] {key}: clear {clear_at} must be {side} set {set_at}"
        if set_ms < 0 or clear_ms < 0:
            yield f"[alarms] {key}: times must be 0 ms or more"


def _ages(values: Values, tables: Tables) -> Iterator[str]:
    """Each age has a maximum. An alarm with a level above it could not occur."""
    for key, signal, _, _, (set_at, *_) in levels_of(tables):
        maximum = _MAX_AGE_ms.get(signal, AGE_NEVER)
        if signal.endswith("_age_ms") and set_at > maximum:
            yield f"[alarms] {key}: set {set_at} cannot be reached: allowed is at most {maximum} ms"


def _level_order(values: Values, tables: Tables) -> Iterator[str]:
    """A higher level of a signal sets beyond the lower ones, or at the same value after a longer time."""
    found = list(levels_of(tables))
    for key, signal, direction, level, (set_at, _, set_ms, _) in found:
        for other, other_signal, other_direction, other_level, (other_at, _, other_ms, _) in found:
            same = (signal, direction) == (other_signal, other_direction)
            beyond = (other_at - set_at) * direction > 0 or (other_at == set_at and other_ms > set_ms)
            if same and level < other_level and not beyond:
                yield f"[alarms] {other}: set {other_at} must be beyond {key}, set {set_at}"


def _trips_in_window(values: Values, tables: Tables) -> Iterator[str]:
    """The rack opens before a cell leaves its voltage window."""
    ends = (("cell_max_mV", "cell_voltage_max_mV", 1), ("cell_min_mV", "cell_voltage_min_mV", -1))
    for signal, limit, direction in ends:
        sets = [at for _, of, _, level, (at, *_) in levels_of(tables) if of == signal and level == TRIP]
        if sets and min(at * direction for at in sets) > values[limit] * direction:
            yield f"[alarms] {signal}: no trip at {values[limit]} mV, the limit of [cell] {rows.split(limit)[1]}"


def _precharge(values: Values, tables: Tables) -> Iterator[str]:
    done = values["precharge_done_permille"] / 1000
    expected_ms = values["precharge_tau_ms"] * log(1 / (1 - done))
    early, late = values["precharge_early_ms"], values["precharge_late_ms"]
    if not early < expected_ms < late:
        yield (
            f"[precharge] early_ms {early} to late_ms {late} must enclose {expected_ms:.0f} ms, "
            f"when tau_ms {values['precharge_tau_ms']} reaches done_permille"
        )
    farad = values["precharge_tau_ms"] / 1000 / values["precharge_ohm"]
    joule = farad * (values["cell_series"] * values["cell_voltage_max_mV"] / 1000) ** 2 / 2
    if joule > values["precharge_energy_J"]:
        energy = values["precharge_energy_J"]
        yield f"[precharge] energy_J {energy} is less than the energy of one precharge: {joule:.0f} J"


def _times(values: Values, tables: Tables) -> Iterator[str]:
    scan, window, wdt = values["rack_scan_ms"], values["deadman_window_ms"], values["deadman_wdt_ms"]
    if window < _WINDOW_SCANS * scan:
        yield f"[deadman] window_ms {window} must be at least two scans, {_WINDOW_SCANS * scan} ms"
    if wdt <= window:
        yield f"[deadman] wdt_ms {wdt} must be longer than window_ms {window}"
    shortest = scan + COLLECT_ms + ANSWER_ms
    if values["afe_period_ms"] <= shortest:
        yield (
            f"[afe] period_ms {values['afe_period_ms']} must be longer than {shortest} ms: [rack] scan_ms {scan}, "
            f"a collection of {COLLECT_ms} ms and the evaluation of {ANSWER_ms} ms"
        )
    for key, _, _, _, (set_at, _, set_ms, _) in levels_of(tables):
        if key in _AFE_AGES and values["afe_period_ms"] >= set_at:
            yield f"[afe] period_ms {values['afe_period_ms']} must be shorter than [alarms] {key}, {set_at} ms"
        if key == "cells_lost" and set_at + set_ms + COLLECT_ms + 2 * scan > LOST_MAX_ms:
            longest = LOST_MAX_ms - COLLECT_ms - 2 * scan
            yield f"[alarms] {key} = {set_at} + {set_ms} ms is too slow: allowed is up to {longest} ms in all"


def _mains(values: Values, tables: Tables) -> Iterator[str]:
    """One missing edge must not look like a loss of mains, which the rack detects by an age in steps of a scan."""
    scan, nominal = values["rack_scan_ms"], values["grid_nominal_mHz"]
    if nominal not in _NOMINALS_mHz:
        yield f"[grid] nominal_mHz = {nominal}: allowed is {' or '.join(map(str, _NOMINALS_mHz))}"
    lost = 3 * (1_000_000 // nominal) - scan * 3 // 2
    if 2_000_000 // nominal // scan * scan >= lost:
        yield f"[rack] scan_ms {scan}: one missing edge at {nominal} mHz would be a loss of mains; take 10 ms or less"


def _windows(values: Values, tables: Tables) -> Iterator[str]:
    """The windows of the measurement fit the firmware, which would shorten longer windows."""
    rate = values["grid_nominal_mHz"] // 1000 * values["grid_phases"]
    for name, maximum in (("grid_window_ms", MAX_WINDOW), ("grid_rocof_ms", MAX_SLOPE_WINDOW)):
        if values[name] * rate // 1000 > maximum:
            yield (
                f"[grid] {rows.split(name)[1]} {values[name]}: allowed is at most {maximum * 1000 // rate} ms, "
                f"{maximum} samples at {rate} a second"
            )


# Name of the chip, the pins that it needs, and how many cells one device measures.
_AFE_CHIPS = (("bq79616", AFE_UART, 6, 16), ("ltc6813", AFE_SPI, 4, 18))


def _afe(values: Values, tables: Tables) -> Iterator[str]:
    """The board map has the pins of the AFE's bus, and a device of that chip has inputs for its cells."""
    chip, pins, fewest, most = _AFE_CHIPS[values["afe_chip"]]
    for name in pins:
        if values[f"pins_{name}"] < 0:
            allowed = ", ".join(map(str, sorted(ALLOWED[name]))) if name in ALLOWED else "any free GPIO"
            yield f'[pins] {name} = -1: [afe] chip = "{chip}" needs this pin: allowed is {allowed}'
    cells = values["afe_cells_per_device"]
    if not fewest <= cells <= most:
        yield f'[afe] cells_per_device = {cells}: allowed is {fewest} to {most} with [afe] chip = "{chip}"'


def _cells(values: Values, tables: Tables) -> Iterator[str]:
    per_device, series = values["afe_cells_per_device"], values["cell_series"]
    needed = -(-series // per_device)
    if values["afe_devices"] != needed:
        yield f"[afe] devices {values['afe_devices']}: {series} cells at {per_device} each need {needed}"


def _thermal(values: Values, tables: Tables) -> Iterator[str]:
    order = ("cooling_heat_on_ddegC", "cooling_heat_off_ddegC", "cooling_heater_max_ddegC")
    for names in (order, ("cooling_cool_off_ddegC", "cooling_cool_on_ddegC", "cooling_cool_full_ddegC")):
        for lower, higher in pairwise(names):
            if values[lower] >= values[higher]:
                low, high = rows.split(lower)[1], rows.split(higher)[1]
                yield f"[cooling] {low} {values[lower]} must be below {high} {values[higher]} (0.1 degC)"


def _ranges(values: Values, tables: Tables) -> Iterator[str]:
    """The ranges of the sensors include the levels of the alarms."""
    bus_V = values["cell_series"] * values["cell_voltage_max_mV"] / 10 / values["sensor_divider_pct"]
    if bus_V > _INA228_BUS_V:
        yield f"[sensor] divider_pct leaves {bus_V:.0f} V at the INA228, whose limit is {_INA228_BUS_V} V"
    for key, signal, _, _, (set_at, *_) in levels_of(tables):
        if signal == "current_dA" and abs(set_at) > values["overcurrent_sensor_dA"]:
            yield f"[alarms] {key}: set {set_at} is beyond [overcurrent] sensor_dA {values['overcurrent_sensor_dA']}"


_ALERTS = (("sensor_alert_charge_A", "charge_current_trip"), ("sensor_alert_discharge_A", "discharge_current_trip"))


def _alerts(values: Values, tables: Tables) -> Iterator[str]:
    """The alert of the sensor is at or below the trip level, and high enough for the resolution of the sensor."""
    shunt = values["sensor_shunt_uohm"]
    minimum = -(-_ALERT_BITS * _INA228_BIT_uV // shunt)
    trips = {key: abs(set_at) for key, _, _, _, (set_at, *_) in levels_of(tables)}
    for name, trip in _ALERTS:
        key, amps = rows.split(name)[1], values[name]
        if 10 * amps > trips[trip]:
            yield (
                f"[sensor] {key} = {amps} A: allowed is at most {trips[trip] / 10:g} A, "
                f"the trip level of [alarms] {trip}"
            )
        if amps < minimum:
            yield f"[sensor] {key} = {amps} A: allowed is at least {minimum} A with shunt_uohm {shunt}"
    full_uV = values["overcurrent_sensor_dA"] * shunt // 10
    if full_uV > _INA228_SHUNT_uV:
        maximum = 10 * _INA228_SHUNT_uV // shunt
        yield (
            f"[overcurrent] sensor_dA = {values['overcurrent_sensor_dA']} x 0.1 A: "
            f"allowed is at most {maximum} x 0.1 A, the range of the INA228 with shunt_uohm {shunt}"
        )


_BAUDS = (9_600, 19_200, 38_400, 57_600, 115_200)
_RS485 = ("rs485_tx", "rs485_rx", "rs485_de")


def _modbus(values: Values, tables: Tables) -> Iterator[str]:
    if values["modbus_baud"] not in _BAUDS:
        yield f"[modbus] baud = {values['modbus_baud']}: allowed is one of {', '.join(map(str, _BAUDS))}"
    for name in _RS485:
        if values["modbus_enabled"] and values[f"pins_{name}"] < 0:
            yield f"[modbus] enabled needs [pins] {name}"


def _pins(values: Values, tables: Tables) -> Iterator[str]:
    yield from check_pins({rows.split(name)[1]: pin for name, pin in values.items() if name.startswith("pins_")})
    if values["grid_phases"] == 2:
        yield "[grid] phases 2: allowed is 1 or 3, as the samples of two phases are not evenly spaced"
    needed = ("zero_crossing_a", "zero_crossing_b", "zero_crossing_c")[: values["grid_phases"]]
    for name in needed:
        if values[f"pins_{name}"] < 0:
            yield f"[grid] phases {values['grid_phases']} needs [pins] {name}"


CHECKS: tuple[Check, ...] = (
    _cell_window,
    _ocv,
    _curves,
    _droop,
    _services,
    _ends_of_charge,
    _hysteresis,
    _ages,
    _level_order,
    _trips_in_window,
    _precharge,
    _times,
    _mains,
    _windows,
    _afe,
    _cells,
    _thermal,
    _ranges,
    _alerts,
    _modbus,
    _pins,
)


def cross_check(values: Values, tables: Tables) -> list[str]:
    """Every conflict, one line each."""
    return [line for check in CHECKS for line in check(values, tables)]
