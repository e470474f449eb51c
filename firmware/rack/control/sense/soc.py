"""State of charge by counting, anchored only where the open-circuit voltage can tell.

A wrong SoC overfills or empties cells although every voltage still looks right. The counter loses
nothing: it is kept in 0.1 A ms with every remainder carried. At rest the OCV table corrects it, but
only where its slope allows: on LFP's plateau one millivolt of error is 2.5 % of charge.

What is seen is counted from the current of each scan: the sensor's gain is good to 0.05 % and the board's
crystal to far less. The sensor's own accumulator runs on an oscillator of 0.5 %, charge good to 1 % (INA228
data sheet, SLYS021A), but it also counts while nobody can read it: it has the word on what was not seen.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.base.viper import ptr32
from rack.control.interpolate import interpolate, ratio

_FULL_cpct = const(10_000)
_dAs_PER_Ah = const(36_000)
_SECOND_ms = const(1000)
_SILENT_ms = const(5000)        # a current or a voltage this old proves no rest: engineering judgement
_LEARN_cpct = const(4_000)      # two anchors must be this far apart to tell the capacity: engineering judgement
_SOH_LEAST_cpct = const(3_000)
_MOST_dA = const(20_000)        # no rack has more
_APART_ms = const(20)           # accumulator and scan are read so far apart, conversion time included
_UNSEEN_MOST_ms = const(1_000_000)

# what is kept over a loss of power, `retained`
KEEP_CHARGE_dAs = const(0)      # charge in the cells
KEEP_IN_dAs = const(1)          # charged, below 1 Ah
KEEP_IN_Ah = const(2)
KEEP_OUT_dAs = const(3)
KEEP_OUT_Ah = const(4)
KEEP_SOH_cpct = const(5)
KEEP_LATCHED = const(6)         # bit 0: deep discharge latched; 1: opened by an operator; from 2 on the first trip
KEEP_TRIPS = const(7)           # counted trips; from bit 8 on the quarters of the precharge resistor's budget it holds
KEEP_WORDS = const(8)
_HEAT_MOST = const(8)           # quarters, as Contactors.kept_heat tells them


@micropython.viper
def _area(table, ints: int, soc_cpct: int) -> int:
    """Area under the OCV curve from empty to soc_cpct, 0.01 % mV: below 5e7."""
    t = ptr32(table)
    area = 0
    at = 2
    while at < ints and t[at - 2] < soc_cpct:
        x = t[at]
        if x > soc_cpct:
            x = soc_cpct
        y = int(interpolate(table, ints, x))
        area += (x - t[at - 2]) * (t[at - 1] + y) // 2
        at += 2
    return area


class Charge:
    """`scan` counts; `slot` derives SoC, SoE, SoH and cycles, and anchors. Does not allocate."""

    def __init__(self, params, s):
        self._s = s
        self._p = params
        self._nominal_dAs = params.cell_capacity_dAh * 3600
        self.retained = k = array("i", [0] * KEEP_WORDS)
        k[KEEP_SOH_cpct] = _FULL_cpct
        k[KEEP_CHARGE_dAs] = self._nominal_dAs // 2
        self._rest_dAms = 0     # remainder of the counter, 0..999
        self._counted_dAs = 0   # since the accumulator was last read
        self._unseen_ms = 0     # of that time without an answer of the sensor
        self._quiet_ms = 0      # at rest for
        self._rest_dA = params.soc_rest_dA
        self._ms = 0            # since the last anchoring step
        self._turn = 0          # of `slot`
        self._ocv = params.cell_ocv
        # the same knots over voltage
        self._by_mV = array("i", [0] * len(self._ocv))
        for at in range(0, len(self._ocv), 2):
            self._by_mV[at] = self._ocv[at + 1]
            self._by_mV[at + 1] = self._ocv[at]
        self._energy_full = self._energy(_FULL_cpct)
        self._anchor_cpct = -1  # SoC of the last anchor, -1 none
        self._since_dAs = 0     # charge counted since then
        self.derive()

    def restore(self, retained):
        """Take what was kept over the power loss, word by word; a value outside its range is not taken."""
        k = self.retained
        most = (self._nominal_dAs * 5 // 4, _dAs_PER_Ah, 2**29, _dAs_PER_Ah, 2**29, 12_000, 1023, _HEAT_MOST << 8 | 255)
        for at in range(KEEP_WORDS):
            if 0 <= retained[at] <= most[at]:
                k[at] = retained[at]
        k[KEEP_SOH_cpct] = max(_SOH_LEAST_cpct, k[KEEP_SOH_cpct])
        k[KEEP_CHARGE_dAs] = min(k[KEEP_CHARGE_dAs], self.capacity_dAs())
        self.derive()

    def capacity_dAs(self):
        """Present capacity, 0.1 As."""
        return self._nominal_dAs // _FULL_cpct * self.retained[KEEP_SOH_cpct] + (
            self._nominal_dAs % _FULL_cpct * self.retained[KEEP_SOH_cpct] // _FULL_cpct
        )

    def scan(self, dt):
        """Count the present current over dt ms, up to 1000; a current beyond 2000 A counts as 2000 A.

        A current that is not seen counts as it was, and as none once no contactor is held.
        """
        s = self._s
        current = s[I.CURRENT_dA]
        unseen = s[I.CURRENT_AGE_ms] > 0
        if unseen:
            if self._unseen_ms < _UNSEEN_MOST_ms:
                self._unseen_ms += dt
            if not s[I.COILS]:
                current = 0
                unseen = False      # at rest all the same
        if current > _MOST_dA:
            current = _MOST_dA
        elif current < -_MOST_dA:
            current = -_MOST_dA
        product = self._rest_dAms + current * dt
        moved = product // 1000
        self._rest_dAms = product % 1000
        if moved:
            self._move(moved)
        rest = self._rest_dA
        known = s[I.CURRENT_AGE_ms] < _SILENT_ms and s[I.CELLS_AGE_ms] < _SILENT_ms
        if known and -rest <= current <= rest and not unseen:
            if self._quiet_ms < 2**28:
                self._quiet_ms += dt
        else:
            self._quiet_ms = 0

    def metered(self, dAs, whole):
        """About once a second: what the sensor's own accumulator has counted since the last call, 0.1 As.

        whole: it has counted all that time, 0: it was cleared in between. If every scan saw its current, the
        count stands; else the accumulator corrects it, as long as what nobody saw can explain the difference.
        """
        gap = dAs - self._counted_dAs
        most = (self._unseen_ms + _APART_ms) * (_MOST_dA // 1000)
        if whole and self._unseen_ms and -most <= gap <= most:
            self._move(gap)
        self._counted_dAs = 0
        self._unseen_ms = 0

    def _move(self, moved):
        """moved: 0.1 As out of the cells, negative into them."""
        k = self.retained
        k[KEEP_CHARGE_dAs] = max(0, min(self.capacity_dAs(), k[KEEP_CHARGE_dAs] - moved))
        self._since_dAs = max(-(2**29), min(2**29, self._since_dAs + moved))
        self._counted_dAs = max(-(2**28), min(2**28, self._counted_dAs + moved))
        at = KEEP_OUT_dAs if moved > 0 else KEEP_IN_dAs
        k[at] += abs(moved)
        if k[at] >= _dAs_PER_Ah:
            k[at + 1] += k[at] // _dAs_PER_Ah
            k[at] %= _dAs_PER_Ah

    def slot(self, ms):
        """ms since the last call; once a second, in three calls: no scan has to bear all of it."""
        self._ms += ms
        if self._turn == 0:
            if self._ms >= _SECOND_ms:
                self._ms = 0
                self._turn = 1
                if self._quiet_ms >= self._p.soc_rest_s * 1000:
                    self._anchor()
        elif self._turn == 1:
            self._turn = 2
            self._derive_charge()
        else:
            self._turn = 0
            self._derive_rest()

    def derive(self):
        """Write the signals that follow from the counters."""
        self._derive_charge()
        self._derive_rest()

    def _derive_charge(self):
        k = self.retained
        self._s[I.SOC_cpct] = min(_FULL_cpct, ratio(k[KEEP_CHARGE_dAs], self.capacity_dAs()))

    def _derive_rest(self):
        s = self._s
        k = self.retained
        s[I.SOE_cpct] = ratio(self._energy(s[I.SOC_cpct]), self._energy_full)
        s[I.SOH_cpct] = k[KEEP_SOH_cpct]
        s[I.CHARGED_Ah] = k[KEEP_IN_Ah]
        s[I.DISCHARGED_Ah] = k[KEEP_OUT_Ah]
        s[I.CYCLES_C] = min(k[KEEP_OUT_Ah], 10_000_000) * 100 // max(1, self._p.cell_capacity_dAh // 10)

    def _energy(self, soc_cpct):
        return _area(self._ocv, len(self._ocv), soc_cpct)

    def _anchor(self):
        """Move the count an eighth of the way, each second, to what the rested voltage says, where it can say it."""
        mean = self._s[I.CELL_MEAN_mV]
        if self._slope_uV(mean) < self._p.soc_slope_uV:
            return
        soc = interpolate(self._by_mV, len(self._by_mV), mean)
        k = self.retained
        capacity = self.capacity_dAs()
        target = capacity // _FULL_cpct * soc + capacity % _FULL_cpct * soc // _FULL_cpct
        gap = target - k[KEEP_CHARGE_dAs]
        k[KEEP_CHARGE_dAs] += gap // 8 if gap > 0 else -(-gap // 8)
        if -8 < gap < 8:
            k[KEEP_CHARGE_dAs] = target
        self._learn(soc)

    def _slope_uV(self, mV):
        """Slope of the OCV curve at this voltage, uV per 0.01 %; 0 outside the table."""
        table = self._ocv
        at = 2
        while at < len(table):
            if table[at - 1] <= mV <= table[at + 1]:
                return (table[at + 1] - table[at - 1]) * 1000 // (table[at] - table[at - 2])
            at += 2
        return 0

    def _learn(self, soc):
        """Capacity from the charge counted between two anchors far apart, a quarter of the way at a time."""
        before = self._anchor_cpct
        if before >= 0:
            apart = abs(soc - before)
            if apart < _LEARN_cpct:
                return
            # counted / nominal over the part of the scale that it moved
            counted = min(20_000, ratio(abs(self._since_dAs), self._nominal_dAs))
            seen = min(12_000, max(_SOH_LEAST_cpct, counted * _FULL_cpct // apart))
            k = self.retained
            k[KEEP_SOH_cpct] += (seen - k[KEEP_SOH_cpct]) // 4
        self._anchor_cpct = soc
        self._since_dAs = 0
