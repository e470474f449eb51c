"""Reaction times of the controller in simulated time, and the table of them: docs/reaction_times.md.

    python tests/control/reaction_times.py      # writes the table

From the physical cause to the open command and to the open contact, worst case over the phase of the
cause against the schedule. The inputs arrive as on the board: sampled, late by their bus time, seen by
the next scan; the scan that decides is the one that the longest collection has delayed.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from halite.paths import ROOT, use_firmware

use_firmware()

from rack import ids as I  # noqa: E402
from rack.alarms import ROWS, code_of  # noqa: E402
from rack.control.bits import IN_ESTOP, IN_HVIL, IN_OC_OK  # noqa: E402
from rig import Rig  # noqa: E402

DOC = ROOT / "docs" / "reaction_times.md"

SCAN_ms = 3             # longest scan: bar of `scan_10ms_us_max`
COLLECT_ms = 12         # longest collection; it starts 4 ms after a scan, so the next one is late by
LATE_ms = 4 + COLLECT_ms - 10
HARDWARE_us = 100       # HVIL, E-stop and over-current alert to the coil supply: bar of `interlock_drop_us`
RELEASE_ms = 12         # TE EVC500, Gigavac HX21: release at most 12 ms
CURRENT_ms = 1          # a conversion of the current sensor
CELLS_ms = 13           # 26 devices at 1 Mbit/s and one slice of 2 ms to take them over
TEMPS_ms = 22
STATUS_ms = 20          # period of the PCS status
_PHASES_ms = (1, 2, 11, 14, 23, 31, 41, 51, 61, 71, 81, 91, 99)
_LONGEST_ms = 3000


@dataclass
class World:
    """What is true at the rack, before any sensor: a change here is the cause."""

    rig: Rig
    current_dA: int = 0
    in_bits: int = 0
    gas_mV: int = 0
    late_ms: int = 0
    waits: bool = False
    cell: int | None = None
    heat_ddegC: int = 0
    silent: str = ""


@dataclass(frozen=True)
class Fault:
    """A row: what happens, the alarm that answers, its bar in ms, and foxBMS 2's time for comparison."""

    text: str
    key: str
    cause: Callable[[World], None]
    bar_ms: int | None = None
    foxbms: str = ""
    hardware: bool = False
    start_ddegC: int = 250


def _set(**changes: object) -> Callable[[World], None]:
    def cause(world: World) -> None:
        for name, value in changes.items():
            setattr(world, name, value)

    return cause


def _open(bit: int) -> Callable[[World], None]:
    def cause(world: World) -> None:
        world.in_bits &= ~bit

    return cause


FAULTS = (
    Fault("interlock (HVIL) opens", "hvil", _open(IN_HVIL), 10, "–", hardware=True),
    Fault("emergency stop", "estop", _open(IN_ESTOP), 10, "–", hardware=True),
    Fault("hardware over-current alert", "oc_alert", _open(IN_OC_OK), 10, "–", hardware=True),
    Fault("over-current, discharge", "discharge_current_trip", _set(current_dA=3900), 20, "200"),
    Fault("over-current, charge", "charge_current_trip", _set(current_dA=-3900), 20, "200"),
    Fault("cell over-voltage", "cell_high_trip", _set(cell=3700), 150, "700"),
    Fault("cell under-voltage", "cell_low_trip", _set(cell=2400), 150, "700"),
    Fault("over-temperature", "hot_trip", _set(heat_ddegC=15), 500, "6 000", start_ddegC=590),
    Fault("under-temperature", "cold_trip", _set(heat_ddegC=-15), 500, "6 000", start_ddegC=-190),
    Fault("cell voltages not read (AFE)", "cells_lost", _set(silent="cells"), 200, "150"),
    Fault("temperatures not read (AFE)", "temps_lost", _set(silent="temps"), None, "150"),
    Fault("current sensor silent", "current_lost", _set(silent="current"), 100, "1 200"),
    Fault("PCS silent", "pcs_lost", _set(silent="pcs"), 300, "1 200"),
    Fault("open cell wire", "wire_trip", _set(cell=-1), None, ""),
    Fault("gas", "gas_trip", _set(gas_mV=2500), None, ""),
    Fault("task overrun", "late_trip", _set(waits=True), None, ""),
)


class Board:
    """Plays one fault against a closed rack with the board's schedule; time in ms since an AFE sample."""

    def __init__(self, rig: Rig, fault: Fault) -> None:
        self.rig = rig
        self.world = World(rig, in_bits=rig.in_bits)
        self.fault = fault
        self._seen_current = 0
        self._sampled: tuple[list[int], list[int]] = ([], [])

    def react(self, phase_ms: int) -> int:
        """ms from the cause at `phase_ms` (1 or more after the first sample) to the scan that opens, on time."""
        for now in range(_LONGEST_ms):
            if now == phase_ms:
                self.fault.cause(self.world)
            self._afe(now)
            self._messages(now)
            if now % 10 == 0:
                self._scan(now)
                if self.rig.s[I.COILS] == 0 and now >= phase_ms:
                    return now - phase_ms
        raise AssertionError(f"{self.fault.text}: never opened")

    def _afe(self, now: int) -> None:
        """Sample every period, deliver after the bus time."""
        rig, at = self.rig, now % self.rig.params.afe_period_ms
        if at == 0:
            self._sampled = (self._cells(), self._temps())
        if at == CELLS_ms and self.world.silent != "cells":
            for n, mV in enumerate(self._sampled[0]):
                rig.c.cells_mV[n] = mV
            rig.c.cells_arrived()
            rig.s[I.CELLS_AGE_ms] = 0
        if at == TEMPS_ms and self.world.silent != "temps":
            for n, ddegC in enumerate(self._sampled[1]):
                rig.c.temps_ddegC[n] = ddegC
            rig.c.temps_arrived()
            rig.s[I.TEMPS_AGE_ms] = 0

    def _cells(self) -> list[int]:
        cells = list(self.rig.c.cells_mV)
        if self.world.cell is None:
            return cells
        if self.world.cell < 0:     # an open wire moves two neighbours apart
            cells[100], cells[101] = 0, 6500
            return cells
        cells[100] = self.world.cell
        return cells

    def _temps(self) -> list[int]:
        return [self.fault.start_ddegC + self.world.heat_ddegC] * len(self.rig.c.temps_ddegC)

    def _messages(self, now: int) -> None:
        """Ages grow by the millisecond; what is alive answers in its period."""
        s, silent = self.rig.s, self.world.silent
        for age in (I.CELLS_AGE_ms, I.TEMPS_AGE_ms, I.CURRENT_AGE_ms, I.PCS_AGE_ms):
            s[age] += 1
        self.world.late_ms += self.world.waits
        if now % STATUS_ms == 0 and silent != "pcs":
            s[I.PCS_AGE_ms] = 0
        if now % 10 == 10 - CURRENT_ms and silent != "current":
            s[I.CURRENT_AGE_ms] = 0
            self._seen_current = self.world.current_dA

    def _scan(self, now: int) -> None:
        rig, s = self.rig, self.rig.s
        s[I.CURRENT_dA] = self._seen_current
        s[I.GAS_mV], s[I.TASK_LATE_ms] = self.world.gas_mV, self.world.late_ms
        s[I.IN_bits] = self.world.in_bits
        rig.now_ms += 10
        rig.c.scan(rig.now_ms)


def _closed(start_ddegC: int) -> Rig:
    rig = Rig("lfp", plausible_wire_mV=500).close()
    if start_ddegC != 250:
        rig.warm(start_ddegC)
    rig.run(200 - rig.ms % 100)
    return rig


def measure() -> dict[str, int]:
    """Worst time to the open command per alarm key, ms: the deciding scan late, and run to its end."""
    racks = {start: _closed(start) for start in {fault.start_ddegC for fault in FAULTS}}
    worst = {}
    for fault in FAULTS:
        times = []
        for phase in _PHASES_ms:
            rig = copy.deepcopy(racks[fault.start_ddegC])
            times.append(Board(rig, fault).react(phase))
            first = ROWS[rig.s[I.TRIP_CODE] - 1][0]
            assert first == fault.key, f"{fault.text}: {first} came first"
        worst[fault.key] = max(times) + 1 + LATE_ms + SCAN_ms     # 1: the phases are whole milliseconds
    return worst


def debounce_ms(key: str) -> int:
    """The part of the time that the config's set_ms has."""
    return int(Rig("lfp").params.alarms_levels[4 * (code_of(key) - 1) + 2])


_HEAD = f"""# Reaction times

Worst case in simulated time from the physical cause to the open command, and to the open contact
{RELEASE_ms} ms later (release time of TE EVC500 and Gigavac HX21), over the phase of the cause against the
schedule, with the levels and times of `lfp_rack.toml` and its 26 AFE devices. Generated by
`python tests/control/reaction_times.py`; a test fails when a row becomes slower than its bar or than this page.

Counted in: the AFE period of 100 ms, {CELLS_ms} ms until voltages and {TEMPS_ms} ms until temperatures are taken over
(slices of 2 ms included), {CURRENT_ms} ms of current conversion, a PCS status each {STATUS_ms} ms, the deciding
scan late by {LATE_ms} ms behind a collection of {COLLECT_ms} ms, and the scan's own {SCAN_ms} ms. `make bench` measures
them; a board that is slower has slower rows than this page says. **The firmware does not keep these two figures yet**:
on the emulated Pico W `halite exec tasks` has shown collections of 22 ms and single scans of 5.9 ms, so the rows that
go through the scan can be about 13 ms slower, which takes over-current past its bar.
Interlock, emergency stop and over-current alert cut
the coils' supply in hardware within {HARDWARE_us} µs; their time through the scan stands beside it.
While a task waits too long nothing is fed: the dead-man opens within its window (50 ms), `late_trip` says why.

*Debounce* is the `set_ms` of the row in the config and part of the time: a config that raises it slows the row
by as much. *foxBMS 2* is detection and reaction with its published settings
(`src/app/engine/config/diag_cfg.c`), without its 50 ms for the actuator.

| fault | alarm | open command, ms | open contact, ms | bar, ms | debounce, ms | foxBMS 2, ms |
|---|---|---|---|---|---|---|
"""


def table(worst: dict[str, int]) -> str:
    """The whole page."""
    rows = []
    for fault in FAULTS:
        ms = worst[fault.key]
        hard = HARDWARE_us / 1000
        command = f"{hard} (scan: {ms})" if fault.hardware else str(ms)
        contact = f"{hard + RELEASE_ms}" if fault.hardware else str(ms + RELEASE_ms)
        bar = "" if fault.bar_ms is None else str(fault.bar_ms)
        cells = (fault.text, f"`{fault.key}`", command, contact, bar, str(debounce_ms(fault.key)), fault.foxbms)
        rows.append("| " + " | ".join(cells) + " |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    Path(DOC).write_text(table(measure()), encoding="utf-8")
