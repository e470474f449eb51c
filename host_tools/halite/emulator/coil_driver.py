"""The contactor coils' supply: a charge pump on the enable pin, and one switch per coil.

Rule R5: only a toggling enable pin keeps the supply up. Each edge recharges the pump. HOLD_UP_US after the last edge
every coil drops, at either static level of the pin. Values are engineering judgement, see docs/wiring.md.
"""

from collections.abc import Callable
from functools import partial

from rp2040py.gpio_pin import GPIOPinState

from halite.emulator.board import EmulatedBoard

HOLD_UP_US = 60.0  # from the last edge of the enable pin to the drop of the coils


class CoilDriver:
    """Supplies the coils. commanded: coil bit -> pin. on_change(bits) is called when the coils with current change.

    alive: the pump is charged. coils: bits of the coils that have current. edges: number of edges of the enable pin.
    """

    def __init__(
        self, board: EmulatedBoard, enable: int, commanded: dict[int, int], on_change: Callable[[int], None]
    ) -> None:
        self._board = board
        self._clock = board.clock
        self._on_change = on_change
        self._hold_up_ns = HOLD_UP_US * 1000.0
        self._last_edge_ns = -1e18
        self._alarm = board.clock.create_alarm(self._maybe_empty)
        self._command = 0
        self.alive = False
        self.coils = 0
        self.edges = 0
        board.rp2040.gpio[enable].add_listener(self._enable_changed)
        for bit, pin in commanded.items():
            board.rp2040.gpio[pin].add_listener(partial(self._command_changed, bit))

    def _enable_changed(self, new: GPIOPinState, old: GPIOPinState) -> None:
        """Recharge the pump at an edge. The external pull-down makes an undriven pin low."""
        if (new == GPIOPinState.HIGH) == (old == GPIOPinState.HIGH):
            return
        self.edges += 1
        self._last_edge_ns = self._clock.nanos
        if not self.alive:
            self.alive = True
            self._board.record("enable", 1)
            self._alarm.schedule(self._hold_up_ns)
            self._update()

    def _maybe_empty(self) -> None:
        left_ns = self._last_edge_ns + self._hold_up_ns - self._clock.nanos
        if left_ns > 0:
            self._alarm.schedule(left_ns)
            return
        self.alive = False
        self._board.record("enable", 0)
        self._update()

    def _command_changed(self, bit: int, new: GPIOPinState, old: GPIOPinState) -> None:
        self._command = self._command | bit if new == GPIOPinState.HIGH else self._command & ~bit
        self._update()

    def _update(self) -> None:
        coils = self._command if self.alive else 0
        if coils != self.coils:
            self.coils = coils
            self._board.record("coil", coils)
            self._on_change(coils)
