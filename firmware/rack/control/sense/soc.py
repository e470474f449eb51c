"""State of charge by counting, corrected by the open-circuit voltage where its slope allows.

A wrong SoC overfills or empties cells although every voltage still looks right. The counter carries every remainder:
its unit is 0.1 A ms. At rest the OCV table corrects it, but only on a steep part of the curve: on LFP's plateau one
millivolt of error is 2.5 % of charge.

The count uses the current of each scan: the sensor's gain is accurate to 0.05 %, the board's crystal far better. The
sensor's own accumulator is accurate to 1 % only, because its oscillator is accurate to 0.5 % (INA228 data sheet,
SLYS021A). But it also counts while the sensor cannot be read, so it is used for those intervals.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.generated import retained_words as W
from rack.base.viper import ptr32
from rack.control.interpolate import interpolate, ratio

FULL_cpct = const(10_000)
dAs_PER_Ah = const(36_000)
_SECOND_ms = const(1000)
_SILENT_ms = const(5000)        # a current or a voltage of this age does not prove rest: engineering judgement
_LEARN_cpct = const(4_000)      # SoC between two OCV corrections that measure the capacity: engineering judgement
MIN_SOH_cpct = const(3_000)
MAX_SOH_cpct = const(12_000)
_MAX_dA = const(20_000)         # above the current of every rack
_SKEW_ms = const(20)            # maximum time between the readings of accumulator and scan, conversion time included
_MAX_UNSEEN_ms = const(1_000_000)


@micropython.viper
def _area(table, ints: int, soc_cpct: int) -> int:
    """Area under the OCV curve from empty to soc_cpct, 0.01 % mV: below 5e7."""
    knots = ptr32(table)
    area = 0
    at = 2
    while at < ints and knots[at - 2] < soc_cpct:
        right = knots[at]
        if right > soc_cpct:
            right = soc_cpct
        voltage = int(interpolate(table, ints, right))
        area += (right - knots[at - 2]) * (knots[at - 1] + voltage) // 2
        at += 2
    return area


class SocEstimator:
    """`scan` counts; `slot` derives SoC, SoE, SoH and cycles, and corrects by the OCV. Does not allocate.

    words: array of the layout retained_words, in which the estimator counts.
    """

    def __init__(self, params, s, words):
        self._s = s
        self._p = params
        self._nominal_dAs = params.cell_capacity_dAh * 3600
        self.words = words
        self.rest_dAms = 0      # remainder of the counter, 0..999
        self._counted_dAs = 0   # since the accumulator was last read
        self._unseen_ms = 0     # part of that time in which the sensor did not answer
        self._quiet_ms = 0      # time at rest
        self._rest_dA = params.soc_rest_dA
        self._ms = 0            # since the last OCV correction
        self._turn = 0          # of `slot`
        self._ocv = params.cell_ocv
        self._by_mV = array("i", [0] * len(self._ocv))      # the same knots over voltage
        for at in range(0, len(self._ocv), 2):
            self._by_mV[at] = self._ocv[at + 1]
            self._by_mV[at + 1] = self._ocv[at]
        self._energy_full = self._energy(FULL_cpct)
        self._corrected_cpct = -1   # SoC of the last OCV correction, -1 before the first
        self._since_dAs = 0         # charge counted since then
        self.derive()

    def fixed(self):
        """Words that never change: (array, first, end)."""
        return ((self._by_mV, 0, len(self._by_mV)),)

    def restored(self):
        """The words have been taken over from the last run: derive the signals from them."""
        words = self.words
        words[W.CHARGE_dAs] = min(words[W.CHARGE_dAs], self.capacity_dAs())
        self.derive()

    def capacity_dAs(self):
        """Present capacity, 0.1 As."""
        soh_cpct = self.words[W.SOH_cpct]
        return self._nominal_dAs // FULL_cpct * soh_cpct + self._nominal_dAs % FULL_cpct * soh_cpct // FULL_cpct

    def scan(self, dt):
        """Count the present current over dt ms, up to 1000; a current beyond 2000 A counts as 2000 A.

        Without a new value of the sensor the last one counts, and 0 once every coil is off.
        """
        s = self._s
        current = s[I.CURRENT_dA]
        unseen = s[I.CURRENT_AGE_ms] > 0
        if unseen:
            if self._unseen_ms < _MAX_UNSEEN_ms:
                self._unseen_ms += dt
            if not s[I.COILS]:
                current = 0
                unseen = False      # this is rest, too
        if current > _MAX_dA:
            current = _MAX_dA
        elif current < -_MAX_dA:
            current = -_MAX_dA
        product = self.rest_dAms + current * dt
        moved = product // 1000
        self.rest_dAms = product % 1000
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
        """Compare with the sensor's own accumulator, about once a second. dAs: its count since the last call, 0.1 As.

        whole: it has counted all that time, 0: it was cleared in between. The count stays when each scan had a new
        value of the current. Otherwise the accumulator corrects it, if the missed values can explain the difference.
        """
        gap = dAs - self._counted_dAs
        limit = (self._unseen_ms + _SKEW_ms) * (_MAX_dA // 1000)
        if whole and self._unseen_ms and -limit <= gap <= limit:
            self._move(gap)
        self._counted_dAs = 0
        self._unseen_ms = 0

    def _move(self, moved):
        """Count moved, 0.1 As out of the cells; negative into them."""
        words = self.words
        words[W.CHARGE_dAs] = max(0, min(self.capacity_dAs(), words[W.CHARGE_dAs] - moved))
        self._since_dAs = max(-(2**29), min(2**29, self._since_dAs + moved))
        self._counted_dAs = max(-(2**28), min(2**28, self._counted_dAs + moved))
        at = W.OUT_dAs if moved > 0 else W.IN_dAs       # the next word counts whole Ah
        words[at] += abs(moved)
        if words[at] >= dAs_PER_Ah:
            words[at + 1] += words[at] // dAs_PER_Ah
            words[at] %= dAs_PER_Ah

    def slot(self, ms):
        """Act once a second, in three calls so that each scan bears a part; ms since the last call."""
        self._ms += ms
        if self._turn == 0:
            if self._ms >= _SECOND_ms:
                self._ms = 0
                self._turn = 1
                if self._quiet_ms >= self._p.soc_rest_s * 1000:
                    self._correct()
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
        self._s[I.SOC_cpct] = min(FULL_cpct, ratio(self.words[W.CHARGE_dAs], self.capacity_dAs()))

    def _derive_rest(self):
        s = self._s
        words = self.words
        s[I.SOE_cpct] = ratio(self._energy(s[I.SOC_cpct]), self._energy_full)
        s[I.SOH_cpct] = words[W.SOH_cpct]
        s[I.CHARGED_Ah] = words[W.IN_Ah]
        s[I.DISCHARGED_Ah] = words[W.OUT_Ah]
        s[I.CYCLES_C] = min(words[W.OUT_Ah], 10_000_000) * 100 // max(1, self._p.cell_capacity_dAh // 10)

    def _energy(self, soc_cpct):
        return _area(self._ocv, len(self._ocv), soc_cpct)

    def _correct(self):
        """Move the count an eighth of the way to the SoC of the rested voltage, where the OCV curve is steep enough."""
        mean = self._s[I.CELL_MEAN_mV]
        if self._slope_uV(mean) < self._p.soc_slope_uV:
            return
        soc = interpolate(self._by_mV, len(self._by_mV), mean)
        words = self.words
        capacity = self.capacity_dAs()
        target = capacity // FULL_cpct * soc + capacity % FULL_cpct * soc // FULL_cpct
        gap = target - words[W.CHARGE_dAs]
        words[W.CHARGE_dAs] += gap // 8 if gap > 0 else -(-gap // 8)
        if -8 < gap < 8:
            words[W.CHARGE_dAs] = target
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
        """Capacity from the charge counted between two OCV corrections far apart, a quarter of the way at a time."""
        before = self._corrected_cpct
        if before >= 0:
            apart = abs(soc - before)
            if apart < _LEARN_cpct:
                return
            # counted share of the nominal capacity over the change of SoC that it caused
            counted = min(20_000, ratio(abs(self._since_dAs), self._nominal_dAs))
            measured = min(MAX_SOH_cpct, max(MIN_SOH_cpct, counted * FULL_cpct // apart))
            words = self.words
            words[W.SOH_cpct] += (measured - words[W.SOH_cpct]) // 4
        self._corrected_cpct = soc
        self._since_dAs = 0
