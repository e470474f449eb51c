"""Ages of the messages that feed the process image, in ms: the only code that advances or clears them.

The hazard is a decision on old data: the alarms trip on an age, so an age that stands still hides a silent sensor.
The age of the mains is measured in rack.control.response.mains, which publishes it as grid_age_ms.
"""

import micropython
from rack.generated import ids as I
from rack.base.viper import ptr8, ptr32
from rack.definitions.codes import AGE_NEVER

# The ages that grow in each scan, until their message arrives.
_AGES = bytes((
    I.CELLS_AGE_ms, I.TEMPS_AGE_ms, I.CURRENT_AGE_ms, I.PCS_AGE_ms, I.PAIR_AGE_ms, I.EMS_AGE_ms,
    I.INSULATION_AGE_ms, I.WIRE_CHECK_AGE_ms,
))  # fmt: skip


def start(s):
    """Before the first messages: AGE_NEVER; 0 for the EMS, because a rack without an EMS has no alarm.

    The age of the wire check begins at 0: the check follows the first cells.
    """
    for at in _AGES:
        s[at] = AGE_NEVER
    s[I.EMS_AGE_ms] = 0
    s[I.WIRE_CHECK_AGE_ms] = 0
    s[I.GRID_AGE_ms] = AGE_NEVER


@micropython.viper
def advance(signals: ptr32, ms: int):
    """Advance all message ages by `ms`, 0 to 2**30 - 1, up to AGE_NEVER. The age of the EMS stays 0 until it writes."""
    ages = ptr8(_AGES)
    count = int(len(_AGES))     # noqa: RUF046 viper needs the cast
    at = 0
    while at < count:
        signal = int(ages[at])
        age = signals[signal]
        if age > 0 or signal != I.EMS_AGE_ms:
            age += ms
            signals[signal] = AGE_NEVER if age > AGE_NEVER else age
        at += 1


def arrived(s, age):
    """A valid message has arrived; age: index of its signal, such as PCS_AGE_ms.

    The age is 0 until the next `advance`. That of the EMS is 1, because 0 means that the EMS has never written.
    """
    s[age] = 1 if age == I.EMS_AGE_ms else 0
