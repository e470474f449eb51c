"""The DC bus while both main contacts conduct: string, contacts, bleeder and PCS, in inner steps.

Between two events (a command, a fault, a move of a contact, a step of the cells) the steps need only numbers, and one
call of a kernel runs all of them. The results do not depend on the number of steps in a call.
"""

import math

from halite.common import jit
from halite.common.paths import use_firmware
from halite.plant.pcs import moved_W, state_of

use_firmware()

from rack.definitions.pcs_codes import PCS_RUN  # noqa: E402 - only after use_firmware

STEP_US = 1000
_INRUSH_FROM = 0.05  # difference of string and bus, of the string's voltage: engineering judgement


@jit.kernel
def run_connected(
    steps: int, start_us: float, emf_V: float, ohm: float, load_S: float, is_bus_open: bool, bus_V: float,
    power_W: float, target_W: float, share: float, cap_W: float, failed: bool, permitted: bool, silent_from_us: float,
    charge_As: float, inrush_A: float,
) -> tuple[float, float, float, int, float, float]:  # fmt: skip
    """Return current_A, bus_V, power_W, the state of the PCS, charge_As and inrush_A after `steps` steps, 1 or more.

    emf_V, ohm: of string and contacts. load_S: of bleeder and leak. share, cap_W: of Pcs. silent_from_us: the PCS
    times out in a step that begins later. charge_As: counts the current.
    """
    current_A = 0.0
    state = 0
    for step in range(steps):
        if abs(emf_V - bus_V) > _INRUSH_FROM * emf_V and abs(emf_V - bus_V) / ohm > inrush_A:
            inrush_A = abs(emf_V - bus_V) / ohm
        state = state_of(failed, permitted, start_us + step * STEP_US > silent_from_us, bus_V)
        power_W = 0.0 if is_bus_open else moved_W(power_W, target_W if state == PCS_RUN else 0.0, share, cap_W)
        total_W = power_W + bus_V * bus_V * load_S
        if total_W > 0.99 * emf_V * emf_V / (4 * ohm):  # the string cannot deliver more
            total_W = 0.99 * emf_V * emf_V / (4 * ohm)
        current_A = (emf_V - math.sqrt(emf_V * emf_V - 4 * ohm * total_W)) / (2 * ohm)
        bus_V = emf_V - current_A * ohm
        charge_As += current_A * STEP_US * 1e-6
    return current_A, bus_V, power_W, state, charge_As, inrush_A
