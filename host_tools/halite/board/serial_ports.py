"""List the serial ports. The module sends no bytes: a list must not disturb a running rack."""

from typing import Any

from serial.tools import list_ports

from halite.common.errors import HaliteError

_RASPBERRY_PI = 0x2E8A
_KINDS = {0x0003: "RP2040 in BOOTSEL", 0x0005: "MicroPython board"}


def _kind(vid: int | None, pid: int | None) -> str:
    if vid == _RASPBERRY_PI:
        return _KINDS.get(pid or 0, "Raspberry Pi board")
    return "other"


def list_boards() -> list[dict[str, Any]]:
    """Every serial port: path, kind, serial number, and its location in the USB tree (stable per socket)."""
    return [
        {
            "port": port.device,
            "kind": _kind(port.vid, port.pid),
            "serial_number": port.serial_number or "-",
            "location": port.location or "-",
        }
        for port in sorted(list_ports.comports())
    ]


def choose(given: str) -> str:
    """The given port, or the port of the only board. HaliteError for several boards, and without a board."""
    if given:
        return given
    found = [row["port"] for row in list_boards() if row["kind"] != "other"]
    if len(found) == 1:
        return str(found[0])
    text = f"{len(found)} boards: {', '.join(found)}" if found else "no board found"
    raise HaliteError(text, "give one with --port")
