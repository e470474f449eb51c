"""Cooling and preheating."""

from array import array
from typing import Any

import pytest
from halite.hosts.controller_rig import params
from hypothesis import example, given
from hypothesis import strategies as st
from rack.control.protect.cooling import Cooling, FAN_MIN_pct, Switch
from rack.definitions.codes import ACT_OPEN, IN_COOLANT_FLOW, NO_OPEN, NO_SHORT
from rack.generated import ids as I


class Bench:
    """Coolant flows when the pump runs, unless `flows` is False."""

    def __init__(self, name: str = "lfp", **changed: Any) -> None:
        self.s = array("i", [0] * I.COUNT)
        self.p = params(name, **changed)
        self.cooling = Cooling(self.p, self.s)
        self.flows = True
        self.at(250, 250)
        self.s[I.COOLANT_ddegC] = 200

    def at(self, cold: int, hot: int) -> None:
        self.s[I.TEMP_MIN_ddegC], self.s[I.TEMP_MAX_ddegC], self.s[I.CORE_MAX_ddegC] = cold, hot, hot

    def run(self, ms: int) -> None:
        for _ in range(ms // 100):
            self.s[I.IN_bits] = IN_COOLANT_FLOW if self.flows and self.s[I.PUMP_pct] else 0
            self.cooling.slot(100)


@given(st.integers(0, 50), st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60))
def test_a_switch_keeps_its_least_run_and_its_least_pause(least: int, steps: list[tuple[bool, int]]) -> None:
    switch = Switch(least)
    since, before = least, False
    for wanted, ms in steps:
        since += ms
        now = switch.follow(wanted, ms)
        if now != before:
            assert since >= least and now == wanted
            since, before = 0, now
        elif wanted != now:
            assert since < least


@given(st.lists(st.integers(-400, 900), min_size=1, max_size=40))
@example([330, 300, 280, 300])  # on, still on, off, still off
def test_cooling_follows_its_hysteresis_and_its_duty_the_heat(temps: list[int]) -> None:
    bench = Bench(cooling_run_ms=0)
    on = False
    for hot in temps:
        bench.at(min(hot, 250), hot)
        bench.run(100)
        on = True if hot >= 320 else False if hot <= 280 else on
        assert (bench.s[I.FAN_pct] > 0) == on
        if on:
            assert FAN_MIN_pct <= bench.s[I.FAN_pct] <= 100
            assert bench.s[I.PUMP_pct] == bench.s[I.FAN_pct]
        if hot >= 400:
            assert bench.s[I.FAN_pct] == 100


def test_an_estimated_core_alone_starts_the_cooling() -> None:
    bench = Bench()
    bench.s[I.CORE_MAX_ddegC] = 330
    bench.run(100)
    assert bench.s[I.FAN_pct] >= FAN_MIN_pct


def test_a_cold_lfp_rack_is_heated_with_flow() -> None:
    """A cold LFP rack is heated while the coolant flows, until it is warm enough."""
    bench = Bench()
    bench.at(50, 60)
    bench.run(100)
    assert bench.s[I.PUMP_pct] == 100 and bench.s[I.HEATER] == 0, "the pump first"
    bench.run(100)
    assert bench.s[I.HEATER] == 1 and bench.s[I.FAN_pct] == 0
    bench.at(99, 110)
    bench.run(60_000)
    assert bench.s[I.HEATER] == 1
    bench.at(100, 110)
    bench.run(100)
    assert bench.s[I.HEATER] == 0 and bench.s[I.PUMP_pct] == 0


def test_lfp_is_heated_further_while_the_ems_asks_for_charge() -> None:
    bench = Bench()
    bench.at(110, 110)
    bench.run(1000)
    assert bench.s[I.HEATER] == 0
    bench.s[I.SETPOINT_W] = -1000
    bench.run(1000)
    assert bench.s[I.HEATER] == 1


def _lose_flow(bench: Bench) -> None:
    bench.flows = False


def _heat_the_rack(bench: Bench) -> None:
    bench.at(40, 350)


def _heat_the_coolant(bench: Bench) -> None:
    bench.s[I.COOLANT_ddegC] = 350


def _open_the_coolant_sensor(bench: Bench) -> None:
    bench.s[I.COOLANT_ddegC] = NO_OPEN


def _short_the_coolant_sensor(bench: Bench) -> None:
    bench.s[I.COOLANT_ddegC] = NO_SHORT


def _trip(bench: Bench) -> None:
    bench.s[I.ACTIONS] = ACT_OPEN


_LOSSES = (_lose_flow, _heat_the_rack, _heat_the_coolant, _open_the_coolant_sensor, _short_the_coolant_sensor, _trip)


@pytest.mark.parametrize("lose", _LOSSES)
def test_the_heater_goes_off_at_once_with_any_of_its_interlocks(lose: Any) -> None:
    bench = Bench(cooling_run_ms=600_000)
    bench.at(40, 60)
    bench.run(300)
    assert bench.s[I.HEATER] == 1
    lose(bench)
    bench.run(200)
    assert bench.s[I.HEATER] == 0


def test_a_pump_without_flow_is_reported_until_it_flows() -> None:
    """A pump without flow is reported after the configured time; flow ends the report."""
    bench = Bench()
    bench.flows = False
    bench.at(250, 400)
    bench.run(bench.p.cooling_flow_ms)
    assert bench.s[I.COOLANT_STOPPED] == 1
    bench.run(1000)
    assert bench.s[I.COOLANT_STOPPED] == 1
    bench.flows = True
    bench.run(200)
    assert bench.s[I.COOLANT_STOPPED] == 0


def test_a_short_pause_of_the_flow_is_no_fault() -> None:
    bench = Bench()
    bench.at(250, 400)
    for _ in range(5):
        bench.flows = False
        bench.run(bench.p.cooling_flow_ms - 300)
        bench.flows = True
        bench.run(300)
        assert bench.s[I.COOLANT_STOPPED] == 0


@pytest.mark.parametrize("over", [-1, 0, 50])
def test_one_hot_sensor_stops_the_heater(over: int) -> None:
    """One hot sensor stops the heater, although a cold sensor demands it."""
    bench = Bench(cooling_run_ms=1000, cooling_cool_on_ddegC=500, cooling_cool_off_ddegC=480)  # it stops by itself
    bench.flows = True
    bench.s[I.SETPOINT_W] = -10
    bench.at(-300, -290)
    bench.run(300)
    assert bench.s[I.HEATER] == 1
    bench.s[I.TEMP_MAX_ddegC] = bench.p.cooling_heater_max_ddegC + over
    bench.run(300)
    assert bench.s[I.FAN_pct] == 0 and bench.s[I.HEATER] == (1 if over < 0 else 0)


_step = st.tuples(st.integers(-500, 900), st.integers(0, 300), st.booleans(), st.integers(-10, 10))


@given(st.lists(_step, max_size=40))
def test_the_heater_never_heats_a_hot_rack_nor_without_flow(steps: list[tuple[int, int, bool, int]]) -> None:
    bench = Bench(cooling_run_ms=1000)
    for cold, wider, flows, setpoint in steps:
        bench.at(cold, cold + wider)
        bench.flows = flows
        bench.s[I.SETPOINT_W] = setpoint
        bench.run(300)
        if bench.s[I.HEATER]:
            assert flows and bench.s[I.PUMP_pct] == 100
            assert bench.s[I.TEMP_MAX_ddegC] < bench.p.cooling_heater_max_ddegC
            assert bench.s[I.FAN_pct] == 0


def test_a_trip_leaves_the_cooling_to_the_temperatures() -> None:
    """Hot cells are cooled while the rack is open after a trip; the heater stays off."""
    bench = Bench()
    bench.s[I.ACTIONS] = ACT_OPEN
    bench.at(250, 620)
    bench.run(60_000)
    assert bench.s[I.FAN_pct] == bench.s[I.PUMP_pct] == 100 and bench.s[I.HEATER] == 0
    bench.at(200, 270)
    bench.run(60_000)
    assert bench.s[I.FAN_pct] == bench.s[I.PUMP_pct] == 0
