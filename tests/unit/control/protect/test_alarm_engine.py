"""The alarm engine against a plain model, and the shipped alarm levels."""

import json
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from halite.hosts.controller_rig import Rig, params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.protect.alarm_engine import LATCHED, Alarms
from rack.control.protect.authority import RIGHTS
from rack.definitions.alarms import (
    ABOVE,
    ALWAYS,
    BELOW,
    DERATE,
    ENERGISED,
    KEY,
    LOCAL,
    NEVER,
    REPEAT,
    ROWS,
    TRIP,
    code_of,
)
from rack.definitions.codes import (
    ACT_OPEN,
    BY_CONSOLE,
    RIGHT_KEY,
    RIGHT_LOCAL,
    RIGHT_REPEAT,
    RIGHT_RESET,
    STATE_CLOSED,
)
from rack.definitions.pcs_codes import PCS_TIMEOUT
from rack.definitions.signals import SIGNALS
from rack.generated import alarm_levels as L
from rack.generated import alarm_output as O
from rack.generated import ids as I

_INDEX = {row[0]: at for at, row in enumerate(SIGNALS)}


class Model:
    """One row, in words: held for set_ms sets, held for clear_ms clears, latched waits for a reset."""

    def __init__(self, row: Any, levels: list[int]) -> None:
        self.above, self.latching = row[2] == ABOVE, row[5]
        self.set, self.clear, self.set_ms, self.clear_ms = levels
        self.on = self.latched = False
        self.held: int | None = None

    def scan(self, value: int, dt: int, energised: bool, rights: int) -> None:
        bound = self.clear if self.on else self.set
        upwards = self.above != self.on
        if not (value >= bound if upwards else value <= bound):
            self.held = None
            return
        self.held = 0 if self.held is None else self.held + dt
        if self.held < (self.clear_ms if self.on else self.set_ms):
            return
        if self.on and self.latched and not rights & _NEEDED[self.latching]:
            return
        self.on = not self.on
        self.latched = self.on and self.latching != NEVER and (self.latching != ENERGISED or energised)
        self.held = None


# right that each kind of latch needs
_NEEDED = {ALWAYS: RIGHT_RESET, ENERGISED: RIGHT_RESET, LOCAL: RIGHT_LOCAL, KEY: RIGHT_KEY, REPEAT: RIGHT_REPEAT}

_rows = st.sampled_from(range(len(ROWS)))
_elapsed = st.sampled_from([10, 10, 30, 0, 1, 1000])
_scan = st.tuples(st.integers(-9, 9), _elapsed, st.booleans(), st.sampled_from([0, 0, 0, *RIGHTS]))
_time = st.sampled_from([0, 0, 10, 25, 60])


@settings(max_examples=150)
@given(_rows, st.integers(-4, 4), st.integers(0, 5), _time, _time, st.lists(_scan, min_size=15, max_size=40))
def test_every_row_behaves_as_its_words_say(
    at: int, level: int, gap: int, set_ms: int, clear_ms: int, scans: list[tuple[int, int, bool, int]]
) -> None:
    row = ROWS[at]
    levels = [value for row in ROWS for value in (2**29 * row[2], 2**29 * row[2], 0, 0)]
    own = [level, level - gap * row[2], set_ms, clear_ms]
    levels[L.WIDTH * at : L.WIDTH * (at + 1)] = own
    s = array("i", [0] * I.COUNT)
    alarms = Alarms(SimpleNamespace(alarms_levels=array("i", levels), rack_scan_ms=10), s)
    model = Model(row, own)
    for value, dt, energised, rights in scans:
        s[_INDEX[row[1]]] = value
        was = model.on
        alarms.scan(dt, energised, rights)
        model.scan(value, dt, energised, rights)
        assert bool(alarms.active[at]) == model.on
        assert bool(alarms.active[at] & LATCHED) == model.latched
        assert s[I.ACTIONS] == (row[4] if model.on else 0)
        assert s[I.ALARM_LEVEL] == (row[3] if model.on else 0)
        assert s[I.TRIP_CODE] == (at + 1 if model.latched and row[3] == TRIP else 0)
        events = list(alarms.out[O.TRANSITION : O.TRANSITION + alarms.out[O.TRANSITIONS]])
        assert events == ([] if was == model.on else [at + 1 if model.on else -at - 1])


def test_the_first_trip_keeps_its_place_until_all_are_reset() -> None:
    p = params()
    s = array("i", [0] * I.COUNT)
    s[I.CELL_MAX_mV] = s[I.CELL_MIN_mV] = 3300
    s[I.TEMP_MIN_ddegC] = s[I.CHARGE_TEMP_MIN_ddegC] = 250
    s[I.INSULATION_KOHM] = 1_000_000
    alarms = Alarms(p, s)
    s[I.ESTOP_PRESSED] = 1
    alarms.scan(10, True, 0)
    s[I.CURRENT_dA] = 10_000
    alarms.scan(10, True, 0)
    assert alarms.active[code_of("discharge_current_trip") - 1] & LATCHED
    assert s[I.TRIP_CODE] == code_of("estop")
    s[I.ESTOP_PRESSED] = 0
    for _ in range(200):
        alarms.scan(10, True, 0)
    alarms.scan(10, True, RIGHTS[BY_CONSOLE])
    assert s[I.TRIP_CODE] == code_of("estop"), "one cause is still there"
    s[I.CURRENT_dA] = 0
    for _ in range(600):
        alarms.scan(10, True, 0)
    alarms.scan(10, True, RIGHTS[BY_CONSOLE])
    assert s[I.TRIP_CODE] == 0


def test_a_restored_latch_opens_and_holds() -> None:
    """A latch that was retained opens the rack after the start and holds it open, although its cause is gone."""
    s = array("i", [0] * I.COUNT)
    p = params()
    alarms = Alarms(p, s)
    s[I.CELL_MIN_mV] = 3200
    alarms.latch(code_of("deep_discharge"))
    alarms.latch(code_of("hot_warn"))
    for _ in range(2):
        alarms.scan(10, False, 0)
        assert s[I.TRIP_CODE] == code_of("deep_discharge")
    assert s[I.ACTIONS] & ACT_OPEN
    assert not alarms.active[code_of("hot_warn") - 1], "a row that never latches is not restored"


def test_a_row_that_never_stops_counting_does_not_leave_30_bits() -> None:
    s = array("i", [0] * I.COUNT)
    alarms = Alarms(params(), s)
    s[I.ESTOP_PRESSED] = 1
    alarms.scan(10, False, 0)
    s[I.ESTOP_PRESSED] = 0
    for _ in range(200):
        alarms.scan(10_000_000, False, 0)
    assert max(alarms.timers) < 2**30


@pytest.mark.parametrize("name", ["sodium", "lfp", "bench"])
def test_shipped_levels_rise_from_warn_to_trip(name: str) -> None:
    """In the shipped configs the levels rise from warn to trip, and set and clear leave room for hysteresis."""
    p = params(name)
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for at, row in enumerate(ROWS):
        set_at, clear_at, set_ms, clear_ms = p.alarms_levels[L.WIDTH * at : L.WIDTH * (at + 1)]
        sign = row[2]
        assert sign * set_at > sign * clear_at, row[0]
        assert set_ms >= 0 and clear_ms >= 0
        if (row[1], sign) in last:
            level, value = last[row[1], sign]
            assert row[3] >= level and sign * set_at >= sign * value, row[0]
        last[row[1], sign] = (row[3], set_at)


def _evt1() -> dict[str, int]:
    """Bits of Evt1 by name, from the SunSpec Alliance's own model."""
    from sunspec2 import mdef

    model = json.loads((Path(mdef.__file__).parent / "models" / "json" / "model_802.json").read_text())
    points = [point for group in [model["group"], *model["group"].get("groups", [])] for point in group["points"]]
    return {symbol["name"]: symbol["value"] for point in points if point["name"] == "Evt1"
            for symbol in point["symbols"]}  # fmt: skip


# part of the signal's name: part that the bit's name must then have
_BIT_WORDS = (
    ("charge_temp_max", "OVER_TEMP"), ("charge_temp_min", "UNDER_TEMP"),
    ("temp_max", "OVER_TEMP"), ("core_max", "OVER_TEMP"), ("rise", "OVER_TEMP"),
    ("runaway", "OVER_TEMP"), ("temp_min", "UNDER_TEMP"), ("temp_spread", "TEMPERATURE_IMBALANCE"),
    ("cell_max", "OVER_VOLT"), ("cell_min", "UNDER_VOLT"), ("cell_spread", "VOLTAGE_IMBALANCE"),
    ("i2t_charge", "OVER_CHARGE_CURRENT"), ("i2t_discharge", "OVER_DISCHARGE_CURRENT"),
    ("oc_alert", "OVER_DISCHARGE_CURRENT"), ("insulation", "GROUND_FAULT"), ("contactor", "CONTACTOR_ERROR"),
    ("precharge", "CONTACTOR_ERROR"), ("config_bad", "CONFIGURATION_ALARM"), ("cells_age", "COMMUNICATION"),
    ("temps_age", "COMMUNICATION"), ("current_age", "COMMUNICATION"), ("pcs_age", "COMMUNICATION"),
    ("ems_age", "COMMUNICATION"), ("link_broken", "COMMUNICATION"), ("", "OTHER"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_alarm_has_a_fitting_bit_in_evt1(row: Any) -> None:
    """Every alarm sets a bit of the EMS's event word Evt1 whose SunSpec name fits its signal."""
    key, signal, level, bit = row[0], row[1], row[3], row[6]
    names = {value: name for name, value in _evt1().items()}
    if signal == "current_dA":
        wanted = "OVER_DISCHARGE_CURRENT" if key.startswith("discharge") else "OVER_CHARGE_CURRENT"
    else:
        wanted = next(word for part, word in _BIT_WORDS if signal.startswith(part))
    assert names[bit].startswith(wanted), (key, names[bit])
    own, other = ("ALARM", "WARNING") if level == TRIP else ("WARNING", "ALARM")
    assert other not in names[bit] or names[bit].replace(other, own) not in names.values(), "the other level's bit"


@pytest.mark.parametrize("name", ["bench", "lfp", "sodium"])
@pytest.mark.parametrize("state", range(16))
def test_a_pcs_fault_or_timeout_warns_and_does_not_open(name: str, state: int) -> None:
    """A PCS in fault, or one that times out for requests, is reported; the contactors stay closed."""
    rig = Rig(name).close()
    rig.s[I.PCS_STATE] = state
    rig.run(1_020)
    assert bool(rig.c.alarms.active[code_of("pcs_warn") - 1]) == (state >= PCS_TIMEOUT)
    assert rig.s[I.STATE] == STATE_CLOSED and not rig.s[I.TRIP_CODE]


def test_every_trip_opens_and_nothing_else_does() -> None:
    for row in ROWS:
        assert (row[3] == TRIP) == bool(row[4] & ACT_OPEN), row[0]
        assert (row[3] == TRIP) == (row[5] != NEVER), row[0]
        assert row[2] in (ABOVE, BELOW) and row[3] in (1, DERATE, TRIP) and row[1] in _INDEX
        assert len(row[7]) <= 44
    assert len({row[0] for row in ROWS}) == len(ROWS)
    with pytest.raises(ValueError, match="nothing"):
        code_of("nothing")
