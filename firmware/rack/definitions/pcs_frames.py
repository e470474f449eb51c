"""The only definition of the PCS frames; rack.comms.pcs_codec packs them on the board.

Kept apart because its text would cost the board memory. `make generate` makes the DBC and docs/protocols/pcs_can.md
from it, and the tests read the bytes of pcs_codec through that DBC with an independent decoder.
Bits are counted as in a DBC file of Intel byte order: bit 0 is the lowest of byte 0.
"""

from rack.definitions import texts
from rack.definitions.pcs_codes import (
    FLAG_CLOSE_BUS, FLAG_ENABLE, FLAG_PERMIT, FLAG_RESPONSE, LIMITS_ID, LIMITS_PERIOD_MS, REQUEST_ID,
    REQUEST_PERIOD_MS, STATUS_ID, STATUS_PERIOD_MS, VERSION,
)  # fmt: skip

STATES = texts.texts(texts.PCS_STATES)
LEVELS = texts.texts(texts.LEVELS)

# Bits of the request's flags from bit 0 on: (value, name of its signal in a CAN tool, meaning).
FLAGS = (
    (FLAG_PERMIT, "permitted", "the rack may deliver: it is closed, and no alarm opens it or demands zero power"),
    (FLAG_ENABLE, "enable", "1: the PCS shall run; 0: it shall switch off"),
    (FLAG_CLOSE_BUS, "bus_closed", "the rack has precharged the DC bus and is connected to it"),
    (FLAG_RESPONSE, "responding", "the frequency response asks for power"),
)
if [value for value, _, _ in FLAGS] != [1 << bit for bit in range(len(FLAGS))]:
    raise ValueError("FLAGS has gaps or is out of order")

# Fields: (name, first bit, bits, signed, scale, unit, meaning); value = raw x scale.
# Frames: (identifier, name, sender, period ms, meaning, fields).
_SEQUENCE = ("sequence", 48, 4, False, 1, "", "counts up by 1 in each frame, wraps at 16")
_CRC = ("crc", 56, 8, False, 1, "", "CRC-8 SAE J1850 of the identifier, low byte first, and bytes 0 to 6")

FRAMES = (
    (REQUEST_ID, "request", "rack", REQUEST_PERIOD_MS, "power that the PCS shall deliver now", (
        ("power", 0, 24, True, 1, "W", "positive discharges the rack"),
        ("reserved", 24, 16, False, 1, "", "always 0"),
        ("flags", 40, 8, False, 1, "", "bits, see below"),
        _SEQUENCE,
        ("version", 52, 4, False, 1, "", "version of this protocol: %d; the PCS refuses others" % VERSION),
        _CRC,
    )),
    (LIMITS_ID, "limits", "rack", LIMITS_PERIOD_MS, "power limits and voltage of the rack at this moment", (
        ("charge", 0, 16, False, 100, "W", "available charge power, rounded down"),
        ("discharge", 16, 16, False, 100, "W", "available discharge power, rounded down"),
        ("rack_voltage", 32, 16, False, 0.1, "V", "voltage of the cell string"),
        _SEQUENCE,
        ("level", 52, 4, False, 1, "", "alarm level: " + ", ".join("%d %s" % row for row in enumerate(LEVELS))),
        _CRC,
    )),
    (STATUS_ID, "status", "pcs", STATUS_PERIOD_MS, "state of the PCS", (
        ("power", 0, 24, True, 1, "W", "delivered power, positive discharges the rack"),
        ("bus_voltage", 24, 16, False, 0.1, "V", "voltage of the DC bus"),
        ("state", 40, 4, False, 1, "", "one of the PCS states"),
        ("echo", 44, 4, False, 1, "", "sequence of the last accepted request"),
        _SEQUENCE,
        ("fault", 52, 4, False, 1, "", "fault of the PCS, 0 none"),
        _CRC,
    )),
)
