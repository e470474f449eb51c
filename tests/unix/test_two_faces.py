"""The application on its drivers and the host without wires decide the same, within an AFE period.

Also the properties of the unix port: the whole application, in simulated time, faster than real time.
"""

import json
import time

import pytest
from halite.common.paths import BOARD_CONFIGS
from halite.config import load, load_params
from halite.generate.reaction_times import bars_ms
from halite.hosts.cpython import CpythonHost
from halite.hosts.unix_port import UnixPort
from halite.plant.rack import Rack
from rack.definitions.codes import COIL_NEG, COIL_POS

BENCH = BOARD_CONFIGS / "bench_rack.toml"
CLOSED = COIL_NEG | COIL_POS
CLOSE_ms, FAULT_ms, END_ms = 1_500, 3_003, 3_700
AFE_PERIOD_ms = 100


BARS_ms = bars_ms()
# fault, place, value, bound
FAULTS = (
    ("cell_offset", 3, 0.5, BARS_ms["cell_high_trip"]),
    ("afe_lost", 0, 1, BARS_ms["cells_lost"]),
    ("current_lost", 0, 1, BARS_ms["current_lost"]),
    ("pcs_silent", 0, 1, BARS_ms["pcs_lost"]),
)


class Seen:
    """When the main contactors were commanded closed and open."""

    def __init__(self) -> None:
        self.closed_ms = self.opened_ms = -1.0

    def look(self, now_ms: float, coils: int) -> None:
        if coils == CLOSED and self.closed_ms < 0:
            self.closed_ms = now_ms
        elif coils != CLOSED and self.closed_ms > 0 and self.opened_ms < 0:
            self.opened_ms = now_ms


def on_the_application(name: str, at: int, value: float) -> Seen:
    seen = Seen()
    with UnixPort(BENCH) as board:
        board.run_to(1000.0 * CLOSE_ms)
        board.send("close\n")
        while board.now_us < 1000.0 * END_ms:
            board.run_for(0.5)
            seen.look(board.now_us / 1000, board.coils)
            if board.now_us >= 1000.0 * FAULT_ms and name not in board.rack.faults:
                board.rack.start_fault(name, at, value, at_us=board.now_us)
    return seen


def on_values(name: str, at: int, value: float) -> Seen:
    from rack.control.controller import Controller
    from rack.definitions import codes
    from rack.generated import ids as I

    params = load_params(load(BENCH).path)
    face = CpythonHost(Rack.from_params(params, seed=1), Controller(params))
    seen = Seen()
    face.on_scan = lambda us: seen.look(us / 1000, face.controller.s[I.COILS])
    face.run_to(1000.0 * CLOSE_ms)
    assert face.controller.command(codes.CMD_CLOSE) == 0
    face.run_to(1000.0 * FAULT_ms)
    face.rack.start_fault(name, at, value, at_us=1000.0 * FAULT_ms)
    face.run_to(1000.0 * END_ms)
    return seen


@pytest.mark.parametrize(("name", "at", "value", "bound_ms"), FAULTS)
def test_both_hosts_act_within_one_afe_period(
    name: str, at: int, value: float, bound_ms: int
) -> None:
    """CPython and the unix port close and open at the same time, within one AFE period and the bar."""
    wires, values = on_the_application(name, at, value), on_values(name, at, value)
    assert FAULT_ms > wires.closed_ms > CLOSE_ms and FAULT_ms > values.closed_ms > CLOSE_ms
    assert wires.closed_ms == pytest.approx(values.closed_ms, abs=AFE_PERIOD_ms)
    assert wires.opened_ms == pytest.approx(values.opened_ms, abs=AFE_PERIOD_ms)
    assert 0 < wires.opened_ms - FAULT_ms <= bound_ms and 0 < values.opened_ms - FAULT_ms <= bound_ms


def told(stall_s: float) -> tuple[Seen, bytes]:
    """Times of a closing and an opening, and the console's output, with the host delayed now and then by stall_s."""
    seen = Seen()
    with UnixPort(BENCH) as board:
        serve_one, served = board._serve_one, 0

        def serve_late() -> None:
            nonlocal served
            served += 1
            if stall_s and served % 997 == 0:
                time.sleep(stall_s)
            serve_one()

        board._serve_one = serve_late  # type: ignore[method-assign]
        board.run_to(1000.0 * CLOSE_ms)
        board.send("close\n")
        while board.now_us < 1000.0 * END_ms:
            board.run_for(0.5)
            seen.look(board.now_us / 1000, board.coils)
            if board.now_us >= 1000.0 * FAULT_ms and "hvil_open" not in board.rack.faults:
                board.rack.start_fault("hvil_open", at_us=board.now_us)
        board.send("status\n")
        board.run_for(300)
        return seen, board.console


def test_the_unix_port_ignores_the_load() -> None:
    """Delays of the host change neither the times of the coils nor the answers."""
    (quick, said), (slow, said_slowly) = told(0.0), told(0.02)
    assert quick.closed_ms > CLOSE_ms and quick.opened_ms - FAULT_ms < 20
    assert (quick.closed_ms, quick.opened_ms) == (slow.closed_ms, slow.opened_ms)
    assert b"healthy" in said and b'"state"' in said and said == said_slowly


def test_every_task_keeps_its_period() -> None:
    """On the unix port no task is late or overruns, and it runs faster than real time."""
    with UnixPort(BENCH) as board:
        requests = []
        board.chips.can_bus.listeners.append(lambda frame, at_us: requests.append(at_us) if frame.id == 0x181 else None)
        board.run_to(1000.0 * CLOSE_ms)
        board.send("close\n")
        board.run_for(1_500)
        assert board.coils == CLOSED
        requests.clear()
        board.send("tasks clear\n")
        board.run_for(200)
        took_s = []
        for _ in range(4):
            began = time.perf_counter()
            board.run_for(500)
            took_s.append(time.perf_counter() - began)
        board.console = b""
        board.send("tasks\n")
        board.run_for(500)
        rows = json.loads(next(line for line in board.console.splitlines() if line.startswith(b"{")))["tasks"]
    assert min(took_s) < 0.5
    assert len(requests) == pytest.approx(50 * 2.7, abs=2)  # one a mains period
    periodic = [row for row in rows if row["period"] < 1_000_000]
    assert len(periodic) == len(rows) - 1
    afe = next(row for row in periodic if row["name"] == "afe")  # polled when there will be something to do
    periodic.remove(afe)
    assert 2_200_000 / 100_000 * 5 < afe["runs"] < 2_200_000 / 1_200
    for row in periodic:
        assert row["runs"] == pytest.approx(2_200_000 / row["period"], rel=0.1), row
        assert row["late"] == row["overrun"] == 0, row
