"""Message ages: grow with time, start again with their message, and stop at AGE_NEVER."""

from array import array

import pytest
from rack.control.sense import message_ages
from rack.definitions.codes import AGE_NEVER
from rack.generated import ids as I

GROWING = (I.CELLS_AGE_ms, I.TEMPS_AGE_ms, I.CURRENT_AGE_ms, I.PCS_AGE_ms, I.PAIR_AGE_ms)


def image() -> array:  # type: ignore[type-arg]
    s = array("i", [0] * I.COUNT)
    message_ages.start(s)
    return s


@pytest.mark.parametrize("age", GROWING)
def test_an_age_starts_again_with_its_message_only(age: int) -> None:
    """Before its first message an age is AGE_NEVER; a message clears its own age and no other."""
    s = image()
    message_ages.arrived(s, age)
    message_ages.advance(s, 10)
    assert s[age] == 10
    assert all(s[other] == AGE_NEVER for other in GROWING if other != age)


def test_an_age_stops_at_its_maximum() -> None:
    """A gap of half the clock's range leaves AGE_NEVER, so that sums stay within 31 bits."""
    s = image()
    message_ages.arrived(s, I.CELLS_AGE_ms)
    for ms in (AGE_NEVER - 1, 1, 1, 2**29):
        message_ages.advance(s, ms)
    assert s[I.CELLS_AGE_ms] == AGE_NEVER


def test_the_age_of_the_ems_is_0_until_it_writes() -> None:
    """A rack without an EMS has no `ems_lost` alarm; after the first message the age grows from 1."""
    s = image()
    message_ages.advance(s, 30_000)
    assert s[I.EMS_AGE_ms] == 0
    message_ages.arrived(s, I.EMS_AGE_ms)
    assert s[I.EMS_AGE_ms] == 1
    message_ages.advance(s, 30_000)
    assert s[I.EMS_AGE_ms] == 30_001


def test_the_age_of_the_mains_is_left_to_the_response() -> None:
    """`grid_age_ms` is measured from the edges; the messages' clock must not add to it."""
    s = image()
    s[I.GRID_AGE_ms] = 5
    message_ages.advance(s, 10)
    assert s[I.GRID_AGE_ms] == 5
