"""A serial port (pseudo-terminal) onto the board's USB console or its RS-485 line, for mpremote and any other client.

The port outlives its clients and the board's resets. It does not drop bytes: the board's packets wait while the client
does not read, and the client's writes wait in the terminal while the board does not read.
"""

import contextlib
import os
import pty
import tty
from collections.abc import Callable
from typing import Protocol

_ROOM = 4096  # bytes held for a client that does not read; then the board has to wait
_CHUNK = 1024


class Device(Protocol):
    """The device behind a port: the console's host (halite.emulator.usb_host) or an RS-485 line."""

    has_room: Callable[[], bool]

    @property
    def unsent(self) -> bytes | bytearray:
        """Bytes of the client that the board has not read yet."""

    def send(self, data: bytes) -> None:
        """Queue bytes for the board."""

    def resume(self) -> None:
        """Let the board send again: `has_room` is true again."""


class PseudoTerminal:
    """The pty of one console or line. `pump` moves bytes; call it from the thread that runs the board."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._out = bytearray()
        device.has_room = lambda: len(self._out) < _ROOM

    def fileno(self) -> int:
        """Return the file descriptor, for select."""
        return self._master

    def from_board(self, data: bytes) -> None:
        """Queue bytes of the board for the client."""
        self._out += data
        self._flush()

    def pump(self) -> bool:
        """Move bytes in both directions without blocking; True when the board got bytes."""
        if self._out:
            self._flush()
            if len(self._out) < _ROOM:
                self._device.resume()
        if len(self._device.unsent) >= _CHUNK:
            return False
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._master, _CHUNK)
            if data:
                self._device.send(data)
                return True
        return False

    def close(self) -> None:
        """Close both ends."""
        os.close(self._master)
        os.close(self._slave)

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._out:
                sent = os.write(self._master, self._out)
                del self._out[:sent]
