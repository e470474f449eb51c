"""ADI LTC6811 / LTC6813 stack on SPI through isoSPI: commands, register groups, PEC15, sleep.

Sources: LTC6813-1 data sheet; LSB, timings and order of bytes as in analogdevicesinc/Linduino LTC681x.cpp and
foxBMS 2 ltc_6813-1_cfg.h (facts of this project). Data for several devices: writes carry the last device first,
reads return the first device first; every six bytes are followed by their PEC.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from halite.chips.crc import pec15
from halite.chips.faults import WireFaults
from halite.common.paths import use_firmware

use_firmware()

from rack.drivers import ltc681x_commands as C  # noqa: E402 - only after use_firmware

READ_CELLS = (C.RDCVA, C.RDCVB, C.RDCVC, C.RDCVD, C.RDCVE, C.RDCVF)
READ_AUX = (C.RDAUXA, C.RDAUXB, C.RDAUXC, C.RDAUXD)
# The bits of a start command that are not mode, channel, pull-up or discharge
_ADCV_MASK, _ADOW_MASK, _ADAX_MASK = 0x668, 0x628, 0x678

BYTE_us = 8.0  # 1 Mbit/s, the maximum of an LTC6820
_LSB_V = 100e-6
_VREF2_V = 3.0
_SLEEP_us, _IDLE_us = 2_000_000.0, 6_700.0
_WAKE_us, _READY_us = 300.0, 10.0
# Conversion of all cells and of all GPIOs by MD: 422 Hz, 27 kHz, 7 kHz, 26 Hz
_CELLS_us = (12_800.0, 1_100.0, 2_300.0, 201_000.0)
_AUX_us = (21_500.0, 1_800.0, 3_900.0, 335_000.0)
_OPEN_STEP_V = 0.6  # shift of the inputs next to an open wire by the pull currents of ADOW: engineering judgement


@dataclass
class Device:
    """Registers of one chip; groups of six bytes."""

    position: int
    config: list[bytearray] = field(default_factory=lambda: [bytearray(6), bytearray(6)])
    cells: list[int] = field(default_factory=lambda: [C.CLEARED] * 18)
    aux: list[int] = field(default_factory=lambda: [C.CLEARED] * 12)


def _word(volts: float) -> int:
    return max(0, min(0xFFFE, round(volts / _LSB_V)))


def _pack(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "little") for word in words)


class Ltc6813Stack:
    """A chain of chips behind one chip select.

    inputs(position): (cell voltages in V, GPIO ratios to VREF2 0..1). cells_per_device: 12 (LTC6811) or 18.

    open_wires: (position, n) of sense wires that are open; wire n is above cell n, wire 0 below cell 1.
    shut_down(): positions that report a thermal shutdown.

    reached(): number of devices that answer; the rest of the chain is gone.
    """

    def __init__(
        self,
        devices: int,
        inputs: Callable[[int], tuple[Sequence[float], Sequence[float]]],
        cells_per_device: int = 18,
        faults: WireFaults | None = None,
    ) -> None:
        self.devices = [Device(position) for position in range(devices)]
        self.inputs = inputs
        self.cells_per_device = cells_per_device
        self.faults = faults or WireFaults()
        self.open_wires: set[tuple[int, int]] = set()
        self.reached: Callable[[], int] = lambda: devices
        self.shut_down: Callable[[], Collection[int]] = tuple
        self.pec_errors = 0
        self._last_us = -_SLEEP_us
        self._ready_us = 0.0
        self._bytes: list[int] = []
        self._answer = b""
        self._pending: tuple[float, str, int] | None = None

    # SPI

    def select(self, now_us: float) -> None:
        """Chip select falls: wakes the port, or the chips, when they slept."""
        silent = now_us - self._last_us
        if silent > _SLEEP_us:
            self._ready_us = now_us + _WAKE_us
            self._pending = None
            for device in self.devices:
                device.config = [bytearray(6), bytearray(6)]
        elif silent > _IDLE_us:
            self._ready_us = now_us + _READY_us * len(self.devices)
        self._last_us = now_us
        self._bytes, self._answer = [], b""
        self.faults.begins()

    def exchange(self, byte: int, now_us: float) -> int:
        """One byte in each direction; 0xFF is the idle line."""
        self._last_us = now_us
        if self.faults.resets_now():
            self.devices = [Device(device.position) for device in self.devices]
        if now_us < self._ready_us or self.faults.missing:
            return 0xFF
        self._bytes.append(self.faults.clocked(byte))
        place = len(self._bytes) - 4
        answer = 0xFF
        if place > 0 and self._is_poll():
            answer = 0x00 if self._busy(now_us) else 0xFF
        elif 0 < place <= len(self._answer):
            answer = self._answer[place - 1]
        if place == 0:
            self._begin(now_us)
        return self.faults.clocked(answer, answer=True)

    def deselect(self, now_us: float) -> None:
        """Chip select rises: complete writes take effect."""
        self._last_us = now_us
        command = self._command()
        if command in (C.WRCFGA, C.WRCFGB):
            self._write_config(0 if command == C.WRCFGA else 1)
        self._bytes = []

    def transfer(self, data: bytes, now_us: float) -> bytes:
        """One chip select that begins at now_us; returns the bytes of the answer."""
        self.select(now_us)
        answer = bytes(self.exchange(byte, now_us + BYTE_us * index) for index, byte in enumerate(data))
        self.deselect(now_us + BYTE_us * len(data))
        return answer

    # commands

    def _command(self) -> int | None:
        """The command when its PEC is right."""
        head = self._bytes[:4]
        if len(head) < 4 or pec15(head[:2]) != head[2] << 8 | head[3]:
            return None
        return (head[0] << 8 | head[1]) & 0x7FF

    def _is_poll(self) -> bool:
        command = self._command()
        return command == C.PLADC

    def _begin(self, now_us: float) -> None:
        command = self._command()
        if command is None:
            self.pec_errors += 1
            return
        mode = command >> 7 & 3
        if command & _ADOW_MASK == C.ADOW:
            self._start(now_us + _CELLS_us[mode], "up" if command & C.PULL_UP else "down", now_us)
        elif command & _ADCV_MASK == C.ADCV:
            self._start(now_us + _CELLS_us[mode], "cells", now_us)
        elif command & _ADAX_MASK == C.ADAX:
            self._start(now_us + _AUX_us[mode], "aux", now_us)
        elif command == C.CLRCELL:
            self._fill("cells")
        elif command == C.CLRAUX:
            self._fill("aux")
        else:
            self._finish(now_us)
            self._answer = self._read(command)

    def _fill(self, name: str) -> None:
        for device in self.devices:
            words = getattr(device, name)
            words[:] = [C.CLEARED] * len(words)

    def _start(self, done_us: float, what: str, now_us: float) -> None:
        self._finish(now_us)
        self._pending = (done_us, what, self.reached())

    def _busy(self, now_us: float) -> bool:
        self._finish(now_us)
        return self._pending is not None

    def _finish(self, now_us: float) -> None:
        """Put the results of a conversion that is over into the registers."""
        if self._pending is None or now_us < self._pending[0]:
            return
        _, what, reached = self._pending
        self._pending = None
        for device in self.devices[:reached]:
            cells_V, ratios = self.inputs(device.position)
            if what == "aux":
                words = [_word(ratio * _VREF2_V) for ratio in ratios[:9]] + [0] * (9 - len(ratios[:9]))
                device.aux[:9] = [*words[:5], _word(_VREF2_V), *words[5:8]]
                device.aux[9] = words[8]
            else:
                for cell in range(self.cells_per_device):
                    volts = cells_V[cell] if cell < len(cells_V) else 0.0
                    device.cells[cell] = _word(self._with_open_wires(device.position, cell + 1, volts, what))

    def _with_open_wires(self, position: int, cell: int, volts: float, what: str) -> float:
        """Cell reading (1-based) next to open wires; pull-up lowers the cell above the wire, pull-down raises it."""
        sign = {"up": -1.0, "down": 1.0}.get(what, 0.0)
        if (position, cell - 1) in self.open_wires:
            volts = 0.0 if cell == 1 and what == "up" else volts + sign * _OPEN_STEP_V
        if (position, cell) in self.open_wires:
            volts = 0.0 if cell == self.cells_per_device and what == "down" else volts - sign * _OPEN_STEP_V
        return volts

    # register groups

    def _group(self, device: Device, command: int) -> bytes | None:
        if command in (C.RDCFGA, C.RDCFGB):
            return bytes(device.config[0 if command == C.RDCFGA else 1])
        if command in READ_CELLS:
            first = 3 * READ_CELLS.index(command)
            return _pack(device.cells[first : first + 3]) if first < self.cells_per_device else None
        if command in READ_AUX:
            first = 3 * READ_AUX.index(command)
            return _pack(device.aux[first : first + 3])
        if command == C.RDSTATA:
            total_V = sum(word for word in device.cells[: self.cells_per_device] if word != C.CLEARED) * _LSB_V
            return _pack((_word(total_V / 30), _word(25.0 * 7.6e-3 + 2.1), _word(5.0)))
        hot = C.THSD if device.position in self.shut_down() else 0
        return _pack((_word(3.3), 0, hot << 8)) if command == C.RDSTATB else None

    def _read(self, command: int) -> bytes:
        answer = b""
        for device in self.devices[: self.reached()]:
            group = self._group(device, command)
            if group is None:
                return b""
            answer += group + pec15(group).to_bytes(2, "big")
        return answer

    def _write_config(self, which: int) -> None:
        """Data of the last device comes first; a device whose PEC is wrong keeps its old values."""
        data = bytes(self._bytes[4:])
        frames = [data[at : at + 8] for at in range(0, len(data), 8)]
        for device, frame in zip(self.devices, reversed(frames), strict=False):
            if len(frame) < 8 or pec15(frame[:6]) != int.from_bytes(frame[6:], "big"):
                self.pec_errors += 1
            else:
                device.config[which][:] = frame[:6]
