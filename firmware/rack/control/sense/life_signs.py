"""Age of the insulation report: an old value, or the value before the first report, is not good news.

The EMS brings the insulation. A rack that believes its last word for ever stays closed onto a second earth fault.
"""

import micropython
from micropython import const
from rack.generated import ids as I
from rack.base.viper import ptr32

OLD = const(1)              # insulation_old: the rack is closed, and warns
EXPIRED = const(2)          # the rack is open and must not close, or it has been closed for too long


@micropython.viper
def judge_insulation(s: ptr32, age_ms: int, open_ms: int):
    """Write insulation_old. age_ms: maximum age of a report, 0 without a monitor; open_ms: further time while closed.

    Before the alarms, in each scan. Does not allocate.
    """
    age = s[I.INSULATION_AGE_ms]
    old = 0
    if age_ms > 0 and age >= age_ms:
        old = OLD
        if s[I.COILS] == 0 or age >= age_ms + open_ms:
            old = EXPIRED
    s[I.INSULATION_OLD] = old
