"""Temperature sensors: the values that are used, and the replacement of a lost sensor."""

from array import array

import pytest
from halite.hosts.controller_rig import params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.sense.temperatures import Temperatures
from rack.definitions.codes import (
    LOST_COLD,
    LOST_FROZEN,
    LOST_JUMP,
    LOST_OPEN,
    LOST_SHORT,
    LOST_UNREAD,
    NO_OPEN,
    NO_SHORT,
    NO_VALUE,
)
from rack.generated import ids as I

_N = 24


class Bench:
    """Three modules of eight sensors, judged every 100 ms."""

    def __init__(self, value: int = 250) -> None:
        self.s = array("i", [0] * I.COUNT)
        self.raw = array("i", [value] * _N)
        self.t = Temperatures(params("sodium", afe_devices=3), self.s, self.raw)
        self.scan()

    def scan(self, times: int = 1) -> None:
        for _ in range(times):
            self.t.judge(100)
            self.t.compare()

    def move(self, at: int, to: int, step: int = 20) -> None:
        """In steps that a cell can make."""
        while self.raw[at] != to:
            self.raw[at] += max(-step, min(step, to - self.raw[at]))
            self.scan()


_codes = st.sampled_from([(NO_OPEN, LOST_OPEN), (NO_SHORT, LOST_SHORT), (NO_VALUE, LOST_UNREAD),
                          (-601, LOST_OPEN), (2001, LOST_SHORT), (-32000, LOST_OPEN), (32767, LOST_SHORT)])  # fmt: skip


@given(st.integers(0, _N - 1), _codes)
def test_a_broken_sensor_is_named_and_replaced(at: int, fault: tuple[int, int]) -> None:
    """A broken sensor is counted, located and named, and takes the worst value of its module."""
    bench = Bench()
    warm = at // 8 * 8 + (at + 3) % 8
    bench.move(warm, 390)
    bench.raw[at] = fault[0]
    bench.scan()
    assert (bench.s[I.TEMPS_LOST], bench.s[I.TEMPS_LOST_AT], bench.s[I.TEMPS_LOST_WHY]) == (1, at, fault[1])
    assert bench.t.used[at] == 390
    assert bench.s[I.TEMP_MAX_ddegC] == 390 and bench.s[I.TEMP_MIN_ddegC] == 250


@given(st.integers(0, _N - 1), st.integers(101, 900), st.sampled_from([1, -1]))
def test_a_jump_is_refused_for_its_return_time_and_to_the_scan(at: int, by: int, sign: int) -> None:
    bench = Bench(600)
    bench.raw[at] += sign * by
    bench.scan()
    assert bench.t.why[at] == LOST_JUMP and bench.t.used[at] == 600
    bench.raw[at] = 600
    bench.scan()            # back: a jump again
    bench.scan(99)
    assert bench.t.why[at] == LOST_JUMP
    bench.scan()
    assert bench.t.why[at] == 0 and bench.s[I.TEMPS_LOST] == 0


@given(st.integers(0, _N - 1), st.integers(250, 2000))
def test_heat_that_a_cell_can_make_is_always_believed(at: int, to: int) -> None:
    bench = Bench()
    bench.move(at, to, 90)
    assert bench.t.why[at] == 0
    assert bench.s[I.TEMP_MAX_ddegC] == to and bench.s[I.TEMP_MAX_AT] == (at if to > 250 else 0)
    assert bench.s[I.TEMPS_LOST] == 0


@given(st.integers(0, _N - 1), st.integers(-200, 240))
def test_a_sensor_far_colder_than_its_module_is_lost(at: int, to: int) -> None:
    """A sensor that is colder than its module is lost from the configured difference on."""
    bench = Bench()
    bench.move(at, to)
    assert bench.t.why[at] == (LOST_COLD if 250 - to > 150 else 0)
    assert bench.s[I.TEMP_MIN_ddegC] == (to if 250 - to <= 150 else 250)


@settings(max_examples=25)
@given(st.integers(0, 7), st.sampled_from([1, -1]))
def test_a_frozen_sensor_is_lost_until_it_moves(at: int, sign: int) -> None:
    """A sensor that stands still while its module moves is frozen; it returns when it moves again."""
    bench = Bench(300)
    for step in range(60):
        for other in range(8):
            if other != at:
                bench.raw[other] += sign
        bench.scan()
        assert (bench.t.why[at] == LOST_FROZEN) == (step >= 50)
    bench.move(at, bench.raw[(at + 1) % 8], 5)
    bench.scan(120)
    assert bench.t.why[at] == 0


def test_a_module_that_jumped_up_is_used_from_the_second_reading() -> None:
    """A module that jumped up is blind for one reading; the second one confirms the heat."""
    bench = Bench()
    for at in range(8):
        bench.raw[at] = 500
    bench.scan()
    assert (bench.s[I.TEMPS_LOST], bench.s[I.TEMPS_LOST_WHY]) == (8, LOST_JUMP)
    assert (bench.s[I.MODULES_BLIND], bench.s[I.MODULE_BLIND_AT]) == (1, 0)
    bench.scan()
    assert (bench.s[I.TEMPS_LOST], bench.s[I.TEMP_MAX_ddegC]) == (0, 500)
    assert (bench.s[I.MODULES_BLIND], bench.s[I.MODULE_BLIND_AT]) == (0, -1)


def test_a_module_that_jumped_down_returns_at_its_new_value() -> None:
    """A module that jumped down is used again after the return time, and its sensors are not called frozen."""
    bench = Bench(500)
    for at in range(8):
        bench.raw[at] = 250
    bench.scan()
    assert (bench.s[I.TEMPS_LOST], bench.s[I.TEMPS_LOST_WHY]) == (8, LOST_JUMP)
    bench.scan(99)
    assert bench.s[I.TEMPS_LOST] == 8
    bench.scan(2)
    assert (bench.s[I.TEMPS_LOST], bench.s[I.TEMP_MIN_ddegC]) == (0, 250)


@given(st.integers(0, _N - 1), st.integers(101, 400), st.integers(101, 400))
def test_a_second_jump_upwards_counts_as_heat(at: int, first: int, second: int) -> None:
    """Two jumps upwards in a row are heat from the second reading on, and name the sensor for one scan."""
    bench = Bench()
    bench.raw[at] += first
    bench.scan()
    assert bench.t.why[at] == LOST_JUMP and bench.t.jumped_at == -1
    bench.raw[at] += second
    bench.scan()
    assert bench.t.why[at] == 0 and bench.t.jumped_at == at
    assert bench.s[I.TEMP_MAX_ddegC] == 250 + first + second
    bench.scan()
    assert bench.t.why[at] == 0 and bench.t.jumped_at == -1


@given(st.integers(0, _N - 1), st.integers(101, 400))
def test_two_jumps_upwards_of_a_lost_sensor_are_heat(at: int, by: int) -> None:
    """A sensor that was lost is used again after two jumps upwards in a row, not after one."""
    bench = Bench()
    bench.raw[at] = NO_OPEN
    bench.scan()
    bench.raw[at] = 250
    bench.scan()
    bench.raw[at] += by
    bench.scan(2)
    assert bench.t.why[at] == LOST_JUMP
    bench.raw[at] += by
    bench.scan()
    bench.raw[at] += by
    bench.scan()
    assert bench.t.why[at] == 0 and bench.t.jumped_at == at


def test_jumps_up_and_down_are_no_heat() -> None:
    """A loose contact that jumps up and back in turns stays lost."""
    bench = Bench()
    for _ in range(50):
        bench.raw[5] = 500
        bench.scan()
        bench.raw[5] = 250
        bench.scan()
        assert bench.t.why[5] == LOST_JUMP and bench.s[I.TEMP_MAX_ddegC] == 250


@given(st.integers(0, 2), st.integers(1, 8))
def test_a_module_is_blind_without_any_sensor(module: int, lost: int) -> None:
    """A module counts as blind only when it has lost all its sensors, and no longer when one returns."""
    bench = Bench()
    for at in range(lost):
        bench.raw[8 * module + at] = NO_OPEN
    bench.scan()
    blind = (1, module) if lost == 8 else (0, -1)
    assert (bench.s[I.MODULES_BLIND], bench.s[I.MODULE_BLIND_AT]) == blind
    bench.raw[8 * module] = 250
    bench.scan(102)
    assert (bench.s[I.MODULES_BLIND], bench.s[I.MODULE_BLIND_AT]) == (0, -1)


def test_a_sensor_too_cold_for_its_module_counts_for_charging() -> None:
    """A sensor that is too cold for its module does not count as the rack's minimum, but counts for charging."""
    bench = Bench()
    assert bench.s[I.TEMP_COLD_ddegC] == 250
    bench.move(3, -100)
    assert bench.t.why[3] == LOST_COLD
    assert (bench.s[I.TEMP_MIN_ddegC], bench.s[I.TEMP_COLD_ddegC]) == (250, -100)
    bench.raw[3] = NO_OPEN
    bench.scan()
    assert bench.s[I.TEMP_COLD_ddegC] == 250, "an open sensor is not cold"
    bench.raw[3] = 250
    bench.scan(102)
    bench.raw[3] = 130
    bench.scan()
    assert bench.s[I.TEMP_COLD_ddegC] == 250, "the first reading of a jump"
    bench.scan()
    assert (bench.s[I.TEMP_MIN_ddegC], bench.s[I.TEMP_COLD_ddegC]) == (250, 130), "the second one"


@pytest.mark.parametrize("module", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_frozen_module_is_lost_until_it_moves(module: int, sign: int) -> None:
    """A module of which all sensors stand still while the others move by more than 2 K is lost."""
    bench = Bench(300)
    for again in range(2):
        for step in range(30):
            for at in range(_N):
                if at // 8 != module:
                    bench.raw[at] += sign
            bench.scan()
            assert (bench.s[I.MODULES_BLIND] == 1) == (step >= 21), (again, step)
        assert bench.s[I.MODULE_BLIND_AT] == module and bench.s[I.TEMPS_LOST_WHY] == LOST_FROZEN
        for at in range(8):
            bench.raw[8 * module + at] += sign
        bench.scan(102)
        assert bench.s[I.MODULES_BLIND] == 0 and bench.s[I.TEMPS_LOST] == 0


def test_a_module_at_rest_is_not_frozen() -> None:
    """A module that stands still is in use while one neighbour moves, while both move apart, and while one rests."""
    bench = Bench(300)
    for _ in range(60):
        for at in range(8):
            bench.raw[at] += 1
            bench.raw[16 + at] -= 1
        bench.scan()
        assert bench.s[I.TEMPS_LOST] == 0


def test_one_hot_cell_leaves_its_neighbours_in_use() -> None:
    """One hot cell does not make its neighbours look cold or frozen."""
    bench = Bench()
    bench.move(3, 1500, 50)
    bench.scan(50)
    assert bench.s[I.TEMPS_LOST] == 0 and bench.s[I.TEMP_MAX_ddegC] == 1500


@pytest.mark.parametrize("to", [250, 900])
def test_a_rack_that_jumps_as_a_whole_is_not_frozen(to: int) -> None:
    """All sensors step at once by more than a cell can: a fault of the reading, after which every one returns."""
    bench = Bench(600)
    bench.scan(20)
    for at in range(_N):
        bench.raw[at] = to
    bench.scan(3)
    assert LOST_FROZEN not in bench.t.why
    bench.scan(110)
    assert not any(bench.t.why) and bench.s[I.TEMP_MAX_ddegC] == to


def test_a_module_without_sensors_takes_the_hottest_value() -> None:
    """A module whose sensors are all lost takes the hottest value of the rack."""
    bench = Bench()
    bench.move(20, 400)
    for at in range(8):
        bench.raw[at] = NO_OPEN
    bench.scan()
    assert bench.s[I.TEMPS_LOST] == 8
    assert list(bench.t.used[:8]) == [400] * 8


def test_with_every_sensor_lost_the_extremes_stay() -> None:
    """With every sensor lost the extremes keep their values, and the count reports the loss."""
    bench = Bench(300)
    for at in range(_N):
        bench.raw[at] = NO_VALUE
    bench.scan()
    assert bench.s[I.TEMPS_LOST] == _N and bench.s[I.TEMP_MAX_ddegC] == 300 and bench.s[I.TEMP_MIN_ddegC] == 300


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(-32768, 32767), min_size=_N, max_size=_N), max_size=6))
def test_any_raw_values_leave_possible_extremes(scans: list[list[int]]) -> None:
    """For any values of the drivers the extremes are possible temperatures."""
    bench = Bench()
    for values in scans:
        for at, value in enumerate(values):
            bench.raw[at] = value
        bench.scan()
        assert -600 <= bench.s[I.TEMP_MIN_ddegC] <= bench.s[I.TEMP_MAX_ddegC] <= 2000
        assert bench.s[I.TEMPS_LOST] == sum(1 for why in bench.t.why if why)
        assert all(-600 <= value <= 2000 for value in bench.t.used)


@given(st.integers(0, _N - 1), _codes)
def test_the_second_return_takes_the_full_time(at: int, fault: tuple[int, int]) -> None:
    """A sensor that fails, returns and fails again is used again only after the whole return time."""
    bench = Bench()
    scans = []
    for _ in range(2):
        bench.raw[at] = fault[0]
        bench.scan(3)
        assert bench.t.why[at]
        bench.raw[at] = 250
        scans.append(0)
        while bench.t.why[at]:
            bench.scan()
            scans[-1] += 1
            assert scans[-1] < 10_000
    return_ms = params("sodium").plausible_return_ms
    assert scans[0] == scans[1] and return_ms <= 100 * scans[1] <= return_ms + 100
