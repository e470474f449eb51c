"""The fast path as seen from outside the emulated board: zero crossings in, requests out, and the time between.

Times are emulated and taken at the pins: a rising edge of the mains input, the first byte of the MCP2515's
LOAD TX BUFFER 0 on SPI, frames on the CAN bus.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from halite.build.firmware import make
from halite.chips.can_bus import Frame
from halite.chips.pcs_codec import FirmwareTableCodec
from halite.common.errors import HaliteError
from halite.common.image import image_path
from halite.common.paths import use_firmware
from halite.config import RackConfig
from halite.emulator.board import EmulatedBoard, Event
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code
from halite.hosts.emulated import EmulatedRack, emulated_rack
from halite.scenarios.scenario import Scenario

use_firmware()

from rack.hal.scratch import MAINTENANCE_MAGIC  # noqa: E402 - only after use_firmware

_LOAD_REQUEST = 0x40
_REQUEST_ID = 0x181
_STATUS_ID = 0x201
_STATUS_MS = 20.0
_STREAMED_BYTES_PER_MS = 1.0  # half of what the console sends while it is never quiet
_PERIOD_TICK_OFFSET = 750_004  # what the period program leaves out, see rack.hal.rp2_board
_MODBUS_MOST = 125
_POLL_MS = 250.0  # a request, up to 50 ms, and 255 bytes at 19 200 baud
_CLOSE_MS = 12_000.0


class Taken(NamedTuple):
    """A mains period as the interrupt takes it from the PIO; the kernel's state in the board's RAM at that moment."""

    at_us: float
    ticks: int
    state: tuple[int, ...]


class Request(NamedTuple):
    """A request frame on the CAN bus."""

    at_us: float
    power_W: int
    flags: int


def rack_with_application(config: RackConfig, start: Scenario | None = None) -> EmulatedRack:
    """A rack whose files are in flash at power-on, in the state that a scenario starts from; no time has passed yet."""
    blank = EmulatedBoard(image_path()).flash_snapshot()
    return emulated_rack(config, start=start, flash=with_files(blank, make(config).files))


def close(emulated: EmulatedRack, wall_s: float = 600.0) -> EmulatedRack:
    """Run until the PCS is permitted to run; HaliteError when that does not come."""
    board = emulated.board
    asked_us = 0.0

    def permitted() -> bool:
        """Ask again and again: AFEs that have not been heard yet are a reason to refuse."""
        nonlocal asked_us
        if b"# standby:" in board.received:
            raise HaliteError(f"the application has failed: {board.received[-300:]!r}")
        if b"# healthy" in board.received and board.now_us > asked_us + 200_000:
            asked_us = board.now_us
            board.send(b"close\n")
        found = requests(board.events[-40:])
        return bool(found) and bool(found[-1].flags & 1)

    if not board.run_until(permitted, _CLOSE_MS, wall_s, 5):
        raise HaliteError(f"the emulated rack does not close: {board.received[-300:]!r}")
    return emulated


def running_rack(config: RackConfig, wall_s: float = 600.0) -> EmulatedRack:
    """A rack whose application was there at power-on; its contactors are closed. HaliteError when they do not close."""
    return close(rack_with_application(config), wall_s)


class KernelTap:
    """Watches the response of phase A from outside: every count that its interrupt takes, and its state in RAM.

    head: the first words of the state as the board's config makes them, by which it is found in RAM.
    """

    def __init__(self, board: EmulatedBoard, head: Sequence[int], words: int) -> None:
        self.taken: list[Taken] = []
        self._board = board
        self._head = struct.pack(f"<{len(head)}i", *head)
        self._layout = struct.Struct(f"<{words}i")
        self._at = -1
        fifo = board.rp2040.pio[1].machines[0].rx_fifo
        pull = fifo.pull

        def pulled() -> int:
            value: int = pull()
            self.taken.append(Taken(board.now_us, value + _PERIOD_TICK_OFFSET, self.state()))
            return value

        setattr(fifo, "pull", pulled)  # noqa: B010 - a method, replaced on purpose

    def state(self) -> tuple[int, ...]:
        """The kernel's state now; HaliteError before the application has made it."""
        sram = self._board.rp2040.sram
        if self._at < 0:
            self._at = bytes(sram).find(self._head)
        if self._at < 0:
            raise HaliteError("the response's state is not in RAM")
        return self._layout.unpack_from(sram, self._at)


def requests(events: Iterable[Event]) -> list[Request]:
    """The request frames among recorded events."""
    codec = FirmwareTableCodec()
    found = []
    for event in events:
        if event.what == "can" and event.detail[0] == _REQUEST_ID:
            fields = codec.unpack(Frame(_REQUEST_ID, event.detail[1]))  # type: ignore[arg-type]
            if fields is None:
                raise HaliteError(f"a request frame is damaged: {event.detail[1]!r}")
            found.append(Request(event.at_us, fields["power"], fields["flags"]))
    return found


def edges(events: Iterable[Event]) -> list[float]:
    """When the rising zero crossings among recorded events happened, us."""
    return [event.at_us for event in events if event.what == "mains" and event.detail[0] == 1]


def edge_to_request_us(events: Iterable[Event]) -> list[float]:
    """Per rising zero crossing: us until the first SPI byte of its request."""
    found = []
    edge_us: float | None = None
    for event in events:
        if event.what == "mains" and event.detail[0] == 1:
            edge_us = event.at_us
        elif event.what == "can_spi" and event.detail[0] == _LOAD_REQUEST and edge_us is not None:
            found.append(event.at_us - edge_us)
            edge_us = None
    return found


def answer(received: bytes, command: str) -> dict[str, Any]:
    """The last whole answer to a console command in what the board has sent; HaliteError without one."""
    for line in reversed(received.replace(b"\r", b"").split(b"\n")[:-1]):
        if line.startswith(b'{"re":"%s"' % command.encode()):
            found: dict[str, Any] = json.loads(line)
            return found
    raise HaliteError(f"the emulated board does not answer {command!r}")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def keep_streaming(board: EmulatedBoard, command: bytes = b"cells\n") -> None:
    """Ask again as soon as an answer has ended, so that the console is never quiet."""

    before = b""

    def listen(chunk: bytes) -> None:
        nonlocal before
        if b"}\n" in (before + chunk).replace(b"\r", b""):  # the end of an answer may come in two packets
            board.send(command)
        before = chunk[-2:] if not chunk.endswith(b"\n") else b""

    board.console_listeners.append(listen)
    board.send(command)


def _crc(data: bytes) -> int:
    use_firmware()
    from rack.drivers.crc16 import TABLE, crc16

    return int(crc16(data, 0, len(data), TABLE))


class Polling:
    """An EMS that reads piece after piece of the registers over RS-485, the next one as soon as it may."""

    def __init__(self, rack: EmulatedRack) -> None:
        use_firmware()
        from rack.generated import modbus_map

        if rack.rs485 is None:
            raise HaliteError("the rack has no RS-485 line: [modbus] enabled is false")
        self.answered_us: list[float] = []
        self._board = rack.board
        self._line = rack.rs485
        self._unit = rack.config["modbus_unit"]
        self._base, self._registers = modbus_map.BASE, modbus_map.REGISTERS
        self._at = self._count = 0
        rack.rs485.on_frame = self._answered
        self._ask()

    def _ask(self) -> None:
        self._count = min(_MODBUS_MOST, self._registers - self._at)
        request = struct.pack(">BBHH", self._unit, 3, self._base + self._at, self._count)
        self._line.send(request + struct.pack("<H", _crc(request)))

    def _answered(self, frame: bytes) -> None:
        if len(frame) != 5 + 2 * self._count or frame[:2] != bytes((self._unit, 3)) or _crc(frame):
            raise HaliteError(f"a wrong answer on RS-485: {frame!r}")
        self.answered_us.append(self._board.now_us)
        self._at = (self._at + self._count) % self._registers
        self._ask()

    def check(self, begin_us: float, end_us: float) -> None:
        """HaliteError unless answers came all the time."""
        times = [begin_us, *(at_us for at_us in self.answered_us if begin_us < at_us < end_us), end_us]
        longest_ms = max(after - before for before, after in pairwise(times)) / 1000
        if longest_ms > _POLL_MS:
            raise HaliteError(f"no request on RS-485 was answered for {longest_ms:.0f} ms")


def check_load(board: EmulatedBoard, emulated_ms: float) -> None:
    """HaliteError unless status frames came in and the console kept streaming in that much time."""
    statuses = sum(event.what == "can" and event.detail[0] == _STATUS_ID for event in board.events)
    if statuses < emulated_ms / _STATUS_MS / 2:
        raise HaliteError(f"only {statuses} status frames of the PCS came in")
    if len(board.received) < emulated_ms * _STREAMED_BYTES_PER_MS:
        raise HaliteError(f"the console has streamed only {len(board.received)} bytes")


_KERNEL = """
import machine, time
from array import array
from rack.config import load
with open("config.bin", "rb") as file:
    params = load(file.read())
from rack.control.response.response import Response
from rack.control.response.request_kernel import period_kernel
response = Response(params, array("i", [0] * 300))
response.set_limits(params.rack_power_max_W, params.rack_power_max_W, 1)
k, rings, curve = response.arrays
for index, value in {changes}:
    k[index] = value
def run(count, times):
    for _ in range(times): period_kernel(k, rings, curve, count)
def nothing(k, rings, curve, count): pass
def time_of(function):
    start = time.ticks_us()
    for _ in range({calls}): function(k, rings, curve, 1_257_000)
    return time.ticks_us() - start
run(1_250_000, 130)
state = machine.disable_irq()
took = time_of(period_kernel) - time_of(nothing)
machine.enable_irq(state)
print(took, k[{request}])
"""
_CALLS = 40


def kernel_us(config: RackConfig) -> float:
    """Mean time of the kernel on the emulated board, interrupts off, beyond a call of an empty function.

    With all that a config can switch on: share of a pair, inertia, a reduced authority; the windows are full.
    """
    use_firmware()
    from rack.generated import response_state as K

    everything = ((K.ROLE, 1), (K.TAU, 1_000), (K.SHARE, 1_000), (K.INERTIA, 10), (K.BAND, 10), (K.AUTHORITY, 999))
    blank = EmulatedBoard(image_path()).flash_snapshot()
    files = make(config, short=False).files
    board = emulated_rack(config, flash=with_files(blank, files)).board
    board.rp2040.watchdog.scratch_data[0] = MAINTENANCE_MAGIC
    board.run_for(100)
    at_prompt(board)
    code = _KERNEL.format(changes=everything, calls=_CALLS, request=K.REQUEST)
    took_us, request_W = map(int, run_code(board, code, 6_000, 300).split())
    if not request_W:
        raise HaliteError("the kernel that was measured has asked for nothing")
    return took_us / _CALLS
