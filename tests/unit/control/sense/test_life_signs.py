"""Life signs: insulation report, live zero of the gas sensor, fault bits of the AFE, age of its wire check."""

from array import array
from typing import Any

import pytest
from halite.hosts.controller_rig import CLEAN_mV, Rig, params
from rack.comms.ems import INSULATION, PAIR, SETPOINT, Ems
from rack.definitions.alarms import code_of
from rack.definitions.codes import AGE_NEVER, CMD_CLOSE, CMD_RESET, REFUSED_ALARM, STATE_CLOSED
from rack.generated import alarm_levels as L
from rack.generated import ids as I

AGE_ms, OPEN_ms = 5_000, 3_000


def watched(**changed: Any) -> Rig:
    """A rack with an insulation monitor and short ages."""
    given = {"insulation_monitor": 1, "insulation_age_ms": AGE_ms, "insulation_open_ms": OPEN_ms}
    return Rig("bench", **{**given, **changed})


def has(rig: Rig, key: str) -> bool:
    return rig.c.alarms.active[code_of(key) - 1] != 0


def test_insulation_that_was_never_reported_blocks_closing() -> None:
    """A rack with a monitor does not close before the first report, and needs no reset afterwards."""
    rig = watched(rack_auto_close=1)
    rig.s[I.INSULATION_AGE_ms] = AGE_NEVER
    rig.silent.add("insulation")
    rig.run(3_000)
    assert rig.c.command(CMD_CLOSE) == REFUSED_ALARM
    assert (rig.s[I.COILS], rig.s[I.TRIP_CODE]) == (0, 0)
    assert has(rig, "insulation_old_trip")
    rig.silent.clear()
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED)


def test_an_open_rack_with_an_old_report_does_not_close() -> None:
    """At rest the age alone blocks; the further time is for a closed rack."""
    rig = watched(rack_auto_close=0)
    rig.silent.add("insulation")
    rig.run(AGE_ms - 50)
    assert not has(rig, "insulation_old_trip")
    rig.run(100)
    assert rig.c.command(CMD_CLOSE) == REFUSED_ALARM


def test_an_old_report_warns_and_then_opens_twice() -> None:
    """Closed: a warning at the age, the trip after the further time; both again after report and reset."""
    rig = watched(rack_auto_close=0)
    for _ in range(2):
        rig.close()
        rig.silent.add("insulation")
        assert abs(rig.until(lambda: has(rig, "insulation_old_warn")) - AGE_ms) <= 20
        assert rig.s[I.STATE] == STATE_CLOSED
        assert abs(rig.until(lambda: not rig.s[I.COILS]) - OPEN_ms) <= 20
        assert rig.s[I.TRIP_CODE] == code_of("insulation_old_trip")
        rig.run(1_000)
        rig.c.command(CMD_RESET)
        rig.run(100)
        assert rig.s[I.TRIP_CODE]           # the cause is still there
        rig.silent.clear()
        rig.run(1_500)
        assert rig.s[I.TRIP_CODE] and not has(rig, "insulation_old_warn")
        assert rig.c.command(CMD_RESET) == 0
        rig.run(1_500)
        assert not rig.s[I.TRIP_CODE]


@pytest.mark.parametrize(("age_ms", "open_ms"), [(1_000, 0), (2_000, 500), (12_000, 1_000)])
def test_age_and_further_time_come_from_the_config(age_ms: int, open_ms: int) -> None:
    """The trip comes after the sum of both; without a further time it comes with the age."""
    rig = watched(insulation_age_ms=age_ms, insulation_open_ms=open_ms).close()
    rig.silent.add("insulation")
    assert abs(rig.until(lambda: not rig.s[I.COILS]) - age_ms - open_ms) <= 20
    assert rig.s[I.TRIP_CODE] == code_of("insulation_old_trip")


def test_a_slow_but_regular_report_raises_no_alarm() -> None:
    rig = watched().close()
    rig.silent.add("insulation")
    for _ in range(4):
        rig.run(AGE_ms - 100)
        assert not has(rig, "insulation_old_warn")
        rig.s[I.INSULATION_AGE_ms] = 0
    assert rig.s[I.STATE] == STATE_CLOSED


def test_a_rack_without_a_monitor_judges_no_age() -> None:
    rig = watched(insulation_monitor=0)
    rig.silent.add("insulation")
    rig.s[I.INSULATION_AGE_ms] = AGE_NEVER
    rig.close().run(1_000)
    assert rig.s[I.INSULATION_OLD] == 0 and rig.s[I.STATE] == STATE_CLOSED


@pytest.mark.parametrize("first, end, fresh", [
    (INSULATION, INSULATION + 1, True), (SETPOINT, PAIR, True), (SETPOINT, INSULATION, False),
])  # fmt: skip
def test_only_a_report_of_the_insulation_makes_it_fresh(first: int, end: int, fresh: bool) -> None:
    """A setpoint and a refused report of the EMS leave the age as it is."""
    rig = Rig()
    ems = Ems(rig.params, rig.s)
    rig.s[I.INSULATION_AGE_ms] = AGE_NEVER
    ems.values[INSULATION] = -1
    ems.apply(INSULATION, INSULATION + 1)
    assert rig.s[I.INSULATION_AGE_ms] == AGE_NEVER
    ems.values[INSULATION] = 900
    assert ems.apply(first, end) == 0
    assert (rig.s[I.INSULATION_AGE_ms] == 0) is fresh


def test_a_gas_sensor_below_its_live_zero_is_lost() -> None:
    """A broken lead warns after 2 s and derates after a minute; clean air ends both."""
    rig = Rig().close()
    full = rig.s[I.LIMIT_DISCHARGE_W]
    rig.s[I.GAS_mV] = 301
    rig.run(3_000)
    assert not has(rig, "gas_lost")
    rig.s[I.GAS_mV] = 0
    assert abs(rig.until(lambda: has(rig, "gas_lost")) - 2_000) <= 20
    assert rig.s[I.LIMIT_DISCHARGE_W] == full
    assert abs(rig.until(lambda: has(rig, "gas_lost_derate"), 70_000) - 58_000) <= 20
    rig.run(100)
    assert rig.s[I.LIMIT_DISCHARGE_W] < full and rig.s[I.STATE] == STATE_CLOSED
    rig.s[I.GAS_mV] = CLEAN_mV
    rig.run(6_000)
    assert not has(rig, "gas_lost") and not has(rig, "gas_lost_derate")


def test_a_gas_sensor_without_live_zero_is_never_lost() -> None:
    """Its config sets both levels to -2 mV: 0 V is clean air."""
    levels = array("i", params().alarms_levels)
    for key in ("gas_lost", "gas_lost_derate"):
        at = L.WIDTH * (code_of(key) - 1)
        levels[at + L.SET], levels[at + L.CLEAR] = -2, -1
    rig = Rig(alarms_levels=levels)
    rig.s[I.GAS_mV] = 0
    rig.close().run(65_000)
    assert not has(rig, "gas_lost") and not has(rig, "gas_lost_derate")


def test_a_fault_bit_of_the_afe_derates_and_then_trips() -> None:
    """The bit derates in the next scan and opens after its minute. Time without it counts back at half the rate."""
    rig = Rig().close()
    full = rig.s[I.LIMIT_CHARGE_W]
    rig.s[I.AFE_FAULT] = 1
    rig.run(50)
    assert has(rig, "afe_derate") and rig.s[I.LIMIT_CHARGE_W] < full
    rig.run(10_000)
    rig.s[I.AFE_FAULT] = 0
    rig.run(21_000)
    assert not has(rig, "afe_derate") and rig.s[I.STATE] == STATE_CLOSED
    rig.s[I.AFE_FAULT] = 2
    assert abs(rig.until(lambda: not rig.s[I.COILS], 61_000) - 60_000) <= 20
    assert rig.s[I.TRIP_CODE] == code_of("afe_trip")


def test_a_wire_check_that_does_not_end_warns_and_trips() -> None:
    """Three missing checks warn, two minutes open; a check in between ends the warning."""
    rig = Rig().close()
    rig.silent.add("wires")
    rig.until(lambda: has(rig, "wire_check_old_warn"), 36_000)
    rig.silent.clear()
    rig.run(1_500)
    assert not has(rig, "wire_check_old_warn")
    rig.silent.add("wires")
    assert abs(rig.until(lambda: not rig.s[I.COILS], 121_000) - 120_000) <= 20
    assert rig.s[I.TRIP_CODE] == code_of("wire_check_old_trip")


@pytest.mark.parametrize(("key", "signal", "wrong", "good", "max_ms"), [
    ("afe_trip", I.AFE_FAULT, 1, 0, 61_000), ("wire_check_old_trip", I.WIRE_CHECK_AGE_ms, 130_000, 0, 2_000),
])  # fmt: skip
def test_both_trips_need_a_reset_and_come_again(key: str, signal: int, wrong: int, good: int, max_ms: int) -> None:
    """The end of the cause releases no latch, nor does a reset before it; the second occurrence opens again."""
    rig = Rig().close()
    if signal == I.WIRE_CHECK_AGE_ms:
        rig.silent.add("wires")
    for _ in range(2):
        rig.s[signal] = wrong
        rig.until(lambda: not rig.s[I.COILS], max_ms)
        assert rig.s[I.TRIP_CODE] == code_of(key)
        rig.run(6_000)
        assert rig.c.command(CMD_RESET) == REFUSED_ALARM
        rig.s[signal] = good
        rig.run(6_000)
        assert rig.s[I.TRIP_CODE] == code_of(key)
        assert rig.c.command(CMD_RESET) == 0
        rig.run(100)
        assert rig.s[I.TRIP_CODE] == 0
        rig.close()
