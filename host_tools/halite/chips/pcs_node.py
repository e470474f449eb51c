"""The PCS as a node on the CAN bus: takes power requests, checks them, reports its status.

The layout of the frames comes from a codec, so that the node holds no second copy of the protocol.
"""

from collections import deque

from halite.chips.can_bus import KEPT, CanBus, Frame
from halite.chips.pcs_codec import FirmwareTableCodec
from halite.chips.pcs_messages import PcsCodec, Request, Status
from halite.plant.rack import Rack

STATUS_PERIOD_US = 20_000.0


class PcsNode:
    """Connects a rack's PCS to a bus. requests holds (time µs, Request) of the newest ones taken."""

    def __init__(self, bus: CanBus, rack: Rack, codec: PcsCodec | None = None) -> None:
        if codec is None:
            codec = FirmwareTableCodec()
        self.bus = bus
        self.rack = rack
        self.codec = codec
        self.requests: deque[tuple[float, Request]] = deque(maxlen=KEPT)
        self.rejected = 0
        self._counter = 0
        self._last_counter: int | None = None
        bus.nodes.append(self)
        bus.every(STATUS_PERIOD_US, self.report, STATUS_PERIOD_US)

    def report(self, at_us: float) -> None:
        """Send one status frame, unless the PCS is silent."""
        self.rack.step_to(at_us)
        if self.rack.pcs.silent:
            return
        self._counter = self._counter + 1 & 15
        pcs = self.rack.pcs
        status = Status(pcs.state, round(self.rack.bus_V * 10), round(pcs.power_W), self._last_counter or 0)
        self.bus.send(self, self.codec.status(status, self._counter), at_us)

    # node of the bus

    def acknowledges(self) -> bool:
        return "can_cut" not in self.rack.faults

    def received(self, frame: Frame, at_us: float) -> None:
        request = self.codec.request(frame)
        if request is None or request.counter == self._last_counter:
            self.rejected += 1
            return
        self._last_counter = request.counter
        self.requests.append((at_us, request))
        self.rack.step_to(at_us)
        self.rack.request(request.power_W, request.permitted, at_us)

    def sent(self, frame: Frame, at_us: float) -> None:
        """No action: the next status follows in its own time."""

    def failed(self, frame: Frame, at_us: float, acknowledged: bool) -> bool:
        """A status that did not get through is not repeated: the next one is newer."""
        return False
