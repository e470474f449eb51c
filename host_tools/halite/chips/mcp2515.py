"""Microchip MCP2515 CAN controller: the SPI register model of data sheet DS20001801.

Commands, registers, modes, acceptance filters, three transmit and two receive buffers, error counters with
bus-off and its automatic recovery, interrupt pin. A wrong bit timing keeps it from talking, as it would.
"""

from collections.abc import Callable

from halite.chips.can_bus import CanBus, Frame
from halite.chips.faults import WireFaults

BFPCTRL, TXRTSCTRL, CANSTAT, CANCTRL = 0x0C, 0x0D, 0x0E, 0x0F
TEC, REC, CNF3, CNF2, CNF1, CANINTE, CANINTF, EFLG = 0x1C, 0x1D, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D
TXBCTRL, RXBCTRL = (0x30, 0x40, 0x50), (0x60, 0x70)
RXF, RXM = (0x00, 0x04, 0x08, 0x10, 0x14, 0x18), (0x20, 0x24)

NORMAL, SLEEP, LOOPBACK, LISTEN, CONFIG = range(5)
_TXREQ, _TXERR, _ABTF = 0x08, 0x10, 0x40
_ERRIF, _MERRF = 0x20, 0x80
_RX0OVR, _RX1OVR, _TXBO, _TXEP, _RXEP, _TXWAR, _RXWAR, _EWARN = 0x40, 0x80, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
_OSM, _ABAT, _RXM, _BUKT, _BUKT1 = 0x08, 0x10, 0x60, 0x04, 0x02

_BIT_MODIFY = {BFPCTRL, TXRTSCTRL, CANCTRL, CNF1, CNF2, CNF3, CANINTE, CANINTF, EFLG, *TXBCTRL, *RXBCTRL}
_CONFIG_ONLY = {TXRTSCTRL, CNF1, CNF2, CNF3, *(base + n for base in (*RXF, *RXM) for n in range(4))}
_READ_ONLY = {CANSTAT, TEC, REC}
_RESET_VALUES = {CANCTRL: 0x87, CANSTAT: 0x80}
# 11 recessive bits before joining the bus, 128 x 11 after bus-off.
_JOIN_BITS, _RECOVERY_BITS = 11, 128 * 11
_READ, _WRITE, _MODIFY, _RESET, _READ_STATUS, _RX_STATUS = 0x03, 0x02, 0x05, 0xC0, 0xA0, 0xB0


class Mcp2515:
    """One controller on its SPI and on a CanBus. crystal_hz: 8 or 16 MHz."""

    def __init__(self, bus: CanBus, crystal_hz: int = 16_000_000, faults: WireFaults | None = None) -> None:
        self.bus = bus
        self.crystal_hz = crystal_hz
        self.faults = faults or WireFaults()
        self.registers = bytearray(128)
        self.on_interrupt: Callable[[bool, float], None] = lambda low, at_us: None
        self._queued: dict[int, Frame] = {}
        self._command = 0
        self._bytes: list[int] = []
        self._address = 0
        self._now_us = 0.0
        self._join_us = 0.0
        self._bus_off_until = 0.0
        self._interrupt_low = False
        bus.nodes.append(self)
        self.reset(0.0)

    def reset(self, now_us: float) -> None:
        """RESET command or power-on: configuration mode, all transmissions dropped."""
        self.registers[:] = bytes(128)
        for register, value in _RESET_VALUES.items():
            self.registers[register] = value
        for frame in self._queued.values():
            self.bus.withdraw(self, frame)
        self._queued.clear()
        self._bus_off_until = 0.0

    # SPI

    def select(self, now_us: float) -> None:
        """Chip select falls."""
        self._advance(now_us)
        self.faults.begins()
        self._bytes = []

    def exchange(self, byte: int, now_us: float) -> int:
        """One byte in each direction."""
        self._advance(now_us)
        if self.faults.resets_now():
            self.reset(now_us)
        byte = self.faults.clocked(byte)
        self._bytes.append(byte)
        answer = 0xFF if self.faults.missing else self._exchange(byte)
        return self.faults.clocked(answer, answer=True)

    def deselect(self, now_us: float) -> None:
        """Chip select rises: RTS and the end of READ RX BUFFER take effect."""
        self._advance(now_us)
        if self._bytes and not self.faults.missing:
            command = self._bytes[0]
            if command & 0xF8 == 0x80:
                for n in range(3):
                    if command >> n & 1:
                        self._set(TXBCTRL[n], self.registers[TXBCTRL[n]] | _TXREQ)
            elif command & 0xF9 == 0x90:
                self.registers[CANINTF] &= ~(2 if command & 4 else 1) & 0xFF
        self._bytes = []
        self._update_interrupt()

    def _exchange(self, byte: int) -> int:
        position = len(self._bytes) - 1
        if position == 0:
            self._begin(byte)
            return 0
        if self._command in (_READ, _WRITE, _MODIFY) and position == 1:
            self._address = byte & 0x7F
            return 0
        return self._body(byte, position)

    def _begin(self, byte: int) -> None:
        self._command = byte
        if byte == _RESET:
            self.reset(self._now_us)
        elif byte & 0xF8 == 0x40:
            n = byte & 7
            self._command = 0x40
            self._address = TXBCTRL[min(n >> 1, 2)] + (6 if n & 1 else 1)
        elif byte & 0xF9 == 0x90:
            self._command = 0x90
            self._address = RXBCTRL[byte >> 2 & 1] + (6 if byte & 2 else 1)

    def _body(self, byte: int, position: int) -> int:
        if self._command in (_READ, 0x90):
            value = self._get(self._address)
            self._address = self._address + 1 & 0x7F
            return value
        if self._command in (_WRITE, 0x40):
            self._set(self._address, byte)
            self._address = self._address + 1 & 0x7F
        elif self._command == _MODIFY and position == 3:
            mask = self._bytes[2] if self._address in _BIT_MODIFY else 0xFF
            self._set(self._address, self._get(self._address) & ~mask & 0xFF | byte & mask)
        elif self._command == _READ_STATUS:
            return self._read_status()
        elif self._command == _RX_STATUS:
            return self._rx_status()
        return 0

    def _read_status(self) -> int:
        flags = self.registers[CANINTF]
        status = flags & 3
        for n in range(3):
            status |= (self.registers[TXBCTRL[n]] >> 3 & 1) << 2 + 2 * n | (flags >> 2 + n & 1) << 3 + 2 * n
        return status

    def _rx_status(self) -> int:
        flags = self.registers[CANINTF] & 3
        base = RXBCTRL[0] if flags & 1 else RXBCTRL[1]
        kind = (self.registers[base + 2] >> 3 & 1) << 1 | self.registers[base + 5] >> 6 & 1
        return flags << 6 | (kind << 3 if flags else 0) | self.registers[base] & 7

    # registers

    @property
    def mode(self) -> int:
        return self.registers[CANSTAT] >> 5

    def _get(self, address: int) -> int:
        if address & 0x0F in (CANSTAT, CANCTRL):
            address &= 0x0F  # both appear at the end of every row
        return self.registers[address]

    def read_register(self, address: int) -> int:
        """Return a register as a read over SPI gives it."""
        return self._get(address)

    def write_register(self, address: int, value: int) -> None:
        """Write a register without SPI, as a disturbance does."""
        self._set(address, value)

    def _set(self, address: int, value: int) -> None:
        if address & 0x0F in (CANSTAT, CANCTRL):
            address &= 0x0F
        if address in _READ_ONLY or (address in _CONFIG_ONLY and self.mode != CONFIG):
            return
        if address in TXBCTRL:
            self._set_transmit(TXBCTRL.index(address), value)
        elif address == CANCTRL:
            self._set_mode(value)
        elif address == EFLG:
            self.registers[EFLG] = self.registers[EFLG] & 0x3F | value & 0xC0 & self.registers[EFLG]
        elif address in RXBCTRL:
            self._set_receive(address, value)
        else:
            self.registers[address] = value

    def _set_receive(self, address: int, value: int) -> None:
        """RXM and BUKT are written; BUKT1 is a copy of BUKT, the other bits describe the received frame."""
        writable = _RXM | (_BUKT if address == RXBCTRL[0] else 0)
        kept = self.registers[address] & ~(writable | (_BUKT1 if writable & _BUKT else 0)) & 0xFF
        value &= writable
        self.registers[address] = kept | value | (_BUKT1 if value & _BUKT else 0)

    def _set_mode(self, value: int) -> None:
        self.registers[CANCTRL] = value
        if value & _ABAT:
            self._abort_all()
        wanted = min(value >> 5, CONFIG)
        if wanted == self.mode:
            return
        self.registers[CANSTAT] = self.registers[CANSTAT] & 0x1F | wanted << 5
        self._join_us = self._now_us + _JOIN_BITS * self.bus.bit_us()
        if wanted == CONFIG:
            self._bus_off_until = 0.0
            self.registers[TEC] = self.registers[REC] = 0
            self.registers[EFLG] &= ~_TXBO & 0xFF
            self._update_error_flags()
        for n, frame in self._queued.items():
            # requests wait through every other mode and go on in normal mode
            self.bus.withdraw(self, frame)
            if wanted == NORMAL:
                self._offer(n, self._join_us)

    def _offer(self, n: int, at_us: float) -> None:
        """Buffer n to the bus: the highest TXP goes first, of equal ones the buffer with the highest number."""
        rank = 4 * (self.registers[TXBCTRL[n]] & 3) + n
        self.bus.send(self, self._queued[n], at_us, rank)

    def _abort_all(self) -> None:
        for n, frame in list(self._queued.items()):
            if self.bus.withdraw(self, frame):
                del self._queued[n]
                self.registers[TXBCTRL[n]] = self.registers[TXBCTRL[n]] & ~_TXREQ | _ABTF

    def _set_transmit(self, n: int, value: int) -> None:
        before = self.registers[TXBCTRL[n]]
        self.registers[TXBCTRL[n]] = before & 0x70 | value & 0x0B
        if value & _TXREQ and not before & _TXREQ:
            self.registers[TXBCTRL[n]] &= 0x8F
            self._queued[n] = frame = self._frame_of(TXBCTRL[n])
            if self.mode == LOOPBACK:
                self.sent(frame, self._now_us)
                self._store(frame)
            elif self.mode == NORMAL:
                self._offer(n, max(self._now_us, self._join_us, self._bus_off_until))
        elif before & _TXREQ and not value & _TXREQ and n in self._queued:
            if self.bus.withdraw(self, self._queued[n]):
                del self._queued[n]
                self.registers[TXBCTRL[n]] |= _ABTF
            else:
                self.registers[TXBCTRL[n]] |= _TXREQ

    def _frame_of(self, base: int) -> Frame:
        high, low, eid8, eid0, dlc = self.registers[base + 1 : base + 6]
        extended = bool(low & 0x08)
        standard = high << 3 | low >> 5
        identifier = standard << 18 | (low & 3) << 16 | eid8 << 8 | eid0 if extended else standard
        length = min(dlc & 0x0F, 8)
        remote = bool(dlc & 0x40)
        return Frame(
            identifier, b"" if remote else bytes(self.registers[base + 6 : base + 6 + length]), extended, remote
        )

    # the bus side

    def bit_rate(self) -> float:
        """Bit rate that CNF1..3 give with this crystal."""
        cnf1, cnf2, cnf3 = self.registers[CNF1], self.registers[CNF2], self.registers[CNF3]
        ps1, prop = (cnf2 >> 3 & 7) + 1, (cnf2 & 7) + 1
        ps2 = (cnf3 & 7) + 1 if cnf2 & 0x80 else max(ps1, 2)
        return self.crystal_hz / (2 * ((cnf1 & 0x3F) + 1) * (1 + prop + ps1 + ps2))

    def acknowledges(self) -> bool:
        return (
            self.mode == NORMAL
            and abs(self.bit_rate() / self.bus.bit_rate - 1) < 0.005
            and not self.registers[EFLG] & _TXBO
            and not self.faults.missing
        )

    def sent(self, frame: Frame, at_us: float) -> None:
        for n, queued in list(self._queued.items()):
            if queued is frame:
                del self._queued[n]
                self.registers[TXBCTRL[n]] &= ~_TXREQ & 0xFF
                self.registers[CANINTF] |= 4 << n
        self.registers[TEC] = max(0, self.registers[TEC] - 1)
        self._update_error_flags()
        self._update_interrupt(at_us)

    def failed(self, frame: Frame, at_us: float, acknowledged: bool) -> bool:
        if self.mode != NORMAL:
            return False  # it has left the bus: queued frames wait for normal mode
        passive = self.registers[TEC] >= 128
        if acknowledged and passive:
            pass  # an error-passive node does not count a missing acknowledge (ISO 11898-1)
        elif self.registers[TEC] + 8 > 255:
            self._go_bus_off(at_us)
        else:
            self.registers[TEC] += 8
        n = next((n for n, queued in self._queued.items() if queued is frame), None)
        if n is None:
            return False
        self.registers[TXBCTRL[n]] |= _TXERR
        self.registers[CANINTF] |= _MERRF
        self._update_error_flags()
        self._update_interrupt(at_us)
        if self.registers[CANCTRL] & _OSM:
            del self._queued[n]
            self.registers[TXBCTRL[n]] &= ~_TXREQ & 0xFF
            return False
        if self.registers[EFLG] & _TXBO:
            self._offer(n, self._bus_off_until)
            return False
        return True

    def _go_bus_off(self, at_us: float) -> None:
        self.registers[TEC] = 255
        self.registers[EFLG] |= _TXBO
        self._bus_off_until = at_us + _RECOVERY_BITS * self.bus.bit_us()
        self.bus.at(self._bus_off_until, self._recover)

    def _recover(self, at_us: float) -> None:
        """128 times 11 recessive bits after bus-off, unless a reset came first."""
        if at_us == self._bus_off_until:
            self.registers[TEC] = self.registers[REC] = 0
            self.registers[EFLG] &= ~_TXBO & 0xFF
            self._update_error_flags()

    def received(self, frame: Frame, at_us: float) -> None:
        self.registers[REC] = max(0, self.registers[REC] - 1)
        self._store(frame)
        self._update_error_flags()
        self._update_interrupt(at_us)

    def _store(self, frame: Frame) -> None:
        first = self._accepts(frame, 0)
        second = self._accepts(frame, 1)
        flags = self.registers[CANINTF]
        if first is not None and not flags & 1:
            self._fill(0, frame, first)
        elif first is not None and self.registers[RXBCTRL[0]] & _BUKT and not flags & 2:
            self._fill(1, frame, first)
        elif first is not None:
            self.registers[EFLG] |= _RX1OVR if self.registers[RXBCTRL[0]] & _BUKT else _RX0OVR
        elif second is not None and not flags & 2:
            self._fill(1, frame, second)
        elif second is not None:
            self.registers[EFLG] |= _RX1OVR

    def _accepts(self, frame: Frame, buffer: int) -> int | None:
        """Number of the filter that takes the frame into the buffer, or None."""
        if self.registers[RXBCTRL[buffer]] >> 5 & 3 == 3:
            return 0
        mask = self._identifier(RXM[buffer], frame.extended)[0]
        for number in ((0, 1), (2, 3, 4, 5))[buffer]:
            wanted, extended = self._identifier(RXF[number], frame.extended)
            if extended == frame.extended and (wanted ^ frame.id) & mask == 0:
                return number
        return None

    def _identifier(self, base: int, as_extended: bool) -> tuple[int, bool]:
        high, low, eid8, eid0 = self.registers[base : base + 4]
        standard = high << 3 | low >> 5
        value = standard << 18 | (low & 3) << 16 | eid8 << 8 | eid0 if as_extended else standard
        return value, bool(low & 0x08)

    def _fill(self, buffer: int, frame: Frame, number: int) -> None:
        base = RXBCTRL[buffer]
        standard = frame.id >> 18 if frame.extended else frame.id
        low = (standard & 7) << 5
        low |= 0x08 | frame.id >> 16 & 3 if frame.extended else 0x10 if frame.remote else 0
        extended_part = frame.id & 0xFFFF if frame.extended else 0
        head = (
            standard >> 3,
            low,
            extended_part >> 8,
            extended_part & 0xFF,
            len(frame.data) | (0x40 if frame.remote and frame.extended else 0),
        )
        self.registers[base + 1 : base + 6] = bytes(head)
        if not frame.remote:  # which has a length and no data: the registers keep those of the frame before
            self.registers[base + 6 : base + 6 + len(frame.data)] = frame.data
        hit_mask = 0x01 if buffer == 0 else 0x07
        self.registers[base] = self.registers[base] & ~hit_mask & 0xFF | number & hit_mask
        self.registers[CANINTF] |= 1 << buffer

    # time and flags

    def _advance(self, now_us: float) -> None:
        self._now_us = now_us
        self.bus.run_to(now_us)

    def _update_error_flags(self) -> None:
        tec, rec = self.registers[TEC], self.registers[REC]
        flags = self.registers[EFLG] & (_RX0OVR | _RX1OVR | _TXBO)
        for level, bits in (
            (tec >= 128, _TXEP),
            (rec >= 128, _RXEP),
            (tec >= 96, _TXWAR),
            (rec >= 96, _RXWAR),
            (max(tec, rec) >= 96, _EWARN),
        ):
            flags |= bits if level else 0
        if flags & ~self.registers[EFLG] & 0x3F:
            self.registers[CANINTF] |= _ERRIF
        self.registers[EFLG] = flags

    def _update_interrupt(self, at_us: float | None = None) -> None:
        low = bool(self.registers[CANINTF] & self.registers[CANINTE])
        if low != self._interrupt_low:
            self._interrupt_low = low
            self.on_interrupt(low, self._now_us if at_us is None else at_us)
