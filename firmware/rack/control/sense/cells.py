"""Cell voltages at a glance: extremes, sum, and two faults that only the neighbours show.

A single cell outside its window is what burns; an open sense wire makes one cell read low and
its neighbour high by the same amount, and must not pass for a pair of odd cells. A cell that
falls by a quarter while the rack does not is one of the two signs of thermal runaway. GB 38031 says a quarter "of the
initial voltage": initial is here what the cell had 30 to 60 s ago.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.base.viper import ptr16, ptr32

_MAX = const(0)
_MAX_AT = const(1)
_MIN = const(2)
_MIN_AT = const(3)
_SUM = const(4)
_MEAN = const(5)
_WIRES = const(6)
_WIRE_AT = const(7)

_DROP_PERIOD_ms = const(30_000)  # the reference is one to two of these old: engineering judgement


@micropython.viper
def _statistics(cells, n: int, wire_mV: int, out):
    c = ptr32(cells)
    o = ptr32(out)
    high = c[0]
    low = high
    high_at = 0
    low_at = 0
    total = 0
    i = 0
    while i < n:
        x = c[i]
        total += x
        if x > high:
            high = x
            high_at = i
        if x < low:
            low = x
            low_at = i
        i += 1
    o[_MAX] = high
    o[_MAX_AT] = high_at
    o[_MIN] = low
    o[_MIN_AT] = low_at
    o[_SUM] = total
    mean = total // n
    o[_MEAN] = mean
    wires = 0
    wire_at = -1
    if high - low > wire_mV:
        i = 1
        while i < n:
            x = c[i - 1] - mean
            y = c[i] - mean
            if (x > wire_mV and y < 0 - wire_mV) or (y > wire_mV and x < 0 - wire_mV):
                wires += 1
                if wire_at < 0:
                    wire_at = i
            i += 1
    o[_WIRES] = wires
    o[_WIRE_AT] = wire_at


@micropython.viper
def _drop(cells, reference, n: int, keep_pct: int, mean: int) -> int:
    """First cell below keep_pct of its own reference and of the mean, or -1."""
    c = ptr32(cells)
    r = ptr16(reference)
    i = 0
    while i < n:
        x = c[i] * 100
        before = int(r[i])
        if before > 32767:          # a viper load of 16 bits is unsigned
            before -= 65536
        if x < before * keep_pct and x < mean * keep_pct:
            return i
        i += 1
    return -1


@micropython.viper
def _remember(cells, recent, old, n: int):
    """The recent reference becomes the old one, the cells the recent one."""
    c = ptr32(cells)
    a = ptr16(recent)
    b = ptr16(old)
    i = 0
    while i < n:
        b[i] = a[i]
        a[i] = c[i]
        i += 1


class Cells:
    """Statistics of `cells_mV` into the process image; call `arrived` after each complete scan."""

    def __init__(self, params, s, cells_mV):
        self._s = s
        self._cells = cells_mV
        self._n = params.cell_series
        self._wire_mV = params.plausible_wire_mV
        self._keep_pct = 100 - params.runaway_drop_pct
        self._out = array("i", [0] * 8)
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
        o = self._out
        _statistics(self._cells, self._n, self._wire_mV, o)
        s[I.CELL_MAX_mV] = o[_MAX]
        s[I.CELL_MAX_AT] = o[_MAX_AT]
        s[I.CELL_MIN_mV] = o[_MIN]
        s[I.CELL_MIN_AT] = o[_MIN_AT]
        s[I.CELL_SPREAD_mV] = o[_MAX] - o[_MIN]
        s[I.CELL_SUM_dV] = o[_SUM] // 100
        s[I.CELL_MEAN_mV] = o[_MEAN]
        s[I.WIRES_OPEN] = o[_WIRES]
        s[I.WIRE_OPEN_AT] = o[_WIRE_AT]
        s[I.CELL_DROP_AT] = _drop(self._cells, self._old, self._n, self._keep_pct, o[_MEAN])

    def slot(self, ms):
        """Let the drop's reference follow, unless a drop is being seen; ms since the last call."""
        self._ms += ms
        if self._ms >= _DROP_PERIOD_ms and self._s[I.CELL_DROP_AT] < 0:
            self._ms = 0
            _remember(self._cells, self._recent, self._old, self._n)
