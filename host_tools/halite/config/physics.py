"""Values of a config that agree with each other and contradict the rack: chemistry, power, shunt, precharge, sensors.

Each function is one rule and yields one line for each finding. The limits of a cell by temperature are data sheet
values (see bounds.py); other numbers are engineering judgement.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import exp, log

from halite.config import rows
from halite.config.bounds import level_bounds, value_bounds
from halite.config.curves import Check, Tables, Values, columns, levels_of, ocv_mV, set_levels, value_at

# mV, by chemistry (sodium, LFP): open-circuit voltage at half charge, and its rise from 30 to 70 % of the charge
_HALF_mV = ((2_600, 3_400), (3_150, 3_400))
_RISE_mV = ((150, 1_200), (10, 140))
_NAMES = ("sodium", "lfp")
_ENDS_mV = (200, 400)  # of the OCV curve: distance to the top and to the bottom of the voltage window
# 0.1 degC, by chemistry: charge and discharge are allowed only between these (TOB; Paneco and Lishen)
_TEMPERATURES = {"charge": ((-200, 550), (0, 600)), "discharge": ((-400, 600), (-350, 600))}
_DERATE_permille = 500
_LOW_SOC_cpct = 2_000  # the rated power shall fit the currents down to this charge
_WELD_MARGIN = 1.2  # a bus behind a welded precharge relay rises this much above bus_permille within aux_ms
_RESISTANCE_mohmAh = (20, 400)  # of a cell at 25 degC; shipped racks have 78 and 114
_R25_ohm = (1_000, 200_000)
_BETA_K = (2_500, 5_000)


def chemistry(values: Values, tables: Tables) -> Iterator[str]:
    """The OCV curve is one of the chemistry, and it spans the voltage window of the cell."""
    kind = values["rack_chemistry"]
    fits = f'with [rack] chemistry = "{_NAMES[kind]}"'
    half, rise = ocv_mV(tables, 5_000), ocv_mV(tables, 7_000) - ocv_mV(tables, 3_000)
    low, high = _HALF_mV[kind]
    if not low <= half <= high:
        yield f"[cell] ocv: {half:.0f} mV at half charge: allowed is {low} to {high} mV {fits}"
    low, high = _RISE_mV[kind]
    if not low <= rise <= high:
        yield f"[cell] ocv: rises {rise:.0f} mV from 30 to 70 %: allowed is {low} to {high} mV {fits}"
    top = values["cell_voltage_max_mV"] - ocv_mV(tables, 10_000)
    bottom = ocv_mV(tables, 0) - values["cell_voltage_min_mV"]
    for what, gap, most in (("voltage_max_mV", top, _ENDS_mV[0]), ("voltage_min_mV", bottom, _ENDS_mV[1])):
        if gap > most:
            found = values[f"cell_{what}"]
            yield f"[cell] {what} {found}: {gap:.0f} mV from the end of ocv: allowed is at most {most} mV"


def temperatures(values: Values, tables: Tables) -> Iterator[str]:
    """The power is 0 beyond the temperatures of the chemistry, and at the temperatures of the trips."""
    sets = set_levels(tables)
    trips = {"charge": ("charge_cold_trip", "charge_hot_trip"), "discharge": ("cold_trip", "hot_trip")}
    for way, by_kind in _TEMPERATURES.items():
        along, value = columns(tables[f"limit_{way}_temp"])
        low, high = by_kind[values["rack_chemistry"]]
        # the ends, each knot outside, and a tenth of a degree outside, for a segment that crosses the limit
        outside = [x for x in (*along, low - 1, high + 1) if not low <= x <= high]
        bad = [x for x in outside if value_at(x, along, value) > 0]
        if bad:
            yield (
                f"[limit] {way}_temp: {value_at(bad[0], along, value):.0f} permille at {bad[0] / 10:g} degC: "
                f"allowed is 0 below {low / 10:g} and above {high / 10:g} degC"
            )
        for key in trips[way]:
            left = value_at(sets[key], along, value)
            if left > 0:
                where = f"{sets[key] / 10:g} degC, where {key} opens"
                yield f"[limit] {way}_temp: {left:.0f} permille at {where}: allowed is 0"


def cell_limits(values: Values, tables: Tables) -> Iterator[str]:
    """The power is 0 where the cells' trips open, and half at most where the cells' alarms derate."""
    sets = set_levels(tables)
    for name, key in (("charge_cell", "cell_high"), ("discharge_cell", "cell_low")):
        for level, most in (("trip", 0), ("derate", _DERATE_permille)):
            at = sets[f"{key}_{level}"]
            left = value_at(at, *columns(tables[f"limit_{name}"]))
            if left > most:
                yield f"[limit] {name}: {left:.0f} permille at {at} mV, the level of {key}_{level}: allowed is {most}"
    deep, low = sets["deep_discharge"], sets["cell_low_trip"]
    if deep >= low:
        yield f"[alarms] deep_discharge: set {deep} must be below cell_low_trip, set {low}"


def power(values: Values, tables: Tables) -> Iterator[str]:
    """The rated power at 20 % charge needs no more than the ratings and the levels of the current warnings.

    Otherwise full power raises an alarm that derates, and the power limit rises and falls for ever.
    """
    volt = ocv_mV(tables, _LOW_SOC_cpct) * values["cell_series"] / 1000
    sets = set_levels(tables)
    for way in ("charge", "discharge"):
        most_dA = min(abs(sets[f"{way}_current_warn"]), values[f"overcurrent_{way}_dA"])
        most_W = int(volt * most_dA / 10)
        if values["rack_power_max_W"] > most_W:
            yield (
                f"[rack] power_max_W {values['rack_power_max_W']}: allowed is at most {most_W} W, "
                f"{most_dA / 10:g} A at {volt:.0f} V (20 % charge): [overcurrent] {way}_dA, [alarms] {way}_current_warn"
            )


def currents(values: Values, tables: Tables) -> Iterator[str]:
    """A current level above the rating, and the trip before the end of the sensor's range."""
    sets, end = set_levels(tables), values["overcurrent_sensor_dA"]
    for way in ("charge", "discharge"):
        key, rating = f"{way}_current_trip", values[f"overcurrent_{way}_dA"]
        if abs(sets[key]) >= end:
            yield f"[alarms] {key}: set {sets[key]} must be below the end of the range, [overcurrent] sensor_dA {end}"
        if abs(sets[key]) < rating:
            yield f"[alarms] {key}: set {sets[key]} is below the rating, [overcurrent] {way}_dA {rating}"


def shunt(values: Values, tables: Tables) -> Iterator[str]:
    """The shunt's resistance is that of its nameplate, and its range fits the levels of the currents."""
    amps, mV, uohm = values["sensor_shunt_A"], values["sensor_shunt_mV"], values["sensor_shunt_uohm"]
    plate = 1000 * mV / amps
    if abs(uohm - plate) > plate / 50:
        nameplate = f"shunt_mV {mV} at shunt_A {amps}"
        yield f"[sensor] shunt_uohm = {uohm}: allowed is {plate:.0f} uohm within 2 %, the nameplate: {nameplate}"
    for key in ("overcurrent_charge_dA", "overcurrent_discharge_dA"):
        if not amps <= values[key] * 2 <= 20 * amps:
            section, name = rows.split(key)
            yield (
                f"[sensor] shunt_A = {amps} A does not fit [{section}] {name} {values[key]} x 0.1 A: "
                f"allowed is {-(-values[key] // 10)} to {values[key] * 2} A"
            )


def precharge(values: Values, tables: Tables) -> Iterator[str]:
    """A weld is seen within aux_ms, and the window is not so wide that any curve passes."""
    tau, aux, bus = values["precharge_tau_ms"], values["contactor_aux_ms"], values["contactor_bus_permille"]
    rises = 1000 * (1 - exp(-aux / tau))
    if rises < _WELD_MARGIN * bus:
        yield (
            f"[contactor] aux_ms {aux}: a bus behind a welded precharge relay rises to {rises:.0f} permille by then "
            f"with [precharge] tau_ms {tau}: allowed is at least {_WELD_MARGIN * bus:.0f}, 1.2 times bus_permille"
        )
    expected = tau * log(1 / (1 - values["precharge_done_permille"] / 1000))
    early, late = values["precharge_early_ms"], values["precharge_late_ms"]
    if early < expected / 3:
        yield f"[precharge] early_ms {early}: allowed is at least {expected / 3:.0f} ms, a third of the expected time"
    if late > 4 * expected:
        yield f"[precharge] late_ms {late}: allowed is at most {4 * expected:.0f} ms, four times the expected time"
    volt = values["cell_series"] * values["cell_voltage_max_mV"] / 1000
    joule = tau / 1000 / values["precharge_ohm"] * volt**2 / 2
    if values["precharge_energy_J"] > 10 * joule + 1:
        energy = values["precharge_energy_J"]
        yield f"[precharge] energy_J {energy}: allowed is at most {10 * joule:.0f} J, ten precharges"
    settle, close = values["contactor_settle_ms"], values["contactor_close_ms"]
    if close <= settle:
        yield f"[contactor] close_ms {close} must be longer than settle_ms {settle}: each request would expire"


def ages(values: Values, tables: Tables) -> Iterator[str]:
    """A message's maximum age is several of its periods, and its alarm is not late."""
    scan, afe = values["rack_scan_ms"], values["afe_period_ms"]
    periods = {"current_lost": 3 * scan, "pcs_lost": 5 * scan, "temps_lost": 2 * afe, "late_trip": 3 * scan}
    for key, _, _, _, (set_at, *_) in levels_of(tables):
        if key in periods and set_at < periods[key]:
            yield f"[alarms] {key}: set {set_at} ms: allowed is at least {periods[key]} ms, some periods of its message"
    window = values["deadman_window_ms"]
    late = set_levels(tables)["late_trip"]
    if late > 10 * window:
        yield f"[alarms] late_trip: set {late} ms: allowed is at most {10 * window} ms, ten [deadman] window_ms"


def gas(values: Values, tables: Tables) -> Iterator[str]:
    """Gas counts as evidence of a runaway at the latest where it trips."""
    trip = set_levels(tables)["gas_trip"]
    if values["runaway_gas_mV"] > trip:
        yield f"[runaway] gas_mV {values['runaway_gas_mV']}: allowed is at most {trip} mV, [alarms] gas_trip"


def _ntc_ohm(values: Values, degC: float) -> float:
    """Resistance of the NTC by its Steinhart-Hart coefficients, bisected between 1 ohm and 100 Mohm."""
    low, high = 0.0, log(1e8)
    for _ in range(60):
        ln_ohm = (low + high) / 2
        per_kelvin = values["sensor_ntc_a_e10"] / 1e10 + values["sensor_ntc_b_e10"] / 1e10 * ln_ohm
        per_kelvin += values["sensor_ntc_c_e13"] / 1e13 * ln_ohm**3
        low, high = (ln_ohm, high) if per_kelvin < 1 / (degC + 273.15) else (low, ln_ohm)
    return exp(low)


def _ntc(values: Values) -> Iterator[str]:
    ohm, hot = _ntc_ohm(values, 25), _ntc_ohm(values, 60)
    pullup = values["sensor_ntc_pullup_ohm"]
    if not _R25_ohm[0] <= ohm <= _R25_ohm[1]:
        yield (
            f"[sensor] ntc_a_e10, ntc_b_e10, ntc_c_e13: {ohm:.0f} ohm at 25 degC: "
            f"allowed is {_R25_ohm[0]} to {_R25_ohm[1]} ohm"
        )
        return
    beta = log(ohm / hot) / (1 / 298.15 - 1 / 333.15) if hot < ohm else 0
    if not _BETA_K[0] <= beta <= _BETA_K[1]:
        yield (
            f"[sensor] ntc_a_e10, ntc_b_e10, ntc_c_e13: B = {beta:.0f} K from 25 to 60 degC: "
            f"allowed is {_BETA_K[0]} to {_BETA_K[1]} K"
        )
    if not ohm / 5 <= pullup <= 5 * ohm:
        yield (
            f"[sensor] ntc_pullup_ohm {pullup}: allowed is {ohm / 5:.0f} to {5 * ohm:.0f} ohm, "
            f"near the NTC's {ohm:.0f} ohm at 25 degC"
        )


def sensors(values: Values, tables: Tables) -> Iterator[str]:
    """The NTC's coefficients are those of an NTC, and the resistance of the cells is one of a cell."""
    yield from _ntc(values)
    at25 = value_at(250, *columns(tables["cell_resistance"])) * values["cell_capacity_dAh"] / 10_000
    low, high = _RESISTANCE_mohmAh
    if not low <= at25 <= high:
        yield f"[cell] resistance: {at25:.0f} mohm Ah at 25 degC: allowed is {low} to {high} mohm Ah"
    _, value = columns(tables["cell_resistance"])
    if any(later > earlier for earlier, later in pairwise(value)):
        yield "[cell] resistance must not rise with the temperature"


JUDGEMENTS: tuple[Check, ...] = (
    level_bounds, value_bounds, chemistry, temperatures, cell_limits, power, currents, shunt, precharge, ages, gas,
    sensors,
)  # fmt: skip


def judge(values: Values, tables: Tables) -> list[str]:
    """Every dangerous value, one line each. The values must be free of conflicts (checks.cross_check)."""
    return [line for check in JUDGEMENTS for line in check(values, tables)]
