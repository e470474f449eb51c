"""Rules R2 and R3: the control core decides the same on CPython and MicroPython, and allocates nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from halite.build import sources
from halite.config import compile_config, load, load_params
from halite.simulator import scenario

HERE = Path(__file__).parent
CELLS = 1  # opcode of replay.py


def digests_on_cpython(record: bytes, config: str) -> list[str]:
    import io

    from rack.control.controller import Controller
    from recording import INPUT_SIGNALS
    from replay import replay

    return [
        f"{crc:08x}" for crc in replay(Controller(load_params(load(config).path)), io.BytesIO(record), INPUT_SIGNALS)
    ]


def second(config: str) -> bytes:
    """The recorded second; tests/board replays the same one on the chip."""
    from recording import record

    return record(scenario.load(HERE / "second.toml"), load(config).path)


def replay_code(config: Path, record: Path, locked: bool) -> str:
    from recording import INPUT_SIGNALS

    return f"import replay\nreplay.run({str(config)!r}, {str(record)!r}, {INPUT_SIGNALS}, {locked})"


def test_every_module_of_the_build_imports_on_the_unix_port(on_unix: Callable[[str], str]) -> None:
    """All but those that need the chip; an import that a board would miss fails here."""
    from halite.build import HOST_ONLY

    chip = ("boot.py", "main.py", "rack/ports/")
    names = [name for name, _ in sources() if name not in HOST_ONLY and not name.startswith(chip)]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
    assert "rack.control.controller" in modules
    code = "\n".join(f"import {module}" for module in modules) + "\nprint('imported')"
    assert on_unix(code).strip() == "imported"


@pytest.mark.parametrize("config", ["sodium_rack", "lfp_rack", "bench_rack"])
def test_one_second_of_scan_has_the_same_bits_on_cpython_and_unix_under_heap_lock(
    config: str, on_unix: Callable[[str], str], tmp_path: Path
) -> None:
    record = second(config)
    (tmp_path / "second.bin").write_bytes(record)
    (tmp_path / "config.bin").write_bytes(compile_config(load(config)))
    decided = on_unix(replay_code(tmp_path / "config.bin", tmp_path / "second.bin", locked=True)).split()
    assert len(decided) == 100
    assert len(set(decided)) == 100  # every scan changes the image
    assert decided == digests_on_cpython(record, config)


def test_a_changed_input_changes_the_digests() -> None:
    """The digest would not pass anyway: one cell 1 mV higher in the record is seen."""
    record = second("bench_rack")
    changed = bytearray(record)
    changed[record.index(bytes((CELLS,))) + 1] ^= 1
    assert digests_on_cpython(record, "bench_rack") != digests_on_cpython(bytes(changed), "bench_rack")


def test_an_allocation_in_the_scan_would_be_seen(on_unix: Callable[[str], str]) -> None:
    code = "import replay\ntry:\n replay._decide(lambda: [1] * 9, replay.lock)\nexcept MemoryError:\n print('seen')"
    assert on_unix(code).strip() == "seen"


# Each scenario up to the decision that it is there for: ms, and the trip that is latched at the end; "" where power is
# asked for instead, None where a precharge has failed.
SCENARIOS: dict[str, tuple[int, str | None]] = {
    "afe_lost": (5_000, "cells_lost"),
    "cold_start": (8_000, ""),
    "demo": (5_400, "hot_trip"),
    "gb_2019": (20_000, ""),
    "hvil_open": (6_500, "hvil"),
    "overvoltage": (5_000, "cell_high_trip"),
    "pcs_silent": (5_000, "pcs_lost"),
    "precharge_leak": (4_000, None),
    "runaway": (21_000, "runaway_trip"),
    "weld": (5_000, "welded"),
}


def test_every_shipped_scenario_is_one_of_the_ten_that_are_recorded() -> None:
    assert sorted(SCENARIOS) == sorted(path.stem for path in scenario.FOLDER.glob("*.toml"))
    assert len(SCENARIOS) == 10


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_shipped_scenario_has_the_same_bits_on_unix(
    name: str, on_unix: Callable[[str], str], plain: Path, tmp_path: Path
) -> None:
    """With the millisecond clock about to wrap at 2**30."""
    from recording import record

    duration_ms, trip = SCENARIOS[name]
    script = scenario.load(name).model_copy(update={"duration_ms": duration_ms})
    stream = record(script, load("sodium_rack").path, start_ms=(1 << 30) - 2_000)
    (tmp_path / "record.bin").write_bytes(stream)
    decided = on_unix(replay_code(plain / "config.bin", tmp_path / "record.bin", locked=True)).split()
    assert decided == digests_on_cpython(stream, "sodium_rack")
    assert told(stream, trip), "the record ends before what it is recorded for"


def told(stream: bytes, trip: str | None) -> bool:
    """Has the rack of this record decided what its scenario is about?"""
    import io

    from rack import ids as I
    from rack.alarms import code_of
    from rack.control.controller import Controller
    from recording import INPUT_SIGNALS
    from replay import replay

    controller = Controller(load_params(load("sodium_rack").path))
    replay(controller, io.BytesIO(stream), INPUT_SIGNALS)
    s = controller.s
    if trip is None:
        return bool(s[I.PRECHARGE_SLOW])
    return bool(s[I.TRIP_CODE] == code_of(trip) if trip else s[I.REQUEST_W] and not s[I.TRIP_CODE])
