"""Thermal runaway: its evidence, and the sensor faults that must not pass for it."""

from array import array
from typing import Any

from halite.hosts.controller_rig import params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.sense.runaway import Runaway
from rack.control.sense.temperatures import Temperatures
from rack.definitions.codes import (
    EV_DROP,
    EV_GAS,
    EV_HOT,
    EV_NEIGHBOUR,
    EV_RISE,
    EV_SLOW,
    NO_OPEN,
    RUN_FAST,
    RUN_NONE,
    RUN_SLOW,
    RUN_SUSPECT,
)
from rack.generated import ids as I


class Bench:
    """Three modules of eight sensors and sixteen cells; temperatures as exact 0.1 K over time."""

    def __init__(self, start: float = 300, **changed: Any) -> None:
        self.s = s = array("i", [0] * I.COUNT)
        s[I.CELL_DROP_AT] = -1
        self.raw = array("i", [round(start)] * 24)
        p = params("sodium", afe_devices=3, **changed)
        self.t = Temperatures(p, s, self.raw)
        self.r = Runaway(p, s, self.t)
        self.exact = [float(start)] * 24
        self.rate = [0.0] * 24          # 0.1 K/s

    def run(self, seconds: float, period_ms: int = 100) -> None:
        for _ in range(round(seconds * 1000 / period_ms)):
            for at in range(24):
                if self.raw[at] > -1000:
                    self.exact[at] += self.rate[at] * period_ms / 1000
                    self.raw[at] = round(self.exact[at])
            self.t.arrived(period_ms)
            self.r.arrived(period_ms)

    @property
    def found(self) -> tuple[int, int]:
        return self.s[I.RUNAWAY], self.s[I.RUNAWAY_bits]


@settings(max_examples=15)
@given(st.integers(0, 23), st.integers(11, 40))
def test_heat_rise_and_a_warm_neighbour_are_a_runaway(at: int, rate: int) -> None:
    """Heat and rise with a warming neighbour are a runaway within 5 s."""
    bench = Bench(580)
    bench.rate[at] = rate
    bench.rate[at // 8 * 8 + (at + 1) % 8] = 1.0
    bench.run(5)
    assert bench.found == (RUN_FAST, EV_RISE | EV_HOT | EV_NEIGHBOUR)
    assert bench.s[I.RUNAWAY_AT] == at


@settings(max_examples=15)
@given(st.integers(0, 23), st.integers(12, 95))
def test_one_rising_sensor_alone_is_only_a_suspicion(at: int, rate: int) -> None:
    """One rising sensor without other evidence is a suspicion, not a runaway."""
    bench = Bench(300)
    bench.run(1)
    bench.rate[at] = rate
    for _ in range(15):
        bench.run(1)
        assert bench.s[I.RUNAWAY] <= RUN_SUSPECT
    assert bench.s[I.RUNAWAY] == RUN_SUSPECT
    assert bench.found[1] & ~(EV_HOT | EV_RISE) == 0


def test_a_rise_is_no_suspicion_before_three_seconds() -> None:
    bench = Bench(300)
    bench.run(0.5)
    bench.rate[4] = 30
    bench.run(3)
    assert bench.s[I.RUNAWAY] == RUN_NONE
    bench.run(1)
    assert bench.s[I.RUNAWAY] == RUN_SUSPECT


def test_a_rise_that_pauses_begins_again() -> None:
    bench = Bench(300)
    for _ in range(5):
        bench.rate[4] = 30
        bench.run(2.5)
        assert bench.s[I.RUNAWAY] == RUN_NONE
        bench.rate[4] = 0
        bench.run(1)


@settings(max_examples=10)
@given(st.integers(0, 23), st.integers(0, 47))
def test_a_fallen_cell_confirms_a_rise_only_in_its_own_module(at: int, cell: int) -> None:
    bench = Bench(300)
    bench.rate[at] = 20
    bench.s[I.CELL_DROP_AT] = cell
    bench.run(5)
    same = cell // 16 == at // 8
    assert bench.found == ((RUN_FAST, EV_RISE | EV_DROP) if same else (RUN_SUSPECT, EV_RISE))


def test_gas_confirms_heat_and_rise_but_not_a_rise_alone() -> None:
    bench = Bench(300)
    bench.rate[9] = 20
    bench.s[I.GAS_mV] = 800
    bench.run(5)
    assert bench.found == (RUN_SUSPECT, EV_RISE | EV_GAS)
    bench.run(11)
    assert bench.found == (RUN_FAST, EV_RISE | EV_GAS | EV_HOT)


def test_gas_one_millivolt_below_its_level_confirms_nothing() -> None:
    bench = Bench(590)
    bench.rate[9] = 20
    bench.s[I.GAS_mV] = 799
    bench.run(5)
    assert bench.found == (RUN_SUSPECT, EV_RISE | EV_HOT)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([0.12, 0.3, 1.0, 1.4]), st.integers(0, 7))
def test_a_slow_warming_with_its_neighbour_is_a_slow_runaway(rate: float, at: int) -> None:
    """A cell that warms slowly above the mean of its rack, together with its neighbour, is a slow runaway."""
    bench = Bench(300)
    for other in range(24):
        bench.rate[other] = 0.05
    bench.rate[at] += rate
    bench.rate[(at + 1) % 8] += rate / 3 + 0.1
    bench.run(300, 1000)
    assert (bench.found[0], bench.found[1] & ~EV_HOT) == (RUN_SLOW, EV_SLOW | EV_NEIGHBOUR)


def test_a_rack_that_warms_as_a_whole_is_no_runaway() -> None:
    bench = Bench(200)
    bench.rate = [0.5] * 24     # 3 K/min: sodium cells at a high rate
    bench.run(400, 1000)
    assert bench.found == (RUN_NONE, 0)
    assert bench.s[I.RISE_SLOW_mKpmin] < 500


def test_slow_warming_needs_its_whole_time_and_a_witness() -> None:
    bench = Bench(300)
    bench.run(1, 1000)
    bench.rate[5] = 0.4
    bench.rate[6] = 0.2
    bench.run(179, 1000)
    assert bench.s[I.RUNAWAY] == RUN_NONE
    bench.run(61, 1000)
    assert bench.s[I.RUNAWAY] == RUN_SLOW
    alone = Bench(300)
    alone.rate[5] = 0.4
    alone.run(300, 1000)
    assert alone.s[I.RUNAWAY] == RUN_NONE


def test_a_single_sensor_that_drifts_is_not_a_runaway() -> None:
    """A single sensor that drifts slowly into the heat is not a runaway."""
    bench = Bench(560)
    bench.rate[5] = 0.4
    bench.run(400, 1000)
    assert bench.t.used[5] > 600
    assert bench.found == (RUN_NONE, EV_SLOW | EV_HOT)


def test_the_evidence_at_one_sensor_does_not_confirm_another() -> None:
    """Module 0 warms slowly with a neighbour; a broken sensor of module 2 runs away all alone."""
    bench = Bench(300)
    bench.rate[0], bench.rate[1] = 0.4, 0.2
    bench.run(300, 1000)
    slow = (RUN_SLOW, EV_SLOW | EV_NEIGHBOUR)
    assert (bench.found, bench.s[I.RUNAWAY_AT]) == (slow, 0)
    bench.rate[20] = 40
    bench.run(10)
    assert bench.t.used[20] > 600
    assert (bench.found, bench.s[I.RUNAWAY_AT]) == (slow, 0)


def test_both_tiers_add_up_their_evidence_at_the_same_sensor() -> None:
    bench = Bench(300)
    bench.rate[5], bench.rate[6] = 0.4, 0.2
    bench.run(300, 1000)
    bench.rate[5] = 40
    bench.run(10)
    assert bench.found == (RUN_FAST, EV_RISE | EV_SLOW | EV_HOT | EV_NEIGHBOUR)


@settings(max_examples=15)
@given(st.integers(0, 23), st.lists(st.sampled_from([NO_OPEN, 250, 300, 310, 900]), min_size=10, max_size=60))
def test_a_flickering_sensor_is_never_a_runaway(at: int, values: list[int]) -> None:
    bench = Bench(300)
    for value in values:
        bench.raw[at] = value
        bench.t.arrived(100)
        bench.r.arrived(100)
        assert bench.s[I.RUNAWAY] == RUN_NONE


@given(st.integers(-20, 60))
def test_the_fastest_rise_is_reported_in_its_unit(rate: int) -> None:
    bench = Bench(300)
    bench.run(0.5)
    bench.rate[11] = rate
    bench.run(1)
    assert abs(bench.s[I.RISE_mKps] - max(0, rate) * 100) <= 200
    if rate > 4:
        assert bench.s[I.RISE_AT] == 11


def test_a_replaced_sensor_does_not_rise() -> None:
    """A lost sensor that takes the value of a hotter neighbour does not count as rising."""
    bench = Bench(300)
    bench.rate[4] = 8
    bench.run(10)
    bench.rate[4] = 0
    bench.run(2)
    bench.raw[5] = NO_OPEN
    for _ in range(10):
        bench.run(0.1)
        assert bench.s[I.RISE_mKps] == 0
    assert bench.t.used[5] == 380
