"""Cell voltages: extremes, sum, and two faults that only a comparison of cells shows.

A single cell outside its window is dangerous. An open sense wire makes one cell read low and its neighbour high by
the same amount, and must not pass for a pair of odd cells. A cell that falls by a quarter while the rack does not is
one of the two signs of thermal runaway. GB 38031 requires a quarter "of the initial voltage": here the initial
voltage is that of the cell 30 to 60 s ago.
"""

from array import array

import micropython
from micropython import const
from rack.generated import cell_statistics as O
from rack.generated import ids as I
from rack.base.viper import ptr16, ptr32

_DROP_PERIOD_ms = const(30_000)  # the reference is one to two periods old: engineering judgement


@micropython.viper
def _statistics(cells: ptr32, count: int, wire_mV: int, output: ptr32):
    """Write the layout cell_statistics.

    wire_mV: two neighbours this far from the mean in opposite directions are an open wire.
    """
    high = cells[0]
    low = high
    high_at = 0
    low_at = 0
    total = 0
    cell = 0
    while cell < count:
        voltage = cells[cell]
        total += voltage
        if voltage > high:
            high = voltage
            high_at = cell
        if voltage < low:
            low = voltage
            low_at = cell
        cell += 1
    output[O.MAX] = high
    output[O.MAX_AT] = high_at
    output[O.MIN] = low
    output[O.MIN_AT] = low_at
    output[O.SUM] = total
    mean = total // count
    output[O.MEAN] = mean
    wires = 0
    wire_at = -1
    if high - low > wire_mV:
        cell = 1
        while cell < count:
            lower = cells[cell - 1] - mean
            upper = cells[cell] - mean
            if (lower > wire_mV and upper < 0 - wire_mV) or (upper > wire_mV and lower < 0 - wire_mV):
                wires += 1
                if wire_at < 0:
                    wire_at = cell
            cell += 1
    output[O.WIRES] = wires
    output[O.WIRE_AT] = wire_at


@micropython.viper
def _drop(cells: ptr32, reference: ptr16, count: int, keep_pct: int, mean: int) -> int:
    """First cell below keep_pct of its own reference and of the mean, or -1."""
    cell = 0
    while cell < count:
        voltage = cells[cell] * 100
        before = int(reference[cell])
        if before > 32767:          # a viper load of 16 bits is unsigned
            before -= 65536
        if voltage < before * keep_pct and voltage < mean * keep_pct:
            return cell
        cell += 1
    return -1


@micropython.viper
def _remember(cells: ptr32, recent: ptr16, old: ptr16, count: int):
    """The recent reference becomes the old one, the cells become the recent one."""
    cell = 0
    while cell < count:
        old[cell] = recent[cell]
        recent[cell] = cells[cell]
        cell += 1


class Cells:
    """Statistics of `cells_mV` into the process image; call `arrived` after each complete scan."""

    def __init__(self, params, s, cells_mV):
        self._s = s
        self._cells = cells_mV
        self._n = params.cell_series
        self._wire_mV = params.plausible_wire_mV
        self._keep_pct = 100 - params.runaway_drop_pct
        self._out = array("i", [0] * O.WORDS)
        self._old = array("h", [0] * self._n)      # the drop's reference
        self._recent = array("h", [0] * self._n)   # the next one
        self._ms = 0
        middle = (params.cell_voltage_min_mV + params.cell_voltage_max_mV) // 2
        s[I.CELL_MAX_mV] = s[I.CELL_MIN_mV] = s[I.CELL_MEAN_mV] = middle  # until the first scan, see AGE_NEVER
        s[I.CELL_SUM_dV] = middle * self._n // 100
        s[I.CELL_DROP_AT] = s[I.WIRE_OPEN_AT] = -1

    def arrived(self):
        """Evaluate a complete, CRC-checked scan of every cell. Does not allocate."""
        s = self._s
        out = self._out
        _statistics(self._cells, self._n, self._wire_mV, out)
        s[I.CELL_MAX_mV] = out[O.MAX]
        s[I.CELL_MAX_AT] = out[O.MAX_AT]
        s[I.CELL_MIN_mV] = out[O.MIN]
        s[I.CELL_MIN_AT] = out[O.MIN_AT]
        s[I.CELL_SPREAD_mV] = out[O.MAX] - out[O.MIN]
        s[I.CELL_SUM_dV] = out[O.SUM] // 100
        s[I.CELL_MEAN_mV] = out[O.MEAN]
        s[I.WIRES_OPEN] = out[O.WIRES]
        s[I.WIRE_OPEN_AT] = out[O.WIRE_AT]
        s[I.CELL_DROP_AT] = _drop(self._cells, self._old, self._n, self._keep_pct, out[O.MEAN])

    def slot(self, ms):
        """Renew the drop's reference, unless a cell has dropped; ms since the last call."""
        if self._ms < _DROP_PERIOD_ms:      # a dropped cell may stay for weeks: the time must not leave 31 bits
            self._ms += ms
        if self._ms >= _DROP_PERIOD_ms and self._s[I.CELL_DROP_AT] < 0:
            self._ms = 0
            _remember(self._cells, self._recent, self._old, self._n)
