"""A response with three zero-crossing inputs on the simulated mains, whose phases can fail and return."""

import math
from collections.abc import Iterator

from halite.hosts.response_rig import Rig
from halite.plant.grid import Grid
from rack.control.response.response import PERIOD_TICK_NS
from rack.generated import response_state as K

PERIOD_US = 20_000.0


class PhaseRig(Rig):
    """A rig with an input for each phase. wires: the phase of the mains that each input is wired to."""

    def __init__(self, grid=None, wires=(0, 1, 2), **changes):
        super().__init__(grid_phases=len(wires), **changes)
        self.grid = grid or Grid()
        self.wires = wires
        self.last_us: list[float | None] = [None for _ in wires]
        self._wraps_us = 0.0
        self._clock = 0

    def edges(self, until_us: float) -> Iterator[tuple[float, int]]:
        """Deliver each edge up to this time, and the scans between the edges; yield (time, input) after each edge."""
        while True:
            us, at = min((self.next_edge_us(at), at) for at in range(len(self.wires)))
            if us > until_us:
                break
            self.scans_until(us)
            self.now_us = us
            last_us, self.last_us[at] = self.last_us[at], us
            if last_us is not None:
                self.response.on_period(min(round((us - last_us) * 1000 / PERIOD_TICK_NS), 0x1FFF_FFFF), at)
            yield us, at
        self.scans_until(until_us)
        self.now_us = until_us

    def next_edge_us(self, at: int) -> float:
        """Return the time of the next edge of an input; infinity if it has no edge."""
        us = self.grid.next_edge_us((self.last_us[at] or 0.0) + 1.0, self.wires[at])
        return math.inf if us is None else us

    def run_to(self, us: float) -> None:
        """Deliver all edges and scans up to a time."""
        for _ in self.edges(us):
            pass

    def clock_us(self) -> float:
        """Return the kernel's clock, without its wrap."""
        k = self.response.state
        self._wraps_us += ((k[K.CLOCK_NOW] - self._clock) & K.CLOCK_MASK) * 10
        self._clock = k[K.CLOCK_NOW]
        return self._wraps_us + k[K.PHASE_REST] * PERIOD_TICK_NS / 1000
