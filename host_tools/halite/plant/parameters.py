"""Parameters of the simulated rack, each with its source.

The size of the rack comes from the board config, all other numbers from data sheets. A wrong protection limit in a
config therefore does not change the plant, and a simulation shows it.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from halite.plant.ntc import Ntc

Array = npt.NDArray[np.float64]
_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Chemistry:
    """Cell data of one chemistry. Resistance (mΩ·Ah) and mass (kg/Ah) are per capacity."""

    name: str
    ocv_file: str
    resistance_mohm_ah: float
    mass_kg_per_ah: float
    heat_j_per_kg_k: float
    onset_degC: float
    runaway_K_per_s: float


CHEMISTRIES = (
    # 18650 layered oxide: at most 39 mΩ·Ah AC at 1 kHz (TOB data sheet). DC resistance as twice AC, mass from 140 Wh/kg
    # at 3.0 V, heat capacity, onset and rate: engineering judgement.
    Chemistry("sodium", "ocv_sodium.csv", 78.0, 3.0 / 140, 1000.0, 120.0, 12.0),
    # 314 Ah cell: 57 mΩ·Ah AC, 5.60 kg (Paneco 20C1600K); 1130 J/kgK (batterydesign.net). DC resistance as twice AC
    # and a peak rate of 3 K/s: engineering judgement. First venting of a 280 Ah cell at 163 °C (Batteries 2024 10 270).
    Chemistry("lfp", "ocv_lfp.csv", 114.0, 5.60 / 314, 1130.0, 150.0, 3.0),
)

# Resistance relative to 25 °C: PyBaMM Prada2013, 10 s pulse at 50 % (40, 71, 125, 150 mΩ·Ah at 45, 25, 0, -10 °C).
# Used for both chemistries, and extended to -30 and 80 °C by engineering judgement.
R_OF_T_degC = np.array([-30.0, -10.0, 0.0, 25.0, 45.0, 80.0])
R_OF_T = np.array([3.2, 2.11, 1.76, 1.0, 0.563, 0.45])


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
    ocv: tuple[tuple[float, float], ...] = ()  # (SoC 0..1, V) of the cell's maker; empty: the curve of a research cell
    # DC link of 2 mF for a 200 kW PCS, bleeder of 50 kΩ: engineering judgement
    bus_F: float = 2e-3
    bleeder_ohm: float = 50e3
    # A PCS without a source discharges its DC link below 60 V within about 5 s: engineering judgement
    discharge_ohm: float = 800.0
    # TE EVC500 and Gigavac HX21: operate at most 20 ms, release at most 12 ms; the worst case of both
    pull_in_us: int = 20_000
    release_us: int = 12_000
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

    def cell_resistance_ohm(self) -> float:
        """Cell resistance at 25 °C."""
        return self.chemistry.resistance_mohm_ah / self.capacity_Ah * 1e-3

    def cell_heat_capacity_J_per_K(self) -> float:
        """Heat capacity of one cell."""
        return self.chemistry.mass_kg_per_ah * self.capacity_Ah * self.chemistry.heat_j_per_kg_k


def _chemistry(value: Any) -> Chemistry:
    names = {c.name: c for c in CHEMISTRIES} | {"sodium_ion": CHEMISTRIES[0], "na": CHEMISTRIES[0]}
    return names[value] if isinstance(value, str) else CHEMISTRIES[int(value)]


def _ocv_points(get: Callable[[str], Any]) -> tuple[tuple[float, float], ...]:
    """The OCV table of the config, () without one. It has rows in TOML and is flat in compiled parameters."""
    try:
        table = get("cell_ocv")
    except (KeyError, AttributeError):
        return ()
    flat = [int(n) for n in np.ravel(np.asarray(table, dtype=np.int64))]
    return tuple((soc / 10_000, mV / 1000) for soc, mV in zip(flat[::2], flat[1::2], strict=True))


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
        chemistry=_chemistry(get("rack_chemistry")),
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
        ocv=_ocv_points(get),
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


def ocv_curve(plant: Plant) -> tuple[Array, Array]:
    """(SoC 0..1, V) of the plant's cells: the table of the maker, or without one the curve of a research cell."""
    if plant.ocv:
        points = np.array(plant.ocv)
        return points[:, 0], points[:, 1]
    return research_curve(plant.chemistry, plant.voltage_min_V, plant.voltage_max_V)


@cache
def research_curve(chemistry: Chemistry, voltage_min_V: float, voltage_max_V: float) -> tuple[Array, Array]:
    """(SoC 0..1, V) of a published research cell, stretched to the voltage window of this cell.

    Stretching preserves the flat and steep parts of the curve. The sodium set is an NVPF cell with two plateaus, far
    from a layered oxide, so the table of a maker takes precedence.
    """
    with (_DATA / chemistry.ocv_file).open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    soc = np.array([float(row["soc"]) for row in rows])
    volts = np.array([float(row["ocv_v"]) for row in rows])
    span = (volts - volts[0]) / (volts[-1] - volts[0])
    return soc, voltage_min_V + span * (voltage_max_V - voltage_min_V)
