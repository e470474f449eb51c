"""Retained data: the words of the FRAM that a restart takes over, and the values that it refuses."""

from array import array

import pytest
from halite.hosts.controller_rig import params
from hypothesis import given
from hypothesis import strategies as st
from rack.control.controller import Controller
from rack.generated import ids as I
from rack.generated import retained_words as W


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=W.WORDS, max_size=W.WORDS))
def test_any_words_leave_a_possible_state_of_charge(words: list[int]) -> None:
    """The FRAM may hold anything after a fault: values outside their range are not taken over."""
    c = Controller(params("sodium"))
    c.restore(array("i", words))
    assert 0 <= c.s[I.SOC_cpct] <= 10_000 and 0 <= c.s[I.SOE_cpct] <= 10_000
    assert 3000 <= c.s[I.SOH_cpct] <= 12_000
    assert all(0 <= word < 2**30 for word in c.retained)


def test_a_restart_takes_over_the_counters() -> None:
    """The same words and the same state of charge after the restart, which is not the one of an empty FRAM."""
    c = Controller(params("sodium"))
    c.current_arrived(1234, 6_000)
    for _ in range(5000):
        c.soc.scan(1000)
    c.soc.derive()
    other = Controller(params("sodium"))
    other.restore(c.retained)
    assert list(other.retained) == list(c.retained)
    assert other.s[I.SOC_cpct] == c.s[I.SOC_cpct] != 5000


@pytest.mark.parametrize("at", range(W.WORDS))
@pytest.mark.parametrize("value", [-1, 2**30])
def test_a_word_out_of_range_is_ignored_alone(at: int, value: int) -> None:
    """The other words of the same record are still taken over."""
    c, kept = Controller(params("sodium")), array("i", (4_000_000, 7, 8, 9, 10, 9_000, 0, 0))
    before = c.retained[at]
    kept[at] = value
    c.restore(kept)
    assert c.retained[at] == before
    assert all(c.retained[other] == kept[other] for other in range(W.WORDS) if other != at)
