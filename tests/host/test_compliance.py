"""Every service preset does what its service demands, and the judge itself is right."""

import json

import numpy as np
import pytest
from halite.config import load
from halite.errors import HaliteError
from halite.paths import BOARD_CONFIGS
from halite.simulator import compliance, compliance_report
from halite.simulator import compliance_rules as rules
from halite.simulator.compliance import CATALOGUE
from halite.simulator.compliance_rig import SERVICES, parameters

NAMES = [service.name for service in CATALOGUE]
BY_NAME = {service.name: service for service in CATALOGUE}


def broken(judged):
    return [(row.case, row.figure, row.value) for one in judged for row in one.rows if not row.ok]


def test_every_preset_is_in_the_catalogue():
    assert sorted(NAMES) == sorted(path.stem for path in SERVICES.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_a_valid_service_of_a_rack(name, tmp_path):
    text = (BOARD_CONFIGS / "sodium_rack.toml").read_text().replace('"sodium_fast"', f'"{name}"')
    (tmp_path / "rack.toml").write_text(text)
    assert load(tmp_path / "rack.toml").sections["response"]["service"] == name


@pytest.mark.parametrize("name", NAMES)
def test_each_number_of_a_preset_names_its_source_or_says_what_it_is(name):
    before = ""
    for line in (SERVICES / f"{name}.toml").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            assert "#" in line or before.startswith("#"), line
        before = line


@pytest.mark.parametrize("name", NAMES)
def test_a_service_holds_every_bar_in_its_short_cases(name):
    assert broken(compliance.suite([name], long=False)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_service_holds_every_bar_in_a_sine_sweep(name):
    assert broken([compliance.sweep_case(BY_NAME[name])]) == []


@pytest.mark.parametrize("name", ["gb_dc", "csg_primary"])
def test_a_service_holds_every_bar_in_its_long_cases(name):
    assert broken([case(BY_NAME[name]) for case in (compliance.recovery_case, compliance.gb_2019_case)]) == []


@pytest.mark.parametrize("name", ["gb_dc", "gb_dm"])
@pytest.mark.parametrize("seed", compliance.RANDOM_GRIDS)
def test_a_gb_service_stays_in_its_envelope_on_a_random_grid(name, seed):
    assert broken([compliance.random_case(BY_NAME[name], seed)]) == []


@pytest.mark.parametrize("name", ["step", "ramp1hzs"])
def test_the_bounds_are_those_published(name):
    _, f_hz, lower, upper = rules.published_bounds(name)
    curve = rules.Curve.of([[-500, 1000], [-200, 50], [-15, 0], [15, 0]], 50.0)
    ours = rules.gb_bounds(f_hz, curve)
    assert np.abs(ours[0] - lower).max() < 1e-4
    assert np.abs(ours[1] - upper).max() < 1e-4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"response_delay_ms": 0}, "earlier than 0.20 s"),
        ({"response_delay_ms": 600}, "later than 0.50 s"),
        ({"response_up_permille_ps": 100_000, "response_delay_ms": 100}, "steeper than 4 pu/s"),
        ({"response_up_permille_ps": 1_000}, "slower than 2 pu/s"),
        ({"response_enabled": 0}, "no answer"),
    ],
)
def test_the_envelope_is_broken_by_an_answer_that_is(change, reason, monkeypatch):
    params = parameters("gb_dc")
    for key, value in change.items():
        setattr(params, key, value)
    monkeypatch.setattr(compliance, "parameters", lambda *_: params)
    judged = compliance.published_case(BY_NAME["gb_dc"], "step")
    assert broken([judged]), reason


def test_sodium_answers_a_step_at_least_six_times_faster_than_lithium():
    def to_90_percent(name):
        judged = compliance.step_case(BY_NAME[name], -1)
        return rules.reach_s(judged.track, compliance.EVENT_S, 0.9)

    assert to_90_percent("lithium_steady") >= 6 * to_90_percent("sodium_fast")


def test_the_suite_prints_json_and_writes_a_plot(tmp_path, capsys):
    page = tmp_path / "report.html"
    assert compliance.main(["--service", "aemo_very_fast", "--quick", "--json", "--report", str(page)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["service"] for row in rows} == {"aemo_very_fast"}
    assert all(row["ok"] for row in rows)
    assert "plotly" in page.read_text()[:10_000].lower()


def test_a_broken_row_gives_a_failing_exit_status(monkeypatch):
    params = parameters("gb_dc")
    params.response_enabled = 0
    monkeypatch.setattr(compliance, "parameters", lambda *_: params)
    assert compliance_report.main(["--service", "gb_dc", "--quick", "--json"]) == 1


def test_an_unknown_service_is_named():
    with pytest.raises(HaliteError, match="no service nonsense"):
        compliance.suite(["nonsense"])
