"""The fast response's rows of `halite bench`, on the emulated board with the largest rack and in the simulation."""

from collections.abc import Iterator
from statistics import median

from halite.config import load
from halite.emulator import response_times
from halite.errors import HaliteError
from halite.simulator import compliance, compliance_rules

LARGEST = "lfp_rack"  # 416 cells, 26 AFEs
_PERIODS = 500
_PIECE_MS = 500.0


def measure_edge_to_request(config: str = LARGEST, periods: int = _PERIODS) -> Iterator[tuple[str, float]]:
    """From zero crossing to the first SPI byte of its request: closed, AFEs polled, CAN status, console streaming."""
    rack = response_times.running_rack(load(config), wall_s=900)
    board = rack.board
    response_times.keep_streaming(board)
    board.run_for(100)
    board.events.clear()
    rack.rack.grid.sine(0.3, 0.25, board.now_us)  # the request moves all the time
    while sum(event.what == "mains" for event in board.events) <= periods:
        board.run_for(_PIECE_MS)
    edges = sum(event.what == "mains" for event in board.events)
    found = response_times.edge_to_request_us(board.events)
    if len(found) < edges - 1:
        raise HaliteError(f"{edges - len(found)} of {edges} zero crossings had no request")
    yield "edge_to_request_us_median", round(median(found), 1)
    yield "edge_to_request_us_p99", round(response_times.percentile(found, 0.99), 1)
    yield "edge_to_request_us_max", round(max(found), 1)


def measure_kernel() -> Iterator[tuple[str, float]]:
    """The kernel alone, interrupts off."""
    yield "response_kernel_us", round(response_times.kernel_us(load("sodium_rack")), 1)


def _to_90_percent_ms(service: str) -> float:
    """Time to 90 % of a 500 mHz step with a PCS lag of 10 ms."""
    judged = compliance.step_case(next(s for s in compliance.CATALOGUE if s.name == service), -1)
    return 1000 * compliance_rules.reach_s(judged.track, compliance.EVENT_S, 0.9)


def measure_racks() -> Iterator[tuple[str, float]]:
    """Sodium against LFP, each with its own service."""
    sodium, lithium = _to_90_percent_ms("sodium_fast"), _to_90_percent_ms("lithium_steady")
    yield "sodium_to_90_percent_ms", round(sodium)
    yield "sodium_over_lithium_speed", round(lithium / sodium, 1)
