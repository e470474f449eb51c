"""A serial port under a lock, with a time limit on each read and write.

Two programs on one port would garble each other's bytes, and a read without a limit would block after the board was
unplugged.
"""

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import serial

from halite.board.refusal import BoardError

_OPEN_ERRORS = {
    errno.ENOENT: ("missing", "no such port"),
    errno.ENXIO: ("missing", "no device behind the port"),
    errno.ENODEV: ("missing", "no device behind the port"),
    errno.EIO: ("missing", "no device behind the port"),
    errno.EISDIR: ("not_a_port", "not a serial port"),
    errno.EACCES: ("permission", "no permission"),
    errno.EPERM: ("permission", "no permission"),
    errno.EBUSY: ("busy", "in use"),
    errno.EWOULDBLOCK: ("busy", "in use"),
}


def _lockers(port: str) -> set[int]:
    """Process ids with a lock on the port (Linux)."""
    found = set()
    with contextlib.suppress(OSError):
        state = os.stat(port)
        node = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            kind, *_, pid, where, _, _ = line.split()[1:]
            if kind == "FLOCK" and where == node:
                found.add(int(pid))
    return found


def holders(port: str) -> list[int]:
    """Ids of the processes that hold the port (Linux; only those that this user may see).

    Processes with a lock on it; without a lock, all that have it open. An emulator has its port open without a lock.
    """
    target, own = os.path.realpath(port), os.getpid()
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        pid = int(link.parts[2])
        with contextlib.suppress(OSError):
            if pid != own and os.readlink(link) == target:
                found.add(pid)
    return sorted(found & _lockers(port) or found)


def _refusal(port: str, error: OSError) -> BoardError:
    code, text = _OPEN_ERRORS.get(error.errno or 0, ("missing", error.strerror or str(error)))
    if code == "busy":
        pids = ", ".join(str(pid) for pid in holders(port))
        text += f" by process {pids}" if pids else " by another program"
    return BoardError(code, f"{port}: {text}")


def check(port: str) -> None:
    """Raise BoardError with the exact reason why a port cannot be opened; pyserial and mpremote hide it."""
    try:
        handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise _refusal(port, error) from None
    try:
        if not stat.S_ISCHR(os.fstat(handle).st_mode) or not os.isatty(handle):
            raise BoardError("not_a_port", f"{port}: not a serial port")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise _refusal(port, error) from None
    finally:
        os.close(handle)


class SerialPort:
    """An open serial port under a lock; every read and write has a limit."""

    def __init__(self, path: str) -> None:
        """Open the port; BoardError with the reason when that fails."""
        check(path)
        self.path = path
        self.expired = False
        try:
            self.serial = serial.Serial(path, 115_200, timeout=5, exclusive=True)
        except serial.SerialException as error:
            raise _refusal(path, OSError(error.errno or errno.EBUSY, str(error))) from None

    def __enter__(self) -> "SerialPort":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port; no error when it has disappeared."""
        with contextlib.suppress(OSError):
            self.serial.close()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit the wall time of a block: reads and writes that still wait at the deadline are cancelled.

        Raises BoardError "silent" at the deadline, "vanished" when the port went away.
        """
        self.expired = False
        watchdog = threading.Timer(seconds, self._expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except OSError as error:
            raise BoardError("vanished", f"{self.path}: the port vanished ({error})") from None
        finally:
            watchdog.cancel()
        if self.expired:
            raise BoardError("silent", f"{self.path}: the exchange did not end within {seconds:g} s")

    def _expire(self) -> None:
        self.expired = True
        with contextlib.suppress(OSError, AttributeError):
            self.serial.cancel_read()
            self.serial.cancel_write()

    def read(self, seconds: float) -> bytes:
        """The bytes that have arrived; waits at most `seconds` for the first one, then returns b""."""
        self.serial.timeout = seconds
        first = self.serial.read(1)
        waiting = self.serial.in_waiting if first else 0
        return bytes(first + (self.serial.read(waiting) if waiting else b""))

    def write(self, data: bytes) -> None:
        """Send all bytes, in several writes if necessary."""
        view = memoryview(data)
        while len(view) and not self.expired:
            view = view[self.serial.write(view) :]

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield complete lines until `seconds` pass without a byte; an incomplete line comes last."""
        end, pending = time.monotonic() + seconds, b""
        while (left := end - time.monotonic()) > 0 and not self.expired:
            if new := self.read(min(left, 0.2)):
                end, pending = time.monotonic() + seconds, pending + new
            *whole, pending = pending.split(b"\n")
            for line in whole:
                yield line.decode("ascii", "replace").strip("\r")
            if pending.endswith(b">>> "):
                yield pending.decode("ascii", "replace")
                pending = b""
        if pending:
            yield pending.decode("ascii", "replace")
