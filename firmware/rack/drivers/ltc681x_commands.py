"""Commands of the LTC6811 and LTC6813: the one list for the driver, the chip model and the tests.

Source: LTC6813-1 data sheet; place of THSD: LTC681x.cpp of Linduino, Analog Devices. This module has only constants:
the build replaces their names by their values.
"""

from micropython import const

WRCFGA = const(0x001)
RDCFGA = const(0x002)
WRCFGB = const(0x024)
RDCFGB = const(0x026)
RDCVA = const(0x004)                # cells 1 to 3
RDCVB = const(0x006)
RDCVC = const(0x008)
RDCVD = const(0x00A)                # cells 10 to 12, the last of an LTC6811
RDCVE = const(0x009)
RDCVF = const(0x00B)                # cells 16 to 18
RDAUXA = const(0x00C)               # GPIO 1 to 3
RDAUXB = const(0x00E)               # GPIO 4, 5 and the reference
RDAUXC = const(0x00D)               # GPIO 6 to 8
RDAUXD = const(0x00F)               # GPIO 9
RDSTATA = const(0x010)
RDSTATB = const(0x012)
ADCV = const(0x260)                 # start of a cell conversion; with MODE, DISCHARGE and channel bits
ADOW = const(0x228)                 # open-wire conversion; the same
ADAX = const(0x460)                 # GPIO conversion; with MODE and channel bits
CLRCELL = const(0x711)
CLRAUX = const(0x712)
PLADC = const(0x714)

MODE_7kHz = const(0x100)            # MD bits of ADCV, ADOW and ADAX: the normal mode
PULL_UP = const(0x040)              # ADOW: pull-up current instead of pull-down
REFON = const(0x04)                 # first byte of configuration group A: the reference stays on
THSD = const(0x01)                  # last byte of status group B: the die was too hot; reading clears it
CLEARED = const(0xFFFF)             # a result register after CLRCELL or CLRAUX
