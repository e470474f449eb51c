"""Electrical cell data of each chemistry, with a source for each number.

The plant has its own data: the tables of a board config belong to the controller, and a test of an
estimator on its own table has no value. "judgement" below stands for engineering judgement.

Resistances are per capacity (mohm Ah), so that one set serves cells of every size. AC is the 1 kHz value of a data
sheet. Pulses of 10 s give about twice AC (judgement).
"""

import csv
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Knots = tuple[tuple[float, float], ...]

_DATA = Path(__file__).parent / "data"
GAS_J_PER_MOL_K = 8.314462
FARADAY_C_PER_MOL = 96_485.33


@dataclass(frozen=True)
class Ageing:
    """Loss of capacity and rise of resistance, as shares of the new cell.

    Calendar: loss = k exp(-Ea/R (1/T - 1/298.15 K)) (c (SoC - 0.5)^3 + d) sqrt(s); the rise of resistance is linear in
    time with (SoC - 0.5)^2. Cycles: loss in % = (a C-rate + b) d sqrt(full cycles), rise in % = (a C-rate + b) d full
    cycles. The factor d belongs to cycles of 60 % depth (loss) and 50 % depth (rise).
    """

    loss_k: float  # 1/sqrt(s)
    loss_J_per_mol: float
    loss_soc: tuple[float, float]  # c, d
    loss_cycle: tuple[float, float, float]  # a, b, d
    rise_k: float  # 1/s
    rise_J_per_mol: float
    rise_soc: tuple[float, float]
    rise_cycle: tuple[float, float, float]


@dataclass(frozen=True)
class CellData:
    """Equivalent circuit of one chemistry: OCV, R0 of an ohmic and a charge-transfer part, two RC pairs, side effects.

    Knots are (SoC 0..1, value), linear between them. A share is of the capacity. The charge-transfer part follows
    Butler-Volmer with one limiting electrode: V = 2RT/F asinh(I r / (2RT/F)).
    """

    ohm_mohm_ah: Knots
    transfer_mohm_ah: Knots
    pair1_mohm_ah: Knots
    pair2_mohm_ah: Knots
    pair1_s: float
    pair2_s: float
    ohm_J_per_mol: float  # activation energies; the resistance rises in the cold
    transfer_J_per_mol: float
    pair_J_per_mol: float
    hysteresis_V: Knots  # half of the gap between the charged and the discharged curve
    hysteresis_rate: float  # share of the way to the other curve per unit of SoC
    entropic_V_per_K: Knots
    leak_per_month: float  # share of the capacity at 25 degC; doubles each 10 K (judgement)
    cold_loss: Knots  # (degC, share of the charge that a discharge at 0.5C cannot reach)
    ageing: Ageing


def _fitted(column: str) -> Knots:
    """One column of the circuit that `halite dev fit-cell` has fitted to PyBaMM's Prada2013 cell."""
    with (_DATA / "circuit_lfp.csv").open() as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple((float(row["soc"]), float(row[column])) for row in rows)


def _times(knots: Knots, factor: float) -> Knots:
    return tuple((at, value * factor) for at, value in knots)


# Naumann et al., doi:10.1016/j.est.2018.01.019 (calendar) and doi:10.1016/j.jpowsour.2019.227666 (cycles), 26650 cell
_AGEING_LFP = Ageing(
    1.2571e-5, 17_126.0, (2.8575, 0.60225), (0.0630, 0.0971, 1.0923),
    3.4194e-10, 71_827.0, (-3.3903, 1.5604), (-0.0020, 0.0021, 0.9182),
)  # fmt: skip
# 4 500 cycles to 83 % (first mass cells of HiNa, fudzilla 55937): 17 % / sqrt(4500) = 0.253 % at 1C. The rest:
# judgement, with the calendar of LFP at 1.5 times its speed
_AGEING_SODIUM = Ageing(
    1.9e-5, 17_126.0, (2.8575, 0.60225), (0.10, 0.153, 1.0),
    5.0e-10, 71_827.0, (-3.3903, 1.5604), (0.0, 0.004, 1.0),
)  # fmt: skip
# 20 000 cycles are claimed for NFPP: 20 % / sqrt(20 000) = 0.141 % at 1C. Judgement, with the calendar of LFP
_AGEING_NFPP = Ageing(
    1.2571e-5, 17_126.0, (2.8575, 0.60225), (0.05, 0.091, 1.0),
    3.4194e-10, 71_827.0, (-3.3903, 1.5604), (0.0, 0.001, 1.0),
)  # fmt: skip

# The cell of PyBaMM's set Prada2013 itself, for the validation: no hysteresis, entropic heat, leak or cold loss.
PRADA = CellData(
    ohm_mohm_ah=_fitted("ohm"),
    transfer_mohm_ah=_fitted("transfer"),
    pair1_mohm_ah=_fitted("pair1"),
    pair2_mohm_ah=_fitted("pair2"),
    pair1_s=40.0,
    pair2_s=350.0,
    ohm_J_per_mol=0.0,
    transfer_J_per_mol=35_000.0,
    pair_J_per_mol=0.0,
    hysteresis_V=((0.0, 0.0), (1.0, 0.0)),
    hysteresis_rate=20.0,
    entropic_V_per_K=((0.0, 0.0), (1.0, 0.0)),
    leak_per_month=0.0,
    cold_loss=((-30.0, 0.0), (25.0, 0.0)),
    ageing=_AGEING_LFP,
)

# Storage cell of 280 to 314 Ah. Ohmic part: AC 57 mohm Ah (Paneco 20C1600K). Charge transfer: Prada2013 times 0.75, so
# that a pulse of 10 s at 50 % gives twice AC (judgement). Pairs and activation energies: Prada2013.
_LFP = CellData(
    ohm_mohm_ah=((0.0, 57.0), (1.0, 57.0)),
    transfer_mohm_ah=_times(PRADA.transfer_mohm_ah, 0.75),
    pair1_mohm_ah=PRADA.pair1_mohm_ah,
    pair2_mohm_ah=PRADA.pair2_mohm_ah,
    pair1_s=40.0,
    pair2_s=350.0,
    ohm_J_per_mol=0.0,
    transfer_J_per_mol=35_000.0,
    pair_J_per_mol=0.0,
    # 5 to 25 mV between the curves after a long rest, largest on the plateaus (accure.net battery-hysteresis-effect);
    # values and the rate of a minor loop within that: judgement
    hysteresis_V=((0.0, 0.0025), (0.1, 0.006), (0.3, 0.010), (0.9, 0.010), (1.0, 0.0025)),
    hysteresis_rate=20.0,
    # judgement: sign and size as LFP/graphite cells usually have them
    entropic_V_per_K=((0.0, -3e-4), (0.2, -2e-4), (0.35, -5e-5), (0.5, 5e-5), (0.7, 5e-5), (0.85, 1.2e-4), (1.0, 1e-4)),
    leak_per_month=0.015,  # planning value 1 to 2 % a month: judgement
    cold_loss=((-30.0, 0.40), (-20.0, 0.25), (0.0, 0.06), (25.0, 0.0)),  # judgement
    ageing=_AGEING_LFP,
)

# Layered oxide. Ohmic part: AC 39 mohm Ah (TOB-18650-C-Na). Charge transfer: twice AC in 10 s (judgement); its rise at
# low SoC as the pulses of PyBaMM's Chayambuka2022 (527 at 10 %, 322 at 50 %). Pairs, energies, hysteresis, entropy:
# judgement. Cold: 88 % at -20 degC (HiNa). Leak: planning value 2 to 4 % a month (judgement)
_SODIUM = CellData(
    ohm_mohm_ah=((0.0, 39.0), (1.0, 39.0)),
    transfer_mohm_ah=((0.0, 70.0), (0.1, 54.0), (0.3, 38.0), (0.5, 33.0), (0.7, 33.0), (0.9, 35.0), (1.0, 38.0)),
    pair1_mohm_ah=((0.0, 40.0), (0.1, 26.0), (0.3, 14.0), (0.5, 10.0), (0.9, 10.0), (1.0, 14.0)),
    pair2_mohm_ah=((0.0, 80.0), (0.1, 50.0), (0.3, 25.0), (0.5, 18.0), (0.9, 18.0), (1.0, 25.0)),
    pair1_s=20.0,
    pair2_s=300.0,
    ohm_J_per_mol=10_000.0,
    transfer_J_per_mol=25_000.0,
    pair_J_per_mol=10_000.0,
    hysteresis_V=((0.0, 0.003), (1.0, 0.003)),
    hysteresis_rate=20.0,
    entropic_V_per_K=((0.0, -2e-4), (0.5, -5e-5), (1.0, 5e-5)),
    leak_per_month=0.03,
    cold_loss=((-40.0, 0.25), (-20.0, 0.12), (0.0, 0.03), (25.0, 0.0)),
    ageing=_AGEING_SODIUM,
)

# Sodium iron pyrophosphate: every number is judgement (no data sheet found), by analogy with the layered oxide: more
# resistive, slower in the cold.
_NFPP = replace(
    _SODIUM,
    ohm_mohm_ah=((0.0, 45.0), (1.0, 45.0)),
    transfer_mohm_ah=((0.0, 80.0), (0.1, 60.0), (0.3, 44.0), (0.5, 40.0), (0.9, 42.0), (1.0, 48.0)),
    pair1_mohm_ah=((0.0, 50.0), (0.1, 30.0), (0.3, 16.0), (0.5, 12.0), (0.9, 14.0), (1.0, 20.0)),
    pair2_mohm_ah=((0.0, 90.0), (0.1, 55.0), (0.3, 28.0), (0.5, 20.0), (0.9, 22.0), (1.0, 30.0)),
    transfer_J_per_mol=28_000.0,
    leak_per_month=0.02,
    cold_loss=((-40.0, 0.30), (-20.0, 0.15), (0.0, 0.04), (25.0, 0.0)),
    ageing=_AGEING_NFPP,
)

CELLS = {"sodium": _SODIUM, "lfp": _LFP, "nfpp": _NFPP, "prada": PRADA}


# Potential of the positive electrode against Na/Na+ over the SoC of the cell: judgement. Layered oxide: slopes around
# 3.1 V, so that the cell has the nominal 3.05 V of TOB-18650-C-Na. NFPP: steps between 2.9 and 3.3 V in the window of
# 1.8 to 3.8 V that doi:10.1039/D4TA03554B states for the material.
_POSITIVE_V: dict[str, Knots] = {
    "sodium": (
        (0.0, 2.714), (0.1, 2.98), (0.2, 3.04), (0.3, 3.08), (0.4, 3.09), (0.5, 3.13), (0.6, 3.22), (0.7, 3.36),
        (0.8, 3.50), (0.9, 3.66), (1.0, 3.99),
    ),
    "nfpp": (
        (0.0, 2.414), (0.05, 2.75), (0.1, 2.86), (0.3, 2.96), (0.5, 3.04), (0.7, 3.16), (0.85, 3.26), (0.95, 3.42),
        (1.0, 3.69),
    ),
}  # fmt: skip
_HARD_CARBON_EMPTY = 0.05  # the balance of the electrodes leaves 5 % of the hard carbon's curve unused: judgement
_POINTS = 201


def _columns(name: str) -> dict[str, Array]:
    with (_DATA / name).open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def _lfp_curve(voltage_min_V: float) -> tuple[Array, Array]:
    """Prada2013, cut at the lower voltage limit: SoC 0 is at that voltage. A stretched curve would move the plateau."""
    table = _columns("ocv_lfp.csv")
    empty = float(np.interp(voltage_min_V, table["ocv_v"], table["soc"]))
    soc = np.linspace(0.0, 1.0, _POINTS)
    return soc, np.interp(empty + soc * (1 - empty), table["soc"], table["ocv_v"])


def _lfp_other(voltage_min_V: float) -> tuple[Array, Array]:
    """OCV of the Sony US26650FTC1 by Naumann's function (thesis, TU Munich 2018), cut at the lower voltage limit."""
    soc = np.linspace(0.0, 1.0, 2 * _POINTS)
    volts = (
        2.0020
        - 3.3160 / (1 + np.exp(-116.2064 * (soc + 0.1572)))
        + 4.9996 / (1 + np.exp(-22.4512 * (soc + 0.0944)))
        - 0.4574 / (1 + np.exp(358.9072 * (soc - 1)))
        - 1.3646 / (1 + np.exp(499.9994 * soc))
        + 0.1251 * soc
    )
    empty = float(np.interp(voltage_min_V, volts, soc))
    even = np.linspace(0.0, 1.0, _POINTS)
    return even, np.interp(empty + even * (1 - empty), soc, volts)


def _sodium_curve(name: str) -> tuple[Array, Array]:
    """The positive electrode against measured hard carbon (Chayambuka2022, doi:10.1016/j.electacta.2021.139764)."""
    table = _columns("ocv_sodium.csv")
    soc = np.linspace(0.0, 1.0, _POINTS)
    positive = np.interp(soc, *np.array(_POSITIVE_V[name]).T)
    inner = _HARD_CARBON_EMPTY + (1 - _HARD_CARBON_EMPTY) * soc
    return soc, positive - np.interp(inner, table["soc"], table["u_neg_v"])


def _stretched(volts: Array, voltage_min_V: float, voltage_max_V: float) -> Array:
    span: Array = (volts - volts[0]) / (volts[-1] - volts[0])
    return voltage_min_V + span * (voltage_max_V - voltage_min_V)


@cache
def ocv_curve(name: str, voltage_min_V: float, voltage_max_V: float, other: bool = False) -> tuple[Array, Array]:
    """(SoC 0..1, V) at 25 °C of the cell `name` with a voltage window in V.

    other: a second source, for a plant that differs from the first one: Naumann's LFP cell, and for sodium the NVPF
    cell of Chayambuka2022, which is far from both sodium chemistries.
    """
    if name == "prada":
        return _lfp_curve(0.0)
    if name == "lfp":
        return _lfp_other(voltage_min_V) if other else _lfp_curve(voltage_min_V)
    if other:
        table = _columns("ocv_sodium.csv")
        return table["soc"], _stretched(table["ocv_v"], voltage_min_V, voltage_max_V)
    soc, volts = _sodium_curve(name)
    return soc, _stretched(volts, voltage_min_V, voltage_max_V)
