"""PIO that keeps exact time, also while the processor sleeps.

rp2040py runs at most one PIO instruction per processor instruction and one per idle jump. Every PIO time is therefore
wrong while the processor sleeps, and in any loop at full clock. Here each state machine keeps its own time (RP2040
data sheet 3.2.1: one instruction per divided clock, plus its delay). It runs ahead of the processor through
instructions without a visible effect: registers, jumps, reads of steady pins.

The machine stops before the first visible instruction (pin change, FIFO, interrupt, wait); a clock alarm executes that
one at its own time. When an input changes earlier, the machine goes back to its last visible instruction and runs
again up to that moment. Counting loops are skipped in one step (`loops`).
"""

from rp2040py.gpio_pin import GPIOPin
from rp2040py.peripherals._pio import RPPIO
from rp2040py.peripherals._state_machine import StateMachine
from rp2040py.peripherals.peripheral import Peripheral
from rp2040py.peripherals.pio_registers import (
    CTRL,
    INSTR_MEM0,
    IRQ,
    IRQ_FORCE,
    RXF0,
    RXF3,
    SM0_CLKDIV,
    SM3_PINCTRL,
    TXF0,
    TXF3,
)
from rp2040py.rp2040 import RP2040

from halite.emulator.pio.decode import decode
from halite.emulator.pio.loops import LoopSkipper
from halite.emulator.pio.types import VISIBLE, Action, Decoded

_FP_PER_NS = 32  # due times count 1/256 system clocks of 8 ns (125 MHz, fixed in the emulator)
_HORIZON_FP = 50_000_000 * _FP_PER_NS  # a machine without visible instructions is advanced every 50 ms
_SYNCED_WRITES = frozenset((CTRL, IRQ, IRQ_FORCE))
_PAD_RESET = 0x56
_PADS_BANK0, _IO_BANK0 = 0x4001C, 0x40014


class InputLevels:
    """The levels of all pins as one word, and the PIO blocks that read them.

    Before a level changes, every block is brought to the present; afterwards each runs ahead again.
    """

    def __init__(self, rp2040: RP2040) -> None:
        self._rp2040 = rp2040
        self.mask = 0
        self.blocks: list[ExactPio] = []
        for index in range(len(rp2040.gpio)):
            rp2040.gpio[index] = WatchedPin(rp2040, index, self)
        for base in (_PADS_BANK0, _IO_BANK0):
            self._refresh_after_write(rp2040.peripherals[base])

    def rewind(self) -> None:
        """Bring every block to the present, before a level changes."""
        for block in self.blocks:
            block.rewind()

    def resume(self) -> None:
        """Let every block run ahead again, after a level has changed."""
        for block in self.blocks:
            block.resume()

    def _refresh_after_write(self, block: Peripheral) -> None:
        """Read the levels again after each write of a pad or IO register: pulls and overrides change them too."""
        write = block.write_uint32

        def write_and_refresh(offset: int, value: int) -> None:
            self.rewind()
            write(offset, value)
            self.mask = self._rp2040.gpio_values
            self.resume()

        setattr(block, "write_uint32", write_and_refresh)  # noqa: B010 - a method, replaced on purpose


class WatchedPin(GPIOPin):
    """A pin whose level changes at the right time for the PIO.

    Its pad comes out of reset with the input enabled (RP2040 data sheet 2.19.6.3: GPIOn resets to 0x56). rp2040py
    has it disabled, so there a PIO program cannot read a pin that the firmware has not configured.
    """

    def __init__(self, rp2040: RP2040, index: int, levels: InputLevels) -> None:
        super().__init__(rp2040, index)
        self._levels = levels
        self.pad_value = _PAD_RESET

    def reset(self, io: bool = True, pads: bool = True) -> None:
        """Reset the IO and pad registers of this pin."""
        super().reset(io=io, pads=pads)
        if pads:
            self.pad_value = _PAD_RESET

    def _apply_input_value(self, value: bool) -> None:
        levels, bit = self._levels, 1 << self.index
        levels.rewind()
        super()._apply_input_value(value)
        levels.mask = levels.mask | bit if self.input_value else levels.mask & ~bit
        levels.resume()


class ExactMachine(StateMachine):
    """One state machine; `pio` is its ExactPio."""

    pio: "ExactPio"

    def __init__(self, rp2040: RP2040, pio: "ExactPio", index: int) -> None:
        super().__init__(rp2040, pio, index)
        self.alarm = rp2040.clock.create_alarm(self._visible_due)
        self.levels = pio.levels
        self.program: Decoded | None = None
        self._base: tuple[int, ...] | None = None
        self._loops = LoopSkipper()

    # -- time ------------------------------------------------------------------------------

    def rewind_to(self, now_fp: int) -> None:
        """Go to the state of the chip at now_fp (1/256 clocks): exactly the instructions due before it are executed."""
        if self._base is None or self.waiting or not self.enabled:
            return
        if self.next_due_fp > now_fp:
            self._restore(self._base)
        self._run(now_fp)
        self._base = self._state()

    def run_ahead(self) -> None:
        """Execute the instructions without a visible effect and set the alarm for the first visible one."""
        if not self.enabled or self.waiting:
            self._base = None
            self.alarm.cancel()
            return
        now_fp = self.pio.cycle_fp
        self._base = self._state()
        self._run(now_fp + _HORIZON_FP)
        self.alarm.schedule(max(self.next_due_fp - now_fp, 0) / _FP_PER_NS)

    def _visible_due(self) -> None:
        """Alarm: execute the instruction that is due now, then run ahead."""
        self._base = None
        if not self.waiting:
            program = self._program()
            operation = program.operations[self.pc]
            following = VISIBLE if operation is None else operation(self)
            if following < 0:
                self.pio.step_machine(self, program.actions[self.pc])
            else:
                self.pio.cycle_fp = self.next_due_fp
                self.next_due_fp += program.costs[self.pc]
                self.pc = following
        self.run_ahead()

    def _program(self) -> Decoded:
        if self.program is None:
            self.program = decode(self)
            self._loops = LoopSkipper()
        return self.program

    def _run(self, limit_fp: int) -> None:
        """Execute instructions without a visible effect that are due before limit_fp."""
        program = self.program or self._program()
        operations, costs = program.operations, program.costs
        due, pc = self.next_due_fp, self.pc
        loops = self._loops
        loops.forget()
        while due < limit_fp:
            operation = operations[pc]
            if operation is None:
                break
            following = operation(self)
            if following < 0:
                break
            due += costs[pc]
            if following <= pc and loops.came_back(following):
                self.pc, self.next_due_fp = following, due
                loops.skip(self, program, limit_fp)
                due, pc = self.next_due_fp, self.pc
                continue
            pc = following
        self.pc, self.next_due_fp = pc, due

    def _state(self) -> tuple[int, ...]:
        return (
            self.next_due_fp, self.pc, self.x, self.y, self.input_shift_reg, self.input_shift_count,
            self.output_shift_reg, self.output_shift_count,
        )  # fmt: skip

    def _restore(self, state: tuple[int, ...]) -> None:
        (
            self.next_due_fp, self.pc, self.x, self.y, self.input_shift_reg, self.input_shift_count,
            self.output_shift_reg, self.output_shift_count,
        ) = state  # fmt: skip

    # -- rp2040py's methods, on this time ---------------------------------------------------

    def check_wait(self) -> None:
        """Test the condition of a stalled instruction again, at its own divided clocks only."""
        if not self.waiting:
            return
        pio = self.pio
        now_fp = pio.cycle_fp
        late = now_fp - self.next_due_fp
        if late > 0:
            pio.cycle_fp = self.next_due_fp + -(-late // self.div_fp) * self.div_fp
        super().check_wait()
        pio.cycle_fp = now_fp
        if not self.waiting:
            pio.freed.append(self)

    def write_uint32(self, offset: int, value: int) -> None:
        """Write one of the machine's registers; the program is decoded again for the new configuration."""
        super().write_uint32(offset, value)
        self.program = None

    def reset(self) -> None:
        """Stop the machine and forget its program and state."""
        super().reset()
        self.alarm.cancel()
        self.program = None
        self._base = None


class ExactPio(RPPIO):
    """A PIO block of ExactMachines. rp2040py's batch loop finds it stopped: alarms drive it instead."""

    def __init__(self, rp2040: RP2040, name: str, first_irq: int, index: int, levels: InputLevels) -> None:
        self.cycle_fp = 0
        self.levels = levels
        self.freed: list[ExactMachine] = []
        self._was_listening = True
        super().__init__(rp2040, name, first_irq, index)
        self.exact = [ExactMachine(rp2040, self, i) for i in range(4)]
        self.machines = list(self.exact)
        levels.blocks.append(self)

    def advance(self, cycles: int) -> None:
        """Do no work: alarms advance the machines, and the batch loop does not call this."""

    def _step_batch(self) -> None:
        """Do no work: no instruction is executed inside a register write."""

    def recompute_due(self) -> None:
        """Do no work: each machine has its own alarm."""

    def notify_due(self, due_fp: int) -> None:
        """Do no work: each machine has its own alarm."""

    def step_machine(self, machine: ExactMachine, action: Action | None) -> None:
        """Execute one visible instruction at its due time: by its direct form, or by the interpreter when None."""
        self.cycle_fp = machine.next_due_fp
        if action:
            action(machine)
        else:
            machine.step()
            self.check_changed_pins()
        if self.freed:
            freed, self.freed = self.freed, []
            for other in freed:
                if other is not machine:
                    other.run_ahead()

    def irq_updated(self) -> None:
        """Test the conditions of waiting machines after a change of the flags, then update the interrupt lines."""
        for machine in self.exact:
            if machine.waiting:
                machine.check_wait()
        self.check_interrupts()

    def check_interrupts(self) -> None:
        """Update the interrupt lines; skipped while no interrupt is enabled, for speed."""
        listening = self.irq0_int_enable | self.irq0_int_force | self.irq1_int_enable | self.irq1_int_force
        if listening or self._was_listening:
            super().check_interrupts()
        self._was_listening = bool(listening)

    def now(self) -> int:
        """Set the block's time to the clock's and return it, in 1/256 system clocks."""
        self.cycle_fp = int(self.rp2040.clock.nanos * _FP_PER_NS)
        return self.cycle_fp

    def rewind(self) -> None:
        """Bring every machine to the present, before one of its inputs changes."""
        now_fp = self.now()
        for machine in self.exact:
            machine.rewind_to(now_fp)

    def resume(self) -> None:
        """Let every machine run ahead again, after a change of its inputs."""
        self.freed.clear()
        for machine in self.exact:
            machine.run_ahead()

    def read_uint32(self, offset: int) -> int:
        """Read a register of the block at the present time."""
        if SM0_CLKDIV <= offset <= SM3_PINCTRL:
            self.rewind()
            value = super().read_uint32(offset)
            self.resume()
            return value
        if RXF0 <= offset <= RXF3:
            machine = self.exact[(offset - RXF0) >> 2]
            machine.rewind_to(self.now())
            value = super().read_uint32(offset)
            machine.run_ahead()
            return value
        self.now()
        return super().read_uint32(offset)

    def write_uint32(self, offset: int, value: int) -> None:
        """Write a register of the block at the present time."""
        if TXF0 <= offset <= TXF3:
            machine = self.exact[(offset - TXF0) >> 2]
            machine.rewind_to(self.now())
            super().write_uint32(offset, value)
            machine.run_ahead()
        elif offset in _SYNCED_WRITES or offset >= INSTR_MEM0:
            self.rewind()
            super().write_uint32(offset, value)
            self.stopped = True  # not a property: the batch loop reads it after every instruction
            self.check_changed_pins()
            if INSTR_MEM0 <= offset < SM0_CLKDIV:
                self._forget_programs()
            self.resume()
        else:
            self.now()
            super().write_uint32(offset, value)

    def reset(self) -> None:
        """Reset the block and release the pins that it has driven."""
        super().reset()
        for pin in self.rp2040.gpio:
            pin.check_for_updates()

    def _forget_programs(self) -> None:
        for machine in self.exact:
            machine.program = None
