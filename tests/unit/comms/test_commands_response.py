"""Console commands of the frequency response: the trace as CSV, and tests that need an acknowledgement."""

import csv
import io
import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from halite.board import commissioning
from halite.board.render import as_text
from halite.cli import app as cli
from halite.common.errors import HaliteError
from halite.hosts.response_rig import DC_LOW, Rig, parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.comms.commands_response import HELP, ResponseCommands
from rack.comms.console_protocol import Console
from rack.comms.ems import Ems
from rack.comms.terminal import Terminal
from rack.control.response.pair import LINK_LOST_MS
from rack.control.response.recorder import Recorder
from rack.generated import ids as I

PERIODS_A_SECOND = 50


class Pipe(Terminal):
    """The real output ring over a list of bytes."""

    def __init__(self):
        super().__init__()
        self.incoming = bytearray()
        self.sent = bytearray()

    def read(self):
        return self.incoming.pop(0) if self.incoming else -1

    def _send(self, byte):
        self.sent.append(byte)
        return True


class Rack:
    """A response with its recorder, a PCS of 10 ms lag, and a console on it."""

    def __init__(self, **changes):
        changes = {"response_test_enabled": 1, "recorder_trigger_mHz": 200, "recorder_after": 100, **changes}
        self.rig = Rig(parameters(**changes))
        self.s = self.rig.s
        self.s[I.LIMIT_CHARGE_W] = self.s[I.LIMIT_DISCHARGE_W] = 200_000
        self.recorder = Recorder(self.rig.params, self.rig.response, self.s)
        self.now_ms = 2**30 - 5_000
        self.terminal = Pipe()
        app = SimpleNamespace(
            controller=SimpleNamespace(response=self.rig.response, s=self.s),
            params=self.rig.params,
            recorder=self.recorder,
            ems=Ems(self.rig.params, self.s),
            port=SimpleNamespace(ticks_ms=lambda: self.now_ms % 2**30),
        )
        self.console = Console(self.terminal, ResponseCommands(app).table, (HELP,))
        self.run(50.0, 1)

    def run(self, Hz, seconds):
        for _ in range(round(seconds * PERIODS_A_SECOND)):
            request = self.rig.period(Hz)
            power_W = self.s[I.PCS_POWER_W]
            self.s[I.PCS_POWER_W] = power_W + (request - power_W) * 86 // 100
            self.recorder.on_period()
            self.recorder.scan()
        self.now_ms += round(seconds * 1000)

    def ask(self, line):
        self.terminal.incoming += line.encode() + b"\n"
        for _ in range(5_000):
            self.console.poll()
            if not self.terminal.incoming and not self.console.busy:
                break
        while self.terminal.drain():
            pass
        *_, answer = self.terminal.sent.decode("ascii").splitlines()
        return json.loads(answer)


def rows(answer):
    return [dict(zip(answer["columns"].split(","), map(int, row.split(",")), strict=True)) for row in answer["rows"]]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 255), st.floats(0.5, 6.0), st.floats(49.0, 49.7))
def test_a_trace_is_csv_with_the_time_before(after, before_s, Hz):
    """The trace of a frequency deviation is CSV and holds the periods before the trigger."""
    rack = Rack(recorder_after=after)
    rack.run(50.0, before_s)
    assert rack.ask("trace") == {
        "re": "trace", "frozen": False, "cause": "none", "count": len(rack.recorder),
        "columns": "t_ms,deviation_dmHz,response_W,request_W,pcs_W,charge_W,discharge_W", "rows": [],
    }  # fmt: skip
    rack.run(Hz, (after + 5) / PERIODS_A_SECOND)
    answer = rack.ask("trace")
    trace = rows(answer)
    assert (answer["frozen"], answer["cause"], answer["count"]) == (True, "frequency", len(trace))
    assert len([row for row in trace if row["t_ms"] > 0]) == after
    assert all(abs(row["deviation_dmHz"]) <= 2_000 for row in trace if row["t_ms"] < 0)
    assert trace[-1]["request_W"] == pytest.approx(rack.rig.response.request_W, abs=7)


def test_a_frozen_trace_is_a_csv_file_on_the_host():
    """The host prints a frozen trace as a CSV file."""
    rack = Rack()
    rack.run(50.0, 2)
    assert "frozen" in as_text(rack.ask("trace"))
    rack.run(49.5, 3)
    answer = rack.ask("trace")
    table = list(csv.DictReader(io.StringIO(as_text(answer))))
    assert len(table) == answer["count"] > 200
    assert [{name: int(value) for name, value in row.items()} for row in table] == rows(answer)


def test_a_trace_that_freezes_during_an_answer_has_no_rows():
    """A trace that freezes between two pieces of an answer is reported as not frozen, without rows."""
    rack = Rack()
    app = SimpleNamespace(recorder=rack.recorder)
    pieces = ResponseCommands(app).table["trace"][0]([])
    told = next(pieces)
    rack.recorder.freeze()
    answer = json.loads("{" + (told + "".join(pieces))[1:] + "}")
    assert (answer["frozen"], answer["rows"]) == (False, [])


def test_a_trace_stays_until_rearm():
    rack = Rack()
    rack.run(49.5, 3)
    first = rack.ask("trace")
    rack.run(50.5, 3)
    assert rack.ask("trace") == first
    rack.run(50.0, 1)
    assert rack.ask("rearm") == {"re": "rearm", "ok": True}
    rack.run(50.0, 1)
    assert rack.ask("trace")["rows"] == []
    now = rack.ask("trace now")
    assert (now["cause"], now["count"]) == ("command", 50)
    assert rows(now)[-1]["t_ms"] == 0


def test_every_piece_fits_the_console():
    """Each piece of an answer is short enough for the console's ring."""
    rack = Rack(rack_power_max_W=2_000_000, pair_power_W=2_000_000)
    rack.rig.response.set_limits(2_000_000, 2_000_000, 1)
    rack.s[I.PCS_POWER_W] = -(2**23)
    rack.run(52.4, 3)
    app = SimpleNamespace(recorder=rack.recorder, controller=SimpleNamespace(response=rack.rig.response), port=None)
    table = ResponseCommands(app).table
    for name, words in (("trace", []), ("response", ["test"])):
        assert max(len(piece) for piece in table[name][0](words)) < 64


def test_a_step_test_from_request_to_figures():
    """A step test is requested, its power shown, acknowledged, run and judged."""
    rack = Rack()
    assert rack.ask("response test step -500") == {
        "re": "response", "asked": "step", "value": -500, "expected_W": 200_000, "acknowledge_ms": 10_000,
    }  # fmt: skip
    rack.run(50.0, 1)
    assert rack.rig.response.request_W == 0
    assert rack.ask("response test acknowledge")["started"] == "step"
    rack.run(50.0, 12)
    result = rack.ask("response test")
    assert (result["test"], result["kind"], result["value"]) == ("done", "step", -500)
    assert 0 <= result["delay_ms"] <= 60 and result["delay_ms"] < result["rise_ms"] <= result["settle_ms"] <= 200
    assert abs(result["error_permille"]) <= 1
    trace = rows(rack.ask("trace"))
    assert next(row["t_ms"] for row in trace if row["request_W"] > 190_000) in range(60)


GB = {"curve": DC_LOW, "response_delay_ms": 200, "recorder_after": 192, "response_rest_mHz": 15}


@pytest.mark.parametrize("line", ["step -500", "ramp -1000", "step 500", "ramp 500"])
@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({"response_up_permille_ps": 3_000}, True),
        ({"response_up_permille_ps": 3_000, "response_delay_ms": 0}, False),
        ({"response_up_permille_ps": 400}, False),
    ],
)
def test_the_host_judges_a_trace_against_the_envelope(line, change, holds):
    rack = Rack(**{**GB, **change})
    rack.run(50.0, 2)
    rack.ask(f"response test {line}")
    rack.ask("response test acknowledge")
    rack.run(50.0, 13)
    rows = commissioning.judge("gb_dc", rack.ask("response test"), rack.ask("trace"))
    envelope = next(row for row in rows if row.figure == "outside the envelope")
    assert envelope.ok == holds


FFR = {"curve": [-500, 0, 500, 0], "response_step_permille": 1_000, "response_step_hold_ms": 6_300}


@pytest.mark.parametrize(
    ("service", "line", "change", "missed"),
    [
        ("sodium_fast", "step -500", {}, []),
        ("sodium_fast", "ramp -1000", {}, []),  # full power at 500 mHz, half a second after the start
        ("sodium_fast", "ramp -250", {"response_delay_ms": 400}, ["90 % delivered"]),
        ("sodium_fast", "step -15", {}, []),  # inside the dead band the service demands no power
        ("nordic_ffr_a", "step -320", FFR, []),
        ("nordic_ffr_a", "ramp -1000", FFR, []),
        ("nordic_ffr_a", "step 320", FFR, []),
        ("nordic_ffr_a", "step -320", {**FFR, "response_step_hold_ms": 4_000}, ["held until"]),
        ("gb_dc", "step -500", {**GB, "response_up_permille_ps": 3_000}, []),
        ("gb_dc", "step -500", {**GB, "response_up_permille_ps": 3_000, "response_delay_ms": 160}, ["first movement"]),
    ],
)
def test_the_host_judges_a_test_by_its_service(service, line, change, missed):
    """The host judges a test against the figures that its grid service demands."""
    rack = Rack(**change)
    rack.ask(f"response test {line}")
    rack.ask("response test acknowledge")
    rack.run(50.0, 15)
    rows = commissioning.judge(service, rack.ask("response test"), rack.ask("trace"))
    assert [row.figure for row in rows if not row.ok] == missed


@pytest.mark.parametrize(("delay_ms", "status", "word"), [(200, 0, "ok"), (0, 1, "MISSED")])
def test_commission_prints_figures_and_limits(monkeypatch, capsys, delay_ms, status, word):
    """`halite commission` prints the figures with their limits, and that the recorder holds the trace."""
    rack = Rack(**{**GB, "response_up_permille_ps": 3_000, "response_delay_ms": delay_ms})
    rack.ask("response test step -500")
    rack.ask("response test acknowledge")
    rack.run(50.0, 13)
    monkeypatch.setattr("halite.board.serial_port.SerialPort", lambda name: nullcontext(name))
    monkeypatch.setattr("halite.board.serial_ports.choose", lambda name: name)
    monkeypatch.setattr("halite.board.client.ask", lambda port, line: rack.ask(line))
    assert cli.main(["commission", "--grid-service", "gb_dc", "--port", "x"]) == status
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["first", "movement"] and ">= 0.2 <= 0.5" in first and first.endswith(word)
    assert "rearm" in last


def test_the_host_refuses_another_trace():
    """The host does not judge a trace with another cause or a test that has not finished."""
    rack = Rack(**GB)
    rack.run(49.5, 5)
    event = rack.ask("trace")
    rack.run(50.0, 2)
    assert "rearm" in rack.ask("response test step -500")["error"]
    rack.ask("rearm")
    rack.ask("response test step -500")
    rack.ask("response test acknowledge")
    with pytest.raises(HaliteError, match="running"):
        commissioning.judge("gb_dc", rack.ask("response test"), event)
    rack.run(50.0, 13)
    with pytest.raises(HaliteError, match="not that of the test"):
        commissioning.judge("gb_dc", rack.ask("response test"), event)
    with pytest.raises(HaliteError, match="no such grid service"):
        commissioning.judge("gb_dq", rack.ask("response test"), event)


def test_a_ramp_test_and_its_stop():
    """A ramp test runs, and `stop` ends it."""
    rack = Rack()
    assert rack.ask("response test ramp -1000")["expected_W"] == 200_000
    assert rack.ask("response test acknowledge")["ok"]
    rack.run(50.0, 0.4)
    assert -450 < rack.ask("response test")["injected_mHz"] < -350
    assert rack.ask("response test stop")["ok"]
    assert rack.ask("response test")["test"] == "stopped"
    rack.run(50.0, 1)
    assert rack.rig.response.request_W == 0


def test_a_test_needs_an_acknowledgement_in_time():
    rack = Rack()
    assert "ask for" in rack.ask("response test acknowledge")["error"]
    rack.ask("response test step -500")
    rack.run(50.0, 10.1)
    assert "too late" in rack.ask("response test acknowledge")["error"]
    assert "ask for" in rack.ask("response test acknowledge")["error"]
    rack.ask("response test step -500")
    rack.ask("response test stop")
    assert "ask for" in rack.ask("response test acknowledge")["error"]
    assert rack.ask("response test")["test"] == "idle"


def test_a_moving_grid_forbids_the_test():
    """A grid that moves between request and acknowledgement forbids the test."""
    rack = Rack()
    rack.ask("response test step -500")
    rack.run(49.8, 1)
    assert "quiet" in rack.ask("response test acknowledge")["error"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("response", "response test ["),
        ("response tests", "response test ["),
        ("response test jump 5", "response test ["),
        ("response test step", "response test ["),
        ("response test step 1001", "step takes"),
        ("response test step -0", "step takes"),
        ("response test step -500mHz", "step takes"),
        ("response test step 99999999999999999999", "step takes"),
        ("response test ramp 4001", "step takes"),
        ("trace later", "takes no such words"),
    ],
)
def test_a_wrong_line_is_refused_with_the_usage(line, reason):
    assert reason in Rack().ask(line)["error"]


def test_a_rack_without_tests_refuses_them():
    assert "not enabled" in Rack(response_test_enabled=0).ask("response test step -500")["error"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["test", "step", "ramp", "stop", "acknowledge", "-500", "0", "x", "now"]), max_size=4))
def test_a_single_line_does_not_start_a_test(words):
    """No single command line starts a test."""
    rack = Rack()
    rack.ask(" ".join(["response", *words]))
    assert rack.rig.response.test.result == 0


def test_pair_applies_and_answers_values():
    """`pair` applies the EMS's values and answers the values for the other rack."""
    rack = Rack(pair_role=1)
    rack.s[I.PAIR_AGE_ms] = LINK_LOST_MS
    rack.s[I.SHORT_W] = -7
    assert rack.ask("pair 4000 6000 1 -500") == {"re": "pair", "ok": True, "soc_cpct": 5_000, "short_W": -7}
    told = (I.PAIR_HIGH_cpct, I.PAIR_LOW_cpct, I.PAIR_OUT, I.PAIR_SHORT_W, I.PAIR_AGE_ms)
    assert [rack.s[index] for index in told] == [4_000, 6_000, 1, -500, 0]


def test_a_rack_alone_in_service_takes_all():
    """A rack takes the whole request when `pair` reports the other rack out."""
    rack = Rack(pair_role=2)
    rack.run(49.5, 1)
    shared_W = rack.rig.response.request_W
    rack.ask("pair 5000 5000 1 0")
    rack.run(49.5, 1)
    assert shared_W < 20_000 and rack.rig.response.request_W == rack.rig.response.response_W == 200_000


@pytest.mark.parametrize(
    "words", ["", "1 2 3", "1 2 0 4 5", "x 2 0 4", "10001 2 0 4", "1 -1 0 4", "1 2 2 4", "1 2 0 200001", "1 2 0 1.5"]
)
def test_an_incomplete_pair_message_is_refused(words):
    """A `pair` line with missing or wrong words changes no signal."""
    rack = Rack(pair_role=1)
    before = list(rack.s)
    assert "pair takes" in rack.ask(f"pair {words}")["error"]
    assert list(rack.s) == before


def test_a_rack_without_a_pair_refuses_the_command():
    assert "role" in Rack().ask("pair 5000 5000 0 0")["error"]


@pytest.mark.parametrize(
    ("words", "kind", "value"),
    [("step -500 mHz", "step", -500), ("ramp -1 Hz/s", "ramp", -1_000), ("ramp -250 mHz/s", "ramp", -250)],
)
def test_a_test_may_name_its_unit(words, kind, value):
    answer = Rack().ask(f"response test {words}")
    assert (answer["asked"], answer["value"]) == (kind, value)


@pytest.mark.parametrize("words", ["step 1 Hz/s", "step 1 Hz", "ramp 1 mHz", "step mHz -500", "step -500 mHz now"])
def test_a_unit_that_does_not_fit_is_refused(words):
    assert "error" in Rack().ask(f"response test {words}")
