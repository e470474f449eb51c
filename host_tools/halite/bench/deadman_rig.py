"""The dead-man alone on an emulated board: the real port and its PIO programs, controlled through the raw REPL.

Each failure is caused on the running interpreter. The charge pump of the coil driver shows the coils' supply.
"""

from collections.abc import Iterator
from math import inf

from rp2040py.gpio_pin import GPIOPinState

from halite.build import firmware as build
from halite.common.errors import HaliteError
from halite.common.image import image_path
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.coil_driver import CoilDriver
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.emulator.rp2040py_fixes.pwm import quiet_pwm

HIGH = GPIOPinState.HIGH

WINDOW_ms = 50
AFE_TX = 0
ENABLE, PRECHARGE, MAIN_POS, MAIN_NEG, MARK, HVIL, ESTOP, OC_ALERT = 8, 9, 10, 11, 22, 13, 14, 15

SETUP = """
import gc, machine, rp2, time
from machine import Pin, Timer
class Pins: pass
p = Pins()
for name, pin in {pins}: setattr(p, 'pins_' + name, pin)
p.deadman_window_ms = {window}
p.contactor_hold_pct = 100
p.rack_scan_ms = 10
p.grid_phases = 1
p.modbus_enabled = 0
p.afe_chip = 0
from rack.hal.rp2_board import Rp2Board
port = Rp2Board(p)
mark = Pin(22, Pin.OUT, value=0)
def start():
    mark(0)
    port.write_coils(0)
    port.write_coils(7)
    for _ in range(4):
        time.sleep_ms(10)
        port.feed()
    mark(1)
def spin(ms):
    t = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), t) < ms: pass
def hang(timer):
    spin(150)
"""
PINS = (
    ("coil_enable", 8),
    ("coil_precharge", 9),
    ("coil_main_pos", 10),
    ("coil_main_neg", 11),
    ("heater", 22),
    ("fan_pwm", 20),
    ("pump_pwm", 21),
    ("coolant_adc", 26),
    ("coolant_flow", -1),
    ("gas_adc", 27),
    ("afe_tx", 0),
    ("afe_rx", 1),
    ("can_sck", 18),
    ("can_mosi", 19),
    ("can_miso", 16),
    ("can_cs", 17),
    ("i2c_sda", 2),
    ("i2c_scl", 3),
    ("zero_crossing_a", 7),
    ("zero_crossing_b", -1),
    ("zero_crossing_c", -1),
    ("hvil", 13),
    ("estop", 14),
    ("oc_alert", 15),
    ("aux_main_pos", 12),
    ("aux_main_neg", 28),
)


class Rig:
    """A board at the raw REPL with its coil driver. marks: edges of pin MARK in us, the last at the last feed."""

    def __init__(self, flash: bytes | None = None) -> None:
        self.board = EmulatedBoard(image_path(), flash=flash or _flash())
        self.coils = CoilDriver(self.board, ENABLE, {1: MAIN_NEG, 2: PRECHARGE, 4: MAIN_POS}, lambda bits: None)
        quiet_pwm(self.board.rp2040)
        self.marks: list[float] = []
        self.board.rp2040.gpio[MARK].add_listener(lambda new, old: self.marks.append(self.board.now_us))
        for pin in (HVIL, ESTOP, OC_ALERT):
            self.board.rp2040.gpio[pin].set_input_value(True)
        self.board.run_for(1200)
        at_prompt(self.board)
        run_code(self.board, SETUP.format(pins=PINS, window=WINDOW_ms), 8000)

    def begin(self, code: str) -> None:
        """Start code on the board; `wait` waits for its end."""
        self.board.forget_received()
        self.board.send(code.encode() + b"\x04")

    def run(self, code: str) -> str:
        """Run code on the board and return its output."""
        return run_code(self.board, code, 8000)

    def keep_alive(self, ms: int) -> None:
        """Arm the dead-man, feed it, mark the time, and start code that feeds it for about `ms`."""
        self.marks.clear()
        self.board.events.clear()
        self.begin(f"start()\nfor _ in range({ms // 10}): time.sleep_ms(10); port.feed()")
        armed = self.board.run_until(lambda: self.marks and self.board.rp2040.gpio[MARK].value == HIGH, 500)
        if not armed or not self.coils.alive or self.coils.coils != 7:
            raise HaliteError("the dead-man did not arm")

    def wait(self) -> None:
        """Run until the code that `begin` started has ended. HaliteError after 1 s."""
        if not self.board.run_until(lambda: self.board.received.count(b"\x04") >= 2, 1000):
            raise HaliteError("the code on the board did not end")

    def supply(self) -> list[tuple[float, int]]:
        """Return (time in us, 1 on or 0 off) of each change of the coils' supply."""
        return [(event.at_us, int(str(event.detail[0]))) for event in self.board.events if event.what == "enable"]

    def interlock_us(self, pin: int) -> float:
        """Return the time in us from a low interlock pin to the supply off, while the board feeds; inf if it stays on.

        When this returns, the pin is high again and the feeds have ended.
        """
        self.keep_alive(100)
        self.board.run_for(3.0037 * (pin - 10))  # a different phase of the 20 us tick for each pin
        cut_us = self.board.now_us
        self.board.rp2040.gpio[pin].set_input_value(False)
        self.board.run_for(1)
        dropped = [us for us, alive in self.supply() if not alive and us >= cut_us]
        self.board.rp2040.gpio[pin].set_input_value(True)
        self.wait()
        return dropped[0] - cut_us if dropped else inf


def _flash() -> bytes:
    """Return a flash with the firmware's modules, but without the files that start them."""
    files = build.make(load("bench_rack"), short=False).files
    modules = {name: data for name, data in files.items() if name.startswith("rack/")}
    return with_files(EmulatedBoard(image_path()).flash_snapshot(), modules)


def measure() -> Iterator[tuple[str, float]]:
    """Measure rows of `halite bench`: a hang, and the three interlocks, each at a different phase of the 20 us tick."""
    rig = Rig()
    rig.marks.clear()
    rig.board.events.clear()
    rig.run("start(); spin(120)")
    changes = rig.supply()
    if [alive for _, alive in changes] != [1, 0]:
        raise HaliteError("the dead-man did not drop after a hang")
    yield "deadman_drop_ms", round((changes[1][0] - rig.marks[-1]) / 1000, 2)
    yield "interlock_drop_us", round(max(rig.interlock_us(pin) for pin in (HVIL, ESTOP, OC_ALERT)), 1)
