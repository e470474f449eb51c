"""PIO programs decoded once into small functions, one per instruction that has no visible effect.

An operation takes the machine and returns the next program counter. It returns VISIBLE, and changes no register, when
the instruction would now have an effect outside the machine. None stands for instructions that always have one: WAIT,
PUSH, blocking PULL, IRQ, OUT and MOV to pins or EXEC. Encodings: RP2040 data sheet 3.4.
"""

from collections.abc import Callable

from rp2040py.peripherals.pio_registers import (
    EXECCTRL_SIDE_EN,
    EXECCTRL_SIDE_PINDIR,
    SHIFTCTRL_AUTOPULL,
    SHIFTCTRL_AUTOPUSH,
    SHIFTCTRL_IN_SHIFTDIR,
    SHIFTCTRL_OUT_SHIFTDIR,
    bit_reverse,
)

from halite.emulator.pio.direct import action_of
from halite.emulator.pio.types import MASK, VISIBLE, Action, Decoded, MachineState, Operation, Probe


def decode(machine: MachineState) -> Decoded:
    """Decode the whole instruction memory for this machine's configuration."""
    rows = [_decode_one(machine, pc, opcode) for pc, opcode in enumerate(machine.pio.instructions)]
    return Decoded(*(tuple(column) for column in zip(*rows, strict=True)))


def _decode_one(
    machine: MachineState, pc: int, opcode: int
) -> tuple[Operation | None, int, Probe | None, Action | None]:
    following = machine.wrap_bottom if pc == machine.wrap_top else (pc + 1) & 0x1F
    side_bits = machine.sideset_count
    field = opcode >> 8 & 0x1F
    delay = field & ((1 << (5 - side_bits)) - 1)
    operation, probe = _KINDS[opcode >> 13](machine, opcode & 0xFF, following)
    side_enabled = not machine.exec_ctrl & EXECCTRL_SIDE_EN or field & 0x10
    if side_bits and side_enabled and operation is not None:
        operation = _with_side_set(machine, field >> (5 - side_bits), operation)
    action = None if side_bits else action_of(machine, opcode, following, delay)
    return operation, (1 + delay) * machine.div_fp, probe, action


def _with_side_set(machine: MachineState, value: int, operation: Operation) -> Operation:
    optional = bool(machine.exec_ctrl & EXECCTRL_SIDE_EN)
    count = machine.sideset_count - optional
    mask, want = _pins(machine.sideset_base, count, value)
    name = "pin_directions" if machine.exec_ctrl & EXECCTRL_SIDE_PINDIR else "pin_values"
    pio = machine.pio

    def side_set(m: MachineState) -> int:
        return operation(m) if getattr(pio, name) & mask == want else VISIBLE

    return side_set


def _pins(base: int, count: int, value: int) -> tuple[int, int]:
    """Return mask and value of a pin group as rp2040py computes them (no wrap after pin 31)."""
    mask = (MASK if count > 31 else ((1 << count) - 1) << base) & 0x3FFFFFFF
    return mask, (value << base) & mask


def _register_jumps(target: int, following: int) -> tuple[tuple[Operation, Probe | None], ...]:
    """Return the jumps that test X or Y, in the order of the conditions 1 to 5 (data sheet 3.4.2)."""

    def x_zero(m: MachineState) -> int:
        return following if m.x else target

    def x_decrement(m: MachineState) -> int:
        x = m.x
        m.x = (x - 1) & MASK
        return target if x else following

    def y_zero(m: MachineState) -> int:
        return following if m.y else target

    def y_decrement(m: MachineState) -> int:
        y = m.y
        m.y = (y - 1) & MASK
        return target if y else following

    def x_not_y(m: MachineState) -> int:
        return target if m.x != m.y else following

    x_probe: Probe = (True, lambda m: m.x)
    y_probe: Probe = (True, lambda m: m.y)
    return (
        (x_zero, x_probe),
        (x_decrement, x_probe),
        (y_zero, y_probe),
        (y_decrement, y_probe),
        (x_not_y, (True, lambda m: (m.x - m.y) & MASK)),
    )


def _jump(machine: MachineState, arg: int, following: int) -> tuple[Operation, Probe | None]:
    target = arg & 0x1F
    levels, pin, threshold = machine.levels, machine.jmp_pin, machine.pull_threshold

    def always(m: MachineState) -> int:
        return target

    def pin_high(m: MachineState) -> int:
        return target if levels.mask >> pin & 1 else following

    def osr_left(m: MachineState) -> int:
        return target if m.output_shift_count < threshold else following

    rows: tuple[tuple[Operation, Probe | None], ...] = (
        (always, None),
        *_register_jumps(target, following),
        (pin_high, None),
        (osr_left, None),
    )
    return rows[arg >> 5]


def _source(machine: MachineState, code: int) -> Callable[[MachineState], int] | None:
    """Return a reader of the IN or MOV source; None for a reserved code."""
    levels, base = machine.levels, machine.in_base

    def pins(m: MachineState) -> int:
        mask: int = levels.mask
        return (mask << (32 - base) | mask >> base) & MASK

    return {
        0: pins,
        1: lambda m: m.x,
        2: lambda m: m.y,
        3: lambda m: 0,
        5: lambda m: m.status,
        6: lambda m: m.input_shift_reg,
        7: lambda m: m.output_shift_reg,
    }.get(code)


def _shift_in(machine: MachineState, arg: int, following: int) -> tuple[Operation | None, Probe | None]:
    read = _source(machine, arg >> 5)
    if read is None:
        return None, None
    bits = arg & 0x1F or 32
    right = bool(machine.shift_ctrl & SHIFTCTRL_IN_SHIFTDIR)
    push_at = machine.push_threshold if machine.shift_ctrl & SHIFTCTRL_AUTOPUSH else 33
    source = read

    def shift_in(m: MachineState) -> int:
        count = min(m.input_shift_count + bits, 32)
        if count >= push_at:
            return VISIBLE
        value = source(m) & ((1 << bits) - 1)
        if right:
            m.input_shift_reg = m.input_shift_reg >> bits | value << (32 - bits)
        else:
            m.input_shift_reg = (m.input_shift_reg << bits | value) & MASK
        m.input_shift_count = count
        return following

    return shift_in, (False, lambda m: (source(m), m.input_shift_reg, m.input_shift_count))


_SHIFTABLE = {1: "x", 2: "y", 3: None, 5: "pc", 6: "input_shift_reg"}


def _shift_out(machine: MachineState, arg: int, following: int) -> tuple[Operation | None, Probe | None]:
    destination = arg >> 5
    if destination not in _SHIFTABLE:
        return None, None
    name = _SHIFTABLE[destination]
    bits = arg & 0x1F or 32
    right = bool(machine.shift_ctrl & SHIFTCTRL_OUT_SHIFTDIR)
    pull_at = machine.pull_threshold if machine.shift_ctrl & SHIFTCTRL_AUTOPULL else 33

    def shift_out(m: MachineState) -> int:
        if m.output_shift_count >= pull_at:
            return VISIBLE
        osr = m.output_shift_reg & MASK
        value = osr & ((1 << bits) - 1) if right else osr >> (32 - bits)
        m.output_shift_reg = osr >> bits if right else osr << bits & MASK
        m.output_shift_count = min(m.output_shift_count + bits, 32)
        if name == "pc":
            return value & 0x1F
        if name:
            setattr(m, name, value)
        if destination == 6:
            m.input_shift_count = bits
        return following

    return shift_out, (False, lambda m: (m.output_shift_reg, m.output_shift_count))


def _push_pull(machine: MachineState, arg: int, following: int) -> tuple[Operation | None, Probe | None]:
    """A non-blocking PULL from an empty FIFO has no visible effect: it copies X to the OSR. All others have one."""
    if arg != 0x80:
        return None, None
    fifo = machine.tx_fifo

    def pull_nothing(m: MachineState) -> int:
        if fifo._used:
            return VISIBLE
        m.output_shift_reg = m.x
        m.output_shift_count = 0
        return following

    return pull_nothing, None


def _move(machine: MachineState, arg: int, following: int) -> tuple[Operation | None, Probe | None]:
    read = _source(machine, arg & 7)
    destination, how = arg >> 5, arg >> 3 & 3
    if read is None or destination in (3, 4):
        return None, None
    source = read
    if how == 1:
        transformed: Callable[[MachineState], int] = lambda m: source(m) ^ MASK  # noqa: E731 - one of three choices
    elif how == 2:
        transformed = lambda m: bit_reverse(source(m))  # noqa: E731 - one of three choices
    else:
        transformed = source
    must_repeat = how == 2 or destination in (0, 5) or arg & 7 == 5
    probe: Probe | None = (False, source) if must_repeat else None
    if destination == 0:
        return _steady_pins(machine, transformed, following), probe
    return _moves(transformed, following)[destination], probe


def _moves(value: Callable[[MachineState], int], following: int) -> dict[int, Operation]:
    def to_x(m: MachineState) -> int:
        m.x = value(m)
        return following

    def to_y(m: MachineState) -> int:
        m.y = value(m)
        return following

    def to_pc(m: MachineState) -> int:
        return value(m) & 0x1F

    def to_isr(m: MachineState) -> int:
        m.input_shift_reg = value(m)
        m.input_shift_count = 0
        return following

    def to_osr(m: MachineState) -> int:
        m.output_shift_reg = value(m)
        m.output_shift_count = 0
        return following

    return {1: to_x, 2: to_y, 5: to_pc, 6: to_isr, 7: to_osr}


def _steady_pins(machine: MachineState, value: Callable[[MachineState], int], following: int) -> Operation:
    """Return MOV PINS, which has no visible effect while it leaves the pins as they are."""
    pio, base, count = machine.pio, machine.out_base, machine.out_count

    def to_pins(m: MachineState) -> int:
        mask, want = _pins(base, count, value(m))
        return following if pio.pin_values & mask == want else VISIBLE

    return to_pins


def _set(machine: MachineState, arg: int, following: int) -> tuple[Operation | None, Probe | None]:
    data, pio = arg & 0x1F, machine.pio
    mask, want = _pins(machine.set_base, machine.set_count, data)

    def set_pins(m: MachineState) -> int:
        return following if pio.pin_values & mask == want else VISIBLE

    def set_x(m: MachineState) -> int:
        m.x = data
        return following

    def set_y(m: MachineState) -> int:
        m.y = data
        return following

    def set_directions(m: MachineState) -> int:
        return following if pio.pin_directions & mask == want else VISIBLE

    return {0: set_pins, 1: set_x, 2: set_y, 4: set_directions}.get(arg >> 5), None


def _visible(machine: MachineState, arg: int, following: int) -> tuple[None, None]:
    return None, None


_KINDS: tuple[Callable[..., tuple[Operation | None, Probe | None]], ...] = (
    _jump, _visible, _shift_in, _shift_out, _push_pull, _move, _visible, _set,
)  # fmt: skip
