"""Registers, bits and frame kinds of the BQ79616: the one list for the driver, the chip model and the tests.

Sources: TI data sheet SLUSE81 and SLVAE86B; public register headers of the family (BQ79616, BQ75614), which agree.
Constants only: the build replaces their names by their values.
"""

from micropython import const

# first byte of a frame; the low three bits hold the number of data bytes less one
KIND_MASK = const(0xF0)
SINGLE_READ = const(0x80)
SINGLE_WRITE = const(0x90)
STACK_READ = const(0xA0)
STACK_WRITE = const(0xB0)
BROADCAST_READ = const(0xC0)
BROADCAST_WRITE = const(0xD0)
REVERSE_WRITE = const(0xE0)         # also reaches devices that listen in the other direction

# registers that the controller writes
ACTIVE_CELL = const(0x003)          # number of cells less 6
GPIO_CONF1 = const(0x00E)           # two GPIOs each, up to GPIO_CONF4 at 0x011
DIR0_ADDR = const(0x306)
DIR1_ADDR = const(0x307)            # the address of a device in the reverse direction
COMM_CTRL = const(0x308)
CONTROL1 = const(0x309)
CONTROL2 = const(0x30A)
ADC_CTRL1 = const(0x30D)
FAULT_RST1 = const(0x331)
FAULT_RST2 = const(0x332)
DIAG_COMP_CTRL2 = const(0x33B)
DIAG_COMP_CTRL3 = const(0x33C)
OTP_ECC_DATAIN1 = const(0x343)      # eight registers for the dummy frames that synchronise the delay lines

# registers that the controller only reads
PARTID = const(0x500)
ADC_STAT1 = const(0x527)
ADC_STAT2 = const(0x528)
DEV_STAT = const(0x52C)
FAULT_SUMMARY = const(0x52D)        # follows DEV_STAT, so that one read returns both
FAULT_COMM1 = const(0x530)
FAULT_SYS = const(0x536)
FAULT_COMP_VCOW1 = const(0x548)     # open sense wires of cells 16 to 9, then 8 to 1
VCELL16_HI = const(0x568)           # two bytes a cell, down to cell 1
TSREF_HI = const(0x58C)
GPIO1_HI = const(0x58E)
DIETEMP1_HI = const(0x5AE)

# COMM_CTRL
STACK_DEV = const(0x02)
TOP_STACK = const(0x01)
# CONTROL1
DIR_SEL = const(0x80)               # the base talks to the other end of the ring
SEND_SHUTDOWN = const(0x40)
SEND_WAKE = const(0x20)
GOTO_SHUTDOWN = const(0x08)
GOTO_SLEEP = const(0x04)
SOFT_RESET = const(0x02)
ADDR_WR = const(0x01)
# CONTROL2
TSREF_EN = const(0x01)
# GPIO_CONF1
GPIO_RATIO = const(0x12)            # both GPIOs: ADC input, ratiometric
# ADC_CTRL1
MAIN_GO = const(0x04)               # clears itself
MAIN_MODE = const(0x03)
CONTINUOUS = const(0x02)
# DIAG_COMP_CTRL2, DIAG_COMP_CTRL3
OW_THRESHOLD = const(0x01)          # a cell below 0.8 V counts as open
OW_OFF = const(0x00)
OW_SINKS = const(0x30)
OW_VC_SINKS = const(0x10)           # the sinks of the cell inputs
OW_VC_CHECK = const(0x05)           # compare now; the sinks stay on
# DEV_STAT
MAIN_RUN = const(0x01)              # the main ADC converts
# FAULT_SUMMARY
SYS_FAULT = const(0x02)
COMM_FAULT = const(0x10)
OPEN_WIRE_FAULT = const(0x40)
OWN_FAULTS = const(0xA3)            # PROT, OTP, SYS, PWR; excludes the bits that noise and the wire check set
# ADC_STAT1, ADC_STAT2
DRDY_MAIN = const(0x01)
DRDY_VCOW = const(0x08)
# FAULT_COMM1, FAULT_SYS
COMM_BAD_START = const(0x01)        # a frame began with another byte than an initialisation byte
COMM_CRC = const(0x02)
DRST = const(0x10)                  # the device has reset

PART = const(0x21)                  # PARTID of a BQ79616
ADDRESS_MASK = const(0x3F)
NO_RESULT = const(0x8000)           # a conversion result that does not exist
