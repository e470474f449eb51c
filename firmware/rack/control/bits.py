"""Bits and small codes shared by the control core, the drivers' glue and the host.

Kept apart so that no module needs another one only to name a bit.
"""

from micropython import const

# in_bits: digital inputs; a set bit is the healthy or active state that its name says.
IN_HVIL = const(1)          # interlock loop closed
IN_ESTOP = const(2)         # emergency stop released
IN_OC_OK = const(4)         # hardware over-current alert quiet
IN_AUX_POS = const(8)       # main + auxiliary contact closed
IN_AUX_NEG = const(16)      # main - auxiliary contact closed
IN_COOLANT_FLOW = const(32)

# coils
COIL_NEG = const(1)
COIL_PRE = const(2)
COIL_POS = const(4)

# state: contactor state
STATE_OPEN = const(0)
STATE_PRECHARGE = const(1)
STATE_CLOSED = const(2)
STATE_OPENING = const(3)
STATE_FAULT = const(4)
STATE_LOCKED_OUT = const(5)

# actions demanded by alarms
ACT_INFORM = const(1)
ACT_LIMIT_CHARGE = const(2)
ACT_LIMIT_DISCHARGE = const(4)
ACT_OPEN = const(8)         # open the contactors
ACT_ZERO = const(16)        # request zero power

# operator commands to Controller.command()
CMD_OPEN = const(1)
CMD_CLOSE = const(2)
CMD_RESET = const(3)
