"""Words in RAM that never change after the start: parameters, tables, and the copies that kernels read.

A bit that flips in one of them moves a trip level or hides an alarm. Each turn checks a piece against the sum that was
taken at the start, so that every word is read again within _ROUND_ms. The alarm `config_bad` trips.
"""

from array import array

import micropython
from micropython import const
from rack.generated import controller_slots as S
from rack.generated import ids as I
from rack.base.viper import ptr32

_ROUND_ms = const(9_000)        # below the 10 s of the bar by a tenth: engineering judgement
_VALUES = const(8)              # parameters in a piece


@micropython.viper
def _sum(words: ptr32, at: int, end: int, total: int) -> int:
    """Add words to a sum of 24 bits, which a single flipped bit always changes: 31 has no common factor with 2**24."""
    while at < end:
        word = words[at]
        total = (total * 31 + (word & 0xFFFF)) & 0xFFFFFF
        total = (total * 31 + ((word >> 16) & 0xFFFF)) & 0xFFFFFF
        at += 1
    return total


class MemoryGuard:
    """spans: (array('i'), first word, end) of words that never change. Built after every other part."""

    def __init__(self, params, s, spans):
        self._s = s
        self._p = params
        values = params.__dict__
        self._names = tuple([name for name in values if isinstance(values[name], int)])
        self._spans = tuple([(each, 0, len(each)) for each in values.values() if isinstance(each, array)]) + spans
        self._pieces = len(self._spans) + (len(self._names) + _VALUES - 1) // _VALUES
        turns = max(1, _ROUND_ms // (S.SLOTS * params.rack_scan_ms))
        self._in_turn = (self._pieces + turns - 1) // turns
        self._next = 0
        self._sums = array("i", [0] * self._pieces)
        for piece in range(self._pieces):
            self._sums[piece] = self._sum_of(piece)

    def slot(self):
        """Check the next pieces; a slot of the scan. Does not allocate."""
        for _ in range(self._in_turn):
            piece = self._next if self._next < self._pieces else 0
            if self._sum_of(piece) != self._sums[piece]:
                self._s[I.CONFIG_BAD] = 1
            self._next = piece + 1

    def _sum_of(self, piece):
        if piece < len(self._spans):
            words, first, end = self._spans[piece]
            return _sum(words, first, end, piece)
        first = (piece - len(self._spans)) * _VALUES
        total = piece
        for at in range(first, min(first + _VALUES, len(self._names))):
            value = getattr(self._p, self._names[at])
            total = (total * 31 + (value & 0xFFFF)) & 0xFFFFFF
            total = (total * 31 + ((value >> 16) & 0xFFFF)) & 0xFFFFFF
        return total
