"""Generate docs/plant_faults.md: the faults and lies that a scenario can start, from halite.plant.faults."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from halite.common.paths import ROOT
from halite.plant.faults import FAULTS, LIES, FaultSpec

FILE = ROOT / "docs" / "plant_faults.md"

_PAGE = """# Faults of the simulated rack

`make generate` writes this page from `host_tools/halite/plant/faults.py`. [plant_heat.md](plant_heat.md) describes the
physics of a failing cell. A scenario starts a fault with `do = "fault"`, ends it with `do = "clear"` or `for_ms`.
*At* is the place that `at` counts; an empty cell is the whole rack. Several faults can be active at once.
"""
_HEAD = ("| name | at | value | default | effect |", "|---|---|---|---|---|")


def _row(name: str, spec: FaultSpec) -> str:
    value = f"{spec.min_value:g} to {spec.max_value:g} {spec.unit}".rstrip() if spec.unit else ""
    default = f"{spec.default:g}" if spec.unit else ""
    return f"| `{name}` | {spec.where} | {value} | {default} | {spec.text} |"


def _table(title: str, names: Iterable[str]) -> Iterator[str]:
    yield from (f"\n## {title}\n", *_HEAD)
    yield from (_row(name, FAULTS[name]) for name in names)


def outputs() -> dict[Path, str]:
    """Return path and text of the page."""
    lines = [_PAGE.rstrip()]
    lines += _table("The rack and its messages", (name for name in FAULTS if name not in LIES))
    lines += _table("Readings that lie", LIES)
    return {FILE: "\n".join(lines) + "\n"}
