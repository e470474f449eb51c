"""PIO keeps exact time, compared with rp2040py's interpreter stepped clock by clock, and with arithmetic."""

import functools
import itertools
from unittest.mock import patch

from halite.emulator.pio import machine as exact_pio
from halite.emulator.pio.machine import ExactPio
from halite.emulator.rp2040py_fixes.corrections import install
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rp2040py.peripherals._pio import RPPIO
from rp2040py.peripherals.pio_registers import CTRL, INSTR_MEM0, RXF0, SM0_CLKDIV, SM0_EXECCTRL, SM0_PINCTRL, TXF0
from rp2040py.rp2040 import RP2040

PIN, OUT = 7, 8
CLOCK_NS = 8.0
NEAR = 500  # clocks
PINCTRL = OUT << 5 | 1 << 26 | PIN << 15  # SET drives OUT, IN reads from PIN
EXECCTRL = PIN << 24


def start(pio, program, clkdiv: int = 1) -> None:
    for address, opcode in enumerate(program):
        pio.write_uint32_atomic(INSTR_MEM0 + 4 * address, opcode, 0)
    pio.write_uint32_atomic(SM0_CLKDIV, clkdiv << 16, 0)
    pio.write_uint32_atomic(SM0_EXECCTRL, EXECCTRL | len(program) - 1 << 12, 0)
    pio.write_uint32_atomic(SM0_PINCTRL, PINCTRL, 0)
    pio.write_uint32_atomic(CTRL, 1, 0)


@functools.cache
def interpreter() -> tuple[RP2040, RPPIO]:
    """Return rp2040py's PIO, which the test steps by one system clock at a time."""
    chip = RP2040()
    chip.simulator = object()
    pio = RPPIO(chip, "PIO0", 7, 0)
    chip.pio[0] = pio
    chip.peripherals[0x50200] = pio
    chip.gpio[PIN].pad_value = 0x56
    return chip, pio


@functools.cache
def exact_chip() -> tuple[RP2040, ExactPio]:
    chip = RP2040()
    chip.simulator = object()
    return chip, install(chip).pio[0]


def fresh(made: tuple[RP2040, RPPIO]) -> tuple[RP2040, RPPIO]:
    """Return the same chip with its PIO block reset: a new chip takes longer than a test."""
    chip, pio = made
    pio.reset()
    chip.gpio[PIN].set_input_value(False)
    return chip, pio


def registers(machine) -> dict[str, int]:
    names = ("pc", "x", "y", "input_shift_reg", "output_shift_reg", "input_shift_count", "output_shift_count")
    return {name: getattr(machine, name) & 0xFFFFFFFF for name in names} | {
        "rx": list(machine.rx_fifo.items), "tx": list(machine.tx_fifo.items),
    }  # fmt: skip


target = st.integers(0, 7)
delay = st.integers(0, 3).map(lambda n: n << 8)
jump = st.builds(lambda c, t, d: c << 5 | t | d, st.integers(0, 7), target, delay)
move = st.builds(
    lambda to, how, source, d: 0xA000 | to << 5 | how << 3 | source | d,
    st.sampled_from((1, 2, 6, 7)), st.integers(0, 2), st.sampled_from((0, 1, 2, 3, 5, 6, 7)), delay,
)  # fmt: skip
put = st.builds(lambda to, n, d: 0xE000 | to << 5 | n | d, st.sampled_from((0, 1, 2)), st.integers(0, 31), delay)
shift_in = st.builds(lambda s, n: 0x4000 | s << 5 | n, st.sampled_from((0, 1, 2, 3, 6, 7)), st.integers(0, 31))
shift_out = st.builds(lambda to, n: 0x6000 | to << 5 | n, st.sampled_from((1, 2, 3, 6)), st.integers(1, 31))
fifo = st.sampled_from((0x8000, 0x8080))  # push noblock, pull noblock
flag = st.sampled_from((0xC000, 0xC041))  # irq 0, irq clear 1
programs = st.lists(st.one_of(jump, jump, jump, move, put, shift_in, shift_out, fifo, flag), min_size=8, max_size=8)
happenings = st.lists(st.tuples(st.integers(1, 400), st.sampled_from(("pin", "feed", "look"))), max_size=6)


# With the real horizon a program without visible effects runs 50 ms ahead each time, a minute in all. Runs cross it.
@patch.object(exact_pio, "_HORIZON_FP", NEAR << 8)
@settings(max_examples=60, deadline=None, phases=[phase for phase in Phase if phase is not Phase.shrink])  # slow
@given(programs, happenings, st.integers(1, 3))
def test_any_program_runs_as_the_interpreter(program, events, clkdiv):
    """Any program leaves the state that the interpreter leaves when it is stepped clock by clock."""
    chip, reference = fresh(interpreter())
    corrected, exact = fresh(exact_chip())
    level, clocks = False, 0
    early = CLOCK_NS / 2  # look in the middle of a clock, where no instruction is due
    for pio in (reference, exact):
        start(pio, program, clkdiv=clkdiv)
    for wait, what in [*events, (200, "look")]:
        for _ in range(wait):
            reference.cycle_fp = clocks << 8
            if reference.next_due_fp <= reference.cycle_fp:
                reference._run_due()
            clocks += 1
            reference.cycle_fp = clocks << 8
        corrected.clock.tick(wait * CLOCK_NS - early)
        early = 0.0
        if what == "pin":
            level = not level
            for each in (chip, corrected):
                each.gpio[PIN].set_input_value(level)
        elif what == "feed":
            for pio in (reference, exact):
                pio.write_uint32_atomic(TXF0, clocks, 0)
        exact.rewind()
        assert registers(exact.machines[0]) == registers(reference.machines[0])
        assert (exact.irq, exact.pin_values) == (reference.irq, reference.pin_values)
        exact.resume()


def test_the_emulator_still_keeps_32_bits_that_were_shifted_out():
    """rp2040py still keeps the 32 bits that an OUT of 32 bits has shifted out."""
    _, pio = fresh(interpreter())
    start(pio, [0x8080, 0x6040, 0x0002])  # pull noblock; out y, 32; jmp 2
    pio.write_uint32_atomic(TXF0, 0xFFFFFFFF, 0)
    for clock in range(8):
        pio.cycle_fp = clock << 8
        if pio.next_due_fp <= pio.cycle_fp:
            pio._run_due()
    found = registers(pio.machines[0])
    assert (found["y"], found["output_shift_reg"]) == (0xFFFFFFFF, 0xFFFFFFFF)


def test_an_out_of_32_bits_leaves_zeros():
    """An OUT of 32 bits leaves zeros (RP2040 data sheet 3.4.5). The random programs above do not contain it."""
    chip, pio = fresh(exact_chip())
    start(pio, [0x8080, 0x6040, 0x0002])
    pio.write_uint32_atomic(TXF0, 0xFFFFFFFF, 0)
    chip.clock.tick(20 * CLOCK_NS)
    pio.rewind()
    found = registers(pio.machines[0])
    assert (found["y"], found["output_shift_reg"]) == (0xFFFFFFFF, 0)


def mains_period(levels: list[tuple[int, bool]]) -> list[int]:
    """Counts that `mov x,!null; hi: jmp x-- h2; h2: jmp pin hi; lo: jmp pin done; jmp x-- lo; done: mov isr,x; push`
    leaves for the given (clocks, level) sequence."""
    chip, pio = fresh(exact_chip())
    program = [0xA02B, 0x0042, 0x00C1, 0x00C5, 0x0043, 0xA0C1, 0x8000]
    start(pio, program)
    counts = []
    for clocks, level in levels:
        chip.gpio[PIN].set_input_value(level)
        chip.clock.tick(clocks * CLOCK_NS)
        while pio.machines[0].rx_fifo.item_count:
            counts.append(0xFFFFFFFF - pio.read_uint32(RXF0))
    return counts


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(100, 2_000_000), st.integers(100, 2_000_000)), min_size=3, max_size=6))
def test_a_period_counter_is_exact_to_two_clocks(halves):
    """A period counter at full clock is exact to its resolution of two clocks."""
    levels = [edge for high, low in halves for edge in ((high, True), (low, False))]
    counts = mains_period([*levels, (50, True)])
    periods = [high + low for high, low in halves]
    assert len(counts) == len(periods)
    assert all(abs(2 * count + 6 - period) <= 4 for count, period in zip(counts[1:], periods[1:], strict=True))


def test_the_emulator_still_runs_one_instruction_per_jump():
    """rp2040py still runs one PIO instruction per idle jump."""
    _, pio = fresh(interpreter())
    start(pio, [0xA02B, 0x0041])  # mov x, ~null; loop: jmp x-- loop
    pio.advance(125_000)
    pio.advance(125_000)
    assert 0xFFFFFFFF - pio.machines[0].x <= 2


def test_a_pin_toggles_while_the_processor_sleeps():
    """A pin toggles at its divided clock while the processor sleeps."""
    chip, pio = fresh(exact_chip())
    edges: list[float] = []
    pio.pin_directions = 1 << OUT
    chip.gpio[OUT].ctrl = 6
    chip.gpio[OUT].check_for_updates()
    unlisten = chip.gpio[OUT].add_listener(lambda new, old: edges.append(chip.clock.nanos))
    start(pio, [0xE001 | 7 << 8, 0xE000 | 7 << 8], clkdiv=125)  # set pins 1 [7]; set pins 0 [7] at 1 MHz
    chip.clock.tick(999_999.0)
    unlisten()
    steps = [b - a for a, b in itertools.pairwise(edges)]
    assert len(edges) == 125 and set(steps) == {8000.0}


def test_two_machines_hand_a_flag_over():
    """Machine 0 sets a flag every 20 clocks; machine 1 waits for it and pulses a pin."""
    chip, pio = fresh(exact_chip())
    edges: list[float] = []
    pio.pin_directions = 1 << OUT
    chip.gpio[OUT].ctrl = 6
    chip.gpio[OUT].check_for_updates()
    unlisten = chip.gpio[OUT].add_listener(lambda new, old: edges.append(chip.clock.nanos / CLOCK_NS))
    program = [0xC004 | 19 << 8, 0x20C4, 0xE001 | 4 << 8, 0xE000]  # irq 4 [19] | wait 1 irq 4; set 1 [4]; set 0
    for address, opcode in enumerate(program):
        pio.write_uint32_atomic(INSTR_MEM0 + 4 * address, opcode, 0)
    for stride, top, bottom in ((0, 0, 0), (0x18, 3, 1)):
        pio.write_uint32_atomic(SM0_CLKDIV + stride, 1 << 16, 0)
        pio.write_uint32_atomic(SM0_EXECCTRL + stride, top << 12 | bottom << 7, 0)
        pio.write_uint32_atomic(SM0_PINCTRL + stride, PINCTRL, 0)
    pio.machines[1].pc = 1
    pio.write_uint32_atomic(CTRL, 3, 0)
    chip.clock.tick(1000 * CLOCK_NS)
    rising = edges[::2]
    assert {b - a for a, b in itertools.pairwise(rising)} == {20.0}
    assert {b - a for a, b in zip(edges[::2], edges[1::2], strict=False)} == {5.0}
    unlisten()
