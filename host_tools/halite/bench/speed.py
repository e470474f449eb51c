"""Speed of the simulation: a closed LFP rack with 416 cells that answers a frequency service, in CPU time."""

import time
from importlib.util import find_spec
from random import Random

from halite.common.jit import Kernel
from halite.common.paths import use_firmware
from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack

use_firmware()

from rack.control.controller import Controller  # noqa: E402 - only after use_firmware
from rack.definitions.codes import STATE_CLOSED  # noqa: E402
from rack.generated import ids as I  # noqa: E402

_CONFIG = "lfp_rack"
_START_s = 5  # the rack is closed by then
_RUN_s = 60
_STEP_mHz = 12  # standard deviation from one second to the next: engineering judgement, as is the largest deviation
_MAX_mHz = 300


def service_rack() -> CpythonHost:
    """A rack that closes by itself, with a seeded profile of the frequency: a random walk in steps of a second."""
    params = load_params(_CONFIG)
    rack = Rack.from_params(params, soc=0.6, jitter_us=2.0)
    random, mHz, knots = Random(5), 0.0, [(0.0, 50.0)]
    for second in range(1, _START_s + _RUN_s + 1):
        mHz = max(-_MAX_mHz, min(_MAX_mHz, mHz + random.gauss(0.0, _STEP_mHz)))
        knots.append((float(second), 50.0 + mHz / 1000))
    rack.grid.knots(knots, 1e6)
    return CpythonHost(rack, Controller(params))


def realtime_factor() -> float:
    """Simulated over CPU time of _RUN_s seconds after the start, on one core; kernels are loaded before."""
    host = service_rack()
    host.run_to(_START_s * 1e6)
    assert host.controller.s[I.STATE] == STATE_CLOSED
    begin_s = time.process_time()
    host.run_to((_START_s + _RUN_s) * 1e6)
    taken_s = time.process_time() - begin_s
    assert host.controller.s[I.STATE] == STATE_CLOSED
    return _RUN_s / taken_s


def compile_kernels() -> str:
    """Compile every kernel of a closed rack, or load it from the cache, in this process. Returns a line of text."""
    if find_spec("numba") is None:
        return "kernels: numba is not installed (extra `fast`); they run as Python"
    Kernel.switch = 0.0
    service_rack().run_to((_START_s + 2) * 1e6)
    compiled = sum(kernel.is_compiled for kernel in Kernel.every.values())
    return f"kernels: {compiled} of {len(Kernel.every)} compiled; the others follow when they run for long"
