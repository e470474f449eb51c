"""The state of a PIO state machine as decode, loops and direct know it, and the forms of a decoded program.

`halite.emulator.pio.machine.ExactMachine` has these members. The modules that decode and execute instructions depend
on this description only, so they do not import the machine that imports them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rp2040py.peripherals.pio_registers import WaitType
from rp2040py.rp2040 import RP2040
from rp2040py.utils.fifo import FIFO

VISIBLE = -1
MASK = 0xFFFFFFFF


class LevelWord(Protocol):
    """The levels of all pins. mask: bit n is the level of GPIOn."""

    mask: int


class PioBlock(Protocol):
    """The part of a PIO block that its four state machines share."""

    irq: int
    pin_values: int
    old_pin_values: int
    pin_directions: int

    @property
    def instructions(self) -> Sequence[int]:
        """The 32 words of the instruction memory."""

    def irq_updated(self) -> None:
        """Handle a change of `irq`: wake the machines that wait for a flag, then update the interrupt lines."""

    def check_interrupts(self) -> None:
        """Update the interrupt lines of the processor from `irq` and the FIFOs."""


class MachineState(Protocol):
    """Registers and configuration of one state machine. Times in `_fp` count 1/256 system clocks."""

    index: int
    pc: int
    x: int
    y: int
    input_shift_reg: int
    input_shift_count: int
    output_shift_reg: int
    output_shift_count: int
    next_due_fp: int
    div_fp: int
    exec_ctrl: int
    shift_ctrl: int
    wait_delay: int
    tx_fifo: FIFO
    rp2040: RP2040

    @property
    def pio(self) -> PioBlock:
        """The block that this machine belongs to."""

    @property
    def levels(self) -> LevelWord:
        """The levels of all pins."""

    @property
    def status(self) -> int:
        """The value that MOV reads from STATUS."""

    @property
    def wrap_top(self) -> int:
        """Address of the last instruction of the wrapped part, 0..31."""

    @property
    def wrap_bottom(self) -> int:
        """Address that follows `wrap_top`, 0..31."""

    @property
    def sideset_count(self) -> int:
        """Bits of the delay field that are side-set bits, the enable bit included."""

    @property
    def sideset_base(self) -> int:
        """First side-set pin."""

    @property
    def set_base(self) -> int:
        """First pin of SET."""

    @property
    def set_count(self) -> int:
        """Number of pins of SET."""

    @property
    def out_base(self) -> int:
        """First pin of OUT and MOV PINS."""

    @property
    def out_count(self) -> int:
        """Number of pins of OUT and MOV PINS."""

    @property
    def in_base(self) -> int:
        """First pin of IN and of MOV from pins."""

    @property
    def jmp_pin(self) -> int:
        """The pin that JMP PIN tests."""

    @property
    def push_threshold(self) -> int:
        """Bits after which autopush pushes, 1..32."""

    @property
    def pull_threshold(self) -> int:
        """Bits after which autopull pulls, 1..32."""

    def wait(self, wait_type: WaitType, polarity: bool, index: int) -> None:
        """Stall until the condition holds."""


Operation = Callable[[MachineState], int]
Probe = tuple[bool, Callable[[MachineState], Any]]  # (True: a counter that a branch tests; False: must repeat)
Action = Callable[[MachineState], None]


@dataclass(frozen=True)
class Decoded:
    """A decoded program; every field has one entry per address.

    operations: the next program counter, or VISIBLE. costs: time in 1/256 system clocks. probes: the values that a
    loop depends on there. actions: the direct form of a visible instruction; None leaves it to the interpreter.
    """

    operations: tuple[Operation | None, ...]
    costs: tuple[int, ...]
    probes: tuple[Probe | None, ...]
    actions: tuple[Action | None, ...]
