"""Digital inputs that trip: interlock loop, emergency stop and the hardware over-current alert.

The bits are 1 when healthy, so that a broken wire trips. Once a scan, before the alarms.
"""

import micropython
from rack.generated import ids as I
from rack.base.viper import ptr32
from rack.definitions.codes import IN_ESTOP, IN_HVIL, IN_OC_OK


@micropython.viper
def judge_inputs(s: ptr32):
    """Write hvil_open, estop_pressed and oc_alert. Scan context, does not allocate."""
    bits = s[I.IN_bits]
    s[I.HVIL_OPEN] = 0 if bits & IN_HVIL else 1
    s[I.ESTOP_PRESSED] = 0 if bits & IN_ESTOP else 1
    s[I.OC_ALERT] = 0 if bits & IN_OC_OK else 1
