"""The application on the emulated board: started from its files, its contactors closed, its requests read.

Times are emulated and taken at the pins: a rising edge of the mains input, the first byte of the MCP2515's
LOAD TX BUFFER 0 on SPI, frames on the CAN bus.
"""

from collections.abc import Iterable
from typing import NamedTuple

from halite.build.firmware import make
from halite.chips.can_bus import Frame
from halite.chips.pcs_codec import FirmwareTableCodec
from halite.common.errors import HaliteError
from halite.common.image import image_path
from halite.common.paths import use_firmware
from halite.config import RackConfig
from halite.emulator.board import BoardEvent, EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.hosts.emulated import EmulatedRack, emulated_rack
from halite.plant.rack import StartState

use_firmware()

from rack.definitions.pcs_codes import FLAG_PERMIT, REQUEST_ID  # noqa: E402 - only after use_firmware
from rack.drivers.mcp2515 import LOAD_TX0  # noqa: E402

_CLOSE_MS = 12_000.0
_ASK_AGAIN_US = 200_000


class Request(NamedTuple):
    """A request frame on the CAN bus. flags: FLAG_* of rack.definitions.pcs_codes."""

    at_us: float
    power_W: int
    flags: int


def rack_with_application(config: RackConfig, start: StartState | None = None) -> EmulatedRack:
    """Return a rack with the application in flash at power-on; no time has passed yet.

    start: the rack's state before it is powered.
    """
    blank = EmulatedBoard(image_path()).flash_snapshot()
    return emulated_rack(config, start=start, flash=with_files(blank, make(config).files))


def close(emulated: EmulatedRack, wall_s: float = 600.0) -> EmulatedRack:
    """Run until the requests permit the PCS to run. HaliteError when that does not happen within 12 s."""
    board = emulated.board
    asked_us = 0.0

    def permitted() -> bool:
        """Repeat the command: the controller refuses to close until it has readings of every AFE."""
        nonlocal asked_us
        if b"# standby:" in board.received:
            raise HaliteError(f"the application has failed: {board.received[-300:]!r}")
        if b"# healthy" in board.received and board.now_us > asked_us + _ASK_AGAIN_US:
            asked_us = board.now_us
            board.send(b"close\n")
        found = requests(board.events[-40:])
        return bool(found) and bool(found[-1].flags & FLAG_PERMIT)

    if not board.run_until(permitted, _CLOSE_MS, wall_s, 5):
        raise HaliteError(f"the emulated rack does not close: {board.received[-300:]!r}")
    return emulated


def running_rack(config: RackConfig, wall_s: float = 600.0) -> EmulatedRack:
    """Return a rack with the application in flash and its contactors closed. HaliteError when they do not close."""
    return close(rack_with_application(config), wall_s)


def requests(events: Iterable[BoardEvent]) -> list[Request]:
    """Return the request frames among recorded events. HaliteError for a damaged one."""
    codec = FirmwareTableCodec()
    found = []
    for event in events:
        if event.what == "can" and event.detail[0] == REQUEST_ID:
            fields = codec.unpack(Frame(REQUEST_ID, event.detail[1]))  # type: ignore[arg-type]
            if fields is None:
                raise HaliteError(f"a request frame is damaged: {event.detail[1]!r}")
            found.append(Request(event.at_us, fields["power"], fields["flags"]))
    return found


def edges(events: Iterable[BoardEvent]) -> list[float]:
    """Return the times of the rising zero crossings among recorded events, in us."""
    return [event.at_us for event in events if event.what == "mains" and event.detail[0] == 1]


def edge_to_request_us(events: Iterable[BoardEvent]) -> list[float]:
    """Return, per rising zero crossing, the time until the first SPI byte of its request, in us."""
    found = []
    edge_us: float | None = None
    for event in events:
        if event.what == "mains" and event.detail[0] == 1:
            edge_us = event.at_us
        elif event.what == "can_spi" and event.detail[0] == LOAD_TX0 and edge_us is not None:
            found.append(event.at_us - edge_us)
            edge_us = None
    return found
