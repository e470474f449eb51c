"""The rack's side of the PCS link: requests from the fast path, limits and status in idle time.

The PCS must fall to zero when this rack stops asking and this rack must notice when the PCS stops
answering: requests go out each mains period, or from the scan while there is no mains.
"""

from array import array

from micropython import const

from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.definitions import pcs_codes
from rack.comms import pcs_codec as pcs_can
from rack.control.sense.message_ages import arrived
from rack.drivers.mcp2515 import LOAD_TX0, LOAD_TX1

_FRAME = const(14)          # instruction, four identifier registers, length code, eight data bytes
_REMOTE = const(0x10)       # SRR of RXBnSIDL (DS20001801, 4): no data came, the buffer holds those of an older frame
_MOST_A_POLL = const(4)     # received frames handled in one call


def _prepared(instruction, identifier):
    frame = bytearray(_FRAME)
    frame[0] = instruction
    frame[1] = identifier >> 3
    frame[2] = (identifier & 7) << 5
    frame[5] = pcs_codes.LENGTH
    return frame


class PcsLink:
    """can: rack.drivers.mcp2515.Mcp2515; s: the process image. state: link_state; request: the frame as loaded."""

    ACCEPT = (pcs_codes.STATUS_ID,)

    def __init__(self, can, s):
        self.state = array("i", [0] * L.INTS)
        self.can = self._can = can
        self._s = s
        self.request = _prepared(LOAD_TX0, pcs_codes.REQUEST_ID)
        self.request_data = memoryview(self.request)[6:]
        self.encode_request = pcs_can.encode_request     # for the fast path of the board
        self._limits = _prepared(LOAD_TX1, pcs_codes.LIMITS_ID)
        self._limits_data = memoryview(self._limits)[6:]
        self._received = bytearray(13)
        self._received_data = memoryview(self._received)[5:]
        self._limits_sequence = 0

    def send_request(self, power_W):
        """One request with the present flags, on ports without a fast path of their own."""
        state = self.state
        pcs_can.encode_request(self.request_data, power_W, state[L.SENT], state[L.FLAGS])
        count = L.SENT if self._can.send_fast(self.request) else L.UNSENT
        state[count] = (state[count] + 1) & 0xFFFF

    def send_limits(self):
        """The limits frame, with a new counter when the one before was sent. Main loop."""
        pcs_can.encode_limits(self._limits_data, self._s, self._limits_sequence)
        self._limits_sequence = (self._limits_sequence + self._can.send(self._limits)) & 15

    def poll(self, now_us):
        """Controller upkeep and received status frames; a bounded number a call. Main loop."""
        can = self._can
        received = self._received
        can.poll(now_us)
        for _ in range(_MOST_A_POLL):
            waited = can.receive(received)
            if waited:
                self._take(received)
            if waited < 2:
                return

    def _take(self, received):
        s = self._s
        if received[0] << 3 | received[1] >> 5 != pcs_codes.STATUS_ID:
            return
        if received[4] != pcs_codes.LENGTH or received[1] & _REMOTE:
            s[I.PCS_REJECTED] = (s[I.PCS_REJECTED] + 1) & 0xFFF_FFFF
        elif pcs_can.decode_status(self._received_data, s) == pcs_can.OK:
            arrived(s, I.PCS_AGE_ms)
