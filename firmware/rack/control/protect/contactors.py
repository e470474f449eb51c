"""The contactor sequence: when and how the rack is connected and disconnected.

Defends against closing onto a short or a charged bus, a burnt precharge resistor, breaking load current without
need, and welded or stuck contacts that stay unnoticed. The state machine is the table EXITS at the end. Every step
lists its exits in order of precedence, and every step except the resting ones has a timeout.

The positive contactor closes last. Both contactors open at once. Scan context, does not allocate.
"""

from array import array

import micropython
from micropython import const
from rack.generated import ids as I
from rack.definitions.codes import (
    ACT_OPEN,
    COIL_NEG,
    COIL_POS,
    COIL_PRE,
    IN_AUX_NEG,
    IN_AUX_POS,
    STATE_CLOSED,
    STATE_FAULT,
    STATE_LOCKED_OUT,
    STATE_OPEN,
    STATE_OPENING,
    STATE_PRECHARGE,
    WHY_ALARM,
    WHY_BUS,
    WHY_COOLING,
    WHY_HELD,
    WHY_LOCKED,
    WHY_NO_RACK,
    WHY_NOT_ASKED,
    WHY_SETTLING,
)
from rack.base.viper import ptr32
from rack.control.protect.precharge import DONE, QUARTERS, TOO_FAST, Precharge

STEP_REST = const(0)
STEP_NEG = const(1)         # main - alone: does the bus rise by itself?
STEP_PRE = const(2)         # precharging
STEP_POS = const(3)         # main + on, precharge still on
STEP_CLOSED = const(4)
STEP_UNLOAD = const(5)      # zero power requested, waiting for low current
STEP_RELEASE = const(6)     # coils off, waiting for the contacts
STEP_COOL = const(7)        # pause after a failed precharge
STEP_FAULT = const(8)
STEP_LOCKED = const(9)

STATES = (           # contactor state of each step
    STATE_OPEN, STATE_PRECHARGE, STATE_PRECHARGE, STATE_PRECHARGE, STATE_CLOSED,
    STATE_OPENING, STATE_OPENING, STATE_OPEN, STATE_FAULT, STATE_LOCKED_OUT,
)  # fmt: skip
COILS = (0, COIL_NEG, COIL_NEG | COIL_PRE, COIL_NEG | COIL_PRE | COIL_POS, COIL_NEG | COIL_POS,
         COIL_NEG | COIL_POS, 0, 0, 0, 0)  # of each step  # fmt: skip

# A rise of the bus while main - is closed alone, permille of the rack: far above the noise of a meter. A welded relay
# raises it by 39 % of the difference within half a time constant, 195 permille from the highest legal bus_permille.
_WELD_PERMILLE = const(100)     # engineering judgement
_WELD_BUS = const(4)        # contactor_welded: the bus rose with main - alone; 1 and 2 are the auxiliary contacts
_MIN_RACK_dV = const(100)   # a lower voltage cannot come from a rack: engineering judgement
_MAX_TIME_ms = const(1 << 28)
_STANDING = const(-1)       # the wish of auto_close, which does not expire


@micropython.viper
def _watch_contacts(s: ptr32, contradicted_ms: ptr32, dt: int, max_ms: int, welded: int):
    """Advance the step's time. A contact that contradicts its coil for max_ms is stuck (1: -, 2: +) or welded.

    contradicted_ms: time that the auxiliary contacts - and + have contradicted their coils; welded: _WELD_BUS or 0.
    """
    if s[I.STEP_ms] < _MAX_TIME_ms:
        s[I.STEP_ms] += dt
    coils = s[I.COILS]
    bits = s[I.IN_bits]
    stuck = 0
    neg = 1 if coils & COIL_NEG else 0
    if neg == (1 if bits & IN_AUX_NEG else 0):
        contradicted_ms[0] = 0
    elif contradicted_ms[0] < max_ms:
        contradicted_ms[0] += dt
    elif neg == 1:
        stuck |= 1
    else:
        welded |= 1
    pos = 1 if coils & COIL_POS else 0
    if pos == (1 if bits & IN_AUX_POS else 0):
        contradicted_ms[1] = 0
    elif contradicted_ms[1] < max_ms:
        contradicted_ms[1] += dt
    elif pos == 1:
        stuck |= 2
    else:
        welded |= 2
    s[I.CONTACTOR_STUCK] = stuck
    s[I.CONTACTOR_WELDED] = welded


class Contactors:
    """`scan` after the alarms; writes state, step, step_ms, coils, trips and the contactor faults."""

    def __init__(self, params, s):
        self._p = params
        self._s = s
        self.precharge = Precharge(params, s)
        self.wanted = params.rack_auto_close == 1
        self.held = False       # a person or an emergency stop has opened: only a person at the rack closes
        self.retried = False    # the EMS has released an over-current: the next one is a person's
        self._again = False     # a trip has opened a rack that shall be closed
        self._left_ms = _STANDING   # until a request to close expires
        self._contradicted_ms = array("i", [0, 0])  # auxiliary contacts - and + against their coils
        self._bus_weld = 0
        self._bus_dV = 0        # when main - was closed
        self._contact_ms = params.contactor_aux_ms
        self._neg_ms = max(params.contactor_aux_ms, params.precharge_tau_ms // 2)
        self._forgive_ms = 0
        self._forgive_s = 0

    def resting(self):
        """True while every coil is off and stays off in the next scan."""
        step = self._s[I.STEP]
        return step == STEP_REST or step >= STEP_COOL

    def scan(self, dt):
        """Run the present step and take at most one exit; dt: ms since the last scan."""
        s = self._s
        step = s[I.STEP]
        _watch_contacts(s, self._contradicted_ms, dt, self._contact_ms, self._bus_weld)
        precharge = self.precharge
        if precharge.heat_mJ or step == STEP_PRE:
            precharge.watch(step == STEP_PRE, dt)
        self._drop_request(step, dt)
        if s[I.TRIPS]:
            self._forgive(dt)
        elif step == STEP_CLOSED:
            self.retried = False
        for guard, following in EXITS[step]:
            if guard(self):
                self._enter(following)
                break
        step = s[I.STEP]
        s[I.COILS] = COILS[step]
        s[I.STATE] = STATES[step]

    def ask(self):
        """A command asks for closing. The request expires [contactor] close_ms after the command, or at rest after
        the last try that it has begun. The standing wish of auto_close stays one.
        """
        if not self.wanted or self._left_ms != _STANDING:
            self._left_ms = self._p.contactor_close_ms
        self.wanted = True
        self.held = False

    def open(self):
        """An operator opens: the rack stays open, also after a trip and its reset."""
        self.wanted = self._again = False

    def opened(self):
        """1 while automatic closing waits for the operator who has opened the rack."""
        return 1 if self._p.rack_auto_close and not (self.wanted or self._again) else 0

    def forget(self):
        """Before a reset: forget the failed precharges and a weld seen on the bus. True if there were any."""
        s = self._s
        found = s[I.PRECHARGE_FAST] or s[I.PRECHARGE_SLOW] or self._bus_weld
        self.precharge.forget_failures()
        self._bus_weld = 0
        s[I.CONTACTOR_WELDED] &= 3
        return found != 0

    def resume(self):
        """A reset has released a trip. With auto_close the rack closes again, unless an operator had opened it."""
        if self._again and self._p.rack_auto_close:
            self.wanted = True
            self._left_ms = _STANDING
        self._again = False

    def unlock(self):
        """Leave the lock-out with a clean count. The rack waits for a command, also with auto_close."""
        self._s[I.TRIPS] = 0
        self._forgive_ms = self._forgive_s = 0
        self.retried = False
        self.open()

    def kept_heat(self):
        """Energy in the precharge resistor for retained data: quarters of its budget, 0..8.

        The whole budget from main - on until precharging is over: after a restart its progress is not known.
        """
        if STEP_NEG <= self._s[I.STEP] <= STEP_POS:
            return QUARTERS
        return self.precharge.kept_heat()

    def restore(self, trips, quarters):
        """After a start: the counted trips and the precharge resistor's heat, see kept_heat."""
        self._s[I.TRIPS] = min(trips, self._p.contactor_trips)
        self.precharge.restore_heat(quarters)

    def blocked(self):
        """Reason why the rack does not close now, WHY_*, or 0. Only meaningful at rest."""
        s = self._s
        if s[I.TRIPS] >= self._p.contactor_trips:
            return WHY_LOCKED
        if s[I.ACTIONS] & ACT_OPEN:
            return WHY_ALARM
        if not self.wanted:
            return WHY_HELD if self.held else WHY_NOT_ASKED
        if s[I.STEP_ms] < self._p.contactor_settle_ms:
            return WHY_SETTLING
        if self.precharge.too_hot():
            return WHY_COOLING
        if s[I.RACK_dV] < _MIN_RACK_dV:
            return WHY_NO_RACK
        if s[I.BUS_dV] * 1000 > s[I.RACK_dV] * self._p.contactor_bus_permille:
            return WHY_BUS
        return 0

    def _drop_request(self, step, dt):
        """An open interlock ends every wish to close, also the one of auto_close: a person may be at the rack.

        At rest, time and every alarm that demands opening end a request. The wish of auto_close outlasts an alarm,
        because the alarms of an ordinary start end by themselves.
        """
        s = self._s
        if s[I.ESTOP_PRESSED]:
            self.held = True
        if s[I.ESTOP_PRESSED] or s[I.HVIL_OPEN]:
            self.open()
        elif self.wanted and step == STEP_REST and self._left_ms != _STANDING:
            self._left_ms -= dt
            if self._left_ms <= 0 or s[I.ACTIONS] & ACT_OPEN:
                self._left_ms = 0
                self.wanted = False

    def _forgive(self, dt):
        """Forgive one counted trip after each contactor_trips_s without a lock-out."""
        s = self._s
        if s[I.STEP] == STEP_LOCKED:
            return
        self._forgive_ms += dt
        if self._forgive_ms >= 1000:
            self._forgive_ms -= 1000
            self._forgive_s += 1
            if self._forgive_s >= self._p.contactor_trips_s:
                self._forgive_s = 0
                s[I.TRIPS] -= 1

    def _enter(self, step):
        s = self._s
        s[I.STEP] = step
        s[I.STEP_ms] = 0
        if step == STEP_RELEASE and s[I.ACTIONS] & ACT_OPEN:
            if s[I.TRIPS] < self._p.contactor_trips:
                s[I.TRIPS] += 1
        elif step == STEP_NEG:
            self._bus_dV = s[I.BUS_dV]
            if self._left_ms != _STANDING:      # a further try after a failed precharge has the same time
                self._left_ms = self._p.contactor_close_ms
        elif step >= STEP_FAULT:
            self._again |= self.wanted
            self.wanted = False     # until a reset or an operator's command
        elif step == STEP_PRE:
            self.precharge.begin()
        elif step == STEP_COOL:
            self.precharge.failed()
        elif step == STEP_CLOSED:
            self.precharge.forget_failures()

    # guards: True takes the exit of EXITS

    def _open_demanded(self):
        return self._s[I.ACTIONS] & ACT_OPEN != 0

    def _trip_latched(self):
        return self._s[I.TRIP_CODE] != 0

    def _tripped_off(self):
        return self._s[I.TRIP_CODE] != 0 and (self._contacts_open() or self._contact_late())

    def _not_latched(self):
        return self._s[I.TRIP_CODE] == 0

    def _locked(self):
        return self._s[I.TRIPS] >= self._p.contactor_trips

    def _unlocked(self):
        return self._s[I.TRIPS] < self._p.contactor_trips

    def _may_close(self):
        return self.blocked() == 0

    def _unwanted(self):
        return not self.wanted

    def _bus_rose(self):
        """Against the bus at the begin of the step: a bus near bus_permille is not a weld."""
        if (self._s[I.BUS_dV] - self._bus_dV) * 1000 > self._s[I.RACK_dV] * _WELD_PERMILLE:
            self._bus_weld = _WELD_BUS
            self._s[I.CONTACTOR_WELDED] |= _WELD_BUS
            return True
        return False

    def _neg_proven(self):
        """After half a time constant: a welded precharge relay has raised the bus by _WELD_PERMILLE by then."""
        return self._s[I.STEP_ms] >= self._neg_ms and self._s[I.IN_bits] & IN_AUX_NEG != 0

    def _pos_proven(self):
        return self._s[I.IN_bits] & IN_AUX_POS != 0

    def _contact_late(self):
        """After the step's time, the time that a contact may take, and 100 ms: engineering judgement."""
        step_ms = self._neg_ms if self._s[I.STEP] == STEP_NEG else self._p.contactor_aux_ms
        return self._s[I.STEP_ms] >= step_ms + self._p.contactor_aux_ms + 100

    def _precharged(self):
        return self.precharge.judge() == DONE

    def _precharge_failed(self):
        return self.precharge.verdict >= TOO_FAST

    def _current_low(self):
        return abs(self._s[I.CURRENT_dA]) <= self._p.contactor_low_dA

    def _waited_enough(self):
        return self._s[I.STEP_ms] >= self._p.contactor_open_ms

    def _contacts_open(self):
        return self._s[I.IN_bits] & (IN_AUX_POS | IN_AUX_NEG) == 0

    def _cooled(self):
        return self._s[I.STEP_ms] >= self._p.precharge_cooldown_ms


_C = Contactors
TRIPPED = (_C._open_demanded, STEP_RELEASE)
_ABANDONED = (_C._unwanted, STEP_RELEASE)

# Exits of each step in order of precedence: (guard, next step).
EXITS = (
    # STEP_REST
    ((_C._locked, STEP_LOCKED), (_C._trip_latched, STEP_FAULT), (_C._may_close, STEP_NEG)),
    # STEP_NEG: timeout _contact_late
    (TRIPPED, _ABANDONED, (_C._bus_rose, STEP_RELEASE), (_C._neg_proven, STEP_PRE), (_C._contact_late, STEP_RELEASE)),
    # STEP_PRE: timeout is the verdict TOO_SLOW
    (TRIPPED, _ABANDONED, (_C._precharged, STEP_POS), (_C._precharge_failed, STEP_COOL)),
    # STEP_POS: timeout _contact_late
    (TRIPPED, _ABANDONED, (_C._pos_proven, STEP_CLOSED), (_C._contact_late, STEP_RELEASE)),
    # STEP_CLOSED: the working state, lasts until a trip or a command
    (TRIPPED, (_C._unwanted, STEP_UNLOAD)),
    # STEP_UNLOAD: timeout _waited_enough
    (TRIPPED, (_C._current_low, STEP_RELEASE), (_C._waited_enough, STEP_RELEASE)),
    # STEP_RELEASE: timeout _contact_late; _watch_contacts reports a contact that stays closed
    ((_C._tripped_off, STEP_FAULT), (_C._contacts_open, STEP_REST), (_C._contact_late, STEP_REST)),
    # STEP_COOL
    ((_C._trip_latched, STEP_FAULT), (_C._unwanted, STEP_REST), (_C._cooled, STEP_REST)),
    # STEP_FAULT: lasts until every latched trip has been reset
    ((_C._locked, STEP_LOCKED), (_C._not_latched, STEP_REST)),
    # STEP_LOCKED: lasts until unlocked
    ((_C._unlocked, STEP_FAULT),),
)
