"""Rule R1 where a rack works: it closes, responds, is tested, trips, rests and learns, on integers that raise."""

from array import array

import pytest
from halite.hosts.controller_rig import params
from rack.control.protect.reasons import Reasons
from rack.control.response.grid_services import STEP_ACTIVE, STEP_READY, STEP_SPENT
from rack.control.response.recorder import FIELDS, Recorder
from rack.control.response.response import PERIOD_TICK_NS
from rack.control.response.response_test import DONE, RAMP, RUNNING, STEP, STOPPED
from rack.control.sense.message_ages import arrived
from rack.definitions.alarms import code_of
from rack.definitions.codes import (
    BY_KEY,
    CMD_CLOSE,
    CMD_OPEN,
    CMD_RESET,
    CMD_UNLOCK,
    IN_HVIL,
    RUN_SUSPECT,
    STATE_CLOSED,
    STATE_LOCKED_OUT,
)
from rack.generated import alarm_levels as L
from rack.generated import grid_services_state as G
from rack.generated import ids as I
from rack.generated import response_state as K
from support.checked_int import Checked, CheckedArray, checked
from support.checked_rig import CheckedRig, Entered, functions

pytestmark = pytest.mark.usefixtures("checked_arrays")

_SETTINGS = {
    "contactor_settle_ms": 100, "contactor_trips": 2, "contactor_trips_s": 60, "precharge_cooldown_ms": 500,
    "soc_rest_s": 1, "soc_slope_uV": 1, "cooling_run_ms": 0,
    "response_test_enabled": 1, "response_step_permille": 300, "response_step_below_mHz": 500,
    "response_step_hold_ms": 500, "response_step_release_permille_ps": 1_000, "response_step_rearm_ms": 500,
    "response_step_rearm_mHz": 100, "response_duration_s": 60, "response_inertia_permille_per_Hzps": 100,
    "response_recovery_permille": 100, "response_recovery_delay_s": 1, "response_priority": 0,
    "pair_role": 1, "pair_bias_W": 100_000, "grid_phases": 3,
    "rack_power_max_W": 2_000_000, "pair_power_W": 2_000_000,      # the most that params.py allows
}  # fmt: skip

# Functions that the scan and the interrupt do not run, by reason.
_NOT_IN_THE_SCAN = {
    "start": (
        "__init__", "overcurrent.overload", "frequency.", "limits.Limits.start", "mains.set_up", "services.make",
        "services.contracted_W", "response.Response._make_test", "response.Response._kernel_of",
        "response.Response._set_parameters",
    ),
    "for people, may allocate": ("reasons._begin", "reasons.piece", "reasons.text", "recorder.Recorder.lines",
                                 "recorder.Recorder.__len__"),
    "for a port or a test": (
        "response.Response.arrays", "recorder.Recorder.arrays", "response.Response.response_W",
    ),
}  # fmt: skip


class Work(CheckedRig):
    """A rack with mains, PCS, recorder and reasons."""

    def __init__(self, **changed: int) -> None:
        levels = array("i", params("bench").alarms_levels)
        for key, level_dA in (("charge_current_derate", -800_000), ("discharge_current_derate", 800_000)):
            levels[L.WIDTH * (code_of(key) - 1) + L.SET] = level_dA  # 2 MW at the voltage of a bench rack
        super().__init__("bench", 2**30 - 5_000, alarms_levels=levels, **{**_SETTINGS, **changed})
        self.recorder = Recorder(self.c.params, self.c.response, self.s)
        self.reasons = Reasons(self.c, array("i", [0] * 20))
        self.mHz = 50_000
        self.phases = self.params.grid_phases

    def work(self, ms: int, dt: int = 100) -> None:
        """A period of each phase each 20 ms while mains is present; a scan each dt."""
        for _ in range(ms // dt):
            for _ in range(dt // 20 if self.mHz else 0):
                for phase in range(self.phases):
                    self.s[I.PCS_POWER_W] = self.c.response.on_period(
                        checked(1_000_000_000_000 // self.mHz // PERIOD_TICK_NS), checked(phase)
                    )
                    self.recorder.on_period()
            self.scan(dt)
            self.recorder.scan()
            self.reasons.list()
            # the queries of the application
            assert (self.c.now_ms, self.c.response.request_W) == (self.now_ms, self.c.response.state[K.REQUEST])
            assert self.c.response.doubtful in (True, False)

    def closed_again(self) -> None:
        for _ in range(300):
            self.c.command(CMD_RESET)
            self.c.command(CMD_CLOSE)
            self.work(100, 20)
            if self.s[I.STATE] == STATE_CLOSED:
                return
        raise AssertionError(self.s[I.STEP])

    def cells(self, mV: int) -> None:
        for at in range(len(self.c.cells_mV)):
            self.c.cells_mV[at] = mV
        self.work(200)

    def temperatures(self, ddegC: int) -> None:
        temps = self.c.temps_ddegC
        while temps[0] != ddegC:
            for at in range(len(temps)):
                temps[at] += max(-90, min(90, ddegC - temps[at]))
            self.work(100)


def responds(rig: Work) -> None:
    """A commissioning test of each kind, one stopped; then the step service on a real event, and a pair that drifts."""
    test = rig.c.response.test
    for kind, value, most_ms in ((STEP, -1_000, 12_000), (RAMP, 4_000, 13_000)):
        assert test.start(checked(kind), checked(value)) == 0
        rig.work(most_ms)
        assert test.result == DONE and test.error_permille
        rig.work(3_000)
    assert test.start(checked(STEP), checked(-300)) == 0
    rig.work(300)
    assert test.result == RUNNING
    test.stop()
    assert test.result == STOPPED
    rig.s[I.PAIR_LOW_cpct], rig.s[I.PAIR_HIGH_cpct] = 9_000, 1_000
    rig.s[I.SETPOINT_W] = 2_000_000
    services, seen = rig.c.response.services, set()
    for mHz in (49_000, 50_000, 50_500, 50_000):
        rig.mHz = mHz
        for _ in range(30):
            arrived(rig.s, I.PAIR_AGE_ms)
            rig.work(100)
            seen.add(services[G.STEP_STATE])
    assert {STEP_READY, STEP_ACTIVE, STEP_SPENT} <= seen
    assert rig.c.response.arrays[0][K.PAIR_BIAS] > 0
    rig.s[I.PAIR_OUT] = rig.s[I.SETPOINT_W] = 0
    rig.mHz = 0
    rig.work(1_000)
    rig.mHz = 50_000
    rig.work(1_000)


def carries(rig: Work) -> None:
    """Currents in both directions, up to an overload; two rests far apart teach the capacity. No mains from here on."""
    rig.mHz = 0
    rig.cells(3_200)
    rig.work(3_000)
    soh = rig.c.retained[5]
    for current in (290, -290):
        rig.closed_again()
        rig.s[I.CURRENT_dA] = current
        rig.work(15_000)
    assert rig.s[I.I2T_CHARGE_PERMILLE] > 0
    rig.s[I.CURRENT_dA] = 0
    rig.cells(3_400)
    rig.work(5_000)
    assert rig.c.retained[5] != soh, "nothing learned"
    rig.s[I.CURRENT_AGE_ms] = 60
    rig.silent.add("current")
    rig.work(60, 20)
    rig.silent.clear()
    rig.c.soc.metered(checked(3_000), True)


def trips(rig: Work) -> None:
    """Each way out of each step of the contactors, up to the lock-out."""
    rig.closed_again()
    rig.s[I.CURRENT_dA] = 100
    assert rig.c.command(CMD_OPEN) == 0
    rig.work(1_500)
    rig.s[I.CURRENT_dA] = 0
    for bus, tau in ((False, 50), (True, 1), (True, 10_000)):      # a bus that stays empty, one too fast, one too slow
        rig.bus, rig.params.precharge_tau_ms = bus, tau
        rig.c.command(CMD_CLOSE)
        rig.work(4_000, 20)
    rig.bus, rig.params.precharge_tau_ms = True, 50
    rig.closed_again()
    for _ in range(2):
        rig.in_bits &= ~IN_HVIL
        rig.work(600)
        rig.in_bits |= IN_HVIL
        rig.work(1_000)
        if rig.s[I.STATE] != STATE_LOCKED_OUT:
            rig.closed_again()
    assert rig.s[I.STATE] == STATE_LOCKED_OUT
    assert rig.c.command(CMD_UNLOCK, BY_KEY) == 0
    rig.work(100)
    rig.closed_again()
    rig.in_bits &= ~IN_HVIL
    rig.work(600)
    rig.in_bits |= IN_HVIL
    rig.work(61_000)                # a trip is forgiven
    rig.closed_again()


def cools_and_heats(rig: Work) -> None:
    for ddegC in (420, -50, 250):
        rig.temperatures(ddegC)
        rig.work(6_000)
        rig.s[I.COOLANT_ddegC] = 500 if rig.s[I.HEATER] else 200
        rig.work(1_000)


def burns(rig: Work) -> None:
    rig.s[I.GAS_mV] = rig.params.runaway_gas_mV
    for _ in range(40):
        rig.c.temps_ddegC[0] += 7
        rig.c.temps_ddegC[1] += 3
        rig.work(100)
    assert rig.s[I.RUNAWAY] >= RUN_SUSPECT
    rig.s[I.GAS_mV] = 0


def remembers(rig: Work) -> None:
    row = CheckedArray("i", [0] * len(FIELDS))
    rig.recorder.freeze()
    assert rig.recorder.frozen and rig.recorder.cause
    for index in range(10):
        rig.recorder.entry(checked(index), row)
    rig.recorder.rearm()
    again = Work()
    again.c.restore(rig.c.retained)
    again.work(200)


def in_the_scan(name: str) -> bool:
    return not any(what in name for group in _NOT_IN_THE_SCAN.values() for what in group)


def test_a_rack_at_work_stays_within_31_bits() -> None:
    """A rack at work stays within 31 bits and enters every function of the scan."""
    with Entered() as entered:
        rig = Work()
        rig.closed_again()
        for part in (responds, carries, trips, cools_and_heats, burns, remembers):
            rig.temperatures(250)
            part(rig)
        silent = Work(pcs_reports_power=0)
        silent.closed_again()
        carries(silent)
    assert all(isinstance(value, Checked) for value in (*rig.s, *silent.s))
    assert not {name for name in functions() if name not in entered.names and in_the_scan(name)}


def test_every_exception_is_the_name_of_a_function() -> None:
    names = functions()
    for group in _NOT_IN_THE_SCAN.values():
        for what in group:
            assert any(what in name for name in names), what
