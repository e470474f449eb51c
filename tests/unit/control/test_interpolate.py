"""Tables and exact ratios."""

from array import array
from fractions import Fraction
from itertools import pairwise
from math import floor

from hypothesis import given
from hypothesis import strategies as st
from rack.control.interpolate import interpolate, ratio

_knots = st.lists(st.tuples(st.integers(-20_000, 20_000), st.integers(-1000, 10_000)), min_size=1, max_size=12,
                  unique_by=lambda knot: knot[0]).map(sorted)  # fmt: skip


def _table(knots: list[tuple[int, int]]) -> array:
    return array("i", [value for knot in knots for value in knot])


def _exact(knots: list[tuple[int, int]], x: int) -> int:
    if x <= knots[0][0]:
        return knots[0][1]
    for (x0, y0), (x1, y1) in pairwise(knots):
        if x <= x1:
            return floor(y0 + Fraction((y1 - y0) * (x - x0), x1 - x0))
    return knots[-1][1]


@given(_knots, st.integers(-30_000, 30_000))
def test_a_table_is_linear_between_knots_constant_beyond(knots: list[tuple[int, int]], x: int) -> None:
    """A table is linear between its knots and constant beyond them."""
    table = _table(knots)
    assert interpolate(table, len(table), x) == _exact(knots, x)


@given(_knots, st.integers(-30_000, 30_000))
def test_a_table_never_leaves_the_range_of_its_values(knots: list[tuple[int, int]], x: int) -> None:
    table = _table(knots)
    assert min(y for _, y in knots) <= interpolate(table, len(table), x) <= max(y for _, y in knots)


@given(st.integers(0, 10**8), st.integers(1, 10**8))
def test_a_ratio_is_exact_and_rounded_down(part: int, whole: int) -> None:
    assert ratio(part, whole) == part * 10_000 // whole
