"""`halite bench`: the project's measured figures as a table and as build/bench.json.

Emulated and simulated figures are exact; wall figures (unit s, or "x real time") are of this machine, in this run.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from halite.bench import cell_speed, deadman_rig, demo, speed
from halite.bench import response as bench_response
from halite.common.errors import HaliteError, MisuseError
from halite.common.paths import use_firmware
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.console_client import ask
from halite.emulator.scan_watch import ScanWatch
from halite.hosts.application import running_rack

use_firmware()

from rack.definitions.codes import TASK_CONSOLE  # noqa: E402 - only after use_firmware

OUTPUT = Path("build/bench.json")


@dataclass
class Figure:
    """One measured figure. bar: its limit, as text with the direction."""

    name: str
    value: float
    unit: str
    bar: str
    ok: bool


@dataclass(frozen=True)
class Bar:
    """The limit of a figure. is_max: the figure must not exceed it; otherwise it must not be lower."""

    unit: str
    limit: float
    is_max: bool = True

    def judge(self, name: str, value: float) -> Figure:
        """Return the figure, compared with this bar."""
        ok = value <= self.limit if self.is_max else value >= self.limit
        return Figure(name, value, self.unit, f"{'<=' if self.is_max else '>='} {self.limit:g}", ok)


BARS = {
    "demo_wall_s": Bar("s", 240),
    "flash_full_s": Bar("s", 120),
    "boot_to_standby_ms": Bar("ms", 2_000),
    "heap_free_bytes": Bar("bytes", 75_000, is_max=False),
    "heap_free_lowest_bytes": Bar("bytes", 70_000, is_max=False),
    "gc_collect_ms": Bar("ms", 20),
    "scan_10ms_us_max": Bar("us", 3_000),
    "plan_us_max": Bar("us", 2_000),
    "cell_evaluation_us_max": Bar("us", 15_000),
    "cpu_share_percent": Bar("%", 60),
    "afe_scan_ms": Bar("ms", 100),
    "afe_longest_slice_us": Bar("us", 2_000),
    "scan_wait_us_max": Bar("us", 3_000),
    "answer_slice_us_max": Bar("us", 3_000),
    "deadman_drop_ms": Bar("ms", 50),
    "interlock_drop_us": Bar("us", 100),
    "edge_to_request_us_median": Bar("us", 100),
    "edge_to_request_us_p99": Bar("us", 250),
    "edge_to_request_us_max": Bar("us", 250),
    "step_to_request_ms_max": Bar("ms", 40.4),  # two periods of 49.5 Hz
    "response_kernel_us": Bar("us", 60),
    "sodium_to_90_percent_ms": Bar("ms", 150),
    "sodium_over_lithium_speed": Bar("x", 6, is_max=False),
    "simulate_realtime_factor": Bar("x real time", 100, is_max=False),
    "plant_vs_pybamm_spm": Bar("x", 10, is_max=False),  # cell-seconds per CPU second, steps of 1 s
}

_WALL_S = 600.0
_LARGEST = "lfp_rack"  # 416 cells, 208 temperature sensors
_COLLECTED_MS = 600  # two collections are at least half a second apart
_WATCHED_MS = 2_500  # emulated time in which the tasks are measured
_LONG = ("trace now", "log 200", "x" * 119, '"' * 119)  # the scan is watched during these answers, too
_PLAIN = ("status", "why", "alarms", "cells", "temps", "links", "help")
_QUESTIONS = ("status", "why", "alarms", "cells", "log 8", "version", "setpoint 100", "help")  # heap read after each


def measure_demo() -> Iterator[tuple[str, float]]:
    """Measure the demonstration: the real application on the emulated board under its whole load."""
    result = demo.run("sodium_rack", "demo", lambda text: None)
    yield "demo_wall_s", round(result.wall_s, 1)
    yield "flash_full_s", round(result.flash_s, 1)
    yield "boot_to_standby_ms", round(result.boot_ms, 1)


def _free_after(board: EmulatedBoard, question: str) -> int:
    """Return the free heap in bytes right after an answer, while most of the answers' garbage is still there."""
    ask(board, question)
    return int(ask(board, "tasks")["heap_free"])


def _say(board: EmulatedBoard, line: str) -> None:
    """Send a line and wait for its answer, which may be long or a refusal."""
    before = len(board.received)
    board.send(line.encode() + b"\n")
    done = board.run_until(lambda: b"}\n" in board.received[before:].replace(b"\r", b""), 10_000, _WALL_S, 10)
    if not done:
        raise HaliteError(f"the emulated board does not answer {line[:16]!r}")


def measure_board() -> Iterator[tuple[str, float]]:
    """Measure memory and times of the real application on the emulated board with the largest rack, closed.

    scan_10ms_us_max holds the first half of the control core's scan with inputs and outputs, plan_us_max the second.
    """
    board = running_rack(load(_LARGEST)).board
    ask(board, "tasks clear")
    board.run_for(_WATCHED_MS)
    tasks = ask(board, "tasks")
    rows = {row["name"]: row for row in tasks["tasks"]}
    watch = ScanWatch(board, 10_000)
    lowest = min([_free_after(board, question) for question in _QUESTIONS])
    slices = ScanWatch(board, 10_000)  # without `tasks`: its count of the heap waits for a time of its own
    for question in (*_PLAIN, *_LONG):
        _say(board, question)
    answer_us = slices.longest_us(TASK_CONSOLE)
    board.run_for(_COLLECTED_MS)
    heap = ask(board, "tasks")
    yield "scan_10ms_us_max", rows["scan"]["worst"]
    yield "plan_us_max", rows["plan"]["worst"]
    yield "cell_evaluation_us_max", tasks["judge_us"]
    yield "cpu_share_percent", tasks["busy_permille"] / 10
    yield "afe_scan_ms", round(tasks["afe_scan_us"] / 1000, 1)
    yield "afe_longest_slice_us", rows["afe"]["worst"]
    yield "scan_wait_us_max", round(watch.longest_wait_us())
    yield "answer_slice_us_max", round(answer_us)
    yield "heap_free_bytes", heap["heap_free"]
    yield "heap_free_lowest_bytes", lowest
    yield "gc_collect_ms", round(heap["collect_us"] / 1000, 2)


def measure_simulation() -> Iterator[tuple[str, float]]:
    """Measure simulated over CPU time of the largest rack, closed, with a service; the best of three runs.

    Another load on the machine takes CPU time from a run, too, so the best run is the least disturbed one.
    """
    speed.compile_kernels()
    yield "simulate_realtime_factor", round(max(speed.realtime_factor() for _ in range(3)), 1)


Rows = Iterator[tuple[str, float]]
PARTS: dict[str, tuple[str, Callable[[], Rows]]] = {
    "simulation": ("the simulation", measure_simulation),
    "cells": ("the simulated cells against PyBaMM", cell_speed.measure),
    "board": ("the largest rack on the emulated board", measure_board),
    "deadman": ("dead-man and interlock", deadman_rig.measure),
    "racks": ("sodium against lithium", bench_response.measure_racks),
    "kernel": ("the response's kernel", bench_response.measure_kernel),
    "response": ("from zero crossing to request, the longest part", bench_response.measure_edge_to_request),
    "demo": ("the demonstration", measure_demo),
}


def measure(parts: Sequence[str] = tuple(PARTS)) -> Iterator[Figure]:
    """Measure the figures of the parts, in their order. Each part is announced on stderr: it takes minutes."""
    for part in parts:
        title, figures = PARTS[part]
        print(f"measuring {title}", file=sys.stderr)
        for name, value in figures():
            yield BARS[name].judge(name, value)


def table(figures: list[Figure]) -> Table:
    """Return the figures with their bars as a table for the terminal."""
    shown = Table("figure", "value", "unit", "bar", "")
    for figure in figures:
        shown.add_row(figure.name, f"{figure.value:g}", figure.unit, figure.bar, "ok" if figure.ok else "MISSED")
    return shown


def run(parts: Sequence[str], out: Path | None) -> int:
    """Measure the parts (all without names), print the table; 1 when a figure misses its bar.

    out: JSON file of the figures. MisuseError for an unknown part.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise MisuseError(f"bench: no part {', '.join(unknown)}", f"known: {', '.join(PARTS)}")
    figures = list(measure(parts or tuple(PARTS)))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n", encoding="utf-8")
    Console().print(table(figures))
    if out:
        print(f"figures: {out}")
    return 0 if all(figure.ok for figure in figures) else 1
