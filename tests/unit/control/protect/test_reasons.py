"""Why is it open, not closing, limited."""

from array import array

import pytest
from halite.hosts.controller_rig import Rig
from hypothesis import given
from hypothesis import strategies as st
from rack.control.protect.reasons import LIMITS, Reasons, text
from rack.definitions import codes
from rack.definitions.alarms import ROWS, code_of
from rack.definitions.codes import (
    CMD_CLOSE,
    CMD_OPEN,
    IN_ESTOP,
    IN_HVIL,
    IN_OC_OK,
    LIM_ALARM,
    LIM_TEMP_HIGH,
    WHY_CHARGE,
    WHY_CLOSING,
    WHY_DISCHARGE,
    WHY_HELD,
    WHY_LOCKED,
    WHY_NOT_ASKED,
    WHY_SETTLING,
    WHY_TRIPPED,
)
from rack.generated import ids as I


def _reasons(rig: Rig, most: int = 12) -> list[int]:
    reasons = Reasons(rig.c, array("i", [0] * most))
    return list(reasons.codes[: reasons.list()])


def test_a_healthy_rack_has_at_most_one_reason() -> None:
    """A healthy open rack reports that it waits for a command; a closed one reports no reason."""
    rig = Rig()
    rig.run(1500)
    assert _reasons(rig) == [WHY_NOT_ASKED]
    rig.c.command(CMD_CLOSE)
    rig.scan()
    assert _reasons(rig) == [WHY_CLOSING]
    rig.until(lambda: rig.s[I.STATE] == codes.STATE_CLOSED)
    assert _reasons(rig) == []
    rig.c.command(CMD_OPEN)
    rig.run(100)
    assert _reasons(rig) == [WHY_HELD]
    rig.c.command(CMD_CLOSE)
    rig.scan()
    assert _reasons(rig) == [WHY_SETTLING]


def test_reasons_begin_with_the_trip() -> None:
    """The trip comes first, then the latch, then the other alarms that hold the rack open."""
    rig = Rig().close()
    rig.in_bits &= ~IN_ESTOP
    rig.run(300)
    rig.in_bits &= ~IN_HVIL
    rig.run(100)
    assert _reasons(rig) == [code_of("estop"), WHY_TRIPPED, code_of("hvil")]


def test_every_latched_trip_is_told_and_a_warning_is_not() -> None:
    rig = Rig().close()
    rig.s[I.GAS_mV] = 800
    rig.run(1200)
    assert code_of("gas_warn") not in _reasons(rig)
    rig.s[I.CURRENT_dA] = 1000
    rig.in_bits &= ~IN_ESTOP
    rig.scan()
    told = _reasons(rig)
    assert set(told[:2]) == {code_of("estop"), code_of("discharge_current_trip")}
    assert told[0] == rig.s[I.TRIP_CODE]


@pytest.mark.parametrize("dA", [0, 3_000, -3_000])
def test_an_over_current_cut_in_hardware_is_named_so(dA: int) -> None:
    """By the time of the scan it may be over; the latched alert names it then, else the direction comes first."""
    rig = Rig("lfp").close()
    rig.s[I.CURRENT_dA] = dA
    rig.in_bits &= ~IN_OC_OK
    rig.scan()
    first = {0: "oc_alert", 3_000: "discharge_current_trip", -3_000: "charge_current_trip"}[dA]
    told = _reasons(rig)
    assert told[0] == code_of(first) and code_of("oc_alert") in told
    assert all("over-current" in text(code) for code in (told[0], code_of("oc_alert")))
    assert rig.s[I.COILS] == 0
    rig.in_bits |= IN_OC_OK
    rig.s[I.CURRENT_dA] = 0
    rig.run(2_000)
    assert code_of("oc_alert") in _reasons(rig) and WHY_TRIPPED in _reasons(rig)


def test_a_lock_out_is_told() -> None:
    rig = Rig(contactor_trips=1).close()
    rig.in_bits &= ~IN_ESTOP
    rig.run(500)
    assert WHY_LOCKED in _reasons(rig)


def test_what_limits_a_closed_rack_is_told_for_both_directions() -> None:
    rig = Rig("sodium").close()
    rig.warm(520)
    assert _reasons(rig)[-2:] == [WHY_CHARGE + LIM_TEMP_HIGH, WHY_DISCHARGE + LIM_TEMP_HIGH]


@pytest.mark.parametrize(("dA", "key", "limited"), [
    (-2_400, "charge_current_derate", WHY_CHARGE), (2_400, "discharge_current_derate", WHY_DISCHARGE),
])  # fmt: skip
def test_the_alarm_that_derates_is_told_before_what_it_limits(dA: int, key: str, limited: int) -> None:
    rig = Rig("lfp").close()
    rig.s[I.CURRENT_dA] = dA
    rig.run(1_200)
    assert _reasons(rig) == [code_of(key), limited + LIM_ALARM]


def test_an_alarm_that_derates_both_ways_is_told_once() -> None:
    rig = Rig("lfp").close()
    rig.s[I.COOLANT_ddegC] = 600
    rig.run(5_500)
    assert _reasons(rig)[-3:] == [code_of("coolant_derate"), WHY_CHARGE + LIM_ALARM, WHY_DISCHARGE + LIM_ALARM]
    assert _reasons(rig).count(code_of("coolant_derate")) == 1


@given(st.integers(0, 3))
def test_the_list_is_cut_at_its_room_from_the_end(room: int) -> None:
    rig = Rig().close()
    rig.in_bits &= ~IN_ESTOP
    rig.scan()
    assert _reasons(rig, room) == _reasons(rig)[:room]


@pytest.mark.parametrize("code", [*range(1, len(ROWS) + 1), *range(1001, 1011), *range(1101, 1109), *range(1201, 1209)])
def test_every_reason_has_its_words(code: int) -> None:
    assert len(text(code)) > 3
    assert LIMITS.count(b"|") == 8
