"""TI BQ79616 stack on a UART: up to 64 devices in a daisy chain or ring, with real frames and registers.

Sources: frames, CRC, wake and auto-addressing from TI SLVAE86B (test vectors in the facts of this project);
register addresses from public register headers of the family (BQ79616, BQ75614), which agree. The base
device (position 0) sits on the UART and has cells of its own. Bytes of an answer leave one after another
at 1 Mbit/s, the top device first, as the chip does it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from halite.chips.crc import crc16
from halite.chips.faults import WireFaults
from halite.common.paths import use_firmware

use_firmware()

from rack.drivers import bq79616_registers as R  # noqa: E402 - only after use_firmware

CELL_LSB_V, _GPIO_LSB_V, _TSREF_LSB_V, _TSREF_V = 190.73e-6, 152.59e-6, 169.54e-6, 5.0

BYTE_US = 10.0  # 1 Mbit/s, ten bits
_HOP_US = 4.0  # delay per device of the daisy chain: engineering judgement
_ADC_SETTLE_US = 192.0  # SLVAE86B: 192 µs after MAIN_GO, plus 5 µs per device
_SINK_US = 2500.0  # 0.47 µF at 380 µA: the sinks need 3 ms to empty an open input below the threshold
WAKE_US = (2000.0, 10_000.0)
_BOOT_US, _BOOT_PER_DEVICE_US = 3500.0, 600.0
_CLEAR_US = 15.0  # communication clear: 15..20 bit times low

_SINGLE = (R.SINGLE_READ, R.SINGLE_WRITE)
_READS = (R.SINGLE_READ, R.STACK_READ, R.BROADCAST_READ)
# Registers that the controller may write; everything else is read-only.
_WRITABLE = (range(0x038), range(0x300, 0x360), range(0x700, 0x703))


@dataclass
class Device:
    """One chip: register file and its place in the chain. `cells_V` and `gpio_ratio` are its inputs."""

    position: int
    registers: bytearray = field(default_factory=lambda: bytearray(0x800))
    awake: bool = False
    ready_us: float = 0.0
    converted_us: float | None = None  # None: the main ADC does not run
    mode: int = 0  # MAIN_MODE as MAIN_GO found it; a later value waits for the next MAIN_GO
    sinks_us: float | None = None

    def reset(self, ready_us: float) -> None:
        """Wake or digital reset: registers return to their defaults, the address is lost."""
        self.registers[:] = bytes(len(self.registers))
        self.registers[R.PARTID] = R.PART
        self.registers[R.FAULT_SYS] = R.DRST
        for register in range(R.VCELL16_HI, R.DIETEMP1_HI + 4, 2):
            self.set16(register, R.NO_RESULT)
        self.awake, self.ready_us, self.converted_us, self.sinks_us = True, ready_us, None, None

    def set16(self, register: int, value: int) -> None:
        self.registers[register] = value >> 8 & 0xFF
        self.registers[register + 1] = value & 0xFF

    @property
    def direction(self) -> int:
        return self.registers[R.CONTROL1] >> 7

    @property
    def address(self) -> int:
        return self.registers[R.DIR1_ADDR if self.direction else R.DIR0_ADDR] & R.ADDRESS_MASK

    @property
    def is_stack(self) -> bool:
        return bool(self.registers[R.COMM_CTRL] & R.STACK_DEV)

    @property
    def is_top(self) -> bool:
        return bool(self.registers[R.COMM_CTRL] & R.TOP_STACK)


def _raw(volts: float, lsb_V: float) -> int:
    return max(-0x7FFF, min(0x7FFF, round(volts / lsb_V))) & 0xFFFF


class Bq79616Stack:
    """The stack as the UART sees it.

    inputs(position): (cell voltages in V, GPIO ratios to TSREF 0..1) of one device, called when it converts.

    broken_links: links that do not conduct. Link n joins device n-1 and n. The link `devices` closes the ring from the
    top device back to the base.

    lost_devices(): positions without supply, asked at every frame. open_wires(): (position, cell 0..15) whose upper
    sense wire is open, found by the open-wire check. dead_adcs(): positions whose main ADC cannot start.

    own_faults(): position → bits of FAULT_SUMMARY that the device sets by itself.

    on_read(register, now_us): called at each read command.
    """

    def __init__(
        self,
        devices: int,
        inputs: Callable[[int], tuple[Sequence[float], Sequence[float]]],
        ring: bool = True,
        faults: WireFaults | None = None,
    ) -> None:
        self.devices = [Device(position) for position in range(devices)]
        self.inputs = inputs
        self.ring = ring
        self.faults = faults or WireFaults()
        self.broken_links: set[int] = set()
        self.open_wires: Callable[[], Collection[tuple[int, int]]] = lambda: ()
        self.lost_devices: Callable[[], Collection[int]] = lambda: ()
        self.dead_adcs: Callable[[], Collection[int]] = lambda: ()
        self.own_faults: Callable[[], Mapping[int, int]] = dict
        self.transmit: Callable[[bytes, float], None] = lambda data, at_us: None
        self.on_read: Callable[[int, float], None] = lambda register, now_us: None
        self.frames = self.crc_errors = 0
        self._frame = bytearray()
        self._confused = False

    # the line

    def wake(self, low_us: float, now_us: float) -> None:
        """A low level of `low_us` on the line that ended at now_us."""
        if self.faults.missing:
            return
        if low_us >= _CLEAR_US:
            self._frame.clear()
            self._confused = False
        if WAKE_US[0] <= low_us <= WAKE_US[1]:
            self._wake_chain(now_us)

    def _wake_chain(self, now_us: float) -> None:
        """The base wakes and its wake tone runs up the stack."""
        for place, device in enumerate(self._chain(0)):
            device.reset(now_us + _BOOT_US + place * _BOOT_PER_DEVICE_US)

    def receive(self, byte: int, now_us: float) -> None:
        """One byte has arrived; a complete frame is carried out at once."""
        for seen in self.faults.received(byte):
            if self.faults.resets_now():
                self._chip_reset(now_us)
            self._take(seen, now_us)

    def _chip_reset(self, now_us: float) -> None:
        self._frame.clear()
        for device in self.devices[:1]:
            device.reset(now_us)

    def _take(self, byte: int, now_us: float) -> None:
        base = self.devices[0]
        if self._confused or not base.awake or now_us < base.ready_us:
            return
        self._frame.append(byte)
        if not byte & 0x80 and len(self._frame) == 1:
            # not an initialisation byte: the chip waits for a communication clear
            self._frame.clear()
            self._confused = True
            base.registers[R.FAULT_COMM1] |= R.COMM_BAD_START
            return
        if len(self._frame) == _frame_length(self._frame[0]):
            frame, self._frame = bytes(self._frame), bytearray()
            self._frame_done(frame, now_us)

    def _frame_done(self, frame: bytes, now_us: float) -> None:
        if crc16(frame[:-2]) != frame[-2] | frame[-1] << 8:
            self.crc_errors += 1
            self.devices[0].registers[R.FAULT_COMM1] |= R.COMM_CRC
            return
        self.frames += 1
        kind, body = frame[0] & R.KIND_MASK, frame[1:-2]
        single = kind in _SINGLE
        device_id = body[0] if single else -1
        body = body[1:] if single else body
        register, data = body[0] << 8 | body[1], body[2:]
        if kind in _READS:
            self._read(kind, device_id, register, data[0] + 1, now_us)
        else:
            self._write(kind, device_id, register, data, now_us)

    # the chain

    def _chain(self, direction: int) -> list[Device]:
        """Devices that a frame reaches from the base, in order, before any address plays a part."""
        order = self.devices if not direction else [self.devices[0], *reversed(self.devices[1:])]
        if direction and not self.ring:
            order = self.devices[:1]
        reached: list[Device] = []
        lost = self.lost_devices()
        for device in order:
            link = device.position if not direction else device.position + 1
            cut = bool(reached) and link in self.broken_links
            if cut or device.position in lost:
                break
            reached.append(device)
        return reached

    def _listening(self, now_us: float, reverse: bool = False) -> list[Device]:
        """Devices that take a frame now: awake, in the frame's direction, with only such devices before them."""
        base = self.devices[0]
        heard: list[Device] = []
        for device in self._chain(base.direction):
            turned = device.direction != base.direction and not reverse
            if not device.awake or now_us < device.ready_us or turned:
                break
            heard.append(device)
        return heard

    # writing

    def disturb(self, position: int, register: int, value: int, now_us: float) -> None:
        """Write one register of one device without a frame, as a disturbance does."""
        self._write_device(self.devices[position], register, bytes((value,)), now_us)

    def _write(self, kind: int, device_id: int, register: int, data: bytes, now_us: float) -> None:
        listening = self._listening(now_us, reverse=kind == R.REVERSE_WRITE)
        if kind == R.SINGLE_WRITE:
            targets = [d for d in listening if d.address == device_id][:1]
        elif kind == R.STACK_WRITE:
            targets = [d for d in listening if d.is_stack]
        else:
            targets = listening
        address_register = (R.DIR0_ADDR, R.DIR1_ADDR)[self.devices[0].direction]
        if kind == R.BROADCAST_WRITE and register == address_register:
            # with ADDR_WR set a device keeps the first address and forwards only later ones
            targets = [d for d in listening if d.registers[R.CONTROL1] & R.ADDR_WR][:1]
            for device in targets:
                device.registers[R.CONTROL1] &= ~R.ADDR_WR & 0xFF
        for device in targets:
            self._write_device(device, register, data, now_us)

    def _write_device(self, device: Device, register: int, data: bytes, now_us: float) -> None:
        for offset, value in enumerate(data):
            at = register + offset
            if any(at in span for span in _WRITABLE):
                device.registers[at] = value
                self._act(device, at, value, now_us)

    def _act(self, device: Device, register: int, value: int, now_us: float) -> None:
        """Carry out the immediate effect of a register write; self-clearing bits clear."""
        if register == R.CONTROL1:
            self._control1(device, value, now_us)
        elif register == R.ADC_CTRL1 and value & R.MAIN_GO:
            device.registers[R.ADC_CTRL1] &= ~R.MAIN_GO & 0xFF
            device.mode = 0 if device.position in self.dead_adcs() else value & R.MAIN_MODE
            device.converted_us = now_us + _ADC_SETTLE_US + 5.0 * device.position if device.mode else None
        elif register == R.DIAG_COMP_CTRL3:
            self._open_wire_check(device, value, now_us)
        elif register == R.FAULT_RST1:
            if value & 0x02:
                device.registers[R.FAULT_SYS] = 0
            if value & 0x04:
                device.set16(R.FAULT_COMP_VCOW1, 0)
        elif register == R.FAULT_RST2 and value & 0x03:
            device.registers[R.FAULT_COMM1] = 0

    def _open_wire_check(self, device: Device, value: int, now_us: float) -> None:
        """Sinks on, some milliseconds, then the comparison: cells that the sinks could empty are open."""
        if value & R.OW_SINKS != R.OW_VC_SINKS:
            device.sinks_us = None
            return
        device.sinks_us = now_us if device.sinks_us is None else device.sinks_us
        if value & 0x0F != R.OW_VC_CHECK:
            return
        device.registers[R.DIAG_COMP_CTRL3] &= 0xFE
        threshold_V = 0.5 + 0.3 * (device.registers[R.DIAG_COMP_CTRL2] & 0x0F)
        emptied = now_us - device.sinks_us >= _SINK_US
        cells_V, _ = self.inputs(device.position)
        opened = {cell for position, cell in self.open_wires() if position == device.position} if emptied else set()
        low = {cell for cell, volts in enumerate(cells_V) if volts < threshold_V}
        active = (device.registers[R.ACTIVE_CELL] & 0x0F) + 6
        device.set16(R.FAULT_COMP_VCOW1, sum(1 << cell for cell in opened | low if cell < active))
        device.registers[R.ADC_STAT2] |= R.DRDY_VCOW

    def _control1(self, device: Device, value: int, now_us: float) -> None:
        device.registers[R.CONTROL1] = value & (R.DIR_SEL | R.ADDR_WR)
        if value & R.SOFT_RESET:
            device.reset(now_us + 1000.0)
        elif value & (R.GOTO_SHUTDOWN | R.GOTO_SLEEP | R.SEND_SHUTDOWN):
            device.awake = False
        elif value & R.SEND_WAKE:
            for place, other in enumerate(self._chain(device.direction)[1:], 1):
                if not other.awake:
                    other.reset(now_us + _BOOT_US + place * _BOOT_PER_DEVICE_US)

    # reading

    def _read(self, kind: int, device_id: int, register: int, count: int, now_us: float) -> None:
        self.on_read(register, now_us)
        if count > 128:
            return
        listening = self._listening(now_us)
        if kind == R.SINGLE_READ:
            answering = [d for d in listening if d.address == device_id][:1]
        else:
            # the answer starts at the top of the stack; without a top no device begins
            top = next((n for n, d in enumerate(listening) if d.is_top), None)
            if top is None:
                return
            answering = [d for d in listening[: top + 1] if kind == R.BROADCAST_READ or d.is_stack]
        if not answering:
            return
        answer = b"".join(self._answer(device, register, count, now_us) for device in reversed(answering))
        answer = self.faults.answered(answer)
        at_us = now_us + _HOP_US * (1 + 2 * listening.index(answering[-1])) + self.faults.delay_us()
        if answer:
            self.transmit(answer, at_us)

    def _answer(self, device: Device, register: int, count: int, now_us: float) -> bytes:
        self._convert(device, now_us)
        self._summarise(device)
        data = (device.registers[register : register + count] + bytes(count))[:count]
        frame = bytes((count - 1, device.address, register >> 8, register & 0xFF)) + data
        crc = crc16(frame)
        return frame + bytes((crc & 0xFF, crc >> 8))

    def _summarise(self, device: Device) -> None:
        registers = device.registers
        flags = R.SYS_FAULT if registers[R.FAULT_SYS] else 0
        flags |= R.COMM_FAULT if registers[R.FAULT_COMM1] else 0
        flags |= R.OPEN_WIRE_FAULT if registers[R.FAULT_COMP_VCOW1] or registers[R.FAULT_COMP_VCOW1 + 1] else 0
        registers[R.FAULT_SUMMARY] = flags | self.own_faults().get(device.position, 0)
        registers[R.DEV_STAT] = R.MAIN_RUN if device.converted_us is not None else 0

    def _convert(self, device: Device, now_us: float) -> None:
        """Put fresh results into the registers if the main ADC has run."""
        if device.converted_us is None or now_us < device.converted_us:
            return
        registers = device.registers
        cells_V, ratios = self.inputs(device.position)
        active = min(16, (registers[R.ACTIVE_CELL] & 0x0F) + 6)
        for cell in range(16):
            volts = cells_V[cell] if cell < len(cells_V) else 0.0
            device.set16(R.VCELL16_HI + 2 * (15 - cell), _raw(volts, CELL_LSB_V) if cell < active else R.NO_RESULT)
        reference_V = _TSREF_V if registers[R.CONTROL2] & R.TSREF_EN else 0.0
        device.set16(R.TSREF_HI, _raw(reference_V, _TSREF_LSB_V))
        for gpio, ratio in enumerate(ratios[:8]):
            mode = registers[R.GPIO_CONF1 + gpio // 2] >> (3 * (gpio % 2)) & 7
            value = _raw(ratio * reference_V, _GPIO_LSB_V) if mode in (1, 2) else R.NO_RESULT
            device.set16(R.GPIO1_HI + 2 * gpio, value)
        device.set16(R.DIETEMP1_HI, _raw(25.0, 0.025))
        registers[R.ADC_STAT1] |= R.DRDY_MAIN
        if device.mode != R.CONTINUOUS:
            device.converted_us = None


def _frame_length(first: int) -> int:
    """Length of a command frame with CRC from its first byte."""
    single = first & R.KIND_MASK in _SINGLE
    return 1 + single + 2 + (first & 7) + 1 + 2
