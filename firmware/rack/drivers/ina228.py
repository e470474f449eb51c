"""INA228 on the shunt: rack current, rack voltage, charge, and the hardware over-current alert.

A current sensor that answers with old or default numbers hides an over-current. Therefore `check` reads the
configuration back regularly, and the driver counts every failed transfer and does not report the last value as new.
The chip accumulates the charge also while the link does not work. After a link failure the accumulator holds the whole
charge, so the driver clears it only with a new configuration.

Registers: TI SLYS021A (INA228 data sheet). The LSBs that the family shares were compared with linux ina238.c.
`i2c` is a machine.I2C: readfrom_mem_into(address, register, buffer), writeto_mem(…). It raises OSError when the chip
does not answer.
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
# MODE 1011: continuous shunt and bus; VBUSCT 100, VSHCT 100: 540 µs each; VTCT 101, unused; AVG 000: no average. The
# chip has a new pair every 1.08 ms; an average of 4 took 4.3 ms. Without the average the noise doubles (white noise,
# square root of 4). Engineering judgement: it is still a few bits of 5 µV, about 0.2 A on a shunt of 50 µohm. The
# setting does not affect the charge, which the chip accumulates.
_ADC_SETTING = const(0xB928)
_ALERT_LATCHED = const(0x8000)
_CURRENT_LSB_mA = const(2)
_LSB_PER_dAs = const(50)
_LIMIT_LSB_uV = const(5)
_CHARGE_MASK = const(0x3FFFFFFF)  # the part of the 40 bits that fits into a small integer
_CHARGE_SIGN = const(0x20000000)
_ALERT_CHECKS = const(20)        # the pin is low for 2 s, so that 10 ms scans see it; the controller latches the trip


@micropython.viper
def _scaled(three, factor: int, half: int, divisor: int) -> int:
    """Return the signed 20 bits of a result register, times factor / divisor, rounded."""
    b = ptr8(three)
    raw = (int(b[0]) << 12) | (int(b[1]) << 4) | (int(b[2]) >> 4)
    if raw >= 0x80000:
        raw -= 0x100000
    return (raw * factor + half) // divisor


def _limit(amps, shunt_uohm):
    """Return the largest magnitude in bits without an alert. The alert comes at the level or up to two bits below it.

    The rounding of the level takes one bit. The chip may lose another bit of the reading before it compares.
    """
    return min(amps * shunt_uohm // _LIMIT_LSB_uV, 0x7FFF) - 1


class Ina228:
    """The driver of one INA228.

    shunt_uohm: 1..1250; divider_pct: rack voltage / bus pin voltage times 100 (100..2400).
    alert_charge_A, alert_discharge_A: magnitudes at which the chip pulls the alert pin low. The alert is latched until
    `clear_alert`, or for up to 2 s of calls of `check`. SLOWALERT stays 0: the chip compares every conversion of the
    shunt.

    `read` sets current_dA (positive discharges the rack) and rack_dV. `read_charge` sets charge_dAs and charge_whole.
    ok: the chip is configured, and the last transfer succeeded. errors: failed transfers. starts: configurations
    written.
    """

    def __init__(self, i2c, shunt_uohm, divider_pct, alert_charge_A, alert_discharge_A, address=0x40):
        self.ok = False
        self.current_dA = 0
        self.rack_dV = 0
        self.charge_dAs = 0         # between the last two calls of `read_charge`
        self.charge_whole = False   # the accumulator was not cleared between these calls
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
        self._charge = 0            # low 30 bits of the accumulator at the last read
        self._charge_rest = 0       # remainder below 0.1 As, in LSBs
        self._cleared = True        # since the last `read_charge`
        self._setup = (
            (_CONFIG, 0),
            (_ADC_CONFIG, _ADC_SETTING),
            (_SHUNT_CAL, (shunt_uohm * 262144 + 5000) // 10000),   # 13107.2e6 × LSB × R
            (_SOVL, _limit(alert_discharge_A, shunt_uohm) & 0xFFFF),
            (_SUVL, -_limit(alert_charge_A, shunt_uohm) & 0xFFFF),
        )

    def configure(self):
        """Identify the chip, write the configuration and read it back. Return True on success.

        The call needs about 20 short transfers at most. After a link failure the chip still holds its configuration
        and has accumulated the charge; then the driver does not write to it.
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
                self._get16(_DIAG_ALRT)                       # ends an alert that the default limits have latched
                self.starts += 1
        except OSError:
            return self._failed()
        self._configured = True
        return True

    def read(self):
        """Read current and voltage into the attributes. Return True on success. The scan calls this; two transfers.

        The call allocates only if the chip is not configured: then it writes the configuration.
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
        """Return True if the chip still holds its configuration; otherwise the next `read` configures it again.

        Call this every 100 ms: each _ALERT_CHECKS-th call releases a latched alert whose cause is gone.
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
        """Read the charge since the last successful call from the accumulator of the chip into charge_dAs.

        Return True on success. The driver does not clear the accumulator, because charge between read and clear would
        be lost. The difference of its low 30 bits is exact for 17 minutes at 1000 A. The call does not allocate.
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
        """Read DIAG_ALRT, which releases the latched alert pin. Return its flags, or 0 if the read fails."""
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
