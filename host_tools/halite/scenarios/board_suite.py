"""`halite simulate --suite board`: every shipped scenario, complete and unchanged, on the emulated board.

Each run begins with the boot of a rack in the start state of the scenario; time zero is the rack's line `# healthy`.
The suite checks rule R6 from power-on to the end: a flash write while a contact is closed is a failure. The outcome
must keep the promise of the scenario and agree with the control core under CPython (halite.scenarios.outcome).
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from halite.common.errors import HaliteError
from halite.config import RackConfig, load
from halite.emulator.board import EmulatedBoard
from halite.emulator.console_client import ask
from halite.emulator.flash_watch import ClosedWatch
from halite.hosts.application import rack_with_application, requests
from halite.hosts.emulated import EmulatedRack
from halite.hosts.event_log import decoded
from halite.scenarios import cpython_run, emulated_player
from halite.scenarios import scenario as scenarios
from halite.scenarios.observations import of_rack
from halite.scenarios.outcome import PROMISES, Outcome, broken, differences, of_recording, trip_key
from halite.scenarios.scenario import Command, Scenario, StartFault

OUTPUT = Path("build/scenarios.json")
PROCESSES = 2  # the cores of a small machine; each process takes 100 MB
_BOOT_MS, _STEP_MS = 6_000.0, 10.0
_WALL_S = 4 * 3600.0
_MAX_RECORDS = 100  # log records that are read; a scenario writes fewer


@dataclass(frozen=True)
class Played:
    """One scenario on the board.

    writes: flash writes while a contact was closed. wrong: every failure in words, empty for a good run.
    """

    name: str
    config: str
    wall_s: float
    emulated_s: float
    writes: tuple[str, ...]
    closings: int
    openings: int
    board: Outcome
    cpython: Outcome
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        trip = "no trip"
        if self.board.trip_ms is not None:
            against = f"{self.cpython.trip_ms:.0f}" if self.cpython.trip_ms is not None else "none"
            trip = f"{self.board.trip} at {self.board.trip_ms:.0f} ms ({against} under CPython)"
        return (
            f"{self.name:14} {self.emulated_s:6.1f} s in {self.wall_s:6.0f} s  flash writes while closed "
            f"{len(self.writes)}, closings {self.closings}, openings {self.openings}, {self.board.state}, {trip}"
        )


def boot(config: RackConfig, script: Scenario) -> EmulatedRack:
    """Start a rack in the start state of a scenario and run it until the application reports `# healthy`.

    Raises HaliteError when the report does not come within 6 s of emulated time.
    """
    emulated = rack_with_application(config, start=script.start_state())
    board = emulated.board
    if not board.run_until(lambda: b"# healthy" in board.received, _BOOT_MS, _WALL_S, _STEP_MS):
        raise HaliteError(f"the emulated rack does not become healthy: {board.received[-300:]!r}")
    return emulated


def outcome_of(emulated: EmulatedRack, started_ms: float) -> Outcome:
    """The outcome of board and rack since started_ms. Asks the console, so emulated time advances."""
    board = emulated.board
    lines = board.received.decode(errors="replace").splitlines()
    signals = ask(board, "status")
    records = [decoded(record) for record in ask(board, f"log {_MAX_RECORDS}")["log"]]
    trips = [
        (row["ms"] - started_ms, row["alarm"])
        for row in records
        if row["event"] == "alarm_came" and row["level"] == "trip" and row["ms"] >= started_ms
    ]
    trip_ms, trip = min(trips, default=(None, ""))
    asked = [request.power_W for request in requests(board.events) if request.at_us >= started_ms * 1000]
    return Outcome(
        state=signals["state"],
        level=signals["level"],
        trip=trip,
        trip_ms=trip_ms,
        left=trip_key(signals["signals"]["trip_code"]),
        refused=tuple(line for line in lines if '"error"' in line),
        rack=tuple((seen.time_ms, seen.text) for seen in of_rack(emulated.rack, started_ms)),
        peak_W=max(asked, key=abs, default=0),
    )


def cause_ms(script: Scenario) -> float:
    """Time in ms of the last fault or of the last command `open`; 0 without one."""
    causes = [
        a.at_ms for a in script.action if isinstance(a, StartFault) or (isinstance(a, Command) and a.what == "open")
    ]
    return float(max(causes, default=0))


def _resets(board: EmulatedBoard) -> list[str]:
    return [f"reset at {e.at_us / 1000:.0f} ms: {e.detail[0]}" for e in board.events if e.what == "reset"]


def play(name: str, config_name: str) -> Played:
    """Play one complete scenario on a board of its own, and under CPython, and compare."""
    began = time.monotonic()
    script, config = scenarios.load(name), load(config_name)
    cpython = of_recording(cpython_run.run(script, config.path))
    emulated = boot(config, script)
    board = emulated.board
    player = emulated_player.play(emulated, script)
    while not player.over:
        board.run_for(min(1_000.0, player.ends_ms - board.now_us / 1000 + 0.01))
    board_outcome = outcome_of(emulated, player.started_ms)
    watch = ClosedWatch.over(board.events)
    wrong = [*watch.writes, *_resets(board), *differences(board_outcome, cpython, cause_ms(script))]
    if script.name in PROMISES:
        wrong += broken(board_outcome, PROMISES[script.name])
    if not watch.closings:
        wrong.append("no contactor has closed, so the watch for flash writes has not begun")
    return Played(
        script.name, config.name, time.monotonic() - began, script.duration_ms / 1000, tuple(watch.writes),
        watch.closings, watch.openings, board_outcome, cpython, tuple(wrong),
    )  # fmt: skip


def suite(names: list[str], config_name: str, processes: int) -> Iterator[Played]:
    """Play the named scenarios in parallel, the longest first; yields each result when it is ready."""
    longest_first = sorted(names, key=lambda name: -scenarios.load(name).duration_ms)
    with ProcessPoolExecutor(min(processes, len(names))) as pool:
        for done in as_completed([pool.submit(play, name, config_name) for name in longest_first]):
            yield done.result()


def run(names: list[str], config_name: str, processes: int, out: Path, as_json: bool) -> int:
    """Run the suite and write its figures to `out`. Returns 0 if every run is good, else 1.

    names: scenarios, empty for all shipped ones. processes: boards that run at a time.
    """
    names = names or [path.stem for path in scenarios.FOLDER.glob("*.toml")]
    found: list[Played] = []
    for played in suite(names, config_name, processes):
        found.append(played)
        if not as_json:
            print(played, flush=True)
            for line in played.wrong:
                print(f"  WRONG: {line}", flush=True)
    figures: list[dict[str, Any]] = [asdict(played) for played in found]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(figures))
    return 1 if any(played.wrong for played in found) else 0
