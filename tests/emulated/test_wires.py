"""The wires between an emulated board and the simulated rack, used from MicroPython on the board."""

import pytest
from halite.emulator.repl import at_prompt, run_code
from halite.hosts.emulated import EmulatedRack, emulated_rack

SETUP = """
import machine, time
from machine import Pin
coils = [Pin(n, Pin.OUT, value=0) for n in (11, 9, 10)]
en = Pin(8, Pin.OUT, value=0)
def toggle(ms):
    end = time.ticks_add(time.ticks_ms(), ms)
    while time.ticks_diff(end, time.ticks_ms()) > 0:
        en(1)
        en(0)
"""


def booted() -> EmulatedRack:
    emulated = emulated_rack("bench_rack")
    emulated.board.run_for(1200)
    at_prompt(emulated.board)
    run_code(emulated.board, SETUP)
    emulated.board.events.clear()
    return emulated


@pytest.fixture(scope="module")
def rack() -> EmulatedRack:
    """One rack for tests that do not change it."""
    return booted()


def times(rack: EmulatedRack, what: str, *detail: object) -> list[float]:
    return [e.at_us for e in rack.board.events if e.what == what and e.detail[: len(detail)] == detail]


def test_a_static_enable_leaves_the_coils_without_current(rack: EmulatedRack):
    """A static enable pin leaves the coils without current."""
    rack.board.events.clear()
    run_code(rack.board, "coils[0](1)\nen(1)\ntime.sleep_ms(40)\nen(0)\ncoils[0](0)\ntime.sleep_ms(20)")
    assert not times(rack, "contact")
    assert rack.wires.coil_driver.coils == 0


def test_a_toggling_enable_holds_a_contactor():
    """A toggling enable pin pulls a contactor in; when it stops, the contactor drops."""
    rack = booted()
    plant = rack.rack.plant
    run_code(rack.board, f"coils[0](1)\ntoggle({plant.pull_in_us // 1000 + 2})")
    rack.board.run_for(20)
    drop = times(rack, "enable", 0)[-1]
    pulled_us = times(rack, "coil", 1)[0]
    assert times(rack, "contact", "main_neg", 1)[0] == pytest.approx(pulled_us + plant.pull_in_us, abs=2)
    assert drop <= times(rack, "coil", 0)[-1] <= drop + 1
    assert times(rack, "contact", "main_neg", 0)[0] == pytest.approx(drop + plant.release_us, abs=2)


def test_a_reset_drops_the_coils():
    """A reset drops the coils within the hold-up time."""
    rack = booted()
    rack.board.send(b"coils[0](1)\ntoggle(3)\nmachine.reset()\x04")
    assert rack.board.run_until(lambda: times(rack, "reset"), 400)
    reset_us = times(rack, "reset")[0]
    rack.board.run_for(20)
    assert reset_us <= times(rack, "coil", 0)[-1] <= reset_us + 60


def test_the_interlock_inputs_are_high_while_healthy(rack: EmulatedRack):
    """HVIL, emergency stop and over-current alert are high while the rack is healthy."""
    pins = "p = [Pin(n, Pin.IN, Pin.PULL_DOWN) for n in (13, 14, 15)]\nprint([x() for x in p])"
    assert run_code(rack.board, pins) == "[1, 1, 1]\n"
    rack.rack.start_fault("hvil_open", at_us=rack.board.now_us)
    rack.wires.refresh()
    assert run_code(rack.board, "print([x() for x in p])") == "[0, 1, 1]\n"
    rack.rack.stop_fault("hvil_open", at_us=rack.board.now_us)


def test_the_zero_crossing_pin_has_the_grid_period(rack: EmulatedRack):
    """The zero-crossing pin has the period of the grid."""
    code = """
l = []
z = Pin(7, Pin.IN)
z.irq(lambda pin: l.append(time.ticks_us()), Pin.IRQ_RISING)
time.sleep_ms(70)
z.irq(None)
print([b - a for a, b in zip(l, l[1:])])
"""
    measured = [int(us) for us in run_code(rack.board, code).strip("[]\n").split(",")]
    assert len(measured) >= 2 and all(abs(us - 20_000) < 50 for us in measured)
    edges = times(rack, "mains")
    assert edges[-1] - edges[-2] == pytest.approx(20_000, abs=0.01)


def test_the_can_controller_answers_on_spi(rack: EmulatedRack):
    """The CAN controller answers on SPI."""
    code = """
cs = Pin(17, Pin.OUT, value=1)
s = machine.SPI(0, baudrate=8_000_000, sck=Pin(18), mosi=Pin(19), miso=Pin(16))
b = bytearray(4)
cs(0); s.write_readinto(b"\\x03\\x0e\\x00\\x00", b); cs(1)
print(hex(b[2]), hex(b[3]))
"""
    assert run_code(rack.board, code) == "0x80 0x87\n"  # CANSTAT, CANCTRL after reset: configuration mode


def test_current_sensor_and_fram_answer_on_i2c(rack: EmulatedRack):
    """Current sensor and FRAM answer on I2C."""
    code = """
i = machine.I2C(1, sda=2, scl=3, freq=400_000)
print(i.readfrom_mem(0x40, 0x3E, 2))
i.writeto_mem(0x50, 0x0123, b"log", addrsize=16)
print(i.readfrom_mem(0x50, 0x0123, 3, addrsize=16))
"""
    assert run_code(rack.board, code) == "b'TI'\nb'log'\n"
    assert rack.chips.fram.content[0x123:0x126] == b"log"


def test_the_afe_wakes_by_a_long_low_pulse(rack: EmulatedRack):
    """A low pulse of 2.5 ms wakes the AFE."""
    code = """
tx = Pin(0, Pin.OUT, value=1)
tx(0); time.sleep_us(2500); tx(1)
u = machine.UART(0, 1_000_000, tx=Pin(0), rx=Pin(1))
time.sleep_ms(12)
"""
    run_code(rack.board, code)
    assert rack.chips.afe.devices[0].awake


def test_gas_and_core_temperature_come_through_the_adc(rack: EmulatedRack):
    """The ADC reads gas sensor and core temperature."""
    code = "print(machine.ADC(27).read_u16() * 3300 >> 16, machine.ADC(4).read_u16() * 33000 >> 16)"
    gas_mV, core_dmV = map(int, run_code(rack.board, code).split())
    assert abs(gas_mV - rack.rack.gas_mV) <= 2
    assert abs(core_dmV - (7060 - 17.21 * (rack.rack.board_degC - 27))) <= 20


def test_fan_duty_and_heater_reach_the_rack(rack: EmulatedRack):
    """Fan duty and heater reach the rack."""
    code = "f = machine.PWM(Pin(20), freq=25_000, duty_u16=32768)\nPin(22, Pin.OUT, value=1)\ntime.sleep_ms(3)"
    run_code(rack.board, code)
    assert rack.rack.fan_pct == 50
    assert rack.rack.heater is True


def test_a_flash_write_under_closed_contacts_is_found(rack: EmulatedRack, flash_watch):
    """The watch of rule R6 finds a flash write under closed contacts, and no other."""
    for what, detail in (("contact", ("main_neg", 1)), ("flash", ("erase", 0, 4096)), ("contact", ("main_neg", 0))):
        rack.board.record(what, *detail)
    assert len(flash_watch.writes) == 1
    flash_watch.writes.clear()
    rack.board.record("flash", "erase", 0, 4096)
    assert flash_watch.writes == []
