"""Precharge: its window, its failed tries and the energy in its resistor."""


import pytest
from halite.hosts.controller_rig import Rig
from hypothesis import given
from hypothesis import strategies as st
from rack.control.protect.contactors import STEP_PRE
from rack.control.protect.precharge import DONE, TOO_FAST, TOO_SLOW, WAIT, precharge_verdict
from rack.definitions.alarms import code_of
from rack.definitions.codes import (
    CMD_CLOSE,
    CMD_RESET,
    STATE_CLOSED,
    STATE_FAULT,
)
from rack.generated import ids as I


@given(st.integers(0, 5000), st.integers(0, 16_000), st.integers(100, 16_000), st.integers(800, 995),
       st.integers(1, 1000), st.integers(1, 3000))  # fmt: skip
def test_a_precharge_is_good_only_inside_its_window(
    elapsed: int, bus: int, rack: int, done: int, early: int, width: int
) -> None:
    verdict = precharge_verdict(elapsed, bus, rack, done, early, early + width)
    full = bus / rack >= done / 1000
    assert verdict == (
        (TOO_FAST if elapsed < early else DONE) if full else (TOO_SLOW if elapsed >= early + width else WAIT)
    )


@pytest.mark.parametrize("tau_factor, fault", [(0.1, "precharge_fast"), (40, "precharge_slow")])
def test_a_precharge_outside_its_window_trips_at_the_third_try(tau_factor: float, fault: str) -> None:
    """A precharge that is too fast or too slow is tried three times and then trips; after a reset a good one closes."""
    rig = Rig("bench", precharge_cooldown_ms=600, contactor_settle_ms=100)
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.params.precharge_tau_ms = round(50 * tau_factor)
    tries, before = 0, 0
    while rig.s[I.TRIP_CODE] == 0:
        rig.scan()
        coils = rig.s[I.COILS]
        assert not coils & 4, "main + must not close"
        tries += coils & 2 > 0 and not before & 2
        before = coils
        assert rig.ms < 30_000
    assert tries == 3 and rig.s[I.TRIP_CODE] == code_of(f"{fault}_trip")
    rig.run(1500)
    assert rig.s[I.STATE] == STATE_FAULT and rig.s[I.COILS] == 0
    assert rig.c.command(CMD_RESET) == 0
    rig.run(30)
    assert rig.s[I.TRIP_CODE] == 0
    rig.params.precharge_tau_ms = 50
    rig.close()
    assert rig.s[I.PRECHARGE_FAST] == rig.s[I.PRECHARGE_SLOW] == 0


def test_a_failed_try_waits_for_the_cool_down_before_the_next() -> None:
    rig = Rig("bench", precharge_cooldown_ms=2000, contactor_settle_ms=100)
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.params.precharge_tau_ms = 5000
    rig.until(lambda: rig.s[I.COILS] & 2)
    rig.until(lambda: not rig.s[I.COILS])
    assert rig.until(lambda: rig.s[I.COILS]) >= 2000


def test_the_resistor_energy_is_bounded_and_cools_before_a_start() -> None:
    """With a shorted bus a precharge ends at the energy budget, and the next one waits until the resistor cooled."""
    rig = Rig("bench", precharge_energy_J=5, precharge_late_ms=60_000, precharge_cooldown_ms=4000)
    rig.bus = False                     # a short: the bus stays at zero
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.until(lambda: rig.s[I.COILS] & 2)
    took = rig.until(lambda: not rig.s[I.COILS])
    volts = rig.rack_dV // 10
    exact = 5 * 1000 / (volts * volts / 25)
    assert exact - 20 <= took <= exact + 40, "5 J at V^2 / 25 ohm"
    assert rig.s[I.PRECHARGE_SLOW] == 1
    energy = rig.s[I.PRECHARGE_J]
    assert energy in (4, 5)
    rig.run(2500)
    assert rig.s[I.PRECHARGE_J] < energy
    rig.run(3000)
    assert rig.s[I.PRECHARGE_J] <= 5


@pytest.mark.parametrize("tau_ms", [12, 50, 200, 2000])
def test_the_resistor_energy_is_right_at_any_rise_of_the_bus(tau_ms: int) -> None:
    """The counted energy of the resistor is close to the true one, however fast the bus rises."""
    rig = Rig("sodium", precharge_early_ms=0)
    rig.params.precharge_tau_ms = tau_ms
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.until(lambda: rig.s[I.STEP] == STEP_PRE)
    rig.until(lambda: rig.s[I.STEP] != STEP_PRE)
    rig.scan()
    assert rig.resistor_J > 50
    assert rig.resistor_J * 0.98 - 2 <= rig.s[I.PRECHARGE_J] <= rig.resistor_J * 1.02 + 2


def test_a_restart_cools_no_resistor() -> None:
    rig = Rig("bench", precharge_energy_J=5, precharge_late_ms=60_000, precharge_cooldown_ms=4000)
    rig.bus = False
    rig.scan()
    rig.c.command(CMD_CLOSE)
    rig.until(lambda: rig.s[I.STEP] == STEP_PRE)
    used = list(rig.c.retained)
    rig.until(lambda: not rig.s[I.COILS])
    rig.run(100)
    hot = list(rig.c.retained)
    rig.run(4000)
    cool = list(rig.c.retained)
    for kept, wait_ms in ((used, 2000), (hot, 2000), (cool, 0)):
        again = Rig("bench", precharge_energy_J=5, precharge_cooldown_ms=4000, contactor_settle_ms=100)
        again.c.restore(kept)
        assert again.s[I.TRIPS] == 0
        again.scan()
        assert again.c.command(CMD_CLOSE) == 0
        took_ms = again.until(lambda rig=again: rig.s[I.COILS])
        assert 0.9 * wait_ms <= took_ms <= wait_ms + 1400, "a quarter more by rounding up"


def test_a_good_precharge_clears_the_slow_warning() -> None:
    """One slow precharge warns; a good one without a reset in between clears the warning."""
    rig = Rig("bench", precharge_cooldown_ms=600, contactor_settle_ms=100)
    rig.scan()
    rig.c.command(CMD_CLOSE)
    good_ms = rig.params.precharge_tau_ms
    rig.params.precharge_tau_ms = 5_000
    rig.until(lambda: rig.s[I.PRECHARGE_SLOW])
    rig.run(500)
    assert rig.c.alarms.active[code_of("precharge_slow_warn") - 1]
    rig.params.precharge_tau_ms = good_ms
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED)
    assert rig.s[I.PRECHARGE_SLOW] == 0
    rig.run(60_000)
    assert not rig.c.alarms.active[code_of("precharge_slow_warn") - 1]
