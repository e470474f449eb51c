"""Each fault of rp2040py, shown on its own block, and its correction.

A test whose name begins with test_the_emulator_still fails once rp2040py has corrected the fault. The correction can
then be removed.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from halite.common.image import image_path
from halite.emulator.board import EmulatedBoard
from halite.emulator.repl import at_prompt, run_code
from halite.emulator.rp2040py_fixes.corrections import Corrected, install
from halite.emulator.rp2040py_fixes.pwm import duty
from halite.emulator.rp2040py_fixes.uart import INT_OE, INT_RT, INT_RX, INT_TX, SerialLine
from halite.emulator.runner import BoardRunner
from halite.emulator.usb_host import ConsoleHost
from rp2040py.peripherals.usb import RPUSBController
from rp2040py.rp2040 import RP2040
from rp2040py.usb.cdc import USBCDC

UART_DR, UART_IBRD, UART_LCR_H, UART_CR, UART_IMSC, UART_RIS = 0x00, 0x24, 0x2C, 0x30, 0x38, 0x3C
UART_ON, FIFO_8N1 = 0x301, 0x70
SPI_CR0, SPI_CR1, SPI_DR, SPI_SR, SPI_CPSR = 0x00, 0x04, 0x08, 0x0C, 0x10
PWM_CSR, PWM_CC, PWM_TOP = 0x00, 0x0C, 0x10
CLOCKS, CLK_PERI_CTRL = 0x40008, 0x48


def corrected_chip() -> tuple[RP2040, Corrected]:
    chip = RP2040()
    return chip, install(chip)


def open_uart(uart, divisor: int = 5) -> None:
    """125 MHz / (16 x 5) = 1.5625 Mbit/s, 8N1 with FIFOs."""
    uart.write_uint32(UART_IBRD, divisor)
    uart.write_uint32(UART_LCR_H, FIFO_8N1)
    uart.write_uint32(UART_CR, UART_ON)


FRAME_NS = 10 * 16 * 5 * 8.0


# -- UART


def test_the_emulator_still_interrupts_without_data():
    """rp2040py still raises the UART's transmit interrupt without data."""
    uart = RP2040().uart[0]
    open_uart(uart)
    uart.write_uint32(UART_IMSC, INT_TX)
    assert uart.read_uint32(UART_RIS) & INT_TX


def test_the_emulator_still_transmits_in_no_time():
    """rp2040py still transmits a UART byte in no time."""
    chip = RP2040()
    sent: list[float] = []
    chip.uart[0].on_byte = lambda byte: sent.append(chip.clock.nanos)
    open_uart(chip.uart[0])
    chip.uart[0].write_uint32(UART_DR, 0x55)
    assert sent == [0.0]


def test_the_transmit_interrupt_comes_at_its_trigger():
    """The transmit interrupt comes when the FIFO level falls to its trigger."""
    chip, corrected = corrected_chip()
    uart = corrected.uart[0]
    open_uart(uart)
    for byte in range(20):
        uart.write_uint32(UART_DR, byte)
    assert not uart.read_uint32(UART_RIS) & INT_TX  # one in the shifter, 19 waiting, trigger at 16
    chip.clock.tick(2.5 * FRAME_NS)
    assert not uart.read_uint32(UART_RIS) & INT_TX
    chip.clock.tick(FRAME_NS)
    assert uart.read_uint32(UART_RIS) & INT_TX


def test_bytes_leave_at_the_end_of_their_frames():
    """Each transmitted byte is reported at the end of its frame."""
    chip, corrected = corrected_chip()
    sent: list[tuple[float, int]] = []
    corrected.uart[0].on_byte = lambda byte: sent.append((chip.clock.nanos, byte))
    open_uart(corrected.uart[0])
    for byte in b"abc":
        corrected.uart[0].write_uint32(UART_DR, byte)
    chip.clock.tick(1e6)
    assert sent == [(FRAME_NS, ord("a")), (2 * FRAME_NS, ord("b")), (3 * FRAME_NS, ord("c"))]


def test_the_33rd_unread_byte_is_an_overrun():
    """The FIFO holds 32 bytes; the 33rd unread byte is an overrun."""
    chip, corrected = corrected_chip()
    uart = corrected.uart[0]
    open_uart(uart)
    line = SerialLine(uart)
    line.send(bytes(range(33)))
    chip.clock.tick(32.5 * FRAME_NS)
    assert not uart.read_uint32(UART_RIS) & INT_OE
    chip.clock.tick(FRAME_NS)
    assert uart.read_uint32(UART_RIS) & INT_OE
    assert [uart.read_uint32(UART_DR) for _ in range(32)] == list(range(32))


def test_a_short_message_ends_with_the_receive_timeout():
    """A message below the trigger raises the receive timeout after 32 bit times."""
    chip, corrected = corrected_chip()
    uart = corrected.uart[0]
    open_uart(uart)
    SerialLine(uart).send(b"hi")
    chip.clock.tick(2 * FRAME_NS + 3.1 * FRAME_NS)
    assert not uart.read_uint32(UART_RIS) & (INT_RT | INT_RX)
    chip.clock.tick(0.2 * FRAME_NS)
    assert uart.read_uint32(UART_RIS) & INT_RT


def test_micropython_reads_988_bytes_at_1_mbit_without_a_loss(shared_board: EmulatedBoard):
    """MicroPython reads 988 bytes at 1 Mbit/s without a loss."""
    run_code(shared_board, "import machine, time\nu = machine.UART(0, 1_000_000, tx=0, rx=1, rxbuf=1100)\nu.read()")
    data = bytes(n * 7 & 0xFF for n in range(988))
    SerialLine(shared_board.corrected.uart[0]).send(data)
    answer = run_code(shared_board, "time.sleep_ms(11)\nd = u.read()\nprint(len(d), sum(d))")
    assert answer.split() == ["988", str(sum(data))]


# -- USB


def test_the_emulator_still_completes_out_without_data():
    """rp2040py's USB host still completes an OUT transfer without data."""
    usb = RP2040().usb_ctrl
    cdc = USBCDC(usb)
    cdc._out_endpoint = 2
    assert usb.on_endpoint_read
    usb.on_endpoint_read(2, 64)
    assert usb.endpoint_read_alarms[2].buffers == [b""]


def test_the_host_sends_an_out_packet_only_when_it_has_data():
    """The host sends an OUT packet only when it has data."""
    usb: RPUSBController = RP2040().usb_ctrl
    host = ConsoleHost(usb)
    host._out_endpoint = 2
    assert usb.on_endpoint_read
    usb.on_endpoint_read(2, 64)
    assert usb.endpoint_read_alarms[2].buffers == []
    host.send(bytes(100))
    assert [len(packet) for packet in usb.endpoint_read_alarms[2].buffers] == [64]
    usb.on_endpoint_read(2, 64)
    assert [len(packet) for packet in usb.endpoint_read_alarms[2].buffers] == [64, 36]


def test_an_idle_board_uses_2_percent_of_its_processor(shared_board: EmulatedBoard):
    """An idle board uses less than 2 % of its processor."""
    before = shared_board.rp2040.core.cycles
    shared_board.run_for(100)
    assert shared_board.rp2040.core.cycles - before < 0.02 * 100 * 125_000


def test_a_host_that_does_not_read_loses_no_byte(board: EmulatedBoard):
    """A host that does not read for a while loses no byte."""
    board.console.has_room = lambda: False
    board.forget_received()
    board.send(b"print('x' * 3000)\x04")
    board.run_for(300)
    assert len(board.received) < 200
    board.console.has_room = lambda: True
    for _ in range(300):
        board.console.resume()
        board.run_for(1)
    assert board.received.count(b"x") == 3000


def mpremote(port: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "mpremote", "connect", port, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_mpremote_works_across_clients_and_a_reset(tmp_path: Path):
    """mpremote works on the serial port over several clients and a reset."""
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(n * 31 & 0xFF for n in range(2000)))
    with BoardRunner(EmulatedBoard(image_path())) as runner:
        port = runner.port.path
        assert mpremote(port, "exec", "print(1)") == "1\n"
        mpremote(port, "cp", str(file), ":data.bin")
        mpremote(port, "reset")
        assert hashlib.sha256(file.read_bytes()).hexdigest() in mpremote(port, "sha256sum", ":data.bin")


# -- SPI, I2C, pads, clocks, PWM, flash


def test_the_emulator_still_exchanges_spi_in_no_time():
    """rp2040py still exchanges an SPI byte in no time."""
    spi = RP2040().spi[0]
    spi.write_uint32(SPI_CPSR, 2)
    spi.write_uint32(SPI_CR0, 7)
    spi.write_uint32(SPI_DR, 0xAA)
    assert spi.read_uint32(SPI_SR) & 4


def test_an_spi_byte_takes_eight_clocks():
    """An SPI byte takes eight clocks."""
    chip, corrected = corrected_chip()
    spi = corrected.spi[0]
    spi.exchange = lambda value: value ^ 0xFF
    spi.write_uint32(SPI_CPSR, 10)
    spi.write_uint32(SPI_CR0, 7)
    spi.write_uint32(SPI_DR, 0xAA)
    chip.clock.tick(8 * 80.0 - 8)
    assert not spi.read_uint32(SPI_SR) & 4
    chip.clock.tick(8)
    assert spi.read_uint32(SPI_DR) == 0x55


class Echo:
    """An I2C chip that returns the last byte that it received."""

    last = 0

    def start(self, read: bool) -> bool:
        return True

    def write(self, byte: int) -> bool:
        self.last = byte
        return True

    def read(self) -> int:
        return self.last

    def stop(self) -> None: ...


def test_i2c_takes_nine_clocks_a_byte(shared_board: EmulatedBoard):
    """An I2C byte takes nine clocks, and a missing chip does not acknowledge."""
    shared_board.corrected.i2c[1].chips[0x42] = Echo()
    run_code(shared_board, "import machine, time\ni = machine.I2C(1, sda=2, scl=3, freq=100_000)")
    absent = "try:\n i.readfrom(0x43, 1)\nexcept OSError as e:\n print(e.errno)"
    assert run_code(shared_board, absent) == "5\n"
    timed = "t = time.ticks_us()\ni.writeto(0x42, bytes(50))\nprint(time.ticks_diff(time.ticks_us(), t))"
    took_us = int(run_code(shared_board, timed))
    bit_us = shared_board.corrected.i2c[1].bit_ns / 1000
    assert 9.0 < bit_us < 11.5
    assert 50 * 9 * bit_us < took_us < 52 * 9 * bit_us


def test_the_emulator_still_resets_pads_with_their_inputs_off():
    """rp2040py still resets pads with their inputs off."""
    assert not RP2040().gpio[7].input_enable


def test_pads_come_out_of_reset_with_their_inputs_on():
    """Pads come out of reset with their inputs on."""
    chip, _ = corrected_chip()
    assert chip.gpio[7].input_enable and chip.gpio[7].pulldown_enabled
    chip.reset()
    assert chip.gpio[7].input_enable


def test_the_emulator_still_ignores_the_source_of_clk_peri():
    """rp2040py still ignores the source of the peripheral clock."""
    chip = RP2040()
    chip.peripherals[CLOCKS].write_uint32(CLK_PERI_CTRL, 0x800 | 2 << 5)
    assert chip.clk_peri == 125_000_000


def test_the_usb_pll_gives_a_peripheral_clock_of_48_mhz():
    """The USB PLL as source gives a peripheral clock of 48 MHz."""
    chip, _ = corrected_chip()
    chip.peripherals[CLOCKS].write_uint32(CLK_PERI_CTRL, 0x800 | 2 << 5)
    assert chip.clk_peri == 48_000_000


def test_a_quiet_pwm_has_its_duty_and_no_edges():
    """A corrected PWM has its duty and no edges."""
    chip, _ = corrected_chip()
    edges: list[object] = []
    chip.gpio[20].ctrl = 4
    chip.gpio[20].add_listener(lambda new, old: edges.append(new))
    channel = chip.pwm.channels[2]
    channel.write_register(PWM_TOP, 999)
    channel.write_register(PWM_CC, 250)
    channel.write_register(PWM_CSR, 1)
    chip.clock.tick(1e6)
    assert duty(chip, 20) == 0.25
    assert len(edges) <= 1


def test_a_flash_erase_takes_its_time_and_is_reported(board: EmulatedBoard):
    """A flash erase takes the time that the test sets and is reported."""
    board.corrected.flash.erase_stall_ms = 100.0
    seen: list[tuple[str, int, int]] = []
    board.corrected.flash.on_write(lambda what, address, size: seen.append((what, address, size)))
    code = "import rp2, time\nf = rp2.Flash()\nt = time.ticks_ms()\nf.ioctl(6, 200)\nprint(time.ticks_ms() - t)"
    assert 100 <= int(run_code(board, code)) <= 105
    assert [row[0] for row in seen] == ["erase"] and seen[0][2] == 4096
    assert [event.what for event in board.events] == ["flash"]


# -- resets


def test_machine_reset_comes_back_to_a_prompt(board: EmulatedBoard):
    """After machine.reset() the board is at its prompt again."""
    board.send(b"import machine\nmachine.reset()\x04")
    assert board.run_until(lambda: board.events, 200)
    board.run_for(1500)
    at_prompt(board)
    assert run_code(board, "print(1)") == "1\n"
    assert [event.what for event in board.events] == ["reset"]


def test_a_watchdog_reset_keeps_cause_and_scratch(board: EmulatedBoard):
    """After a watchdog timeout the reset cause names it, and the scratch registers keep their values."""
    board.send(b"import machine\nmachine.mem32[0x4005800C] = 4711\nmachine.WDT(timeout=50)\nwhile 1: pass\n\x04")
    assert board.run_until(lambda: board.events, 200)
    assert board.events[0].detail == ("watchdog",)
    board.run_for(1500)
    at_prompt(board)
    code = "import machine\nprint(machine.reset_cause() == machine.WDT_RESET, machine.mem32[0x4005800C])"
    assert run_code(board, code) == "True 4711\n"


def test_a_power_cycle_forgets_scratch_and_keeps_flash(board: EmulatedBoard):
    """A power cycle clears the scratch registers and keeps the flash."""
    run_code(board, "import machine\nmachine.mem32[0x4005800C] = 4711\nwith open('kept.txt', 'w') as f: f.write('yes')")
    board.power_cycle()
    board.run_for(1200)
    at_prompt(board)
    code = "import machine\nprint(machine.reset_cause() == machine.PWRON_RESET, machine.mem32[0x4005800C])"
    assert run_code(board, code) == "True 0\n"
    assert run_code(board, "print(open('kept.txt').read())") == "yes\n"


def test_a_flash_snapshot_boots_on_another_board(board: EmulatedBoard):
    """A flash snapshot boots on another board."""
    run_code(board, "f = open('kept.txt', 'w')\nf.write('yes')\nf.close()")
    other = EmulatedBoard(image_path(), flash=board.flash_snapshot())
    other.run_for(1200)
    at_prompt(other)
    assert run_code(other, "print(open('kept.txt').read())") == "yes\n"
