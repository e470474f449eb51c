"""Texts of numbered codes: the console, the Modbus documents and the host use the same words for the same code.

Kept apart because pairs of codes and texts would cost the board memory. `make generate` writes
rack/generated/texts.py: the texts of each list as one string, in the order of the codes.
"""

from rack.definitions import codes
from rack.definitions.alarms import DERATE, TRIP, WARN
from rack.definitions import pcs_codes

STATES = (
    (codes.STATE_OPEN, "open"),
    (codes.STATE_PRECHARGE, "precharge"),
    (codes.STATE_CLOSED, "closed"),
    (codes.STATE_OPENING, "opening"),
    (codes.STATE_FAULT, "fault"),
    (codes.STATE_LOCKED_OUT, "locked_out"),
)

LEVELS = ((0, "none"), (WARN, "warn"), (DERATE, "derate"), (TRIP, "trip"))

# reset reasons of the board
RESETS = (
    (codes.REASON_POWER, "power"),
    (codes.REASON_HANG, "hang"),
    (codes.REASON_MAINTENANCE, "maintenance"),
    (codes.REASON_COMMAND, "command"),
)

# why a command or a write is refused: code, symbol for SunSpec clients ("": cannot come over Modbus), text
REFUSALS = (
    (0, "taken", "the last write was taken"),
    (codes.REFUSED_UNKNOWN, "", "no such command"),
    (codes.REFUSED_TRIPPED, "tripped", "a trip is latched: find its cause, then reset"),
    (codes.REFUSED_LOCKED, "locked_out", "locked out after repeated trips: unlock with the maintenance key"),
    (codes.REFUSED_ALARM, "alarm", "the cause of a trip is still there"),
    (codes.REFUSED_STATE, "state", "not in this state: a reset needs the contactors at rest"),
    (codes.REFUSED_LOCAL, "local", "[modbus] control is false: the registers are read-only"),
    (codes.REFUSED_VALUE, "value", "out of range"),
    (codes.REFUSED_PART, "part", "a request must hold all four values of the pair, and both registers of a value"),
    (codes.REFUSED_ALONE, "alone", "this rack does not belong to a pair: [pair] role is 0"),
    (codes.REFUSED_ADDRESS, "address", "a register in the request is read-only"),
    (codes.REFUSED_HELD, "held", "opened by a person or the emergency stop: only `close` on the console ends this"),
    (codes.REFUSED_NOTHING, "nothing", "no trip is latched"),
    (codes.REFUSED_PERSON, "person", "only a person may release this trip: `reset` on the console"),
    (codes.REFUSED_KEY, "key", "only a person with the rack's key may release this trip: `halite unlock`"),
    (codes.REFUSED_BROADCAST, "broadcast", "a broadcast neither closes nor resets: address one rack"),
)

PCS_STATES = (
    (pcs_codes.PCS_OFF, "off"),
    (pcs_codes.PCS_STANDBY, "standby"),
    (pcs_codes.PCS_RUN, "run"),
    (pcs_codes.PCS_DERATED, "derated"),
    (pcs_codes.PCS_TIMEOUT, "request timed out"),
    (pcs_codes.PCS_FAULT, "fault"),
)

# lists whose texts the board needs
ON_BOARD = {"STATES": STATES, "LEVELS": LEVELS, "RESETS": RESETS, "REFUSALS": REFUSALS}


def texts(rows):
    """The texts of a list in the order of their codes. ValueError when the codes are not 0, 1, 2 and so on."""
    if [row[0] for row in rows] != list(range(len(rows))):
        raise ValueError("codes have gaps or are out of order: %s" % (rows,))
    return tuple(row[-1] for row in rows)


# names for the host, in the order of the codes
STATE_NAMES = texts(STATES)
LEVEL_NAMES = texts(LEVELS)
