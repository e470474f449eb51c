"""The contactor sequence: when the rack may be connected, how, and how it comes off.

Defends against closing onto a short or a charged bus, a burnt precharge resistor, breaking
load current without need, and welded or stuck contacts that nobody noticed. The machine is the
table at the end: every step has its exits in order, and every step but the resting ones a timeout.

Positive contactor last on and, with the negative one, off at once. Scan context, no allocation.
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
    WHY_LOCKED,
    WHY_NO_RACK,
    WHY_NOT_ASKED,
    WHY_SETTLING,
)
from rack.base.viper import ptr32

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

_STATES = (
    STATE_OPEN, STATE_PRECHARGE, STATE_PRECHARGE, STATE_PRECHARGE, STATE_CLOSED,
    STATE_OPENING, STATE_OPENING, STATE_OPEN, STATE_FAULT, STATE_LOCKED_OUT,
)  # fmt: skip
_COILS = (0, COIL_NEG, COIL_NEG | COIL_PRE, COIL_NEG | COIL_PRE | COIL_POS, COIL_NEG | COIL_POS,
          COIL_NEG | COIL_POS, 0, 0, 0, 0)  # fmt: skip

# precharge_verdict
WAIT = const(0)
DONE = const(1)
TOO_FAST = const(2)
TOO_SLOW = const(3)

_WELD_BUS = const(4)        # contactor_welded: the bus rose with main - alone; 1 and 2 are the auxiliary contacts
_RACK_LEAST_dV = const(100) # below it no rack is there to precharge from: engineering judgement
_MS_MOST = const(1 << 28)
_ALL_QUARTERS = const(4)    # of the resistor's budget


def precharge_verdict(elapsed_ms, bus_dV, rack_dV, done_permille, early_ms, late_ms):
    """Judge a running precharge against its RC window.

    elapsed_ms: since the precharge coil closed; bus_dV, rack_dV: 0.1 V, up to 20 000
    Returns WAIT, DONE, TOO_FAST (load disconnected or feedback shorted) or TOO_SLOW (leak or short).
    """
    if bus_dV * 1000 >= rack_dV * done_permille:
        return TOO_FAST if elapsed_ms < early_ms else DONE
    return TOO_SLOW if elapsed_ms >= late_ms else WAIT


@micropython.viper
def _watch_contacts(s: ptr32, ms: ptr32, dt: int, aux_ms: int, welded: int):
    """Time of the step. A contact that contradicts its coil for too long is stuck (1: -, 2: +), welded (4: by the bus).

    ms: how long the auxiliary contacts - and + have contradicted their coils; welded: seen on the bus.
    """
    if s[I.STEP_ms] < _MS_MOST:
        s[I.STEP_ms] += dt
    coils = s[I.COILS]
    bits = s[I.IN_bits]
    stuck = 0
    neg = 1 if coils & COIL_NEG else 0
    if neg == (1 if bits & IN_AUX_NEG else 0):
        ms[0] = 0
    elif ms[0] < aux_ms:
        ms[0] += dt
    elif neg == 1:
        stuck |= 1
    else:
        welded |= 1
    pos = 1 if coils & COIL_POS else 0
    if pos == (1 if bits & IN_AUX_POS else 0):
        ms[1] = 0
    elif ms[1] < aux_ms:
        ms[1] += dt
    elif pos == 1:
        stuck |= 2
    else:
        welded |= 2
    s[I.CONTACTOR_STUCK] = stuck
    s[I.CONTACTOR_WELDED] = welded


class Contactors:
    """`scan` after the alarms; writes state, step, step_ms, coils, trips and the contactor faults."""

    def __init__(self, params, s, alarms):
        self._p = params
        self._s = s
        self._alarms = alarms
        self.wanted = params.rack_auto_close == 1
        self._again = False     # a trip has opened what was wanted closed
        self._verdict = WAIT
        self._aux_ms = array("i", [0, 0])   # how long the auxiliary contacts have contradicted their coils
        self._bus_weld = 0
        self._fails = 0         # failed precharges since a good one
        self._mJ = 0            # energy in the precharge resistor
        self._mJ_most = params.precharge_energy_J * 1000
        self._cool_ms = params.precharge_cooldown_ms    # in which it loses _mJ_most
        self._cool_rest = 0     # remainder of what it has lost, in 1/_cool_ms mJ
        self._across_V = 0      # voltage across it at the scan before
        self._contact_ms = params.contactor_aux_ms
        self._forgive_ms = 0
        self._forgive_s = 0

    def resting(self):
        """True while no coil is on and none is about to be."""
        step = self._s[I.STEP]
        return step == STEP_REST or step >= STEP_COOL

    def scan(self, dt):
        """One step of at most one transition; dt: ms since the last scan."""
        s = self._s
        step = s[I.STEP]
        _watch_contacts(s, self._aux_ms, dt, self._contact_ms, self._bus_weld)
        if self._mJ or step == STEP_PRE:
            self._watch_resistor(dt)
        if s[I.TRIPS]:
            self._forgive(dt)
        for guard, following in _TABLE[step]:
            if guard(self):
                self._enter(step, following)
                break
        step = s[I.STEP]
        s[I.COILS] = _COILS[step]
        s[I.STATE] = _STATES[step]

    def open(self):
        """An operator's opening: it stays open, whatever trips and is reset meanwhile."""
        self.wanted = self._again = False

    def opened(self):
        """1 while automatic closing waits for the operator who has opened it."""
        return 1 if self._p.rack_auto_close and not (self.wanted or self._again) else 0

    def reset(self):
        """The operator has acknowledged: forget the failed precharges and a weld seen on the bus.

        With auto_close it closes again, unless an operator had opened it.
        """
        self._fails = 0
        self._bus_weld = 0
        s = self._s
        s[I.PRECHARGE_FAST] = s[I.PRECHARGE_SLOW] = 0
        s[I.CONTACTOR_WELDED] &= 3
        if self._again:
            self.wanted = self._p.rack_auto_close == 1
        self._again = False

    def unlock(self):
        """Leave the lock-out with a clean count."""
        self._s[I.TRIPS] = 0
        self._forgive_ms = self._forgive_s = 0

    def kept_heat(self):
        """What the resistor holds, for `restore_heat`: quarters of its budget, rounded up, 0..8.

        The whole budget from main - on until precharging is over: a restart in between cannot tell how far it went.
        """
        if STEP_NEG <= self._s[I.STEP] <= STEP_POS:
            return _ALL_QUARTERS
        return -(-self._mJ // (self._mJ_most // _ALL_QUARTERS))

    def restore_heat(self, quarters):
        """After a start: how long the power was off is not known, so nothing has cooled."""
        self._mJ = self._mJ_most // _ALL_QUARTERS * min(quarters, 2 * _ALL_QUARTERS)

    def blocked(self):
        """Why the rack does not close now, WHY_*, or 0. Only meaningful at rest."""
        s = self._s
        if s[I.TRIPS] >= self._p.contactor_trips:
            return WHY_LOCKED
        if s[I.ACTIONS] & ACT_OPEN:
            return WHY_ALARM
        if not self.wanted:
            return WHY_NOT_ASKED
        if s[I.STEP_ms] < self._p.contactor_settle_ms:
            return WHY_SETTLING
        if self._mJ > self._mJ_most // 2:       # not _mJ * 2: that may be four budgets, beyond 31 bits
            return WHY_COOLING
        if s[I.RACK_dV] < _RACK_LEAST_dV:
            return WHY_NO_RACK
        if self._bus_above(self._p.contactor_bus_permille):
            return WHY_BUS
        return 0

    # what runs in every step

    def _watch_resistor(self, dt):
        """Energy in the precharge resistor: in by (rack - bus)^2 / R, the bus straight between two scans, out within
        the cool-down time."""
        s = self._s
        if s[I.STEP] == STEP_PRE:
            before, now = self._across_V, self._across()
            self._across_V = now
            square = (before * before + before * now + now * now) // 3
            self._mJ = min(self._mJ + square // self._p.precharge_ohm * min(dt, 100), 2 * self._mJ_most)
        elif self._mJ:
            self._cool(min(dt, self._cool_ms, 1000))
        s[I.PRECHARGE_J] = self._mJ // 1000

    def _cool(self, dt):
        """It loses _mJ_most in _cool_ms. dt: ms, up to 1000 and _cool_ms, so that both products stay within 31 bits."""
        rest = self._mJ_most % self._cool_ms * dt + self._cool_rest
        self._cool_rest = rest % self._cool_ms
        self._mJ = max(0, self._mJ - self._mJ_most // self._cool_ms * dt - rest // self._cool_ms)

    def _forgive(self, dt):
        """One counted trip is forgiven after each contactor_trips_s without a lock-out."""
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

    def _bus_above(self, permille):
        s = self._s
        return s[I.BUS_dV] * 1000 > s[I.RACK_dV] * permille

    def _across(self):
        """Volts across the precharge resistor while it carries the current."""
        return (self._s[I.RACK_dV] - self._s[I.BUS_dV]) // 10

    def _enter(self, before, step):
        s = self._s
        s[I.STEP] = step
        s[I.STEP_ms] = 0
        if step == STEP_RELEASE and s[I.ACTIONS] & ACT_OPEN:
            if s[I.TRIPS] < self._p.contactor_trips:
                s[I.TRIPS] += 1
        elif step >= STEP_FAULT:
            self._again |= self.wanted
            self.wanted = False     # a reset or an operator asks again
        elif step == STEP_PRE:
            self._across_V = self._across()
        elif step == STEP_COOL:
            self._fails += 1
            s[I.PRECHARGE_FAST] = self._fails if self._verdict == TOO_FAST else 0
            s[I.PRECHARGE_SLOW] = self._fails if self._verdict == TOO_SLOW else 0
        elif step == STEP_CLOSED:
            self._fails = 0
            s[I.PRECHARGE_FAST] = s[I.PRECHARGE_SLOW] = 0

    # guards: True takes the exit

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
        if self._bus_above(self._p.contactor_bus_permille):
            self._bus_weld = _WELD_BUS
            self._s[I.CONTACTOR_WELDED] |= _WELD_BUS
            return True
        return False

    def _neg_proven(self):
        return self._s[I.STEP_ms] >= self._p.contactor_aux_ms and self._s[I.IN_bits] & IN_AUX_NEG != 0

    def _pos_proven(self):
        return self._s[I.IN_bits] & IN_AUX_POS != 0

    def _contact_late(self):
        """After twice the time that a contact may take, and 100 ms: engineering judgement."""
        return self._s[I.STEP_ms] >= 2 * self._p.contactor_aux_ms + 100

    def _precharged(self):
        s = self._s
        p = self._p
        self._verdict = precharge_verdict(
            s[I.STEP_ms], s[I.BUS_dV], s[I.RACK_dV],
            p.precharge_done_permille, p.precharge_early_ms, p.precharge_late_ms,
        )
        if self._verdict == WAIT and self._mJ > self._mJ_most:
            self._verdict = TOO_SLOW
        return self._verdict == DONE

    def _precharge_failed(self):
        return self._verdict >= TOO_FAST

    def _current_low(self):
        return abs(self._s[I.CURRENT_dA]) <= self._p.contactor_low_dA

    def _waited_enough(self):
        return self._s[I.STEP_ms] >= self._p.contactor_open_ms

    def _contacts_open(self):
        return self._s[I.IN_bits] & (IN_AUX_POS | IN_AUX_NEG) == 0

    def _cooled(self):
        return self._s[I.STEP_ms] >= self._p.precharge_cooldown_ms


_C = Contactors
_TRIPPED = (_C._open_demanded, STEP_RELEASE)
_ABANDONED = (_C._unwanted, STEP_RELEASE)

# Exits of each step in order of precedence: (guard, next step).
_TABLE = (
    # STEP_REST
    ((_C._locked, STEP_LOCKED), (_C._trip_latched, STEP_FAULT), (_C._may_close, STEP_NEG)),
    # STEP_NEG: timeout _contact_late
    (_TRIPPED, _ABANDONED, (_C._bus_rose, STEP_RELEASE), (_C._neg_proven, STEP_PRE), (_C._contact_late, STEP_RELEASE)),
    # STEP_PRE: timeout is the verdict TOO_SLOW
    (_TRIPPED, _ABANDONED, (_C._precharged, STEP_POS), (_C._precharge_failed, STEP_COOL)),
    # STEP_POS: timeout _contact_late
    (_TRIPPED, _ABANDONED, (_C._pos_proven, STEP_CLOSED), (_C._contact_late, STEP_RELEASE)),
    # STEP_CLOSED: the working state, rests until it is told
    (_TRIPPED, (_C._unwanted, STEP_UNLOAD)),
    # STEP_UNLOAD: timeout _waited_enough
    (_TRIPPED, (_C._current_low, STEP_RELEASE), (_C._waited_enough, STEP_RELEASE)),
    # STEP_RELEASE: timeout _contact_late; a contact that stays is named by _watch_contacts
    ((_C._tripped_off, STEP_FAULT), (_C._contacts_open, STEP_REST), (_C._contact_late, STEP_REST)),
    # STEP_COOL
    ((_C._trip_latched, STEP_FAULT), (_C._unwanted, STEP_REST), (_C._cooled, STEP_REST)),
    # STEP_FAULT: rests until every latched trip has been reset
    ((_C._locked, STEP_LOCKED), (_C._not_latched, STEP_REST)),
    # STEP_LOCKED: rests until unlocked
    ((_C._unlocked, STEP_FAULT),),
)
