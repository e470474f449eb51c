"""Skips the iterations of a PIO counting loop in one step, exactly.

Two iterations are executed and compared. The test is: same path, same change of every register, same inputs of all
other instructions. Then each further iteration repeats them until a counter that a branch tests reaches zero,
because the loop body is a linear map and a repeated difference is a fixed point of it. A body that shifts or
reverses bits is not linear: it is skipped only when it changes no register.
"""

from typing import Any

from halite.emulator.pio.types import MASK, Decoded, MachineState

_WATCH_AFTER = 3  # returns to the same address before two iterations are compared
_BACK_OFF = -200  # count after a failed attempt: 203 more returns before the next one
_MAX_BODY = 48  # instructions in a loop body
_IN, _OUT, _MOV, _REVERSE = 2, 3, 5, 2
_REGISTERS = ("x", "y", "input_shift_reg", "output_shift_reg")
_COUNTS = ("input_shift_count", "output_shift_count")

Log = list[tuple[int, Any]]


class LoopSkipper:
    """The loop detector of one state machine."""

    def __init__(self) -> None:
        self._head = -1
        self._returns = 0

    def forget(self) -> None:
        """Forget the loop that was being counted; the machine starts at another place."""
        self._head = -1
        self._returns = 0

    def came_back(self, head: int) -> bool:
        """Note a backward jump to address `head`; True when the loop has repeated often enough to be compared."""
        if head != self._head:
            self._head, self._returns = head, 1
            return False
        self._returns += 1
        return self._returns >= _WATCH_AFTER

    def skip(self, machine: MachineState, program: Decoded, limit_fp: int) -> None:
        """Execute or skip iterations from the loop's head; every instruction is due before limit_fp (1/256 clocks)."""
        self._returns = _BACK_OFF
        begin = _registers(machine)
        started_fp = machine.next_due_fp
        first = _trace(machine, program, limit_fp)
        middle = _registers(machine)
        second = _trace(machine, program, limit_fp) if first is not None else None
        if first is None or second is None:
            return
        end = _registers(machine)
        times = _further_iterations(program, first, second)
        step = [(after - before) & MASK for before, after in zip(middle, end, strict=True)]
        steady = step == [(after - before) & MASK for before, after in zip(begin, middle, strict=True)]
        cost = (machine.next_due_fp - started_fp) // 2
        times = min(times, (limit_fp - machine.next_due_fp) // cost)
        if not steady or any(step[len(_REGISTERS) :]) or times <= 0:
            return
        if any(step) and not all(_is_linear(machine.pio.instructions[pc]) for pc, _ in first):
            return
        for name, delta in zip(_REGISTERS, step, strict=False):
            setattr(machine, name, (getattr(machine, name) + times * delta) & MASK)
        machine.next_due_fp += times * cost
        self._returns = 0


def _is_linear(opcode: int) -> bool:
    """True if the effect on the registers is linear: not for IN, OUT and MOV with reversal (data sheet 3.4)."""
    kind = opcode >> 13
    return kind not in (_IN, _OUT) and not (kind == _MOV and opcode >> 3 & 3 == _REVERSE)


def _registers(machine: MachineState) -> list[int]:
    return [getattr(machine, name) for name in _REGISTERS + _COUNTS]


def _trace(machine: MachineState, program: Decoded, limit_fp: int) -> Log | None:
    """Execute one iteration and log the values it depends on; None when it left the loop or met its limit."""
    head, log = machine.pc, []
    for _ in range(_MAX_BODY):
        pc = machine.pc
        operation, probe = program.operations[pc], program.probes[pc]
        if operation is None or machine.next_due_fp >= limit_fp:
            return None
        log.append((pc, probe[1](machine) if probe else None))
        following = operation(machine)
        if following < 0:
            return None
        machine.pc = following
        machine.next_due_fp += program.costs[pc]
        if following == head:
            return log
    return None


def _further_iterations(program: Decoded, first: Log, second: Log) -> int:
    """Return the number of further iterations on the same path: until a tested counter reaches zero."""
    if [pc for pc, _ in first] != [pc for pc, _ in second]:
        return 0
    times = 1 << 62
    for (pc, before), (_, after) in zip(first, second, strict=True):
        probe = program.probes[pc]
        if probe is None:
            continue
        counts, _ = probe
        if before == after:
            continue
        if not counts or not after:
            return 0
        delta = (after - before) & MASK
        down = MASK + 1 - delta
        times = min(times, (after - 1) // down if down <= delta else (MASK - after) // delta)
    return times
