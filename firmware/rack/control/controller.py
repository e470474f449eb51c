"""The rack's decisions: one process image in, one out, every scan.

Order is the protection: inputs are judged, alarms decide, contactors act, limits follow, and only
then is power requested, so that no request outlives the alarm that forbids it by a single scan.
Slow work runs in slots, one a scan in turn, each with the time since its own last run. The order has one seam,
after the contactors: an app may run the second half a little later, so that protection itself stays short.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.control.protect.alarm_engine import LATCHED, Alarms
from rack.definitions.codes import (
    ACT_OPEN,
    ACT_ZERO,
    CMD_CLOSE,
    CMD_OPEN,
    CMD_RESET,
    CMD_UNLOCK,
    NO_VALUE,
    REFUSED_ALARM,
    REFUSED_LOCKED,
    REFUSED_STATE,
    REFUSED_TRIPPED,
    REFUSED_UNKNOWN,
    STATE_CLOSED,
    STATE_LOCKED_OUT,
)
from rack.control.sense import message_ages
from rack.control.sense.cells import Cells
from rack.control.sense.soc import KEEP_LATCHED, KEEP_TRIPS, Charge
from rack.control.protect.contactors import Contactors
from rack.control.sense.core_temperature import Core
from rack.control.sense.overcurrent import Current
from rack.base.clock import TICKS_MASK
from rack.base.viper import ptr32
from rack.control.protect.limits import Limits
from rack.control.response.response import Response
from rack.control.sense.runaway import Runaway
from rack.control.sense.temperatures import Temperatures
from rack.control.protect.cooling import Thermal

_SLOTS = const(8)               # a power of two
_SLOT_MASK = const(7)
_SLOT_CLOCK = const(0x0FFF_FFFF)  # their clock wraps early, so that no sum with it leaves 31 bits
_DEEP = I.ALARM_DEEP_DISCHARGE
_EMS = I.ALARM_EMS_LOST - 1
_DT_MOST_ms = const(1000)       # a longer gap is not believed: nobody watched
_LONG_ms = const(0x0FFF_FFFF)   # three days: nothing asks for more, and no sum with it leaves 31 bits

# words of the slots
_SLOT = const(0)                # the next one
_CLOCK_ms = const(1)            # wraps at _SLOT_CLOCK
_SLOT_ms = const(2)
_LAST_ms = const(3)             # when each slot ran last
# words of a Controller
_NOW_ms = const(0)              # of the last `protect`, -1 before the first
_DT_ms = const(1)               # that no `plan` has seen yet: one may serve two `protect`s
_TEMPS_ms = const(2)            # since the last temperatures


@micropython.viper
def _turn(w: ptr32, dt: int) -> int:
    """The slot whose turn it is; w[_SLOT_ms]: the time since its own last run."""
    at = w[_SLOT]
    now = (w[_CLOCK_ms] + dt) & _SLOT_CLOCK
    w[_SLOT_ms] = (now - w[_LAST_ms + at]) & _SLOT_CLOCK
    w[_LAST_ms + at] = w[_CLOCK_ms] = now
    w[_SLOT] = (at + 1) & _SLOT_MASK
    return at


@micropython.viper
def _begin(s: ptr32, w: ptr32, now_ms: int) -> int:
    """ms since the last scan, at most _DT_MOST_ms; what is beyond goes into time_jump_ms. Sum of cells against rack."""
    dt = (now_ms - w[_NOW_ms]) & TICKS_MASK
    if w[_NOW_ms] < 0:
        dt = 0
    w[_NOW_ms] = now_ms
    s[I.TIME_JUMP_ms] = dt - _DT_MOST_ms if dt > _DT_MOST_ms else 0
    if dt > _DT_MOST_ms:
        dt = _DT_MOST_ms
    w[_DT_ms] += dt
    if w[_DT_ms] > _DT_MOST_ms:
        w[_DT_ms] = _DT_MOST_ms
    if w[_TEMPS_ms] < _LONG_ms:
        w[_TEMPS_ms] += dt
    error = s[I.CELL_SUM_dV] - s[I.RACK_dV]
    s[I.SUM_ERROR_dV] = error if error >= 0 else 0 - error
    return dt


@micropython.viper
def may_request_power(signals: ptr32) -> int:
    """1 while the rack may ask the PCS for power: it is closed, and no alarm demands opening or zero power."""
    if signals[I.STATE] != STATE_CLOSED:
        return 0
    return 0 if signals[I.ACTIONS] & (ACT_OPEN | ACT_ZERO) else 1


class Controller:
    """All of the control core of one rack.

    s: the process image, indexed by rack.generated.ids; cells_mV, temps_ddegC: what the app reads into.
    Nothing here allocates after construction, reads a clock or knows hardware.
    """

    def __init__(self, params):
        self.params = params
        self.s = s = array("i", [0] * I.COUNT)
        self.cells_mV = array("i", [0] * params.cell_series)
        self.temps_ddegC = array("i", [NO_VALUE] * (params.afe_devices * params.afe_temps_per_device))
        message_ages.start(s)
        s[I.INSULATION_KOHM] = 1_000_000
        self.alarms = Alarms(params, s)
        self.cells = Cells(params, s, self.cells_mV)
        self.temperatures = Temperatures(params, s, self.temps_ddegC)
        self.runaway = Runaway(params, s, self.temperatures)
        self.current = Current(params, s)
        self.core = Core(params, s, self.temperatures, self.current)
        self.contactors = Contactors(params, s, self.alarms)
        self.charge = Charge(params, s)
        self.thermal = Thermal(params, s)
        self.limits = Limits(params, s)
        self.response = Response(params, s)
        self._w = array("i", [-1, 0, 0])
        self._silent_ms = params.alarms_levels[4 * _EMS]
        self._judged_ms = 0
        self._reset = False
        self._turns = array("i", [0] * (_LAST_ms + _SLOTS))
        self.limits.start()

    @property
    def retained(self):
        """array('i') that the app keeps in its FRAM and gives to `restore` after the next start."""
        return self.charge.retained

    def restore(self, retained):
        """Take over what the run before has kept: charge, counters, latched trips, counted trips, the resistor's heat.

        A restart is no operator's reset: the first trip and a deep discharge are latched again. Nor does it close
        what an operator has opened: somebody may work there.
        """
        self.charge.restore(retained)
        k = self.charge.retained
        latched = k[KEEP_LATCHED]
        if latched & 1:
            self.alarms.latch(_DEEP)
        if latched & 2:
            self.contactors.open()
        self.alarms.latch(latched >> 2)
        self.s[I.TRIPS] = min(k[KEEP_TRIPS] & 255, self.params.contactor_trips)
        self.contactors.restore_heat(k[KEEP_TRIPS] >> 8)
        self.limits.start()

    def advance_ages(self, now_ms):
        """Advance the ages of all messages to now_ms: at the start of each scan, before new inputs are written."""
        before_ms = self._w[_NOW_ms]
        if before_ms >= 0:
            message_ages.advance(self.s, (now_ms - before_ms) & TICKS_MASK)

    def current_arrived(self, current_dA, rack_dV):
        """The current sensor has answered: the rack's current and the voltage of its string."""
        s = self.s
        s[I.CURRENT_dA] = current_dA
        s[I.RACK_dV] = rack_dV
        message_ages.arrived(s, I.CURRENT_AGE_ms)

    def cells_arrived(self):
        """A complete, CRC-checked voltage scan is in cells_mV."""
        message_ages.arrived(self.s, I.CELLS_AGE_ms)
        self.cells.arrived()

    def temps_arrived(self):
        """A complete temperature scan is in temps_ddegC; sensors without a value hold NO_*."""
        self.judge_temps()
        self.judge_runaway()

    def judge_temps(self):
        """First half of temps_arrived, for an app that cannot spend the time at once."""
        message_ages.arrived(self.s, I.TEMPS_AGE_ms)
        self._judged_ms = ms = self._w[_TEMPS_ms]
        self._w[_TEMPS_ms] = 0
        self.temperatures.arrived(ms)

    def judge_runaway(self):
        """Second half of temps_arrived, before the next temperatures are judged."""
        self.runaway.arrived(self._judged_ms)

    def scan(self, now_ms):
        """Decide once, both halves. now_ms: any clock in ms that wraps at 2**30."""
        self.protect(now_ms)
        self.plan()

    @property
    def now_ms(self):
        """Time of the last `protect`, 0 before the first; wraps at 2**30."""
        return max(self._w[_NOW_ms], 0)

    def protect(self, now_ms):
        """First half: judge the inputs, move the contactors, withdraw the request that an alarm forbids."""
        s = self.s
        dt = _begin(s, self._w, now_ms)
        self.response.look(now_ms)
        self.current.scan(dt)
        self.charge.scan(dt)
        self.alarms.scan(dt, not self.contactors.resting(), self._reset)
        self._reset = False
        if s[I.EMS_AGE_ms] >= self._silent_ms and self.alarms.active[_EMS]:
            s[I.SETPOINT_W] = 0     # nobody asks for it any more
        self.contactors.scan(dt)
        response = self.response        # it may have asked since the last plan
        if (s[I.REQUEST_W] or response.request_W) and not may_request_power(s):
            response.set_limits(s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W], 0)
            response.publish(0)

    def plan(self):
        """Second half, before the next `protect`: slots, limits, request; an app may let other tasks run in between."""
        w = self._w
        dt = w[_DT_ms]
        w[_DT_ms] = 0
        self._run_slot(dt)
        self.limits.scan(dt)
        self._request(w[_NOW_ms], self.s)

    def command(self, what):
        """An operator's CMD_*; returns 0 when accepted, else REFUSED_*. Not from an interrupt."""
        if what == CMD_OPEN:
            self.contactors.open()
            return 0
        if what == CMD_CLOSE:
            return self._close()
        if what == CMD_RESET:
            return self._acknowledge()
        if what == CMD_UNLOCK:
            if self.s[I.STATE] != STATE_LOCKED_OUT:
                return REFUSED_STATE
            self.contactors.unlock()
            return 0
        return REFUSED_UNKNOWN

    def _close(self):
        s = self.s
        if s[I.STATE] == STATE_LOCKED_OUT:
            return REFUSED_LOCKED
        if s[I.TRIP_CODE]:
            return REFUSED_TRIPPED
        if s[I.ACTIONS] & ACT_OPEN:
            return REFUSED_ALARM
        self.contactors.wanted = True
        return 0

    def _acknowledge(self):
        if self.s[I.STATE] == STATE_LOCKED_OUT:
            return REFUSED_LOCKED
        if not self.contactors.resting():
            return REFUSED_STATE
        self.contactors.reset()
        self._reset = True
        return 0

    def _run_slot(self, dt):
        at = _turn(self._turns, dt)
        ms = self._turns[_SLOT_ms]
        if at == 0 or at == 4:
            self.limits.slot(at >> 2)
        elif at == 1:
            self.cells.slot(ms)
        elif at == 2:
            self.core.slot(ms)
        elif at == 3:
            self.charge.slot(ms)
        elif at == 5:
            self.thermal.slot(ms)
        elif at == 6:
            self.keep()

    def keep(self):
        """Pack latches, trips and heat into `retained`. Runs in its slot, and from rack.storage.retention on a new
        state. Does not allocate."""
        k = self.charge.retained
        deep = 1 if self.alarms.active[_DEEP - 1] & LATCHED else 0
        k[KEEP_LATCHED] = self.s[I.TRIP_CODE] << 2 | self.contactors.opened() << 1 | deep
        k[KEEP_TRIPS] = self.contactors.kept_heat() << 8 | self.s[I.TRIPS]

    def _request(self, now_ms, s):
        permitted = may_request_power(s)
        response = self.response
        response.set_limits(s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W], permitted)
        response.scan(now_ms)
        response.publish(permitted)
