"""TI INA228 current and voltage monitor on I²C (data sheet SLYS021A; INA238 register layout in Linux ina238.c).

20-bit results in 24-bit registers: VSHUNT 312.5 nV (or 78.125 nV with ADCRANGE), VBUS 195.3125 µV, 40-bit charge
and energy. SHUNT_CAL = 13107.2e6 · CURRENT_LSB · R_shunt (times 4 with ADCRANGE); with Linux's fixed INA238 values
(1 mA, 20 mΩ, 16384) four counts of VSHUNT make one of CURRENT, which this formula gives too.
"""

from collections.abc import Callable

from halite.simulator.chips.faults import WireFaults

CONFIG, ADC_CONFIG, SHUNT_CAL, SHUNT_TEMPCO = 0x00, 0x01, 0x02, 0x03
VSHUNT, VBUS, DIETEMP, CURRENT, POWER, ENERGY, CHARGE, DIAG_ALRT = 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B
SOVL, SUVL, BOVL, BUVL, TEMP_LIMIT, PWR_LIMIT, MANUFACTURER_ID, DEVICE_ID = (
    0x0C,
    0x0D,
    0x0E,
    0x0F,
    0x10,
    0x11,
    0x3E,
    0x3F,
)

_LENGTH = {VSHUNT: 3, VBUS: 3, CURRENT: 3, POWER: 3, ENERGY: 5, CHARGE: 5}
_DEFAULTS = {
    ADC_CONFIG: 0xFB68,
    SHUNT_CAL: 0x1000,
    DIAG_ALRT: 0x0001,
    SOVL: 0x7FFF,
    SUVL: 0x8000,
    BOVL: 0x7FFF,
    TEMP_LIMIT: 0x7FFF,
    PWR_LIMIT: 0xFFFF,
    MANUFACTURER_ID: 0x5449,
    DEVICE_ID: 0x2281,
}
_WRITABLE = {CONFIG, ADC_CONFIG, SHUNT_CAL, SHUNT_TEMPCO, DIAG_ALRT, SOVL, SUVL, BOVL, BUVL, TEMP_LIMIT, PWR_LIMIT}
_RST, _RSTACC, _ADCRANGE, _ALATCH = 0x8000, 0x4000, 0x0010, 0x8000
_SHUNT_LSB_V, _BUS_LSB_V, _TEMP_LSB = 312.5e-9, 195.3125e-6, 7.8125e-3
_SHUNTOL, _SHUNTUL, _BUSOL, _BUSUL = 0x40, 0x20, 0x10, 0x08


def _clip(value: float, bits: int) -> int:
    top = (1 << bits - 1) - 1
    return max(-top - 1, min(top, round(value)))


class Ina228:
    """inputs() -> (current in A through the shunt, bus voltage at the pin in V, die °C).

    charge accumulates when the owner calls `advance(now_us)`; `alert` is True while the alert pin is pulled low.
    """

    def __init__(
        self,
        inputs: Callable[[], tuple[float, float, float]],
        shunt_ohm: float = 50e-6,
        address: int = 0x40,
        faults: WireFaults | None = None,
    ) -> None:
        self.inputs = inputs
        self.shunt_ohm = shunt_ohm
        self.address = address
        self.faults = faults or WireFaults()
        self.lost: Callable[[], bool] = lambda: False
        self.registers: dict[int, int] = {}
        self._charge_lsb = 0.0
        self._energy_lsb = 0.0
        self._latched = 0
        self._at_us = 0.0
        self._pointer = 0
        self._bytes: list[int] = []
        self._read_data = b""
        self.reset()

    def reset(self) -> None:
        """Power-on or RST: registers to their defaults, accumulators to zero."""
        self.registers = {register: 0 for register in _WRITABLE} | _DEFAULTS
        self._charge_lsb = self._energy_lsb = 0.0
        self._latched = 0

    # I²C

    def start(self, read: bool) -> bool:
        """Address byte; True is an acknowledge."""
        self._bytes = []
        if self.faults.missing or self.faults.stuck is not None or self.lost():
            return False
        if read:
            self._read_data = self._value(self._pointer)
        return True

    def write(self, byte: int) -> bool:
        """A data byte from the controller; the first one sets the register pointer."""
        if self.faults.resets_now():
            self.reset()
        if self.faults.missing:
            return False
        self._bytes.append(self.faults.clocked(byte))
        if len(self._bytes) == 1:
            self._pointer = self._bytes[0]
        elif len(self._bytes) == 3:
            self._store(self._pointer, self._bytes[1] << 8 | self._bytes[2])
        return True

    def read(self) -> int:
        """The next byte of the addressed register, MSB first; 0xFF beyond its end."""
        if self.faults.resets_now():
            self.reset()
        head, self._read_data = self._read_data[:1], self._read_data[1:]
        return self.faults.clocked(head[0] if head else 0xFF)

    def stop(self) -> None:
        """Stop condition."""
        self._bytes = []

    # registers

    def _store(self, register: int, value: int) -> None:
        if register not in _WRITABLE:
            return
        if register == CONFIG:
            if value & _RST:
                self.reset()
                return
            if value & _RSTACC:
                self._charge_lsb = self._energy_lsb = 0.0
            value &= 0x3FFF
        self.registers[register] = value

    def _shunt_volts(self) -> float:
        return self.inputs()[0] * self.shunt_ohm

    def _range(self) -> int:
        return 4 if self.registers[CONFIG] & _ADCRANGE else 1

    def _vshunt(self) -> int:
        return _clip(self._shunt_volts() / _SHUNT_LSB_V * self._range(), 20)

    def _current(self) -> int:
        # A count of VSHUNT is 312.5 nV; SHUNT_CAL = 13107.2e6 · LSB · R makes that 4096 / SHUNT_CAL counts of CURRENT.
        calibration = self.registers[SHUNT_CAL] & 0x7FFF
        return _clip(self._vshunt() * 4096 / calibration, 20) if calibration else 0

    def _vbus(self) -> int:
        return max(0, _clip(self.inputs()[1] / _BUS_LSB_V, 20))

    def _value(self, register: int) -> bytes:
        length = _LENGTH.get(register, 2)
        value = self._measured(register)
        return (value & (1 << 8 * length) - 1).to_bytes(length, "big")

    def _measured(self, register: int) -> int:
        if register == VSHUNT:
            return self._vshunt() << 4
        if register == VBUS:
            return self._vbus() << 4
        if register == CURRENT:
            return self._current() << 4
        if register == DIETEMP:
            return _clip(self.inputs()[2] / _TEMP_LSB, 16)
        if register == POWER:
            return min(0xFFFFFF, round(abs(self._current()) * self._vbus() * _BUS_LSB_V / 3.2))
        if register == CHARGE:
            return _clip(self._charge_lsb, 40)
        if register == ENERGY:
            return round(self._energy_lsb) & 0xFFFFFFFFFF
        if register == DIAG_ALRT:
            return self._diagnostic()
        return self.registers.get(register, 0)

    def _diagnostic(self) -> int:
        """DIAG_ALRT; reading it ends a latched alert."""
        flags = self.registers[DIAG_ALRT] & 0xF000 | 0x0001 | self._latched | self._limits()
        self._latched = 0
        return flags

    def _limits(self) -> int:
        shunt = self._vshunt() >> 4
        signed = [
            value - 0x10000 if value & 0x8000 else value for value in (self.registers[SOVL], self.registers[SUVL])
        ]
        bus = self._vbus() >> 4
        flags = _SHUNTOL if shunt > signed[0] else 0
        flags |= _SHUNTUL if shunt < signed[1] else 0
        flags |= _BUSOL if bus > self.registers[BOVL] else 0
        return flags | (_BUSUL if bus < self.registers[BUVL] else 0)

    # time

    @property
    def alert(self) -> bool:
        """True while a limit is violated, or was with ALATCH set: the pin is low."""
        if self.faults.missing:
            return False
        now = self._limits()
        if self.registers[DIAG_ALRT] & _ALATCH:
            self._latched |= now
        return bool(now | self._latched)

    def advance(self, now_us: float) -> None:
        """Accumulate charge and energy up to now_us with the present current."""
        seconds, self._at_us = (now_us - self._at_us) * 1e-6, now_us
        if seconds > 0:
            self._charge_lsb += self._current() * seconds
            self._energy_lsb += abs(self._current()) * self._vbus() * _BUS_LSB_V / 3.2 / 16 * seconds
