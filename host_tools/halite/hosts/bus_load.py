"""The load under which the application is measured: an EMS that polls, a console that streams, status of the PCS."""

import struct
from itertools import pairwise

from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.emulator.board import EmulatedBoard
from halite.hosts.emulated import EmulatedRack

use_firmware()

from rack.comms.modbus_frames import READ  # noqa: E402 - only after use_firmware
from rack.definitions.pcs_codes import STATUS_ID, STATUS_PERIOD_MS  # noqa: E402
from rack.drivers.crc16 import TABLE, crc16  # noqa: E402
from rack.generated import modbus_map  # noqa: E402

_STREAMED_BYTES_PER_MS = 1.0  # half of the rate of a console that streams without a pause
_MAX_REGISTERS = 125  # of one request: Modbus application protocol V1.1b3, 6.3
_MAX_POLL_MS = 250.0  # a request, up to 50 ms of processing, and 255 bytes at 19 200 baud


def keep_streaming(board: EmulatedBoard, command: bytes = b"cells\n") -> None:
    """Repeat a console command as soon as its answer has ended, so that the console streams without a pause."""

    before = b""

    def listen(chunk: bytes) -> None:
        nonlocal before
        if b"}\n" in (before + chunk).replace(b"\r", b""):  # the end of an answer may come in two packets
            board.send(command)
        before = chunk[-2:] if not chunk.endswith(b"\n") else b""

    board.console_listeners.append(listen)
    board.send(command)


def _crc(data: bytes) -> int:
    return int(crc16(data, 0, len(data), TABLE))


class Polling:
    """An EMS that reads all registers over RS-485, 125 at a time, each request as soon as the answer has ended.

    answered_us: time of each answer.
    """

    def __init__(self, rack: EmulatedRack) -> None:
        if rack.rs485 is None:
            raise HaliteError("the rack has no RS-485 line: [modbus] enabled is false")
        self.answered_us: list[float] = []
        self._board = rack.board
        self._line = rack.rs485
        self._unit = rack.config["modbus_unit"]
        self._at = self._count = 0
        rack.rs485.on_frame = self._answered
        self._ask()

    def _ask(self) -> None:
        self._count = min(_MAX_REGISTERS, modbus_map.REGISTERS - self._at)
        request = struct.pack(">BBHH", self._unit, READ, modbus_map.BASE + self._at, self._count)
        self._line.send(request + struct.pack("<H", _crc(request)))

    def _answered(self, frame: bytes) -> None:
        expected = 5 + 2 * self._count
        if len(frame) != expected or frame[:2] != bytes((self._unit, READ)) or _crc(frame):
            raise HaliteError(f"a wrong answer on RS-485: {frame!r}")
        self.answered_us.append(self._board.now_us)
        self._at = (self._at + self._count) % modbus_map.REGISTERS
        self._ask()

    def check(self, begin_us: float, end_us: float) -> None:
        """HaliteError when more than 250 ms passed without an answer between two times."""
        times = [begin_us, *(at_us for at_us in self.answered_us if begin_us < at_us < end_us), end_us]
        longest_ms = max(after - before for before, after in pairwise(times)) / 1000
        if longest_ms > _MAX_POLL_MS:
            raise HaliteError(f"no request on RS-485 was answered for {longest_ms:.0f} ms")


def check_load(board: EmulatedBoard, emulated_ms: float) -> None:
    """HaliteError unless the recorded events have enough status frames, and the console bytes, for emulated_ms."""
    statuses = sum(event.what == "can" and event.detail[0] == STATUS_ID for event in board.events)
    if statuses < emulated_ms / STATUS_PERIOD_MS / 2:
        raise HaliteError(f"only {statuses} status frames of the PCS came in")
    if len(board.received) < emulated_ms * _STREAMED_BYTES_PER_MS:
        raise HaliteError(f"the console has streamed only {len(board.received)} bytes")
