"""A device whose cells stand still under current is frozen; at rest, and with one cell that moves, it is not."""

from array import array
from typing import Any

import pytest
from halite.hosts.controller_rig import Rig, params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.sense.frozen_afe import FrozenAfe
from rack.definitions.alarms import code_of
from rack.definitions.codes import CMD_RESET, REFUSED_ALARM
from rack.generated import ids as I


class Bench:
    """Two whole devices of sixteen cells and one of four, at a current in 0.1 A."""

    def __init__(self, **changed: Any) -> None:
        given = {"cell_series": 36, "afe_devices": 3, "afe_cells_per_device": 16, "cell_capacity_dAh": 1_000}
        still = {"afe_still_dA": 200, "afe_still_scans": 5, "afe_still_permille": 10, "afe_period_ms": 100}
        self.s = array("i", [0] * I.COUNT)
        self.cells = array("i", [3_300] * 36)
        self.afe = FrozenAfe(params("lfp", **{**given, **still, **changed}), self.s, self.cells)

    def scans(self, count: int, current_dA: int, moving: tuple[int, ...] = ()) -> int:
        """Deliver scans in which one cell of each device of `moving` changes; returns afe_frozen."""
        for _ in range(count):
            for device in moving:
                self.cells[16 * device] ^= 1
            self.s[I.CURRENT_dA] = current_dA
            self.afe.arrived()
        return self.s[I.AFE_FROZEN]


@pytest.mark.parametrize("device", [0, 1, 2])
@pytest.mark.parametrize("current_dA", [200, -200, 20_000])
def test_it_is_frozen_after_its_scans_and_no_sooner(device: int, current_dA: int) -> None:
    """Five scans after the current has moved by the level; the other devices move."""
    bench = Bench()
    others = tuple(at for at in range(3) if at != device)
    bench.scans(3, 0, (0, 1, 2))
    assert bench.scans(4, current_dA, others) == 0
    assert bench.scans(1, current_dA, others) == device + 1
    assert bench.scans(1, current_dA, (0, 1, 2)) == 0
    assert bench.scans(4, 0, others) == 0
    assert bench.scans(1, 0, others) == device + 1


def test_a_smaller_move_of_the_current_is_no_proof() -> None:
    bench = Bench()
    bench.scans(1, 500, (0, 1, 2))
    assert bench.scans(50, 699) == 0
    assert bench.scans(50, 301) == 0


def test_a_rack_at_rest_never_counts_as_frozen() -> None:
    bench = Bench()
    bench.scans(1, 0, (0, 1, 2))
    assert bench.scans(5_000, 0) == 0


@pytest.mark.parametrize("current_dA", [1_000, -1_000])
def test_charge_that_flows_proves_a_constant_current(current_dA: int) -> None:
    """1 % of 100 Ah are 3 600 As: 36 s at 100 A, in either direction."""
    bench = Bench()
    bench.scans(1, current_dA, (0, 1, 2))
    assert bench.scans(359, current_dA, (0, 2)) == 0
    assert bench.scans(1, current_dA, (0, 2)) == 2


@given(st.lists(st.tuples(st.integers(-30_000, 30_000), st.integers(0, 35)), min_size=20, max_size=60))
@settings(max_examples=30)
def test_a_device_whose_cells_move_is_never_frozen(steps: list[tuple[int, int]]) -> None:
    """Any current, any moving cell: only devices without a moving cell are named."""
    bench = Bench()
    for current_dA, cell in steps:
        bench.cells[cell] += 1
        bench.scans(1, current_dA)
        assert bench.s[I.AFE_FROZEN] != cell // 16 + 1


def test_the_charge_counter_may_wrap() -> None:
    """A rack that runs for months at full current: its counter wraps, and a moving device stays healthy."""
    bench = Bench(afe_period_ms=1_000)
    for _ in range(15_000):
        bench.scans(1, 20_000, (0, 1, 2))
        assert bench.s[I.AFE_FROZEN] == 0


@pytest.mark.parametrize(("still_dA", "scans", "permille"), [(10, 3, 1), (200, 5, 30), (1_000, 20, 50)])
def test_each_level_comes_from_the_config(still_dA: int, scans: int, permille: int) -> None:
    """The step, the number of scans and the charge have the values of the config, not one less and not one more."""
    given = {"afe_still_dA": still_dA, "afe_still_scans": scans, "afe_still_permille": permille}
    bench = Bench(**given)
    bench.scans(1, 0, (0, 1, 2))
    assert bench.scans(2 * scans, still_dA - 1) == 0
    assert bench.scans(scans - 1, still_dA) == 0
    assert bench.scans(1, still_dA) == 1
    bench = Bench(**given)
    bench.scans(1, 10_000, (0, 1, 2))
    needed = -(-36 * permille // 10)        # of 100 Ah, in scans of 100 ms at 1 000 A, rounded up
    assert bench.scans(needed - 1, 10_000) == 0
    assert bench.scans(1, 10_000) == 1


def test_the_charge_keeps_its_remainder() -> None:
    """At 0.1 A a scan moves 0.01 As: a tenth of a step of the counter. Ten of them are one."""
    bench = Bench(afe_still_permille=1, cell_capacity_dAh=1)     # 3.6 dAs, so 3
    bench.scans(1, 1, (0, 1, 2))
    assert bench.scans(28, 1) == 0
    assert bench.scans(2, 1) == 1


def test_a_frozen_afe_opens_the_rack_twice() -> None:
    """The trip is latched, a reset needs cells that move, and the second time opens again."""
    rig = Rig("bench", afe_still_dA=20, afe_still_permille=30).close()
    for _ in range(2):
        rig.s[I.CURRENT_dA] = 40
        assert abs(rig.until(lambda: not rig.s[I.COILS]) - 500) <= 110
        assert rig.s[I.TRIP_CODE] == code_of("afe_frozen_trip")
        rig.s[I.CURRENT_dA] = 0
        rig.run(20_000)
        assert rig.c.command(CMD_RESET) == REFUSED_ALARM        # the cells still stand still
        rig.c.cells_mV[0] += 1
        rig.run(4_900)
        assert rig.s[I.TRIP_CODE] == code_of("afe_frozen_trip")
        assert rig.c.command(CMD_RESET) == REFUSED_ALARM        # the clear time of 5 s
        rig.run(400)
        assert rig.s[I.TRIP_CODE] == code_of("afe_frozen_trip")  # cells that move release no latch
        assert rig.c.command(CMD_RESET) == 0
        rig.run(100)
        assert rig.s[I.TRIP_CODE] == 0
        rig.close()
