"""The rack's decisions: one process image in, one out, every scan.

The order protects the rack: inputs are judged, alarms decide, contactors act, limits follow, and only then is power
requested. So a request ends in the same scan as the alarm that forbids it comes. Slow work runs in slots, one slot in
each scan, each with the time since its own last run. The application may run the second half, from the slots on, a
little later than the first, so that protection itself stays short.
"""

from array import array

import micropython
from micropython import const
from rack.generated import alarm_levels as L
from rack.generated import controller_slots as S
from rack.generated import controller_times as T
from rack.generated import ids as I
from rack.base.clock import TICKS_MASK
from rack.base.viper import ptr32
from rack.control.protect.alarm_engine import CAUSE_THERE, MISSING_SHIFT, Alarms
from rack.control.protect.authority import RIGHTS
from rack.control.protect.contactors import Contactors
from rack.control.protect.cooling import Cooling
from rack.control.protect.limits import Limits
from rack.control.protect.memory_guard import MemoryGuard
from rack.control.protect.retained import Retained
from rack.control.response.response import Response
from rack.control.sense import message_ages
from rack.control.sense.cells import Cells
from rack.control.sense.core_temperature import CoreTemperature
from rack.control.sense.cross_checks import CrossChecks
from rack.control.sense.frozen_afe import FrozenAfe
from rack.control.sense.inputs import judge_inputs
from rack.control.sense.life_signs import judge_insulation
from rack.control.sense.overcurrent import Overcurrent
from rack.control.sense.runaway import Runaway
from rack.control.sense.soc import SocEstimator
from rack.control.sense.temperatures import Temperatures
from rack.definitions.codes import (
    ACT_OPEN,
    ACT_ZERO,
    BY_CONSOLE,
    BY_EMS,
    CMD_CLOSE,
    CMD_OPEN,
    CMD_RESET,
    CMD_UNLOCK,
    NO_VALUE,
    REFUSED_ALARM,
    REFUSED_HELD,
    REFUSED_KEY,
    REFUSED_LOCKED,
    REFUSED_NOTHING,
    REFUSED_PERSON,
    REFUSED_STATE,
    REFUSED_TRIPPED,
    REFUSED_UNKNOWN,
    RIGHT_HELD,
    RIGHT_KEY,
    RIGHT_REPEAT,
    STATE_CLOSED,
    STATE_LOCKED_OUT,
)

_EMS = const(I.ALARM_EMS_LOST - 1)
_MAX_DT_ms = const(1000)        # after a longer gap the elapsed time is not known: the scan may have stood still
_TWICE = const(0x101)           # two scans: the first one may come a little early for a clear time that just ends
_MAX_TIME_ms = const(0x0FFF_FFFF)   # three days: longer than every time of the config; sums stay within 31 bits


@micropython.viper
def _turn(slots: ptr32, dt: int) -> int:
    """The slot whose turn it is; writes ELAPSED_ms, the time since its own last run. slots: layout controller_slots."""
    at = slots[S.NEXT] & S.SLOT_MASK
    now = (slots[S.CLOCK_ms] + dt) & S.CLOCK_MASK
    slots[S.ELAPSED_ms] = (now - slots[S.LAST_ms + at]) & S.CLOCK_MASK
    slots[S.LAST_ms + at] = slots[S.CLOCK_ms] = now
    slots[S.NEXT] = (at + 1) & S.SLOT_MASK
    return at


@micropython.viper
def _begin(s: ptr32, times: ptr32, now_ms: int) -> int:
    """ms since the last scan, up to _MAX_DT_ms; the excess goes into time_jump_ms. Also writes sum_error_dV."""
    dt = (now_ms - times[T.NOW_ms]) & TICKS_MASK
    if times[T.NOW_ms] < 0:
        dt = 0
    times[T.NOW_ms] = now_ms
    s[I.TIME_JUMP_ms] = dt - _MAX_DT_ms if dt > _MAX_DT_ms else 0
    if dt > _MAX_DT_ms:
        dt = _MAX_DT_ms
    times[T.DT_ms] += dt
    if times[T.DT_ms] > _MAX_DT_ms:
        times[T.DT_ms] = _MAX_DT_ms
    if times[T.TEMPS_ms] < _MAX_TIME_ms:
        times[T.TEMPS_ms] += dt
    error = s[I.CELL_SUM_dV] - s[I.RACK_dV]
    s[I.SUM_ERROR_dV] = error if error >= 0 else 0 - error
    return dt


@micropython.viper
def may_request_power(signals: ptr32) -> int:
    """1 while the rack may ask the PCS for power: it is closed, and no alarm demands opening or zero power."""
    if signals[I.STATE] != STATE_CLOSED:
        return 0
    return 0 if signals[I.ACTIONS] & (ACT_OPEN | ACT_ZERO) else 1


def _refusal(released):
    """Why a reset released no trip, REFUSED_*; released: the answer of Alarms.releasable."""
    missing = released >> MISSING_SHIFT
    if missing & RIGHT_KEY:
        return REFUSED_KEY
    if missing:
        return REFUSED_PERSON
    return REFUSED_ALARM if released & CAUSE_THERE else REFUSED_NOTHING


class Controller:
    """All of the control core of one rack.

    s: the process image, indexed by rack.generated.ids; cells_mV, temps_ddegC: filled by the application.
    After construction this does not allocate; it does not read a clock or know the hardware.
    times, slots: arrays of the layouts controller_times and controller_slots.
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
        self.frozen_afe = FrozenAfe(params, s, self.cells_mV)
        self._insulation_ms = params.insulation_age_ms if params.insulation_monitor else 0
        self._insulation_open_ms = params.insulation_open_ms
        self.temperatures = Temperatures(params, s, self.temps_ddegC)
        self.runaway = Runaway(params, s, self.temperatures)
        self.overcurrent = Overcurrent(params, s)
        self.core_temperature = CoreTemperature(params, s, self.temperatures, self.overcurrent)
        self.contactors = Contactors(params, s)
        self._retained = Retained(params)
        self.retained = self._retained.words    # array('i') for the FRAM, and for `restore` after the next start
        self.soc = SocEstimator(params, s, self.retained)
        self.cooling = Cooling(params, s)
        self.cross_checks = CrossChecks(params, s)
        self.limits = Limits(params, s)
        self.response = Response(params, s)
        self.times = array("i", [-1, 0, 0])
        self._silent_ms = params.alarms_levels[L.WIDTH * _EMS + L.SET]
        self._judged_ms = 0
        self._release = 0       # RIGHT_* of a reset for the next scan; from bit 8 on for the scan after it
        self.slots = array("i", [0] * S.WORDS)
        self.limits.start()
        self.memory = MemoryGuard(params, s, self.fixed())

    def fixed(self):
        """Words of the parts that never change after the start, as MemoryGuard takes them."""
        parts = (self.temperatures, self.frozen_afe, self.overcurrent, self.limits, self.soc, self.response)
        return tuple([span for part in parts for span in part.fixed()])

    def restore(self, kept):
        """Take over the words that the last run kept, see rack.control.protect.retained. Before the first scan."""
        self._retained.restore(kept, self.soc, self.alarms, self.contactors)
        self.limits.start()

    def keep(self):
        """Bring `retained` up to date. Runs in its slot, and from rack.storage.retention on a new state. Does not
        allocate.
        """
        self._retained.pack(self.s, self.alarms, self.contactors)

    def advance_ages(self, now_ms):
        """Advance the ages of all messages to now_ms. At the start of each scan, before new inputs are written."""
        before_ms = self.times[T.NOW_ms]
        if before_ms >= 0:
            message_ages.advance(self.s, (now_ms - before_ms) & TICKS_MASK)

    def current_arrived(self, current_dA, rack_dV):
        """The current sensor has answered with the rack's current and the voltage of its string, 0.1 A and 0.1 V."""
        s = self.s
        s[I.CURRENT_dA] = current_dA
        s[I.RACK_dV] = rack_dV
        message_ages.arrived(s, I.CURRENT_AGE_ms)

    def cells_arrived(self):
        """A complete, CRC-checked voltage scan is in cells_mV."""
        message_ages.arrived(self.s, I.CELLS_AGE_ms)
        self.cells.arrived()
        self.frozen_afe.arrived()

    def temps_arrived(self):
        """A complete temperature scan is in temps_ddegC; sensors without a value hold NO_*."""
        self.judge_temps()
        self.compare_temps()
        self.judge_slow_rise()
        self.judge_runaway()

    def judge_temps(self):
        """First part of temps_arrived, for an application that divides the work."""
        message_ages.arrived(self.s, I.TEMPS_AGE_ms)
        self._judged_ms = ms = self.times[T.TEMPS_ms]
        self.times[T.TEMPS_ms] = 0
        self.temperatures.judge(ms)

    def compare_temps(self):
        """Second part of temps_arrived."""
        self.temperatures.compare()

    def judge_slow_rise(self):
        """Third part of temps_arrived."""
        self.runaway.judge_slow(self._judged_ms)

    def judge_runaway(self):
        """Last part of temps_arrived, before the next temperatures are judged."""
        self.runaway.judge_fast(self._judged_ms)

    def scan(self, now_ms):
        """Both halves of a scan. now_ms: any clock in ms that wraps at 2**30."""
        self.protect(now_ms)
        self.plan()

    @property
    def now_ms(self):
        """Time of the last `protect`, 0 before the first; wraps at 2**30."""
        return max(self.times[T.NOW_ms], 0)

    def protect(self, now_ms):
        """First half: judge the inputs, switch the contactors, withdraw a request that an alarm forbids."""
        s = self.s
        dt = _begin(s, self.times, now_ms)
        self.response.update_mains_age(now_ms)
        judge_inputs(s)
        judge_insulation(s, self._insulation_ms, self._insulation_open_ms)
        self.overcurrent.scan(dt)
        self.soc.scan(dt)
        self.alarms.scan(dt, not self.contactors.resting(), self._release)
        self._release >>= 8
        if s[I.EMS_AGE_ms] >= self._silent_ms and self.alarms.active[_EMS]:
            s[I.SETPOINT_W] = 0     # the setpoint of a silent EMS does not count
        self.contactors.scan(dt)
        response = self.response        # a mains period may have made a request since the last plan
        if (s[I.REQUEST_W] or response.request_W) and not may_request_power(s):
            response.set_limits(s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W], 0)
            response.publish(0)

    def plan(self):
        """Second half, before the next `protect`: slots, limits, request. Other tasks may run between the halves."""
        times = self.times
        dt = times[T.DT_ms]
        times[T.DT_ms] = 0
        self._run_slot(dt)
        self.limits.scan(dt)
        self._request(times[T.NOW_ms], self.s)

    def command(self, what, who=BY_CONSOLE):
        """Carry out a CMD_*; returns 0 or REFUSED_*. Not from an interrupt.

        who: BY_*, whose rights are in rack.control.protect.authority.
        """
        rights = RIGHTS[who]
        if what == CMD_OPEN:
            self.contactors.open()
            if rights & RIGHT_HELD:
                self.contactors.held = True
            return 0
        if what == CMD_CLOSE:
            return self._close(rights)
        if what == CMD_RESET:
            return self._acknowledge(who, rights)
        if what == CMD_UNLOCK:
            return self._unlock(rights)
        return REFUSED_UNKNOWN

    def _close(self, rights):
        s = self.s
        if s[I.STATE] == STATE_LOCKED_OUT:
            return REFUSED_LOCKED
        if s[I.TRIP_CODE]:
            return REFUSED_TRIPPED
        if self.contactors.held and not rights & RIGHT_HELD:
            return REFUSED_HELD
        if s[I.ACTIONS] & ACT_OPEN:
            return REFUSED_ALARM
        self.contactors.ask()
        return 0

    def _acknowledge(self, who, rights):
        """Release latched trips whose cause is gone. A reset that releases no trip is refused and changes no state."""
        contactors = self.contactors
        if self.s[I.STATE] == STATE_LOCKED_OUT:
            return REFUSED_LOCKED
        if not contactors.resting():
            return REFUSED_STATE
        if who == BY_EMS and not contactors.retried:
            rights |= RIGHT_REPEAT
        forgotten = contactors.forget()
        released = self.alarms.releasable(rights & ~RIGHT_KEY)
        if not released & (CAUSE_THERE - 1) and not forgotten:
            return _refusal(released)
        if released & RIGHT_REPEAT:
            contactors.retried = who == BY_EMS
        self._release = (rights & ~RIGHT_KEY) * _TWICE
        contactors.resume()
        return 0

    def _unlock(self, rights):
        """End the lock-out, and release the trips that need the rack's key, if their cause is gone."""
        if not rights & RIGHT_KEY:
            return REFUSED_KEY
        if not self.contactors.resting():
            return REFUSED_STATE
        released = self.alarms.releasable(RIGHT_KEY)
        if self.s[I.STATE] != STATE_LOCKED_OUT and not released & RIGHT_KEY:
            return REFUSED_ALARM if released & CAUSE_THERE else REFUSED_STATE
        self.contactors.unlock()
        self._release = RIGHT_KEY * _TWICE
        return 0

    def _run_slot(self, dt):
        at = _turn(self.slots, dt)
        ms = self.slots[S.ELAPSED_ms]
        if at == 0 or at == 4:
            self.limits.slot(at >> 2, ms)
        elif at == 1:
            self.cells.slot(ms)
        elif at == 2:
            self.core_temperature.slot(ms)
        elif at == 3:
            self.soc.slot(ms)
        elif at == 5:
            self.cooling.slot(ms)
            self.memory.slot()
        elif at == 6:
            self.keep()
        elif at == 7:
            self.cross_checks.slot(ms)

    def _request(self, now_ms, s):
        permitted = may_request_power(s)
        response = self.response
        response.set_limits(s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W], permitted)
        response.scan(now_ms)
        response.publish(permitted)
