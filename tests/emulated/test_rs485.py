"""The RS-485 line of the emulated board, seen at its pins: characters, driver enable, and the running application."""

import json
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from halite.build.firmware import make
from halite.chips.rs485 import CHARACTER_bits
from halite.common.image import image_path
from halite.common.paths import BOARD_CONFIGS
from halite.config import RackConfig, load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.emulator.rs485_line import BoardLine
from halite.emulator.runner import BoardRunner
from halite.hosts.application import rack_with_application
from halite.hosts.emulated import EmulatedRack
from rack.definitions import sunspec
from rack.definitions.signals import SIGNALS
from rack.drivers.crc16 import TABLE, crc16
from rp2040py.peripherals.timer import RPTimer
from support.modbus_rig import FAILURE, address, long, read_request, single_request, write_request
from support.sunspec_client import scanned

BAUD = 115_200
UNIT = 17  # of scanned
WALL_S = 600.0
SLICE_us = 1_000  # of the task, its budget
WRAP_us = 2_600_000  # the application is healthy before
OFF_us = 1.0  # the driver is off so long after the last stop bit, at most; the same before it


def config(tmp_path: Path) -> RackConfig:
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    for old, new in (("baud = 19_200 ", f"baud = {BAUD} "), ("unit = 1 ", f"unit = {UNIT} ")):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "fast_line.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def check_frame(line: BoardLine, begin: int, baud: int) -> bytes:
    """The characters from index begin on are one frame with exact times, and the driver encloses it. Its bytes."""
    said = line.characters[begin:]
    bit_us = 1e6 / baud
    assert {character.fault for character in said} == {""}
    for before, after in pairwise(said):
        assert after.begin_us - before.begin_us == pytest.approx(CHARACTER_bits * bit_us, abs=0.2)
    (on_us, on), (off_us, off) = [change for change in line.driver if change[0] > said[0].begin_us - 10 * bit_us][:2]
    assert (on, off) == (1, 0)
    assert said[0].begin_us - on_us == pytest.approx(2 * bit_us, abs=OFF_us)
    assert off_us - said[-1].end_us == pytest.approx(0, abs=OFF_us)
    return bytes(character.byte for character in said)


# -- the port alone

_PORT = """
from array import array
class Pins: pass
p = Pins()
p.pins_rs485_tx, p.pins_rs485_rx, p.pins_rs485_de, p.modbus_baud, p.modbus_parity = 4, 5, 6, {baud}, {parity}
from rack.hal import rp2_rs485
data = bytes(rp2_rs485.transmit[0])
line = rp2_rs485.Rs485(p)
frame = bytearray({data!r})
print(line.sending(), line.received())
"""


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The firmware with its own names, and no application that starts."""
    built = make(load("bench_rack"), short=False).files
    return {name: data for name, data in built.items() if name != "main.py"}


def port(files: dict[str, bytes], baud: int, parity: int, data: bytes) -> tuple[EmulatedBoard, BoardLine]:
    """A board at its prompt with the line made, and `frame` to be sent."""
    blank = EmulatedBoard(image_path()).flash_snapshot()
    board = EmulatedBoard(image_path(), flash=with_files(blank, files))
    line = BoardLine(board, {"rs485_tx": 4, "rs485_rx": 5, "rs485_de": 6}, baud, parity)
    board.run_for(300)
    at_prompt(board)
    assert run_code(board, _PORT.format(baud=baud, parity=parity, data=data), 4_000, WALL_S) == "0 0\n"
    return board, line


@pytest.mark.parametrize(("baud", "parity"), [(9_600, 0), (115_200, 1), (57_600, 2)])
def test_every_byte_is_sent_and_received_with_its_parity(files: dict[str, bytes], baud: int, parity: int) -> None:
    data = bytes(range(0, 256, 7)) + b"\x00\xff\x55\xaa"
    board, line = port(files, baud, parity, data)
    run_code(board, "line.send(frame, len(frame))", wall_s=WALL_S)
    assert board.run_until(lambda: len(line.characters) == len(data) and line.idle, 400, WALL_S)
    assert check_frame(line, 0, baud) == data
    assert run_code(board, "print(line.sending())", wall_s=WALL_S) == "0\n"
    heard = bytes(at * 5 & 0xFF for at in range(300))  # more than the ring holds
    line.send(heard)
    board.run_for(301 * CHARACTER_bits * 1e3 / baud)
    code = "room = bytearray(256)\nprint(line.received(), line.take(room, 20), bytes(room[:20]).hex())\n"
    assert run_code(board, code, wall_s=WALL_S).split() == ["300", "20", heard[-20:].hex()]
    told = run_code(board, "print(line.take(room, 300), room.hex())", wall_s=WALL_S)
    assert told.split() == ["256", heard[-256:].hex()]


def test_the_hardware_releases_the_line(
    files: dict[str, bytes],
) -> None:
    """The line is released without software, and a stopped transmitter can be cleared."""
    data = b"0123456789" * 10
    board, line = port(files, BAUD, 2, data)
    board.forget_received()
    frozen = "import machine\nstate = machine.disable_irq()\nline.send(frame, 100)\nfor n in range(20000): pass\n"
    board.send(frozen.encode() + b"machine.enable_irq(state)\x04")
    assert board.run_until(lambda: line.characters, 400, WALL_S, 0.1)
    assert board.run_until(lambda: line.idle, 20, WALL_S, 0.1)
    assert check_frame(line, 0, BAUD) == data
    assert b"\x04" not in board.received  # the code has not ended: interrupts were held all the time
    assert board.run_until(lambda: board.received.endswith(b"\x04\x04>"), 2_000, WALL_S)
    halted = "from machine import mem32\nline.send(frame, 100)\nmem32[0x50303000] = 8\nprint(line.sending())"
    assert run_code(board, halted, wall_s=WALL_S) == "1\n"  # its state machine is stopped in the middle
    board.run_for(30)
    assert not line.idle
    assert run_code(board, "line.stop(0)\nprint(line.sending())", wall_s=WALL_S) == "0\n"
    assert line.idle
    begin = len(line.characters)
    run_code(board, "line.send(frame, 10)", wall_s=WALL_S)
    assert board.run_until(lambda: line.idle and len(line.characters) >= begin + 10, 20, WALL_S)
    assert check_frame(line, begin, BAUD) == data[:10]


def test_a_reset_in_the_middle_of_an_answer_releases_the_line(files: dict[str, bytes]) -> None:
    board, line = port(files, 9_600, 2, bytes(200))
    board.send(b"import machine, time\nline.send(frame, 200)\ntime.sleep_ms(20)\nmachine.reset()\x04")
    assert board.run_until(lambda: any(event.what == "reset" for event in board.events), 400, WALL_S)
    board.run_for(1)
    assert line.idle and len(line.driver) == 2 and 10 < len(line.characters) < 30


# -- the running application


def clock_of(board: EmulatedBoard) -> RPTimer:
    (timer,) = (found for found in board.rp2040.peripherals.values() if isinstance(found, RPTimer))
    return timer


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedRack]:
    """Its clock stands WRAP_us before 2**30 whenever it begins, so the application is running when it wraps."""
    emulated = rack_with_application(config(tmp_path_factory.mktemp("modbus")))
    board, timer = emulated.board, clock_of(emulated.board)
    begin = timer.reset

    def late() -> None:
        begin()
        timer._epoch_nanos -= 1000.0 * (2**30 - WRAP_us)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timer, "reset", late)
        late()
        assert board.run_until(lambda: b"# healthy" in board.received, 8_000, WALL_S, 5)
    assert timer._micros() < 2**30
    board.run_for(600)  # everything has been heard, and without a command to close
    assert board.run_until(lambda: timer._micros() > 2**30 + 200_000, 2_000, WALL_S, 5)  # however fast the start is
    yield emulated


def asked(rack: EmulatedRack, frame: bytes) -> bytes:
    """The answer without its CRC; every character and the driver's times are checked."""
    line, board = rack.rs485, rack.board
    assert line
    begin, begun_us = len(line.characters), board.now_us
    line.send(frame)
    assert board.run_until(lambda: len(line.characters) > begin and line.idle, 200, WALL_S, 0.5)
    said = line.characters[begin]
    wait_us = said.begin_us - begun_us - len(frame) * CHARACTER_bits * 1e6 / BAUD
    assert 1_750 < wait_us < 50_000  # docs/protocols/modbus.md
    data = check_frame(line, begin, BAUD)
    assert crc16(data, 0, len(data), TABLE) == 0
    return data[:-2]


def words(answer: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{(len(answer) - 3) // 2}H", answer[3:])


def typed(board: EmulatedBoard, line: str) -> dict[str, Any]:
    board.forget_received()
    board.send(line.encode() + b"\n")
    assert board.run_until(lambda: b"}\n" in board.received.replace(b"\r", b""), 3_000, WALL_S, 5)
    answer: dict[str, Any] = json.loads(board.received.replace(b"\r", b"").split(b"\n")[0])
    return answer


def test_the_application_goes_on_when_its_clock_wraps(rack: EmulatedRack) -> None:
    """Its heap is locked: a number of 31 bits and one more has no room there, and would end it."""
    assert clock_of(rack.board)._micros() > 2**30 + 100_000
    assert b"# standby:" not in rack.board.received
    assert typed(rack.board, "status")["signals"]["cells_age_ms"] < 200


def test_the_application_answers_with_exact_times(rack: EmulatedRack) -> None:
    """The application answers and executes requests, with exact times on the line."""
    assert words(asked(rack, read_request(sunspec.BASE, 2))) == sunspec.SUNS
    assert len(words(asked(rack, read_request(address("WhyN"), 125)))) == 125
    assert words(asked(rack, read_request(address("WhyN"), 2))) == (1, 1003)
    assert asked(rack, write_request(address("SetW"), long(-250))) == struct.pack(">BBHH", UNIT, 16, address("SetW"), 2)
    refused = asked(rack, single_request(address("AlmRst", 802), 1))
    assert refused[1:] == bytes((6 | 0x80, FAILURE))  # no trip is there to be released, and it says so
    assert asked(rack, single_request(address("SetOp", 802), 3)) == bytes((UNIT, 0x86, 3))
    assert asked(rack, single_request(sunspec.BASE, 1)) == bytes((UNIT, 0x86, 2))
    status = typed(rack.board, "status")["signals"]
    assert status["setpoint_W"] == -250
    tasks = typed(rack.board, "tasks")
    (row,) = (row for row in tasks["tasks"] if row["name"] == "modbus")
    assert row["worst"] <= SLICE_us and row["overrun"] == 0
    assert (tasks["modbus_answers"], tasks["modbus_faults"]) == (7, 0)


def test_pysunspec2_reads_the_emulated_rack_over_its_serial_port(rack: EmulatedRack) -> None:
    with BoardRunner(rack.board, rs485=rack.rs485) as runner:
        assert runner.rs485_port
        found = scanned(runner.rs485_port.path, timeout=30)
        found.close()
    assert [(model.model_id, model.error_info) for model in found.model_list] == [
        (1, ""), (802, ""), (sunspec.VENDOR, ""),
    ]  # fmt: skip
    battery, own = found.models[802][0], found.models[sunspec.VENDOR][0]
    assert battery.State.value == 1 and battery.SoC.cvalue == pytest.approx(50, abs=10)
    assert battery.V.cvalue == pytest.approx(rack.rack.string_V, rel=0.02)
    signals = typed(rack.board, "status")["signals"]
    for name in ("setpoint_W", "insulation_kohm", "state", "afe_seen", "cell_max_at", "trips", "grid_age_ms"):
        assert getattr(own, name).value == pytest.approx(signals[name], abs=30), name
    assert len(SIGNALS) == len(own.points) - 25
