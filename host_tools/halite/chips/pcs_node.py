"""The PCS as a node on the CAN bus: takes power requests, checks them, reports its status.

The layout of the frames comes from a codec, so that the node holds no second copy of the protocol.
"""

from collections import deque
from functools import partial

from halite.chips.can_bus import KEPT, CanBus, Frame
from halite.chips.pcs_codec import FirmwareTableCodec
from halite.chips.pcs_messages import PcsCodec, Request, Status
from halite.common.paths import use_firmware
from halite.plant.rack import Rack

use_firmware()

from rack.definitions.pcs_codes import STATUS_ID  # noqa: E402 - only after use_firmware

STATUS_PERIOD_US = 20_000.0
_FORGED_AFTER_US = 2_000.0  # a forged status follows the true one


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
        self._last_counter: int | None = None
        self._forged_count = 0
        bus.nodes.append(self)
        bus.every(STATUS_PERIOD_US, self.report, STATUS_PERIOD_US)

    def report(self, at_us: float) -> None:
        """Send one status frame, unless the PCS is silent; with a fault also the frames of another node."""
        rack = self.rack
        rack.step_to(at_us)
        self._flood(at_us)
        self._forge_request(at_us)
        if rack.pcs.silent:
            return
        counter = rack.next_status_counter()
        self.bus.send(self, self.codec.status(self._status(rack.measured_bus_V), counter), at_us)
        if rack.forged_bus_V is not None:
            forged = self.codec.status(self._status(rack.forged_bus_V), counter + 1 & 15)
            self.bus.at(at_us + _FORGED_AFTER_US, lambda us: self.bus.send(self, forged, us))

    def _status(self, bus_V: float) -> Status:
        rack = self.rack
        echo = rack.measured_pcs_echo(self._last_counter or 0)
        state, power_W = rack.measured_pcs_state, round(rack.measured_pcs_power_W)
        return Status(state, round(bus_V * 10), power_W, echo, rack.pcs_fault_code)

    def _flood(self, at_us: float) -> None:
        """Garbage until the next status frame: right identifier, wrong CRC."""
        rate_per_ms = self.rack.faults.value("can_flood", 0.0)
        for n in range(round(rate_per_ms * STATUS_PERIOD_US / 1000)):
            garbage = Frame(STATUS_ID, bytes((n,)) * 8)
            self.bus.at(at_us + n * 1000 / rate_per_ms, partial(self.bus.send, self, garbage))

    def _forge_request(self, at_us: float) -> None:
        """Send the power request of a second node; the PCS takes it too."""
        power_W = self.rack.forged_request_W
        if power_W is None:
            return
        self._forged_count = self._forged_count + 1 & 15
        frame = self.codec.order(Request(round(power_W), True, self._forged_count))
        self.bus.send(self, frame, at_us)
        self.received(frame, at_us)

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
