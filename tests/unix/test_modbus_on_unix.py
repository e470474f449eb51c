"""The EMS's link on the MicroPython unix port: the whole application answers, and the slave does not allocate."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from halite.common.paths import BOARD_CONFIGS
from halite.generate.modbus import map_rows
from halite.hosts.unix_port import UnixPort
from rack.definitions import sunspec
from rack.definitions.codes import TASK_MODBUS
from rack.drivers.crc16 import TABLE, crc16
from rack.generated import alarm_output as O
from rack.generated import controller_times as T
from rack.generated import ids as I
from support.modbus_rig import Slave, address, long, read_request, sealed, single_request, write_request

UNIT = 1
SHIPPED_LEVEL = "ems_lost = [20_000, 5_000, 0, 0]"


def asked(board: UnixPort, frame: bytes) -> bytes:
    """The answer without its CRC; empty when the slave does not answer."""
    before = len(board.rs485.sent)
    board.run_to(board.rs485.put(frame) + 40_000.0)
    while board.rs485.sending():
        board.run_for(10)
    board.run_for(20)
    for _, data in board.rs485.sent[before:]:
        assert crc16(data, 0, len(data), TABLE) == 0
        return data[:-2]
    return b""


def read(board: UnixPort, first: int, count: int) -> tuple[int, ...]:
    answer = asked(board, read_request(first, count, UNIT))
    assert answer[:3] == bytes((UNIT, 3, 2 * count)), answer
    return struct.unpack(f">{count}H", answer[3:])


def typed(board: UnixPort, line: str) -> dict:
    board.console = b""
    board.send(line + "\n")
    board.run_for(400)
    return json.loads(next(answer for answer in board.console.splitlines() if answer.startswith(b"{")))


def test_an_ems_closes_sets_power_and_falls_silent(tmp_path: Path) -> None:
    """The silence ends the setpoint. The level is 4 s here instead of the 20 s of the config, to save time."""
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    assert text.count(SHIPPED_LEVEL) == 1
    path = tmp_path / "bench.toml"
    path.write_text(text.replace(SHIPPED_LEVEL, "ems_lost = [4_000, 1_000, 0, 0]"), encoding="utf-8")
    with UnixPort(path) as board:
        board.run_for(1_500)
        assert read(board, sunspec.BASE, 2) == sunspec.SUNS
        count, first, *_ = read(board, address("WhyN"), 13)
        assert (count, first) == (1, 1003)
        assert asked(board, single_request(address("SetOp", 802), 1, UNIT))[1] == 6
        board.run_for(2_000)
        assert board.coils == 5 and read(board, address("State", 802), 1) == (3,)
        assert asked(board, write_request(address("SetW"), long(300), UNIT))[1] == 16
        signals = typed(board, "status")["signals"]
        assert signals["setpoint_W"] == 300 and 0 < signals["ems_age_ms"] < 1_000
        assert asked(board, single_request(address("AlmRst", 802), 1, UNIT)) == bytes((UNIT, 0x86, 4))
        assert read(board, address("Refused"), 1) == (5,)
        hb = read(board, address("Hb", 802), 1)[0]
        board.run_for(5_000)
        assert typed(board, "status")["signals"]["setpoint_W"] == 0
        assert read(board, address("Hb", 802), 1)[0] - hb in (5, 6, 7)
        tasks = typed(board, "tasks")
        assert tasks["modbus_faults"] == 0 and tasks["modbus_answers"] == len(board.rs485.sent)


_LOCKED = """
import micropython, struct
from array import array
from rack.config import load
from rack.control.controller import Controller
from rack.comms.modbus_slave import Modbus
from rack.comms.ems import Ems

class Line:
    def __init__(self):
        self.ring, self.count, self.left, self.out, self.length = bytearray(256), 0, 0, bytearray(256), 0
    def received(self): return self.count
    def take(self, frame, count):
        count = min(count, 256)
        for at in range(count):
            frame[at] = self.ring[(self.count - count + at) & 255]
        return count
    def send(self, frame, length):
        for at in range(length):
            self.out[at] = frame[at]
        self.length = length
        self.left = 2
    def sending(self):
        self.left -= 1
        return 1 if self.left > 0 else 0
    def echoed(self): return 0
    def stop(self, now): pass

class Scheduler:
    at = 0
    def __init__(self): self.at = 0
    def ask(self, task, now, wait): self.at = (now + wait) & 0x3FFFFFFF

class App: pass

with open("config.bin", "rb") as file:
    params = load(file.read())
app = App()
app.params, app.controller = params, Controller(params)
s = app.controller.s
app.ems = Ems(params, s)
app.acknowledge = lambda who: app.controller.command(3, who)
line = Line()
def unlocked(function, argument):
    micropython.heap_unlock()
    try:
        return function(argument)
    finally:
        micropython.heap_lock()
modbus = Modbus(app, line, unlocked)
modbus.begin(Scheduler(), {task})
frames = {frames!r}

def play(frame):
    for at in range(len(frame)):
        line.ring[line.count & 255] = frame[at]
        line.count += 1
    line.length = 0
    for _ in range(12):
        modbus.poll(0)

for at in range(len(s)):
    s[at] = (at * 7919) % 20000 - 10000 if at != {state} else 2
s[{charge}] = s[{discharge}] = 1000
for at in range(81):
    app.controller.alarms.active[at] = at % 4 if at % 4 != 2 else 0
app.controller.alarms.out[{latched}] = 20
modbus._text = bytes(48)
for frame in frames:
    micropython.heap_lock()
    try:
        play(frame)
    finally:
        micropython.heap_unlock()
    print(bytes(line.out[:line.length]).hex() or "-", modbus.faults)
"""


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    """Requests of every kind, damaged frames and noise."""
    reads = [read_request(sunspec.BASE + at, min(125, len(map_rows()) - at), UNIT) for at in range(0, 369, 125)]
    setw, op, reset, beat = address("SetW"), address("SetOp", 802), address("AlmRst", 802), address("CtrlHb", 802)
    writes = [
        write_request(setw, long(-700), UNIT), write_request(setw, (0x7FFF, 0xFFFF), UNIT),
        write_request(setw, (0x8000, 0), UNIT), write_request(setw, (*long(5), *long(80_000)), UNIT),
        write_request(address("PairHigh"), (1, 2, 0, *long(-3)), UNIT), write_request(beat, (9, 1), UNIT),
        write_request(setw, long(123), 0),
    ]  # fmt: skip
    singles = [single_request(op, 1, UNIT), single_request(op, 7, UNIT), single_request(op, 2, UNIT)]
    singles += [single_request(reset, 1, UNIT), single_request(beat, 5, UNIT), single_request(setw, 5, UNIT)]
    odd = [b"\xff" * 300, sealed(bytes((UNIT, 43, 14))), read_request(0, 2, UNIT)]
    odd += [read_request(sunspec.BASE, 126, UNIT), read_request(sunspec.BASE, 9, 9), b"\x01\x03" * 200]
    odd += [sealed(bytes((9, 3, 4, 1, 2, 3, 4))) + reads[0]]
    return [*reads, *writes, *singles, *odd, *reads]


def test_no_request_and_no_noise_allocates(on_unix: Callable[[str], str], frames: list[bytes]) -> None:
    """Under heap_lock; the answers are those of CPython for the same state."""
    signals = {"state": I.STATE, "charge": I.LIMIT_CHARGE_W, "discharge": I.LIMIT_DISCHARGE_W}
    code = _LOCKED.format(frames=frames, latched=O.LATCHED, task=TASK_MODBUS, **signals)
    lines = [line.split() for line in on_unix(code).splitlines()]
    assert [faults for _, faults in lines] == ["0"] * len(frames)
    slave = Slave("sodium", modbus_unit=UNIT)
    s = slave.s
    for at in range(len(s)):
        s[at] = at * 7919 % 20_000 - 10_000
    s[I.STATE] = 2
    s[I.LIMIT_CHARGE_W] = s[I.LIMIT_DISCHARGE_W] = 1_000
    for at in range(81):
        slave.c.alarms.active[at] = at % 4 if at % 4 != 2 else 0
    slave.c.alarms.out[O.LATCHED] = 20
    slave.c.times[T.NOW_ms] = 0  # its time, as no scan has run over there
    slave.modbus._text = bytes(48)  # the build's commit
    for frame, (answer, _) in zip(frames, lines, strict=True):
        assert (bytes.fromhex(answer)[:-2] if answer != "-" else b"") == slave.ask(frame), frame.hex()
