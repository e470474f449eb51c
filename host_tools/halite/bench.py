"""`halite bench`: the project's measured figures as a table and as build/bench.json.

Emulated and simulated figures are exact; wall figures (unit s, or "x real time") are of this machine, in this run.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from halite import demo
from halite.config import load
from halite.simulator import scenario, values

OUTPUT = Path("build/bench.json")


@dataclass
class Figure:
    """One measured figure. bar: what it must keep, as text with its direction."""

    name: str
    value: float
    unit: str
    bar: str
    ok: bool


@dataclass(frozen=True)
class Bar:
    """unit, limit, and whether the figure must stay below (most) or above it."""

    unit: str
    limit: float
    most: bool = True

    def judge(self, name: str, value: float) -> Figure:
        ok = value <= self.limit if self.most else value >= self.limit
        return Figure(name, value, self.unit, f"{'<=' if self.most else '>='} {self.limit:g}", ok)


BARS = {
    "demo_wall_s": Bar("s", 240),
    "flash_full_s": Bar("s", 120),
    "boot_to_standby_ms": Bar("ms", 2_000),
    "heap_free_bytes": Bar("bytes", 80_000, most=False),
    "gc_collect_ms": Bar("ms", 30),
    "simulate_realtime_factor": Bar("x real time", 5, most=False),
}


def measure_demo() -> Iterator[tuple[str, float]]:
    """Figures of the demonstration: the real application on the emulated board under its whole load."""
    result = demo.run("sodium_rack", "demo", lambda text: None)
    yield "demo_wall_s", round(result.wall_s, 1)
    yield "flash_full_s", round(result.flash_s, 1)
    yield "boot_to_standby_ms", round(result.boot_ms, 1)
    yield "heap_free_bytes", result.tasks["heap_free"]
    yield "gc_collect_ms", round(result.tasks["collect_us"] / 1000, 2)


def measure_simulation() -> Iterator[tuple[str, float]]:
    """Simulated over elapsed time of the demonstration's scenario on the control logic, median of three."""
    config = load("sodium_rack").path
    factors = sorted(values.run(scenario.load("demo"), config).meta["simulate_realtime_factor"] for _ in range(3))
    yield "simulate_realtime_factor", factors[1]


PARTS: tuple[Callable[[], Iterator[tuple[str, float]]], ...] = (measure_simulation, measure_demo)


def table(figures: list[Figure]) -> Table:
    shown = Table("figure", "value", "unit", "bar", "")
    for figure in figures:
        shown.add_row(figure.name, f"{figure.value:g}", figure.unit, figure.bar, "ok" if figure.ok else "MISSED")
    return shown


def main(arguments: list[str] | None = None) -> int:
    """The verb; 1 when a figure misses its bar."""
    parser = argparse.ArgumentParser(
        prog="halite bench", description="Measure the project's figures.", epilog="Example: halite bench"
    )
    parser.add_argument("--out", type=Path, default=OUTPUT, help="where the figures go as JSON")
    options = parser.parse_args(arguments or [])
    figures = [BARS[name].judge(name, value) for part in PARTS for name, value in part()]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n", encoding="utf-8")
    Console().print(table(figures))
    print(f"figures: {options.out}")
    return 0 if all(figure.ok for figure in figures) else 1
