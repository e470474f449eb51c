"""A word that should never change and does: found within ten seconds, wherever it lies."""

from array import array
from random import Random

import pytest
from halite.hosts.controller_rig import Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.protect.memory_guard import MemoryGuard
from rack.generated import ids as I
from support import bit_flips

ROUND_ms = 10_000


def guarded(rig):
    """Every guarded place: (array, word)."""
    tables = [each for each in vars(rig.params).values() if isinstance(each, array)]
    spans = [(each, 0, len(each)) for each in tables] + list(rig.c.fixed())
    return [(words, first, end) for words, first, end in spans if end > first]


@pytest.mark.parametrize("name", ["bench", "sodium", "lfp"])
def test_an_undisturbed_rack_never_reports_its_memory(name):
    """Three rounds over all words, closed or open, with 10 ms and 20 ms scans."""
    for scan_ms in (10, 20):
        rig = Rig(name, rack_scan_ms=scan_ms)
        for _ in range(3 * ROUND_ms // scan_ms):
            rig.c.memory.slot()
        assert rig.s[I.CONFIG_BAD] == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_every_flipped_bit_of_a_table_or_copy_is_found(place, bit):
    """One bit of one guarded word: reported in one round of the controller's own turns."""
    rig = Rig()
    words, first, end = guarded(rig)[place % len(guarded(rig))]
    at = first + place % (end - first)
    words[at] ^= 1 << bit
    for _ in range(ROUND_ms // (8 * rig.params.rack_scan_ms)):
        rig.c.memory.slot()
    words[at] ^= 1 << bit  # other rigs share the tables
    assert rig.s[I.CONFIG_BAD] == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_every_flipped_bit_of_a_parameter_is_found(place, bit):
    """One bit of one scalar of the config, also the sign of a temperature."""
    rig = Rig()
    names = [name for name, value in vars(rig.params).items() if isinstance(value, int)]
    name = names[place % len(names)]
    vars(rig.params)[name] ^= 1 << bit
    for _ in range(ROUND_ms // (8 * rig.params.rack_scan_ms)):
        rig.c.memory.slot()
    assert rig.s[I.CONFIG_BAD] == 1


@pytest.mark.parametrize("scan_ms", [5, 10, 20, 50])
def test_a_round_over_the_largest_rack_stays_below_ten_seconds(scan_ms):
    """A flip right behind the check is found one round later, at every period of the scan."""
    rig = Rig("lfp", rack_scan_ms=scan_ms)
    rig.c.memory.slot()
    vars(rig.params)["cell_series"] ^= 1
    turns = 0
    while not rig.s[I.CONFIG_BAD]:
        rig.c.memory.slot()
        turns += 1
    assert turns * 8 * scan_ms < ROUND_ms


def test_a_guard_of_nothing_but_one_word():
    """The last piece is followed by the first."""
    rig = Rig()
    words = array("i", [7])
    guard = MemoryGuard(type("P", (), {"rack_scan_ms": 10})(), rig.s, ((words, 0, 1),))
    for _ in range(3):
        guard.slot()
    assert rig.s[I.CONFIG_BAD] == 0
    words[0] = 6
    guard.slot()
    assert rig.s[I.CONFIG_BAD] == 1


def test_no_drawn_flip_leaves_a_closed_rack_blind():
    """A sample of the campaign of `make bitflips`: a flip in each array, and drawn ones."""
    host = bit_flips.closed_rack()
    healthy_ms = bit_flips.times_ms(host)
    assert None not in healthy_ms.values()
    random = Random(7)
    every = bit_flips.places(host.controller)
    flips = [(place, random.randrange(place.words), random.randrange(place.bits)) for place in every]
    flips += [bit_flips.drawn(random, host.controller) for _ in range(10)]
    blind = {flip: bit_flips.blind_to(host, *flip, healthy_ms) for flip in flips}  # each on a copy of the rack
    assert {flip: missed for flip, missed in blind.items() if missed} == {}
