"""Numbers of the PCS link on CAN: identifiers, periods, request flags, states of the PCS.

Constants only: the build puts their values in place of their names.
"""

from micropython import const

BITRATE = const(500_000)
REQUEST_ID = const(0x181)
LIMITS_ID = const(0x182)
STATUS_ID = const(0x201)
LENGTH = const(8)

REQUEST_PERIOD_MS = const(20)       # each mains period; from the scan when mains is lost
LIMITS_PERIOD_MS = const(100)
STATUS_PERIOD_MS = const(20)
REQUEST_TIMEOUT_MS = const(100)     # engineering judgement: five lost requests

# request flags
FLAG_PERMIT = const(1)      # the rack's contactors are closed and no trip is latched
FLAG_ENABLE = const(2)      # the PCS shall run; 0: switch off
FLAG_CLOSE_BUS = const(4)   # precharge done, the DC bus is the rack's
FLAG_RESPONSE = const(8)    # the frequency response is delivering

# PCS states
PCS_OFF = const(0)
PCS_STANDBY = const(1)
PCS_RUN = const(2)
PCS_DERATED = const(3)
PCS_TIMEOUT = const(4)      # went to zero because the request stopped
PCS_FAULT = const(5)

VERSION = const(1)
