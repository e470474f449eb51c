"""The PIO programs: dead-man window, contactor-enable gate, mains period.

Hazard: outputs that stay on while the application has stopped. Two state machines together make a train of pulses on
the enable pin. One of them alone, or a stopped one, leaves a static level, and the charge pump behind the pin drops
the coils' supply (docs/wiring.md).

* `window` permits one pulse a tick (20 µs) while it is fed. It reads the FIFO's status and not the value of a feed, so
  feeds cannot be stored. After each feed the window is closed for `closed` ticks. A feed in that time ends the
  permission for good, as silence longer than `open` ticks does; so a loop that feeds without end is caught.
* `gate` turns a permission into a pulse if HVIL, E-stop and over-current alert, three neighbouring
  pins, are all high; otherwise it stops for good.

They do not restart by themselves: only Rp2Board.arm_enable() restarts them.
Both together fill one PIO block (31 of 32 instructions). `period` is in the other one; the state machines of
all measured phases run the same 11 instructions. The RS-485 transmitter of rp2_rs485 uses 19 of the others.
"""

import rp2
from micropython import const

TICK_US = const(20)              # 1 MHz state machine clock: six instructions and 14 cycles of delay
CLOCK_Hz = const(1_000_000)


@rp2.asm_pio()
def window():
    pull(block)
    mov(y, osr)                  # open ticks
    pull(block)
    mov(isr, osr)                # closed ticks
    mov(x, y)
    wrap_target()
    label("open")
    irq(4)[14]                   # permission for one pulse
    mov(osr, x)
    mov(x, status)               # all ones while the FIFO is empty
    jmp(not_x, "fed")
    mov(x, osr)
    jmp(x_dec, "open")
    label("dead")
    jmp("dead")
    label("fed")
    pull(noblock)
    mov(x, isr)
    label("closed")
    irq(4)[14]
    mov(osr, x)
    mov(x, status)
    jmp(not_x, "dead")           # fed again too soon
    mov(x, osr)
    jmp(x_dec, "closed")
    mov(x, y)
    wrap()


@rp2.asm_pio(set_init=rp2.PIO.OUT_LOW)
def gate():
    set(pins, 0)
    set(y, 7)
    wrap_target()
    wait(1, irq, 4)
    mov(isr, null)
    in_(pins, 3)
    mov(x, isr)
    jmp(x_not_y, "off")
    set(pins, 1)[9]
    set(pins, 0)
    wrap()
    label("off")
    jmp("off")


@rp2.asm_pio()
def period():
    """Two cycles a tick from rising edge to rising edge; edges within the hold-off are comparator chatter."""
    pull(block)                  # hold-off in cycles
    wrap_target()
    mov(y, osr)
    mov(x, invert(null))
    label("hold")
    jmp(y_dec, "hold")
    label("high")
    jmp(x_dec, "still")
    label("still")
    jmp(pin, "high")
    label("low")
    jmp(pin, "rising")
    jmp(x_dec, "low")
    label("rising")
    mov(isr, invert(x))
    push(noblock)
    irq(rel(0))
    wrap()
