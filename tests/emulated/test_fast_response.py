"""The fast response on the emulated board: edges on the pin, frames on the bus, the whole application between.

The largest rack with the fast service and inertia. All tests read one run: closing, a frequency half a hertz low, a
ramp above nominal, back to a small deviation, then no mains. The console then reports the recorded periods. At the end
a link between two AFEs of the closed rack breaks and is repaired.
"""

from array import array
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from halite.bench.figures import BARS
from halite.common.paths import BOARD_CONFIGS
from halite.config import load, load_params
from halite.emulator.console_client import ask, last_answer
from halite.emulator.scan_watch import ScanWatch
from halite.hosts import application
from halite.hosts.bus_load import Polling, check_load, keep_streaming
from halite.hosts.kernel_tap import KernelTap, Taken
from rack.control.response.recorder import COLUMNS, Recorder
from rack.control.response.response import Response
from rack.definitions.codes import TASK_CONSOLE
from rack.generated import ids as I
from rack.generated import response_state as K

STEP_mHz = -500
QUIET_MS = 245.0
LOST_MS = 370.0
WALL_S = 600.0
CHANGES = (
    ('grid_service = "lithium_steady"',
     'grid_service = "sodium_fast"\ninertia_permille_per_Hzps = 20\ninertia_band_mHzps = 50'),
    # a short precharge: other tests cover closing
    ("tau_ms = 200 ", "tau_ms = 60 "),
    ("early_ms = 300 ", "early_ms = 90 "),
    ("late_ms = 1_400", "late_ms = 420"),
    ("energy_J = 8_000", "energy_J = 3_000"),
    ("link_warn = [1, 0, 0, 5_000]", "link_warn = [1, 0, 0, 100]"),  # other tests cover the clear time
)
PERIOD_US = 20_000.0
SCAN_US = 10_000.0
FRAME_US = 1_000.0  # a request is on the bus that long after its edge, at most
INPUTS = (  # what the scan gives to the kernel
    K.STEP, K.AUTHORITY, K.SPENT_DIRECTION, K.BASE, K.CHARGE_LIMIT, K.DISCHARGE_LIMIT, K.PERMITTED,
)  # fmt: skip
SILENT_MS = 60  # a slice of an answer comes every 5 ms
COLLECTED_MS = 540  # the collection behind an answer: half a second behind the one before at the latest


class Story:
    """The run, with its times in us."""

    def __init__(self, path: Path) -> None:
        self.params: Any = load_params(path)
        emulated = application.rack_with_application(load(path))
        self.board = board = emulated.board
        self.emulated = emulated
        grid = emulated.rack.grid
        head = self.fresh_response().state[: K.HELD]
        self.tap = KernelTap(board, head, K.STATES)
        application.close(emulated, WALL_S)
        board.send(b"rearm\n")  # the recorder shall hold this run only
        assert board.run_until(lambda: b'{"re":"rearm","ok":true' in board.received, 500, WALL_S, 5)
        board.forget_received()
        keep_streaming(board)
        self.polling = Polling(emulated)
        self.closed_us = board.now_us
        board.run_for(QUIET_MS)
        edge_us = grid.next_edge_us(board.now_us)
        assert edge_us is not None
        self.step_us = edge_us + 7_000.0  # inside a period: the first whole one of the new frequency comes later
        grid.set(50.0 + STEP_mHz / 1000, self.step_us)
        grid.ramp(50.1, 4.0, self.step_us + 200_000.0)
        self.small_us = self.step_us + 420_000.0
        grid.set(49.95, self.small_us)
        board.run_until(lambda: board.now_us > self.small_us + 320_000, 1_500, WALL_S)
        board.console_listeners.clear()
        self.fall_silent()
        board.run_for(COLLECTED_MS)
        grid.lose(board.now_us)
        self.seen_lost_us = self.when_forgotten()
        self.last_edge_us = application.edges(board.events)[-1]  # an edge that was already scheduled still comes
        board.run_until(lambda: board.now_us > self.last_edge_us + LOST_MS * 1000, LOST_MS, WALL_S)
        self.end_us = board.now_us
        self.requests = [r for r in application.requests(board.events) if r.at_us > self.closed_us]
        self.taken = [t for t in self.tap.taken if t.at_us > self.closed_us]

    def fall_silent(self) -> None:
        """Let the last answers and their collection end before the hold, whose time is measured to a scan."""
        so_far = -1
        while so_far != len(self.board.received):
            so_far = len(self.board.received)
            self.board.run_for(SILENT_MS)

    def fresh_response(self) -> Response:
        return Response(self.params, array("i", [0] * I.COUNT))

    def when_forgotten(self) -> float:
        """Return the time in us at which the scan detects the loss of mains; it then clears the measurement."""
        board = self.board
        assert board.run_until(lambda: self.tap.state()[K.FILLED] == 0, 120, WALL_S, 0.25), "the loss is not seen"
        return board.now_us

    def between(self, start_us: float, end_us: float) -> list[application.Request]:
        return [r for r in self.requests if start_us < r.at_us < end_us]


def handled(taken: list[Taken]) -> list[Taken]:
    """Return the counts without those that the start discards: they do not change the kernel's state."""
    kept = [a for a, b in pairwise(taken) if any(a.state[i] != b.state[i] for i in (K.SEEN, K.REJECTED))]
    return [*kept, taken[-1]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    text = (BOARD_CONFIGS / "lfp_rack.toml").read_text(encoding="utf-8")
    for old, new in CHANGES:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path: Path = tmp_path_factory.mktemp("response") / "largest.toml"
    path.write_text(text, encoding="utf-8")
    return Story(path)


def replayed(story: Story, longer_ticks: int = 0, without: int | None = None) -> SimpleNamespace:
    """Give every period since power-on to the Response under CPython, with the scan's inputs of the kernel."""
    s = array("i", [0] * I.COUNT)
    response = Response(story.params, s)
    recorder = Recorder(story.params, response, s)
    if without is not None:
        response.state[without] = 0
    requests = []
    for taken in handled(story.tap.taken):
        for index in INPUTS:
            response.state[index] = taken.state[index]
        requests.append(response.on_period(taken.ticks + longer_ticks))
        recorder.on_period()
    recorder.freeze()
    return SimpleNamespace(requests=requests, recorder=recorder, state=response.state)


@pytest.fixture(scope="module")
def replay(story: Story) -> SimpleNamespace:
    return replayed(story)


def test_every_zero_crossing_has_its_request_in_time(story: Story) -> None:
    """Every zero crossing has its request: median within 100 us, maximum within 250 us."""
    seen = [e for e in story.board.events if story.closed_us < e.at_us < story.end_us]
    check_load(story.board, (story.last_edge_us - story.closed_us) / 1000)
    story.polling.check(story.closed_us, story.last_edge_us)
    found = application.edge_to_request_us(seen)
    assert len(found) == len(application.edges(seen)) >= 48
    assert median(found) <= 100
    assert max(found) <= 250


def test_a_step_changes_the_request_within_two_periods(story: Story) -> None:
    """A step of half a hertz changes the request within two periods."""
    quiet = {r.power_W for r in story.between(story.step_us - 200_000, story.step_us)}
    assert len(quiet) == 1
    changed_us = next(r.at_us for r in story.requests if r.at_us > story.step_us and r.power_W not in quiet)
    assert changed_us - story.step_us <= 2 * 1e9 / (50_000 + STEP_mHz)


def test_the_same_periods_give_the_same_requests_on_cpython(story: Story, replay: SimpleNamespace) -> None:
    """The same periods give the same requests under CPython."""
    expected = replay.requests[-len(story.taken) :]
    got = [story.between(t.at_us, t.at_us + FRAME_US) for t in story.taken]
    assert [len(frames) for frames in got] == [1] * len(story.taken)
    assert [frames[0].power_W for frames in got] == expected
    discharge_W = story.taken[-1].state[K.DISCHARGE_LIMIT]
    assert 0 < max(expected) <= discharge_W and min(expected) < 0 and len(set(expected)) > 12
    assert replayed(story, 10).requests[-len(story.taken) :] != expected  # a difference of 160 ns changes the requests
    assert replayed(story, without=K.INERTIA).requests[-len(story.taken) :] != expected  # RoCoF is part of it


def test_the_loss_of_mains_is_seen_within_three_periods(story: Story) -> None:
    """The scan detects the loss of mains within three periods."""
    assert 2 * PERIOD_US < story.seen_lost_us - story.last_edge_us <= 3 * PERIOD_US


def test_without_mains_the_request_holds_then_ramps_down(story: Story) -> None:
    """Without mains the request holds for its time, then goes to zero with its ramp."""
    p = story.params
    held_W = story.between(story.last_edge_us - PERIOD_US, story.last_edge_us + FRAME_US)[-1].power_W
    after = story.between(story.last_edge_us + FRAME_US, story.end_us)
    changed_us = next(r.at_us for r in after if r.power_W != held_W)
    assert held_W > 5_000
    assert abs(changed_us - story.seen_lost_us - p.response_hold_ms * 1000) <= 1.5 * SCAN_US
    falling = [r for r in after if r.at_us >= changed_us]
    most_W = p.rack_power_max_W * p.response_release_permille_ps // 1000 * 20 // 1000  # the ramp in two scans
    for before, now in pairwise([after[0], *falling]):
        assert 0 <= before.power_W - now.power_W <= most_W
    zero_us = next(r.at_us for r in falling if r.power_W == 0)
    ramp_us = 1e9 * held_W / p.rack_power_max_W / p.response_release_permille_ps
    assert abs(zero_us - changed_us - ramp_us) <= 2 * SCAN_US
    assert falling[-1].power_W == 0
    gaps = [b.at_us - a.at_us for a, b in pairwise(after)]
    assert max(gaps) <= 3 * SCAN_US  # the PCS always gets requests


def test_the_console_reports_the_recorded_periods(story: Story, replay: SimpleNamespace) -> None:
    """The console reports the recorded periods as the replay under CPython gives them."""
    board = story.board
    board.send(b"trace now\n")
    begin = b'{"re":"trace"'
    done = board.run_until(lambda: b"}\n" in board.received.replace(b"\r", b"").partition(begin)[2], 4_000, WALL_S, 10)
    assert done, board.received[-200:]
    answer = last_answer(board, "trace")
    assert (answer["frozen"], answer["cause"], answer["columns"]) == (True, "frequency", COLUMNS)
    rows = [[int(text) for text in row.split(",")] for row in answer["rows"]]
    expected = [[int(text) for text in line.split(",")] for line in replay.recorder.lines()][-len(rows) :]
    assert 0 <= len(rows) - len(story.taken) <= 2 < len(rows)  # from `rearm` on
    alarms = ask(board, "alarms")["alarms"]
    assert not [alarm for alarm in alarms if "task" in alarm["text"]]  # long answers do not overload the tasks
    pcs = COLUMNS.split(",").index("pcs_W")
    assert [row[:pcs] + row[pcs + 1 :] for row in rows] == [row[:pcs] + row[pcs + 1 :] for row in expected]
    asked = [row[COLUMNS.split(",").index("request_W")] for row in rows]
    assert max(row[pcs] for row in rows) > 0.8 * max(asked) and min(row[pcs] for row in rows) < 0


BROKEN_LINK = 11  # of 26 devices: eleven remain on one side, fifteen on the other
READ_ms = 145  # docs/wiring.md: maximum time between two readings of a cell
TEMPS_ms = 60  # after the cells
NEAR = 3  # mV or 0.1 degC: the chip's counts and the NTC's table
MENDED_ms = 2_000 + 100 + 100  # docs/wiring.md, the alarm's clear time, the period of its task


class Readings:
    """The readings in the board's RAM, read from outside.

    Every cell and sensor moves by 10 mV or 1 degC at each `move`, so that old readings differ from new ones.
    """

    def __init__(self, story: Story) -> None:
        self.board, self.rack = story.board, story.emulated.rack
        words = np.frombuffer(self.board.rp2040.sram, dtype="<i4")
        self._cells = self._found(words, self.cells())
        self._temps = self._found(words, self.temps())
        self._moves = 0

    def cells(self) -> Any:
        return 1000 * self.rack.measured_cells_V()

    def temps(self) -> Any:
        return 10 * self.rack.measured_temps_degC()

    @staticmethod
    def _found(words: Any, values: Any) -> list[Any]:
        """Return the places of RAM that hold these values: the driver's array and its copies."""
        starts = np.flatnonzero(np.abs(words[: -len(values)] - values[0]) <= NEAR)
        places = [words[at : at + len(values)] for at in starts]
        found = [place for place in places if np.abs(place - values).max() <= NEAR]
        assert found
        return found

    def move(self) -> None:
        self._moves += 1
        at_us = self.board.now_us
        for cell in range(self.rack.plant.series):
            self.rack.start_fault("cell_offset", cell, 0.010 * self._moves, at_us=at_us)
        for sensor in range(self.rack.plant.sensors):
            self.rack.start_fault("ntc_offset", sensor, 1.0 * self._moves, at_us=at_us)

    def cells_right(self) -> bool:
        return any(np.abs(place - self.cells()).max() <= NEAR for place in self._cells)

    def temps_right(self) -> bool:
        return any(np.abs(place - self.temps()).max() <= NEAR for place in self._temps)


def test_a_broken_afe_link_loses_no_reading(story: Story) -> None:
    """A broken AFE link loses no cell and no temperature, and is a warning until it is repaired."""
    board, stack = story.board, story.emulated.chips.afe
    story.emulated.rack.grid.restore(board.now_us)  # the fast path's interrupts lengthen the slices
    board.run_for(500)
    readings = Readings(story)
    assert len(readings.cells()) == 416 and len(readings.temps()) == 208
    ask(board, "tasks clear")
    board.events.clear()
    stack.broken_links = {BROKEN_LINK}
    for limit_ms in (READ_ms, READ_ms):  # at the break, and a while later
        readings.move()
        assert not readings.cells_right() and not readings.temps_right()
        assert board.run_until(readings.cells_right, limit_ms, WALL_S, 1)
        assert board.run_until(readings.temps_right, TEMPS_ms, WALL_S, 1)
    watch = ScanWatch(board, round(SCAN_US))  # the answer for an alarm far down the list also comes in short slices
    alarms = {alarm["text"]: alarm for alarm in ask(board, "alarms")["alarms"]}
    assert watch.longest_wait_us() <= BARS["scan_wait_us_max"].limit
    assert 0 < watch.longest_us(TASK_CONSOLE) <= BARS["answer_slice_us_max"].limit
    warning = alarms["AFE link broken, read from both ends"]
    assert warning["level"] == "warn" and not any(alarm["latched"] for alarm in alarms.values())
    stack.broken_links = set()
    board.run_for(MENDED_ms)
    assert "link" not in str(ask(board, "alarms")["alarms"])
    readings.move()
    assert board.run_until(readings.cells_right, READ_ms, WALL_S, 1)
    longest_us = next(task["worst"] for task in ask(board, "tasks")["tasks"] if task["name"] == "afe")
    print(f"longest slice of the AFEs: {longest_us} us")
    assert longest_us <= BARS["afe_longest_slice_us"].limit  # search, other end, check, whole chain again
    assert not [event for event in board.events if event.what in ("contact", "coil", "enable", "reset")]
