"""Parameters of the simulated rack, each with its source.

The size of the rack comes from the board config, all other numbers from data sheets and `halite.plant.chemistries`. A
wrong protection limit or a wrong cell table in a config therefore does not change the plant, and a simulation shows it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from halite.plant.chemistries import Array, ocv_curve
from halite.plant.ntc import Ntc


@dataclass(frozen=True)
class Chemistry:
    """Thermal cell data of one chemistry; mass in kg per Ah. The electrical data are in `halite.plant.chemistries`."""

    name: str
    mass_kg_per_ah: float
    heat_j_per_kg_k: float


CHEMISTRIES = (
    Chemistry("sodium", 3.0 / 140, 1000.0),  # 140 Wh/kg at 3.0 V, heat capacity: engineering judgement
    Chemistry("lfp", 5.60 / 314, 1130.0),  # 314 Ah cell: 5.60 kg (Paneco 20C1600K); 1130 J/kgK (batterydesign.net)
    Chemistry("nfpp", 2.9 / 110, 1000.0),  # 110 Wh/kg at 2.9 V, heat capacity: engineering judgement
    Chemistry("prada", 5.60 / 314, 1130.0),  # the research cell of the validation; its heat is not used
)
# A sodium cell of which the voltage limit is below this is a polyanion (NFPP up to 3.65 V, layered oxide 3.95 V).
_NFPP_BELOW_V = 3.75


@dataclass(frozen=True)
class Perturbation:
    """Difference of the true cells from the nominal ones, against which the estimators are tested.

    resistance, capacity: factors above 0. other_ocv: take the second source of the OCV (`ocv_curve`).
    """

    resistance: float = 1.0
    capacity: float = 1.0
    other_ocv: bool = False

    def __post_init__(self) -> None:
        if not (0.1 <= self.resistance <= 10.0 and 0.1 <= self.capacity <= 10.0):
            raise ValueError(f"factors {self.resistance:g} and {self.capacity:g}: allowed are 0.1 to 10")


@dataclass(frozen=True)
class Sensors:
    """The measuring parts: shunt, divider at the bus pin of the current sensor, NTCs, CAN crystal."""

    shunt_ohm: float = 50e-6
    divider: float = 20.0
    alert_charge_A: float = 1_500.0
    alert_discharge_A: float = 1_500.0
    ntc: Ntc = field(default_factory=Ntc)
    can_crystal_hz: int = 16_000_000


@dataclass(frozen=True)
class Plant:
    """Size and fixed data of one rack, with the units in the names."""

    chemistry: Chemistry
    series: int
    capacity_Ah: float
    voltage_min_V: float
    voltage_max_V: float
    devices: int
    cells_per_device: int
    temps_per_device: int
    power_max_W: float
    afe_period_ms: int
    scan_ms: int
    nominal_hz: float
    precharge_tau_ms: float
    deadman_window_ms: int
    sensors_of: "Sensors" = field(default_factory=lambda: Sensors())
    perturbation: Perturbation = field(default_factory=Perturbation)
    # DC link of 2 mF for a 200 kW PCS, bleeder of 50 kΩ: engineering judgement
    bus_F: float = 2e-3
    bleeder_ohm: float = 50e3
    # A PCS without a source discharges its DC link below 60 V within about 5 s: engineering judgement
    discharge_ohm: float = 800.0
    # TE EVC500 and Gigavac HX21: operate at most 20 ms, release at most 12 ms; the worst case of both
    pull_in_us: int = 20_000
    release_us: int = 12_000
    # Insulation of the string, and of the PCS with its cables; far above an alarm: engineering judgement
    string_insulation_kohm: float = 10_000.0
    pcs_insulation_kohm: float = 10_000.0
    # PCS current loop of 10 ms, at most 100 ms from full charge to full discharge: engineering judgement
    pcs_lag_ms: float = 10.0
    pcs_ramp_W_per_s: float = 0.0
    pcs_timeout_ms: int = 100
    # Conduction core to surface and surface to coolant, per cell: engineering judgement from a 72 mm prismatic cell
    core_W_per_K: float = 5.0
    cooling_W_per_K: float = 2.5
    core_share: float = 0.7

    @property
    def precharge_ohm(self) -> float:
        """Precharge resistor that gives the configured time constant."""
        return self.precharge_tau_ms * 1e-3 / self.bus_F

    @property
    def sensors(self) -> int:
        """Number of NTCs in the rack."""
        return self.devices * self.temps_per_device

    def cell_heat_capacity_J_per_K(self) -> float:
        """Heat capacity of one cell."""
        return self.chemistry.mass_kg_per_ah * self.capacity_Ah * self.chemistry.heat_j_per_kg_k


_BY_NAME = {c.name: c for c in CHEMISTRIES} | {"sodium_ion": CHEMISTRIES[0], "na": CHEMISTRIES[0]}


def _chemistry(value: Any, voltage_max_V: float) -> Chemistry:
    """The chemistry of a config's name or number: sodium with a low voltage limit is NFPP."""
    found = _BY_NAME[value] if isinstance(value, str) else CHEMISTRIES[int(value)]
    return _BY_NAME["nfpp"] if found.name == "sodium" and voltage_max_V < _NFPP_BELOW_V else found


def _sensors(get: Callable[[str], Any]) -> Sensors:
    """Section [sensor] of the config in SI units; the defaults without it."""
    try:
        return Sensors(
            shunt_ohm=get("sensor_shunt_uohm") * 1e-6,
            divider=get("sensor_divider_pct") / 100,
            alert_charge_A=float(get("sensor_alert_charge_A")),
            alert_discharge_A=float(get("sensor_alert_discharge_A")),
            ntc=Ntc(
                get("sensor_ntc_a_e10") * 1e-10,
                get("sensor_ntc_b_e10") * 1e-10,
                get("sensor_ntc_c_e13") * 1e-13,
                float(get("sensor_ntc_pullup_ohm")),
            ),
            can_crystal_hz=int(get("sensor_can_crystal_MHz")) * 1_000_000,
        )
    except (KeyError, AttributeError):
        return Sensors()


def _plant(get: Callable[[str], Any]) -> Plant:
    return Plant(
        chemistry=_chemistry(get("rack_chemistry"), get("cell_voltage_max_mV") / 1000),
        series=int(get("cell_series")),
        capacity_Ah=get("cell_capacity_dAh") / 10,
        voltage_min_V=get("cell_voltage_min_mV") / 1000,
        voltage_max_V=get("cell_voltage_max_mV") / 1000,
        devices=int(get("afe_devices")),
        cells_per_device=int(get("afe_cells_per_device")),
        temps_per_device=int(get("afe_temps_per_device")),
        power_max_W=float(get("rack_power_max_W")),
        afe_period_ms=int(get("afe_period_ms")),
        scan_ms=int(get("rack_scan_ms")),
        nominal_hz=get("grid_nominal_mHz") / 1000,
        precharge_tau_ms=float(get("precharge_tau_ms")),
        deadman_window_ms=int(get("deadman_window_ms")),
        sensors_of=_sensors(get),
    )


def plant_of_config(config: Mapping[str, Mapping[str, Any]]) -> Plant:
    """The plant of a parsed TOML config: `precharge_tau_ms` is `config["precharge"]["tau_ms"]`."""

    def get(name: str) -> Any:
        section, _, key = name.partition("_")
        return config[section][key]

    return _plant(get)


def plant_of_params(params: object) -> Plant:
    """The plant of a compiled `Params` object, whose attributes are the parameter names."""
    return _plant(lambda name: getattr(params, name))


def with_cells(plant: Plant, cell: str | None, perturbation: Perturbation | None) -> Plant:
    """The plant with other cells: cell is the name of a chemistry. None keeps the cells of the config.

    Raises ValueError for an unknown chemistry.
    """
    if cell is not None and cell not in _BY_NAME:
        raise ValueError(f"cell = {cell!r}: known are {', '.join(c.name for c in CHEMISTRIES)}")
    return replace(
        plant,
        chemistry=plant.chemistry if cell is None else _BY_NAME[cell],
        perturbation=plant.perturbation if perturbation is None else perturbation,
    )


def one_cell(name: str, capacity_Ah: float, voltage_min_V: float, voltage_max_V: float) -> Plant:
    """A plant of a single cell with one sensor, for comparisons with other models."""
    return Plant(
        chemistry=_BY_NAME[name],
        series=1,
        capacity_Ah=capacity_Ah,
        voltage_min_V=voltage_min_V,
        voltage_max_V=voltage_max_V,
        devices=1,
        cells_per_device=1,
        temps_per_device=1,
        power_max_W=10.0,
        afe_period_ms=100,
        scan_ms=10,
        nominal_hz=50.0,
        precharge_tau_ms=200.0,
        deadman_window_ms=50,
    )


def plant_curve(plant: Plant) -> tuple[Array, Array]:
    """(SoC 0..1, V) at 25 °C of the plant's cells."""
    window = plant.voltage_min_V, plant.voltage_max_V
    return ocv_curve(plant.chemistry.name, *window, other=plant.perturbation.other_ocv)
