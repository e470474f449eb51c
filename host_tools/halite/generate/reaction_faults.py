"""Data of `reaction_times`: the faults whose reaction times are measured, and the times that the board's work takes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from halite.bench.figures import BARS
from halite.common.paths import use_firmware
from halite.hosts.controller_rig import CLEAN_mV, Rig

use_firmware()

from rack.definitions.codes import IN_AUX_POS, IN_ESTOP, IN_HVIL, IN_OC_OK  # noqa: E402 - only after use_firmware
from rack.generated import ids as I  # noqa: E402
from rack.generated import overload as O  # noqa: E402

SCAN_ms = round(BARS["scan_10ms_us_max"].limit / 1000)
COLLECT_ms = round(BARS["gc_collect_ms"].limit)
# the longest slice that may run when a scan is due; the scan waits for its end
SLICE_ms = round(max(BARS[name].limit for name in ("scan_wait_us_max", "answer_slice_us_max")) / 1000)
TAKE_OVER_ms = round(BARS["afe_longest_slice_us"].limit / 1000)
HARDWARE_us = round(BARS["interlock_drop_us"].limit)    # from a pin of the interlock to the coils' supply
CONVERSION_us = 540     # INA228 as configured: it converts shunt and bus in turn
# A level counts when it fills a whole conversion. The rest of the running conversion, one of the bus, one of the shunt:
ALERT_us = HARDWARE_us + 3 * CONVERSION_us
CURRENT_ms = 2          # the same three conversions, before the scan that reads the current
RELEASE_ms = 12         # TE EVC500, Gigavac HX21: release at most 12 ms
PERIOD_ms = 10
LATE_ms = SCAN_ms + COLLECT_ms - PERIOD_ms
CELLS_ms = 20           # from the request to 26 devices until the cells are judged: test_afe_ring
TEMPS_ms = 22
STATUS_ms = 20          # period of the PCS status; the task that reads it runs each 10 ms
SLOW_ms = 100           # period of the task that reads the gas sensor
# Times of the causes: just after a sample or a status, or after the cells or temperatures of the AFE have arrived, so
# that the cause just misses them. Each time is there twice: without and with a scan before it.
_SAMPLE_ms, _CELLS_READ_ms, _TEMPS_READ_ms = ((ms + 1, SCAN_ms + ms + 1) for ms in
                                              (0, CELLS_ms - TAKE_OVER_ms, TEMPS_ms - TAKE_OVER_ms))
CHECK_ms = 10_000       # period of the AFE's wire check; the controller reads each word of the config again within it
COUNT_ms = 330          # half a window of 200 ms without enough frames, a whole one, and the task that reads them
ECHO_ms = 2_000         # level of echo_trip
_ECHO_ms = 200          # its level in the simulation
FROZEN_ms = 500         # five scans of 100 ms: [afe] still_scans and period_ms
RUNAWAY_ms = 4_000      # 3 s of rise in steps of half a second; the first and the last step are incomplete


@dataclass
class World:
    """The physical state of the rack, before any sensor. A fault changes it."""

    rig: Rig
    current_dA: int = 0
    in_bits: int = 0
    slow: dict[int, int] = field(default_factory=lambda: {I.GAS_mV: CLEAN_mV})     # read by the slow task
    late_ms: int = 0
    waits: bool = False
    cell: int | None = None
    heat_ddegC: int = 0
    one_ddegC: int = 0      # heat at one sensor
    broken: int = 0         # number of broken sensors
    silent: str = ""


@dataclass(frozen=True)
class Fault:
    """A row of the page: the fault, its alarm, the bar in ms, and the time of foxBMS 2 for comparison.

    hardware_us: time to the open command without the scan. With 0 only the scan opens.
    after_ms: times of the cause after the start of an AFE period or a status; (): only the phase of the scan counts.
    played: set and clear value for the simulation, which has no debounce; `measure` adds it. None: the config's row.
    wait_ms: time until the firmware checks the cause; `measure` adds it.
    """

    text: str
    key: str
    cause: Callable[[World], None]
    bar_ms: int | None = None
    foxbms: str = ""
    hardware_us: int = 0
    after_ms: tuple[int, ...] = ()
    start_ddegC: int = 250
    played: tuple[int, int] | None = None
    wait_ms: int = 0

    @property
    def on_afe(self) -> bool:
        """True if the cause has a phase against the AFE's period; collections then follow the collector's rules."""
        return bool(self.after_ms) and self.key not in ("pcs_lost", "echo_trip")


def _set(**changes: object) -> Callable[[World], None]:
    def cause(world: World) -> None:
        for name, value in changes.items():
            setattr(world, name, value)

    return cause


def _signal(signal: int, change: int) -> Callable[[World], None]:
    """Change a signal of the process image."""

    def cause(world: World) -> None:
        world.rig.s[signal] += change

    return cause


def _deliver(world: World) -> None:
    """Let the PCS deliver 66 kW that the rack has not requested."""
    world.current_dA = 500
    world.rig.s[I.PCS_POWER_W] = 66_000


def _spent(world: World) -> None:
    """Use up the whole budget of an overload, and more than a scan without current restores."""
    used = world.rig.c.overcurrent.charge
    used[O.USED_A2s] = 2 * used[O.BUDGET_A2s]


def _open(bit: int) -> Callable[[World], None]:
    def cause(world: World) -> None:
        world.in_bits &= ~bit

    return cause


FAULTS = (
    Fault("interlock (HVIL) opens", "hvil", _open(IN_HVIL), 10, "–", HARDWARE_us),
    Fault("emergency stop", "estop", _open(IN_ESTOP), 10, "–", HARDWARE_us),
    Fault("over-current alert, or its wire broken", "oc_alert", _open(IN_OC_OK), 10, "–", HARDWARE_us),
    Fault("over-current, discharge", "discharge_current_trip", _set(current_dA=3900), 20, "200", ALERT_us),
    Fault("over-current, charge", "charge_current_trip", _set(current_dA=-3900), 20, "200", ALERT_us),
    Fault("cell over-voltage", "cell_high_trip", _set(cell=3700), 150, "700", after_ms=_SAMPLE_ms),
    Fault("cell under-voltage", "cell_low_trip", _set(cell=2400), 150, "700", after_ms=_SAMPLE_ms),
    Fault("over-temperature", "hot_trip", _set(heat_ddegC=15), 500, "6 000", after_ms=_SAMPLE_ms, start_ddegC=590),
    Fault("under-temperature", "cold_trip", _set(heat_ddegC=-15), 500, "6 000", after_ms=_SAMPLE_ms, start_ddegC=-190),
    Fault("cell voltages not read (AFE)", "cells_lost", _set(silent="cells"), 200, "150", after_ms=_CELLS_READ_ms),
    Fault("temperatures not read (AFE)", "temps_lost", _set(silent="temps"), None, "150", after_ms=_TEMPS_READ_ms),
    Fault("current sensor silent", "current_lost", _set(silent="current"), 100, "1 200"),
    Fault("PCS silent", "pcs_lost", _set(silent="pcs"), 300, "1 200", after_ms=_SAMPLE_ms),
    Fault("open cell wire", "wire_trip", _set(cell=-1), None, "", after_ms=_SAMPLE_ms),
    Fault("gas", "gas_trip", _set(slow={I.GAS_mV: 2500}), None, ""),
    Fault("task too late", "late_trip", _set(waits=True), None, ""),
    Fault("overload (I²t), budget used up", "charge_i2t_trip", _spent, wait_ms=CURRENT_ms),
    Fault("charging too hot", "charge_hot_trip", _set(heat_ddegC=15, current_dA=-500), after_ms=_SAMPLE_ms,
          start_ddegC=590),
    Fault("charging too cold", "charge_cold_trip", _set(heat_ddegC=-15, current_dA=-500), after_ms=_SAMPLE_ms,
          start_ddegC=10),
    Fault("cells too far apart", "spread_trip", _set(cell=3400), after_ms=_SAMPLE_ms, played=(100, 50)),
    Fault("temperatures too far apart", "temp_spread_trip", _set(one_ddegC=80), after_ms=_SAMPLE_ms, played=(50, 20)),
    Fault("cell sum contradicts rack voltage", "sum_trip", _signal(I.RACK_dV, -500), played=(408, 200)),
    Fault("too many temperature sensors lost", "sensor_trip", _set(broken=12), after_ms=_SAMPLE_ms, played=(10, 6)),
    Fault("module without a temperature sensor", "module_blind_trip", _set(broken=8), after_ms=_SAMPLE_ms,
          played=(1, 0)),
    Fault("thermal runaway, rise and witness", "runaway_trip", _signal(I.RUNAWAY, 2),
          wait_ms=RUNAWAY_ms + 100 + TEMPS_ms),
    Fault("controller too hot", "board_trip", _set(slow={I.GAS_mV: CLEAN_mV, I.BOARD_ddegC: 900}), played=(850, 750)),
    Fault("insulation fault, from the message of the EMS", "insulation_trip", _signal(I.INSULATION_KOHM, -999_900),
          played=(150, 300)),
    Fault("main contact falls open", "stuck", _open(IN_AUX_POS)),
    Fault("open cell wire, the AFE's own check", "wire_check_trip", _set(slow={I.WIRE_CHECK: 7}), wait_ms=CHECK_ms),
    Fault("current sensor contradicts the power of the PCS", "power_trip", _set(current_dA=500), 5_300,
          played=(1_000, 500), wait_ms=CURRENT_ms),
    Fault("PCS delivers more than requested", "delivery_trip", _deliver, 2_200, played=(1_000, 500), wait_ms=STATUS_ms),
    Fault("PCS does not accept requests", "echo_trip", _set(silent="echo"), 2_200, after_ms=_SAMPLE_ms,
          played=(_ECHO_ms, _ECHO_ms // 2), wait_ms=ECHO_ms - _ECHO_ms),
    Fault("DC bus contradicts the rack voltage (fuse, contact)", "bus_trip", _signal(I.BUS_dV, -600), 1_200,
          played=(30, 20), wait_ms=STATUS_ms),
    Fault("CAN flooded, or a second PCS", "refused_trip", _signal(I.PCS_REFUSED, 10), played=(5, 1), wait_ms=COUNT_ms),
    Fault("a second node sends power requests", "foreign_trip", _signal(I.FOREIGN_REQUESTS, 10), wait_ms=COUNT_ms),
    Fault("AFE device reports a fault of its own", "afe_trip", _set(slow={I.AFE_FAULT: 1}), played=(1, 0)),
    Fault("AFE registers stand still while the current moves", "afe_frozen_trip", _signal(I.AFE_FROZEN, 1),
          wait_ms=FROZEN_ms + 100 + CELLS_ms),
    Fault("config damaged in memory", "config_bad", _signal(I.CONFIG_BAD, 1), wait_ms=CHECK_ms),
)

# The other trips, and the reasons why they have no row.
NO_ROW = {
    "deep_discharge": "`cell_low_trip` opens much earlier, at a higher voltage; `deep_discharge` then adds its latch",
    "current_bad": "a reading beyond the sensor's range raises an over-current trip first",
    "discharge_i2t_trip": "the same as `charge_i2t_trip`",
    "step_trip": "it counts steps of the power, which the grid decides; only with `[pcs] reports_power = false`",
    "welded": "the controller finds it after the open command",
    "precharge_fast_trip": "the controller finds it while it closes; the failed precharge has switched the coils off",
    "precharge_slow_trip": "the same as `precharge_fast_trip`",
    "insulation_old_trip": "with `[insulation] monitor`, in the scan in which the report is `age_ms` + `open_ms` old",
    "wire_check_old_trip": "in the scan in which the last check is as old as its level, 120 s",
    "time_trip": "the first scan after the gap raises it; the dead-man has opened at the end of its window",
}
