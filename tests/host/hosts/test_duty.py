"""Ten minutes of normal duty, fifty seconds of each regime with each chemistry. `make duty` plays 24 hours."""

import pytest
from rack.definitions.alarms import ROWS
from support.duty import CHEMISTRIES, JUSTIFIED, REGIMES, hour

SECONDS = 50


@pytest.mark.parametrize("number", range(len(REGIMES) * len(CHEMISTRIES)))
def test_normal_duty_raises_no_alarm(number: int) -> None:
    """No warning, derating or trip that the duty itself does not justify."""
    name, came, trip = hour(number, SECONDS)
    assert came == {} and trip == "", name


def test_justified_alarms_exist() -> None:
    assert {row[0] for row in ROWS} >= JUSTIFIED
