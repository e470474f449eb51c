"""Numbers of the PCS link on CAN: identifiers, periods, request flags, states of the PCS.

Constants only: the build replaces their names by their values.
"""

from micropython import const

BITRATE = const(500_000)
REQUEST_ID = const(0x181)
LIMITS_ID = const(0x182)
STATUS_ID = const(0x201)
# The CRC of a frame begins with its identifier, low byte first: its state after these two bytes.
REQUEST_CRC = const(0xD9)
LIMITS_CRC = const(0x0D)
STATUS_CRC = const(0x37)
LENGTH = const(8)

REQUEST_PERIOD_MS = const(20)       # of a 50 Hz grid: one request in each mains period; without mains, one in each scan
LIMITS_PERIOD_MS = const(100)
STATUS_PERIOD_MS = const(20)
REQUEST_TIMEOUT_MS = const(100)     # engineering judgement: five requests in a row

# request flags
FLAG_PERMIT = const(1)      # the rack's contactors are closed and no trip is latched
FLAG_ENABLE = const(2)      # the PCS shall run; 0: it shall switch off
FLAG_CLOSE_BUS = const(4)   # the rack has precharged the DC bus and is connected to it
FLAG_RESPONSE = const(8)    # the frequency response asks for power

# PCS states
PCS_OFF = const(0)
PCS_STANDBY = const(1)
PCS_RUN = const(2)
PCS_DERATED = const(3)
PCS_TIMEOUT = const(4)      # at zero power, because no valid request comes
PCS_FAULT = const(5)

VERSION = const(2)           # 2: the CRC includes the identifier
MAX_STEP = const(3)          # a fresh status has a counter that advanced by 1 to 3
