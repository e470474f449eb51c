"""Frozen AFE: a device whose registers stand still sends old cells with a good CRC, and its cells are unseen.

Cells under current cannot stand still. A device is frozen when all its cells are the same, to the mV, while the current
has moved (every cell moves by current times resistance), or while charge has flowed (every cell moves along its OCV).
At rest, equal cells do not prove a fault. A device that moves again is read again.
"""

from array import array

import micropython
from micropython import const
from rack.generated import frozen_afe_device as D
from rack.generated import frozen_afe_head as F
from rack.generated import ids as I
from rack.base.viper import ptr32

_HASH_MASK = const(0x00FF_FFFF)         # times 31 and a cell stay within 31 bits
_CHARGE_MASK = const(0x0FFF_FFFF)       # the charge counter wraps: 7 000 Ah, far above a capacity's share
_MAX_CURRENT_dA = const(20_000)         # range of the current sensor: keeps the products within 31 bits


@micropython.viper
def _count_charge(state: ptr32, current: int, period_ms: int):
    """Add the charge of one period to the counter of both directions; current: magnitude in 0.1 A, up to 20 000."""
    moved = state[F.REST] + current * period_ms
    state[F.CHARGE_dAs] = (state[F.CHARGE_dAs] + moved // 1000) & _CHARGE_MASK
    state[F.REST] = moved % 1000


@micropython.viper
def _judge(cells: ptr32, state: ptr32, current: int, count: int, per_device: int) -> int:
    """The first frozen device, from 1, or 0; current in 0.1 A; count: of all cells.

    state: the layout frozen_afe_head, then frozen_afe_device for each device.
    """
    charge = state[F.CHARGE_dAs]
    frozen = 0
    device = 0
    cell = 0
    at = F.HEAD
    while cell < count:
        end = cell + per_device
        if end > count:
            end = count
        mixed = 1
        while cell < end:
            mixed = ((mixed & _HASH_MASK) * 31 + cells[cell]) & 0x3FFF_FFFF
            cell += 1
        device += 1
        if mixed != state[at + D.MIXED]:
            state[at + D.MIXED] = mixed
            state[at + D.SINCE_dA] = current
            state[at + D.SINCE_dAs] = charge
            state[at + D.SCANS] = 0
        else:
            step = current - state[at + D.SINCE_dA]
            if step < 0:
                step = 0 - step
            if step >= state[F.STILL_dA] and state[at + D.SCANS] < state[F.STILL_SCANS]:
                state[at + D.SCANS] += 1
            if (charge - state[at + D.SINCE_dAs]) & _CHARGE_MASK >= state[F.STILL_dAs]:
                state[at + D.SCANS] = state[F.STILL_SCANS]
            if frozen == 0 and state[at + D.SCANS] >= state[F.STILL_SCANS]:
                frozen = device
        at += D.COLUMNS
    return frozen


class FrozenAfe:
    """Judges `cells_mV` after each complete scan; writes afe_frozen. Does not allocate after construction."""

    def __init__(self, params, s, cells_mV):
        self._s = s
        self._cells = cells_mV
        self._period_ms = params.afe_period_ms
        self._per_device = params.afe_cells_per_device
        self._state = state = array("i", [0] * (F.HEAD + D.COLUMNS * params.afe_devices))
        state[F.STILL_dA] = params.afe_still_dA
        state[F.STILL_SCANS] = params.afe_still_scans
        # 0.1 Ah are 360 dA s; a permille of a capacity is 0.36 times its 0.1 Ah
        state[F.STILL_dAs] = params.cell_capacity_dAh * 36 * params.afe_still_permille // 10

    def fixed(self):
        """Words that never change: (array, first, end)."""
        return ((self._state, F.STILL_dA, F.STILL_dAs + 1),)

    def arrived(self):
        """Judge a complete scan of every cell."""
        s = self._s
        current = min(max(s[I.CURRENT_dA], -_MAX_CURRENT_dA), _MAX_CURRENT_dA)
        if s[I.POWER_ERROR_PERMILLE] >= 1000:   # this current shows nothing about the cells
            return
        _count_charge(self._state, abs(current), self._period_ms)
        s[I.AFE_FROZEN] = _judge(self._cells, self._state, current, len(self._cells), self._per_device)
