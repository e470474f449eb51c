"""Retained data: the words that the FRAM keeps over a power loss. This module alone packs, unpacks and checks them.

A restart must not reset a trip, forget a hot precharge resistor or close a rack that an operator has opened. Storage
copies the words and does not know their meaning; their layout is `retained_words` of rack.definitions.layouts.
"""

from array import array

from micropython import const
from rack.generated import ids as I
from rack.generated import retained_words as W
from rack.control.protect.alarm_engine import LATCHED
from rack.control.protect.precharge import QUARTERS
from rack.control.sense.soc import FULL_cpct, MAX_SOH_cpct, MIN_SOH_cpct, dAs_PER_Ah

_DEEP = const(I.ALARM_DEEP_DISCHARGE)
_ESTOP = const(I.ALARM_ESTOP)
_IS_DEEP = const(1)             # bits of W.LATCHED: a deep discharge is latched
_IS_OPENED = const(2)           # auto_close does not close
_CODE_SHIFT = const(2)          # of the first latched trip, eight bits
_CODE_MASK = const(255)
_IS_ESTOP = const(1 << 10)      # an emergency stop is latched
_IS_HELD = const(1 << 11)       # only a person at the rack closes
_IS_RETRIED = const(1 << 12)    # the EMS has released an over-current
_TRIPS_MASK = const(255)        # bits of W.TRIPS
_HEAT_SHIFT = const(8)
_MAX_Ah = const(2**29)
_MAX_LATCHED = const((1 << 13) - 1)


class Retained:
    """words: array('i') of the layout retained_words. The SoC estimator counts in it, `pack` writes the rest."""

    def __init__(self, params):
        nominal_dAs = params.cell_capacity_dAh * 3600
        self.words = array("i", [0] * W.WORDS)
        self.words[W.SOH_cpct] = FULL_cpct
        self.words[W.CHARGE_dAs] = nominal_dAs // 2
        # maximum of each word; the minimum is 0
        self._max = (
            nominal_dAs * 5 // 4, dAs_PER_Ah, _MAX_Ah, dAs_PER_Ah, _MAX_Ah, MAX_SOH_cpct, _MAX_LATCHED,
            2 * QUARTERS << _HEAT_SHIFT | _TRIPS_MASK,
        )  # fmt: skip

    def restore(self, kept, soc, alarms, contactors):
        """Take over the words that the last run kept. A word outside its range is ignored.

        A restart is not a reset: the first trip, a deep discharge and an emergency stop are latched again. Nor does a
        restart close a rack that an operator has opened, because a person may work there.
        """
        words = self.words
        for at in range(W.WORDS):
            if 0 <= kept[at] <= self._max[at]:
                words[at] = kept[at]
        words[W.SOH_cpct] = max(MIN_SOH_cpct, words[W.SOH_cpct])
        soc.restored()
        latched = words[W.LATCHED]
        if latched & _IS_DEEP:
            alarms.latch(_DEEP)
        if latched & (_IS_OPENED | _IS_HELD):
            contactors.open()
        contactors.held = latched & _IS_HELD != 0
        contactors.retried = latched & _IS_RETRIED != 0
        alarms.latch(latched >> _CODE_SHIFT & _CODE_MASK)
        if latched & _IS_ESTOP:
            alarms.latch(_ESTOP)
        contactors.restore(words[W.TRIPS] & _TRIPS_MASK, words[W.TRIPS] >> _HEAT_SHIFT)

    def pack(self, s, alarms, contactors):
        """Write latches, counted trips and the resistor's heat into the words. Scan context, does not allocate."""
        is_deep = _IS_DEEP if alarms.active[_DEEP - 1] & LATCHED else 0
        bits = _IS_OPENED if contactors.opened() else 0
        if alarms.active[_ESTOP - 1] & LATCHED:
            bits |= _IS_ESTOP
        if contactors.held:
            bits |= _IS_HELD
        if contactors.retried:
            bits |= _IS_RETRIED
        self.words[W.LATCHED] = s[I.TRIP_CODE] << _CODE_SHIFT | bits | is_deep
        self.words[W.TRIPS] = contactors.kept_heat() << _HEAT_SHIFT | s[I.TRIPS]
