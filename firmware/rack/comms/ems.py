"""Messages of the EMS, whichever link brings them: their bounds, and the ages that end their effect.

A setpoint that outlives its EMS would drive a rack for ever, and half a message about the pair would move the other
rack's power. So a message is applied as a whole or refused, and each restarts the EMS's age.
"""

from array import array

from micropython import const

from rack.generated import ids as I
from rack.control.sense.message_ages import arrived
from rack.control.sense.soc import FULL_cpct
from rack.definitions.codes import REFUSED_ALONE, REFUSED_PART, REFUSED_VALUE

# the values, in this order
SETPOINT = const(0)
INSULATION = const(1)
PAIR = const(2)             # four: both states of charge, out, shortfall; only together
VALUES = const(6)

_SIGNALS = bytes((I.SETPOINT_W, I.INSULATION_KOHM, I.PAIR_HIGH_cpct, I.PAIR_LOW_cpct, I.PAIR_OUT, I.PAIR_SHORT_W))
_INSULATION_kohm = const(1_000_000)


class Ems:
    """values: a link writes them here before `apply`; minimum, maximum: their bounds. Its methods do not allocate."""

    def __init__(self, params, s):
        power, pair = params.rack_power_max_W, params.pair_power_W
        self._s = s
        self._paired = params.pair_role != 0
        self.values = array("i", [0] * VALUES)
        self.minimum = array("i", (-power, 0, 0, 0, 0, -pair))
        self.maximum = array("i", (power, _INSULATION_kohm, FULL_cpct, FULL_cpct, 1, pair))

    def apply(self, first, end):
        """Apply values[first:end] to the process image. Returns 0; or REFUSED_*, and no signal changes. Main loop."""
        if end > PAIR:
            if not self._paired:
                return REFUSED_ALONE
            if first > PAIR or end < VALUES:
                return REFUSED_PART
        values = self.values
        for at in range(first, end):
            if not self.minimum[at] <= values[at] <= self.maximum[at]:
                return REFUSED_VALUE
        s = self._s
        for at in range(first, end):
            s[_SIGNALS[at]] = values[at]
        if first <= INSULATION < end:
            arrived(s, I.INSULATION_AGE_ms)
        if end > PAIR:
            arrived(s, I.PAIR_AGE_ms)
        self.alive()
        return 0

    def alive(self):
        """Restart the age of the EMS."""
        arrived(self._s, I.EMS_AGE_ms)
