"""The application on its drivers and the values face decide the same story at the same times, within an AFE period."""

import pytest
from halite.config import load, load_params
from halite.paths import BOARD_CONFIGS
from halite.simulator.rack import Rack
from halite.simulator.values import ValuesFace
from halite.unix_board import UnixBoard

BENCH = BOARD_CONFIGS / "bench_rack.toml"
CLOSED = 5  # COIL_NEG | COIL_POS
CLOSE_ms, FAULT_ms, END_ms = 1_500, 3_003, 3_700
AFE_PERIOD_ms = 100
# fault, place, value, bound of its row in docs/reaction_times.md
FAULTS = (("cell_offset", 3, 0.5, 150), ("afe_lost", 0, 1, 300), ("current_lost", 0, 1, 100), ("pcs_silent", 0, 1, 300))


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
    with UnixBoard(BENCH) as board:
        board.run_to(1000.0 * CLOSE_ms)
        board.send("close\n")
        while board.now_us < 1000.0 * END_ms:
            board.run_for(0.5)
            seen.look(board.now_us / 1000, board.coils)
            if board.now_us >= 1000.0 * FAULT_ms and name not in board.rack.faults:
                board.rack.start_fault(name, at, value, at_us=board.now_us)
    return seen


def on_values(name: str, at: int, value: float) -> Seen:
    from rack import ids as I
    from rack.control import bits
    from rack.control.controller import Controller

    params = load_params(load(BENCH).path)
    face = ValuesFace(Rack.from_params(params, seed=1), Controller(params))
    seen = Seen()
    face.on_scan = lambda us: seen.look(us / 1000, face.controller.s[I.COILS])
    face.run_to(1000.0 * CLOSE_ms)
    assert face.controller.command(bits.CMD_CLOSE) == 0
    face.run_to(1000.0 * FAULT_ms)
    face.rack.start_fault(name, at, value, at_us=1000.0 * FAULT_ms)
    face.run_to(1000.0 * END_ms)
    return seen


@pytest.mark.parametrize(("name", "at", "value", "bound_ms"), FAULTS)
def test_both_faces_close_and_open_within_one_afe_period_of_each_other(
    name: str, at: int, value: float, bound_ms: int
) -> None:
    wires, values = on_the_application(name, at, value), on_values(name, at, value)
    assert FAULT_ms > wires.closed_ms > CLOSE_ms and FAULT_ms > values.closed_ms > CLOSE_ms
    assert wires.closed_ms == pytest.approx(values.closed_ms, abs=AFE_PERIOD_ms)
    assert wires.opened_ms == pytest.approx(values.opened_ms, abs=AFE_PERIOD_ms)
    assert 0 < wires.opened_ms - FAULT_ms <= bound_ms and 0 < values.opened_ms - FAULT_ms <= bound_ms
