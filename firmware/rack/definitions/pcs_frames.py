"""The one definition of the PCS frames, for people and tools; pcs_can.py packs them on the board.

Kept apart because its text would cost the board memory. The DBC and docs/protocols/pcs_can.md are
generated from it, and the tests read pcs_can's bytes through that DBC with an independent decoder.
Bits are counted as in a DBC file of Intel byte order: bit 0 is the lowest of byte 0.
"""

from rack.definitions.pcs_codes import (
    LIMITS_ID, LIMITS_PERIOD_MS, REQUEST_ID, REQUEST_PERIOD_MS, STATUS_ID, STATUS_PERIOD_MS,
)  # fmt: skip

STATES = ("off", "standby", "run", "derated", "request timed out", "fault")

# Bits of the request's flags: (value, name of its signal in a CAN tool, meaning).
FLAGS = (
    (1, "permitted", "the rack may deliver: closed, and no alarm opens it or wants no power"),
    (2, "enable", "the PCS shall run; clear: switch off"),
    (4, "bus_closed", "precharged and closed: the DC bus is the rack's"),
    (8, "responding", "the frequency response asks for power"),
)

# Fields: (name, first bit, bits, signed, scale, unit, meaning); value = raw x scale.
# Frames: (identifier, name, sender, period ms, meaning, fields).
_SEQUENCE = ("sequence", 48, 4, False, 1, "", "counts up by 1 in each frame, wraps at 16")
_CRC = ("crc", 56, 8, False, 1, "", "CRC-8 SAE J1850 of bytes 0 to 6")

FRAMES = (
    (REQUEST_ID, "request", "rack", REQUEST_PERIOD_MS, "power the PCS shall deliver now", (
        ("power", 0, 24, True, 1, "W", "positive discharges the rack"),
        ("reserved", 24, 16, False, 1, "", "always 0"),
        ("flags", 40, 8, False, 1, "", "bits, see below"),
        _SEQUENCE,
        ("version", 52, 4, False, 1, "", "version of this protocol: 1; others are refused"),
        _CRC,
    )),
    (LIMITS_ID, "limits", "rack", LIMITS_PERIOD_MS, "what the rack can take at this moment", (
        ("charge", 0, 16, False, 100, "W", "available charge power, rounded down"),
        ("discharge", 16, 16, False, 100, "W", "available discharge power, rounded down"),
        ("rack_voltage", 32, 16, False, 0.1, "V", "voltage of the cell string"),
        _SEQUENCE,
        ("level", 52, 4, False, 1, "", "alarm level: 0 none, 1 warn, 2 derate, 3 trip"),
        _CRC,
    )),
    (STATUS_ID, "status", "pcs", STATUS_PERIOD_MS, "what the PCS does", (
        ("power", 0, 24, True, 1, "W", "delivered power, positive discharges the rack"),
        ("bus_voltage", 24, 16, False, 0.1, "V", "voltage of the DC bus"),
        ("state", 40, 4, False, 1, "", "one of the PCS states"),
        ("echo", 44, 4, False, 1, "", "sequence of the last request that was accepted"),
        _SEQUENCE,
        ("fault", 52, 4, False, 1, "", "fault of the PCS, 0 none"),
        _CRC,
    )),
)
