"""Ten years of daily power cycles: retained data neither drifts nor overflows, and the FRAM does not wear out.

A day is some seconds that represent it: a start, a discharge and a charge, on some days a trip, and a loss of power.
The code of storage/ runs as it is, on the model of the chip.
"""

from array import array

import pytest
from halite.chips.fram import ENDURANCE, Fram
from halite.hosts.controller_rig import Rig
from rack.definitions.alarms import code_of
from rack.definitions.codes import CMD_RESET, IN_ESTOP, REASON_POWER
from rack.generated import ids as I
from rack.generated import retained_words as W
from rack.storage.retention import RetainedStore
from support.wires import I2c

DAYS = 3652
YEARS_10_s = DAYS * 86_400
TRIP_EACH, CUT_EACH = 61, 7         # days
WORK_dA, CUT_dA = 117, 53           # current of the day, and at a loss of power
STEP_ms = 997                       # leaves a remainder in the count of each step
SAVE_s = 6                          # a change is saved within 5 s and some polls


class Day(Rig):
    """A controller with its storage, from power-on. Each scan is followed by the polls of its time, each 20 ms."""

    def __init__(self, chip: Fram, now_ms: int = 0) -> None:
        super().__init__("bench", now_ms, contactor_trips_s=60, rack_auto_close=0)
        self.store = RetainedStore(I2c(chip), self.c)
        self.store.start(REASON_POWER, -1)
        self.polled_ms = 0
        self.scan()     # the first scan counts no time

    def scan(self, dt: int = 10) -> None:
        super().scan(dt)
        if self.store.busy():
            self.store.scan(self.now_ms)
        while self.polled_ms <= self.ms:
            self.polled_ms += 20
            self.store.poll(self.ms * 1000)

    def draw(self, dA: int, steps: int) -> None:
        """Let a current flow for some steps of about a second."""
        self.s[I.CURRENT_dA] = dA
        for _ in range(steps):
            self.scan(STEP_ms)

    def rest(self) -> None:
        """Let no current flow until the last change is saved. The storage polls go on without scans."""
        self.draw(0, 1)
        for _ in range(50 * SAVE_s):
            self.store.poll(self.ms * 1000)

    def trip(self) -> None:
        """Close the rack, and open it by the emergency stop."""
        self.close()
        self.in_bits &= ~IN_ESTOP
        self.run(300)
        self.in_bits |= IN_ESTOP

    def acknowledge(self) -> None:
        """Let an operator reset the trip, and wait until it is forgiven."""
        self.run(700)   # the clear time of `estop`, before which a reset is refused
        assert self.s[I.TRIP_CODE] == code_of("estop")
        assert self.c.command(CMD_RESET) == 0
        self.draw(0, 65)
        self.run(90)    # each slot of the scan
        assert self.s[I.TRIPS] == 0


class Decade:
    """The days one after the other, and the values that last over the nights. lost_dAs: lost by cuts under load."""

    def __init__(self) -> None:
        self.chip = Fram()
        self.now_ms = self.heads = self.cuts = self.trips = 0
        self.kept: list[int] = []
        self.moved_dAms = 0
        self.lost_dAs = 0

    def run(self, number: int) -> None:
        """Let a day pass and check its beginning against the day before."""
        self.chip.power_cycle()
        day = Day(self.chip, self.now_ms)
        if number:
            self._check(day, number)
        if day.s[I.TRIPS]:
            day.acknowledge()
        self._work(day, number)
        if number % TRIP_EACH == TRIP_EACH - 1:
            day.trip()
            self.trips += 1
        is_cut = number % CUT_EACH == CUT_EACH - 1
        if is_cut:
            self._cut(day, number)
        else:
            day.rest()
        assert day.s[I.FRAM_BAD] == day.store.lost == 0 or is_cut
        self.kept = list(day.c.retained)
        self.heads, self.now_ms = day.store.log.head, day.now_ms

    def _work(self, day: Day, number: int) -> None:
        for dA in (WORK_dA, -WORK_dA) if number % 2 else (-WORK_dA, WORK_dA):
            day.draw(dA, 1)

    def _cut(self, day: Day, number: int) -> None:
        """End the supply at some byte of a save under load."""
        self.chip.cut_after = number % 60
        day.draw(CUT_dA if number % 2 else -CUT_dA, SAVE_s)
        self.cuts += 1

    def _check(self, day: Day, number: int) -> None:
        words = day.c.retained
        assert day.store.log.boot == number + 1
        if number % CUT_EACH:
            assert list(words) == self.kept and day.store.log.head == self.heads
            return
        lost_dAs = words[W.CHARGE_dAs] - self.kept[W.CHARGE_dAs]
        assert abs(lost_dAs) <= CUT_dA * SAVE_s + WORK_dA
        assert self.heads - 1 <= day.store.log.head <= self.heads
        self.lost_dAs += lost_dAs


@pytest.fixture(scope="module")
def decade() -> Decade:
    """Ten years, day by day."""
    days = Decade()
    for number in range(DAYS):
        days.run(number)
    return days


def test_each_day_begins_where_the_last_one_ended(decade: Decade) -> None:
    """Words, trip, log and number of the start; `Decade` checks each day. Here: those days had their events."""
    assert decade.cuts == DAYS // CUT_EACH and decade.trips == DAYS // TRIP_EACH
    assert len(decade.kept) == W.WORDS
    log = Day(decade.chip).store.log
    assert log.boot == DAYS + 1
    records = [log.read(sequence) for sequence in range(log.oldest() + 1, log.head)]
    assert log.head > 3 * 1020 and all(records)
    boots = [record[1] for record in records]
    assert boots == sorted(boots) and boots[-1] == DAYS


def test_the_charge_does_not_drift(decade: Decade) -> None:
    """Each power cycle loses a remainder below 0.1 As; a cut under load loses the charge since the last save."""
    start_dAs = Rig("bench").c.retained[W.CHARGE_dAs]
    counted_dAs = decade.kept[W.CHARGE_dAs] - start_dAs - decade.lost_dAs
    cuts_dAs = sum((-1 if number % 2 else 1) * CUT_dA * SAVE_s * STEP_ms // 1000
                   for number in range(CUT_EACH - 1, DAYS, CUT_EACH))  # fmt: skip
    assert abs(counted_dAs - cuts_dAs) <= DAYS
    moved_dAs = decade.kept[W.OUT_Ah] * 36_000 + decade.kept[W.OUT_dAs]
    came_dAs = decade.kept[W.IN_Ah] * 36_000 + decade.kept[W.IN_dAs]
    work_dAs = WORK_dA * STEP_ms // 1000
    least_dAs, most_dAs = (DAYS - decade.cuts) * work_dAs - DAYS, DAYS * (work_dAs + 1) + decade.cuts * CUT_dA * SAVE_s
    assert least_dAs <= moved_dAs <= most_dAs and least_dAs <= came_dAs <= most_dAs
    assert decade.kept[W.SOH_cpct] == 10_000


def test_no_cell_of_the_fram_wears_out() -> None:
    """Ten years with a save each 5 s and an alarm that comes or goes each second take below 0.01 % of the endurance."""
    chip, minutes = Fram(), 10
    day = Day(chip)
    for second in range(minutes * 60):
        day.s[I.GAS_mV] = 900 if second % 2 else 0
        day.draw(-100 if second % 20 < 10 else 100, 1)
    assert chip.writes > minutes * 60 / 5 * 40
    worst = max(chip.wear) * YEARS_10_s / (minutes * 60)
    print(f"accesses of the worst byte in ten years: {worst:.2e}, {worst / ENDURANCE:.1e} of the endurance")
    assert 10**6 < worst < ENDURANCE / 10_000


def test_ten_years_of_full_current_fit_into_the_counters() -> None:
    """2000 A in each direction for all the time: signals stay within 31 bits, and a restart accepts the words."""
    most_Ah = 2000 * YEARS_10_s // 3600
    rig = Rig("bench")
    words = array("i", rig.c.retained)
    words[W.IN_Ah] = words[W.OUT_Ah] = most_Ah
    rig.c.restore(words)
    for dA in (20_000, -20_000):
        rig.s[I.CURRENT_dA] = dA
        for _ in range(30):
            rig.scan(1000)
    assert rig.s[I.CHARGED_Ah] > most_Ah and rig.s[I.DISCHARGED_Ah] > most_Ah
    assert all(-(2**30) < value < 2**30 for value in rig.s)
    again = Rig("bench")
    again.c.restore(rig.c.retained)
    assert list(again.c.retained)[W.IN_dAs : W.SOH_cpct] == list(rig.c.retained)[W.IN_dAs : W.SOH_cpct]
