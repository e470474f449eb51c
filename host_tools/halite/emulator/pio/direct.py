"""The most frequent visible PIO instructions, executed directly: SET PINS, IRQ, WAIT IRQ.

The effect is that of rp2040py's interpreter, in a fifth of its time; a dead-man gate executes 100 000 of these
instructions per second. The interpreter executes all other instructions.
"""

from rp2040py.peripherals.pio_registers import WaitType, irq_index

from halite.emulator.pio.types import Action, MachineState

_WAIT, _IRQ, _SET = 1, 6, 7


def action_of(machine: MachineState, opcode: int, following: int, delay: int) -> Action | None:
    """Return the direct form of an instruction without side-set; None when it has no direct form."""
    arg, cost = opcode & 0xFF, (1 + delay) * machine.div_fp
    kind = opcode >> 13
    if kind == _SET and arg >> 5 == 0:
        return _set_pins(machine, arg & 0x1F, following, cost)
    if kind == _IRQ and not arg & 0xE0:
        return _raise_flag(machine, irq_index(arg & 0x1F, machine.index), following, cost)
    if kind == _WAIT and arg >> 5 & 3 == 2:
        return _wait_flag(machine, bool(arg & 0x80), irq_index(arg & 0x1F, machine.index), following, delay)
    return None


def _set_pins(machine: MachineState, data: int, following: int, cost: int) -> Action:
    pio, base, count = machine.pio, machine.set_base, machine.set_count
    mask = ((1 << count) - 1 << base) & 0x3FFFFFFF
    want = data << base & mask
    pins = [pin for pin in machine.rp2040.gpio if mask >> pin.index & 1]

    def set_pins(m: MachineState) -> None:
        m.pc = following
        m.next_due_fp += cost
        pio.pin_values = pio.old_pin_values = pio.pin_values & ~mask | want
        for pin in pins:
            pin.check_for_updates()

    return set_pins


def _raise_flag(machine: MachineState, flag: int, following: int, cost: int) -> Action:
    pio = machine.pio

    def raise_flag(m: MachineState) -> None:
        m.pc = following
        m.next_due_fp += cost
        pio.irq |= 1 << flag
        pio.irq_updated()

    return raise_flag


def _wait_flag(machine: MachineState, polarity: bool, flag: int, following: int, delay: int) -> Action:
    pio, cost = machine.pio, (1 + delay) * machine.div_fp

    def wait_flag(m: MachineState) -> None:
        if bool(pio.irq >> flag & 1) == polarity:
            if polarity:
                pio.irq &= ~(1 << flag)
                pio.check_interrupts()
            m.pc = following
            m.next_due_fp += cost
            return
        m.wait(WaitType.IRQ, polarity, flag)
        m.wait_delay = delay

    return wait_flag
