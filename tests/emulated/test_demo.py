"""The whole demonstration on the emulated board: flash through mpremote, close, respond, derate, trip."""

import pytest
from halite.bench import demo


@pytest.fixture(scope="module")
def result() -> demo.Result:
    return demo.run("sodium_rack", "demo", lambda text: None)


@pytest.fixture(scope="module")
def ms(result: demo.Result) -> dict[str, float | None]:
    return {row.name: row.value for row in result.rows}


def test_every_step_of_the_scenario_happens(ms: dict[str, float | None]) -> None:
    """Every measured value of the demonstration is there."""
    assert [name for name, value in ms.items() if value is None] == []


def test_all_files_are_sent_and_the_application_is_healthy(result: demo.Result) -> None:
    """All files are sent, and the application reports that it is healthy."""
    assert "rack/app.mpy" in result.flash["uploaded"]
    assert result.version["mode"] == "run" and result.version["healthy"] is True
    assert result.version["rack"] == "sodium-1"


def test_precharge_and_response_take_their_times(ms: dict[str, float]) -> None:
    """Precharge takes the time of its RC; the first request comes within 250 ms and reaches 200 kW."""
    assert 600 < ms["precharge_ms"] < 1_500
    assert ms["response_ms"] < 250
    assert ms["response_power_kW"] == pytest.approx(200, rel=0.02)


def test_the_trip_opens_and_withdraws_the_request(ms: dict[str, float]) -> None:
    """The trip opens the contactors and withdraws the request."""
    assert ms["heat_to_derate_ms"] < ms["heat_to_open_ms"]
    assert ms["open_to_contact_ms"] <= 12.5  # release of the contactor
    assert ms["open_to_zero_request_ms"] <= 21  # one mains period


def test_the_rack_reports_why_it_is_open(result: demo.Result) -> None:
    """The command `why` reports over-temperature or runaway."""
    assert any("over-temperature" in reason or "runaway" in reason for reason in result.why)


def test_no_flash_is_written_while_a_contactor_is_closed(result: demo.Result) -> None:
    """Rule R6: no flash is written while a contactor is closed."""
    assert result.flash_writes == []


def test_the_report_holds_the_measured_figures(result: demo.Result) -> None:
    """The report contains the measured figures."""
    assert result.recording.meta["response_ms"] == next(r.value for r in result.rows if r.name == "response_ms")
    assert result.recording["true_power_W"].max() > 190_000
