"""The one list of alarms and trips (rule R8): quantity, direction, level, actions, latching, text.

Every protection of the rack is a row here, and one loop runs over the rows (rack.control.protect.alarm_engine). A
limit at another place would escape review. Values and times for setting and clearing belong to the chemistry and come
from the board config, `[alarms]`: key = [set, clear, set_ms, clear_ms]. An alarm's code is its place in this list
plus one.

Row: (key, signal, direction, level, actions, latched, sunspec_bit, text)

- direction: ABOVE sets at `set` or more and clears at `clear` or less; BELOW the other way round.
- latched: NEVER, ALWAYS, ENERGISED, LOCAL, KEY or REPEAT, see LATCH_* of rack.definitions.codes. ENERGISED latches
  only if the contactors were not at rest when the alarm came: a loss of communication before the first closing needs
  no operator. LOCAL and KEY need a person at the rack; REPEAT is an over-current, onto which the EMS may close once.
- sunspec_bit: bit of Evt1 in SunSpec model 802; 25 (other alarm) or 26 (other warning) for an alarm without its own.
"""

from micropython import const

from rack.definitions.codes import ACT_INFORM as INFORM
from rack.definitions.codes import ACT_LIMIT_CHARGE as CHARGE
from rack.definitions.codes import ACT_LIMIT_DISCHARGE as DISCHARGE
from rack.definitions.codes import ACT_OPEN as OPEN
from rack.definitions.codes import ACT_ZERO as ZERO
from rack.definitions.codes import LATCH_ALWAYS as ALWAYS
from rack.definitions.codes import LATCH_ENERGISED as ENERGISED
from rack.definitions.codes import LATCH_KEY as KEY
from rack.definitions.codes import LATCH_LOCAL as LOCAL
from rack.definitions.codes import LATCH_NEVER as NEVER
from rack.definitions.codes import LATCH_REPEAT as REPEAT
from rack.definitions.codes import LEVEL_DERATE as DERATE
from rack.definitions.codes import LEVEL_TRIP as TRIP
from rack.definitions.codes import LEVEL_WARN as WARN

ABOVE = const(1)
BELOW = const(-1)

BOTH = CHARGE | DISCHARGE

ROWS = (
    # first: an open wire also reads as over- and under-voltage, and the reason should name the wire
    ("wire_trip", "wires_open", ABOVE, TRIP, OPEN, ALWAYS, 25, "open cell wire"),
    # cell voltage
    ("cell_high_warn", "cell_max_mV", ABOVE, WARN, INFORM, NEVER, 10, "cell voltage high"),
    ("cell_high_derate", "cell_max_mV", ABOVE, DERATE, CHARGE, NEVER, 10, "cell voltage high"),
    ("cell_high_trip", "cell_max_mV", ABOVE, TRIP, OPEN, ALWAYS, 9, "cell over-voltage"),
    ("cell_low_warn", "cell_min_mV", BELOW, WARN, INFORM, NEVER, 12, "cell voltage low"),
    ("cell_low_derate", "cell_min_mV", BELOW, DERATE, DISCHARGE, NEVER, 12, "cell voltage low"),
    ("cell_low_trip", "cell_min_mV", BELOW, TRIP, OPEN, ALWAYS, 11, "cell under-voltage"),
    ("deep_discharge", "cell_min_mV", BELOW, TRIP, OPEN, KEY, 11, "deep discharge: have the rack inspected"),
    ("spread_warn", "cell_spread_mV", ABOVE, WARN, INFORM, NEVER, 17, "cell voltages differ"),
    ("spread_derate", "cell_spread_mV", ABOVE, DERATE, BOTH, NEVER, 17, "cell voltages differ"),
    ("spread_trip", "cell_spread_mV", ABOVE, TRIP, OPEN, ALWAYS, 17, "cell voltages differ too much"),
    ("sum_warn", "sum_error_dV", ABOVE, WARN, INFORM, NEVER, 26, "cell sum differs from rack voltage"),
    ("sum_trip", "sum_error_dV", ABOVE, TRIP, OPEN, ALWAYS, 25, "cell sum contradicts rack voltage"),
    # current: discharge is positive
    ("charge_current_warn", "current_dA", BELOW, WARN, INFORM, NEVER, 6, "charge current high"),
    ("charge_current_derate", "current_dA", BELOW, DERATE, CHARGE, NEVER, 6, "charge current high"),
    ("charge_current_trip", "current_dA", BELOW, TRIP, OPEN, REPEAT, 5, "charge over-current"),
    ("discharge_current_warn", "current_dA", ABOVE, WARN, INFORM, NEVER, 8, "discharge current high"),
    ("discharge_current_derate", "current_dA", ABOVE, DERATE, DISCHARGE, NEVER, 8, "discharge current high"),
    ("discharge_current_trip", "current_dA", ABOVE, TRIP, OPEN, REPEAT, 7, "discharge over-current"),
    ("charge_i2t_derate", "i2t_charge_permille", ABOVE, DERATE, CHARGE, NEVER, 6, "charge overload"),
    ("charge_i2t_trip", "i2t_charge_permille", ABOVE, TRIP, OPEN, REPEAT, 5, "charge overload too long"),
    ("discharge_i2t_derate", "i2t_discharge_permille", ABOVE, DERATE, DISCHARGE, NEVER, 8, "discharge overload"),
    ("discharge_i2t_trip", "i2t_discharge_permille", ABOVE, TRIP, OPEN, REPEAT, 7, "discharge overload too long"),
    ("oc_alert", "oc_alert", ABOVE, TRIP, OPEN, REPEAT, 7, "over-current, cut in hardware"),
    # temperature: the charge rows judge it only while charging current flows
    ("charge_hot_warn", "charge_temp_max_ddegC", ABOVE, WARN, INFORM, NEVER, 2, "hot for charging"),
    ("charge_hot_derate", "charge_temp_max_ddegC", ABOVE, DERATE, CHARGE, NEVER, 2, "hot for charging"),
    ("charge_hot_trip", "charge_temp_max_ddegC", ABOVE, TRIP, OPEN, ALWAYS, 1, "charged too hot"),
    ("charge_cold_warn", "charge_temp_min_ddegC", BELOW, WARN, INFORM, NEVER, 4, "cold for charging"),
    ("charge_cold_derate", "charge_temp_min_ddegC", BELOW, DERATE, CHARGE, NEVER, 4, "cold for charging"),
    ("charge_cold_trip", "charge_temp_min_ddegC", BELOW, TRIP, OPEN, ALWAYS, 3, "charged too cold"),
    ("hot_warn", "temp_max_ddegC", ABOVE, WARN, INFORM, NEVER, 2, "cells hot"),
    ("hot_derate", "temp_max_ddegC", ABOVE, DERATE, BOTH, NEVER, 2, "cells hot"),
    ("hot_trip", "temp_max_ddegC", ABOVE, TRIP, OPEN, ALWAYS, 1, "cell over-temperature"),
    ("cold_warn", "temp_min_ddegC", BELOW, WARN, INFORM, NEVER, 4, "cells cold"),
    ("cold_derate", "temp_min_ddegC", BELOW, DERATE, BOTH, NEVER, 4, "cells cold"),
    ("cold_trip", "temp_min_ddegC", BELOW, TRIP, OPEN, ALWAYS, 3, "cell under-temperature"),
    ("core_hot_warn", "core_max_ddegC", ABOVE, WARN, INFORM, NEVER, 2, "core estimate hot"),
    ("core_hot_derate", "core_max_ddegC", ABOVE, DERATE, BOTH, NEVER, 2, "core estimate hot"),
    ("temp_spread_warn", "temp_spread_ddegC", ABOVE, WARN, INFORM, NEVER, 19, "temperatures differ"),
    ("temp_spread_derate", "temp_spread_ddegC", ABOVE, DERATE, BOTH, NEVER, 19, "temperatures differ"),
    ("temp_spread_trip", "temp_spread_ddegC", ABOVE, TRIP, OPEN, ALWAYS, 18, "temperatures differ too much"),
    ("rise_warn", "rise_mKps", ABOVE, WARN, INFORM, NEVER, 2, "a sensor rises as in a runaway"),
    ("rise_slow_warn", "rise_slow_mKpmin", ABOVE, WARN, INFORM, NEVER, 2, "a sensor warms faster than its module"),
    ("runaway_derate", "runaway", ABOVE, DERATE, ZERO, NEVER, 2, "thermal runaway suspected by one sensor"),
    ("runaway_trip", "runaway", ABOVE, TRIP, OPEN, ALWAYS, 1, "thermal runaway"),
    # surroundings
    ("gas_warn", "gas_mV", ABOVE, WARN, INFORM, NEVER, 26, "gas detected"),
    ("gas_trip", "gas_mV", ABOVE, TRIP, OPEN, ALWAYS, 25, "gas alarm"),
    ("coolant_warn", "coolant_ddegC", ABOVE, WARN, INFORM, NEVER, 26, "coolant hot"),
    ("coolant_derate", "coolant_ddegC", ABOVE, DERATE, BOTH, NEVER, 26, "coolant hot"),
    ("flow_derate", "coolant_stopped", ABOVE, DERATE, BOTH, NEVER, 26, "no coolant flow"),
    ("board_warn", "board_ddegC", ABOVE, WARN, INFORM, NEVER, 26, "controller hot"),
    ("board_trip", "board_ddegC", ABOVE, TRIP, OPEN, ENERGISED, 25, "controller too hot"),
    ("insulation_warn", "insulation_kohm", BELOW, WARN, INFORM, NEVER, 22, "insulation low"),
    ("insulation_trip", "insulation_kohm", BELOW, TRIP, OPEN, ALWAYS, 22, "insulation fault"),
    # switching
    ("hvil", "hvil_open", ABOVE, TRIP, OPEN, ENERGISED, 25, "interlock loop open"),
    ("estop", "estop_pressed", ABOVE, TRIP, OPEN, LOCAL, 25, "emergency stop"),
    ("stuck", "contactor_stuck", ABOVE, TRIP, OPEN, ALWAYS, 20, "contactor did not close"),
    ("welded", "contactor_welded", ABOVE, TRIP, OPEN, ALWAYS, 20, "contactor did not open"),
    ("precharge_fast_warn", "precharge_fast", ABOVE, WARN, INFORM, NEVER, 20, "precharge too fast"),
    ("precharge_fast_trip", "precharge_fast", ABOVE, TRIP, OPEN, ALWAYS, 20, "precharge too fast, no tries left"),
    ("precharge_slow_warn", "precharge_slow", ABOVE, WARN, INFORM, NEVER, 20, "precharge too slow"),
    ("precharge_slow_trip", "precharge_slow", ABOVE, TRIP, OPEN, ALWAYS, 20, "precharge too slow, no tries left"),
    # communication and sensors
    ("cells_lost", "cells_age_ms", ABOVE, TRIP, OPEN, ENERGISED, 0, "cell voltages not read"),
    ("temps_lost", "temps_age_ms", ABOVE, TRIP, OPEN, ENERGISED, 0, "temperatures not read"),
    ("current_lost", "current_age_ms", ABOVE, TRIP, OPEN, ENERGISED, 0, "current sensor silent"),
    ("current_bad", "current_bad", ABOVE, TRIP, OPEN, ENERGISED, 25, "current beyond the sensor range"),
    ("pcs_lost", "pcs_age_ms", ABOVE, TRIP, OPEN, ENERGISED, 0, "PCS silent"),
    ("ems_lost", "ems_age_ms", ABOVE, DERATE, INFORM, NEVER, 0, "EMS silent"),
    ("grid_lost", "grid_age_ms", ABOVE, WARN, INFORM, NEVER, 26, "no mains signal"),
    ("sensor_warn", "temps_lost", ABOVE, WARN, INFORM, NEVER, 26, "temperature sensor lost"),
    ("sensor_derate", "temps_lost", ABOVE, DERATE, BOTH, NEVER, 26, "temperature sensors lost"),
    ("sensor_trip", "temps_lost", ABOVE, TRIP, OPEN, ALWAYS, 25, "too many temperature sensors lost"),
    # the controller itself
    ("late_warn", "task_late_ms", ABOVE, WARN, INFORM, NEVER, 26, "task late"),
    ("late_trip", "task_late_ms", ABOVE, TRIP, OPEN, ENERGISED, 25, "task too late"),
    ("time_trip", "time_jump_ms", ABOVE, TRIP, OPEN, ENERGISED, 25, "scan interrupted"),
    ("config_bad", "config_bad", ABOVE, TRIP, OPEN, ALWAYS, 28, "config damaged in memory: restart"),
    # added later, at the end: a code keeps its meaning in the logs
    ("link_warn", "link_broken", ABOVE, WARN, INFORM, NEVER, 0, "AFE link broken, read from both ends"),
    ("wire_check_trip", "wire_check", ABOVE, TRIP, OPEN, ALWAYS, 25, "open cell wire, found by the AFE"),
    ("fram_warn", "fram_bad", ABOVE, WARN, INFORM, NEVER, 26, "FRAM data lost or FRAM silent"),
    ("coolant_lost", "coolant_ddegC", BELOW, WARN, INFORM, NEVER, 26, "coolant sensor lost, no heating"),
    ("afe_derate", "afe_fault", ABOVE, DERATE, BOTH, NEVER, 26, "AFE device reports a fault"),
    ("phase_lost", "phases_lost", ABOVE, WARN, INFORM, NEVER, 26, "mains phase lost"),
    ("pcs_warn", "pcs_state", ABOVE, WARN, INFORM, NEVER, 26, "PCS reports a fault or a request timeout"),
    # temperature sensors against their module
    ("module_blind_trip", "modules_blind", ABOVE, TRIP, OPEN, ALWAYS, 25, "module without a temperature sensor"),
    ("drift_warn", "temp_drift_dK", ABOVE, WARN, INFORM, NEVER, 26, "temperature sensor drifts from its module"),
    # cross-checks of a closed rack: current, PCS, DC bus
    ("power_derate", "power_error_permille", ABOVE, DERATE, BOTH, NEVER, 26, "current contradicts the PCS's power"),
    ("power_trip", "power_error_permille", ABOVE, TRIP, OPEN, ALWAYS, 25, "current contradicts the PCS's power"),
    ("delivery_derate", "delivery_permille", ABOVE, DERATE, BOTH, NEVER, 26, "PCS delivers more than requested"),
    ("delivery_trip", "delivery_permille", ABOVE, TRIP, OPEN, ALWAYS, 25, "PCS delivers more than requested"),
    ("echo_derate", "pcs_echo_age_ms", ABOVE, DERATE, BOTH, NEVER, 26, "PCS does not accept requests"),
    ("echo_trip", "pcs_echo_age_ms", ABOVE, TRIP, OPEN, ALWAYS, 25, "PCS does not accept requests"),
    ("bus_trip", "bus_error_permille", ABOVE, TRIP, OPEN, ALWAYS, 25, "DC bus contradicts the rack voltage"),
    ("pcs_fault_warn", "pcs_fault", ABOVE, WARN, INFORM, NEVER, 26, "PCS reports a fault code"),
    ("refused_warn", "pcs_refused", ABOVE, WARN, INFORM, NEVER, 26, "CAN flooded, or a second PCS: status refused"),
    ("refused_trip", "pcs_refused", ABOVE, TRIP, OPEN, ENERGISED, 25, "CAN flooded, or a second PCS: status refused"),
    ("foreign_trip", "foreign_requests", ABOVE, TRIP, OPEN, ENERGISED, 25, "a second node sends our power requests"),
    ("step_derate", "step_errors", ABOVE, DERATE, BOTH, NEVER, 26, "cell voltages contradict the current"),
    ("step_trip", "step_errors", ABOVE, TRIP, OPEN, ALWAYS, 25, "cell voltages contradict the current"),
    # life signs: insulation, gas sensor and AFE
    ("insulation_old_warn", "insulation_old", ABOVE, WARN, INFORM, NEVER, 22, "insulation not reported"),
    ("insulation_old_trip", "insulation_old", ABOVE, TRIP, OPEN, ENERGISED, 22, "insulation unknown for too long"),
    ("gas_lost", "gas_mV", BELOW, WARN, INFORM, NEVER, 26, "gas sensor lost"),
    ("gas_lost_derate", "gas_mV", BELOW, DERATE, BOTH, NEVER, 26, "gas sensor lost for too long"),
    ("afe_trip", "afe_fault", ABOVE, TRIP, OPEN, ALWAYS, 25, "AFE device reports a fault for too long"),
    ("afe_frozen_trip", "afe_frozen", ABOVE, TRIP, OPEN, ALWAYS, 25, "AFE cells stand still under current"),
    ("wire_check_old_warn", "wire_check_age_ms", ABOVE, WARN, INFORM, NEVER, 26, "AFE wire check late"),
    ("wire_check_old_trip", "wire_check_age_ms", ABOVE, TRIP, OPEN, ENERGISED, 25, "AFE wire check missing"),
)


def code_of(key):
    """Code of the alarm with this key, 1 and up; ValueError for an unknown key. Not for the scan."""
    for index in range(len(ROWS)):
        if ROWS[index][0] == key:
            return index + 1
    raise ValueError(key)
