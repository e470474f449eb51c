"""One step of every cell as kernels: charge, RC pairs and hysteresis; voltages at a current; heat.

The cells lie in three tables with a column for each cell. Their rows are the constants below.
"""

import math

import numpy as np
from numpy.typing import NDArray

from halite.common import jit
from halite.plant.chemistries import Array

# State of the cells.
SOC, HYSTERESIS, PAIR1_A, PAIR2_A, MOVED = range(5)  # MOVED: sum of the absolute changes of SoC
STATE_ROWS = 5
# Circuit at the present SoC, temperature and age.
CAPACITY_As, LEAK_A, OHM, TRANSFER, PAIR1, PAIR2, BEND_PER_A, HALF_GAP_V, OCV_SHIFT_V, REVERSIBLE_V = range(10)
CIRCUIT_ROWS = 10
# Values of the last step.
OCV_V, RESISTANCE, SOURCE_V, ASIDE_A, DROP_V, PAIR1_A2, PAIR2_A2 = range(7)
NOW_ROWS = 7

# Outside 0..1 the voltage of a cell leaves the curve steeply: 10 V per unit of SoC (judgement).
_OUTSIDE_V = 10.0
_REST_A = 1e-9  # keeps the bend of the charge transfer defined without current

Table = Array  # two dimensions: rows as above, a column for each cell
Places = NDArray[np.intp]


@jit.part
def _curve_V(curve_V: Array, soc: float) -> float:
    """Open-circuit voltage at 25 °C from equal steps of SoC over 0..1."""
    inside = min(max(soc, 0.0), 1.0)
    place = inside * (len(curve_V) - 1)
    left = min(int(place), len(curve_V) - 2)
    return float(curve_V[left] + (place - left) * (curve_V[left + 1] - curve_V[left]) + _OUTSIDE_V * (soc - inside))


@jit.part
def _pair(current_A: float, pair_A: float, linear: float, square: float) -> float:
    """Mean square current in A² through the resistor of an RC pair over a step."""
    away = pair_A - current_A
    return current_A * (current_A + linear * away) + square * (away * away)


@jit.kernel
def move(mean_A: float, dt_s: float, rate: float, factors: Array, state: Table, circuit: Table, now: Table) -> float:
    """Advance charge, RC pairs and hysteresis by dt_s at mean_A and the cells' own ASIDE_A; returns the largest move.

    rate: of the hysteresis. factors: keep, linear and square of pair 1, then of pair 2. The move is a share of SoC.
    """
    largest = 0.0
    for cell in range(state.shape[1]):
        current_A = mean_A + now[ASIDE_A, cell]
        moved = current_A * (dt_s / circuit[CAPACITY_As, cell])
        swing = abs(moved)
        state[SOC, cell] -= moved
        state[MOVED, cell] += swing
        now[PAIR1_A2, cell] = _pair(current_A, state[PAIR1_A, cell], factors[1], factors[2])
        now[PAIR2_A2, cell] = _pair(current_A, state[PAIR2_A, cell], factors[4], factors[5])
        state[PAIR1_A, cell] = current_A + factors[0] * (state[PAIR1_A, cell] - current_A)
        state[PAIR2_A, cell] = current_A + factors[3] * (state[PAIR2_A, cell] - current_A)
        branch = -1.0 if current_A > 0.0 else 1.0 if current_A < 0.0 else 0.0
        state[HYSTERESIS, cell] = branch + (state[HYSTERESIS, cell] - branch) * math.exp(-rate * swing)
        largest = max(largest, swing)
    return float(largest)


@jit.part
def _source_V(state: Table, circuit: Table, now: Table, cell: int) -> float:
    """Terminal voltage of a cell without string current."""
    pairs_V = circuit[PAIR1, cell] * state[PAIR1_A, cell] + circuit[PAIR2, cell] * state[PAIR2_A, cell]
    own_V = now[ASIDE_A, cell] * now[RESISTANCE, cell]
    gap_V = state[HYSTERESIS, cell] * circuit[HALF_GAP_V, cell]
    return float(now[OCV_V, cell] + gap_V - pairs_V - own_V - now[DROP_V, cell])


@jit.kernel
def settle(mean_A: float, curve_V: Array, state: Table, circuit: Table, now: Table) -> tuple[float, float]:
    """Take OCV, resistance and source voltage of each cell at mean_A; returns source and resistance of the string.

    The resistance of the charge transfer falls above 2RT/F. curve_V: OCV at 25 °C over SoC 0..1.
    """
    source_V = ohm = 0.0
    for cell in range(state.shape[1]):
        now[OCV_V, cell] = _curve_V(curve_V, state[SOC, cell]) + circuit[OCV_SHIFT_V, cell]
        drive = (mean_A + now[ASIDE_A, cell]) * circuit[BEND_PER_A, cell] + _REST_A
        now[RESISTANCE, cell] = circuit[OHM, cell] + circuit[TRANSFER, cell] * (math.asinh(drive) / drive)
        now[SOURCE_V, cell] = _source_V(state, circuit, now, cell)
        source_V += now[SOURCE_V, cell]
        ohm += now[RESISTANCE, cell]
    return float(source_V), float(ohm)


@jit.kernel
def sources(state: Table, circuit: Table, now: Table) -> float:
    """Take the source voltage of each cell again after a change of DROP_V; returns that of the string."""
    total_V = 0.0
    for cell in range(state.shape[1]):
        now[SOURCE_V, cell] = _source_V(state, circuit, now, cell)
        total_V += now[SOURCE_V, cell]
    return float(total_V)


@jit.kernel
def warm(mean_A: float, state: Table, circuit: Table, now: Table, position_of: Places, heat_W: Array) -> None:
    """Fill heat_W with the heat of the cells of each position: resistances, pairs, hysteresis, leak, reversible."""
    for position in range(len(heat_W)):
        heat_W[position] = 0.0
    for cell in range(state.shape[1]):
        current_A = mean_A + now[ASIDE_A, cell]
        turned_V = circuit[HALF_GAP_V, cell] * state[HYSTERESIS, cell] + circuit[REVERSIBLE_V, cell]
        watts = (now[RESISTANCE, cell] * current_A - turned_V) * current_A + circuit[LEAK_A, cell] * now[OCV_V, cell]
        watts += circuit[PAIR1, cell] * now[PAIR1_A2, cell] + circuit[PAIR2, cell] * now[PAIR2_A2, cell]
        heat_W[position_of[cell]] += watts
