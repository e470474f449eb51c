"""Weeks without a reset: no number of the application grows out of 31 bits.

A small integer of the board ends at 2**30. The next one is an allocation, which ends the application while its heap is
locked. This test finds the numbers that only grow, moves each of them to the end of its range and runs on.
"""

import re

from halite.common.paths import BOARD_CONFIGS
from halite.hosts.unix_port import UnixPort
from rack.base.clock import TICKS_MASK
from rack.definitions.codes import COIL_NEG, COIL_POS
from rack.generated.ids import INSULATION_AGE_ms, WIRE_CHECK_AGE_ms
from rack.generated.recorder_state import SINCE

# The clocks wrap during the search, so that they fall. A count rises at each look.
START_us = 2**30 * 1000 - 1_900_000
BEGIN_ms, EACH_ms, LOOKS = 1_000, 270, 9
# The simulated time of the unix port; the CRC of the config; what has an end: entries of a trace since its trigger, and
# ages, which open the rack when they are old
NO_COUNT = {"now_us", "_start_us", "config_crc", ("_m", SINCE), ("_s", INSULATION_AGE_ms), ("_s", WIRE_CHECK_AGE_ms)}

LOOK = """
from array import array

def integers(root):
    found, seen, todo = {}, set(), [("app", root)]
    while todo:
        path, thing = todo.pop()
        if id(thing) in seen or isinstance(thing, (str, bytes, bytearray)):
            continue
        seen.add(id(thing))
        if isinstance(thing, (list, tuple, array)):
            inside = enumerate(thing) if not (isinstance(thing, tuple) and thing and type(thing[0]) is int) else ()
        else:
            inside = getattr(thing, "__dict__", {}).items()
        for at, value in inside:
            if type(value) is int:
                if at not in NO_COUNT and (path[-2:], at) not in NO_COUNT:
                    found[(path, at)] = (thing, at, value)
            elif type(value) not in (bool, float, type(None)):
                todo.append((path + "." + str(at), value))
    return found

class Age:
    looks = 0

    def look(self, now_us):
        self.looks += 1
        if self.looks == LOOKS + 2:
            print("END")
        if self.looks > LOOKS + 2:
            return
        found = integers(app)
        if self.looks == 1:
            self.grow = set(found)
        elif self.looks < LOOKS:
            self.grow = set(key for key in self.grow if key in found and found[key][2] > self.last[key])
        elif self.looks == LOOKS:
            for key in self.grow:
                thing, at, _ = found[key]
                print("GROWS", *key)
                if isinstance(at, str):
                    setattr(thing, at, 2**30 - 2)
                else:
                    thing[at] = 2**30 - 2
        else:
            for key in found:
                if not -2**30 <= found[key][2] < 2**30:
                    print("WIDE", *key)
        self.last = {key: found[key][2] for key in found}

app.scheduler.add(9, "age", Age().look, period_us=EACH, budget_us=500_000, phase_us=BEGIN, background=True)
"""


def test_no_number_grows_out_of_31_bits() -> None:
    """Neither a count of the control core nor one of tasks, drivers, links and storage, on a closed rack."""
    look = LOOK.replace("NO_COUNT", repr(NO_COUNT)).replace("LOOKS", str(LOOKS))
    look = look.replace("EACH", str(1000 * EACH_ms)).replace("BEGIN", str(1000 * BEGIN_ms))
    with UnixPort(BOARD_CONFIGS / "bench_rack.toml", start_us=START_us, prepare=look) as board:
        board.run_for(900)
        board.send("close\n")
        board.run_for(BEGIN_ms - 900 + EACH_ms * (LOOKS + 3))
        console = board.console.decode()
        assert re.findall("^WIDE.*", console, re.MULTILINE) == []
        assert "END" in console and "standby:" not in console and board.coils == COIL_NEG | COIL_POS
    assert len(re.findall("^GROWS", console, re.MULTILINE)) >= 10
    assert START_us + 1000 * BEGIN_ms < (TICKS_MASK + 1) * 1000 < START_us + 1000 * (BEGIN_ms + EACH_ms * (LOOKS - 2))
