"""Run a scenario on the control core under CPython and record it."""

import time
from pathlib import Path
from typing import Any

from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.plant.faults import FAULTS
from halite.plant.rack import Rack
from halite.scenarios.observations import Observation, of_control, of_grid, of_rack
from halite.scenarios.recorders import ImageRecorder
from halite.scenarios.recording import Recording
from halite.scenarios.scenario import ClearFault, Command, Scenario, Setpoint, StartFault, on_rack

use_firmware()

from rack.control.controller import Controller  # noqa: E402 - only after use_firmware
from rack.definitions import codes  # noqa: E402
from rack.generated import ids as I  # noqa: E402

COMMANDS = {"close": codes.CMD_CLOSE, "open": codes.CMD_OPEN, "reset": codes.CMD_RESET, "unlock": codes.CMD_UNLOCK}
_BEFORE_SCAN_us = 0.001  # an action at the time of a scan comes before the scan


def check_places(scenario: Scenario, rack: Rack) -> None:
    """Raise HaliteError for a fault at a cell, sensor, device or phase that this rack does not have."""
    sizes = {"cell": rack.plant.series, "sensor": rack.plant.sensors, "device": rack.plant.devices, "phase": 3, "": 1}
    for action in scenario.action:
        if isinstance(action, StartFault | ClearFault) and (action.at or 0) >= sizes[FAULTS[action.name].where]:
            where = FAULTS[action.name].where or "place"
            raise HaliteError(
                f"scenario {scenario.name}: fault {action.name}: at = {action.at}: allowed is 0 to "
                f"{sizes[FAULTS[action.name].where] - 1}, the {where}s of this rack"
            )


def carry_out(action: Any, host: CpythonHost) -> str | None:
    """Carry out one action of `Scenario.timed` now. Returns a text for the recording; None when the rack notes it."""
    if on_rack(action, host.rack):
        return None
    if isinstance(action, Setpoint):
        host.controller.s[I.SETPOINT_W] = action.power_W
        return f"EMS asks for {action.power_W} W"
    if isinstance(action, Command):
        who = codes.BY_KEY if action.what == "unlock" else codes.BY_CONSOLE
        refused = host.controller.command(COMMANDS[action.what], who)
        return f"command {action.what}" + (f" refused ({refused})" if refused else "")
    return None


def play(scenario: Scenario, host: CpythonHost) -> list[Observation]:
    """Run the host from time zero to the end of the scenario. Returns the commands and setpoints, in order of time."""
    found = []
    for action in scenario.timed():
        if action.at_ms > scenario.duration_ms:
            break
        host.run_to(action.at_ms * 1000.0 - _BEFORE_SCAN_us)
        text = carry_out(action, host)
        if text:
            found.append(Observation(float(action.at_ms), "scenario", text))
    host.run_to(scenario.duration_ms * 1000.0)
    return found


def run(scenario: Scenario, config: str | Path, seed: int = 1, start_ms: int = 0) -> Recording:
    """Run a scenario on the control core; the same arguments give the same recording.

    config: a board config file, or the name of a shipped one. seed: of the cells' spread and of the jitter.
    start_ms: the controller's clock at time zero, 0..2**30 - 1. Raises HaliteError for a config or a place that is
    not valid. meta["simulate_realtime_factor"] is simulated time over elapsed time.
    """
    params = load_params(config)
    rack = Rack.from_params(params, seed=seed, **scenario.start_state())
    check_places(scenario, rack)
    scenario.prepare_grid(rack)
    host = CpythonHost(rack, Controller(params), start_ms)
    recorder = ImageRecorder(host, scenario.duration_ms // rack.plant.scan_ms + 1)
    began = time.perf_counter()
    observations = play(scenario, host)
    elapsed_s = time.perf_counter() - began
    columns, time_ms = recorder.columns(), recorder.time_ms[: recorder.count]
    observations += [*of_rack(rack), *of_control(columns, time_ms), *of_grid(scenario)]
    meta = {
        "scenario": scenario.name,
        "text": scenario.text,
        "config": Path(config).stem,
        "seed": seed,
        "host": "control core under CPython",
        "simulate_realtime_factor": round(scenario.duration_ms / 1000 / elapsed_s, 1),
    }
    return Recording(time_ms, columns, sorted(observations, key=lambda seen: seen.time_ms), meta)
