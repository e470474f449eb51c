"""The table of reaction times holds, and says what the code does."""

import pytest
from reaction_times import DOC, FAULTS, HARDWARE_us, debounce_ms, measure, table


@pytest.fixture(scope="module")
def worst() -> dict[str, int]:
    return measure()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_every_fault_opens_within_its_bar(worst: dict[str, int], fault: object) -> None:
    bar = fault.bar_ms  # type: ignore[attr-defined]
    time_ms = HARDWARE_us / 1000 if fault.hardware else worst[fault.key]  # type: ignore[attr-defined]
    assert bar is None or time_ms <= bar


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_no_fault_waits_longer_than_its_source_its_debounce_and_two_scans(worst: dict[str, int], fault: object) -> None:
    key = fault.key  # type: ignore[attr-defined]
    sources = {"cells_lost": 170, "temps_lost": 1000, "current_lost": 80, "pcs_lost": 250, "late_trip": 100}
    source = sources.get(key, 122)
    assert worst[key] <= source + debounce_ms(key) + 30


def test_the_page_is_what_the_code_does(worst: dict[str, int]) -> None:
    assert DOC.read_text(encoding="utf-8") == table(worst), "run: python tests/control/reaction_times.py"
