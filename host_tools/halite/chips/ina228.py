"""TI INA228 current and voltage monitor on I²C (data sheet SLYS021A; INA238 register layout in Linux ina238.c).

20-bit results in 24-bit registers: VSHUNT 312.5 nV (or 78.125 nV with ADCRANGE), VBUS 195.3125 µV, 40-bit charge
and energy. SHUNT_CAL = 13107.2e6 · CURRENT_LSB · R_shunt (times 4 with ADCRANGE); with Linux's fixed INA238 values
(1 mA, 20 mΩ, 16384) four counts of VSHUNT make one of CURRENT, which this formula gives too.

ADC_CONFIG: MODE 15..12 (8 continuous, 4 die, 2 shunt, 1 bus), VBUSCT 11..9, VSHCT 8..6, VTCT 5..3, AVG 2..0. The
enabled inputs are converted in turn; a result is the mean of AVG conversions, and the alert compares every single
conversion, or with SLOWALERT the mean.
"""

from collections.abc import Callable

from halite.chips.faults import WireFaults

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
_RST, _RSTACC, _ADCRANGE, _ALATCH, _SLOWALERT = 0x8000, 0x4000, 0x0010, 0x8000, 0x2000
_CONTINUOUS, _INPUTS = 0x8, {VSHUNT: (0x2, 6), VBUS: (0x1, 9), DIETEMP: (0x4, 3)}  # bit of MODE, place of the time
_CONVERSION_US = (50, 84, 150, 280, 540, 1052, 2074, 4120)
_AVERAGED = (1, 4, 16, 64, 128, 256, 512, 1024)
_SHUNT_LSB_V, _BUS_LSB_V, _TEMP_LSB = 312.5e-9, 195.3125e-6, 7.8125e-3
_SHUNTOL, _SHUNTUL, _BUSOL, _BUSUL = 0x40, 0x20, 0x10, 0x08


def _clip(value: float, bits: int) -> int:
    top = (1 << bits - 1) - 1
    return max(-top - 1, min(top, round(value)))


def _signed16(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


class Ina228:
    """inputs() -> (current in A through the shunt, bus voltage at the pin in V, die °C).

    Conversions and charge follow the time that the owner tells with `advance(now_us)`; until it has told one, every
    look at a result is one that was converted just now. `alert` is True while the alert pin is pulled low.
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
        self.charge_lsb = 0.0
        self._energy_lsb = 0.0
        self._at_us = 0.0
        self._timed = False
        self._pointer = 0
        self._bytes: list[int] = []
        self._read_data = b""
        self.reset()

    def reset(self) -> None:
        """Power-on or RST: registers to their defaults, accumulators to zero."""
        self.registers = {register: 0 for register in _WRITABLE} | _DEFAULTS
        self.charge_lsb = self._energy_lsb = 0.0
        self._flags = self._latched = 0
        self._results = dict.fromkeys(_INPUTS, 0)
        self._begin()

    # I²C

    def start(self, read: bool) -> bool:
        """Address byte; True is an acknowledge."""
        self._bytes = []
        self.faults.begins()
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
        return self.faults.clocked(head[0] if head else 0xFF, answer=True)

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
                self.charge_lsb = self._energy_lsb = 0.0
            value &= 0x3FFF
        self.registers[register] = value
        if register == ADC_CONFIG:
            self._begin()

    def _range(self) -> int:
        return 4 if self.registers[CONFIG] & _ADCRANGE else 1

    def _sample(self, register: int) -> int:
        """One conversion of an input, as its result register would hold it."""
        amps, bus_V, die_degC = self.inputs()
        if register == VSHUNT:
            return _clip(amps * self.shunt_ohm / _SHUNT_LSB_V * self._range(), 20)
        if register == VBUS:
            return max(0, _clip(bus_V / _BUS_LSB_V, 20))
        return _clip(die_degC / _TEMP_LSB, 16)

    def _current(self, vshunt: int) -> int:
        # A count of VSHUNT is 312.5 nV; SHUNT_CAL = 13107.2e6 · LSB · R makes that 4096 / SHUNT_CAL counts of CURRENT.
        calibration = self.registers[SHUNT_CAL] & 0x7FFF
        return _clip(vshunt * 4096 / calibration, 20) if calibration else 0

    def _value(self, register: int) -> bytes:
        length = _LENGTH.get(register, 2)
        value = self._measured(register)
        return (value & (1 << 8 * length) - 1).to_bytes(length, "big")

    def _measured(self, register: int) -> int:
        self._look()
        vshunt, vbus, die = (self._results[result] for result in (VSHUNT, VBUS, DIETEMP))
        results = {VSHUNT: vshunt << 4, VBUS: vbus << 4, DIETEMP: die, CURRENT: self._current(vshunt) << 4}
        if register in results:
            return results[register]
        if register == POWER:
            return min(0xFFFFFF, round(abs(self._current(vshunt)) * vbus * _BUS_LSB_V / 3.2))
        if register == CHARGE:
            return _clip(self.charge_lsb, 40)
        if register == ENERGY:
            return round(self._energy_lsb) & 0xFFFFFFFFFF
        if register == DIAG_ALRT:
            return self._diagnostic()
        return self.registers.get(register, 0)

    def _diagnostic(self) -> int:
        """DIAG_ALRT; reading it ends a latched alert."""
        flags = self.registers[DIAG_ALRT] & 0xF000 | 0x0001 | self._latched | self._flags
        self._latched = 0
        return flags

    # conversions

    def _turns(self) -> list[tuple[int, int]]:
        """The inputs that are converted in turn, each with the µs that it takes; triggered modes are not modelled."""
        setting = self.registers[ADC_CONFIG]
        mode = setting >> 12
        if not mode & _CONTINUOUS:
            return []
        return [
            (register, _CONVERSION_US[setting >> place & 7]) for register, (bit, place) in _INPUTS.items() if mode & bit
        ]

    def _average(self) -> int:
        return _AVERAGED[self.registers[ADC_CONFIG] & 7]

    def _begin(self) -> None:
        """Start the first conversion of a set."""
        self._sums = dict.fromkeys(_INPUTS, 0)
        self._counts = dict.fromkeys(_INPUTS, 0)
        self._turn = 0
        turns = self._turns()
        self._ends_us = self._at_us + turns[0][1] if turns else 0.0

    def _look(self) -> None:
        """Without a time: convert a whole set now."""
        if not self._timed:
            for register, _ in self._turns() * self._average():
                self._converted(register)

    def _convert(self, until_us: float) -> None:
        """Every conversion that ends by until_us; of whole sets of equal values only the last two are worked out."""
        turns = self._turns()
        set_us = sum(us for _, us in turns) * self._average()
        if turns and until_us - self._ends_us > 3 * set_us:
            self._ends_us += (int((until_us - self._ends_us) / set_us) - 2) * set_us
        while turns and self._ends_us <= until_us:
            self._converted(turns[self._turn][0])
            self._turn = (self._turn + 1) % len(turns)
            self._ends_us += turns[self._turn][1]

    def _converted(self, register: int) -> None:
        """A conversion has ended."""
        slow = bool(self.registers[DIAG_ALRT] & _SLOWALERT)
        value = self._sample(register)
        if not slow:
            self._compare(register, value)
        self._sums[register] += value
        self._counts[register] += 1
        if self._counts[register] >= self._average():
            self._results[register] = mean = round(self._sums[register] / self._counts[register])
            self._sums[register] = self._counts[register] = 0
            if slow:
                self._compare(register, mean)

    def _compare(self, register: int, value: int) -> None:
        """Judge a value against its limits, in 16 bits as they have."""
        over, under = {VSHUNT: (_SHUNTOL, _SHUNTUL), VBUS: (_BUSOL, _BUSUL)}.get(register, (0, 0))
        if not over:
            return
        limits = (SOVL, SUVL) if register == VSHUNT else (BOVL, BUVL)
        high, low = (_signed16(self.registers[limit]) for limit in limits)
        now = (over if value >> 4 > high else 0) | (under if value >> 4 < low else 0)
        self._flags = self._flags & ~(over | under) | now
        if self.registers[DIAG_ALRT] & _ALATCH:
            self._latched |= now

    # time

    @property
    def alert(self) -> bool:
        """True while a limit is violated, or was with ALATCH set: the pin is low."""
        if self.faults.missing:
            return False
        self._look()
        return bool(self._flags | self._latched)

    def advance(self, now_us: float) -> None:
        """Convert, and accumulate charge and energy, up to now_us with the present inputs."""
        self._timed = True
        seconds, self._at_us = (now_us - self._at_us) * 1e-6, now_us
        if seconds <= 0:
            return
        self._convert(now_us)
        current = self._current(self._sample(VSHUNT))
        self.charge_lsb += current * seconds
        self._energy_lsb += abs(current) * self._sample(VBUS) * _BUS_LSB_V / 3.2 / 16 * seconds
