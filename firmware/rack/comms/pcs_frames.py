"""The one definition of the PCS frames, for people and tools; pcs_can.py packs them on the board.

Kept apart because its text would cost the board memory. The DBC and docs/protocols/pcs_can.md are
generated from it, and the tests read pcs_can's bytes through that DBC with an independent decoder.
Bits are counted as in a DBC file of Intel byte order: bit 0 is the lowest of byte 0.
"""

from rack.comms.pcs_can import (
    LIMITS_ID,
    LIMITS_PERIOD_MS,
    REQUEST_ID,
    REQUEST_PERIOD_MS,
    STATUS_ID,
    STATUS_PERIOD_MS,
)

RESULTS = ("ok", "wrong length", "bad CRC", "stale counter", "unknown identifier")
STATES = ("off", "standby", "run", "derated", "request timed out", "fault")

# Fields: (name, first bit, bits, signed, unit, meaning). Scale 1 everywhere: the unit is in the name.
# Frames: (identifier, name, sender, period ms, meaning, fields).
FRAMES = (
    (REQUEST_ID, "request", "rack", REQUEST_PERIOD_MS, "power the PCS shall deliver now", (
        ("power_W", 0, 24, True, "W", "positive discharges the rack"),
        ("reserved", 24, 16, False, "", "0"),
        ("flags", 40, 8, False, "", "bits: 1 permitted, 2 enable, 4 the bus is the rack's, 8 response delivers"),
        ("sequence", 48, 4, False, "", "counts up by 1 in each frame, wraps at 16"),
        ("version", 52, 4, False, "", "version of this protocol: 1"),
        ("crc", 56, 8, False, "", "CRC-8 SAE J1850 of bytes 0 to 6"),
    )),
    (LIMITS_ID, "limits", "rack", LIMITS_PERIOD_MS, "what the rack can take at this moment", (
        ("charge_hW", 0, 16, False, "hW", "available charge power, 100 W"),
        ("discharge_hW", 16, 16, False, "hW", "available discharge power, 100 W"),
        ("rack_dV", 32, 16, False, "dV", "voltage of the cell string, 0.1 V"),
        ("sequence", 48, 4, False, "", "counts up by 1 in each frame, wraps at 16"),
        ("level", 52, 4, False, "", "alarm level: 0 none, 1 warn, 2 derate, 3 trip"),
        ("crc", 56, 8, False, "", "CRC-8 SAE J1850 of bytes 0 to 6"),
    )),
    (STATUS_ID, "status", "pcs", STATUS_PERIOD_MS, "what the PCS does", (
        ("power_W", 0, 24, True, "W", "delivered power, positive discharges the rack"),
        ("bus_dV", 24, 16, False, "dV", "voltage of the DC bus, 0.1 V"),
        ("state", 40, 4, False, "", "0 off, 1 standby, 2 run, 3 derated, 4 request timed out, 5 fault"),
        ("echo", 44, 4, False, "", "sequence of the last request that was accepted"),
        ("sequence", 48, 4, False, "", "counts up by 1 in each frame, wraps at 16"),
        ("fault", 52, 4, False, "", "fault of the PCS, 0 none"),
        ("crc", 56, 8, False, "", "CRC-8 SAE J1850 of bytes 0 to 6"),
    )),
)
