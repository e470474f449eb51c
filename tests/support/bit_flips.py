"""Flips of single bits in the arrays of the control core of a closed rack, and the dangers that it must still see.

The rack is the bench rack on the values face. After a flip the rack runs for BLIND_MAX_ms; then each danger begins in
a copy. A flip leaves the rack blind if a danger does not release the coils in time.
"""

import copy
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from rack.control.controller import Controller
from rack.definitions.codes import CMD_CLOSE, STATE_CLOSED
from rack.generated import alarm_levels as L
from rack.generated import ids as I

BLIND_MAX_ms = 10_100  # a check of the whole memory each 10 s, and ten scans
_SPARE_ms = 120  # beyond the time of the undisturbed rack: one AFE period and two scans
_LONGEST_ms = 3_000
_PARAMS = load_params("bench_rack")
_ROW = L.WIDTH * (I.ALARM_DISCHARGE_CURRENT_TRIP - 1)
OVER_A = 1.1 * _PARAMS.alarms_levels[_ROW + L.SET] / 10
DANGERS = ("over-voltage", "over-temperature", "over-current", "interlock")


@dataclass(frozen=True)
class Place:
    """One array of the control core by its path of attributes, with the number of its words."""

    path: str
    words: int
    bits: int


def closed_rack() -> CpythonHost:
    """A closed rack at rest, with its arrays as they are after some seconds."""
    params = load_params("bench_rack")
    host = CpythonHost(Rack.from_params(params, soc=0.5), Controller(params))
    host.run_to(1_000_000)
    host.controller.command(CMD_CLOSE)
    host.run_to(5_000_000)
    assert host.controller.s[I.STATE] == STATE_CLOSED
    return host


def places(controller: Controller) -> list[Place]:
    """Every array that the control core and its parameters hold."""
    return [Place(path, len(found), 8 * found.itemsize) for path, found in _arrays(controller, "", set())]


def _arrays(holder: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(holder) in seen:
        return
    seen.add(id(holder))
    if isinstance(holder, bytearray):
        holder = memoryview(holder)
    if isinstance(holder, array | memoryview):
        yield path, holder
    elif isinstance(holder, list | tuple):
        for at, each in enumerate(holder):
            yield from _arrays(each, f"{path}[{at}]", seen)
    elif type(holder).__module__.startswith("rack."):
        for name, each in vars(holder).items():
            yield from _arrays(each, f"{path}.{name}", seen)


def flip(controller: Controller, place: Place, word: int, bit: int) -> None:
    """Invert one bit; the highest one is the sign."""
    found = dict(_arrays(controller, "", set()))[place.path]
    value = found[word] ^ (1 << bit)
    if isinstance(found, array):
        limit = 1 << (8 * found.itemsize - 1)
        value = (value + limit) % (2 * limit) - limit
    found[word] = value


def drawn(random: Random, controller: Controller) -> tuple[Place, int, int]:
    """A place, a word and a bit: every word of the core has the same chance."""
    every = places(controller)
    place = random.choices(every, [each.words for each in every])[0]
    return place, random.randrange(place.words), random.randrange(place.bits)


def begin(host: CpythonHost, danger: str) -> None:
    """Let a danger begin now."""
    rack = host.rack
    if danger == "over-voltage":
        rack.start_fault("cell_offset", 5, 2.0)
    elif danger == "over-current":
        rack.start_fault("current_stuck", 0, OVER_A)
    elif danger == "interlock":
        rack.start_fault("hvil_open")
    else:
        rack.heat.surface_degC[:] += 8.0  # again in each AFE period: a faster rise counts as a broken sensor


def opens_after_ms(host: CpythonHost, danger: str, longest_ms: int = _LONGEST_ms) -> int | None:
    """Time in ms from the danger to the controller's release of the coils, None if it takes longer."""
    start_us = round(host.rack.now_us)
    for ms in range(0, longest_ms, 10):
        if ms == 0 or (danger == "over-temperature" and ms % 100 == 0 and ms < 1000):
            begin(host, danger)
        host.run_to(start_us + (ms + 10) * 1000)
        if not host.controller.s[I.COILS]:
            return ms + 10
    return None


def times_ms(host: CpythonHost) -> dict[str, int | None]:
    """Time of each danger on a copy of the rack."""
    return {danger: opens_after_ms(copy.deepcopy(host), danger) for danger in DANGERS}


def blind_to(host: CpythonHost, place: Place, word: int, bit: int, healthy_ms: dict[str, int | None]) -> list[str]:
    """Dangers that the rack does not see in time after this flip.

    An exception ends the application on the board, and its dead-man opens.
    """
    hurt = copy.deepcopy(host)
    flip(hurt.controller, place, word, bit)
    missed = []
    try:
        hurt.run_to(hurt.rack.now_us + BLIND_MAX_ms * 1000)
        if not hurt.controller.s[I.COILS]:
            return []
        for danger in DANGERS:
            allowed_ms = (healthy_ms[danger] or 0) + _SPARE_ms
            if opens_after_ms(copy.deepcopy(hurt), danger, allowed_ms) is None:
                missed.append(danger)
    except IndexError as error:
        if "tuple" in str(error):  # raised on the board too
            return []
        return [f"index: {error}"]  # a kernel on the board would read or write beyond its array
    except (OverflowError, ZeroDivisionError):
        return []
    return missed
