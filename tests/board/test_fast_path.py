"""Three zero crossings on the emulated board: one PIO program on three state machines, one fast path for all."""

from pathlib import Path

import pytest
from halite.build import make
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.emulator.rig import EmulatedRack, emulated_rack
from halite.image import image_path
from halite.paths import BOARD_CONFIGS
from rack.control import response_state as K

# The fast path without the application around it: the CAN driver is not set up, so requests stay unsent.
SETUP = """
from rack.config import load
p = load(open('config.bin', 'rb').read())
from rack.control.controller import Controller
c = Controller(p)
from rack.comms.pcs_link import PcsLink
from rack.control.recorder import Recorder
from rack.drivers.mcp2515 import Mcp2515
from rack.ports.rp2 import Port
port = Port(p)
link = PcsLink(Mcp2515(port.can_spi, 16, PcsLink.ACCEPT), c.s)
recorder = Recorder(p, c.response, c.s)
fast = port.fast_path(c.response, link, recorder)
fast.start()
"""
LOOK = "k = c.response.arrays[0]\nprint(k[{seen}], k[{real}], k[{deviation}], list(link.state))\n"
WATCHED_ms = 300


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> EmulatedRack:
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    text = text.replace('board = "pico_w"', 'board = "pico_w_three_phase"').replace("phases = 1", "phases = 3")
    path: Path = tmp_path_factory.mktemp("three") / "three.toml"
    path.write_text(text, encoding="utf-8")
    config = load(path)
    files = {name: data for name, data in make(config, short=False).files.items() if not name.startswith("main.")}
    emulated = emulated_rack(config, flash=with_files(EmulatedBoard(image_path()).flash_snapshot(), files))
    emulated.rack.grid.set(49.8, 0.0)
    emulated.board.run_for(1200)
    at_prompt(emulated.board)
    run_code(emulated.board, SETUP, 8000, 300)
    emulated.board.run_for(100)     # a state machine's first count has no beginning
    return emulated


def look(rack: EmulatedRack) -> list[int]:
    shown = run_code(rack.board, LOOK.format(seen=K.SEEN, real=K.REAL, deviation=K.DEVIATION))
    return [int(word) for word in shown.replace("[", "").replace("]", "").replace(",", "").split()]


def test_every_phase_gives_a_sample_of_the_same_frequency_each_period(rack: EmulatedRack) -> None:
    seen, *_ = look(rack)
    rack.board.events.clear()
    rack.board.run_for(WATCHED_ms)
    later, real, deviation, *_ = look(rack)
    edges = [event for event in rack.board.events if event.what == "mains"]
    assert {event.detail[1] for event in edges} == {0, 1, 2}
    assert abs(later - seen - len(edges)) <= 2 and len(edges) >= 3 * WATCHED_ms * 49.8 / 1000 - 3
    assert abs(real + 2_000) <= 2 and abs(deviation + 2_000) <= 2     # 0.1 mHz
