"""The rights to close and to release: their table, and the requests that end without closing."""

from collections.abc import Callable

import pytest
from halite.common.paths import ROOT
from halite.hosts.controller_rig import Rig
from rack.control.protect.authority import RIGHTS
from rack.definitions.alarms import KEY, LOCAL, ROWS, code_of
from rack.definitions.codes import (
    BY_AUTO,
    BY_CONSOLE,
    BY_EMS,
    BY_KEY,
    CMD_CLOSE,
    CMD_OPEN,
    CMD_RESET,
    CMD_UNLOCK,
    IN_ESTOP,
    IN_HVIL,
    REFUSED_ALARM,
    REFUSED_HELD,
    REFUSED_KEY,
    REFUSED_NOTHING,
    REFUSED_PERSON,
    REFUSED_STATE,
    RIGHT_CLOSE,
    RIGHT_HELD,
    RIGHT_KEY,
    RIGHT_LOCAL,
    RIGHT_REPEAT,
    RIGHT_RESET,
    STATE_CLOSED,
    STATE_OPEN,
)
from rack.generated import ids as I


def restarted(rig: Rig, **changed: int) -> Rig:
    """Return a rack after a loss of power, with the retained words of this one."""
    rig.c.keep()
    again = Rig(rack_auto_close=rig.params.rack_auto_close, **changed)
    again.c.restore(rig.c.retained)
    return again


def never_closes(rig: Rig, ms: int) -> None:
    """Run, and demand that every coil stays off."""
    for _ in range(ms // 10):
        rig.scan()
        assert rig.s[I.COILS] == 0


def pressed_and_released(rig: Rig) -> Rig:
    """Press the emergency stop and release it."""
    rig.in_bits &= ~IN_ESTOP
    rig.run(300)
    rig.in_bits |= IN_ESTOP
    rig.run(2_000)
    return rig


def over_current(rig: Rig, dA: int = 490) -> None:
    """Let an over-current trip the rack, and end it."""
    rig.s[I.CURRENT_dA] = dA
    rig.run(100)
    assert rig.s[I.COILS] == 0 and rig.s[I.TRIP_CODE] == code_of("discharge_current_trip")
    rig.s[I.CURRENT_dA] = 0
    rig.run(2_000)


def test_the_table_gives_a_remote_path_few_rights() -> None:
    """The EMS link and auto_close have no right that needs a person, and the console alone has not the key's."""
    personal = RIGHT_LOCAL | RIGHT_KEY | RIGHT_HELD | RIGHT_REPEAT
    assert RIGHTS[BY_EMS] == RIGHT_CLOSE | RIGHT_RESET and RIGHTS[BY_AUTO] == RIGHT_CLOSE
    assert RIGHTS[BY_CONSOLE] & personal == personal & ~RIGHT_KEY and RIGHTS[BY_KEY] & personal == personal


ACTS = {
    "close": RIGHT_CLOSE,
    "release an ordinary trip": RIGHT_RESET,
    "release an over-current": RIGHT_REPEAT,
    "release an emergency stop": RIGHT_LOCAL,
    "close after `open` on the console, or after an emergency stop": RIGHT_HELD,
    "acknowledge lost FRAM data": RIGHT_HELD,
    "release a deep discharge, end the lock-out": RIGHT_KEY,
}


def test_the_page_prints_the_table_of_rights() -> None:
    """docs/operation.md has the rights of the firmware, act by act, in the order of BY_*."""
    lines = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8").splitlines()
    begin = lines.index("| act | EMS link | console | console with key | auto_close |") + 2
    shown = {}
    for line in lines[begin : begin + len(ACTS)]:
        act, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        shown[act] = cells
    words = {act: ["yes" if rights & right else "no" for rights in RIGHTS] for act, right in ACTS.items()}
    words["release an over-current"][BY_EMS] = "once"
    assert shown == words


@pytest.mark.parametrize("auto", [0, 1])
@pytest.mark.parametrize("at_rest", [False, True])
@pytest.mark.parametrize("lost", [False, True])
def test_only_a_person_closes_after_an_emergency_stop(auto: int, at_rest: bool, lost: bool) -> None:
    """Pressed and released, with every remote command and a loss of power: the rack stays open."""
    rig = Rig(rack_auto_close=auto)
    if not at_rest:
        rig.close()
    pressed_and_released(rig)
    if lost:
        rig = restarted(rig)
        rig.run(1_000)
    assert rig.c.command(CMD_RESET, BY_EMS) == REFUSED_PERSON
    rig.c.command(CMD_CLOSE, BY_EMS)
    never_closes(rig, 3_000)
    assert rig.c.command(CMD_RESET, BY_CONSOLE) == 0
    never_closes(rig, 3_000)
    assert rig.s[I.TRIP_CODE] == 0
    assert rig.c.command(CMD_CLOSE, BY_EMS) == REFUSED_HELD
    never_closes(rig, 3_000)
    rig.close()


def test_a_stop_hidden_behind_another_trip_is_kept() -> None:
    """The retained record holds the first trip only; an emergency stop after it still survives the loss of power."""
    rig = Rig(rack_auto_close=1).close()
    rig.s[I.GAS_mV] = 3_300
    rig.run(1_000)
    assert rig.s[I.TRIP_CODE] == code_of("gas_trip")
    rig.s[I.GAS_mV] = 0
    pressed_and_released(rig)
    again = restarted(rig)
    again.run(12_000)
    again.c.command(CMD_RESET, BY_EMS)
    never_closes(again, 3_000)
    assert again.c.alarms.active[code_of("estop") - 1] and not again.c.alarms.active[code_of("gas_trip") - 1]


def test_every_latch_of_a_person_survives_a_loss_of_power() -> None:
    """Each row that only a person releases is latched again after a restart, as a second trip too."""
    for key in [row[0] for row in ROWS if row[5] in (LOCAL, KEY)]:
        rig = Rig()
        rig.c.alarms.latch(code_of("gas_trip"))
        rig.c.alarms.latch(code_of(str(key)))
        rig.run(50)
        assert restarted(rig).c.alarms.active[code_of(str(key)) - 1], key


def deep(rig: Rig) -> Rig:
    """Discharge every cell deeply, let the rack trip, and charge the cells again."""
    for mV, ms in ((1_400, 1_500), (3_000, 7_000)):
        for at in range(rig.params.cell_series):
            rig.c.cells_mV[at] = mV
        rig.run(ms)
    return rig


def test_a_deep_discharge_needs_the_key() -> None:
    """EMS and console cannot release a deep discharge; the key can, and the rack then waits for a command."""
    rig = deep(Rig(rack_auto_close=1).close())
    assert rig.c.command(CMD_UNLOCK, BY_CONSOLE) == REFUSED_KEY
    for who in (BY_EMS, BY_CONSOLE):
        rig.c.command(CMD_RESET, who)       # releases the under-voltage
        rig.run(100)
        assert rig.c.command(CMD_RESET, who) == REFUSED_KEY
        never_closes(rig, 2_000)
    assert rig.c.command(CMD_UNLOCK, BY_KEY) == 0
    never_closes(rig, 3_000)
    assert rig.s[I.TRIP_CODE] == 0
    assert rig.c.command(CMD_UNLOCK, BY_KEY) == REFUSED_STATE
    rig.close()


def test_the_key_does_not_release_a_cell_that_is_still_deep() -> None:
    """The cause of a deep discharge is still there: unlocking is refused and changes no state."""
    rig = Rig().close()
    for at in range(rig.params.cell_series):
        rig.c.cells_mV[at] = 1_400
    rig.run(3_000)
    assert rig.c.command(CMD_UNLOCK, BY_KEY) == REFUSED_ALARM
    rig.run(100)
    assert rig.s[I.TRIP_CODE] and rig.s[I.TRIPS] == 1


@pytest.mark.parametrize("auto", [0, 1])
def test_an_opening_by_a_person_outlasts_the_power(auto: int) -> None:
    """After `open` on the console and a restart, only the console closes; after the EMS's opening, the EMS may."""
    rig = Rig(rack_auto_close=auto).close()
    assert rig.c.command(CMD_OPEN, BY_CONSOLE) == 0
    rig.run(1_500)
    for _ in range(2):                      # also after a second restart
        rig = restarted(rig)
        never_closes(rig, 2_000)
        assert rig.c.command(CMD_CLOSE, BY_EMS) == REFUSED_HELD
        never_closes(rig, 2_000)
    rig.close()
    rig = restarted(rig)
    rig.run(1_500)
    assert rig.c.command(CMD_OPEN, BY_EMS) == 0
    rig.run(1_500)
    rig = restarted(rig)
    never_closes(rig, 2_000)
    assert rig.c.command(CMD_CLOSE, BY_EMS) == 0
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED)


@pytest.mark.parametrize("who", [BY_EMS, BY_CONSOLE])
@pytest.mark.parametrize("name, close_ms", [("bench", 10_000), ("lfp", 10_000), ("bench", 2_000)])
def test_a_request_to_close_expires(who: int, name: str, close_ms: int) -> None:
    """A charged bus delays closing: the rack closes if it discharges in time, and not later."""
    for waits_ms, closes in ((close_ms - 100, True), (close_ms + 50, False)):
        rig = Rig(name, contactor_close_ms=close_ms, rack_auto_close=0)
        rig.bus = False
        rig.scan()
        rig.s[I.BUS_dV] = rig.rack_dV
        rig.run(1_500)
        assert rig.c.command(CMD_CLOSE, who) == 0
        never_closes(rig, waits_ms)
        assert rig.c.contactors.wanted == closes
        rig.bus, rig.s[I.BUS_dV] = True, 0
        rig.run(100)
        assert (rig.s[I.COILS] != 0) == closes


def test_a_second_request_has_its_whole_time() -> None:
    """A request after an expired one, and one that repeats a pending one, has ten seconds again."""
    rig = Rig(rack_auto_close=0)
    rig.bus = False
    rig.scan()
    rig.s[I.BUS_dV] = rig.rack_dV
    for pause_ms in (11_000, 9_000, 9_000):
        rig.run(pause_ms)
        assert rig.c.command(CMD_CLOSE) == 0
    rig.run(9_900)
    assert rig.c.contactors.wanted
    rig.run(200)
    assert not rig.c.contactors.wanted


def test_a_closed_rack_does_not_forget_its_request() -> None:
    """The time of a request ends with its first try: a closed rack stays closed."""
    rig = Rig(contactor_close_ms=1_500).close()
    rig.run(5_000)
    assert rig.s[I.STATE] == STATE_CLOSED


def test_the_wish_of_auto_close_does_not_expire() -> None:
    """auto_close waits for the bus as long as it takes, and a command on top of it does not shorten that."""
    rig = Rig(rack_auto_close=1)
    rig.bus = False
    rig.scan()
    rig.s[I.BUS_dV] = rig.rack_dV
    rig.run(2_000)
    assert rig.c.command(CMD_CLOSE) == 0
    rig.run(15_000)
    rig.bus, rig.s[I.BUS_dV] = True, 0
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED)


def _silent(rig: Rig) -> None:
    rig.silent.add("pcs")


def _gas(rig: Rig) -> None:
    rig.s[I.GAS_mV] = 3_300


def _hvil(rig: Rig) -> None:
    rig.in_bits &= ~IN_HVIL


def _opens(rig: Rig) -> None:
    rig.c.command(CMD_OPEN, BY_EMS)


@pytest.mark.parametrize("event", [_silent, _gas, _hvil, _opens])
def test_an_alarm_at_rest_drops_a_request(event: Callable[[Rig], None]) -> None:
    """A request that waits is dropped by an interlock, a trip or `open`, and does not return with their end."""
    rig = Rig(rack_auto_close=0)
    rig.bus = False
    rig.scan()
    rig.s[I.BUS_dV] = rig.rack_dV
    rig.run(1_500)
    assert rig.c.command(CMD_CLOSE, BY_EMS) == 0
    rig.run(100)
    assert rig.c.contactors.wanted
    event(rig)
    rig.run(900)
    rig.silent.clear()
    rig.in_bits |= IN_HVIL
    rig.s[I.GAS_mV] = rig.s[I.BUS_dV] = 0
    never_closes(rig, 12_000)
    if rig.s[I.TRIP_CODE]:
        assert rig.c.command(CMD_RESET, BY_EMS) == 0
    never_closes(rig, 3_000)
    rig.bus = True
    rig.close()


@pytest.mark.parametrize("when", ["at power-up", "at rest", "closed"])
def test_a_closed_interlock_does_not_close_the_rack(when: str) -> None:
    """An interlock that was open does not close the rack when it closes, also with auto_close and over a restart."""
    rig = Rig("sodium", rack_auto_close=1)
    if when == "at power-up":
        _hvil(rig)
    elif when == "at rest":
        rig.run(500)
    else:
        rig.close()
    rig.run(20)
    _hvil(rig)
    rig.run(300)
    rig.in_bits |= IN_HVIL
    rig.run(1_000)
    assert (rig.c.command(CMD_RESET, BY_EMS) == 0) == (when == "closed")
    never_closes(rig, 5_000)
    rig.c.keep()
    again = Rig("sodium", rack_auto_close=1)
    again.c.restore(rig.c.retained)
    never_closes(again, 5_000)
    assert again.c.command(CMD_CLOSE, BY_EMS) == 0
    again.until(lambda: again.s[I.STATE] == STATE_CLOSED)


@pytest.mark.parametrize("lost", [False, True])
def test_the_ems_tries_once_onto_an_over_current(lost: bool) -> None:
    """The EMS releases the first over-current; the second one waits for a person, also over a loss of power."""
    rig = Rig().close()
    over_current(rig)
    assert rig.c.command(CMD_RESET, BY_EMS) == 0
    rig.run(100)
    assert rig.c.command(CMD_CLOSE, BY_EMS) == 0
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED)
    over_current(rig)
    if lost:
        rig = restarted(rig)
        rig.run(2_000)
    assert rig.c.command(CMD_RESET, BY_EMS) == REFUSED_PERSON
    never_closes(rig, 2_000)
    assert rig.c.command(CMD_RESET, BY_CONSOLE) == 0
    rig.run(100)
    rig.close()
    over_current(rig)                       # a person has looked: the EMS has one try again
    assert rig.c.command(CMD_RESET, BY_EMS) == 0


def test_a_rack_that_works_again_gives_the_ems_its_try() -> None:
    """The EMS's try returns when the rack is closed and each counted trip is forgiven, and not while it is open."""
    rig = Rig(contactor_trips_s=60).close()
    over_current(rig)
    assert rig.c.command(CMD_RESET, BY_EMS) == 0
    for _ in range(70):
        rig.scan(1_000)
    assert rig.s[I.TRIPS] == 0 and rig.c.contactors.retried
    rig.silent.clear()
    rig.run(1_000)
    rig.c.command(CMD_RESET)
    rig.run(100)
    rig.close()
    rig.run(100)
    assert not rig.c.contactors.retried


def test_a_reset_without_effect_is_refused() -> None:
    """A reset without a latched trip, or with its cause still there, is refused with the reason."""
    rig = Rig()
    rig.run(100)
    for who in (BY_EMS, BY_CONSOLE, BY_KEY):
        assert rig.c.command(CMD_RESET, who) == REFUSED_NOTHING
    rig.s[I.GAS_mV] = 3_300
    rig.run(1_000)
    for who in (BY_EMS, BY_CONSOLE, BY_KEY):
        assert rig.c.command(CMD_RESET, who) == REFUSED_ALARM
    rig.s[I.GAS_mV] = 0
    rig.run(9_000)
    assert rig.c.command(CMD_RESET) == REFUSED_ALARM
    rig.run(1_100)
    assert rig.c.command(CMD_RESET) == 0
    rig.run(30)
    assert rig.s[I.TRIP_CODE] == 0 and rig.s[I.STATE] == STATE_OPEN
    assert rig.c.command(CMD_RESET) == REFUSED_NOTHING
