"""Reaction times of the controller in simulated time, and the table of them: docs/reaction_times.md.

    python tests/support/reaction_times.py      # writes the table

From the physical cause to the open command and to the open contact, worst case over the phase of the cause against
the schedule and over where a collection falls. The processor does one thing at a time: while it scans or collects,
nothing is taken over; what was due meanwhile comes late.
"""

import copy
from pathlib import Path

from halite.common.paths import ROOT, use_firmware
from halite.config import load_params

use_firmware()

from rack.control.sense import message_ages  # noqa: E402
from rack.definitions.alarms import ROWS, code_of  # noqa: E402
from rack.definitions.codes import NO_OPEN  # noqa: E402
from rack.generated import ids as I  # noqa: E402
from rack.tasks.collector import cell_times  # noqa: E402

from support.controller_rig import Rig  # noqa: E402
from support.reaction_faults import (  # noqa: E402
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

DUE_ms, _, LOST_ms = cell_times(load_params("lfp_rack"))     # no collection begins while cells are so old
DOC = ROOT / "docs" / "reaction_times.md"

_START_ms = 200         # of the causes: the schedule has settled
_SHIFTS_ms = (0, 3, 6, 7, 8)    # of AFE and PCS against the scan: of all ten those that make the slowest rows, and two
_LONGEST_ms = 3000
_FEW = 45               # scans, behind any of which the collection may come; beyond, around cause and decision


class Board:
    """Plays a closed rack with the board's schedule, in steps of 1 ms, and one fault in it.

    shift_ms: of the AFE's period and the PCS's status against the scan.
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
        self._read_ms = TEMPS_ms            # of the present AFE scan, less what collections have taken
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
        """ms from the cause to the end of the scan that opens.

        collect_after: number of the scan that one follows, if it may; -1: none.
        """
        self.collect_after, self.planned = collect_after, fault.on_afe
        self.settle(cause_ms - 1)
        self._caused = cause_ms
        fault.cause(self.world)
        while self._now < _LONGEST_ms:
            if self._step() and self.rig.s[I.COILS] == 0:
                return self._now + SCAN_ms - cause_ms
        raise AssertionError(f"{fault.text}: never opened")

    def _step(self) -> bool:
        """The next millisecond; True when a scan begins in it."""
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
        """What a millisecond does without the processor."""
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
        """Sample when due, take over what has been read."""
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
        """What it decides is out at its end. A scan that was missed is not made up for."""
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
    """When the fault comes, ms."""
    if fault.after_ms:
        return [_START_ms + shift_ms + after for after in fault.after_ms]
    return [_START_ms + after for after in range(1, PERIOD_ms + 1)]


def _reactions(settled: Board, fault: Fault, cause_ms: int) -> list[int]:
    """Without a collection, and with one around the cause or after one of the last scans before the decision."""
    def play(collect_after: int) -> tuple[int, Board]:
        board = copy.deepcopy(settled)
        if fault.played:
            at = 4 * (code_of(fault.key) - 1)
            levels = board.rig.params.alarms_levels
            levels[at], levels[at + 1], levels[at + 2] = *fault.played, 0
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
    """Worst time to the open command per alarm key, ms."""
    settled = {}
    for start in {fault.start_ddegC for fault in FAULTS}:
        rack = closed(start)
        for shift in _SHIFTS_ms:
            settled[start, shift] = Board(copy.deepcopy(rack), start, shift).settle(_START_ms - 2 * PERIOD_ms)
    worst = {}
    for fault in FAULTS:
        times = [ms for shift in (_SHIFTS_ms if fault.after_ms else (0,)) for cause_ms in _causes(fault, shift)
                 for ms in _reactions(settled[fault.start_ddegC, shift], fault, cause_ms)]
        worst[fault.key] = max(times) + 1 + SLICE_ms + fault.wait_ms    # 1: the causes come at whole milliseconds
        if fault.played:    # the scan that ends the debounce may come a period and a collection later
            worst[fault.key] += debounce_ms(fault.key) + PERIOD_ms + LATE_ms
    return worst


def level(key: str) -> int:
    """The set value of an alarm in the config."""
    return int(Rig("lfp").params.alarms_levels[4 * (code_of(key) - 1)])


def debounce_ms(key: str) -> int:
    """The part of the time that the config's set_ms has."""
    return int(Rig("lfp").params.alarms_levels[4 * (code_of(key) - 1) + 2])


_HEAD = f"""# Reaction times

Worst case in simulated time from the physical cause to the open command, and to the open contact
{RELEASE_ms} ms later (release time of TE EVC500 and Gigavac HX21), over the phase of the cause against the
schedule, with the levels and times of `lfp_rack.toml` and its 26 AFE devices. Generated by
`python tests/support/reaction_times.py`; a test fails when a row becomes slower than its bar or than this page.

Counted in:

* a scan each {PERIOD_ms} ms that takes {SCAN_ms} ms and finds another task running when it is due, for {SLICE_ms} ms
  more: a slice of the AFE, the CAN controller, the memory, or of an answer on the console;
* one collection of {COLLECT_ms} ms, wherever in the reaction it does most harm. It begins right after a scan, so
  the next scan is late by {SCAN_ms} + {COLLECT_ms} - {PERIOD_ms} = {LATE_ms} ms; what AFE, PCS or gas sensor have said
  meanwhile is taken over after that scan. Two collections are half a second apart (`tasks/collector.py`), so only a row
  slower than that could meet two. None begins while cells are due, {DUE_ms} to {LOST_ms} ms after the last: that is
  counted where the cause meets the AFE's period, elsewhere a collection may come at any scan;
* the AFE period of 100 ms, {CELLS_ms} ms from the request of voltages and {TEMPS_ms} ms from that of temperatures
  until they are judged (slices of {TAKE_OVER_ms} ms included, `tests/unit/drivers/test_afe_ring.py`),
  a PCS status each {STATUS_ms} ms that waits up to {PERIOD_ms} ms for its task,
  the gas sensor each {SLOW_ms} ms;
* {CURRENT_ms} ms of current conversion: a reading counts when a whole conversion of the shunt ({CONVERSION_us} µs)
  has begun after the cause and ended.

{SCAN_ms}, {SLICE_ms}, {TAKE_OVER_ms} and {COLLECT_ms} ms are the bars of `scan_10ms_us_max`, of `scan_wait_us_max` and
`answer_slice_us_max`, of `afe_longest_slice_us` and of `gc_collect_ms` in `make bench`, which measures them on the
emulated board with the largest rack; a board that misses one has slower rows than this page says. Not counted: the
shunt's and the sensor's tolerance, answers that were damaged on a bus and are asked for again, the proof of a
`maintenance` or `unlock` key, and a collection that MicroPython begins by itself because the heap is full
(`heap_free_lowest_bytes` says how far away that is).

Interlock, emergency stop and over-current cut the coils' supply in hardware; their time through the scan stands
beside it. A low pin cuts within {HARDWARE_us} µs. The current sensor compares each conversion of the shunt with the
trip levels itself (`[sensor] alert_charge_A`, `alert_discharge_A`) and pulls its pin at most {3 * CONVERSION_us} µs
after the cause: the conversion that runs, the one of the bus voltage, and a whole one of the shunt.
While a task waits too long nothing is fed: the dead-man opens within its window (50 ms), `late_trip` says why.

*Debounce* is the `set_ms` of the row in the config and part of the time: a config that raises it slows the row
by as much. *foxBMS 2* is detection and reaction with its published settings
(`src/app/engine/config/diag_cfg.c`), without its 50 ms for the actuator.

Rows with a debounce of seconds are played without it, and it is added with one more period and collection. A thermal
runaway counts from where rise and witness are there: 3 s in steps of half a second, and the temperatures' own way. The
AFE's check of its wires and the CRC over the config come round each {CHECK_ms // 1000} s.

| fault | alarm | open command, ms | open contact, ms | bar, ms | debounce, ms | foxBMS 2, ms |
|---|---|---|---|---|---|---|
"""

_OTHERS_HEAD = """
Trips without a row of their own: another row stands for them, or they are not what opens a closed rack:

| alarm | because |
|---|---|
"""


def table(worst: dict[str, int]) -> str:
    """The whole page."""
    rows = []
    for fault in FAULTS:
        ms = worst[fault.key]
        hard = fault.hardware_us / 1000
        command = f"{hard:g} (scan: {ms})" if hard else str(ms)
        contact = f"{(hard or ms) + RELEASE_ms:g}"
        bar = "" if fault.bar_ms is None else str(fault.bar_ms)
        cells = (fault.text, f"`{fault.key}`", command, contact, bar, str(debounce_ms(fault.key)), fault.foxbms)
        rows.append("| " + " | ".join(cells) + " |\n")
    others = [f"| `{key}` | {why} |\n" for key, why in NO_ROW.items()]
    return "".join((_HEAD, *rows, _OTHERS_HEAD, *others))


if __name__ == "__main__":
    Path(DOC).write_text(table(measure()), encoding="utf-8")
