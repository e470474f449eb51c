"""Scenario files, runs on the CPython host, recordings and their report."""

import json
import re

import numpy as np
import pytest
from halite.chips import attach
from halite.cli import app as cli
from halite.common.errors import HaliteError
from halite.config import load, load_params
from halite.hosts.cpython import quantised_cells, quantised_temps
from halite.plant.faults import FAULTS
from halite.plant.rack import Rack
from halite.scenarios import recorders, report, scenario
from halite.scenarios.cpython_run import check_places, run
from halite.scenarios.observations import Observation
from halite.scenarios.recording import Recording, read_json
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE
from rack.definitions.pcs_codes import VERSION

SHIPPED = sorted(path.stem for path in scenario.FOLDER.glob("*.toml"))
RACKS = ("sodium_rack", "lfp_rack", "bench_rack")


def of(duration_ms, *actions, **start):
    """A scenario from its actions."""
    document = {"name": "test", "duration_ms": duration_ms, "start": start, "action": list(actions)}
    return scenario.parse(document, "test.toml")


def close(at_ms=800):
    return {"at_ms": at_ms, "do": "command", "what": "close"}


@pytest.fixture(scope="module")
def demo():
    return run(scenario.load("demo"), "sodium_rack")


# scenario files


@pytest.mark.parametrize("name", SHIPPED)
def test_every_scenario_is_valid_and_fits_the_sodium_rack(name):
    """Every shipped scenario has its file's name, a text, and only places that the sodium rack has."""
    one = scenario.load(name)
    assert one.name == name
    assert one.text
    check_places(one, Rack.from_params(load_params("sodium_rack")))


REFUSALS = (
    ({"name": "x"}, "duration_ms", "must be given"),
    ({"name": "x", "duration_ms": 5}, "duration_ms = 5 ms", "at least 10"),
    ({"name": "x", "duration_ms": 100, "length_ms": 1}, "length_ms = 1 ms", "no such key"),
    ({"name": "x", "duration_ms": 100, "start": {"soc_pct": 101}}, "start.soc_pct = 101 pct", "at most 100"),
    ({"action": [{"at_ms": 1, "do": "ramp", "to_mHz": 49500, "rate_mHzps": 0}]}, "1.rate_mHzps = 0 mHzps", "least 1"),
    ({"action": [{"at_ms": 1, "do": "set", "frequency_Hz": 50}]}, "action.1.frequency_Hz = 50", "frequency_mHz"),
    ({"action": [{"at_ms": 1, "do": "jump"}]}, "action.1.do = 'jump'", "'set', 'ramp'"),
    ({"action": [{"do": "set", "frequency_mHz": 50000}]}, "action.1.at_ms", "must be given"),
    ({"action": [{"at_ms": 1, "do": "fault", "name": "fire"}]}, "action.1", "hvil_open"),
    ({"action": [{"at_ms": 1, "do": "fault", "name": "heat", "value": 1e3}]}, "value = 1000 K/s", "0 to 100 K/s"),
    ({"action": [close(), {"at_ms": 3, "do": "command", "what": "shut"}]}, "action.2.what = 'shut'", "'close'"),
    ({"action": [{"at_ms": 1, "do": "follow", "points": [[5, 50000], [5, 49000]]}]}, "action.1", "rising order"),
)  # fmt: skip


@pytest.mark.parametrize(("wrong", "place", "allowed"), REFUSALS)
def test_a_refusal_names_key_value_and_allowed_range(wrong, place, allowed):
    """A refusal names file, key, value, unit and the allowed range, one line per problem."""
    document = wrong if "name" in wrong else {"name": "x", "duration_ms": 100} | wrong
    with pytest.raises(HaliteError) as refused:
        scenario.parse(document, "wrong.toml")
    lines = str(refused.value).splitlines()
    assert all(line.startswith("wrong.toml: ") for line in lines)
    assert any(place in line and allowed in line for line in lines)


def test_a_fault_beyond_the_rack_is_refused():
    """A fault at a device that the rack does not have is refused with the allowed range."""
    wrong = of(100, {"at_ms": 1, "do": "fault", "name": "afe_lost", "at": 24})
    with pytest.raises(HaliteError, match="0 to 23"):
        run(wrong, "sodium_rack")


def test_missing_and_invalid_files_are_refused(tmp_path):
    """A missing file is refused with the list of shipped scenarios, an invalid one with its TOML error."""
    with pytest.raises(HaliteError, match=r"shipped scenarios: .*demo"):
        scenario.load("no_such_story")
    bad = tmp_path / "bad.toml"
    bad.write_text("name = ")
    with pytest.raises(HaliteError, match=r"bad\.toml: not valid TOML"):
        scenario.load(bad)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 5000), st.sampled_from(sorted(FAULTS))), max_size=6))
def test_every_limited_fault_starts_and_ends_in_order_of_time(faults):
    """`timed` is in order of time and has one end for every fault with a duration."""
    actions = [{"at_ms": at, "do": "fault", "name": name, "for_ms": span} for at, span, name in faults]
    timed = of(20_000, *actions).timed()
    assert [a.at_ms for a in timed] == sorted(a.at_ms for a in timed)
    assert sorted(a.at_ms for a in timed if a.do == "clear") == sorted(at + span for at, span, _ in faults)


# runs on the CPython host


def test_the_demo_has_its_steps_in_order(demo):
    """The demonstration closes, responds, derates, trips and opens in this order, with the expected powers."""
    times = [demo.first(text) for text in (
        "state: precharge", "main - closed", "precharge closed", "main + closed", "grid moves", "module heated",
        "alarm level: derate", "trip: cell over-temperature", "main + open")]  # fmt: skip
    assert None not in times
    assert times == sorted(times)
    at = {name: np.searchsorted(demo.time_ms, demo.first(text)) for name, text in
          (("fall", "grid moves"), ("heat", "module heated"), ("trip", "trip: cell"))}  # fmt: skip
    assert not demo["request_W"][: at["fall"]].any()
    assert demo["true_power_W"][at["heat"]] == pytest.approx(200_000, rel=0.01)
    assert 0 <= demo["request_W"][at["trip"] - 1] < 100_000
    assert not demo["request_W"][at["trip"] :].any()
    assert demo["contacts"][-1] == 0


def test_a_run_repeats_exactly_also_over_a_clock_wrap(demo):
    """Two runs give the same recording, also when the controller's clock wraps during the run."""
    story = of(3000, close(), {"at_ms": 2000, "do": "ramp", "to_mHz": 49500, "rate_mHzps": 2000})
    one, two, wrapped = (run(story, "bench_rack", start_ms=start) for start in (0, 0, (1 << 30) - 1500))
    assert one.observations == two.observations == wrapped.observations
    for name in one.columns:
        assert np.array_equal(one[name], two[name], equal_nan=True), name
        assert np.array_equal(one[name], wrapped[name], equal_nan=True), name


@pytest.mark.parametrize("rack", RACKS)
def test_the_controller_measures_the_plants_true_values(rack):
    """Frequency, power, voltages and temperatures of the controller agree with the true values of the plant."""
    story = of(3500, close(), {"at_ms": 2500, "do": "set", "frequency_mHz": 49_700}, soc_pct=60, temp_degC=30)
    trace = run(story, rack)
    last = {name: values[-1] for name, values in trace.columns.items()}
    assert abs(last["freq_mHz"] - 49_700) <= 2
    assert last["pcs_power_W"] == pytest.approx(last["true_power_W"], abs=2000)
    assert last["pcs_power_W"] == pytest.approx(last["request_W"], rel=0.02)
    assert last["request_W"] > 0
    assert last["cell_max_mV"] == pytest.approx(1000 * last["true_cell_max_V"], abs=3)
    assert last["temp_max_ddegC"] == pytest.approx(10 * last["true_surface_max_degC"], abs=2)
    assert last["cell_sum_dV"] == pytest.approx(last["rack_dV"], abs=5)


@pytest.mark.parametrize(
    ("fault", "text", "within_ms"),
    [("hvil_open", "interlock", 12), ("estop_pressed", "emergency", 12), ("afe_lost", "cell voltages", 250),
     ("current_lost", "current sensor", 120), ("pcs_silent", "PCS silent", 320)],
)  # fmt: skip
def test_faults_between_two_scans_open_the_contactors(fault, text, within_ms):
    """A fault between two scans trips within its time, and the contactors open within 13 ms of the trip."""
    trace = run(of(3200, close(), {"at_ms": 2503, "do": "fault", "name": fault}), "sodium_rack")
    tripped = trace.first("trip:")
    assert text in next(seen.text for seen in trace.observations if seen.text.startswith("trip:"))
    assert 2503 < tripped <= 2503 + within_ms
    assert trace.first("main + open") <= tripped + 13


def test_readings_are_quantised_and_broken_sensors_have_codes():
    """Readings have the resolution of the AFE; an open and a shorted sensor have their codes."""
    rack = Rack.from_params(load_params("bench_rack"))
    rack.start_fault("ntc_open", 0)
    rack.start_fault("ntc_short", 1)
    temps = quantised_temps(rack).tolist()
    assert temps[:2] == [-32767, -32766]
    assert all(abs(t / 10 - true) <= 0.051 for t, true in zip(temps[2:], rack.heat.surface_degC[2:], strict=True))
    for mV, volts in zip(quantised_cells(rack), rack.measured_cells_V(), strict=True):
        assert abs(mV / 1000 - volts) < 0.0007


# wires on the same rack


def test_chips_attached_to_a_rack_read_its_values():
    """The chip models read the voltages, temperatures and currents of the rack and deliver requests to its PCS."""
    rack = Rack.from_params(load_params("sodium_rack"))
    rack.set_coils(COIL_NEG | COIL_PRE, 0)
    rack.step_to(1_200_000)
    rack.set_coils(COIL_NEG | COIL_POS, 1_200_000)
    rack.step_to(1_300_000)
    chips = attach.chips_of(rack)
    frame = chips.pcs_node.codec.pack(0x181, {"power": 50_000, "flags": 3, "sequence": 5, "version": VERSION})
    chips.pcs_node.received(frame, 1_300_000)
    rack.step_to(1_390_000)
    assert rack.pcs.power_W == pytest.approx(50_000, rel=0.01)
    volts, ratios = chips.afe.inputs(23)
    assert volts == rack.measured_cells_V()[-16:].tolist()
    sensor = rack.plant.sensors_of.ntc
    assert [sensor.degC(ratio) for ratio in ratios] == pytest.approx(rack.measured_temps_degC()[-8:].tolist())
    amps, pin_V, _ = chips.ina228.inputs()
    assert amps == pytest.approx(50_000 / rack.bus_V, rel=0.02)
    assert pin_V * 20 == pytest.approx(rack.string_V)


@given(power_W=st.integers(-(1 << 23), (1 << 23) - 1), flags=st.integers(0, 15), sequence=st.integers(0, 15),
       bit=st.integers(0, 63))  # fmt: skip
def test_the_pcs_decodes_requests_and_refuses_flipped_bits(power_W, flags, sequence, bit):
    """The PCS model decodes every request and refuses the same frame with any one bit flipped."""
    from halite.chips.can_bus import Frame
    from halite.chips.pcs_codec import FirmwareTableCodec

    codec = FirmwareTableCodec()
    frame = codec.pack(0x181, {"power": power_W, "flags": flags, "sequence": sequence, "version": VERSION})
    request = codec.request(frame)
    assert (request.power_W, request.permitted, request.counter) == (power_W, flags & 3 == 3, sequence)
    data = bytearray(frame.data)
    data[bit // 8] ^= 1 << bit % 8
    assert codec.request(Frame(0x181, bytes(data))) is None


# report


def test_the_report_is_one_file_with_every_observation(demo, tmp_path):
    """The page refers to no other file, and has every observation, every panel and the alarm levels."""
    path = tmp_path / "demo.html"
    report.write(demo, path, report.alarm_levels(load("sodium_rack")))
    page = path.read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    for seen in demo.observations:
        assert seen.text in page
    for panel in report.PANELS:
        assert panel.title in page
    assert "hot trip" in page


def test_a_long_recording_is_thinned_out_but_keeps_peaks():
    """A long column is thinned out to less than 10 000 points and keeps its peaks and its ends."""
    values = np.zeros(50_000)
    values[::2] = 1.0
    values[31_234] = 77.0
    values[12_345] = -55.0
    trace = Recording(np.arange(50_000) * 10.0, {"true_bus_V": values}, [])
    x, y = report._points(trace, report.Line("true_bus_V", "bus"))
    assert len(x) < 10_000
    assert (y.max(), y.min()) == (77.0, -55.0)
    assert (x[0], x[-1]) == (0.0, 499.99)
    assert (np.diff(x) > 0).all()


def test_a_recording_with_other_columns_makes_a_report():
    """A recording with other columns gives a page with the panels that it has columns for."""
    time_ms = np.arange(0, 100, 10.0)
    columns = {"request_W": np.arange(10), "coils": np.full(10, 5)}
    trace = Recording(time_ms, columns, [Observation(20, "control", "a <b> c")])
    trace.meta["precharge_ms"] = 639.949112
    page = report.html_of(trace)
    assert "precharge: 639.9 ms" in page
    assert "a &lt;b&gt; c" in page
    assert "Grid frequency" not in page


def test_json_and_csv_carry_the_whole_recording(demo, tmp_path):
    """JSON carries columns and observations exactly; CSV has one row per scan."""
    report.write(demo, tmp_path / "demo.json")
    again = read_json(tmp_path / "demo.json")
    assert again.observations == demo.observations
    assert all(np.array_equal(again[name], demo[name], equal_nan=True) for name in demo.columns)
    report.write(demo, tmp_path / "demo.csv")
    rows = (tmp_path / "demo.csv").read_text().splitlines()
    assert len(rows) == len(demo.time_ms) + 1
    assert rows[0].split(",")[1:] == list(demo.columns)


# the verb


def test_the_verb_runs_scenarios_and_prints_json(capsys, tmp_path):
    """`halite simulate --json` prints one summary per scenario and writes the report."""
    target = tmp_path / "out.json"
    assert cli.main(["simulate", "hvil_open", "--config", "bench_rack", "--json", "--report", str(target)]) == 0
    (summary,) = json.loads(capsys.readouterr().out)
    assert summary["scenario"] == "hvil_open"
    assert summary["simulate_realtime_factor"] > 0
    assert target.exists()


def test_the_page_and_the_verb_name_every_key_and_fault(capsys):
    """The README names every action and key; `--faults` lists every fault with its text."""
    page = (scenario.FOLDER / "README.md").read_text()
    for kind, model in scenario._KINDS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{kind}`"))
        for key in set(model.model_fields) - {"do", "at_ms"}:
            assert f"`{key}`" in row, (kind, key)
    assert all(key in page for key in scenario.Start.model_fields)
    assert cli.main(["simulate", "--faults"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name} " in listed and spec.text in listed for name, spec in FAULTS.items())


def test_the_verb_lists_scenarios_and_refuses_misuse(capsys):
    """`--list` prints every shipped scenario; a wrong name, no name and a wrong option are refused."""
    assert cli.main(["simulate", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in SHIPPED)
    for arguments, status in (["nothing_like_it"], 1), ([], 2), (["demo", "--frobnicate"], 2):
        assert cli.main(["simulate", *arguments]) == status
        assert capsys.readouterr().err.count("\n") == 1


def test_a_board_is_recorded_from_the_outside():
    """A BoardRecorder records contacts and requests, with times since its start."""
    rack = Rack.from_params(load_params("sodium_rack"))
    chips = attach.chips_of(rack)
    recorder = recorders.BoardRecorder(rack, chips, start_us=50_000)
    rack.set_coils(COIL_NEG | COIL_PRE, 60_000)
    for us in range(50_000, 200_000, 10_000):
        if us == 100_000:
            values = {"power": -7, "flags": 3, "sequence": 1, "version": VERSION}
            chips.pcs_node.received(chips.pcs_node.codec.pack(0x181, values), us + 250)
        recorder.sample(us)
    trace = recorder.recording({"scenario": "board"}, [Observation(3.0, "scenario", "begin")])
    assert trace.time_ms.tolist() == [n * 10.0 for n in range(15)]
    assert trace["request_W"].tolist() == [0] * 6 + [-7] * 9
    assert trace["contacts"].tolist() == [0] * 3 + [COIL_NEG | COIL_PRE] * 12
    assert [seen.text for seen in trace.observations] == ["begin", "main - closed", "precharge closed"]
    assert trace.first("main - closed") == 30.0
    page = report.html_of(trace)
    assert "energised main" in page


@st.composite
def fault_actions(draw):
    name = draw(st.sampled_from(sorted(FAULTS)))
    spec = FAULTS[name]
    value = draw(st.one_of(st.none(), st.floats(spec.min_value, spec.max_value)))
    limit = {"cell": 15, "sensor": 7}.get(spec.where, 0)
    action = {"at_ms": draw(st.integers(0, 2400)), "do": "fault", "name": name, "at": draw(st.integers(0, limit))}
    action |= {"value": value} if value is not None else {}
    return action | ({"for_ms": draw(st.integers(1, 1000))} if draw(st.booleans()) else {})


@settings(max_examples=12, deadline=None)
@given(faults=st.lists(fault_actions(), max_size=4), seed=st.integers(0, 3))
def test_no_faults_break_a_run_or_the_limits(faults, seed):
    """Under any combination of faults the request stays within its limits, and a trip releases the coils."""
    story = of(2500, close(), {"at_ms": 1600, "do": "set", "frequency_mHz": 49_600}, *faults)
    trace = run(story, "bench_rack", seed=seed)
    assert (trace["request_W"] <= trace["limit_discharge_W"]).all()
    assert (trace["request_W"] >= -trace["limit_charge_W"]).all()
    assert not trace["coils"][trace["trip_code"] > 0].any()
    assert np.isfinite(trace["true_bus_V"]).all()
