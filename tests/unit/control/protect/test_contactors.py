"""The contactor sequence: its table, its windows and its lock-out."""

from array import array

import pytest
from halite.config.rows import levels_at
from halite.hosts.controller_rig import Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.protect import contactors
from rack.definitions.alarms import code_of
from rack.definitions.codes import (
    BY_AUTO,
    BY_CONSOLE,
    BY_EMS,
    BY_KEY,
    CMD_CLOSE,
    CMD_OPEN,
    CMD_RESET,
    CMD_UNLOCK,
    IN_AUX_NEG,
    IN_AUX_POS,
    IN_ESTOP,
    IN_HVIL,
    REFUSED_ALARM,
    REFUSED_KEY,
    REFUSED_LOCKED,
    REFUSED_NOTHING,
    REFUSED_STATE,
    REFUSED_TRIPPED,
    REFUSED_UNKNOWN,
    STATE_CLOSED,
    STATE_FAULT,
    STATE_LOCKED_OUT,
    STATE_OPEN,
    STATE_PRECHARGE,
)
from rack.generated import alarm_levels as L
from rack.generated import ids as I
from rack.generated import retained_words as W

_TIMED = ("_contact_late", "_waited_enough", "_cooled", "_precharge_failed")
_STEPS = {name: value for name, value in vars(contactors).items() if name.startswith("STEP_")}


def test_every_step_has_an_exit_and_a_timeout() -> None:
    """Every step has an exit, and every step except the resting ones has a timeout."""
    table = contactors.EXITS
    assert sorted(_STEPS.values()) == list(range(len(table)))
    resting = {_STEPS[name] for name in ("STEP_REST", "STEP_CLOSED", "STEP_FAULT", "STEP_LOCKED")}
    for step, exits in enumerate(table):
        assert exits, step
        assert step in resting or any(guard.__name__ in _TIMED for guard, _ in exits), step
        if contactors.COILS[step]:
            assert exits[0] == contactors.TRIPPED, "a trip goes before everything while a coil is on"


def test_every_step_can_be_reached_and_left_towards_rest() -> None:
    table = contactors.EXITS
    for start in range(len(table)):
        reached, todo = {start}, [start]
        while todo:
            for _, following in table[todo.pop()]:
                if following not in reached:
                    reached.add(following)
                    todo.append(following)
        assert contactors.STEP_REST in reached
        if start == contactors.STEP_REST:
            assert len(reached) == len(table)


def test_coils_close_in_the_order_of_the_sequence() -> None:
    """Main - closes first, then precharge, then main +; precharge opens last."""
    rig = Rig()
    rig.scan()
    rig.c.command(CMD_CLOSE)
    seen = [0]
    while rig.s[I.STATE] != STATE_CLOSED:
        rig.scan()
        if rig.s[I.COILS] != seen[-1]:
            seen.append(rig.s[I.COILS])
        assert rig.ms < 10_000
    assert seen == [0, 1, 3, 7, 5]


def test_the_rack_waits_its_least_time_open_and_says_so() -> None:
    rig = Rig()
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.run(rig.params.contactor_settle_ms - 50)
    assert rig.s[I.COILS] == 0
    rig.run(70)
    assert rig.s[I.STATE] == STATE_PRECHARGE


def test_a_charged_bus_or_a_missing_rack_voltage_bars_closing() -> None:
    """The rack does not close onto a charged bus, or without a rack voltage."""
    rig = Rig("bench")
    rig.bus = False
    rig.s[I.BUS_dV] = rig.rack_dV * 201 // 1000 + 1
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.run(3000)
    assert rig.s[I.COILS] == 0 and rig.s[I.TRIP_CODE] == 0
    rig.s[I.BUS_dV] = rig.rack_dV * 19 // 100
    rig.run(200)
    assert rig.s[I.COILS]


def test_a_bus_that_rises_early_is_a_welded_contactor() -> None:
    """A bus that rises while only main - is closed means a welded contactor."""
    rig = Rig("bench")
    rig.bus = False
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.until(lambda: rig.s[I.COILS] == 1)
    rig.s[I.BUS_dV] = rig.rack_dV
    rig.run(30)
    assert rig.s[I.COILS] == 0
    rig.run(50)
    assert rig.s[I.TRIP_CODE] == code_of("welded")
    rig.s[I.BUS_dV] = 0
    rig.run(1000)
    assert rig.c.command(CMD_RESET) == 0
    rig.run(50)
    assert rig.s[I.TRIP_CODE] == 0 and rig.s[I.CONTACTOR_WELDED] == 0


@pytest.mark.parametrize("missing, coils", [(IN_AUX_NEG, 1), (IN_AUX_POS, 7)])
def test_a_contact_that_does_not_close_is_stuck(missing: int, coils: int) -> None:
    rig = Rig("bench")
    rig.aux = False
    rig.scan()
    rig.c.command(CMD_CLOSE)
    while rig.s[I.TRIP_CODE] == 0:
        on = rig.s[I.COILS]
        bits = (IN_AUX_NEG if on & 1 else 0) | (IN_AUX_POS if on & 4 else 0)
        rig.in_bits = rig.in_bits & ~(IN_AUX_NEG | IN_AUX_POS) | bits & ~missing
        if on == coils:
            began = rig.ms
            coils = -1
        rig.scan()
        assert rig.ms < 5000
    assert rig.s[I.TRIP_CODE] == code_of("stuck")
    assert 100 <= rig.ms - began <= 150


@pytest.mark.parametrize(
    ("before", "after", "is_weld"), [(0, 90, False), (0, 120, True), (190, 280, False), (190, 310, True)]
)
def test_a_weld_is_a_rise_of_the_bus_not_its_level(before: int, after: int, is_weld: bool) -> None:
    """A bus a little below bus_permille, 200, may have noise across it; a rise by a tenth of the rack is a weld."""
    rig = Rig("bench")
    rig.bus = False
    rig.s[I.BUS_dV] = rig.rack_dV * before // 1000
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.until(lambda: rig.s[I.COILS] == 1)
    rig.s[I.BUS_dV] = rig.rack_dV * after // 1000
    rig.run(30)
    assert (rig.s[I.CONTACTOR_WELDED] == 4) == is_weld


@pytest.mark.parametrize("welded", [IN_AUX_NEG, IN_AUX_POS])
def test_a_contact_that_does_not_open_is_welded(welded: int) -> None:
    rig = Rig("bench").close()
    rig.aux = False
    rig.in_bits = rig.in_bits & ~(IN_AUX_NEG | IN_AUX_POS) | welded
    rig.c.command(CMD_OPEN)
    rig.until(lambda: rig.s[I.COILS] == 0)
    assert 100 <= rig.until(lambda: rig.s[I.TRIP_CODE]) <= 130
    assert rig.s[I.TRIP_CODE] == code_of("welded")
    rig.until(lambda: rig.s[I.STATE] == STATE_FAULT)


@settings(max_examples=20)
@given(st.integers(-2000, 2000))
def test_opening_waits_for_low_current_up_to_its_timeout(current: int) -> None:
    """An opening without a trip waits for low current, at most for the configured time."""
    rig = Rig("bench", overcurrent_sensor_dA=20_000, alarms_levels=_no_current_alarms())
    rig.close()
    rig.s[I.CURRENT_dA] = current
    rig.scan()
    rig.c.command(CMD_OPEN)
    rig.scan()
    assert rig.s[I.REQUEST_W] == 0
    took = rig.until(lambda: rig.s[I.COILS] == 0, 2000)
    assert took == (10 if abs(current) <= rig.params.contactor_low_dA else rig.params.contactor_open_ms)


def _no_current_alarms() -> array:
    levels = list(Rig("bench").params.alarms_levels)
    for key in ("charge_current_warn", "charge_current_derate", "charge_current_trip", "discharge_current_warn",
                "discharge_current_derate", "discharge_current_trip", "charge_i2t_trip",
                "discharge_i2t_trip"):  # fmt: skip
        at = levels_at(key) + L.SET
        levels[at] = -30_000 if levels[at] < 0 else 30_000
    return array("i", levels)


def test_a_trip_opens_in_the_same_scan_at_any_current() -> None:
    """A trip opens in the scan that detects it, at any current."""
    rig = Rig("bench").close()
    rig.s[I.CURRENT_dA] = 199
    rig.in_bits &= ~IN_ESTOP
    rig.scan()
    assert rig.s[I.COILS] == 0 and rig.s[I.REQUEST_W] == 0


def _trip(rig: Rig) -> None:
    rig.in_bits &= ~IN_HVIL
    rig.run(50)
    rig.in_bits |= IN_HVIL
    rig.run(700)
    assert rig.s[I.TRIP_CODE] == code_of("hvil")


def test_repeated_trips_lock_out_and_only_an_unlock_leads_on() -> None:
    rig = Rig("bench", contactor_settle_ms=50)
    for n in range(rig.params.contactor_trips):
        rig.close()
        _trip(rig)
        assert rig.s[I.TRIPS] == n + 1
        if n + 1 < rig.params.contactor_trips:
            assert rig.s[I.STATE] == STATE_FAULT
            assert rig.c.command(CMD_UNLOCK, BY_KEY) == REFUSED_STATE
            assert rig.c.command(CMD_RESET) == 0
            rig.run(30)
    assert rig.s[I.STATE] == STATE_LOCKED_OUT
    for command in (CMD_CLOSE, CMD_RESET):
        assert rig.c.command(command) == REFUSED_LOCKED
    rig.run(500)
    assert rig.s[I.STATE] == STATE_LOCKED_OUT
    for who in (BY_EMS, BY_CONSOLE, BY_AUTO):
        assert rig.c.command(CMD_UNLOCK, who) == REFUSED_KEY
    assert rig.c.command(CMD_UNLOCK, BY_KEY) == 0
    rig.run(30)
    assert rig.s[I.STATE] == STATE_FAULT, "the trip is still latched"
    assert rig.c.command(CMD_CLOSE) == REFUSED_TRIPPED
    assert rig.c.command(CMD_RESET) == 0
    rig.run(30)
    rig.close()


def test_counted_trips_are_forgiven_one_after_each_time() -> None:
    rig = Rig("bench", contactor_settle_ms=50, contactor_trips_s=60)
    for _ in range(2):
        rig.close()
        _trip(rig)
        rig.c.command(CMD_RESET)
        rig.run(30)
    assert rig.s[I.TRIPS] == 2
    for left in (1, 0, 0):
        for _ in range(61):
            rig.scan(1000)
        assert rig.s[I.TRIPS] == left


def test_a_loss_of_communication_at_rest_is_not_latched() -> None:
    """A loss of communication at rest holds the rack open, but it is not latched."""
    rig = Rig("bench")
    rig.silent.add("pcs")
    rig.run(500)
    assert rig.s[I.TRIP_CODE] == 0
    assert rig.c.command(CMD_CLOSE) == REFUSED_ALARM
    rig.silent.clear()
    rig.run(700)
    rig.close()
    rig.silent.add("pcs")
    rig.run(500)
    assert rig.s[I.TRIP_CODE] == code_of("pcs_lost")


def test_an_unknown_command_and_a_reset_under_load_are_refused() -> None:
    rig = Rig("bench").close()
    assert rig.c.command(99) == REFUSED_UNKNOWN
    assert rig.c.command(CMD_RESET) == REFUSED_STATE
    assert rig.s[I.STATE] == STATE_CLOSED


def test_an_opened_rack_stays_open_until_it_is_asked() -> None:
    rig = Rig("sodium", rack_auto_close=1).close()  # closes by itself after start
    rig.c.command(CMD_OPEN)
    rig.run(3000)
    assert rig.s[I.STATE] == STATE_OPEN
    rig.close()


def _never_switches(rig: Rig, ms: int) -> None:
    for _ in range(ms // 10):
        rig.scan()
        assert rig.s[I.COILS] == 0


def test_auto_close_waits_while_an_alarm_holds_open() -> None:
    """With auto_close the rack does not try to close while an alarm holds it open."""
    rig = Rig("sodium", rack_auto_close=1)
    rig.silent.add("pcs")
    rig.run(300)
    _never_switches(rig, 2500)
    rig.silent.clear()
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED)


def test_a_rack_that_nobody_asked_never_moves_a_contact() -> None:
    _never_switches(Rig("bench"), 2500)


def test_an_unlocked_rack_waits_for_a_command() -> None:
    """After `unlock` the rack waits for a command, also with auto_close."""
    rig = Rig("sodium", rack_auto_close=1)
    kept = list(rig.c.retained)
    kept[W.TRIPS] = rig.params.contactor_trips
    rig.c.restore(kept)
    _never_switches(rig, 1500)
    assert rig.s[I.STATE] == STATE_LOCKED_OUT
    assert rig.c.command(CMD_UNLOCK, BY_KEY) == 0
    _never_switches(rig, 2500)
    rig.close()


@pytest.mark.parametrize("opened", ["before", "tripped", "never"])
def test_an_operators_opening_outlasts_a_trip_and_its_reset(opened: str) -> None:
    """A rack that an operator has opened stays open after a trip and its reset, also with auto_close."""
    rig = Rig("sodium", rack_auto_close=1).close()
    if opened == "before":
        rig.c.command(CMD_OPEN)
        rig.run(1_500)
    rig.s[I.CURRENT_dA] = 10_000
    rig.run(500)
    if opened == "tripped":
        rig.c.command(CMD_OPEN)
    rig.s[I.CURRENT_dA] = 0
    rig.run(2_000)
    assert rig.c.command(CMD_RESET) == 0
    rig.run(5_000)
    assert (rig.s[I.STATE] == STATE_CLOSED) == (opened == "never")
    if opened != "never":
        assert rig.c.command(CMD_RESET) == REFUSED_NOTHING
    rig.run(5_000)
    assert (rig.s[I.STATE] == STATE_CLOSED) == (opened == "never"), "nor does a second reset close it"


def test_without_auto_close_a_reset_leaves_the_rack_open() -> None:
    """auto_close = false: after a trip and its reset the rack stays open until a command."""
    rig = Rig("bench", rack_auto_close=0).close()
    rig.in_bits &= ~IN_HVIL
    rig.run(200)
    assert rig.s[I.TRIP_CODE] == code_of("hvil")
    rig.in_bits |= IN_HVIL
    rig.run(500)
    assert rig.c.command(CMD_RESET) == 0
    rig.run(2 * rig.params.contactor_settle_ms + 2_000)
    assert rig.s[I.TRIP_CODE] == 0 and rig.s[I.STATE] == STATE_OPEN and rig.s[I.COILS] == 0
