"""The PCS's side of the CAN protocol, packed and unpacked bit by bit from the one table of frames.

The table (names, bit positions) is the firmware's; the packing is not, so that a mistake in the firmware's
own packing shows as a request that the PCS does not accept.
"""

from halite.chips.can_bus import Frame
from halite.chips.pcs_messages import Request, Status
from halite.common.paths import use_firmware

use_firmware()

from rack.definitions import pcs_codes, pcs_frames  # noqa: E402 - only after use_firmware


def crc8(data: bytes) -> int:
    """CRC-8 SAE J1850: polynomial 0x1D, init and final 0xFF; "123456789" gives 0x4B."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


def crc_of(identifier: int, data: bytes) -> int:
    """The CRC of a frame: over its identifier, low byte first, and its first seven bytes."""
    return crc8(identifier.to_bytes(2, "little") + data[:7])


class FirmwareTableCodec:
    """Codec over `rack.definitions.pcs_frames.FRAMES`."""

    def __init__(self) -> None:
        self._fields = {row[0]: row[5] for row in pcs_frames.FRAMES}

    def unpack(self, frame: Frame) -> dict[str, int] | None:
        """Raw field values of a known frame with a good CRC, else None."""
        fields = self._fields.get(frame.id)
        if fields is None or frame.extended or len(frame.data) != 8 or crc_of(frame.id, frame.data) != frame.data[7]:
            return None
        whole = int.from_bytes(frame.data, "little")
        values = {}
        for name, first, bits, signed, *_ in fields:
            value = whole >> first & (1 << bits) - 1
            values[name] = value - (1 << bits) if signed and value >> bits - 1 else value
        return values

    def pack(self, identifier: int, values: dict[str, int]) -> Frame:
        """A frame with the given raw field values (others 0) and its CRC; values beyond a field are cut to its ends."""
        whole = 0
        for name, first, bits, signed, *_ in self._fields[identifier]:
            least = -(1 << bits - 1) if signed else 0
            value = max(least, min(least + (1 << bits) - 1, values.get(name, 0)))
            whole |= (value & (1 << bits) - 1) << first
        data = whole.to_bytes(8, "little")[:7]
        return Frame(identifier, data + bytes((crc_of(identifier, data),)))

    def request(self, frame: Frame) -> Request | None:
        """A power request; permitted needs both the permit and the enable flag."""
        values = self.unpack(frame) if frame.id == pcs_codes.REQUEST_ID else None
        if values is None or values["version"] != pcs_codes.VERSION:
            return None
        both = pcs_codes.FLAG_PERMIT | pcs_codes.FLAG_ENABLE
        return Request(values["power"], values["flags"] & both == both, values["sequence"])

    def order(self, request: Request) -> Frame:
        """The frame of a power request, as a second node sends it."""
        flags = pcs_codes.FLAG_PERMIT | pcs_codes.FLAG_ENABLE if request.permitted else 0
        values = {"power": request.power_W, "flags": flags, "sequence": request.counter, "version": pcs_codes.VERSION}
        return self.pack(pcs_codes.REQUEST_ID, values)

    def status(self, status: Status, counter: int) -> Frame:
        """The status frame."""
        return self.pack(
            pcs_codes.STATUS_ID,
            {
                "power": status.power_W,
                "bus_voltage": status.bus_dV,
                "state": status.state,
                "echo": status.echo,
                "sequence": counter,
                "fault": status.fault,
            },
        )
