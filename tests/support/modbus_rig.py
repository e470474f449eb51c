"""A Modbus slave on a simulated line, with the real slave, controller and EMS values. The test runs the scans."""

import struct
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from halite.chips.rs485 import SlaveLine
from halite.generate.modbus import map_rows, points
from halite.hosts.controller_rig import Rig
from rack.base.clock import TICKS_MASK
from rack.comms.commands_read import Commands
from rack.comms.ems import Ems
from rack.comms.modbus_slave import Modbus
from rack.definitions import sunspec
from rack.definitions.codes import CMD_RESET
from rack.drivers.crc16 import TABLE, crc16

from support.checked_int import Checked

PERIOD_US = 20_000
UNIT = 17
BASE = sunspec.BASE
REGISTERS = len(map_rows())
ADDRESS, VALUE, FAILURE = 2, 3, 4  # exception codes


def sealed(data: bytes) -> bytes:
    """Return a frame with its CRC."""
    return data + struct.pack("<H", crc16(data, 0, len(data), TABLE))


def read_request(first: int, count: int, unit: int = UNIT, function: int = 3) -> bytes:
    return sealed(struct.pack(">BBHH", unit, function, first, count))


def write_request(first: int, words: Iterable[int], unit: int = UNIT) -> bytes:
    values = [word & 0xFFFF for word in words]
    head = struct.pack(">BBHHB", unit, 16, first, len(values), 2 * len(values))
    return sealed(head + struct.pack(f">{len(values)}H", *values))


def single_request(first: int, value: int, unit: int = UNIT) -> bytes:
    return sealed(struct.pack(">BBHH", unit, 6, first, value & 0xFFFF))


def long(value: int) -> tuple[int, int]:
    """Return the two registers of a number of 32 bits."""
    return value >> 16 & 0xFFFF, value & 0xFFFF


def address(name: str, model: int = sunspec.VENDOR) -> int:
    """Return the register of a point."""
    return next(sunspec.BASE + p.offset for p in points() if (p.model, p.name) == (model, name))


class Slave:
    """A slave and its line. `ask` puts a frame on the line and lets time pass until the line is quiet again."""

    def __init__(self, name: str = "bench", start_us: int = 0, echo: bool = False, **changed: Any) -> None:
        self.rig = Rig(name, **{"modbus_unit": UNIT, **changed})
        self.c, self.s, self.params = self.rig.c, self.rig.s, self.rig.params
        self.ems = Ems(self.params, self.s)
        self.now_us = start_us
        self.line = SlaveLine(self.params.modbus_baud, lambda: self.now_us, echo)
        self.app = SimpleNamespace(
            params=self.params,
            controller=self.c,
            ems=self.ems,
            acknowledge=lambda who: self.c.command(CMD_RESET, who),
            port=SimpleNamespace(ticks_ms=lambda: self.now_us // 1000, scratch=None),
            reset_reason=0,
        )
        self.unlocked = 0
        self.modbus = Modbus(self.app, self.line, self._unlocked)
        self.modbus.begin(SimpleNamespace(ask=self._ask), 8)
        self.due_us = self.now_us
        self.polls = 0
        self.console = Commands(self.app).table

    def _unlocked(self, function: Any, argument: int) -> Any:
        self.unlocked += 1
        return function(argument)

    def _ask(self, task: int, now_us: int, wait_us: int) -> None:
        assert task == 8 and now_us == self.now_us & TICKS_MASK
        assert 0 < wait_us < 1_000_000
        self.due_us = self.now_us + wait_us

    def poll(self) -> None:
        self.now_us = self.due_us
        self.due_us = self.now_us + PERIOD_US
        self.polls += 1
        self.modbus.poll(Checked(self.now_us & TICKS_MASK))  # a larger number would allocate in the locked loop

    def run(self, us: float) -> None:
        end_us = self.now_us + us
        while self.due_us <= end_us:
            self.poll()
        self.now_us = int(end_us)

    def ask(self, frame: bytes) -> bytes:
        """Return the answer to a frame without its CRC, which is checked; empty without an answer."""
        before = len(self.line.sent)
        end_us = self.line.put(frame)
        self.run(end_us - self.now_us + 3 * PERIOD_US)
        while self.line.sending():
            self.run(PERIOD_US)
        self.run(2 * PERIOD_US)
        assert not self.modbus.faults
        answers = self.line.sent[before:]
        assert len(answers) <= 1
        if not answers:
            return b""
        begin_us, data = answers[0]
        assert begin_us - end_us >= self.modbus.silence_us
        assert crc16(data, 0, len(data), TABLE) == 0
        return data[:-2]

    def read(self, first: int, count: int) -> list[int]:
        """Return the registers. AssertionError if the slave answers with an exception."""
        answer = self.ask(read_request(first, count))
        assert answer[:3] == bytes((UNIT, 3, 2 * count)), answer
        return list(struct.unpack(f">{count}H", answer[3:]))

    def value(self, name: str, model: int = sunspec.VENDOR) -> int:
        """Return the number in a point, with its sign."""
        point = next(p for p in points() if (p.model, p.name) == (model, name))
        words = self.read(sunspec.BASE + point.offset, point.registers)
        number = int.from_bytes(struct.pack(f">{len(words)}H", *words), "big")
        return number - (1 << 16 * len(words)) if point.kind[:3] == "int" and words[0] & 0x8000 else number

    def write(self, name: str, *values: int, model: int = sunspec.VENDOR) -> int:
        """Write consecutive points, beginning with this one, each with its own size. Return 0 or the exception."""
        rows = [p for p in points() if p.model == model]
        begin = next(at for at, p in enumerate(rows) if p.name == name)
        words: list[int] = []
        for point, value in zip(rows[begin:], values, strict=False):
            words += long(value) if point.registers == 2 else (value,)
        return self.code(self.ask(write_request(sunspec.BASE + rows[begin].offset, words)), 16)

    @staticmethod
    def code(answer: bytes, function: int) -> int:
        """Return the exception in an answer, 0 without an exception."""
        assert answer[0] == UNIT
        if answer[1] == function:
            return 0
        assert answer[1] == function | 0x80 and len(answer) == 3
        return answer[2]

    def console_answer(self, command: str, *words: str) -> str:
        """Return the answer of a console command as one text; "refused: REASON" if the rack refuses it."""
        row = self.console[command]
        handler = row[0] if isinstance(row, tuple) else row
        try:
            return "".join(handler(list(words)))
        except ValueError as error:
            return f"refused: {error}"
