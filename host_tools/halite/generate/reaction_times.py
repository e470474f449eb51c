"""Measure the reaction times of the controller in simulated time, for docs/reaction_times.md.

`halite dev reaction-times` writes the page in about 20 s. A reaction time is the time from the physical cause to the
open command or to the open contact. It is the worst case over the phase of the cause against the schedule, and over the
place of a collection. The processor does one thing at a time: it reads no message during a scan or a collection, and
work that becomes due in this time comes late.
"""

import copy
from dataclasses import dataclass

from halite.common.paths import ROOT, use_firmware
from halite.config import load_params
from halite.config.rows import levels_at
from halite.generate.reaction_faults import (
    FAULTS,
    NO_ROW,
    CELLS_ms,
    CHECK_ms,
    COLLECT_ms,
    CONVERSION_us,
    CURRENT_ms,
    Fault,
    HARDWARE_us,
    LATE_ms,
    PERIOD_ms,
    RELEASE_ms,
    SCAN_ms,
    SLICE_ms,
    SLOW_ms,
    STATUS_ms,
    TAKE_OVER_ms,
    TEMPS_ms,
    World,
)
from halite.hosts.controller_rig import Rig

use_firmware()

from rack.control.sense import message_ages  # noqa: E402 - only after use_firmware
from rack.definitions.alarms import ROWS  # noqa: E402
from rack.definitions.codes import NO_OPEN  # noqa: E402
from rack.generated import alarm_levels as L  # noqa: E402
from rack.generated import ids as I  # noqa: E402
from rack.tasks.collector import cell_times  # noqa: E402

# No collection begins while the age of the cells is between these two.
DUE_ms, _, LOST_ms = cell_times(load_params("lfp_rack"))
DOC = ROOT / "docs" / "reaction_times.md"

_START_ms = 200         # the causes begin after this time, when the schedule has settled
_SHIFTS_ms = (0, 3, 6, 7, 8)    # AFE and PCS against the scan: of all ten, those of the slowest rows and two more
_LONGEST_ms = 3000
_FEW = 45               # up to this number of scans, try a collection after each; else around cause and decision


class Board:
    """Simulates a closed rack with the board's schedule and one fault, in steps of 1 ms.

    shift_ms: phase of the AFE's period and of the PCS's status against the scan.
    """

    def __init__(self, rig: Rig, start_ddegC: int, shift_ms: int) -> None:
        self.rig = rig
        self.world = World(rig, in_bits=rig.in_bits)
        self.scans = 0
        self._start_ddegC = start_ddegC
        self._now = 0
        self.collect_after = -1
        self.planned = False
        self.allowed: list[int] = []        # scans that a collection may follow
        self._scan_due = PERIOD_ms
        self._scanned = 0
        self._busy_until = self._collects_from = 0
        self._afe_due = shift_ms
        self._read_ms = TEMPS_ms            # time in this AFE scan, without the time of collections
        self._cells_here = self._temps_here = True
        self._answered: set[str] = set()
        self._sampled: tuple[list[int], list[int]] = ([], [])
        self._status_due = shift_ms
        self._status_waits = False
        self._pcs_due = PERIOD_ms // 2
        self._slow_due = 7
        self._caused = _LONGEST_ms

    def settle(self, until_ms: int) -> "Board":
        while self._now < until_ms:
            self._step()
        return self

    def react(self, fault: Fault, cause_ms: int, collect_after: int) -> int:
        """Return the ms from the cause to the end of the scan that opens. AssertionError if the rack stays closed.

        collect_after: number of the scan that a collection follows, if it may; -1: no collection.
        """
        self.collect_after, self.planned = collect_after, fault.on_afe
        self.settle(cause_ms - 1)
        self._caused = cause_ms
        fault.cause(self.world)
        while self._now < _LONGEST_ms:
            if self._step() and self.rig.s[I.COILS] == 0:
                return self._now + SCAN_ms - cause_ms
        raise AssertionError(f"{fault.text}: the rack stays closed")

    def _step(self) -> bool:
        """Simulate the next millisecond; return True if a scan begins in it."""
        self._now = now = self._now + 1
        self._pass(now)
        if now < self._busy_until:
            return False
        if now < self._scan_due:
            self._afe(now)
            self._tasks(now)
            return False
        self._scan(now)
        return True

    def _pass(self, now: int) -> None:
        """Simulate a millisecond of the hardware: ages, status frames of the PCS, answers of the AFE."""
        s, silent = self.rig.s, self.world.silent
        message_ages.advance(s, 1)
        self.world.late_ms += self.world.waits
        if now >= self._status_due:
            self._status_due += STATUS_ms
            self._status_waits |= silent != "pcs"
        if not self._collects_from <= now - 1 < self._busy_until:
            self._read_ms += 1
        for name, ms in (("cells", CELLS_ms - TAKE_OVER_ms), ("temps", TEMPS_ms - TAKE_OVER_ms)):
            if self._read_ms == ms and silent != name:
                self._answered.add(name)

    def _afe(self, now: int) -> None:
        """Read the cells and temperatures that have arrived; start a new AFE scan when it is due."""
        rig = self.rig
        if self._read_ms >= CELLS_ms and not self._cells_here and "cells" in self._answered:
            self._cells_here = True
            for n, mV in enumerate(self._sampled[0]):
                rig.c.cells_mV[n] = mV
            rig.c.cells_arrived()
        if self._read_ms >= TEMPS_ms and not self._temps_here and "temps" in self._answered:
            self._temps_here = True
            for n, ddegC in enumerate(self._sampled[1]):
                rig.c.temps_ddegC[n] = ddegC
            rig.c.temps_arrived()
        if now >= self._afe_due:
            self._afe_due += rig.params.afe_period_ms
            self._sampled = (self._cells(), self._temps())
            self._answered.clear()
            self._read_ms = 0
            self._cells_here = self._temps_here = False

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
        temps = [self._start_ddegC + self.world.heat_ddegC] * len(self.rig.c.temps_ddegC)
        temps[40] += self.world.one_ddegC
        temps[: self.world.broken] = [NO_OPEN] * self.world.broken
        return temps

    def _tasks(self, now: int) -> None:
        s = self.rig.s
        if now >= self._pcs_due:
            self._pcs_due = now - (now - PERIOD_ms // 2) % PERIOD_ms + PERIOD_ms
            if self._status_waits:
                self._status_waits = False
                message_ages.arrived(s, I.PCS_AGE_ms)
        if now >= self._slow_due:
            self._slow_due += SLOW_ms
            for signal, value in self.world.slow.items():
                s[signal] = value

    def _scan(self, now: int) -> None:
        """Run a scan. Its decision is at the coils when it ends. A scan that was missed is not repeated."""
        rig, s, world = self.rig, self.rig.s, self.world
        self._scan_due = now - now % PERIOD_ms + PERIOD_ms
        self._collects_from = self._busy_until = now + SCAN_ms
        waits = self.planned and DUE_ms <= s[I.CELLS_AGE_ms] < LOST_ms
        if not waits:
            self.allowed.append(self.scans)
        if self.scans == self.collect_after and not waits:
            self._busy_until += COLLECT_ms
        self.scans += 1
        if world.silent != "current":
            rig.c.current_arrived(world.current_dA if now - self._caused >= CURRENT_ms else 0, s[I.RACK_dV])
        s[I.TASK_LATE_ms] = world.late_ms
        s[I.IN_bits] = world.in_bits
        rig.now_ms += now - self._scanned
        self._scanned = now
        rig.c.scan(rig.now_ms)


def closed(start_ddegC: int) -> Rig:
    rig = Rig("lfp", plausible_wire_mV=500).close()
    if start_ddegC != 250:
        rig.warm(start_ddegC)
    rig.run(200 - rig.ms % 100)
    return rig


def _causes(fault: Fault, shift_ms: int) -> list[int]:
    """Return the times at which the fault comes, ms."""
    if fault.after_ms:
        return [_START_ms + shift_ms + after for after in fault.after_ms]
    return [_START_ms + after for after in range(1, PERIOD_ms + 1)]


def _reactions(settled: Board, fault: Fault, cause_ms: int) -> list[int]:
    """Return the reaction times of one cause, ms.

    The first is without a collection. In the others a collection follows a scan around the cause, or one of the last
    scans before the decision.
    """
    def play(collect_after: int) -> tuple[int, Board]:
        board = copy.deepcopy(settled)
        if fault.played:
            at = levels_at(fault.key)
            levels = board.rig.params.alarms_levels
            levels[at + L.SET], levels[at + L.CLEAR], levels[at + L.SET_ms] = *fault.played, 0
        ms = board.react(fault, cause_ms, collect_after)
        first = ROWS[board.rig.s[I.TRIP_CODE] - 1][0]
        assert first == fault.key, f"{fault.text}: {first} came first"
        return ms, board

    ms, undisturbed = play(-1)
    at, scans = cause_ms // PERIOD_ms, undisturbed.scans
    everywhere = fault.on_afe and scans - at < _FEW
    around = set(range(at - 2, scans)) if everywhere else {*range(at - 2, at + 1), *range(scans - 14, scans)}
    return [ms, *(play(number)[0] for number in sorted(around.intersection(undisturbed.allowed)))]


def measure() -> dict[str, int]:
    """Return the worst time to the open command for each alarm key, ms."""
    settled = {}
    for start in {fault.start_ddegC for fault in FAULTS}:
        rack = closed(start)
        for shift in _SHIFTS_ms:
            settled[start, shift] = Board(copy.deepcopy(rack), start, shift).settle(_START_ms - 2 * PERIOD_ms)
    worst = {}
    for fault in FAULTS:
        times = [ms for shift in (_SHIFTS_ms if fault.after_ms else (0,)) for cause_ms in _causes(fault, shift)
                 for ms in _reactions(settled[fault.start_ddegC, shift], fault, cause_ms)]
        worst[fault.key] = max(times) + 1 + SLICE_ms + fault.wait_ms    # 1: causes come at whole milliseconds
        if fault.played:    # the scan that ends the debounce may come one period and one collection later
            worst[fault.key] += debounce_ms(fault.key) + PERIOD_ms + LATE_ms
    return worst


def level(key: str) -> int:
    """Return the set value of an alarm in the config."""
    return int(Rig("lfp").params.alarms_levels[levels_at(key) + L.SET])


def debounce_ms(key: str) -> int:
    """Return the part of a reaction time that is set_ms of the config."""
    return int(Rig("lfp").params.alarms_levels[levels_at(key) + L.SET_ms])


_HEAD = f"""# Reaction times

`make generate` writes this page. A time is the worst case, in simulated time, over the phase of the cause against the
schedule. It runs from the physical cause to the open command, and to the open contact {RELEASE_ms} ms later (release
time of TE EVC500 and Gigavac HX21). Levels and times are those of `lfp_rack.toml` with 26 AFE devices. A test fails
when a row becomes slower than its bar or than this page.

The times include:

* a scan each {PERIOD_ms} ms that takes {SCAN_ms} ms, and {SLICE_ms} ms more when another task runs while it becomes
  due: a slice of the AFE, the CAN controller, the FRAM, or an answer on the console;
* one collection of {COLLECT_ms} ms at the worst place in the reaction. It begins right after a scan, so the next scan
  is late by {SCAN_ms} + {COLLECT_ms} - {PERIOD_ms} = {LATE_ms} ms. The controller reads messages of AFE, PCS and gas
  sensor from this time only after that scan. Two collections are at least half a second apart (`tasks/collector.py`),
  so only a slower row could meet two. A collection does not begin while cells are due, {DUE_ms} to {LOST_ms} ms after
  the last. The measurement applies this rule where the cause has a phase against the AFE's period; in the other rows a
  collection may come after any scan;
* the AFE period of 100 ms. The controller judges voltages {CELLS_ms} ms after their request and temperatures
  {TEMPS_ms} ms after theirs, with slices of {TAKE_OVER_ms} ms (`tests/unit/drivers/test_afe_ring.py`);
* a PCS status each {STATUS_ms} ms that waits up to {PERIOD_ms} ms for its task, and the gas sensor each {SLOW_ms} ms;
* {CURRENT_ms} ms of current conversion: a reading counts when a whole conversion of the shunt ({CONVERSION_us} µs)
  has begun and ended after the cause.

{SCAN_ms}, {SLICE_ms}, {TAKE_OVER_ms} and {COLLECT_ms} ms are bars of `make bench`: `scan_10ms_us_max`;
`scan_wait_us_max` and `answer_slice_us_max`; `afe_longest_slice_us`; `gc_collect_ms`. The bench measures them on the
emulated board with the largest rack. A board that misses a bar has slower rows than this page shows.

The times do not include:

* the tolerance of the shunt and of the current sensor;
* answers that are damaged on a bus, and the new request for them;
* the check of a `maintenance` or `unlock` key;
* a collection that MicroPython begins because the heap is full; `heap_free_lowest_bytes` is the distance to it.

Interlock, emergency stop and over-current switch the coils' supply off in hardware; their time through the scan is in
brackets. A low pin switches off within {HARDWARE_us} µs. The current sensor itself compares each conversion of the
shunt with the trip levels (`[sensor] alert_charge_A`, `alert_discharge_A`). It pulls its pin low at most
{3 * CONVERSION_us} µs after the cause: the rest of the running conversion, one of the bus voltage, and a whole one of
the shunt. While a task waits too long, the controller does not feed the dead-man. The dead-man opens at the end of its
window (50 ms), and `late_trip` gives the reason.

*Debounce* is `set_ms` of the row in the config. The time includes it, so a config with a longer debounce makes the row
slower by the difference. *foxBMS 2* is detection and reaction with its published settings
(`src/app/engine/config/diag_cfg.c`), without its 50 ms for the actuator.

Rows with a debounce of seconds are simulated without it; the time adds it, one more period and one more collection. The
time of a thermal runaway begins when rise and witness are there. It includes 3 s in steps of half a second and the
reading of the temperatures. Each {CHECK_ms // 1000} s the AFE checks its wires, and the controller has read every
word of its config again.

| fault | alarm | open command, ms | open contact, ms | bar, ms | debounce, ms | foxBMS 2, ms |
|---|---|---|---|---|---|---|
"""

_OTHERS_HEAD = """
These trips have no row. Another row includes them, or another trip opens a closed rack first:

| alarm | because |
|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One row of the page: a fault and its worst times in ms, from the cause.

    scan_ms: to the open command through the scan. command_ms: to the open command, in hardware if the fault has a
    hardware path. contact_ms: to the open contact.
    """

    fault: Fault
    scan_ms: int

    @property
    def command_ms(self) -> float:
        return self.fault.hardware_us / 1000 or self.scan_ms

    @property
    def contact_ms(self) -> float:
        return self.command_ms + RELEASE_ms

    def __str__(self) -> str:
        fault = self.fault
        command = f"{self.command_ms:g} (scan: {self.scan_ms})" if fault.hardware_us else str(self.scan_ms)
        bar = "" if fault.bar_ms is None else str(fault.bar_ms)
        debounce = str(debounce_ms(fault.key))
        cells = (fault.text, f"`{fault.key}`", command, f"{self.contact_ms:g}", bar, debounce, fault.foxbms)
        return "| " + " | ".join(cells) + " |\n"


def rows(worst: dict[str, int]) -> dict[str, Row]:
    """Return the rows of the page by alarm key. worst: result of `measure`."""
    return {fault.key: Row(fault, worst[fault.key]) for fault in FAULTS}


def bars_ms() -> dict[str, int]:
    """Return the bars, by alarm key: the maximum time to the open command, ms. Faults without a bar are left out."""
    return {fault.key: fault.bar_ms for fault in FAULTS if fault.bar_ms is not None}


def table(worst: dict[str, int]) -> str:
    """Return the whole page."""
    others = [f"| `{key}` | {why} |\n" for key, why in NO_ROW.items()]
    return "".join((_HEAD, *map(str, rows(worst).values()), _OTHERS_HEAD, *others))


def write() -> None:
    """Measure all faults and write the page."""
    DOC.write_text(table(measure()), encoding="utf-8")
