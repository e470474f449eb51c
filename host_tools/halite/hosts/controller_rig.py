"""The controller with a minimal rack: healthy inputs, contacts that follow their coils, a bus that precharges.

Tests and the generator of the reaction times use it under CPython.
"""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from halite.common.paths import use_firmware
from halite.config import load_params

use_firmware()

from rack.base.clock import TICKS_MASK  # noqa: E402 - only after use_firmware
from rack.control.controller import Controller  # noqa: E402
from rack.control.protect.memory_guard import MemoryGuard  # noqa: E402
from rack.control.sense.message_ages import advance, arrived  # noqa: E402
from rack.definitions.codes import (  # noqa: E402
    COIL_NEG,
    COIL_POS,
    COIL_PRE,
    IN_AUX_NEG,
    IN_AUX_POS,
    IN_COOLANT_FLOW,
    IN_ESTOP,
    IN_HVIL,
    IN_OC_OK,
    STATE_CLOSED,
)
from rack.generated import ids as I  # noqa: E402

CLEAN_mV = 400  # gas sensor in clean air, as in halite.plant.runaway.Gas
HEALTHY = IN_HVIL | IN_ESTOP | IN_OC_OK | IN_COOLANT_FLOW

# The rig's cells have no resistance, so under current they stand still like those of a frozen AFE: out of its reach.
_IDEAL_CELLS = {"afe_still_dA": 100_000, "afe_still_permille": 500}


@cache
def _loaded(name: str) -> Any:
    return load_params(f"{name}_rack")


def params(name: str = "bench", **changed: Any) -> Any:
    """Return the parameters of a shipped config with changes."""
    return SimpleNamespace(**{**vars(_loaded(name)), **changed})


# The minimal rack has no PCS: its current comes from the test, not from the request.
_NO_PCS = {"pcs_tolerance_W": 1 << 24}


class _Changeable(SimpleNamespace):
    """Parameters of a running rack. A change makes a new memory guard, as a start with them would."""

    changed: Callable[[], None] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if self.changed:
            self.changed()


class Rig:
    """Runs a Controller against a minimal rack. A test may change cells, inputs and contacts, or silence a source.

    The power of the PCS does not follow the requests: a test of the cross-checks sets pcs_tolerance_W.
    """

    def __init__(self, name: str = "bench", now_ms: int = 0, **changed: Any) -> None:
        self.params = _Changeable(**vars(params(name, **{**_NO_PCS, **_IDEAL_CELLS, **changed})))
        self.c = self._controller()
        self.params.__dict__["changed"] = self._guard_again
        self.s = self.c.s
        self.now_ms = now_ms
        self.ms = 0
        self.cell_mV = 3250 if self.params.rack_chemistry else 3050
        self.bus_dV = 0.0
        self.rack_error_dV = 0          # measured rack voltage minus the sum of the cells
        self.resistor_J = 0.0           # heat in the precharge resistor; it cools at the configured rate
        self._is_precharging = False
        self.aux = True                 # contacts follow their coils
        self.bus = True                 # the bus precharges
        self.silent: set[str] = set()   # "cells", "temps", "current", "pcs", "echo", "insulation", "wires"
        self.in_bits = HEALTHY
        for at in range(self.params.cell_series):
            self.c.cells_mV[at] = self.cell_mV
        for at in range(len(self.c.temps_ddegC)):
            self.c.temps_ddegC[at] = 250
        arrived(self.s, I.CURRENT_AGE_ms)
        arrived(self.s, I.PCS_AGE_ms)
        arrived(self.s, I.INSULATION_AGE_ms)
        self.s[I.GAS_mV] = CLEAN_mV
        self.arrive()
        self.s[I.RACK_dV] = self.rack_dV

    def _controller(self) -> Controller:
        return Controller(self.params)

    def _guard_again(self) -> None:
        self.c.memory = MemoryGuard(self.params, self.s, self.c.fixed())

    def arrive(self) -> None:
        """Deliver all cells and temperatures, except silent ones."""
        self.rack_dV = sum(self.c.cells_mV) // 100
        if "cells" not in self.silent:
            self.c.cells_arrived()
        if "temps" not in self.silent:
            self.c.temps_arrived()

    def _messages(self) -> None:
        """Deliver the messages of current sensor and PCS, unless they are silent."""
        if "current" not in self.silent:
            self.c.current_arrived(self.s[I.CURRENT_dA], self.s[I.RACK_dV])
        if "pcs" not in self.silent:
            arrived(self.s, I.PCS_AGE_ms)
            self.s[I.PCS_ECHO] = (self.s[I.PCS_ECHO] + ("echo" not in self.silent)) & 15
        if "insulation" not in self.silent:
            arrived(self.s, I.INSULATION_AGE_ms)
        if "wires" not in self.silent:
            arrived(self.s, I.WIRE_CHECK_AGE_ms)

    def _advance_ages(self, dt: int) -> None:
        """Add dt to the ages. A test that moves the clock makes a gap of the scans; the ages do not include it."""
        advance(self.s, dt)

    def _wires(self, dt: int) -> None:
        coils = self.s[I.COILS]
        before_dV = self.s[I.BUS_dV]
        if self.bus:
            rack = float(self.rack_dV)
            path = coils & COIL_NEG and coils & (COIL_PRE | COIL_POS)
            share = min(1.0, dt / (self.params.precharge_tau_ms if not coils & COIL_POS else 1))
            self._precharge_current(coils, rack)
            self.bus_dV += (rack - self.bus_dV) * share if path else -self.bus_dV * min(1.0, dt / 200)
            self.s[I.BUS_dV] = int(self.bus_dV)
        self._heat(coils, before_dV, dt)
        if self.aux:
            bits = (IN_AUX_NEG if coils & COIL_NEG else 0) | (IN_AUX_POS if coils & COIL_POS else 0)
            self.in_bits = self.in_bits & ~(IN_AUX_NEG | IN_AUX_POS) | bits
        self.s[I.IN_bits] = self.in_bits
        self.s[I.RACK_dV] = self.rack_dV + self.rack_error_dV

    def _precharge_current(self, coils: int, rack_dV: float) -> None:
        """Current through the precharge resistor, before this scan changes the bus voltage."""
        if coils & (COIL_NEG | COIL_PRE | COIL_POS) == COIL_NEG | COIL_PRE:
            self.s[I.CURRENT_dA] = round((rack_dV - self.bus_dV) / self.params.precharge_ohm)
            self._is_precharging = True
        elif self._is_precharging:
            self.s[I.CURRENT_dA] = 0
            self._is_precharging = False

    def _heat(self, coils: int, before_dV: int, dt: int) -> None:
        """Add (rack - bus)^2 / R while the resistor carries current. The bus voltage changes linearly in a scan."""
        p = self.params
        if coils & (COIL_NEG | COIL_PRE | COIL_POS) == COIL_NEG | COIL_PRE:
            one, other = ((self.rack_dV - bus) / 10 for bus in (before_dV, self.s[I.BUS_dV]))
            seconds = min(dt, p.deadman_window_ms) / 1000       # the dead-man opens the coils after this time
            self.resistor_J += (one * one + one * other + other * other) / 3 / p.precharge_ohm * seconds
        else:
            self.resistor_J = max(0.0, self.resistor_J - p.precharge_energy_J * min(dt, 1000) / p.precharge_cooldown_ms)

    def scan(self, dt: int = 10) -> None:
        """Let dt ms pass and run one scan. Cells and temperatures arrive each afe_period_ms."""
        self.now_ms = (self.now_ms + dt) & TICKS_MASK
        self.ms += dt
        self._advance_ages(dt)
        self._messages()
        self._wires(dt)
        if self.ms // self.params.afe_period_ms != (self.ms - dt) // self.params.afe_period_ms:
            self.arrive()
        self.c.scan(self.now_ms)

    def run(self, ms: int) -> None:
        """Run a scan each 10 ms for this time."""
        for _ in range(ms // 10):
            self.scan()

    def until(self, true: Any, max_ms: int = 20_000) -> int:
        """Run until true() and return the ms. AssertionError after max_ms."""
        began = self.ms
        while not true():
            at = f"step {self.s[I.STEP]}, trip {self.s[I.TRIP_CODE]}"
            assert self.ms - began < max_ms, f"not within {max_ms} ms: {at}"
            self.scan()
        return self.ms - began

    def warm(self, to_ddegC: int, sensors: Any = None) -> None:
        """Move temperatures to a value. The steps are plausible for a cell and too slow for a thermal runaway."""
        temps = self.c.temps_ddegC
        at = list(range(len(temps)) if sensors is None else sensors)
        while any(temps[i] != to_ddegC for i in at):
            for i in at:
                temps[i] += max(-90, min(90, to_ddegC - temps[i]))
            self.run(1200)

    def close(self) -> "Rig":
        """Close the contactors with the command of an operator."""
        self.scan()
        assert self.c.command(2) == 0
        self.until(lambda: self.s[I.STATE] == STATE_CLOSED)
        return self
