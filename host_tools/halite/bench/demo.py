"""`halite demo`: flash an emulated rack through its serial port, run the demonstration on it, print the measured times.

All times are emulated and taken outside the board: pin levels, contacts, frames on the bus.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from halite.board import flash_view
from halite.board.client import ask
from halite.board.serial_port import SerialPort
from halite.chips.can_bus import Frame
from halite.chips.pcs_codec import FirmwareTableCodec
from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.config import RackConfig, load
from halite.emulator.board import BoardEvent
from halite.emulator.runner import BoardRunner
from halite.hosts.emulated import EmulatedRack, emulated_rack
from halite.scenarios import report, scenario
from halite.scenarios.emulated_player import play
from halite.scenarios.observations import Observation, of_grid
from halite.scenarios.recorders import BoardRecorder
from halite.scenarios.recording import Recording

use_firmware()

from rack.definitions import pcs_codes  # noqa: E402 - only after use_firmware
from rack.definitions.texts import LEVEL_NAMES  # noqa: E402

_SAMPLE_MS = 10.0
_WALL_LIMIT_S = 600.0
_SETTLE_ms = 200.0


@dataclass
class Row:
    """One measured value. value: None when the step did not happen."""

    name: str
    text: str
    value: float | None
    unit: str = "ms"

    def __str__(self) -> str:
        shown = "did not happen" if self.value is None else f"{self.value:,.1f} {self.unit}".replace(",", " ")
        return f"  {self.text:<62} {shown:>16}"


Frames = list[tuple[float, dict[str, int]]]


class Story:
    """The record of the wires since `start_us`; times are ms of the scenario."""

    def __init__(self, emulated: EmulatedRack, start_us: float) -> None:
        self.start_us = start_us
        self.events = [event for event in emulated.board.events if event.at_us >= start_us]
        self._unpack = FirmwareTableCodec().unpack

    def ms(self, event: BoardEvent) -> float:
        """Return the time of an entry of the record in ms of the scenario."""
        return (event.at_us - self.start_us) / 1000

    def first(self, matches: Callable[[BoardEvent], bool], after_ms: float = 0.0) -> float | None:
        """Return the time of the first matching entry from after_ms on; None without one."""
        return next((self.ms(e) for e in self.events if self.ms(e) >= after_ms and matches(e)), None)

    def frames(self, identifier: int) -> Frames:
        """Return (ms, fields) of each frame with this CAN identifier."""
        found = []
        for event in self.events:
            if event.what == "can" and event.detail[0] == identifier:
                fields = self._unpack(Frame(identifier, event.detail[1]))  # type: ignore[arg-type]
                if fields is not None:
                    found.append((self.ms(event), fields))
        return found


def _contact(name: str, closed: int) -> Callable[[BoardEvent], bool]:
    return lambda event: event.what == "contact" and event.detail == (name, closed)


def _coil_off(event: BoardEvent) -> bool:
    return event.what == "coil" and event.detail == (0,)


def _first_of(frames: Frames, holds: Callable[[dict[str, int]], bool], after_ms: float) -> float | None:
    return next((at for at, fields in frames if at >= after_ms and holds(fields)), None)


def _since(at_ms: float | None, origin_ms: float | None) -> float | None:
    return None if at_ms is None or origin_ms is None else at_ms - origin_ms


def _dead_band_mHz(config: RackConfig) -> int:
    """Return the deviation below nominal at which the configured curve begins to respond."""
    curve = config.tables["response_curve"]
    return min((-curve[at] for at in range(0, len(curve), 2) if curve[at + 1] == 0 and curve[at] < 0), default=0)


def _closing(story: Story, command_ms: float) -> list[Row]:
    """Return the measured times from the close command to closed contactors."""
    precharge_ms = story.first(_contact("precharge", 1), command_ms)
    return [
        Row("close_command_to_precharge_ms", "close command to precharge contact closed",
            _since(precharge_ms, command_ms)),
        Row("precharge_ms", "precharge contact to main + contact closed",
            _since(story.first(_contact("main_pos", 1)), story.first(_contact("precharge", 1)))),
    ]  # fmt: skip


def account(story: Story, script: scenario.Scenario, config: RackConfig) -> list[Row]:
    """Return the measured values, in the order of the scenario."""
    at = {action.do: float(action.at_ms) for action in script.action}
    requests, limits = story.frames(pcs_codes.REQUEST_ID), story.frames(pcs_codes.LIMITS_ID)
    dead_band_mHz = _dead_band_mHz(config)
    ramp = next(action for action in script.action if action.do == "ramp")
    leaves_ms = at["ramp"] + 1000.0 * dead_band_mHz / ramp.rate_mHzps
    arrives_ms = at["ramp"] + 1000.0 * abs(50_000 - ramp.to_mHz) / ramp.rate_mHzps
    answered = _first_of(requests, lambda f: f["power"] > 0, at["ramp"])
    settled = [f["power"] for ms, f in requests if arrives_ms + _SETTLE_ms <= ms < at["fault"]]
    derated = _first_of(limits, lambda f: f["level"] == LEVEL_NAMES.index("derate"), at["fault"])
    tripped = _first_of(limits, lambda f: f["level"] == LEVEL_NAMES.index("trip"), at["fault"])
    opened = story.first(_coil_off, at["fault"])
    zero = _first_of(requests, lambda f: not f["flags"] & pcs_codes.FLAG_PERMIT, at["fault"])
    return [
        *_closing(story, at["command"]),
        Row(
            "response_ms",
            f"50 Hz - {dead_band_mHz} mHz passed to first power request on CAN",
            _since(answered, leaves_ms),
        ),
        Row(
            "response_power_kW",
            f"request at {ramp.to_mHz / 1000:g} Hz",
            max(settled) / 1000 if settled else None,
            "kW",
        ),
        Row("heat_to_derate_ms", "module begins to overheat to derate announced on CAN", _since(derated, at["fault"])),
        Row("heat_to_open_ms", "module begins to overheat to open command (trip)", _since(opened, at["fault"])),
        Row("open_to_zero_request_ms", "open command to request withdrawn on CAN", _since(zero, opened)),
        Row(
            "open_to_contact_ms",
            "open command to main + contact open",
            _since(story.first(_contact("main_pos", 0), opened or 0.0), opened),
        ),
        Row("trip_announced_ms", "open command to trip announced on CAN", _since(tripped, opened)),
    ]


def _steps(times: Any, points: list[tuple[float, float]]) -> Any:
    """Return the value of a signal that changes at points, at each time; 0 before the first point."""
    values = np.array([0.0, *(value for _, value in points)])
    return values[np.searchsorted(np.array([ms for ms, _ in points]), times, side="right")]


def recording_of(story: Story, recorder: BoardRecorder, script: scenario.Scenario, config: RackConfig) -> Recording:
    """Return the run in the form that the report draws."""
    causes = [
        Observation(
            float(action.at_ms), "scenario", f"{action.do}: {action.what if action.do == 'command' else action.name}"
        )
        for action in script.action
        if action.do in ("command", "fault")
    ]
    meta = {"scenario": script.name, "text": script.text, "config": config.name, "host": "emulated Raspberry Pi Pico W"}
    recording = recorder.recording(meta, [*causes, *of_grid(script)])
    limits = story.frames(pcs_codes.LIMITS_ID)
    for column, field, factor in (
        ("limit_discharge_W", "discharge", 100),
        ("limit_charge_W", "charge", 100),
        ("alarm_level", "level", 1),
        ("rack_dV", "rack_voltage", 1),
    ):
        recording.columns[column] = _steps(recording.time_ms, [(ms, fields[field] * factor) for ms, fields in limits])
    coils = [(story.ms(e), float(e.detail[0])) for e in story.events if e.what == "coil"]  # type: ignore[arg-type]
    recording.columns["coils"] = _steps(recording.time_ms, coils)
    before = 0
    for ms, fields in limits:
        if fields["level"] != before:
            before = fields["level"]
            recording.observations.append(Observation(ms, "control", f"alarm level: {LEVEL_NAMES[before]}"))
    recording.observations.sort(key=lambda seen: seen.time_ms)
    return recording


@dataclass
class Result:
    """The results of the demonstration. flash_writes: ms of the scenario. flash_s is emulated, wall_s real time."""

    rows: list[Row]
    recording: Recording
    why: list[str]
    flash: dict[str, Any]
    boot_ms: float
    flash_s: float
    wall_s: float
    version: dict[str, Any]
    tasks: dict[str, Any]
    flash_writes: list[float]


def _boot_ms(emulated: EmulatedRack) -> float:
    """Return the time from the last reset to the application's first line, which it prints in standby."""
    board = emulated.board
    reset_us = max(event.at_us for event in board.events if event.what == "reset")
    lines_us = (at for at, chunk in board.console_chunks if at >= reset_us and b"#" in chunk)
    return (next(lines_us) - reset_us) / 1000


def _play(emulated: EmulatedRack, runner: BoardRunner, script: scenario.Scenario) -> tuple[Story, BoardRecorder]:
    """Play the scenario on the running board and sample the rack; returns at its end."""
    board = emulated.board

    def begin() -> tuple[float, BoardRecorder]:
        player = play(emulated, script)
        start_us = player.started_ms * 1000.0
        recorder = BoardRecorder(emulated.rack, emulated.chips, start_us)

        def sample() -> None:
            if board.now_us >= start_us:
                recorder.sample(board.now_us)
            if not player.over:
                board.after(_SAMPLE_MS, sample)

        sample()
        return start_us, recorder

    start_us, recorder = runner.call(begin)
    end_us = start_us + script.duration_ms * 1000.0
    if not runner.wait_until(lambda: board.now_us >= end_us, _WALL_LIMIT_S):
        raise HaliteError(f"the scenario did not end within {_WALL_LIMIT_S:g} s", "is the machine overloaded?")
    return runner.call(lambda: Story(emulated, start_us)), recorder


def run(config_name: str, scenario_name: str, say: Callable[[str], None]) -> Result:
    """Flash, boot and play; `say` gets each line of progress. HaliteError when a step fails."""
    began = time.monotonic()
    config, script = load(config_name), scenario.load(scenario_name)
    emulated = emulated_rack(config, start=script.start_state())
    with BoardRunner(emulated.board) as runner:
        say(f"emulated Raspberry Pi Pico W on {runner.port.path}, wired to a simulated {config.name}")
        flashed = flash_view.run(config_name, runner.port.path, quiet=True)
        flash_s = sum(flashed["seconds"].values())
        boot_ms = runner.call(lambda: _boot_ms(emulated))
        sent = f"{len(flashed['uploaded'])} files, {flashed['bytes']} bytes"
        say(f"flashed through mpremote: {sent}, verified, {flash_s:.0f} s")
        say(f"reset to standby: {boot_ms:.0f} ms")
        say(f"scenario: {script.text}")
        story, recorder = _play(emulated, runner, script)
        with SerialPort(runner.port.path) as port:
            why, version, tasks = (ask(port, word, 60) for word in ("why", "version", "tasks"))
    rows = account(story, script, config)
    recording = recording_of(story, recorder, script, config)
    recording.meta.update({row.name: row.value for row in rows})
    wall_s = time.monotonic() - began
    writes = [story.ms(event) for event in story.events if event.what == "flash"]
    return Result(rows, recording, why["why"], flashed, boot_ms, flash_s, wall_s, version, tasks, writes)


def demonstrate(config_name: str, scenario_name: str, report_file: Path, as_json: bool) -> None:
    """Run the demonstration, print its values and write its report. HaliteError when a step did not happen."""
    result = run(config_name, scenario_name, (lambda text: None) if as_json else print)
    report.write(result.recording, report_file, report.alarm_levels(load(config_name)))
    result.recording.write_json(report_file.with_suffix(".json"))
    missing = [row.name for row in result.rows if row.value is None]
    if as_json:
        figures = {row.name: row.value for row in result.rows}
        print(json.dumps({**figures, "boot_to_standby_ms": result.boot_ms, "why": result.why, "wall_s": result.wall_s}))
    else:
        print(*result.rows, sep="\n")
        print("why the rack is open: " + "; ".join(result.why))
        print(f"report: {report_file}")
        print(f"{result.wall_s:.0f} s in all; times in ms are emulated time")
    if missing:
        raise HaliteError(f"did not happen: {', '.join(missing)}", f"look at {report_file}")
