"""The ten recorded scenarios of rule R2: one list for CPython, for the unix port and for the emulated board.

Each is a shipped scenario (`board_configs/scenarios`) up to its decision. A scan runs each 10 ms around that decision
and each 50 ms elsewhere, so that the chip can replay all ten. The millisecond clock wraps at 2**30 in each record.
A record uses a small rack if the large rack tests the same.
"""

from pathlib import Path
from typing import Any, NamedTuple

from halite.config import RackConfig, load
from halite.scenarios import scenario
from rack.definitions.alarms import code_of
from rack.generated import ids as I

from support.recording import record

FINE_ms, COARSE_ms = 10, 50
_START_ms = (1 << 30) - 2_000  # so that the clock wraps two seconds later


class Recorded(NamedTuple):
    """A part of a scenario that is recorded.

    close: (from, to) in ms. A scan runs each FINE_ms in this time. The record ends with it.
    trip: the trip that is latched at the end. It is "" if the rack requests power instead, None if a precharge failed.
    start: start values that differ from those of the scenario.
    """

    config: str
    close: tuple[int, int]
    trip: str | None
    start: tuple[tuple[str, float], ...] = ()


SCENARIOS = {
    "afe_lost": Recorded("sodium_rack", (3_500, 3_750), "cells_lost"),
    "cold_start": Recorded("sodium_rack", (3_600, 3_850), ""),
    "demo": Recorded("lfp_rack", (4_000, 4_250), "hot_trip"),
    "gb_2019": Recorded("bench_rack", (5_500, 6_000), ""),
    "hvil_open": Recorded("bench_rack", (3_450, 3_600), "hvil"),
    "overvoltage": Recorded("lfp_rack", (3_550, 3_700), "cell_high_trip"),
    "pcs_silent": Recorded("bench_rack", (3_650, 3_800), "pcs_lost"),
    "precharge_leak": Recorded("bench_rack", (1_450, 1_750), None),
    "runaway": Recorded("sodium_rack", (10_150, 10_300), "runaway_trip", (("temp_degC", 50), ("ambient_degC", 45))),
    "weld": Recorded("bench_rack", (2_950, 3_400), "welded"),
}


def config_of(name: str) -> RackConfig:
    return load(SCENARIOS[name].config)


def record_of(name: str) -> bytes:
    """Return the record of a scenario for CPython, the unix port and the board."""
    what = SCENARIOS[name]
    shipped = scenario.load(name)
    script = shipped.model_copy(
        update={"duration_ms": what.close[1], "start": shipped.start.model_copy(update=dict(what.start))}
    )

    def step_ms(now_ms: float) -> int:
        return FINE_ms if what.close[0] <= now_ms else COARSE_ms

    return record(script, config_of(name).path, _START_ms, step_ms)


def second(config: str) -> bytes:
    """Return the record of one second at the config's own scan period, with inputs of every kind."""
    return record(scenario.load(Path(__file__).parent / "second.toml"), load(config).path)


def has_decided(controller: Any, name: str) -> bool:
    """True if the rack has made the decision of this scenario at the end of its record."""
    trip = SCENARIOS[name].trip
    s = controller.s
    if trip is None:
        return bool(s[I.PRECHARGE_SLOW])
    return bool(s[I.TRIP_CODE] == code_of(trip) if trip else s[I.REQUEST_W] and not s[I.TRIP_CODE])
