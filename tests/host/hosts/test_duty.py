"""Ten minutes of normal duty, fifty seconds of each regime with each chemistry. `make duty` plays 24 hours."""

import pytest
from rack.definitions.alarms import ROWS
from support.duty import CHEMISTRIES, JUSTIFIED, REGIMES, hour

SECONDS = 50


@pytest.mark.parametrize("number", range(len(REGIMES) * len(CHEMISTRIES)))
def test_normal_duty_raises_no_alarm(number: int) -> None:
    """No warning, derating or trip that the duty itself does not justify; current flows, except at night."""
    played = hour(number, SECONDS)
    assert played.came == {} and played.trip == "", played.name
    assert (played.highest_A > 10) != played.name.startswith("night"), played


def test_justified_alarms_exist() -> None:
    assert {row[0] for row in ROWS} >= JUSTIFIED
