"""A closed rack at power whose sensors, wires and PCS may lie: the control core on the simulated rack."""

from typing import Any

from halite.hosts.controller_rig import params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from rack.control.controller import Controller
from rack.definitions.alarms import ROWS
from rack.definitions.codes import CMD_CLOSE, CMD_RESET, STATE_CLOSED
from rack.generated import ids as I

_CLOSE_ms = 4000


class LyingRack:
    """host: joins controller and rack. s: the process image. came: each alarm with the time at which it first came, ms.

    pcs: attributes of the simulated PCS, such as lag_ms. A rack begins open; `close` closes it within 4 s.
    """

    def __init__(
        self,
        config: str = "sodium",
        seed: int = 1,
        pcs: dict[str, Any] | None = None,
        start: dict[str, Any] | None = None,
        **changed: Any,
    ) -> None:
        settings = params(config, **changed)
        self.rack = Rack.from_params(settings, seed=seed, **(start or {}))
        for name, value in (pcs or {}).items():
            setattr(self.rack.pcs, name, value)
        self.host = CpythonHost(self.rack, Controller(settings))
        self.host.on_scan = self._note
        self.came: dict[str, int] = {}
        self.ms = 0

    @property
    def s(self) -> Any:
        """The process image of the present run."""
        return self.host.controller.s

    def restart(self) -> None:
        """Take the controller's power away for a moment."""
        self.host.restart()

    def _note(self, us: float) -> None:
        for row, state in enumerate(self.host.controller.alarms.active):
            if state:
                self.came.setdefault(ROWS[row][0], round(us / 1000))

    def run(self, ms: int) -> "LyingRack":
        self.ms += ms
        self.host.run_to(self.ms * 1000.0)
        return self

    def close(self) -> "LyingRack":
        """Close with the command of an operator, after the first messages."""
        self.run(1500)
        if self.s[I.STATE] != STATE_CLOSED:
            assert self.host.controller.command(CMD_CLOSE) == 0
        for _ in range(_CLOSE_ms // 100):
            if self.s[I.STATE] == STATE_CLOSED:
                return self.run(200)
            self.run(100)
        raise AssertionError(f"still open: trip {self.trip()}")

    def grid(self, hz: float) -> "LyingRack":
        """Move the grid's frequency at once; below nominal the rack discharges."""
        self.rack.grid.set(hz, self.ms * 1000.0)
        return self

    def lie(self, name: str, value: float | None = None, at: int = 0) -> "LyingRack":
        self.rack.start_fault(name, at, value)
        return self

    def truth(self, name: str) -> "LyingRack":
        self.rack.stop_fault(name)
        return self

    def until_open(self, max_ms: int) -> int:
        """The ms until the contacts are open, in steps of 10 ms. AssertionError after max_ms."""
        began = self.ms
        while self.rack.contact_bits(self.ms * 1000.0):
            assert self.ms - began < max_ms, f"closed after {max_ms} ms; alarms: {self.came}"
            self.run(10)
        return self.ms - began

    def reset(self) -> int:
        return self.host.controller.command(CMD_RESET)

    def trip(self) -> str:
        code = self.s[I.TRIP_CODE]
        return str(ROWS[code - 1][0]) if code else ""
