"""The messages between rack and PCS, without their coding."""

from dataclasses import dataclass
from typing import Protocol

from halite.chips.can_bus import Frame


@dataclass(frozen=True)
class Request:
    """A valid power request. power_W positive discharges; counter 0..15."""

    power_W: int
    permitted: bool
    counter: int


@dataclass(frozen=True)
class Status:
    """The report of the PCS."""

    state: int
    bus_dV: int
    power_W: int
    echo: int  # counter of the last request that was accepted
    fault: int = 0  # 0..15, 0 without a fault


class PcsCodec(Protocol):
    """Turns frames into requests and status into frames."""

    def request(self, frame: Frame) -> Request | None:
        """The request in a frame, None when it is another frame or its CRC is wrong."""

    def order(self, request: Request) -> Frame:
        """The frame of a power request."""

    def status(self, status: Status, counter: int) -> Frame:
        """The status frame."""
