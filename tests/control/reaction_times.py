"""Reaction times of the controller in simulated time, and the table of them: docs/reaction_times.md.

    python tests/control/reaction_times.py      # writes the table

From the physical cause to the open command and to the open contact, worst case over the phase of the cause against
the schedule and over where a collection falls. The processor does one thing at a time: while it scans or collects,
nothing is taken over; what was due meanwhile comes late.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from halite.bench import BARS
from halite.paths import ROOT, use_firmware

use_firmware()

from rack import ids as I  # noqa: E402
from rack.alarms import ROWS, code_of  # noqa: E402
from rack.control.bits import IN_AUX_POS, IN_ESTOP, IN_HVIL, IN_OC_OK, NO_OPEN  # noqa: E402
from rig import Rig  # noqa: E402

DOC = ROOT / "docs" / "reaction_times.md"

SCAN_ms = round(BARS["scan_10ms_us_max"].limit / 1000)
COLLECT_ms = round(BARS["gc_collect_ms"].limit)
SLICE_ms = round(BARS["scan_wait_us_max"].limit / 1000)     # what a scan may find running when it is due
TAKE_OVER_ms = round(BARS["afe_longest_slice_us"].limit / 1000)
HARDWARE_us = round(BARS["interlock_drop_us"].limit)    # a pin of the interlock to the coils' supply
CONVERSION_us = 540     # INA228 as configured: shunt and bus in turn; a level counts that fills a whole conversion, so
ALERT_us = HARDWARE_us + 3 * CONVERSION_us      # the one that runs, the one of the bus, and a whole one of the shunt
CURRENT_ms = 2          # the same, before the scan that reads it
RELEASE_ms = 12         # TE EVC500, Gigavac HX21: release at most 12 ms
PERIOD_ms = 10
LATE_ms = SCAN_ms + COLLECT_ms - PERIOD_ms
CELLS_ms = 13           # 26 devices at 1 Mbit/s and one slice of 2 ms to take them over
TEMPS_ms = 22
STATUS_ms = 20          # period of the PCS status; the task that takes it over runs each 10 ms
SLOW_ms = 100           # period of the task that reads the gas sensor
_START_ms = 200         # of the causes: the schedule has settled
_SHIFTS_ms = (0, 3, 6, 7, 8)    # of AFE and PCS against the scan: of all ten those that make the slowest rows, and two
# causes after what they just miss: a sample or a status, the answers of the AFE; each with a scan before it or without
_SAMPLE_ms, _CELLS_SAID_ms, _TEMPS_SAID_ms = (1, SCAN_ms + 1), (12, SCAN_ms + 12), (21, SCAN_ms + 21)
_LONGEST_ms = 3000
CHECK_ms = 10_000       # period of the AFE's check of its wires, and of the collection that takes the config's CRC
RUNAWAY_ms = 4_000      # 3 s of rise in steps of half a second, the first and the last of them cut


@dataclass
class World:
    """What is true at the rack, before any sensor: a change here is the cause."""

    rig: Rig
    current_dA: int = 0
    in_bits: int = 0
    slow: dict[int, int] = field(default_factory=lambda: {I.GAS_mV: 0})     # what the slow task reads
    late_ms: int = 0
    waits: bool = False
    cell: int | None = None
    heat_ddegC: int = 0
    one_ddegC: int = 0      # heat at one sensor
    broken: int = 0         # sensors
    silent: str = ""


@dataclass(frozen=True)
class Fault:
    """A row: what happens, the alarm that answers, its bar in ms, and foxBMS 2's time for comparison.

    hardware_us: to the open command without the scan, 0 none. after_ms: when it comes after the begin of an AFE
    period or a status, () when it only minds the scan. played: set and clear value that the row is played with, without
    its debounce, which is added; None: it is played as configured. wait_ms: until the cause is looked at, added too.
    """

    text: str
    key: str
    cause: Callable[[World], None]
    bar_ms: int | None = None
    foxbms: str = ""
    hardware_us: int = 0
    after_ms: tuple[int, ...] = ()
    start_ddegC: int = 250
    played: tuple[int, int] | None = None
    wait_ms: int = 0


def _set(**changes: object) -> Callable[[World], None]:
    def cause(world: World) -> None:
        for name, value in changes.items():
            setattr(world, name, value)

    return cause


def _signal(signal: int, change: int) -> Callable[[World], None]:
    """A signal of the process image moves."""

    def cause(world: World) -> None:
        world.rig.s[signal] += change

    return cause


def _spent(world: World) -> None:
    """The whole budget of an overload is used up, and more than a scan without current would take back."""
    used = world.rig.c.current._charge._w
    used[2] = 2 * used[1]


def _open(bit: int) -> Callable[[World], None]:
    def cause(world: World) -> None:
        world.in_bits &= ~bit

    return cause


FAULTS = (
    Fault("interlock (HVIL) opens", "hvil", _open(IN_HVIL), 10, "–", HARDWARE_us),
    Fault("emergency stop", "estop", _open(IN_ESTOP), 10, "–", HARDWARE_us),
    Fault("over-current alert, or its wire broken", "oc_alert", _open(IN_OC_OK), 10, "–", HARDWARE_us),
    Fault("over-current, discharge", "discharge_current_trip", _set(current_dA=3900), 20, "200", ALERT_us),
    Fault("over-current, charge", "charge_current_trip", _set(current_dA=-3900), 20, "200", ALERT_us),
    Fault("cell over-voltage", "cell_high_trip", _set(cell=3700), 150, "700", after_ms=_SAMPLE_ms),
    Fault("cell under-voltage", "cell_low_trip", _set(cell=2400), 150, "700", after_ms=_SAMPLE_ms),
    Fault("over-temperature", "hot_trip", _set(heat_ddegC=15), 500, "6 000", after_ms=_SAMPLE_ms, start_ddegC=590),
    Fault("under-temperature", "cold_trip", _set(heat_ddegC=-15), 500, "6 000", after_ms=_SAMPLE_ms, start_ddegC=-190),
    Fault("cell voltages not read (AFE)", "cells_lost", _set(silent="cells"), 200, "150", after_ms=_CELLS_SAID_ms),
    Fault("temperatures not read (AFE)", "temps_lost", _set(silent="temps"), None, "150", after_ms=_TEMPS_SAID_ms),
    Fault("current sensor silent", "current_lost", _set(silent="current"), 100, "1 200"),
    Fault("PCS silent", "pcs_lost", _set(silent="pcs"), 300, "1 200", after_ms=_SAMPLE_ms),
    Fault("open cell wire", "wire_trip", _set(cell=-1), None, "", after_ms=_SAMPLE_ms),
    Fault("gas", "gas_trip", _set(slow={I.GAS_mV: 2500}), None, ""),
    Fault("task overrun", "late_trip", _set(waits=True), None, ""),
    Fault("overload (I²t), budget used up", "charge_i2t_trip", _spent, wait_ms=CURRENT_ms),
    Fault("charging too hot", "charge_hot_trip", _set(heat_ddegC=15, current_dA=-500), after_ms=_SAMPLE_ms,
          start_ddegC=590),
    Fault("charging too cold", "charge_cold_trip", _set(heat_ddegC=-15, current_dA=-500), after_ms=_SAMPLE_ms,
          start_ddegC=10),
    Fault("cells too far apart", "spread_trip", _set(cell=3400), after_ms=_SAMPLE_ms, played=(100, 50)),
    Fault("temperatures too far apart", "temp_spread_trip", _set(one_ddegC=80), after_ms=_SAMPLE_ms, played=(50, 20)),
    Fault("cell sum contradicts rack voltage", "sum_trip", _signal(I.RACK_dV, -500), played=(408, 200)),
    Fault("too many temperature sensors lost", "sensor_trip", _set(broken=12), after_ms=_SAMPLE_ms, played=(10, 6)),
    Fault("thermal runaway, rise and witness", "runaway_trip", _signal(I.RUNAWAY, 2),
          wait_ms=RUNAWAY_ms + 100 + TEMPS_ms),
    Fault("controller too hot", "board_trip", _set(slow={I.GAS_mV: 0, I.BOARD_ddegC: 900}), played=(850, 750)),
    Fault("insulation fault, once told", "insulation_trip", _signal(I.INSULATION_KOHM, -999_900), played=(150, 300)),
    Fault("main contact falls open", "stuck", _open(IN_AUX_POS)),
    Fault("open cell wire, the AFE's own check", "wire_check_trip", _set(slow={I.WIRE_CHECK: 7}), wait_ms=CHECK_ms),
    Fault("config damaged in memory", "config_bad", _signal(I.CONFIG_BAD, 1), wait_ms=CHECK_ms),
)

# The other trips, and why they have no row: they do not open a closed rack first.
NO_ROW = {
    "deep_discharge": "`cell_low_trip` has opened long before; it latches beyond that",
    "current_bad": "a reading beyond the sensor's range is an over-current first",
    "discharge_i2t_trip": "as `charge_i2t_trip`",
    "welded": "found after the open command",
    "precharge_fast_trip": "found while closing; the failed precharge itself has taken the coils off",
    "precharge_slow_trip": "the same",
    "time_trip": "the first scan after the gap; the dead-man has opened after its window",
}


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
        """ms from the cause to the end of the scan that opens. collect_after: number of a scan, -1 no collection."""
        self.collect_after = collect_after
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
        for age in (I.CELLS_AGE_ms, I.TEMPS_AGE_ms, I.CURRENT_AGE_ms, I.PCS_AGE_ms):
            s[age] += 1
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
            rig.s[I.CELLS_AGE_ms] = 0
        if self._read_ms >= TEMPS_ms and not self._temps_here and "temps" in self._answered:
            self._temps_here = True
            for n, ddegC in enumerate(self._sampled[1]):
                rig.c.temps_ddegC[n] = ddegC
            rig.c.temps_arrived()
            rig.s[I.TEMPS_AGE_ms] = 0
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
                s[I.PCS_AGE_ms] = 0
        if now >= self._slow_due:
            self._slow_due += SLOW_ms
            for signal, value in self.world.slow.items():
                s[signal] = value

    def _scan(self, now: int) -> None:
        """What it decides is out at its end. A scan that was missed is not made up for."""
        rig, s, world = self.rig, self.rig.s, self.world
        self._scan_due = now - now % PERIOD_ms + PERIOD_ms
        self._collects_from = self._busy_until = now + SCAN_ms
        if self.scans == self.collect_after:
            self._busy_until += COLLECT_ms
        self.scans += 1
        if world.silent != "current":
            s[I.CURRENT_AGE_ms] = 0
            s[I.CURRENT_dA] = world.current_dA if now - self._caused >= CURRENT_ms else 0
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
    def play(collect_after: int) -> tuple[int, int]:
        board = copy.deepcopy(settled)
        if fault.played:
            at = 4 * (code_of(fault.key) - 1)
            levels = board.rig.params.alarms_levels
            levels[at], levels[at + 1], levels[at + 2] = *fault.played, 0
        ms = board.react(fault, cause_ms, collect_after)
        first = ROWS[board.rig.s[I.TRIP_CODE] - 1][0]
        assert first == fault.key, f"{fault.text}: {first} came first"
        return ms, board.scans

    ms, scans = play(-1)
    at = cause_ms // PERIOD_ms
    around = {at - 2, at - 1, at, *range(scans - 4, scans)}
    return [ms, *(play(number)[0] for number in sorted(around))]


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
`python tests/control/reaction_times.py`; a test fails when a row becomes slower than its bar or than this page.

Counted in:

* a scan each {PERIOD_ms} ms that takes {SCAN_ms} ms and finds another task running when it is due, for {SLICE_ms} ms
  more: a slice of the AFE, the CAN controller, the memory, or of an answer on the console;
* one collection of {COLLECT_ms} ms, wherever in the reaction it does most harm. It begins right after a scan, so
  the next scan is late by {SCAN_ms} + {COLLECT_ms} - {PERIOD_ms} = {LATE_ms} ms; what AFE, PCS or gas sensor have said
  meanwhile is taken over after that scan. Two collections are half a second apart (`rack/app.py`), so only a row
  slower than that could meet two;
* the AFE period of 100 ms, {CELLS_ms} ms until voltages and {TEMPS_ms} ms until temperatures are taken over
  (slices of {TAKE_OVER_ms} ms included), a PCS status each {STATUS_ms} ms that waits up to {PERIOD_ms} ms for its task,
  the gas sensor each {SLOW_ms} ms;
* {CURRENT_ms} ms of current conversion: a reading counts when a whole conversion of the shunt ({CONVERSION_us} µs)
  has begun after the cause and ended.

{SCAN_ms}, {SLICE_ms}, {TAKE_OVER_ms} and {COLLECT_ms} ms are the bars of `scan_10ms_us_max`, `scan_wait_us_max`,
`afe_longest_slice_us` and `gc_collect_ms` in `make bench`, which measures them on the emulated board with the largest
rack; a board that misses one has slower rows than this page says. Not counted: the shunt's and the sensor's tolerance,
answers that were damaged on a bus and are asked for again, the proof of a `service` or `unlock` key, and a collection
that MicroPython begins by itself because the heap is full (`heap_free_bytes` says how far away that is).

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
    others = "".join(f"| `{key}` | {why} |\n" for key, why in NO_ROW.items())
    return _HEAD + "".join(rows) + "\nTrips without a row, as they do not open a closed rack first:\n\n" + (
        "| alarm | because |\n|---|---|\n" + others
    )


if __name__ == "__main__":
    Path(DOC).write_text(table(measure()), encoding="utf-8")
