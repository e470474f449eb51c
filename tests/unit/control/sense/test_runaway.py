"""Thermal runaway: its evidence, and the sensor faults that must not pass for it."""

import random
from array import array
from typing import Any

import pytest
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
    """Modules of eight sensors and sixteen cells; temperatures as exact 0.1 K over time."""

    def __init__(self, start: float = 300, modules: int = 3, **changed: Any) -> None:
        self.s = s = array("i", [0] * I.COUNT)
        s[I.CELL_DROP_AT] = -1
        n = 8 * modules
        self.raw = array("i", [round(start)] * n)
        p = params("sodium", afe_devices=modules, **changed)
        self.t = Temperatures(p, s, self.raw)
        self.r = Runaway(p, s, self.t)
        self.exact = [float(start)] * n
        self.rate = [0.0] * n          # 0.1 K/s

    def run(self, seconds: float, period_ms: int = 100) -> None:
        for _ in range(round(seconds * 1000 / period_ms)):
            for at in range(len(self.raw)):
                if self.raw[at] > -1000:
                    self.exact[at] += self.rate[at] * period_ms / 1000
                    self.raw[at] = round(self.exact[at])
            self.arrived(period_ms)

    def arrived(self, period_ms: int) -> None:
        self.t.judge(period_ms)
        self.t.compare()
        self.r.judge_slow(period_ms)
        self.r.judge_fast(period_ms)

    def until(self, level: int) -> int:
        """Seconds in steps of 1 s until the level is found; AssertionError after an hour."""
        for seconds in range(3600):
            if self.s[I.RUNAWAY] == level:
                return seconds
            self.run(1, 1000)
        raise AssertionError("not found")

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


@pytest.mark.parametrize("own, neighbours, rack", [
    (0.4, 0.0, 0.0), (0.4, 0.3, 0.0), (0.6, 0.1, 0.0), (0.5, 0.0, 0.1), (0.5, 0.1, 0.1), (1.0, 0.5, 0.0),
    (3.0, 0.0, 0.1),
])  # fmt: skip
@pytest.mark.parametrize("at", [0, 4, 23])
def test_a_slow_runaway_is_found_within_ten_minutes(at: int, own: float, neighbours: float, rack: float) -> None:
    """A slow runaway is found within 10 min and 8 K. K/min; neighbours: their share of it."""
    bench = Bench(300)
    bench.run(100, 1000)
    first = at // 8 * 8
    for other in range(24):
        share = 1.0 if other == at else neighbours if first <= other < first + 8 else 0.0
        bench.rate[other] = (rack + share * (own - rack)) / 6
    seconds = bench.until(RUN_SLOW)
    assert seconds <= 600 and seconds * own / 60 <= 8.0
    assert bench.s[I.RUNAWAY_AT] == at and bench.found[1] & EV_SLOW
    assert bench.found[1] & EV_NEIGHBOUR or neighbours < 0.3


def test_a_slow_runaway_ends_and_comes_back() -> None:
    """When the rise ends the finding ends; a second rise is found after the same time."""
    bench = Bench(300)
    took = []
    for _ in range(2):
        bench.rate[5] = 0.1
        took.append(bench.until(RUN_SLOW))
        bench.rate[5] = 0
        bench.run(1800, 1000)
        assert bench.found == (RUN_NONE, 0)
    assert abs(took[0] - took[1]) <= 45, "two passes"


def test_a_module_that_warms_against_the_rack_is_a_runaway() -> None:
    """All sensors of a module at 0.4 K/min above the rack's mean: found within 10 minutes."""
    bench = Bench(300, 12)
    for other in range(8, 16):
        bench.rate[other] = 0.4 / 6
    assert bench.until(RUN_SLOW) <= 600
    assert bench.s[I.RUNAWAY_AT] // 8 == 1


@pytest.mark.parametrize("own, rack", [(0.12, 0.0), (0.75, 0.5), (3.0, 2.4), (-0.8, 0.0)])
def test_a_small_difference_of_healthy_cells_stays_small(own: float, rack: float) -> None:
    """A cell that heats a quarter more than its rack, or 0.12 K/min at rest, does not count as a runaway."""
    bench = Bench(200)
    bench.rate = [rack / 6] * 24
    bench.rate[5] = own / 6
    for _ in range(60):
        bench.run(60, 1000)
        assert bench.found[0] == RUN_NONE
        if max(bench.raw) > 900:
            break


@pytest.mark.parametrize("by", [30, 90, -90])
def test_a_sensor_that_steps_is_no_slow_runaway(by: int) -> None:
    """A sensor that reads 3 or 9 K more from one scan to the next counts as half a kelvin of rise."""
    bench = Bench(300)
    bench.run(60, 1000)
    bench.exact[5] += by
    for _ in range(30):
        bench.run(20, 1000)
        assert bench.found[0] == RUN_NONE
    assert bench.s[I.RISE_SLOW_mKpmin] < 70


@pytest.mark.parametrize("rms", [0.5, 3, 20])
def test_a_noisy_sensor_is_no_slow_runaway(rms: float) -> None:
    """Noise of 0.05, 0.3 or 2 K rms at one sensor does not add up to a rise within three hours."""
    bench = Bench(300)
    rng = random.Random(5)
    for _ in range(10_800):
        bench.exact[5] = 300 + max(-4 * rms, min(4 * rms, rng.gauss(0, rms)))
        bench.run(1, 1000)
        assert bench.found[0] != RUN_SLOW


def test_a_lost_sensor_does_not_move_its_module() -> None:
    """Sensors that are lost and return at other temperatures make no rise of the others."""
    bench = Bench(300)
    for at in range(24):
        bench.exact[at] = 300 + 20 * (at % 8)
    bench.run(60, 1000)
    for at in (0, 7, 3):
        bench.raw[at] = NO_OPEN
        bench.run(120, 1000)
        bench.raw[at] = round(bench.exact[at])
        bench.run(120, 1000)
        assert bench.found[0] == RUN_NONE and bench.s[I.RISE_SLOW_mKpmin] == 0


def test_a_rise_continues_over_a_lost_reading() -> None:
    """A sensor that is lost for a while keeps its rise from before."""
    bench = Bench(300)
    bench.rate[5] = 0.1
    bench.run(160, 1000)
    assert bench.found[0] == RUN_NONE
    kept = bench.s[I.RISE_SLOW_mKpmin]
    bench.raw[5] = NO_OPEN
    bench.run(40, 1000)
    bench.raw[5] = round(bench.exact[5])
    bench.run(60, 1000)
    assert bench.t.why[5] == 0 and bench.s[I.RISE_SLOW_mKpmin] > kept // 2
    assert bench.until(RUN_SLOW) < 240


def test_a_single_sensor_that_drifts_up_is_a_slow_runaway() -> None:
    """A drift of 2.4 K/min cannot be told from a cell that heats itself, so it opens."""
    bench = Bench(560)
    bench.rate[5] = 0.4
    assert bench.until(RUN_SLOW) <= 200
    assert bench.found[1] & ~EV_HOT == EV_SLOW


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
        bench.arrived(100)
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


def test_two_jumps_upwards_are_evidence_of_a_runaway() -> None:
    """A sensor that jumps from 25 to 55 degC in two scans is suspected at once; with gas and heat it is a runaway."""
    bench = Bench(250)
    bench.run(1)
    for by in (150, 150):
        bench.exact[9] += by
        bench.run(0.1)
    assert bench.found == (RUN_SUSPECT, EV_RISE) and bench.s[I.RUNAWAY_AT] == 9
    bench.s[I.GAS_mV] = 800
    bench.exact[9] += 60
    bench.run(0.1)
    assert bench.found == (RUN_FAST, EV_RISE | EV_HOT | EV_GAS)


def test_the_evidence_of_jumps_ends_after_the_return_time() -> None:
    """The suspicion by two jumps ends after 10 s without another one; a second pair starts it again."""
    bench = Bench(250)
    bench.run(1)
    for _ in range(2):
        for by in (110, 110):
            bench.exact[9] += by
            bench.run(0.1)
        assert bench.found[0] == RUN_SUSPECT
        bench.run(9.8)
        assert bench.found[0] == RUN_SUSPECT
        bench.run(0.4)
        assert bench.found[0] == RUN_NONE


@pytest.mark.parametrize("rate", [-1.0, 1.0])
def test_a_sensor_that_drifts_from_its_module_is_named(rate: float) -> None:
    """A sensor that drifts by 1 K/min is named when it is 6 K away from the median of its module."""
    bench = Bench(300)
    bench.rate[13] = rate / 6
    seconds = 0
    while bench.s[I.TEMP_DRIFT_dK] < 60:
        bench.run(1, 1000)
        seconds += 1
        assert seconds < 420
    assert seconds > 350 and bench.s[I.TEMP_DRIFT_AT] == 13
    bench.rate[13] = 0
    bench.exact[13] = 300
    bench.run(60, 1000)
    assert bench.s[I.TEMP_DRIFT_dK] == 0
