"""The time of the response's kernel on the emulated board, interrupts off."""

from collections.abc import Sequence

from halite.build.firmware import make
from halite.common.errors import HaliteError
from halite.common.image import image_path
from halite.common.paths import use_firmware
from halite.config import RackConfig
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.hosts.emulated import emulated_rack

use_firmware()

from rack.generated import response_state as K  # noqa: E402 - only after use_firmware
from rack.hal.scratch import MAINTENANCE_MAGIC  # noqa: E402

_KERNEL = """
import machine, micropython, time
from array import array
from rack.config import load
with open("config.bin", "rb") as file:
    params = load(file.read())
from rack.control.response.response import Response
from rack.control.response.measure_kernel import measure_kernel
from rack.control.response.request_kernel import request_kernel
response = Response(params, array("i", [0] * 300))
response.set_limits(params.rack_power_max_W, params.rack_power_max_W, 1)
k, rings, curve = response.arrays
for index, value in {changes}:
    k[index] = value
@micropython.viper
def address(values) -> ptr32: return ptr32(values)
at = [address(values) for values in response.arrays]    # as in the interrupt
def nothing(state, rings, last): return 1
def run(measure, request, count, times):
    state, rings, curve = at
    start = time.ticks_us()
    for _ in range(times):
        if measure(state, rings, count): request(state, rings, curve)
    return time.ticks_us() - start
run(measure_kernel, request_kernel, 1_250_000, 130)
state = machine.disable_irq()
took = run(measure_kernel, request_kernel, 1_257_000, {calls}) - run(nothing, nothing, 1_257_000, {calls})
machine.enable_irq(state)
print(took, k[{request}])
"""
_CALLS = 40


def kernel_us(config: RackConfig) -> float:
    """Return the mean time of the kernel in us, interrupts off, without the time of a call of an empty function.

    Every feature of a config is on: share of a pair, inertia, a reduced authority. The windows are full.
    """
    everything = (
        (K.PAIR_ROLE, 1),
        (K.LOW_PASS_TAU, 1_000),
        (K.PAIR_SHARE, 1_000),
        (K.INERTIA, 10),
        (K.INERTIA_BAND, 10),
        (K.AUTHORITY, 999),
    )
    blank = EmulatedBoard(image_path()).flash_snapshot()
    files = make(config, short=False).files
    board = emulated_rack(config, flash=with_files(blank, files)).board
    board.rp2040.watchdog.scratch_data[0] = MAINTENANCE_MAGIC
    board.run_for(100)
    at_prompt(board)
    code = _KERNEL.format(changes=everything, calls=_CALLS, request=K.REQUEST)
    took_us, request_W = map(int, run_code(board, code, 6_000, 300).split())
    if not request_W:
        raise HaliteError("the measured kernel has requested no power")
    return took_us / _CALLS


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
