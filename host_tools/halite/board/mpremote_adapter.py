"""The only importer of mpremote: its raw REPL, with an overall deadline on every exchange.

mpremote's library is not stable by its own words, can wait for ever and prints instead of raising;
none of that leaves this module.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from halite.board.refusal import BoardError
from halite.board.serial_port import Port


class _Transport(SerialTransport):  # type: ignore[misc]
    """mpremote's transport on a port that is open already, reading in blocks and never past the deadline."""

    def __init__(self, port: Port) -> None:
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
        """As mpremote's, but at most `timeout_overall` and never beyond the port's deadline."""
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
    """Call mpremote without its prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments, **options)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"


class RawRepl:
    """The raw REPL of a board on an open port."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._transport = _Transport(port)

    @contextlib.contextmanager
    def _exchange(self, seconds: float, quiet: float = 5) -> Iterator[None]:
        """Bound an exchange, and one read of it to `quiet` seconds; turn mpremote's errors into reasons."""
        self._port.serial.timeout = quiet
        try:
            with self._port.within(seconds):
                yield
        except TransportExecError as error:
            raise BoardError("board_error", f"the board says {_last_line(error.error_output)}") from None
        except (TransportError, IndexError, ValueError) as error:
            seen = self._transport.seen[-60:]
            came = f"came back {seen!r}" if seen else "nothing came back"
            raise BoardError("silent", f"{self._port.path}: {error}: {came}") from None

    def enter(self, seconds: float = 20) -> None:
        """Interrupt what runs, without a soft reset (outputs would keep their level, boot.py would run).

        Tries again for `seconds`: a board whose flash was cut takes no Ctrl-C for some seconds.
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
        """Run code on the board and return what it printed."""
        with self._exchange(seconds):
            _quietly(self._transport.exec_raw_no_follow, code)
            output, errors = self._transport.follow(timeout=seconds)
            if errors:
                raise TransportExecError(output, errors.decode("utf-8", "replace"))
        return str(output.decode("utf-8", "replace"))

    @contextlib.contextmanager
    def running(self, code: str, seconds: float) -> Iterator["Session"]:
        """Run code that reads from its standard input; the session talks to it, then waits for its end."""
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
        """Run code that does not come back, such as a reset."""
        with self._exchange(5):
            _quietly(self._transport.exec_raw_no_follow, code)


class Session:
    """Talk to code that runs on the board: bytes in, single marks out."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.ended = False

    def send(self, data: bytes) -> None:
        self._port.write(data)

    def marks(self, wait: bool = False) -> str:
        """What the code printed since; waits for the first character if asked, "" when it ended."""
        found = b""
        while not self.ended and not self._port.expired and (self._port.serial.in_waiting or (wait and not found)):
            byte = self._port.serial.read(1)
            self.ended = byte == b"\x04"
            found += b"" if self.ended else byte.strip()
        return found.decode("ascii", "replace")
