"""The note of an opening, and a blank FRAM: a supply that ends with the trip must not lose the latch."""

import pytest
from halite.chips.fram import Fram as Chip
from halite.config import load_params
from halite.hosts.controller_rig import HEALTHY
from rack.control.controller import Controller
from rack.definitions.alarms import code_of
from rack.definitions.codes import (
    BY_CONSOLE,
    BY_EMS,
    CMD_CLOSE,
    CMD_RESET,
    REASON_POWER,
    REFUSED_HELD,
)
from rack.generated import ids as I
from rack.storage.retention import BAD_LOST, RetainedStore
from support.wires import I2c

ESTOP = code_of("estop")
LFP = load_params("lfp_rack")


class Kept:
    """A controller without a rack, and its store."""

    def __init__(self, content: bytes | None = None, commissioned: bool = False) -> None:
        self.chip = Chip(content)
        self.c = Controller(LFP)
        self.store = RetainedStore(I2c(self.chip), self.c)
        self.store.start(REASON_POWER, -1, commissioned)
        self.c.s[I.IN_bits] = HEALTHY
        self.now_ms = 0
        self.run(40)

    def run(self, scans: int) -> None:
        """Scans of 10 ms, a poll of the store with each second one."""
        for _ in range(scans):
            self.c.scan(self.now_ms)
            if self.now_ms % 20 == 0:
                self.store.poll(self.now_ms * 1000)
            self.now_ms += 10

    def trip(self) -> None:
        """Latch an emergency stop in a scan, as the scan task does before the coils drop."""
        self.c.alarms.latch(ESTOP)
        self.c.scan(self.now_ms)
        self.store.note_opening(0)

    def restarted(self) -> "Kept":
        return Kept(bytes(self.chip.content), True)


@pytest.mark.parametrize("polls", range(5))
def test_the_note_holds_the_trip_at_every_step_of_a_save(polls: int) -> None:
    """The supply ends with the coils, at every step of a save that had begun before: the trip stays latched."""
    rack = Kept()
    rack.c.contactors.open()                # a change that the store begins to save
    rack.c.keep()
    for _ in range(polls):
        rack.store.poll(0)
    rack.trip()
    assert rack.restarted().c.s[I.TRIP_CODE] == ESTOP


@pytest.mark.parametrize("later", range(8))
def test_the_note_holds_the_trip_until_it_is_saved(later: int) -> None:
    """The supply ends some polls of the store later, in the middle of saving the trip: it stays latched."""
    rack = Kept()
    rack.c.contactors.open()
    rack.c.keep()
    rack.store.poll(0)                      # staged before the trip
    rack.trip()
    for _ in range(later):
        rack.store.poll(0)
    assert rack.restarted().c.s[I.TRIP_CODE] == ESTOP


@pytest.mark.parametrize("cut_after", range(14))
def test_a_cut_note_is_not_used(cut_after: int) -> None:
    """A note that the supply has cut at any byte is ignored, and the words before it are used."""
    rack = Kept()
    rack.chip.cut_after = cut_after
    rack.trip()
    rack.chip.power_cycle()
    again = rack.restarted()
    assert again.c.s[I.TRIP_CODE] == 0 and again.store.bad == 0


def test_an_old_note_does_not_latch_again() -> None:
    """After the reset is saved, the note of the trip has no effect."""
    rack = Kept()
    rack.trip()
    rack.run(200)
    assert rack.c.command(CMD_RESET, BY_CONSOLE) == 0
    rack.run(200)
    assert rack.c.s[I.TRIP_CODE] == 0
    again = rack.restarted()
    assert again.c.s[I.TRIP_CODE] == 0
    assert again.restarted().c.s[I.TRIP_CODE] == 0


def test_a_blank_fram_is_new_on_a_new_board_only() -> None:
    """On a board that has run before, a blank FRAM is lost data: only a person at the rack closes."""
    new = Kept()
    assert new.store.bad == 0 and new.c.contactors.wanted
    for content in (None, bytes(new.chip.content[:92]).ljust(len(new.chip.content), b"\0")):
        used = Kept(content, commissioned=True)
        lost = content is None
        assert used.store.bad == (BAD_LOST if lost else 0)
        assert used.c.contactors.wanted != lost
        assert (used.c.command(CMD_CLOSE, BY_EMS) == REFUSED_HELD) == lost
    used = Kept(commissioned=True)
    assert not used.store.acknowledge(BY_EMS) and used.store.bad == BAD_LOST
    again = used.restarted()                # the next start reads intact data, and waits too
    assert again.c.contactors.held and not again.c.contactors.wanted
    assert used.store.acknowledge(BY_CONSOLE) and used.store.bad == 0
    assert not used.store.acknowledge(BY_CONSOLE)
