"""The only importer of mpremote: its raw REPL, with an overall deadline on every exchange.

The authors of mpremote call its library unstable. It can wait for ever, and it prints instead of raising. This module
hides all of that.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from halite.board.refusal import BoardError
from halite.board.serial_port import SerialPort


class _Transport(SerialTransport):  # type: ignore[misc]
    """mpremote's transport on an open port, with reads that end at the deadline."""

    def __init__(self, port: SerialPort) -> None:
        self.port = port
        self.serial = port.serial
        self.in_raw_repl = False
        self.use_raw_paste = True
        self.device_name = port.path
        self.mounted = False
        self.is_pty = True
        self.seen = b""

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float | None = 10,
        data_consumer: Any = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """As mpremote's, but it ends after `timeout_overall` and at the port's deadline."""
        data, quiet, begin = b"", 0.0, time.monotonic()
        while not data.endswith(ending) and not self.port.expired:
            if timeout_overall is not None and time.monotonic() - begin > timeout_overall:
                break
            new = self.port.serial.read(1)
            quiet = 0.0 if new else quiet + (self.port.serial.timeout or 0)
            data += new
            if timeout is not None and quiet >= timeout:
                break
        self.seen = data
        return data


def _quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function of mpremote and discard its prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments, **options)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no text"


class RawRepl:
    """The raw REPL of a board on an open port."""

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self._transport = _Transport(port)

    @contextlib.contextmanager
    def _exchange(self, seconds: float, quiet: float = 5) -> Iterator[None]:
        """Limit an exchange to `seconds` and each read to `quiet` seconds; raise BoardError for mpremote's errors."""
        self._port.serial.timeout = quiet
        try:
            with self._port.within(seconds):
                yield
        except TransportExecError as error:
            raise BoardError("board_error", f"error on the board: {_last_line(error.error_output)}") from None
        except (TransportError, IndexError, ValueError) as error:
            seen = self._transport.seen[-60:]
            came = f"received {seen!r}" if seen else "no answer"
            raise BoardError("silent", f"{self._port.path}: {error}: {came}") from None

    def enter(self, seconds: float = 20) -> None:
        """Interrupt the running code without a soft reset, which would keep output levels and run boot.py.

        Tries again for `seconds`, because after an interrupted flash a board ignores Ctrl-C for some seconds.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                with self._exchange(5, quiet=1):
                    _quietly(self._transport.enter_raw_repl, soft_reset=False, timeout_overall=2)
                return
            except BoardError as error:
                if error.reason.code != "silent":
                    raise
                if time.monotonic() > end:
                    text = f"{self._port.path}: no raw REPL: {error.text}"
                    raise BoardError("not_micropython", text) from None

    def run(self, code: str, seconds: float = 10) -> str:
        """Run code on the board and return its output."""
        with self._exchange(seconds):
            _quietly(self._transport.exec_raw_no_follow, code)
            output, errors = self._transport.follow(timeout=seconds)
            if errors:
                raise TransportExecError(output, errors.decode("utf-8", "replace"))
        return str(output.decode("utf-8", "replace"))

    @contextlib.contextmanager
    def running(self, code: str, seconds: float) -> Iterator["Session"]:
        """Run code that reads its standard input: yields a session for it, then waits for the end of the code."""
        with self._exchange(seconds):
            _quietly(self._transport.exec_raw_no_follow, code)
            session = Session(self._port)
            yield session
            if not session.ended:
                self._transport.read_until(1, b"\x04", timeout=seconds)
            errors = self._transport.read_until(1, b"\x04", timeout=seconds)[:-1]
            if errors:
                raise TransportExecError(b"", errors.decode("utf-8", "replace"))

    def start(self, code: str) -> None:
        """Run code that does not return, such as a reset."""
        with self._exchange(5):
            _quietly(self._transport.exec_raw_no_follow, code)


class Session:
    """Exchange with code that runs on the board: bytes to it, single marks from it."""

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self.ended = False

    def send(self, data: bytes) -> None:
        self._port.write(data)

    def marks(self, wait: bool = False) -> str:
        """Characters that the code has printed since the last call; "" after its end. wait: for the first character."""
        found = b""
        while not self.ended and not self._port.expired and (self._port.serial.in_waiting or (wait and not found)):
            byte = self._port.serial.read(1)
            self.ended = byte == b"\x04"
            found += b"" if self.ended else byte.strip()
        return found.decode("ascii", "replace")
