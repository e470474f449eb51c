"""The whole controller on the smallest rack."""

from array import array

import pytest
from halite.config.rows import levels_at
from halite.hosts.controller_rig import Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response.pair import LINK_LOST_MS
from rack.definitions.alarms import ROWS, code_of
from rack.definitions.codes import (
    ACT_ZERO,
    CMD_CLOSE,
    CMD_OPEN,
    CMD_RESET,
    IN_ESTOP,
    IN_HVIL,
    REFUSED_TRIPPED,
    STATE_CLOSED,
    STATE_FAULT,
    STATE_OPEN,
)
from rack.generated import alarm_levels
from rack.generated import ids as I
from rack.generated import limit_side as L
from rack.generated import retained_words as W


@pytest.mark.parametrize("name", ["sodium", "lfp", "bench"])
def test_a_healthy_rack_precharges_and_closes(name: str) -> None:
    rig = Rig(name).close()
    assert rig.s[I.COILS] == 5
    assert rig.s[I.TRIP_CODE] == 0


def test_an_overheated_rack_is_derated_before_it_trips() -> None:
    """An overheated rack is derated before it trips, and it closes again only after a reset."""
    rig = Rig().close()
    full = rig.s[I.LIMIT_DISCHARGE_W]
    rig.warm(570)
    assert 0 < rig.s[I.LIMIT_DISCHARGE_W] < full
    assert rig.s[I.STATE] == STATE_CLOSED
    rig.warm(605)
    assert rig.s[I.COILS] == 0
    assert rig.s[I.TRIP_CODE] == code_of("hot_trip")
    rig.run(200)
    assert rig.s[I.STATE] == STATE_FAULT
    assert rig.c.command(CMD_CLOSE) != 0
    rig.warm(250)
    rig.run(6000)
    assert rig.s[I.STATE] == STATE_FAULT
    assert rig.c.command(CMD_RESET) == 0
    rig.run(50)
    assert rig.s[I.STATE] == STATE_OPEN
    rig.close()


@settings(max_examples=12)
@given(st.integers(0, 2**30 - 1))
def test_the_clock_may_start_anywhere_and_wrap_at_any_time(start: int) -> None:
    images = []
    for begin in (0, start, 2**30 - 500):
        rig = Rig("bench", begin).close()
        rig.s[I.CURRENT_dA] = 150
        rig.run(300)
        rig.in_bits &= ~IN_HVIL
        rig.run(50)
        images.append([rig.ms, *rig.s])
    assert images[0] == images[1] == images[2]


@settings(max_examples=40)
@given(st.integers(0, 2**30 - 1), st.integers(0, 2**30 - 1))
def test_a_gap_above_a_second_is_reported_and_not_counted(start: int, gap: int) -> None:
    """A gap of more than 1 s between scans is reported, and its excess does not count as time."""
    rig = Rig("bench", start)
    rig.scan()
    held = rig.s[I.STEP_ms]
    rig.now_ms = (rig.now_ms + gap - 10) & (2**30 - 1)
    rig.scan()
    assert rig.s[I.TIME_JUMP_ms] == max(0, gap - 1000)
    assert rig.s[I.STEP_ms] == held + min(gap, 1000)


def test_a_gap_while_closed_opens_the_rack() -> None:
    rig = Rig().close()
    rig.now_ms += 1500
    rig.scan()
    assert rig.s[I.COILS] == 0 and rig.s[I.TRIP_CODE] == code_of("time_trip")


def test_latches_trips_and_charge_survive_a_power_loss() -> None:
    """Latches, counted trips and the charge survive a loss of power."""
    rig = Rig().close()
    for at in range(16):
        rig.c.cells_mV[at] = 1900
    rig.run(1500)
    assert rig.s[I.TRIP_CODE] == code_of("cell_low_trip")
    again = Rig()
    again.c.restore(rig.c.retained)
    again.run(100)
    assert again.s[I.TRIP_CODE] == code_of("deep_discharge")
    assert again.s[I.TRIPS] == 1 and again.s[I.COILS] == 0


def test_a_restart_is_no_reset_a_latched_trip_outlives_the_power() -> None:
    rig = Rig(rack_auto_close=1).close()
    rig.in_bits &= ~IN_ESTOP
    rig.run(200)
    again = Rig(rack_auto_close=1)      # the button is released by now
    again.c.restore(rig.c.retained)
    again.run(3_000)
    assert again.s[I.TRIP_CODE] == code_of("estop") and again.s[I.COILS] == 0
    assert again.c.command(CMD_CLOSE) == REFUSED_TRIPPED
    assert again.c.command(CMD_RESET) == 0
    again.run(3_000)
    assert again.s[I.TRIP_CODE] == 0 and again.s[I.COILS] == 0
    again.close()
    third = Rig(rack_auto_close=1)
    third.c.restore(again.c.retained)   # acknowledged for good
    third.until(lambda: third.s[I.STATE] == STATE_CLOSED)


def test_a_deep_discharge_of_an_earlier_firmware_is_latched() -> None:
    """It wrote 1 and no trip's code."""
    rig = Rig()
    kept = list(rig.c.retained)
    kept[W.LATCHED] = 1
    rig.c.restore(kept)
    rig.run(50)
    assert rig.s[I.TRIP_CODE] == code_of("deep_discharge")


def test_a_restart_does_not_close_what_an_operator_has_opened() -> None:
    """The manual demands `open` before a person works on the rack."""
    rig = Rig(rack_auto_close=1).close()
    rig.c.command(CMD_OPEN)
    rig.run(1_000)
    again = Rig(rack_auto_close=1)
    again.c.restore(rig.c.retained)
    again.in_bits &= ~IN_ESTOP          # nor does a trip on the way
    again.run(200)
    again.in_bits |= IN_ESTOP
    again.run(2_000)
    assert again.c.command(CMD_RESET) == 0
    third = Rig(rack_auto_close=1)
    again.run(2_000)
    third.c.restore(again.c.retained)
    for rack in (again, third):
        rack.run(3_000)
        assert rack.s[I.COILS] == 0 and rack.s[I.TRIP_CODE] == 0
    assert third.c.command(CMD_CLOSE) == 0
    third.until(lambda: third.s[I.STATE] == STATE_CLOSED)
    third.run(200)
    fourth = Rig(rack_auto_close=1)
    fourth.c.restore(third.c.retained)
    fourth.until(lambda: fourth.s[I.STATE] == STATE_CLOSED)


@pytest.mark.parametrize("code", [-1, 0, len(ROWS) + 1, 255, 2**29])
def test_a_kept_trip_that_does_not_exist_is_none(code: int) -> None:
    rig = Rig()
    kept = list(rig.c.retained)
    kept[W.LATCHED] = code << 2
    rig.c.restore(kept)
    rig.run(50)
    assert rig.s[I.TRIP_CODE] == 0


def test_an_ems_that_has_fallen_silent_asks_for_nothing_any_more() -> None:
    rig = Rig("sodium", response_priority=0).close()
    rig.s[I.SETPOINT_W] = 50_000
    rig.s[I.EMS_AGE_ms] = 17_999
    for _ in range(100):
        rig.c.response.on_period(1_250_000)
        rig.run(20)
    assert rig.s[I.EMS_AGE_ms] == 19_999 and rig.s[I.SETPOINT_W] == 50_000 and rig.s[I.REQUEST_W] > 0
    for _ in range(200):
        rig.c.response.on_period(1_250_000)
        rig.run(20)
    assert rig.s[I.SETPOINT_W] == 0 and rig.s[I.REQUEST_W] == 0
    assert rig.c.alarms.active[code_of("ems_lost") - 1]
    assert rig.s[I.STATE] == STATE_CLOSED, "the response to the grid needs no EMS"


def test_the_response_is_requested_within_the_limits() -> None:
    """The request stays within the limits, and it is 0 while power is forbidden."""
    rig = Rig("sodium").close()
    for _ in range(60):
        rig.c.response.on_period(1_000_000_000_000 // 49_400 // 16)
        rig.scan(20)
    asked = rig.s[I.REQUEST_W]
    assert 0 < asked <= rig.s[I.LIMIT_DISCHARGE_W]
    assert rig.s[I.FREQ_mHz] == 49_400 and rig.s[I.RESPONSE_W] >= asked
    rig.c.limits.discharge.words[L.PERMILLE] = 0
    rig.c.limits.discharge.words[L.TABLE] = 100
    rig.scan()
    assert 0 <= rig.s[I.REQUEST_W] <= rig.s[I.LIMIT_DISCHARGE_W] < asked
    rig.in_bits = 0
    rig.scan()
    assert rig.s[I.REQUEST_W] == 0


def test_a_suspected_runaway_stops_power_and_stays_closed() -> None:
    """A suspected runaway sets the request to zero and keeps the contactors closed."""
    rig = Rig("bench").close()
    asked, early = [], []
    plan = rig.c.plan

    def planned() -> None:
        """The second half of a scan; before it the first has withdrawn the request."""
        if rig.s[I.ACTIONS] & ACT_ZERO:
            early.append(rig.s[I.REQUEST_W])
        plan()

    rig.c.plan = planned
    for _ in range(50):
        rig.c.temps_ddegC[2] += 2
        for _ in range(5):
            rig.c.response.on_period(1_000_000_000_000 // 49_500 // 16)
            rig.run(20)
        asked.append(rig.s[I.REQUEST_W])
    assert max(asked) > 0
    assert rig.s[I.STATE] == STATE_CLOSED and rig.s[I.REQUEST_W] == 0
    assert rig.c.alarms.active[code_of("runaway_derate") - 1]
    assert early and not any(early)


def test_an_ems_that_never_spoke_counts_as_lost() -> None:
    assert Rig("sodium").s[I.PAIR_AGE_ms] >= LINK_LOST_MS


def test_a_setpoint_after_a_silence_counts_at_once() -> None:
    """The console has said ok to it: the alarm may take its clear time, the setpoint does not wait for that."""
    levels = array("i", Rig().params.alarms_levels)
    levels[levels_at("ems_lost") + alarm_levels.CLEAR_ms] = 10_000
    rig = Rig(alarms_levels=levels)
    rig.s[I.SETPOINT_W] = 50_000
    rig.s[I.EMS_AGE_ms] = 20_000
    rig.run(100)
    assert rig.s[I.SETPOINT_W] == 0
    rig.s[I.SETPOINT_W], rig.s[I.EMS_AGE_ms] = 40_000, 1
    rig.run(100)
    assert rig.c.alarms.active[code_of("ems_lost") - 1] and rig.s[I.SETPOINT_W] == 40_000
