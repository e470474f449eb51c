"""INA228 on the shunt: rack current, rack voltage, charge, and the hardware over-current alert.

A current sensor that answers with old or default numbers hides an over-current. The driver therefore reads the
configuration back every 100 ms, and counts a failed transfer instead of repeating the last value. The chip adds up the
charge by itself, also while its link fails: the next reading finds the whole charge in the accumulator. Only a new
configuration clears the accumulator.

Registers: TI SLYS021A (INA228 data sheet); LSBs checked against linux ina238.c where the family shares
them. `i2c` is a machine.I2C: readfrom_mem_into(address, register, buffer), writeto_mem(…); OSError
when the chip does not answer.
"""

import micropython
from micropython import const

from rack.base.viper import ptr8

_CONFIG = const(0x00)
_ADC_CONFIG = const(0x01)
_SHUNT_CAL = const(0x02)
_VBUS = const(0x05)
_CURRENT = const(0x07)
_CHARGE = const(0x0A)
_DIAG_ALRT = const(0x0B)
_SOVL = const(0x0C)
_SUVL = const(0x0D)
_MANUFACTURER = const(0x3E)

_RSTACC = const(0x4000)
# MODE 1011: continuous shunt and bus; VBUSCT 100, VSHCT 100: 540 µs each; VTCT 101, unused; AVG 000: no averaging. A fresh pair
# every 1.08 ms, where an average of 4 took 4.3 ms. That doubles the noise (white noise, square root of 4); engineering
# judgement: still a few bits of 5 µV, some 0.2 A on a shunt of 50 µohm. The charge is counted in the chip either way.
_ADC_SETTING = const(0xB928)
_ALERT_LATCHED = const(0x8000)
_CURRENT_LSB_mA = const(2)
_LSB_PER_dAs = const(50)
_LIMIT_LSB_uV = const(5)
_CHARGE_MASK = const(0x3FFFFFFF)  # the bits of the 40 that fit in a small integer
_CHARGE_SIGN = const(0x20000000)
_ALERT_CHECKS = const(20)        # 2 s low, for scans of 10 ms to see; the trip that follows is latched elsewhere


@micropython.viper
def _scaled(three, factor: int, half: int, divisor: int) -> int:
    """The signed 20 bits of a result register, times factor over divisor, rounded."""
    data = ptr8(three)
    raw = (int(data[0]) << 12) | (int(data[1]) << 4) | (int(data[2]) >> 4)
    if raw >= 0x80000:
        raw -= 0x100000
    return (raw * factor + half) // divisor


def _limit(amps, shunt_uohm):
    """Bits that a magnitude may reach without an alert. The alert comes at the level or up to two bits before it.

    The level loses one bit by rounding, and the reading may lose one before the chip compares it.
    """
    return min(amps * shunt_uohm // _LIMIT_LSB_uV, 0x7FFF) - 1


class Ina228:
    """shunt_uohm: 1..1250; divider_pct: rack voltage / bus pin voltage times 100 (100..2400);
    alert_charge_A, alert_discharge_A: magnitudes that pull the alert pin low, latched until `clear_alert` or 2 s of
    `check`. SLOWALERT stays 0: the chip compares every single conversion of the shunt.

    After `read`: current_dA (positive discharges the rack), rack_dV. After `read_charge`: charge_dAs,
    charge_whole. ok: configured, and the last transfer succeeded. errors: failed transfers; starts:
    configurations written.
    """

    def __init__(self, i2c, shunt_uohm, divider_pct, alert_charge_A, alert_discharge_A, address=0x40):
        self.ok = False
        self.current_dA = 0
        self.rack_dV = 0
        self.charge_dAs = 0         # between the last two calls of `read_charge`
        self.charge_whole = False   # True: the accumulator was not cleared in between
        self.errors = 0
        self.starts = 0
        self._i2c = i2c
        self._address = address
        self._divider_pct = divider_pct
        self._two = bytearray(2)
        self._three = bytearray(3)
        self._five = bytearray(5)
        self._configured = False
        self._checks = 0
        self._charge = 0            # low 30 bits of the accumulator as last read
        self._charge_rest = 0       # below 0.1 As
        self._cleared = True        # since then
        self._setup = (
            (_CONFIG, 0),
            (_ADC_CONFIG, _ADC_SETTING),
            (_SHUNT_CAL, (shunt_uohm * 262144 + 5000) // 10000),   # 13107.2e6 × LSB × R
            (_SOVL, _limit(alert_discharge_A, shunt_uohm) & 0xFFFF),
            (_SUVL, -_limit(alert_charge_A, shunt_uohm) & 0xFFFF),
        )

    def configure(self):
        """Identify, write and read back; True on success. Bounded: about 20 short transfers.

        A chip that was only out of reach still holds its configuration. It keeps it, as it has gone on counting.
        """
        self._configured = False
        try:
            if self._get16(_MANUFACTURER) != 0x5449:          # "TI"
                return self._failed()
            if not self.starts or not self._holds():
                self._cleared = True
                self._put16(_CONFIG, _RSTACC)
                for register, value in self._setup:
                    self._put16(register, value)
                self._put16(_DIAG_ALRT, _ALERT_LATCHED)
                if not self._holds():
                    return self._failed()
                self._get16(_DIAG_ALRT)                       # an alert latched by the default limits ends
                self.starts += 1
        except OSError:
            return self._failed()
        self._configured = True
        return True

    def read(self):
        """Read current and voltage into the attributes; True on success. Scan context, two transfers.

        Allocates only while `ok` is False: it then configures the chip, and a write allocates.
        """
        if not self._configured and not self.configure():
            return False
        try:
            i2c = self._i2c
            address = self._address
            three = self._three
            i2c.readfrom_mem_into(address, _CURRENT, three)
            self.current_dA = _scaled(three, _CURRENT_LSB_mA, 50, 100)
            i2c.readfrom_mem_into(address, _VBUS, three)      # 195.3125 µV = 1/5120 V
            self.rack_dV = _scaled(three, self._divider_pct, 25600, 51200)
        except OSError:
            return self._failed()
        self.ok = True
        return True

    def check(self):
        """Check the configuration. The next `read` configures a chip that has lost it.

        Call it every 100 ms: each _ALERT_CHECKS-th call releases a latched alert whose cause is gone.
        """
        try:
            self.ok = self._configured = self._configured and self._holds()
            self._checks += 1
            if self._checks >= _ALERT_CHECKS:
                self._checks = 0
                self._get16(_DIAG_ALRT)
        except OSError:
            return self._failed()
        return self._configured

    def read_charge(self):
        """Read the charge since the last call that succeeded, from the chip's own accumulator, into charge_dAs.

        True on success. The driver does not clear a counting accumulator, so no charge is lost between read and
        clear. The difference of its low 30 bits is exact for 17 minutes at 1000 A. Does not allocate.
        """
        if not self._configured:
            return False
        try:
            self._i2c.readfrom_mem_into(self._address, _CHARGE, self._five)
        except OSError:
            return self._failed()
        b = self._five
        charge = (b[1] & 0x3F) << 24 | b[2] << 16 | b[3] << 8 | b[4]
        delta = ((charge - self._charge & _CHARGE_MASK) ^ _CHARGE_SIGN) - _CHARGE_SIGN
        self._charge = charge
        self.charge_whole = not self._cleared
        if self._cleared:
            self._cleared = False
            delta = self._charge_rest = 0
        delta += self._charge_rest
        self.charge_dAs = delta // _LSB_PER_dAs
        self._charge_rest = delta % _LSB_PER_dAs
        return True

    def clear_alert(self):
        """Read DIAG_ALRT, which releases the latched alert pin; returns its flags, 0 when it cannot be read."""
        try:
            return self._get16(_DIAG_ALRT)
        except OSError:
            self._failed()
            return 0

    # -- transfers

    def _failed(self):
        self.ok = False
        self._configured = False
        self.errors += 1
        return False

    def _holds(self):
        for register, value in self._setup:  # noqa: SIM110 - a generator allocates
            if self._get16(register) != value:
                return False
        return True

    def _get16(self, register):
        self._i2c.readfrom_mem_into(self._address, register, self._two)
        return (self._two[0] << 8) | self._two[1]

    def _put16(self, register, value):
        self._two[0] = value >> 8
        self._two[1] = value & 0xFF
        self._i2c.writeto_mem(self._address, register, self._two)
