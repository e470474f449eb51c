"""What the EMS says, whichever link brings it: one copy of the bounds, and of what its silence ends.

A setpoint that outlives the EMS that gave it would drive a rack for ever, and half a word about the pair would move
the other rack's power. So words are taken whole or not at all, and each starts the EMS's age anew.
"""

from array import array

from micropython import const

from rack.generated import ids as I
from rack.control.sense.message_ages import arrived
from rack.definitions.codes import REFUSED_ALONE, REFUSED_PART, REFUSED_VALUE

# the words, in this order
SETPOINT = const(0)
INSULATION = const(1)
PAIR = const(2)             # four: both states of charge, out, short
WORDS = const(6)

_SIGNALS = bytes((I.SETPOINT_W, I.INSULATION_KOHM, I.PAIR_HIGH_cpct, I.PAIR_LOW_cpct, I.PAIR_OUT, I.PAIR_SHORT_W))
_FULL_cpct = const(10_000)
_INSULATION_kohm = const(1_000_000)


class Ems:
    """values: where a link puts words before `say`; least, most: their bounds. Nothing here allocates once made."""

    def __init__(self, params, s):
        power, pair = params.rack_power_max_W, params.pair_power_W
        self._s = s
        self._paired = params.pair_role != 0
        self.held = False       # opened on the console: an EMS that repeats its `close` must not close on a person
        self.values = array("i", [0] * WORDS)
        self.least = array("i", (-power, 0, 0, 0, 0, -pair))
        self.most = array("i", (power, _INSULATION_kohm, _FULL_cpct, _FULL_cpct, 1, pair))

    def say(self, first, end):
        """Take values[first:end]; 0, or REFUSED_* and nothing is changed. Main loop."""
        if end > PAIR:
            if not self._paired:
                return REFUSED_ALONE
            if first > PAIR or end < WORDS:
                return REFUSED_PART
        values = self.values
        for at in range(first, end):
            if not self.least[at] <= values[at] <= self.most[at]:
                return REFUSED_VALUE
        s = self._s
        for at in range(first, end):
            s[_SIGNALS[at]] = values[at]
        if end > PAIR:
            arrived(s, I.PAIR_AGE_ms)
        self.heard()
        return 0

    def heard(self):
        """The EMS lives: its silence is counted from now."""
        arrived(self._s, I.EMS_AGE_ms)
