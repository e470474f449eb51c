"""The safe state needs no software (rule R5): the real PIO programs on the emulated board, with the charge pump.

Each failure is caused on the running interpreter after the dead-man was armed and fed for a while. The coils' supply
must drop within the window and stay off: only a new arm_enable() may restore it.
"""

from collections.abc import Callable

import pytest
from halite.bench.deadman_rig import AFE_TX, ESTOP, HVIL, MAIN_NEG, MAIN_POS, OC_ALERT, PRECHARGE, Rig, WINDOW_ms
from halite.emulator.repl import ReplError, at_prompt
from halite.emulator.rp2040py_fixes.pwm import duty


@pytest.fixture(scope="module")
def set_up() -> Rig:
    return Rig()


@pytest.fixture
def rig(set_up: Rig) -> Rig:
    """The board at its prompt; code of the test before it has ended."""
    at_prompt(set_up.board)
    set_up.board.run_for(2 * WINDOW_ms)
    return set_up


FILL = "x = []\ntry:\n while 1: x.append(bytearray(4000))\nexcept MemoryError: pass\n"
ONE_SHOT = "start(); Timer(period=5, mode=Timer.ONE_SHOT, hard=True, callback={}); time.sleep_ms(20)"
HANGS = {
    "an endless loop": "start(); spin(120)",
    "interrupts disabled": "start(); s = machine.disable_irq(); spin(120); machine.enable_irq(s)",
    "an exception": "start(); raise ValueError",
    "a hard interrupt handler that hangs": ONE_SHOT.format("hang"),
    "collections of a full heap": FILL + "start()\nfor _ in range(7): gc.collect()\ndel x; gc.collect()",
    "a loop that keeps feeding": "start()\nfor _ in range(100): port.feed()",
    "a fast loop that feeds in bursts": "start()\nfor _ in range(20): time.sleep_us(700); port.feed()",
}


@pytest.mark.parametrize("failure", HANGS)
def test_the_coils_drop_within_the_window_and_stay_off(rig: Rig, failure: str) -> None:
    """After each kind of hang the coils drop within the window and stay off."""
    rig.marks.clear()
    rig.board.events.clear()
    try:
        rig.run(HANGS[failure])
    except ReplError as error:
        assert "ValueError" in str(error)
    rig.board.run_for(100)
    changes = rig.supply()
    assert [alive for _, alive in changes] == [1, 0]
    assert changes[1][0] - rig.marks[-1] <= 1000 * WINDOW_ms
    assert rig.coils.coils == 0


FEEDS, FEED_ms = 20, 10
FEEDER = f"""
calls = 0
def feed(timer):
    global calls
    calls += 1
    if calls == {FEEDS + 1}: raise ValueError
    port.feed()
    mark(calls & 1)
start(); mark(0)
timer = Timer(period={FEED_ms}, mode=Timer.PERIODIC, hard=True, callback=feed)
time.sleep_ms({(FEEDS + 4) * FEED_ms + 2 * WINDOW_ms})
timer.deinit()
"""


def test_feeding_by_interrupt_ends_with_its_exception(rig: Rig) -> None:
    """A hard interrupt that feeds keeps the coils until it raises an exception."""
    rig.marks.clear()
    rig.board.events.clear()
    output = rig.run(FEEDER)
    (_, up), (down_us, down) = rig.supply()
    fed = rig.marks[-FEEDS:]
    assert (up, down) == (1, 0) and "ValueError" in output
    assert fed[-1] - fed[0] >= (FEEDS - 2) * FEED_ms * 1000 > 3 * WINDOW_ms * 1000  # no other code fed in that time
    assert 0 < down_us - fed[-1] <= 1000 * WINDOW_ms
    assert rig.board.now_us - down_us > 1000 * WINDOW_ms  # the timer still ran then


@pytest.mark.parametrize("pin", [HVIL, ESTOP, OC_ALERT])
def test_an_interlock_cuts_in_100_us_for_good(rig: Rig, pin: int) -> None:
    """An interlock cuts the supply within 100 us, and its return does not restore it."""
    assert rig.interlock_us(pin) <= 100
    assert not rig.coils.alive and [alive for _, alive in rig.supply()] == [1, 0]


def test_feeding_on_time_keeps_the_coils(rig: Rig) -> None:
    """Feeds on time keep the coils; feed() returns False once the dead-man has dropped them."""
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


def test_a_communication_clear_is_low_for_15_to_20_bit_times(rig: Rig) -> None:
    """A communication clear is low for 15 to 20 bit times; the BQ79616 ignores less and takes much more as a wake."""
    edges: list[float] = []
    rig.board.rp2040.gpio[AFE_TX].add_listener(lambda new, old: edges.append(rig.board.now_us))
    rig.run("from rack.hal.rp2_board import AfeUart\nu = AfeUart(0, 1)")
    rig.run("for _ in range(5): u.pulse_low(17); time.sleep_ms(1)")
    lows = [edges[at + 1] - edges[at] for at in range(0, len(edges), 2)]
    assert len(lows) == 5 and all(15 <= low <= 20 for low in lows), lows


def test_coils_get_full_current_to_pull_in_and_less_to_hold(rig: Rig) -> None:
    """Coils get full current to pull in and the configured share to hold."""
    rig.run("p.contactor_hold_pct = 40; saver = Rp2Board(p); saver.write_coils(5)")
    duties = {pin: duty(rig.board.rp2040, pin) for pin in (MAIN_NEG, PRECHARGE, MAIN_POS)}
    assert duties == {MAIN_NEG: pytest.approx(1), PRECHARGE: 0, MAIN_POS: pytest.approx(1)}
    rig.run("for _ in range(10): saver.write_coils(5)")
    duties = {pin: duty(rig.board.rp2040, pin) for pin in (MAIN_NEG, PRECHARGE, MAIN_POS)}
    assert duties == {MAIN_NEG: pytest.approx(0.4, abs=0.01), PRECHARGE: 0, MAIN_POS: pytest.approx(0.4, abs=0.01)}
    rig.run("saver.write_coils(0); p.contactor_hold_pct = 100; port = Rp2Board(p)")
    assert duty(rig.board.rp2040, MAIN_NEG) == 0


@pytest.mark.parametrize("reset", [_machine_reset, _soft_reset])
def test_a_reset_of_either_kind_drops_them_for_good(rig: Rig, reset: Callable[[Rig], None]) -> None:
    """Either kind of reset drops the coils for good: a soft reset keeps static outputs, but pins stop toggling."""
    again = Rig(rig.board.flash_snapshot())
    again.marks.clear()
    again.board.events.clear()
    reset(again)
    assert again.board.run_until(lambda: again.marks and len(again.supply()) == 2, 1500)
    again.board.run_for(300)
    changes = again.supply()
    assert [alive for _, alive in changes] == [1, 0]
    assert changes[1][0] - again.marks[-1] <= 1000 * WINDOW_ms


def test_a_flash_erase_of_400_ms_drops_the_coils(rig: Rig) -> None:
    """A flash erase of 400 ms drops the coils within the window."""
    rig.board.corrected.flash.erase_stall_ms = 400.0
    rig.marks.clear()
    rig.board.events.clear()
    rig.run("start(); f = rp2.Flash(); f.ioctl(6, f.ioctl(4, 0) - 1)")
    rig.board.corrected.flash.erase_stall_ms = 0.0
    assert any(event.what == "flash" for event in rig.board.events)
    changes = rig.supply()
    assert [alive for _, alive in changes] == [1, 0]
    assert changes[1][0] - rig.marks[-1] <= 1000 * WINDOW_ms
