"""Cell statistics, open wires and the voltage drop of a runaway."""

from array import array

from halite.hosts.controller_rig import params
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.sense.cells import Cells
from rack.generated import ids as I
from support.checked_int import Checked


def _cells(values: list[int]) -> tuple[Cells, array, array]:
    s = array("i", [0] * I.COUNT)
    mV = array("i", values)
    return Cells(params("sodium", cell_series=len(values)), s, mV), s, mV


@given(st.lists(st.integers(0, 6000), min_size=4, max_size=60))
def test_extremes_sum_and_mean_are_those_of_the_cells(values: list[int]) -> None:
    cells, s, _ = _cells(values)
    cells.arrived()
    assert s[I.CELL_MAX_mV] == max(values) and values[s[I.CELL_MAX_AT]] == max(values)
    assert s[I.CELL_MIN_mV] == min(values) and values[s[I.CELL_MIN_AT]] == min(values)
    assert s[I.CELL_SPREAD_mV] == max(values) - min(values)
    assert s[I.CELL_SUM_dV] == sum(values) // 100
    assert s[I.CELL_MEAN_mV] == sum(values) // len(values)


@given(st.lists(st.integers(2900, 3100), min_size=12, max_size=40), st.data())
def test_an_open_wire_is_found_and_located(values: list[int], data: st.DataObject) -> None:
    """An open wire reads as two neighbours that deviate in opposite directions; its place is reported."""
    at = data.draw(st.integers(1, len(values) - 1))
    shift = data.draw(st.integers(800, 2500))
    sign = data.draw(st.sampled_from([1, -1]))
    values[at - 1] += sign * shift
    values[at] -= sign * shift
    cells, s, _ = _cells(values)
    cells.arrived()
    assert s[I.WIRES_OPEN] == 1 and s[I.WIRE_OPEN_AT] == at


@given(st.lists(st.integers(2900, 3100), min_size=12, max_size=40), st.data())
def test_one_odd_cell_is_no_open_wire(values: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(values) - 1))
    values[at] = data.draw(st.integers(0, 5000))
    cells, s, _ = _cells(values)
    cells.arrived()
    assert s[I.WIRES_OPEN] == 0 and s[I.WIRE_OPEN_AT] == -1


def _settled(values: list[int]) -> tuple[Cells, array, array]:
    cells, s, mV = _cells(values)
    for _ in range(70):
        cells.arrived()
        cells.slot(1000)
    return cells, s, mV


@settings(max_examples=40)
@given(st.integers(0, 19), st.integers(0, 3000))
def test_a_cell_that_falls_by_a_quarter_alone_is_found(at: int, left: int) -> None:
    cells, s, mV = _settled([3000] * 20)
    mV[at] = left
    cells.arrived()
    mean = (3000 * 19 + left) // 20
    assert s[I.CELL_DROP_AT] == (at if left * 100 < 75 * 3000 and left * 100 < 75 * mean else -1)


@settings(max_examples=20)
@given(st.integers(0, 2249))
def test_a_whole_rack_that_falls_is_no_runaway(left: int) -> None:
    cells, s, mV = _settled([3000] * 20)
    for at in range(20):
        mV[at] = left
    cells.arrived()
    assert s[I.CELL_DROP_AT] == -1


def test_a_drop_that_lasts_stays_a_drop() -> None:
    cells, s, mV = _settled([3000] * 20)
    mV[7] = 1900
    for _ in range(200):
        cells.arrived()
        cells.slot(1000)
    assert s[I.CELL_DROP_AT] == 7


def test_a_drop_may_last_for_weeks() -> None:
    """The time since the reference stays within 31 bits: on the board a larger number ends the application."""
    cells, s, mV = _settled([3000] * 20)
    mV[7] = 1900
    cells.arrived()
    for _ in range(9):
        cells.slot(Checked(2**28))          # three days each
    assert s[I.CELL_DROP_AT] == 7


def test_a_slow_discharge_of_one_cell_is_no_drop() -> None:
    cells, s, mV = _settled([3000] * 20)
    for _ in range(1200):
        mV[7] -= 1
        cells.arrived()
        cells.slot(1000)
        assert s[I.CELL_DROP_AT] == -1
