"""Every service preset does what its service demands, and the judge itself is right."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from halite.cli import app as cli
from halite.common.errors import MisuseError
from halite.common.paths import BOARD_CONFIGS
from halite.config import load
from halite.plant.grid import Grid
from halite.scenarios.compliance import cases, long_cases, rig, rules, suite
from halite.scenarios.compliance.rig import SERVICES, parameters, preset
from halite.scenarios.compliance.services import BY_NAME

NAMES = list(BY_NAME)
SUITE = ["simulate", "--suite", "compliance", "--quick", "--json"]


def broken(judged):
    return [(row.case, row.figure, row.value) for one in judged for row in one.rows if not row.ok]


def change(monkeypatch, name, **keys):
    """A preset with other values, as the suite would read it from its file."""
    changed = {**preset(name), **keys}
    monkeypatch.setattr(rig, "preset", lambda _: changed)


def test_every_preset_is_in_the_catalogue():
    assert sorted(NAMES) == sorted(path.stem for path in SERVICES.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_a_valid_service_of_a_rack(name, tmp_path):
    text = (BOARD_CONFIGS / "sodium_rack.toml").read_text().replace('"sodium_fast"', f'"{name}"')
    text = text.replace("nominal_mHz = 50_000", f"nominal_mHz = {BY_NAME[name].nominal_hz * 1000:.0f}")
    (tmp_path / "rack.toml").write_text(text)
    assert load(tmp_path / "rack.toml").sections["response"]["grid_service"] == name


@pytest.mark.parametrize("name", NAMES)
def test_each_number_of_a_preset_names_its_source_or_says_what_it_is(name):
    before = ""
    for line in (SERVICES / f"{name}.toml").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            assert "#" in line or before.startswith("#"), line
        before = line


@pytest.mark.parametrize("name", NAMES)
def test_a_service_holds_every_bar_in_its_short_cases(name):
    assert broken(suite.suite([name], long=False)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_service_holds_every_bar_in_a_sine_sweep(name):
    assert broken([long_cases.sweep_case(BY_NAME[name])]) == []


@pytest.mark.parametrize("name", ["gb_dc", "csg_primary"])
def test_a_service_holds_every_bar_in_its_long_cases(name):
    service = BY_NAME[name]
    assert broken([long_cases.recovery_case(service, sign) for sign in (-1, 1)]) == []
    assert broken([long_cases.gb_2019_case(service)]) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_service_s_energy_lasts_as_long_as_it_is_sold(name):
    assert preset(name)["duration_s"] == (BY_NAME[name].lasts or 0)


def test_a_delivery_is_as_long_as_contracted_and_no_longer(monkeypatch):
    change(monkeypatch, "gb_dc", duration_s=20)
    assert broken([long_cases.delivery_case(BY_NAME["gb_dc"], 20.0)]) == []
    assert broken([long_cases.delivery_case(BY_NAME["gb_dc"], 18.0)])
    assert broken([long_cases.delivery_case(BY_NAME["gb_dc"], 22.0)])


@pytest.mark.parametrize(
    ("keys", "holds"), [({}, True), ({"step_rearm_mHz": 0}, False), ({"step_rearm_ms": 99_000}, False)]
)
def test_a_step_service_is_ready_for_the_next_event_on_a_grid_below_nominal(keys, holds, monkeypatch):
    change(monkeypatch, "nordic_ffr_b", **keys)
    assert (broken([long_cases.second_event_case(BY_NAME["nordic_ffr_b"], 90.0)]) == []) == holds


def test_edge_jitter_costs_a_gb_service_what_its_page_says():
    assert broken([long_cases.random_case(BY_NAME["gb_dm"], 3, long_cases.JITTER_US)]) == []


@pytest.mark.parametrize("name", ["gb_dc", "gb_dm"])
@pytest.mark.parametrize("seed", long_cases.RANDOM_GRIDS)
def test_a_gb_service_stays_in_its_envelope_on_a_random_grid(name, seed):
    assert broken([long_cases.random_case(BY_NAME[name], seed)]) == []


@pytest.mark.parametrize("name", ["step", "ramp1hzs"])
def test_the_bounds_are_those_published(name):
    _, f_hz, lower, upper = rules.published_bounds(name)
    curve = rules.Curve.of([[-500, 1000], [-200, 50], [-15, 0], [15, 0]], 50.0)
    ours = rules.gb_bounds(f_hz, curve)
    assert np.abs(ours[0] - lower).max() < 1e-4
    assert np.abs(ours[1] - upper).max() < 1e-4


# What a preset may not become: its keys, and the case that must notice; as shipped they hold, see above.
LOW = partial(cases.step_case, sign=-1)
WRONG = (
    ("sodium_fast", {"curve": [[-500, 1000], [-20, 0], [500, 0]]}, cases.curve_case),
    ("lithium_steady", {"curve": [[-500, 500], [-20, 0], [20, 0], [500, -500]]}, LOW),
    ("gb_dc", {"curve": [[-500, 1000], [-200, 99], [-15, 0], [15, 0], [500, -1000]]}, cases.curve_case),
    ("gb_dc", {"up_permille_ps": 6_000}, LOW),
    ("gb_dc", {"down_permille_ps": 6_000}, LOW),
    ("gb_dm", {"down_permille_ps": 1_900}, LOW),
    ("gb_dm", {"curve": [[-200, 1000], [200, -1000]]}, cases.quiet_case),
    ("gb_dm", {"delay_ms": 100}, LOW),
    ("nordic_fcr_d", {"curve": [[-550, 1000], [-100, 0], [100, 0], [500, -1000]]}, cases.curve_case),
    ("nordic_ffr_a", {"step_permille": 0}, LOW),
    ("nordic_ffr_a", {"step_below_mHz": 275}, cases.quiet_case),
    ("nordic_ffr_a", {"step_below_mHz": 325}, LOW),
    ("nordic_ffr_b", {"step_hold_ms": 5_000}, LOW),
    ("nordic_ffr_c", {"step_release_permille_ps": 210}, LOW),
    ("csg_primary", {"recovery_permille": 0}, partial(long_cases.recovery_case, sign=-1)),
    ("csg_primary", {"recovery_target_cpct": 8_000}, partial(long_cases.recovery_case, sign=1)),
    ("csg_primary", {"rest_mHz": 60}, partial(long_cases.recovery_case, sign=-1)),
    ("ieee1547", {"curve": [[-3036, 1000], [-46, 0], [46, 0], [3036, -1000]]}, cases.curve_case),
    ("ieee1547", {"curve": [[-3036, 0], [36, 0], [3036, -1000]]}, partial(cases.ramp_case, hz_per_s=-1.0)),
)


@pytest.mark.parametrize(("name", "keys", "case"), WRONG)
def test_the_suite_does_not_ask_the_preset_what_is_right(name, keys, case, monkeypatch):
    change(monkeypatch, name, **keys)
    assert broken([case(BY_NAME[name])])


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
    monkeypatch.setattr(cases, "parameters_of", lambda *_: params)
    judged = cases.published_case(BY_NAME["gb_dc"], "step")
    assert broken([judged]), reason


def test_sodium_answers_a_step_at_least_six_times_faster_than_lithium():
    def to_90_percent(name):
        judged = cases.step_case(BY_NAME[name], -1)
        return rules.reach_s(judged.track, rig.EVENT_S, 1.0, 0.9)

    assert to_90_percent("lithium_steady") >= 6 * to_90_percent("sodium_fast")


def test_the_suite_prints_json_and_writes_a_plot(tmp_path, capsys):
    page = tmp_path / "report.html"
    assert cli.main([*SUITE, "--grid-service", "aemo_very_fast", "--report", str(page)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["service"] for row in rows} == {"aemo_very_fast"}
    assert all(row["ok"] for row in rows)
    assert "plotly" in page.read_text()[:10_000].lower()


def test_a_broken_row_gives_a_failing_exit_status_and_is_named_on_the_page(monkeypatch, tmp_path):
    params = parameters("gb_dc")
    params.response_enabled = 0
    monkeypatch.setattr(cases, "parameters_of", lambda *_: params)
    page = tmp_path / "report.html"
    assert cli.main([*SUITE, "--grid-service", "gb_dc", "--report", str(page)]) == 1
    assert "FAILS: gb_dc, step -500 mHz, 99% delivered: never" in page.read_text()


def test_the_shipped_racks_are_a_pair_once_they_have_roles_and_one_service():
    def shares_W(config, role):
        params = parameters("sodium_fast", 50.0, config)
        params.pair_role, params.response_up_permille_ps, params.response_down_permille_ps = role, 5_000, 5_000
        grid = Grid(50.0)
        grid.set(49.5, 1e6)
        return np.rint(rig.run(params, grid, 20.0).request * params.rack_power_max_W)

    both = shares_W("sodium_rack", 1) + shares_W("lfp_rack", 2)
    assert (both == shares_W("lfp_rack", 0)).all()
    assert both[-1] == load("lfp_rack")["pair_power_W"]


def rack_of(folder, *lines):
    """A sodium rack that names its service and overrides some of it."""
    text = (BOARD_CONFIGS / "sodium_rack.toml").read_text()
    file = folder / "rack.toml"
    file.write_text(text.replace('grid_service = "sodium_fast"', "\n".join(lines)))
    return str(file)


def test_a_rack_of_ones_own_is_judged_with_its_overrides_by_the_service_that_it_names(tmp_path, capsys):
    tuned = rack_of(tmp_path, 'grid_service = "gb_dc"', "up_permille_ps = 3_200")
    assert cli.main([*SUITE, "--config", tuned]) == 0
    assert {row["service"] for row in json.loads(capsys.readouterr().out)} == {"gb_dc"}
    early = rack_of(tmp_path, 'grid_service = "gb_dc"', "delay_ms = 0")
    assert cli.main([*SUITE, "--config", early]) == 1
    failed = {row["figure"] for row in json.loads(capsys.readouterr().out) if not row["ok"]}
    assert failed == {"first movement", "GB envelope error"}


def test_a_service_of_ones_own_is_judged_by_a_named_one_on_the_racks_own_grid(tmp_path):
    (tmp_path / "grid_services").mkdir()
    preset = (SERVICES / "gb_dc.toml").read_text().replace("nominal_mHz", "# ")
    (tmp_path / "grid_services" / "mine.toml").write_text(preset)
    own = rack_of(tmp_path, 'grid_service = "mine"')
    with pytest.raises(MisuseError, match="no service mine"):
        suite.chosen(None, own)
    assert suite.chosen(["gb_dc"], own)[0].nominal_hz == 50.0
    Path(own).write_text(Path(own).read_text().replace("nominal_mHz = 50_000", "nominal_mHz = 60_000"))
    on_60_hz = suite.chosen(["gb_dc"], own)
    assert on_60_hz[0].nominal_hz == 60.0
    assert broken([cases.step_case(on_60_hz[0], -1)]) == []


def test_an_unknown_service_is_named():
    with pytest.raises(MisuseError, match="no service nonsense"):
        suite.suite(["nonsense"])
