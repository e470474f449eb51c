"""The fast response's rows of `halite bench`, on the emulated board with the largest rack and in the simulation."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from halite.bench import response_times
from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.config import load
from halite.hosts.application import edge_to_request_us, edges, requests, running_rack
from halite.hosts.bus_load import Polling, check_load, keep_streaming
from halite.hosts.emulated import EmulatedRack
from halite.scenarios.compliance import cases as compliance
from halite.scenarios.compliance import rules as compliance_rules
from halite.scenarios.compliance.rig import EVENT_S
from halite.scenarios.compliance.services import BY_NAME

use_firmware()

from rack.definitions.pcs_codes import FLAG_PERMIT  # noqa: E402 - only after use_firmware

LARGEST = "lfp_rack"  # 416 cells, 26 AFEs
_PERIODS = 500
_BAUD = 115_200  # the highest rate of answers
_PIECE_MS = 200.0
_WALL_S = 1_800.0
_STEP_HZ = 0.5
_SWING_US = 12e6  # whole turns, longer than the periods take
_PHASES_MS = (0.5, 2.5, 13.0)  # time of the step within a period; the second is the worst under CPython
_REST_MS = 500  # until the request of the largest rack's service is back at zero


def loaded_rack(config: str = LARGEST) -> tuple[EmulatedRack, Polling]:
    """Return a closed rack under full load.

    The AFEs are polled, the PCS sends its status, the console streams, and an EMS polls over RS-485 at 115 200 baud
    without a pause.
    """
    loaded = load(config)
    loaded = replace(loaded, values={**loaded.values, "modbus_baud": _BAUD})
    rack = running_rack(loaded, wall_s=900)
    keep_streaming(rack.board)
    return rack, Polling(rack)


def edge_times_us(rack: EmulatedRack, polling: Polling, periods: int = _PERIODS) -> list[float]:
    """Return the time in us from each zero crossing to the first SPI byte of its request, on a loaded rack.

    The grid is 100 mHz low, so that the edges drift through the whole schedule of the tasks in 500 periods. It swings,
    so that the request moves. HaliteError when a crossing has no request, or without the load or the movement.
    """
    board = rack.board
    rack.rack.grid.set(49.9, board.now_us + 1_000)
    rack.rack.grid.sine(0.2, 0.25, board.now_us + 1_000, board.now_us + 1_000 + _SWING_US)
    board.run_for(100)
    begin_us = board.now_us
    board.events.clear()
    board.forget_received()
    limit_ms = 25.0 * periods
    if not board.run_until(lambda: len(edges(board.events)) > periods, limit_ms, _WALL_S, step_ms=_PIECE_MS):
        raise HaliteError(f"fewer than {periods} zero crossings in {limit_ms:g} ms, or in {_WALL_S:g} s of wall time")
    board.run_for(2)  # the newest edge's request
    check_load(board, 20.0 * periods)
    polling.check(begin_us, board.now_us)
    number, found = len(edges(board.events)), edge_to_request_us(board.events)
    if len(found) != number:
        raise HaliteError(f"{number - len(found)} of {number} zero crossings had no request")
    asked = requests(board.events)
    if not all(request.flags & FLAG_PERMIT for request in asked):
        raise HaliteError("the rack did not stay closed")
    if len({request.power_W for request in asked}) < periods // 2:
        raise HaliteError("the request did not change")
    return found


def step_times_ms(rack: EmulatedRack) -> Iterator[float]:
    """Yield the time in ms from a step of half a hertz to the first changed request on the bus, under the same load.

    The steps are at different times within a period.
    """
    board, grid = rack.board, rack.rack.grid
    board.run_for(_SWING_US / 1000 - 20.0 * _PERIODS)  # the swing of edge_times_us is over then
    for phase_ms in _PHASES_MS:
        grid.set(50.0, board.now_us + 1_000)
        board.run_for(_REST_MS)
        edge_us = grid.next_edge_us(board.now_us)
        if edge_us is None or requests(board.events)[-1].power_W:
            raise HaliteError("the grid does not rest before the step")
        step_us = edge_us + 1_000.0 * phase_ms
        grid.set(50.0 - _STEP_HZ, step_us)
        board.run_for(100)
        moved = [r.at_us for r in requests(board.events) if r.at_us > step_us and r.power_W]
        yield (min(moved, default=float("inf")) - step_us) / 1000


def measure_edge_to_request(config: str = LARGEST, periods: int = _PERIODS) -> Iterator[tuple[str, float]]:
    """Measure the whole application under load, see `edge_times_us` and `step_times_ms`."""
    rack, polling = loaded_rack(config)
    found = edge_times_us(rack, polling, periods)
    yield "edge_to_request_us_median", round(median(found), 1)
    yield "edge_to_request_us_p99", round(response_times.percentile(found, 0.99), 1)
    yield "edge_to_request_us_max", round(max(found), 1)
    yield "step_to_request_ms_max", round(max(step_times_ms(rack)), 1)


def measure_kernel() -> Iterator[tuple[str, float]]:
    """Measure the kernel alone, interrupts off."""
    yield "response_kernel_us", round(response_times.kernel_us(load("sodium_rack")), 1)


def _to_90_percent_ms(service: str) -> float:
    """Return the time to 90 % of a 500 mHz step with a PCS lag of 10 ms."""
    judged = compliance.step_case(BY_NAME[service], -1)
    return 1000 * compliance_rules.reach_s(judged.track, EVENT_S, 1.0, 0.9)


def measure_racks() -> Iterator[tuple[str, float]]:
    """Measure the sodium and the LFP rack, each with its own service."""
    sodium, lithium = _to_90_percent_ms("sodium_fast"), _to_90_percent_ms("lithium_steady")
    yield "sodium_to_90_percent_ms", round(sodium)
    yield "sodium_over_lithium_speed", round(lithium / sodium, 1)
