"""The fast path on the emulated board without the application: three phases on one PIO program, and edges that come
during a request of the main loop.
"""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from halite.build.firmware import make
from halite.common.image import image_path
from halite.common.paths import BOARD_CONFIGS
from halite.config import load, load_params
from halite.config.rows import levels_at
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.hosts.emulated import EmulatedRack, emulated_rack
from rack.definitions.alarms import code_of
from rack.generated import alarm_levels
from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.generated import response_state as K
from rp2040py.gpio_pin import GPIOPinState

SETUP = """
import time
from rack.config import load
p = load(open('config.bin', 'rb').read())
from rack.control.controller import Controller
from rack.control.response.recorder import Recorder
import gc
from rack.hal.rp2_run_from_flash import move
move()      # as rack.start: with all code in the heap there is no room for the arrays
gc.collect()
c = Controller(p)
recorder = Recorder(p, c.response, c.s)
from rack.comms.pcs_link import PcsLink
from rack.drivers.mcp2515 import Mcp2515
from rack.hal.rp2_board import Rp2Board
gc.collect()
port = Rp2Board(p)
can = Mcp2515(port.can_spi, p.sensor_can_crystal_MHz, PcsLink.ACCEPT)
while not can.running:
    can.poll(time.ticks_us())
link = PcsLink(can, c.s)
fast = port.fast_path(c.response, link, recorder)
fast.start()
k, rings, _ = c.response.arrays
"""
LOOK = "print(k[{seen}], k[{real}], k[{deviation}], min(rings[1:31]), max(rings[1:31]))\n"
WATCHED_ms = 300
MEET = """
before = list(link.state)
for _ in range({times}):
    time.sleep_ms(30)
    port._heater(1)
    fast.send()
    port._heater(0)
time.sleep_ms(2)
print([b - a for a, b in zip(before, link.state)])
"""
# Scans every 10 ms. Returns the times (ms) at which PHASES_LOST was `bits` and the alarm came, then RoCoF and counters
LOSE = """
import machine
def scans(times, alarm, bits):
    told = came = -1
    start = time.ticks_ms()
    for n in range(times):
        while time.ticks_diff(time.ticks_ms(), start) < 10 * n:
            machine.idle()
        c.scan(time.ticks_ms())
        now = time.ticks_diff(time.ticks_ms(), start)
        if told < 0 and c.s[{lost}] == bits:
            told = now
        if came < 0 and c.alarms.active[alarm]:
            came = now
    return told, came, c.s[{rocof}], link.state[{faults}], c.s[{age}]
"""
# CRC of the kernel's state of a new response after `number` counts of phases that come and go
REPLAY = """
import binascii
from array import array
from rack.control.response.response import Response
r = Response(p, array("i", [0] * len(c.s)))
r.set_limits(10_000, 10_000, 1)
for i in range({number}):
    count, phase = 1_250_000 + 7 * i % 9_000, i % 3
    if i // 60 % 3 != 2 - phase:
        r.on_period(count if i % 23 else 3 * count, phase)
    if i % 2:
        r.scan(10 * i)
print(binascii.crc32(r.state), r.request_W)
"""
MAX_us = 250.0  # from an edge to its request
AFTER_us = tuple(range(0, 132, 6))  # after the main loop's mark, which comes before it disables interrupts


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> EmulatedRack:
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    text = text.replace('board = "pico_w"', 'board = "pico_w_three_phase"').replace("phases = 1", "phases = 3")
    text = text.replace("enabled = true\nunit", "enabled = false\nunit")  # its pins are the other phases'
    path: Path = tmp_path_factory.mktemp("three") / "three.toml"
    path.write_text(text, encoding="utf-8")
    config = load(path)
    files = {name: data for name, data in make(config, short=False).files.items() if not name.startswith("main.")}
    emulated = emulated_rack(config, flash=with_files(EmulatedBoard(image_path()).flash_snapshot(), files))
    emulated.rack.grid.set(49.8, 0.0)
    emulated.board.run_for(1200)
    at_prompt(emulated.board)
    run_code(emulated.board, SETUP, 8000, 300)
    emulated.board.run_for(250)
    return emulated


def look(rack: EmulatedRack) -> list[int]:
    shown = run_code(rack.board, LOOK.format(seen=K.SEEN, real=K.REAL_DEVIATION, deviation=K.DEVIATION))
    return [int(word) for word in shown.split()]


def test_every_phase_gives_a_sample_each_period(rack: EmulatedRack) -> None:
    """From the first period on, every phase gives a sample of the same frequency each period."""
    seen, _, _, least, most = look(rack)
    assert seen > 30 and abs(least + 2_000) <= 2 and abs(most + 2_000) <= 2     # 0.1 mHz
    rack.board.events.clear()
    rack.board.run_for(WATCHED_ms)
    later, real, deviation, *_ = look(rack)
    edges = [event for event in rack.board.events if event.what == "mains"]
    assert {event.detail[1] for event in edges} == {0, 1, 2}
    assert abs(later - seen - len(edges)) <= 2 and len(edges) >= 3 * WATCHED_ms * 49.8 / 1000 - 3
    assert abs(real + 2_000) <= 2 and abs(deviation + 2_000) <= 2


def test_a_lost_phase_is_alarmed_and_rocof_stays_right(rack: EmulatedRack) -> None:
    """A lost phase is signalled and alarmed in its time, and RoCoF stays right."""
    board, alarm = rack.board, code_of("phase_lost") - 1
    set_ms = rack.config.tables["alarms_levels"][levels_at("phase_lost") + alarm_levels.SET_ms]
    run_code(board, LOSE.format(lost=I.PHASES_LOST, rocof=I.ROCOF_mHzps, faults=L.FAULTS, age=I.GRID_AGE_ms))
    rack.rack.grid.ramp(47.0, 0.5, board.now_us)
    run_code(board, f"_ = scans(60, {alarm}, 0)", 1_000, 300)  # a whole window of the ramp
    rack.rack.start_fault("phase_lost", 2, at_us=board.now_us)
    told_ms, came_ms, rocof, faults, _ = tuple_of(run_code(board, f"print(scans(35, {alarm}, 4))", 1_000, 300))
    assert 0 < told_ms <= 60 + 10 and told_ms + set_ms <= came_ms <= told_ms + set_ms + 20
    assert rocof == pytest.approx(-500, rel=0.03) and faults == 0
    rack.rack.stop_fault("phase_lost", 2, at_us=board.now_us)
    back_ms, _, rocof, faults, age_ms = tuple_of(run_code(board, f"print(scans(10, {alarm}, 0))", 1_000, 300))
    assert 20 <= back_ms <= 60 and rocof == pytest.approx(-500, rel=0.03)
    assert faults == 0 and age_ms <= 10


def tuple_of(shown: str) -> tuple[int, ...]:
    return tuple(int(word) for word in shown.strip("()\r\n ").split(","))


def test_viper_and_cpython_agree_on_lost_phases(rack: EmulatedRack) -> None:
    """Viper and CPython reach the same state with phases that come and go."""
    number = 400
    scope: dict[str, object] = {"p": load_params(rack.config.path), "c": SimpleNamespace(s=[0] * I.COUNT)}
    shown: list[object] = []
    scope["print"] = lambda *words: shown.extend(words)
    exec(REPLAY.format(number=number), scope)
    assert shown[1]
    assert run_code(rack.board, REPLAY.format(number=number), 8_000, 300).split() == [str(word) for word in shown]


def noted(board: EmulatedBoard, machine: int) -> list[float]:
    """Return a list that grows by the time in us at which the interrupt takes a count of this state machine."""
    found: list[float] = []
    fifo = board.rp2040.pio[1].machines[machine].rx_fifo
    pull = fifo.pull

    def pulled() -> int:
        found.append(board.now_us)
        value: int = pull()
        return value

    setattr(fifo, "pull", pulled)  # noqa: B010 - a method, replaced on purpose
    return found


def edges_after(rack: EmulatedRack, delays_us: tuple[int, ...]) -> list[float]:
    """Make an edge of phase A at a delay after each mark of the main loop; return a list that grows by their times."""
    board, waiting, found = rack.board, list(delays_us), []
    pins = rack.config.values
    crossing = board.rp2040.gpio[pins["pins_zero_crossing_a"]]

    def rise() -> None:
        found.append(board.now_us)
        crossing.set_input_value(True)
        board.after(5.0, lambda: crossing.set_input_value(False))

    def marked(new: GPIOPinState, old: GPIOPinState) -> None:
        if new == GPIOPinState.HIGH and waiting:
            board.after(waiting.pop(0) / 1000, rise)

    crossing.set_input_value(False)
    board.rp2040.gpio[pins["pins_heater"]].add_listener(marked)
    return found


@pytest.fixture(scope="module")
def meetings(rack: EmulatedRack) -> SimpleNamespace:
    """Edges at times in and around the interval in which the main loop sends its own request."""
    board = rack.board
    rack.rack.grid.lose(board.now_us)
    board.run_for(50)
    board.events.clear()
    taken_us, edges_us = noted(board, 0), edges_after(rack, AFTER_us)
    counted = run_code(board, MEET.format(times=len(AFTER_us)), 40.0 * len(AFTER_us), 300)
    words = [int(word) for word in counted.strip("[]\r\n ").split(",")]
    sent, unsent, faults, asked = (words[at] for at in (L.SENT, L.UNSENT, L.FAULTS, L.ASKED))
    assert len(taken_us) == len(edges_us) == len(AFTER_us) and (faults, asked) == (0, 0)
    loads_us = [e.at_us for e in board.events if e.what == "can_spi" and e.detail[0] == 0x40]
    frames = [e.detail[1] for e in board.events if e.what == "can" and e.detail[0] == 0x181]
    return SimpleNamespace(
        edges_us=edges_us, taken_us=taken_us, loads_us=loads_us, frames=frames, sent=sent, unsent=unsent
    )


def test_an_edge_during_the_main_loops_request_is_in_time(meetings: SimpleNamespace) -> None:
    """An edge during the main loop's own request gets its request within 250 us."""
    m = meetings
    waited_us = [taken - edge for edge, taken in zip(m.edges_us, m.taken_us, strict=True)]
    assert max(waited_us) > min(waited_us) + 40, "no edge has met a request of the main loop"
    answers_us = []
    for edge, taken, next_edge in zip(m.edges_us, m.taken_us, [*m.edges_us[1:], float("inf")], strict=True):
        own = [at_us - edge for at_us in m.loads_us if taken < at_us < next_edge - 5_000]
        answers_us.append(own[0] if own else None)
    print("edge to count:", [round(us, 1) for us in waited_us])
    print("edge to first byte:", [us and round(us, 1) for us in answers_us])
    assert max(waited_us) <= MAX_us - 100
    assert any(us is None for us in answers_us), "no edge has found the buffer taken"
    assert max(us for us in answers_us if us is not None) <= MAX_us


def test_a_request_without_a_free_buffer_is_counted(meetings: SimpleNamespace) -> None:
    """A request that finds the transmit buffer in use is counted, and the next frame follows in sequence."""
    m = meetings
    assert len(m.loads_us) == len(m.frames) == m.sent
    taken_along = 2 * len(AFTER_us) - m.sent - m.unsent  # counts that the main loop's own request has found
    assert m.sent >= len(AFTER_us) and m.unsent > 0 and 0 < taken_along < 6
    sequence = [frame[6] & 15 for frame in m.frames]
    assert all((b - a) & 15 == 1 for a, b in pairwise(sequence))
