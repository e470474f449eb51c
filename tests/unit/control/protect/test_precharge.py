"""Precharge: its window, its failed tries and the energy in its resistor."""

import pytest
from halite.hosts.controller_rig import Rig
from rack.control.protect.contactors import STEP_PRE
from rack.definitions.alarms import code_of
from rack.definitions.codes import (
    CMD_CLOSE,
    CMD_RESET,
    COIL_POS,
    STATE_CLOSED,
    STATE_FAULT,
)
from rack.generated import ids as I


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


def after_a_slow_try() -> tuple[Rig, int]:
    """A rack of which one precharge was too slow, and the time constant, ms, with which the next one is good."""
    rig = Rig("bench", precharge_cooldown_ms=600, contactor_settle_ms=100)
    rig.scan()
    rig.c.command(CMD_CLOSE)
    good_ms = rig.params.precharge_tau_ms
    rig.params.precharge_tau_ms = 5_000
    rig.until(lambda: rig.s[I.PRECHARGE_SLOW])
    return rig, good_ms


def test_a_good_precharge_clears_the_slow_warning() -> None:
    """One slow precharge warns; a good one without a reset in between clears the warning."""
    rig, good_ms = after_a_slow_try()
    rig.run(500)
    assert rig.c.alarms.active[code_of("precharge_slow_warn") - 1]
    rig.params.precharge_tau_ms = good_ms
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED)
    assert rig.s[I.PRECHARGE_SLOW] == 0
    rig.run(60_000)
    assert not rig.c.alarms.active[code_of("precharge_slow_warn") - 1]


class Curve:
    """A bench rack in a precharge whose inputs follow a given curve. The bus has `start` of the rack's voltage."""

    def __init__(self, start: float = 0.0) -> None:
        self.rig = rig = Rig("bench", precharge_energy_J=1000, precharge_late_ms=2000)
        rig.bus = False
        self.share = start
        rig.s[I.BUS_dV] = round(start * rig.rack_dV)
        rig.scan()
        assert rig.c.command(CMD_CLOSE) == 0
        rig.until(lambda: rig.s[I.STEP] == STEP_PRE)

    def scan(self, told: float | None = None, amps: float = 1.0, fresh: bool = True) -> int:
        """One scan of 10 ms; the bus follows tau. told: reported share; amps: factor of the current. The coils."""
        rig = self.rig
        ohm = rig.params.precharge_ohm
        rig.s[I.CURRENT_dA] = round(amps * rig.rack_dV * (1 - self.share) / ohm)
        self.share += (1 - self.share) * 10 / rig.params.precharge_tau_ms
        rig.s[I.BUS_dV] = round((self.share if told is None else told) * rig.rack_dV)
        rig.silent = set() if fresh else {"pcs"}
        rig.scan()
        return int(rig.s[I.COILS])

    def until_closed(self, scans: int, told: float | None = None, amps: float = 1.0, fresh: bool = True) -> bool:
        """True when main + gets its command within these scans."""
        return any(self.scan(told, amps, fresh) & COIL_POS for _ in range(scans))


@pytest.mark.parametrize("start", [0.0, 0.15])
def test_a_good_curve_closes_after_three_frames(start: float) -> None:
    """Main + closes with the third status frame that reports a full bus, at any initial voltage."""
    curve = Curve(start)
    full = 0
    while not curve.scan() & COIL_POS:
        full += curve.share >= 0.95
        assert full < 5
    assert 2 <= full <= 4 and curve.share > 0.95


def test_an_old_frame_does_not_count_again() -> None:
    """A full bus in one old frame does not close: the frames must be new."""
    curve = Curve()
    while curve.share < 0.97:
        assert not curve.scan(min(curve.share, 0.94)) & COIL_POS
    assert not curve.scan() & COIL_POS
    assert not curve.until_closed(10, fresh=False)
    assert curve.until_closed(3)


def test_three_frames_count_only_in_a_row() -> None:
    """Two full frames and an empty one, again and again, do not close."""
    curve = Curve()
    while curve.share < 0.97:
        assert not curve.scan(min(curve.share, 0.94)) & COIL_POS
    for _ in range(10):
        for told in (0.98, 0.98, 0.5):
            assert not curve.scan(told) & COIL_POS
    assert curve.until_closed(3)


@pytest.mark.parametrize("told", [1.03, 1.2, 3.0])
def test_a_bus_above_the_rack_does_not_close(told: float) -> None:
    """A bus of 103 % or more contradicts the rack, however long it lasts."""
    curve = Curve()
    while curve.share < 0.97:
        assert not curve.scan(min(curve.share, 0.94)) & COIL_POS
    assert not curve.until_closed(20, told)


def test_a_bus_reported_full_does_not_close_while_current_flows() -> None:
    """The PCS reports 100 % from 90 ms on: main + stays open until the current has decayed."""
    curve = Curve()
    while curve.share < 0.85:
        assert not curve.scan(min(curve.share, 0.94)) & COIL_POS
    assert not curve.until_closed(3, 1.0)
    assert curve.until_closed(30, 1.0) and curve.share > 0.9


@pytest.mark.parametrize("amps", [0.0, 0.6, 1.5])
def test_a_charge_that_does_not_fit_does_not_close(amps: float) -> None:
    """A charge 40 % too small or 50 % too large contradicts the bus; the precharge ends as too slow."""
    curve = Curve()
    assert not curve.until_closed(198, amps=amps)
    curve.scan()
    curve.scan()
    assert curve.rig.s[I.PRECHARGE_SLOW] == 1 and not curve.rig.s[I.COILS]


def test_the_charge_of_a_failed_try_is_forgotten() -> None:
    """After a try with a leak the next one, without it, closes."""
    rig, good_ms = after_a_slow_try()
    rig.params.precharge_tau_ms = good_ms
    rig.until(lambda: rig.s[I.STATE] == STATE_CLOSED, 2_500)
    assert rig.s[I.PRECHARGE_SLOW] == 0
