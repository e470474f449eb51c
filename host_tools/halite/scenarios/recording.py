"""A recorded run: time, named columns, events. The same for the values face and for the emulated board."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TraceEvent:
    """Something that happened at time_ms; kind: "cause" (scenario), "rack" (plant) or "control" (decision)."""

    time_ms: float
    kind: str
    text: str


@dataclass
class Trace:
    """time_ms and columns have one entry per scan; column names carry their unit as signals do.

    meta: scenario, config, seed and figures measured while running.
    """

    time_ms: npt.NDArray[np.float64]
    columns: dict[str, npt.NDArray[Any]]
    events: list[TraceEvent]
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def first(self, text: str, after_ms: float = 0.0) -> float | None:
        """Time of the first event whose text contains `text`, or None."""
        return next((e.time_ms for e in self.events if text in e.text and e.time_ms >= after_ms), None)

    def write_json(self, path: Path) -> None:
        """Everything, columns as lists."""
        columns = {name: np.asarray(values).tolist() for name, values in self.columns.items()}
        document = {
            "meta": self.meta,
            "time_ms": self.time_ms.tolist(),
            "columns": columns,
            "events": [vars(event) for event in self.events],
        }
        path.write_text(json.dumps(document))

    def write_csv(self, path: Path) -> None:
        """One row per scan."""
        names = list(self.columns)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time_ms", *names])
            writer.writerows(zip(self.time_ms.tolist(), *(self.columns[n].tolist() for n in names), strict=True))


def read_json(path: Path) -> Trace:
    """Read what `write_json` wrote."""
    document = json.loads(path.read_text())
    return Trace(
        np.array(document["time_ms"]),
        {n: np.array(v) for n, v in document["columns"].items()},
        [TraceEvent(**event) for event in document["events"]],
        document["meta"],
    )
