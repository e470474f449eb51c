"""Fit the equivalent circuit of the simulated LFP cell to PyBaMM, and judge it on profiles that the fit has not seen.

With fixed time constants and a fixed activation energy every resistance enters the voltage linearly, except for the
charge transfer, whose asinh is linearised again in each round. Non-negative least squares therefore finds the knots.
"""

from itertools import pairwise

import numpy as np

from halite.bench.pybamm_cell import HELD_OUT, TRAIN, CAPACITY_Ah, TEMPERATURES_degC, Trace, open_circuit, pybamm, trace
from halite.common.paths import ROOT
from halite.plant.cells import Cells
from halite.plant.chemistries import FARADAY_C_PER_MOL, GAS_J_PER_MOL_K, PRADA, Array, ocv_curve
from halite.plant.parameters import one_cell

_DATA = ROOT / "host_tools" / "halite" / "plant" / "data"
KNOTS = np.linspace(0.10, 0.90, 17)
_COLUMNS = ("ohm", "transfer", "pair1", "pair2")
_FIT_SOC = (0.12, 0.88)
JUDGED_SOC = (0.20, 0.80)
_ROUNDS = 12
_EVERY = 5  # rows of the least squares: one in 5 s
_SMOOTH = 1e-4  # weight of the second differences of the knots, in ohm
_OCV_HEADER = """\
# LFP/graphite cell without hysteresis and temperature term, 25 degC: written by `halite dev fit-cell`
# source: PyBaMM {version} (BSD-3-Clause), set Prada2013 (A123 26650, 2.3 Ah): LFP of Afshar2017 (arXiv:1709.03970),
# graphite of Chen2020 (JES 167 080534), between the electrode limits at 2.0 V and 3.6 V
soc,ocv_v
"""
_HEADER = """\
# LFP cell, mohm Ah over SoC: fitted by `halite dev fit-cell` to PyBaMM {version}, Prada2013, SPMe, -20 to 45 degC
# transfer at 25 degC, with 35 kJ/mol and 2RT/F asinh; pair1 40 s, pair2 350 s; the other parts without temperature
soc,ohm,transfer,pair1,pair2
"""


def _hats(soc: Array) -> Array:
    """Weight of each knot at each SoC; the end knots hold outside."""
    at = np.clip((soc - KNOTS[0]) / (KNOTS[1] - KNOTS[0]), 0, len(KNOTS) - 1 - 1e-9)
    left = at.astype(int)
    rows = np.arange(len(soc))
    weights = np.zeros((len(soc), len(KNOTS)))
    weights[rows, left] = 1 - (at - left)
    weights[rows, left + 1] = at - left
    return weights


def _filtered(current_A: Array, tau_s: float) -> Array:
    """Current through the resistor of a pair, for steps of 1 s."""
    keep = np.exp(-1.0 / tau_s)
    out = np.zeros_like(current_A)
    for at in range(len(current_A) - 1):
        out[at + 1] = out[at] * keep + 0.5 * (current_A[at] + current_A[at + 1]) * (1 - keep)
    return out


def _rows(run: Trace, transfer_ohm: Array) -> tuple[Array, Array]:
    """Matrix and right side of the least squares of one trace, linearised at the present charge transfer."""
    kelvin = run.degC + 273.15
    hats, current = _hats(run.soc), run.current_A
    thermal_V = 2 * GAS_J_PER_MOL_K * kelvin / FARADAY_C_PER_MOL
    cold = np.exp(PRADA.transfer_J_per_mol / GAS_J_PER_MOL_K * (1 / kelvin - 1 / 298.15))
    drive = np.abs(current) * (hats @ transfer_ohm) * cold / thermal_V
    bend = np.where(drive > 1e-9, np.arcsinh(drive) / np.maximum(drive, 1e-9), 1.0)
    parts = (current, current * cold * bend, _filtered(current, PRADA.pair1_s), _filtered(current, PRADA.pair2_s))
    matrix = np.hstack([hats * part[:, None] for part in parts])
    used = (run.soc > _FIT_SOC[0]) & (run.soc < _FIT_SOC[1])
    open_V = np.interp(run.soc, *ocv_curve("prada", 2.0, 3.6))
    return matrix[used][::_EVERY], (open_V - run.volts)[used][::_EVERY]


def _least_squares(matrix: Array, right: Array) -> Array:
    """Non-negative least squares over the normal equations."""
    from scipy.optimize import nnls

    square = matrix.T @ matrix
    lower = np.linalg.cholesky(square + 1e-12 * np.eye(len(square)))
    found: Array = nnls(lower.T, np.linalg.solve(lower, matrix.T @ right))[0]
    return found


def fit(runs: list[Trace]) -> Array:
    """Resistances in ohm, one row for each column of the table, one entry for each knot."""
    count = len(KNOTS)
    bends = np.kron(np.eye(len(_COLUMNS)), np.diff(np.eye(count), 2, axis=0))
    transfer_ohm = np.full(count, 0.02)
    found = np.zeros(count * len(_COLUMNS))
    for _ in range(_ROUNDS):
        parts = [_rows(run, transfer_ohm) for run in runs]
        matrix, right = np.vstack([m for m, _ in parts]), np.concatenate([r for _, r in parts])
        smooth = bends * np.sqrt(_SMOOTH * len(right))
        found = _least_squares(np.vstack([matrix, smooth]), np.concatenate([right, np.zeros(len(smooth))]))
        transfer_ohm = np.maximum(found[count : 2 * count], 1e-4)
    return found.reshape(len(_COLUMNS), count)


def write() -> None:
    """Take the OCV from PyBaMM, run the training profiles, fit the circuit and write both tables. Takes three minutes.

    The OCV comes first: the fit reads its table.
    """
    version = pybamm().__version__
    soc, volts = open_circuit()
    rows = [f"{at:.3f},{value:.5f}" for at, value in zip(soc, volts, strict=True)]
    _save("ocv_lfp.csv", _OCV_HEADER.format(version=version), rows)
    ocv_curve.cache_clear()
    runs = [trace(name, TRAIN, degC) for degC in TEMPERATURES_degC for name in TRAIN]
    mohm_ah = fit(runs) * CAPACITY_Ah * 1e3
    rows = [f"{at:.2f}," + ",".join(f"{value:.2f}" for value in column)
            for at, column in zip(KNOTS, mohm_ah.T, strict=True)]  # fmt: skip
    _save("circuit_lfp.csv", _HEADER.format(version=version), rows)


def _save(name: str, header: str, rows: list[str]) -> None:
    (_DATA / name).write_text(header + "\n".join(rows) + "\n", encoding="utf-8")


def plant_volts(run: Trace) -> Array:
    """Terminal voltage of the plant's own cell over a trace, at the trace's temperature."""
    cells = Cells(one_cell("prada", CAPACITY_Ah, 2.0, 3.6), 0.5, run.degC, np.random.default_rng(1), spread=0.0)
    cells.set_soc(float(run.soc[0]))
    degC = np.full(1, run.degC)
    volts = np.empty(len(run.current_A))
    cells.linearise(float(run.current_A[0]))
    volts[0] = cells.voltages(float(run.current_A[0]))[0]
    for at, (before_A, after_A) in enumerate(pairwise(run.current_A), start=1):
        cells.step_charge(0.5 * (before_A + after_A), 1.0, degC)
        cells.linearise(float(after_A))
        volts[at] = cells.voltages(float(after_A))[0]
    return volts


def error_mV(run: Trace, volts: Array) -> float:
    """Root mean square error in mV where the SoC is within JUDGED_SOC."""
    judged = (run.soc >= JUDGED_SOC[0]) & (run.soc <= JUDGED_SOC[1])
    return float(1e3 * np.sqrt(np.mean((volts - run.volts)[judged] ** 2)))


def held_out() -> list[tuple[Trace, Array, float]]:
    """Each held-out trace with the plant's voltage and its error in mV rms."""
    runs = [trace(name, HELD_OUT, degC) for degC in TEMPERATURES_degC for name in HELD_OUT]
    return [(run, volts, error_mV(run, volts)) for run in runs for volts in [plant_volts(run)]]
