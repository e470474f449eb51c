"""Record the calls of the simulated rack on the control core, for `replay.py`."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from halite.scenarios import scenario
from halite.scenarios.cpython_run import carry_out
from rack.control.controller import Controller
from rack.definitions.codes import BY_CONSOLE
from rack.definitions.signals import SIGNALS

from support.replay import CELLS, CELLS_AGAIN, COMMAND, PERIOD, SCAN, TEMPS, TEMPS_AGAIN, replay

INPUT_SIGNALS = [index for index, row in enumerate(SIGNALS) if row[1] == "i"]


class _RecordingResponse:
    def __init__(self, response: Any, write: Any) -> None:
        self._response = response
        self._write = write

    def on_period(self, count: int, phase: int) -> int:
        self._write(PERIOD, [count, phase])
        return int(self._response.on_period(count, phase))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)


class RecordingController:
    """A Controller that records every call on it."""

    def __init__(self, controller: Any, stream: BinaryIO, inputs: list[int]) -> None:
        self._controller = controller
        self._stream = stream
        self._inputs = inputs
        self._last: dict[int, list[int]] = {}
        self.response = _RecordingResponse(controller.response, self._write)

    def _write(self, op: int, values: Any) -> None:
        self._stream.write(struct.pack(f"<B{len(values)}i", op, *values))

    def _write_scan(self, op: int, again: int, values: Any) -> None:
        if self._last.get(op) == list(values):
            self._write(again, ())
            return
        self._last[op] = list(values)
        self._write(op, values)

    def cells_arrived(self) -> None:
        self._write_scan(CELLS, CELLS_AGAIN, self._controller.cells_mV)
        self._controller.cells_arrived()

    def temps_arrived(self) -> None:
        self._write_scan(TEMPS, TEMPS_AGAIN, self._controller.temps_ddegC)
        self._controller.temps_arrived()

    def scan(self, now_ms: int) -> None:
        self._write(SCAN, [now_ms, *(self._controller.s[index] for index in self._inputs)])
        self._controller.scan(now_ms)

    def command(self, what: int, who: int = BY_CONSOLE) -> int:
        self._write(COMMAND, [what | who << 8])
        return int(self._controller.command(what, who))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


def record(
    script: scenario.Scenario,
    config: str | Path,
    start_ms: int = 0,
    step_ms: Callable[[float], int] | None = None,
) -> bytes:
    """Return the record of every call that a scenario makes on the control core, in the format of `replay`.

    step_ms: time of a scan in ms → ms until the next scan. Without it the scan period is that of the config.
    """
    params = load_params(config)
    rack = Rack.from_params(params, seed=1, **script.start_state())
    script.prepare_grid(rack)
    stream = io.BytesIO()
    face = CpythonHost(rack, RecordingController(Controller(params), stream, INPUT_SIGNALS), start_ms)
    if step_ms:

        def pace(us: float) -> None:
            face.scan_us = step_ms(us / 1000) * 1000

        face.on_scan = pace
    for action in script.timed():
        if action.at_ms <= script.duration_ms:
            face.run_to(action.at_ms * 1000.0 - 0.001)
            carry_out(action, face)
    face.run_to(script.duration_ms * 1000.0)
    return stream.getvalue()


def replayed(stream: bytes, config: str | Path) -> tuple[list[str], Any]:
    """Return the digests of a record on CPython, and the controller after the record."""
    controller = Controller(load_params(config))
    digests = replay(controller, io.BytesIO(stream), INPUT_SIGNALS)
    return [f"{crc:08x}" for crc in digests], controller
