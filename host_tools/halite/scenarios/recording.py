"""The recording of a run: times, named columns, observations; from the CPython host or from an emulated board."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from halite.scenarios.observations import Observation


@dataclass
class Recording:
    """One run of a scenario. time_ms and each column have one entry per scan or sample.

    columns: by name, which ends with the unit as the names of signals do. observations: in order of time.
    meta: scenario, config, seed, host and figures that were measured during the run.
    """

    time_ms: npt.NDArray[np.float64]
    columns: dict[str, npt.NDArray[Any]]
    observations: list[Observation]
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def first(self, text: str, after_ms: float = 0.0) -> float | None:
        """Time in ms of the first observation from after_ms on whose text contains `text`, or None."""
        found = (seen.time_ms for seen in self.observations if text in seen.text and seen.time_ms >= after_ms)
        return next(found, None)

    def write_json(self, path: Path) -> None:
        """Write the whole recording; each column becomes a list."""
        columns = {name: np.asarray(values).tolist() for name, values in self.columns.items()}
        document = {
            "meta": self.meta,
            "time_ms": self.time_ms.tolist(),
            "columns": columns,
            "observations": [vars(seen) for seen in self.observations],
        }
        path.write_text(json.dumps(document))

    def write_csv(self, path: Path) -> None:
        """Write time and columns, one row per scan, without the observations."""
        names = list(self.columns)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time_ms", *names])
            writer.writerows(zip(self.time_ms.tolist(), *(self.columns[n].tolist() for n in names), strict=True))


def read_json(path: Path) -> Recording:
    """Read what `write_json` wrote."""
    document = json.loads(path.read_text())
    return Recording(
        np.array(document["time_ms"]),
        {n: np.array(v) for n, v in document["columns"].items()},
        [Observation(**seen) for seen in document["observations"]],
        document["meta"],
    )
