"""The host's end of the USB cable: a CDC console with the behaviour of a real host.

rp2040py's host completes every OUT transfer at once, with an empty packet when it has no data. The device is then
interrupted every 10 us and loses two thirds of its processor time. A real host sends an OUT token only when it has
data, and an IN token only while it has room (USB 2.0, 5.8 bulk transfers).
"""

from collections.abc import Callable

from rp2040py.peripherals.usb import RPUSBController
from rp2040py.usb.cdc import ENDPOINT_ZERO, USBCDC

_EP0_BUFFER_CONTROL = 0x80
_AVAILABLE = 1 << 10


class ConsoleHost(USBCDC):
    """The console's host. `send` queues bytes without limit; `on_serial_data` gets the board's bytes.

    The board has to wait while `has_room()` is false. DTR stays asserted from enumeration on. unsent: queued bytes that
    the board has not read.
    """

    def __init__(self, usb: RPUSBController) -> None:
        super().__init__(usb)
        self.has_room: Callable[[], bool] = lambda: True
        self.unsent = bytearray()
        self._armed_bytes = 0
        self._held: list[tuple[int, int]] = []
        self._answer_other = usb.on_endpoint_read
        self._transfer = usb.dpram_updated
        usb.on_endpoint_read = self._out_armed
        setattr(usb, "dpram_updated", self._buffer_control_written)  # noqa: B010 - a method, replaced on purpose

    @property
    def connected(self) -> bool:
        """True when the board is enumerated and DTR is asserted."""
        return self._initialized

    def send(self, data: bytes) -> None:
        """Queue bytes for the board; unread bytes stay queued over its reset."""
        self.unsent += data
        self._serve()

    def send_serial_byte(self, data: int) -> None:
        """Queue one byte for the board."""
        self.send(bytes((data,)))

    def resume(self) -> None:
        """Take the packets that the board holds ready, once there is room again."""
        held, self._held = self._held, []
        for offset, value in held:
            self._transfer(offset, value)

    def _out_armed(self, endpoint: int, size: int) -> None:
        if endpoint == ENDPOINT_ZERO or endpoint != self._out_endpoint:
            if self._answer_other:
                self._answer_other(endpoint, size)
            return
        self._armed_bytes = size
        self._serve()

    def _serve(self) -> None:
        size = min(self._armed_bytes, len(self.unsent))
        if not size:
            return
        packet = bytes(self.unsent[:size])
        del self.unsent[:size]
        self._armed_bytes = 0
        self.usb.endpoint_read_done(self._out_endpoint, packet)

    def _buffer_control_written(self, offset: int, value: int) -> None:
        in_offset = _EP0_BUFFER_CONTROL + 8 * self._in_endpoint
        if self._in_endpoint > 0 and offset == in_offset and value & _AVAILABLE and not self.has_room():
            self._held.append((offset, value))
        else:
            self._transfer(offset, value)

    def _on_controller_reset(self) -> None:
        super()._on_controller_reset()
        self._armed_bytes = 0
        self._held = []
