"""The Modbus RTU slave: SunSpec registers for the EMS, and the EMS's messages to the rack.

An EMS that polls must not delay the scan, and no bytes on the line may stop the rack. So the slave makes an answer in
slices below a millisecond, reads a request after a silence of the line, and keeps one request at most.
Runs under the locked heap: no allocation, and no number of more than 31 bits.
Sources: Modbus Application Protocol V1.1b3, Modbus over Serial Line V1.02.
"""

from array import array

from micropython import const

from rack.generated import ids as I
from rack.generated import modbus_map as M
from rack.base.clock import TICKS_MASK
from rack.comms.modbus_frames import READ, WRITE, WRITES, evt1, fill, find_request, number, shift
from rack.definitions.codes import (
    BY_EMS,
    CMD_CLOSE,
    CMD_OPEN,
    REFUSED_ADDRESS,
    REFUSED_BROADCAST,
    REFUSED_LOCAL,
    REFUSED_PART,
    REFUSED_VALUE,
    STATE_CLOSED,
)
from rack.control.protect.reasons import Reasons
from rack.drivers.crc16 import TABLE, seal
from rack.generated.tables import ALARMS
from rack.generated.version import VERSION

_FRAME = const(256)                 # bytes of the longest frame
_CHARACTER_bits = const(11)         # start, eight data bits, parity or a second stop bit, stop
_SILENCE_us = const(1_750)          # silence above 19 200 baud, else 3.5 characters: Modbus over Serial Line 2.5.1.1
_TIMEOUT_us = const(20_000)         # beyond the length of an answer, until its transmitter is stopped
_READ_MAX = const(125)              # registers
_WRITE_MAX = const(123)

# exceptions
_FUNCTION = const(1)
_ADDRESS = const(2)
_VALUE = const(3)
_FAILURE = const(4)

# steps of the slave
_QUIET = const(0)       # no byte has come
_RECEIVE = const(1)     # until the line is silent for 3.5 characters
_REQUEST = const(2)     # a complete request waits
_DERIVE = const(3)      # compute the words of the battery model
_REASONS = const(4)     # list the reasons
_FILL = const(5)        # write the registers into the answer
_SEAL = const(6)        # append the CRC and start the transmitter
_SEND = const(7)        # until the transmitter is done

_STATES = b"\x01\x02\x03\x06\x63\x63"       # State of model 802 for each STATE_* of rack.definitions.codes
_TYPES = b"\x63\x04"                        # Typ for each rack_chemistry
_HOLDING_dA = const(10)                     # below it the battery counts as holding: engineering judgement
_TEXT = const(48)                           # bytes: version 16, rack 32


def _scaled(value):
    """(value in a larger unit, power of ten of the unit), so that the value fits 16 bits with a sign."""
    power = 0
    while value > 0x7FFF:
        value //= 10
        power += 1
    return value, power


def _padded(text, size):
    return (bytes(text, "ascii") + bytes(size))[:size]


class Modbus:
    """app: rack.app.App. line: the port's RS-485 line (rack.hal.rp2_rs485).

    unlocked(function, argument): calls a function while the heap is unlocked, and returns its result.
    """

    def __init__(self, app, line, unlocked):
        params = app.params
        self._app = app
        self._c = controller = app.controller
        self._s = controller.s
        self._line = line
        self._unlocked = unlocked
        self._stop = line.stop
        self._acknowledge = app.acknowledge
        self._ems = app.ems
        self._unit = params.modbus_unit
        self._control = params.modbus_control
        self.character_us = _CHARACTER_bits * 1_000_000 // params.modbus_baud + 1
        self.silence_us = max(_SILENCE_us, self.character_us * 7 // 2)      # that ends a frame
        self._frame = bytearray(_FRAME)
        self._text = _padded(VERSION, 16) + _padded(params.rack_name, _TEXT - 16)
        self._x = array("i", [0] * M.WORDS)
        self._reasons = Reasons(controller, memoryview(self._x)[M.X_REASONS + 1 :])
        self._task = 0
        self._step = _QUIET
        self._received = line.received
        self._heard = line.received()   # bytes received until the last slice
        self._begin = self._heard       # bytes at the end of the last frame
        self._first = self._count = 0   # registers of the request
        self._length = 0                # bytes of the waiting request, then of the answer being sent
        self._sent_us = 0               # when the transmitter got the answer; -1: in the last slice
        self.answers = 0                # shown by `tasks`, like faults; both wrap at 2**16
        self.faults = 0                 # exceptions of this code
        self._rate(params)

    def _rate(self, params):
        """Compute the words that follow from the config alone."""
        x = self._x
        knots = params.cell_ocv
        area = 0                        # cpct x mV
        for at in range(0, len(knots) - 2, 2):
            area += (knots[at + 2] - knots[at]) * (knots[at + 1] + knots[at + 3]) // 2
        energy_Wh = params.cell_capacity_dAh * params.cell_series // 10 * (area // 10_000) // 1000
        x[M.X_CAPACITY] = params.cell_capacity_dAh
        x[M.X_ENERGY], x[M.X_ENERGY_SF] = _scaled(energy_Wh)
        _, x[M.X_POWER_SF] = _scaled(2 * params.rack_power_max_W)     # an overload still fits
        self._unit_W = 10 ** x[M.X_POWER_SF]
        x[M.X_RATING] = params.rack_power_max_W // self._unit_W
        x[M.X_TYPE] = _TYPES[params.rack_chemistry]
        x[M.X_LOCAL] = 1 - params.modbus_control

    def begin(self, scheduler, task):
        """Call before the first poll. task: number of `poll` in the schedule."""
        self._scheduler = scheduler
        self._task = task

    def poll(self, now_us):
        """Run one slice, below a millisecond. Does not wait and does not raise. Main loop."""
        if self._step == _QUIET and self._received() == self._begin:
            return
        try:
            wait_us = self._go_on(now_us)
        except EOFError:        # the host of the unix port has ended
            raise
        except Exception:       # an error of this link must not open the contactors
            self.faults = (self.faults + 1) & 0xFFFF
            self._begin = self._received()
            self._step = _QUIET
            return
        if wait_us:
            self._scheduler.ask(self._task, now_us, wait_us)

    def _go_on(self, now_us):
        """Run one step. Returns the time until the next step, µs; 0: at the next turn of the schedule.

        The methods below return the same.
        """
        step = self._step
        if step < _REQUEST:
            return self._listen(step, self._received())
        if step == _REQUEST:
            self._step = _QUIET
            return self._request(self._frame, self._length)
        if step == _SEND:
            return self._watch(now_us)
        return self._compose(step)

    def _listen(self, step, heard):
        if step == _QUIET or heard != self._heard:
            self._step = _RECEIVE
            self._heard = heard
            return self.silence_us
        self._step = _QUIET
        frame = self._frame
        count = self._line.take(frame, heard - self._begin)
        self._begin = heard
        at = find_request(frame, count, self._unit, TABLE)
        if at < 0:
            return 0
        self._length = count - at
        shift(frame, at, self._length)
        self._step = _REQUEST
        return 1

    def _request(self, frame, length):
        """Answer a request with a correct CRC, or begin a longer answer."""
        function = frame[1]
        if function & 0x80:         # an exception, perhaps the slave's own
            return 0
        if function == READ:
            if not frame[0]:
                return 0
            return self._read(frame, length)
        code = _FUNCTION
        if function in (WRITE, WRITES):
            code = self._write(frame, length, function)
        if not frame[0]:
            return 0
        if code:
            frame[1] = function | 0x80
            frame[2] = code
            return self._send(seal(frame, 3))
        return self._send(seal(frame, 6))

    def _read(self, frame, length):
        count = frame[4] << 8 | frame[5]
        first = (frame[2] << 8 | frame[3]) - M.BASE
        code = 0
        if length != 8 or not 1 <= count <= _READ_MAX:
            code = _VALUE
        elif first < 0 or first + count > M.REGISTERS:
            code = _ADDRESS
        if code:
            frame[1] = READ | 0x80
            frame[2] = code
            return self._send(seal(frame, 3))
        self._first = first
        self._count = count
        self._step = _FILL
        if first < M.WHY_END and first + count > M.WHY:
            self._step = _REASONS
        if first < M.BATTERY_END and first + count > M.BATTERY:
            self._step = _DERIVE
        return 1

    def _compose(self, step):
        first = self._first
        count = self._count
        if step == _DERIVE:
            self._derive()
            self._step = _REASONS
        elif step == _REASONS:
            if first < M.WHY_END and first + count > M.WHY:
                self._x[M.X_REASONS] = count_of_reasons = self._reasons.list()
                for at in range(count_of_reasons, M.REASONS):
                    self._reasons.codes[at] = 0
            self._step = _FILL
        elif step == _FILL:
            frame = self._frame
            frame[1] = READ
            frame[2] = 2 * count
            fill(frame, first, count, M.MAP, self._s, self._x, self._text)
            self._step = _SEAL
        else:
            return self._send(seal(self._frame, 3 + 2 * count))
        return 1

    def _send(self, length):
        self.answers = (self.answers + 1) & 0xFFFF
        self._begin = self._received()
        self._line.send(self._frame, length)
        self._step = _SEND
        self._length = length
        self._sent_us = -1
        return 1

    def _watch(self, now_us):
        """Wait until the answer is sent. Stops a transmitter that does not end by itself in time."""
        length = self._length
        length_us = (length + 2) * self.character_us
        if self._sent_us < 0:
            self._sent_us = now_us
            return length_us
        if self._line.sending():
            if (now_us - self._sent_us) & TICKS_MASK <= length_us + _TIMEOUT_us:
                return 0
            self._unlocked(self._stop, now_us)
        if self._line.echoed():     # the receiver stays on: it got the answer, and perhaps the next request
            self._begin += length
        self._step = _QUIET
        return 0

    def _derive(self):
        """Compute the words that model 802 has in other units than the signals."""
        s = self._s
        x = self._x
        state = s[I.STATE]
        volt_dV = min(max(s[I.RACK_dV], 1), 0x7FFF)
        current_dA = min(max(s[I.CURRENT_dA], -0x7FFF), 0x7FFF)
        x[M.X_EVT1] = evt1(self._c.alarms.active, M.EVENTS, ALARMS)
        x[M.X_STATE] = _STATES[state]
        charging = 1
        if state == STATE_CLOSED:
            charging = 6 if abs(current_dA) < _HOLDING_dA else 3 if current_dA > 0 else 4
        x[M.X_CHARGING] = charging
        x[M.X_HEARTBEAT] = self._c.now_ms // 1000 & 0xFFFF
        x[M.X_WANTED] = 1 if self._c.contactors.wanted else 2
        x[M.X_POWER] = min(max(volt_dV * current_dA // 100 // self._unit_W, -0x7FFF), 0x7FFF)
        x[M.X_CHARGE_A] = min(s[I.LIMIT_CHARGE_W] * 100 // volt_dV, 0xFFFE)
        x[M.X_DISCHARGE_A] = min(s[I.LIMIT_DISCHARGE_W] * 100 // volt_dV, 0xFFFE)
        x[M.X_CYCLES] = s[I.CYCLES_C] // 100

    # -- writes

    def _write(self, frame, length, function):
        """Execute a write request as a whole or not at all. Returns 0 or a Modbus exception code."""
        self._x[M.X_REFUSED] = refused = self._execute(frame, length, function)
        if refused == REFUSED_ADDRESS:
            return _ADDRESS
        if refused in (REFUSED_VALUE, REFUSED_PART):
            return _VALUE
        return _FAILURE if refused else 0

    def _execute(self, frame, length, function):
        """Execute a write request. Returns 0 or REFUSED_*."""
        count = 1
        data = 4
        if function == WRITES:
            count = frame[4] << 8 | frame[5]
            data = 7
            if length < 9 or not 1 <= count <= _WRITE_MAX or frame[6] != 2 * count or length != 9 + 2 * count:
                return REFUSED_VALUE
        elif length != 8:
            return REFUSED_VALUE
        first = (frame[2] << 8 | frame[3]) - M.BASE
        if first < 0 or first + count > M.REGISTERS:
            return REFUSED_ADDRESS
        if not self._control:
            return REFUSED_LOCAL
        return self._write_points(frame, data, first, first + count)

    def _write_points(self, frame, data, at, end):
        """Write registers at to end - 1, which must be complete, neighbouring points. Returns 0 or REFUSED_*."""
        rows = M.WRITABLE
        row = 0
        while rows[row] << 8 | rows[row + 1] != at:
            row += 4
            if row == len(rows):
                return REFUSED_ADDRESS
        values = self._ems.values
        act = rows[row + 3]
        first = act
        value = 0
        while at < end:
            if row == len(rows) or rows[row] << 8 | rows[row + 1] != at:
                return REFUSED_ADDRESS
            registers = rows[row + 2]
            if at + registers > end:
                return REFUSED_PART
            value = number(frame, data, registers)
            act = rows[row + 3]
            if act < M.CTRL_HB:
                values[act] = value
            elif act != first and not (first == M.CTRL_HB and act == M.ALM_RST):
                return REFUSED_ADDRESS
            at += registers
            data += 2 * registers
            row += 4
        if act < M.CTRL_HB:
            return self._ems.apply(first, act + 1)
        return self._act(first, act, frame, value)

    def _act(self, first, act, frame, value):
        """Execute CtrlHb, AlmRst (in one request with CtrlHb or alone) or SetOp. Returns 0 or REFUSED_*.

        A broadcast has no answer and reaches every rack, so it may open racks, but not reset or close them.
        """
        refused = 0
        broadcast = not frame[0]
        if act == M.ALM_RST:
            if value > 1:
                return REFUSED_VALUE
            if value:
                refused = REFUSED_BROADCAST if broadcast else self._unlocked(self._acknowledge, BY_EMS)
        elif act == M.SET_OP:
            if not 1 <= value <= 2:
                return REFUSED_VALUE
            if value == 1 and broadcast:
                return REFUSED_BROADCAST
            refused = self._c.command(CMD_CLOSE if value == 1 else CMD_OPEN, BY_EMS)
        if refused:
            return refused
        if first == M.CTRL_HB:
            self._x[M.X_CONTROL_HEARTBEAT] = value if act == first else number(frame, 7, 1)
        self._ems.alive()
        return 0
