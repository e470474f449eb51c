"""The rack's side of the PCS link: requests from the fast path, limits and status in the main loop.

The PCS must go to zero when this rack stops its requests, and this rack must detect a PCS that stops its status. So a
request is sent in each mains period, or in each scan without mains.
"""

from array import array

from micropython import const

from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.definitions import pcs_codes
from rack.comms import pcs_codec
from rack.control.sense.message_ages import arrived
from rack.drivers.mcp2515 import LOAD_TX0, LOAD_TX1

_FRAME = const(14)          # instruction, four identifier registers, length code, eight data bytes
_REMOTE = const(0x10)       # SRR of RXBnSIDL (DS20001801, 4): a frame without data; the buffer keeps older data
_MAX_FRAMES = const(4)      # received frames that one call handles


def _prepared(instruction, identifier):
    frame = bytearray(_FRAME)
    frame[0] = instruction
    frame[1] = identifier >> 3
    frame[2] = (identifier & 7) << 5
    frame[5] = pcs_codes.LENGTH
    return frame


class PcsLink:
    """can: rack.drivers.mcp2515.Mcp2515; s: the process image.

    state: words of rack.generated.pcs_link_state. request: the SPI bytes that load a request into the controller.
    """

    # The first buffer of the controller takes the status only; a frame with the identifier of our request goes into the
    # second one. The controller does not receive its own frames, so such a frame comes from a second node.
    ACCEPT = (pcs_codes.STATUS_ID, pcs_codes.STATUS_ID, pcs_codes.REQUEST_ID)

    def __init__(self, can, s):
        self.state = array("i", [0] * L.INTS)
        self.can = self._can = can
        self._s = s
        self.request = _prepared(LOAD_TX0, pcs_codes.REQUEST_ID)
        self.request_data = memoryview(self.request)[6:]
        self.encode_request = pcs_codec.encode_request     # for the fast path of the board
        self.crc_table = pcs_codec.CRC_TABLE
        self._limits = _prepared(LOAD_TX1, pcs_codes.LIMITS_ID)
        self._limits_data = memoryview(self._limits)[6:]
        self._received = bytearray(13)
        self._received_data = memoryview(self._received)[5:]
        self._limits_sequence = 0

    def send_request(self, power_W):
        """Send one request with the present flags, on ports without a fast path."""
        state = self.state
        pcs_codec.encode_request(self.request_data, self.crc_table, power_W, state[L.SENT], state[L.FLAGS])
        count = L.SENT if self._can.send_fast(self.request) else L.UNSENT
        state[count] = (state[count] + 1) & 0xFFFF

    def send_limits(self):
        """Send the limits; the counter advances when the controller accepts the frame. Main loop."""
        pcs_codec.encode_limits(self._limits_data, self._s, self._limits_sequence)
        self._limits_sequence = (self._limits_sequence + self._can.send(self._limits)) & 15

    def poll(self, now_us):
        """Service the CAN controller and read up to _MAX_FRAMES status frames. Main loop."""
        can = self._can
        received = self._received
        can.poll(now_us)
        pcs_codec.publish_counts(self._s, self.state, now_us)
        for _ in range(_MAX_FRAMES):
            waiting = can.receive(received)
            if waiting:
                self._read_status(received)
            if waiting < 2:
                return

    def _read_status(self, received):
        s = self._s
        identifier = received[0] << 3 | received[1] >> 5
        if identifier == pcs_codes.REQUEST_ID:
            self.state[L.FOREIGN] += 1
        if identifier != pcs_codes.STATUS_ID:
            return
        if received[4] != pcs_codes.LENGTH or received[1] & _REMOTE:
            pcs_codec.refuse(s)
        elif pcs_codec.decode_status(self._received_data, s, self.state) == pcs_codec.OK:
            arrived(s, I.PCS_AGE_ms)
