"""Data of `hazards`: each hazard of a rack with its alarms, its reaction, the rest that remains, and its tests.

Levels, actions and times are not here: the page takes them from the lists, the LFP config and the reaction times. A
row has a fixed place, because other documents cite its number. New rows go to the end.
"""

from dataclasses import dataclass

CLOSED = "closed"       # no gap is known
REST = "held"           # detected and ended in time; `rest` names the small part that remains
OPEN = "open"           # one fault leaves a dangerous condition without a reaction; `rest` gives the reason

# files of tests
MACHINE = "tests/unit/control/test_machine.py"
CONTROLLER = "tests/unit/control/test_controller.py"
SENSE = "tests/unit/control/sense"
PROTECT = "tests/unit/control/protect"
CELLS = f"{SENSE}/test_cells.py"
TEMPS = f"{SENSE}/test_temperatures.py"
RUNAWAY = f"{SENSE}/test_runaway.py"
CHECKS = f"{SENSE}/test_cross_checks.py"
SIGNS = f"{SENSE}/test_life_signs.py"
CONTACTORS = f"{PROTECT}/test_contactors.py"
PRECHARGE = f"{PROTECT}/test_precharge.py"
AUTHORITY = f"{PROTECT}/test_authority.py"
LIMITS = f"{PROTECT}/test_limits.py"
COOLING = f"{PROTECT}/test_cooling.py"
BQ = "tests/unit/drivers/test_bq79616.py"
RING = "tests/unit/drivers/test_afe_ring.py"
CAN = "tests/unit/drivers/test_mcp2515_faults.py"
SENSOR_LIES = "tests/host/hosts/test_sensor_lies.py"
SIGN_LIES = "tests/host/hosts/test_life_sign_lies.py"
PRECHARGE_LIES = "tests/host/hosts/test_precharge_lies.py"
DUTY = "tests/host/hosts/test_thermal_duty.py"
DANGERS = "tests/host/config/test_dangers.py"
TIMES = "tests/host/generate/test_reaction_times.py"
SCENARIOS = "tests/host/scenarios/test_outcomes.py"

EVERY_DANGER = (MACHINE, "test_a_danger_opens_a_closed_rack_within_its_row")
EVERY_TIME = (TIMES, "test_every_fault_opens_within_its_bar")
EVERY_SCENARIO = (SCENARIOS, "test_every_scenario_keeps_its_promise_under_cpython")


@dataclass(frozen=True)
class Hazard:
    """One hazard. alarms: keys of rack.definitions.alarms. tests: (file, names of functions...) from the root."""

    title: str
    cause: str
    alarms: tuple[str, ...]
    reaction: str
    state: str
    rest: str
    tests: tuple[tuple[str, ...], ...]


HAZARDS = (
    Hazard(
        "A cell is charged above its voltage limit",
        "The PCS or a charger exceeds the limit, or one cell is fuller than the others.",
        ("cell_high_warn", "cell_high_derate", "cell_high_trip"),
        "The controller judges each cell every 100 ms, and a CRC protects each reading. The charge limit reaches 0 "
        "before the trip.",
        REST,
        "There is one measuring path: the main ADC of one AFE. The chip's own comparators for over-voltage, or its "
        "auxiliary ADC, would be a second one.",
        (EVERY_DANGER, EVERY_TIME, EVERY_SCENARIO, (LIMITS, "test_no_power_into_a_full_cell_nor_out_of_an_empty_one")),
    ),
    Hazard(
        "A cell is discharged below its voltage limit",
        "The load exceeds the limit, or a rack at rest feeds its own electronics for a long time.",
        ("cell_low_warn", "cell_low_derate", "cell_low_trip", "deep_discharge"),
        "The latch of a deep discharge survives a loss of power, and only the rack's key releases it.",
        REST,
        "A rack between both trips has no mode that permits only charging: it needs an external charger. A limited "
        "recovery charge would close this.",
        (EVERY_DANGER, EVERY_TIME, (CONTROLLER, "test_latches_trips_and_charge_survive_a_power_loss"),
         (AUTHORITY, "test_a_deep_discharge_needs_the_key")),
    ),
    Hazard(
        "The cells of one AFE are wrong but plausible",
        "The registers of the AFE stand still, its reference drifts, or its gain is wrong.",
        ("afe_frozen_trip", "sum_warn", "sum_trip"),
        "A device is frozen when all its cells are identical while the current has moved or charge has flowed. At rest "
        "its cells do not move, so the rack opens soon after the next step of power.",
        OPEN,
        "A gain error of one AFE of less than 9 % raises no alarm: its cells could reach 4.0 V at the trip level. A "
        "comparison of the main ADC with the auxiliary ADC of the chip would close this.",
        (("tests/unit/control/sense/test_frozen_afe.py", "test_it_is_frozen_after_its_scans_and_no_sooner"),
         (SIGN_LIES, "test_a_frozen_afe_opens_after_a_step_of_the_current",
          "test_a_frozen_afe_opens_under_constant_current", "test_no_healthy_afe_counts_as_frozen"),
         (SENSOR_LIES, "test_a_wrong_gain_of_one_afe_shows_as_spread"),
         ("tests/unit/control/protect/test_debounce.py", "test_a_noisy_sum_error_trips")),
    ),
    Hazard(
        "An AFE reports that it is unfit",
        "Its supply, its system, its trimming memory or its protector has a fault, and its data still arrive.",
        ("afe_derate", "afe_trip"),
        "The power falls at once. The driver clears the bits every 10 s, so only a standing fault reaches the trip.",
        REST,
        "Up to the trip the rack works at reduced power with the data of this device.",
        ((SIGNS, "test_a_fault_bit_of_the_afe_derates_and_then_trips", "test_both_trips_need_a_reset_and_come_again"),
         (BQ, "test_a_device_with_a_fault_of_its_own_is_named")),
    ),
    Hazard(
        "An open sense wire hides a cell",
        "A wire breaks or a connector loosens.",
        ("wire_trip", "wire_check_trip", "wire_check_old_warn", "wire_check_old_trip"),
        "Two neighbours that move apart open the rack at once. The AFE checks its wires every 10 s, and the age of "
        "this check is itself an alarm.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME, (CELLS, "test_an_open_wire_is_found_and_located"),
         (BQ, "test_the_wire_check_finds_open_wires_and_leaves_cells_alone"),
         (SIGNS, "test_a_wire_check_that_does_not_end_warns_and_trips")),
    ),
    Hazard(
        "Sense channels are interchanged",
        "The harness is built or repaired wrongly.",
        (),
        "Lowest and highest voltage and their trips stay right.",
        OPEN,
        "An alarm then names the wrong cell, and a fallen cell is a witness of a runaway in the wrong module. Two "
        "interchanged channels have equal readings in a healthy rack. A discharge of one cell after the other at "
        "commissioning, by the balancing switches, would show it.",
        ((CELLS, "test_extremes_sum_and_mean_are_those_of_the_cells"),),
    ),
    Hazard(
        "Cells drift apart until one of them is abused",
        "The cells age differently, and the rack does not balance them.",
        ("spread_warn", "spread_derate", "spread_trip"),
        "The spread of the voltages derates and trips. The voltage limits of each cell hold in any case.",
        OPEN,
        "On the plateau of LFP the spread appears late: a review measured the first warning after a cell had lost 41 % "
        "of its capacity. The control of the balancing switches, which also counts the charge that each cell needs, is "
        "a part of its own.",
        (EVERY_TIME, EVERY_DANGER, (SENSOR_LIES, "test_a_wrong_gain_of_one_afe_shows_as_spread")),
    ),
    Hazard(
        "An internal short discharges a cell slowly",
        "A dendrite or a metal particle bridges the electrodes with a small current.",
        (),
        "A larger short heats its cell: the slow tier of the runaway and the trips of voltage and temperature follow.",
        OPEN,
        "A leak of 2 A takes 57 h to the first warning of the spread (a review's run). A trend of the rest voltages "
        "against the rack would close this; it comes with the balancing.",
        ((CELLS, "test_a_cell_that_falls_by_a_quarter_alone_is_found", "test_a_slow_discharge_of_one_cell_is_no_drop"),
         (DUTY, "test_a_closed_rack_opens_on_slow_self_heating")),
    ),
    Hazard(
        "Over-current or short circuit",
        "The PCS or a cable has a fault.",
        ("charge_current_warn", "charge_current_derate", "charge_current_trip", "discharge_current_warn",
         "discharge_current_derate", "discharge_current_trip", "oc_alert"),
        "The current sensor compares each conversion with its own levels and cuts the supply of the coils without "
        "software. The scan sees the current too.",
        REST,
        "The contactors open at any current, also above their breaking capacity. The main fuse must clear such a "
        "current first; the controller does not monitor it. Both paths share the shunt and its chip (hazard 11).",
        (EVERY_TIME, EVERY_DANGER,
         ("tests/emulated/test_faults.py", "test_over_current_cuts_the_supply_in_hardware"),
         ("tests/unit/drivers/test_ina228.py", "test_an_over_current_reaches_the_pin_in_three_conversions"),
         (CONTACTORS, "test_a_trip_opens_in_the_same_scan_at_any_current")),
    ),
    Hazard(
        "Overload for minutes",
        "The demand is too high, or one limit of the PCS is wrong.",
        ("charge_i2t_derate", "charge_i2t_trip", "discharge_i2t_derate", "discharge_i2t_trip"),
        "The square of the current above the rating uses up a budget; the power falls at 70 % of it.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME,
         (f"{SENSE}/test_overcurrent.py", "test_twice_the_rating_uses_the_budget_in_its_time",
          "test_charge_and_discharge_overload_are_separate")),
    ),
    Hazard(
        "The current sensor answers with a wrong current",
        "A sense wire of the shunt is off, the shunt is bridged, or the chip is stuck.",
        ("power_derate", "power_trip", "step_derate", "step_trip"),
        "Current times rack voltage must agree with the power that the PCS reports. Where the PCS reports no power, "
        "the step of the cell voltages is the witness. A precharge with a dead sensor does not close.",
        REST,
        "Errors within `[pcs] tolerance_W` and `tolerance_permille` stay, 3.8 A at rest on the LFP rack. A request "
        "that moves by steps without end is not judged. A second current sensor would close both.",
        ((CHECKS, "test_a_wrong_current_derates_and_trips", "test_steps_of_the_cells_contradict_a_wrong_current",
          "test_steps_of_a_true_current_agree", "test_random_duty_raises_no_cross_check",
          "test_a_short_lie_only_derates_and_returns"),
         (PRECHARGE_LIES, "test_a_current_sensor_that_lies_does_not_close"), EVERY_TIME),
    ),
    Hazard(
        "The sign of the current is reversed",
        "The wires of the shunt are interchanged at commissioning.",
        ("power_derate", "power_trip"),
        "The first precharge already contradicts the sensor, so the rack does not close. On a closed rack the power of "
        "the PCS contradicts it.",
        CLOSED,
        "",
        ((PRECHARGE_LIES, "test_a_current_sensor_that_lies_does_not_close"),
         (CHECKS, "test_a_wrong_current_derates_and_trips")),
    ),
    Hazard(
        "The scale of the current is wrong",
        "The config names another shunt than the one that is fitted.",
        ("power_derate", "power_trip"),
        "The config check compares resistance, nameplate current and nameplate voltage of the shunt. The power of the "
        "PCS shows the rest.",
        CLOSED,
        "",
        ((DANGERS, "test_a_dangerous_lfp_rack_is_refused"), (CHECKS, "test_a_wrong_current_derates_and_trips"),
         (PRECHARGE_LIES, "test_a_current_sensor_that_lies_does_not_close")),
    ),
    Hazard(
        "Charge in the cold plates lithium",
        "The PCS, the EMS or a sensor is wrong.",
        ("charge_cold_warn", "charge_cold_derate", "charge_cold_trip"),
        "The limit table gives no charge below 0 degC for LFP, and a current of more than `[soc] rest_dA` trips. The "
        "config check refuses another table for LFP and bounds `rest_dA` to a hundredth of the capacity.",
        REST,
        "The trip needs the current sensor, which hazard 11 checks to 3.8 A at rest.",
        (EVERY_DANGER, EVERY_TIME, (LIMITS, "test_lfp_charges_in_the_steps_of_its_data_sheet"),
         (f"{SENSE}/test_overcurrent.py", "test_charge_temperatures_count_only_while_charging"),
         (DANGERS, "test_a_dangerous_lfp_rack_is_refused")),
    ),
    Hazard(
        "One cell is really cold",
        "A cooling plate leaks, a channel is blocked, or a door is open.",
        ("sensor_warn",),
        "A sensor far below its module is not used as a temperature, but its reading still ends the charge. The rack "
        "may discharge.",
        CLOSED,
        "",
        ((SENSOR_LIES, "test_a_cold_sensor_ends_the_charge_only"),
         (TEMPS, "test_a_sensor_too_cold_for_its_module_counts_for_charging"),
         (LIMITS, "test_a_cell_that_only_one_sensor_shows_cold_is_not_charged")),
    ),
    Hazard(
        "Cells overheat",
        "The load is high, or the cooling fails.",
        ("hot_warn", "hot_derate", "hot_trip", "charge_hot_warn", "charge_hot_derate", "charge_hot_trip",
         "core_hot_warn", "core_hot_derate", "temp_spread_warn", "temp_spread_derate", "temp_spread_trip"),
        "The estimate of the core derates before the surface is hot. The debounce counts up and down, so a reading "
        "that alternates around the level trips too.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME, (CONTROLLER, "test_an_overheated_rack_is_derated_before_it_trips"),
         (f"{PROTECT}/test_debounce.py", "test_temperatures_that_alternate_around_the_level_trip"),
         (f"{SENSE}/test_core_temperature.py", "test_the_core_is_known_to_be_hot_before_the_surface_shows_it")),
    ),
    Hazard(
        "A temperature sensor reads too cold",
        "The sensor drifts, or its contact is bad.",
        ("drift_warn", "sensor_warn", "sensor_derate", "sensor_trip"),
        "A sensor that moves away from the median of its module is named. From `[plausible] disagree_dK` on it is "
        "lost, and the sensor of its module that is furthest from 25 degC replaces it.",
        REST,
        "Up to the warning, and between warning and loss, one cell may be hotter than its sensor shows. Two sensors at "
        "each position would close this.",
        ((RUNAWAY, "test_a_sensor_that_drifts_from_its_module_is_named"),
         (TEMPS, "test_a_sensor_far_colder_than_its_module_is_lost", "test_the_second_return_takes_the_full_time",
          "test_a_frozen_sensor_is_lost_until_it_moves"), EVERY_DANGER),
    ),
    Hazard(
        "A module has no temperature sensor",
        "A connector is off, or the reference of one AFE fails.",
        ("module_blind_trip", "sensor_warn", "sensor_derate", "sensor_trip"),
        "A module without a sensor in use opens the rack, whatever the number of lost sensors in the rack.",
        CLOSED,
        "",
        ((SENSOR_LIES, "test_a_module_without_sensors_opens", "test_seven_of_eight_sensors_do_not_open"),
         (TEMPS, "test_a_module_is_blind_without_any_sensor"), EVERY_TIME),
    ),
    Hazard(
        "All temperatures of a module stand still",
        "The AFE's inputs are stuck, or a shared reference fails with a plausible value.",
        ("module_blind_trip",),
        "The module is lost when both modules next to it have moved in one direction by `[plausible] module_dK`. The "
        "time in the table begins then.",
        REST,
        "While the temperatures of the rack are constant the fault stays unseen. A rack with one AFE has no module to "
        "compare with. A reading of a known resistor at one input would close both.",
        ((TEMPS, "test_a_frozen_module_is_lost_until_it_moves", "test_a_module_at_rest_is_not_frozen"),),
    ),
    Hazard(
        "The fastest heating looks like a broken sensor",
        "A jet of vent gas heats a sensor by more than 10 K from one reading to the next.",
        ("hot_trip", "rise_warn", "runaway_derate", "runaway_trip"),
        "The second jump in a row counts as heat at once, and as the rise of a runaway. A test demands the opening "
        "within half a second.",
        REST,
        "One jump beyond the range of the sensor reads as a short. Gas, the voltage of the cell and the neighbours are "
        "the other witnesses.",
        ((SENSOR_LIES, "test_a_jet_of_hot_gas_opens"), (TEMPS, "test_a_second_jump_upwards_counts_as_heat",
          "test_two_jumps_upwards_of_a_lost_sensor_are_heat", "test_jumps_up_and_down_are_no_heat"),
         (RUNAWAY, "test_two_jumps_upwards_are_evidence_of_a_runaway")),
    ),
    Hazard(
        "Thermal runaway, fast",
        "An internal short or an external fire heats a cell by more than 1 K/s.",
        ("rise_warn", "runaway_derate", "runaway_trip", "hot_trip"),
        "A rise of 3 s with heat and a neighbour, gas or a fallen cell opens the rack. A rise alone sets the power to "
        "0, because one broken sensor can show it.",
        REST,
        "One sensor without a second witness opens the rack at the over-temperature trip, or after minutes by the slow "
        "tier (hazard 22).",
        ((RUNAWAY, "test_heat_rise_and_a_warm_neighbour_are_a_runaway",
          "test_one_rising_sensor_alone_is_only_a_suspicion",
          "test_a_fallen_cell_confirms_a_rise_only_in_its_own_module"),
         (CONTROLLER, "test_a_suspected_runaway_stops_power_and_stays_closed"), EVERY_TIME, EVERY_SCENARIO),
    ),
    Hazard(
        "Thermal runaway, slow",
        "A cell heats itself by a fraction of a kelvin per minute.",
        ("rise_slow_warn", "runaway_trip"),
        "The rise of a sensor against its module, and of a module against the rack, is summed over minutes and needs "
        "no witness. From 0.4 K/min on the tests demand 10 min and 8 K; a closed LFP rack opens on 1 K/min within 3 "
        "min and 3 K. The time of `runaway_trip` in the table is that of the fast tier.",
        REST,
        "A cell that warms more slowly than `[runaway] slow_mKpmin` cannot be told from a healthy one.",
        ((RUNAWAY, "test_a_slow_runaway_is_found_within_ten_minutes",
          "test_a_module_that_warms_against_the_rack_is_a_runaway", "test_a_slow_runaway_ends_and_comes_back"),
         (DUTY, "test_self_heating_is_found_within_ten_minutes", "test_a_closed_rack_opens_on_slow_self_heating",
          "test_an_hour_of_every_regime_has_no_false_alarm")),
    ),
    Hazard(
        "Vent gas before any heat",
        "A cell vents its electrolyte.",
        ("gas_warn", "gas_trip", "gas_lost", "gas_lost_derate"),
        "A sensor below its live zero is lost: the lead is broken, or its supply is off.",
        REST,
        "There is one sensor, and its loss derates without a trip. A sensor without a live zero has no such check: its "
        "config switches both rows off. A second sensor would close this.",
        (EVERY_DANGER, EVERY_TIME, (SIGNS, "test_a_gas_sensor_below_its_live_zero_is_lost",
          "test_a_gas_sensor_without_live_zero_is_never_lost"), (SIGN_LIES, "test_a_broken_gas_lead_is_named")),
    ),
    Hazard(
        "Hot cells lose their cooling",
        "The pump stops, the coolant is hot, or a trip or an exception stops the control of the cooling.",
        ("coolant_warn", "coolant_derate", "flow_derate"),
        "After a trip the temperatures still control fan and pump. After an exception both run at 100 %.",
        REST,
        "In standby the duty stays as the application left it, without control.",
        ((COOLING, "test_a_trip_leaves_the_cooling_to_the_temperatures",
          "test_a_pump_without_flow_is_reported_until_it_flows"),
         ("tests/unit/test_app.py", "test_the_end_opens_cools_and_withdraws_the_permission"),
         ("tests/emulated/test_faults.py", "test_stopped_coolant_derates_until_it_flows_again")),
    ),
    Hazard(
        "The heater runs dry or heats a hot rack",
        "The pump is dead, or a sensor of the coolant fails.",
        ("flow_derate", "coolant_lost"),
        "The heater needs a running pump, flow, cool coolant, cells below their limit and a rack without a trip. It "
        "goes off at once when one of them is missing.",
        REST,
        "A board without a flow switch (`coolant_flow = -1`, also the reference map) takes the flow for granted. The "
        "heater has one relay, and a weld of it is not detected. A thermostat at the heater must switch it off.",
        ((COOLING, "test_the_heater_never_heats_a_hot_rack_nor_without_flow",
          "test_the_heater_goes_off_at_once_with_any_of_its_interlocks", "test_one_hot_sensor_stops_the_heater"),),
    ),
    Hazard(
        "Insulation fault",
        "A cable is damaged, or water gets in.",
        ("insulation_warn", "insulation_trip", "insulation_old_warn", "insulation_old_trip"),
        "The EMS reports the value of its monitor. With `[insulation] monitor = true` a report that is missing or old "
        "blocks closing, warns, and then opens the rack.",
        REST,
        "The rack has no insulation monitor of its own, so one reporter remains. With `monitor = false`, as shipped, "
        "the controller does not judge the age, and `why` shows `unwatched`.",
        ((SIGN_LIES, "test_a_true_insulation_fault_opens_through_the_ems",
          "test_insulation_never_reported_blocks_the_simulated_rack",
          "test_an_ems_that_stops_reporting_opens_the_rack"),
         (SIGNS, "test_an_old_report_warns_and_then_opens_twice", "test_a_rack_without_a_monitor_judges_no_age"),
         ("tests/unix/test_life_signs_on_unix.py", "test_a_rack_without_a_monitor_shows_it_in_why"), EVERY_TIME),
    ),
    Hazard(
        "A main contact is welded",
        "Inrush current or an arc has melted it.",
        ("welded",),
        "An auxiliary contact that does not follow its coil trips at the opening. With main - alone, a bus that rises "
        "shows a weld before the next closing.",
        REST,
        "The weld appears only when the rack opens, and with two welds the rack stays connected. The board has "
        "outputs for the contactors only: another one, for a shunt trip of the main switch, would close this.",
        ((CONTACTORS, "test_a_contact_that_does_not_open_is_welded",
          "test_a_bus_that_rises_early_is_a_welded_contactor"), EVERY_SCENARIO),
    ),
    Hazard(
        "The precharge relay is welded",
        "Its contact has melted, so main - alone charges the bus.",
        ("welded",),
        "Main - stays on alone for half a time constant. The config check refuses a time constant with which a weld "
        "would stay below the level of the bus.",
        CLOSED,
        "",
        ((PRECHARGE_LIES, "test_a_welded_precharge_relay_has_its_name",
          "test_main_minus_stays_long_enough_for_a_weld"), (DANGERS, "test_a_dangerous_lfp_rack_is_refused")),
    ),
    Hazard(
        "Main + closes onto a bus that is not charged",
        "The PCS reports its bus too high, once or for long, or the bus leaks.",
        ("precharge_fast_warn", "precharge_fast_trip", "precharge_slow_warn", "precharge_slow_trip"),
        "Several status frames in a row must show a full bus, the current must have decayed, and the charge that has "
        "flowed must be that of the DC link.",
        CLOSED,
        "",
        ((PRECHARGE_LIES, "test_a_bus_that_is_reported_too_high_does_not_close", "test_a_single_frame_does_not_close",
          "test_a_forged_curve_does_not_close", "test_a_leak_with_noise_does_not_close",
          "test_a_healthy_precharge_closes"),
         (PRECHARGE, "test_a_precharge_outside_its_window_trips_at_the_third_try",
          "test_a_good_precharge_clears_the_slow_warning"), EVERY_SCENARIO),
    ),
    Hazard(
        "The rack counts as closed, and the bus is elsewhere",
        "The main fuse is blown, a contact is open behind a stuck auxiliary contact, or a meter is dead.",
        ("bus_trip", "stuck"),
        "The bus voltage of the PCS must agree with the voltage of the string.",
        CLOSED,
        "",
        ((CHECKS, "test_a_bus_apart_from_the_rack_trips", "test_a_trip_clears_by_reset_and_comes_again"),
         (CONTACTORS, "test_a_contact_that_does_not_close_is_stuck"), EVERY_DANGER, EVERY_TIME),
    ),
    Hazard(
        "The PCS ignores requests or limits",
        "The PCS has a fault, follows a second master, or no longer reads its requests.",
        ("delivery_derate", "delivery_trip", "echo_derate", "echo_trip", "pcs_warn", "pcs_fault_warn"),
        "Power beyond the request and an echo that stands still derate and trip. A fault code is an alarm in any "
        "state.",
        REST,
        "A fault code and a fault state warn only: the cross-checks decide on the opening. A PCS that reports a false "
        "power to match its request is found by hazard 11.",
        ((CHECKS, "test_power_beyond_the_request_derates_and_trips", "test_a_pcs_that_ignores_a_limit_is_cut_off",
          "test_a_standing_echo_derates_and_trips", "test_a_fault_code_is_an_alarm_in_any_state",
          "test_the_pcs_may_deliver_less_than_requested"),
         (f"{PROTECT}/test_alarm_engine.py", "test_a_pcs_fault_or_timeout_warns_and_does_not_open"), EVERY_TIME),
    ),
    Hazard(
        "The PCS is silent",
        "A CAN wire is broken, or the PCS repeats old frames.",
        ("pcs_lost",),
        "Only a status with a counter that advances is fresh. The controller of the CAN bus is read back every 20 ms "
        "and restarted at each difference.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME, EVERY_SCENARIO, (CHECKS, "test_a_status_counter_without_order_trips"),
         (CAN, "test_a_controller_that_left_normal_mode_is_restarted",
          "test_no_fault_raises_waits_or_lasts_after_two_seconds")),
    ),
    Hazard(
        "The EMS is silent while its setpoint moves power",
        "The link or the EMS fails.",
        ("ems_lost",),
        "The setpoint becomes 0. The frequency response goes on.",
        CLOSED,
        "",
        ((CONTROLLER, "test_an_ems_that_has_fallen_silent_asks_for_nothing_any_more"),
         ("tests/unit/comms/test_modbus_writes.py", "test_silence_of_the_ems_ends_the_setpoint"),
         ("tests/unix/test_unix_board.py", "test_silence_of_the_ems_ends_its_setpoint"),
         ("tests/unit/comms/test_modbus_slave.py", "test_the_silence_fits_every_baud_rate")),
    ),
    Hazard(
        "Interlock or emergency stop opens",
        "A person opens a cover, pulls the service plug or presses the button.",
        ("hvil", "estop"),
        "The inputs cut the supply of the coils in hardware; the scan opens too and latches the reason.",
        CLOSED,
        "",
        (("tests/emulated/test_deadman.py", "test_an_interlock_cuts_in_100_us_for_good"), EVERY_DANGER, EVERY_TIME,
         ("tests/unix/test_unix_board.py", "test_an_open_interlock_drops_the_coils"),
         (f"{SENSE}/test_inputs.py", "test_each_digital_input_has_its_own_fault")),
    ),
    Hazard(
        "The rack closes again after an emergency stop",
        "The EMS writes a reset, `auto_close` is on, or the power returns.",
        ("estop", "deep_discharge"),
        "After an emergency stop a person at the rack must reset and then close. A broadcast neither closes nor "
        "resets. A deep discharge needs the rack's key.",
        CLOSED,
        "",
        ((AUTHORITY, "test_only_a_person_closes_after_an_emergency_stop",
          "test_a_stop_hidden_behind_another_trip_is_kept",
          "test_an_opening_by_a_person_outlasts_the_power", "test_the_table_gives_a_remote_path_few_rights"),
         ("tests/unit/comms/test_modbus_writes.py", "test_a_broadcast_neither_closes_nor_resets"),
         (CONTACTORS, "test_without_auto_close_a_reset_leaves_the_rack_open")),
    ),
    Hazard(
        "The rack closes when a cover is shut",
        "The interlock was open at power-up or at rest, or an old request to close is still there.",
        ("hvil",),
        "An open interlock ends each wish to close, also that of `auto_close`. A request expires after "
        "`[contactor] close_ms`, and an alarm at rest drops it.",
        CLOSED,
        "",
        ((AUTHORITY, "test_a_closed_interlock_does_not_close_the_rack", "test_a_request_to_close_expires",
          "test_an_alarm_at_rest_drops_a_request"),),
    ),
    Hazard(
        "The rack closes again onto a fault",
        "The supply collapses with the trip, before the latch is saved.",
        (),
        "The scan writes the latch to the FRAM before the coils drop, and a start uses this note.",
        REST,
        "If the hardware has cut the coils, the scan sees it up to 10 ms later. A supply that ends within this time "
        "loses the latch. An input for the falling supply would close this.",
        (("tests/unit/storage/test_note.py", "test_the_note_holds_the_trip_at_every_step_of_a_save",
          "test_the_note_holds_the_trip_until_it_is_saved", "test_a_cut_note_is_not_used"),
         ("tests/unit/storage/test_storage.py", "test_a_trip_is_kept_before_its_log_records"),
         (CONTROLLER, "test_a_restart_is_no_reset_a_latched_trip_outlives_the_power")),
    ),
    Hazard(
        "The latches are forgotten",
        "The FRAM is replaced, blank, damaged or silent.",
        ("fram_warn",),
        "On a board that has run before, a blank FRAM counts as lost data: only a person at the rack acknowledges it "
        "and closes.",
        REST,
        "A board that is new or erased counts as new together with a blank FRAM, so the service must inspect the "
        "cells.",
        (("tests/unit/storage/test_note.py", "test_a_blank_fram_is_new_on_a_new_board_only"),
         ("tests/unit/storage/test_storage.py", "test_lost_retained_data_waits_for_an_operator"),
         ("tests/unix/test_retention.py", "test_two_damaged_copies_are_an_alarm", "test_a_silent_fram_is_a_warning")),
    ),
    Hazard(
        "The rack closes again and again onto a short",
        "The short is intermittent, and the EMS resets each trip.",
        ("charge_current_trip", "discharge_current_trip", "oc_alert"),
        "The EMS may release an over-current once; then a person must. After `[contactor] trips` trips the rack is "
        "locked out until it gets its key.",
        CLOSED,
        "",
        ((AUTHORITY, "test_the_ems_tries_once_onto_an_over_current",
          "test_a_rack_that_works_again_gives_the_ems_its_try"),
         (CONTACTORS, "test_repeated_trips_lock_out_and_only_an_unlock_leads_on")),
    ),
    Hazard(
        "The software hangs, loops or writes its flash",
        "A bug, a disturbed processor, or a flash erase under load.",
        ("late_warn", "late_trip"),
        "The scan must toggle the supply of the coils within the dead-man's window. The watchdog resets the board, and "
        "the start latches a trip.",
        REST,
        "There is one processor with one program. A second, different protector, for example the comparators of the "
        "AFE with an output of their own, would close this.",
        (("tests/emulated/test_deadman.py", "test_the_coils_drop_within_the_window_and_stay_off",
          "test_a_flash_erase_of_400_ms_drops_the_coils"),
         ("tests/emulated/test_faults.py", "test_a_hung_task_drops_the_coils_and_is_named",
          "test_an_exception_in_the_scan_ends_in_standby"),
         ("tests/unit/test_scheduler.py", "test_a_starved_task_stops_the_feed"), EVERY_TIME),
    ),
    Hazard(
        "A bit flips in the memory of the control core",
        "Radiation or a discharge.",
        ("config_bad",),
        "Each word that does not change after the start is read again within 10 s. `make bitflips` flips 20 000 bits: "
        "each closed rack must still see over-voltage, over-temperature, over-current and interlock.",
        REST,
        "A flip in the program, or two flips at once, are not covered. A processor with error correction would close "
        "this.",
        ((f"{PROTECT}/test_memory_guard.py", "test_every_flipped_bit_of_a_table_or_copy_is_found",
          "test_every_flipped_bit_of_a_parameter_is_found", "test_no_drawn_flip_leaves_a_closed_rack_blind"),
         ("tests/unix/test_unix_board.py", "test_a_changed_trip_level_opens_the_rack"), EVERY_TIME),
    ),
    Hazard(
        "The clock wraps or jumps",
        "A counter of milliseconds ends, or the scans stand still.",
        ("time_trip",),
        "Time arithmetic survives the wrap. A gap of more than a second trips and does not count as time.",
        CLOSED,
        "",
        ((CONTROLLER, "test_the_clock_may_start_anywhere_and_wrap_at_any_time",
          "test_a_gap_while_closed_opens_the_rack",
          "test_a_gap_above_a_second_is_reported_and_not_counted"),
         ("tests/host/scenarios/test_day_48.py", "test_the_same_bits_from_any_start_of_the_clock")),
    ),
    Hazard(
        "A protective level in the config is wrong",
        "A number is mistyped, or rows are copied from another rack.",
        (),
        "`halite config check` bounds the level of each trip and its debounce, and refuses a level that its signal "
        "cannot reach. The board checks the ranges again.",
        CLOSED,
        "",
        ((DANGERS, "test_a_dangerous_lfp_rack_is_refused", "test_each_row_that_acts_has_a_bound",
          "test_a_late_or_distant_trip_is_refused", "test_a_level_that_is_always_on_is_refused",
          "test_a_slightly_stricter_trip_stays_accepted"),
         ("tests/host/config/test_config.py", "test_the_board_checks_the_ranges_again")),
    ),
    Hazard(
        "The config is for another chemistry",
        "The label of the rack is wrong.",
        (),
        "`halite config check` compares voltage window, open-circuit voltage, limits and trip levels with the label.",
        CLOSED,
        "",
        ((DANGERS, "test_a_sodium_rack_called_lfp_is_refused", "test_a_dangerous_lfp_rack_is_refused"),),
    ),
    Hazard(
        "The rack works below its temperature range",
        "The site is cold, and the heater is off or too weak.",
        ("cold_warn", "cold_derate", "cold_trip"),
        "The limit table lowers the power of the discharge before the derate.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME, (LIMITS, "test_limits_follow_the_coldest_and_the_hottest_cell"), EVERY_SCENARIO),
    ),
    Hazard(
        "Cells or temperatures are not read",
        "A device of the AFE chain is silent, or a link of the chain is broken.",
        ("cells_lost", "temps_lost", "link_warn"),
        "The driver repeats a lost scan, and reads a chain with one broken link from both ends.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME, EVERY_SCENARIO, (RING, "test_a_broken_link_is_a_warning_and_no_trip",
          "test_with_two_breaks_the_cells_do_not_count_as_read"),
         (BQ, "test_a_dead_device_never_counts_as_read_and_is_found_again",
          "test_corrupted_frames_never_become_cells")),
    ),
    Hazard(
        "The current sensor is silent or beyond its range",
        "The I²C bus or the chip fails, or the current exceeds the range of the shunt.",
        ("current_lost", "current_bad"),
        "Seven missing readings open the rack. The last value of a silent sensor counts neither as charge nor as "
        "overload.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME, (f"{SENSE}/test_overcurrent.py", "test_a_silent_sensors_last_value_does_not_count",
          "test_charge_and_discharge_overload_are_separate"),
         ("tests/unit/drivers/test_ina228.py", "test_no_fault_on_the_bus_escapes_and_the_driver_comes_back")),
    ),
    Hazard(
        "The voltage of the rack is measured wrongly",
        "The divider at the current sensor has drifted or lost a wire.",
        ("sum_warn", "sum_trip", "bus_trip"),
        "The sum of the cells and the bus voltage of the PCS are two other sources.",
        CLOSED,
        "",
        ((CHECKS, "test_a_bus_apart_from_the_rack_trips"), EVERY_DANGER, EVERY_TIME,
         (CONTACTORS, "test_a_charged_bus_or_a_missing_rack_voltage_bars_closing")),
    ),
    Hazard(
        "A second node speaks on the CAN bus, or floods it",
        "Two controllers share a bus, an identifier is used twice, or a node fails.",
        ("refused_warn", "refused_trip", "foreign_trip"),
        "The controller counts refused status frames and power requests that are not its own. The CRC of a frame "
        "covers its identifier.",
        REST,
        "CAN has no authentication: a node with correct counter and CRC that replaces the PCS is accepted.",
        ((CHECKS, "test_a_second_pcs_warns_and_trips", "test_a_second_sender_of_requests_trips",
          "test_a_flooded_bus_opens_and_is_named"), (SIGN_LIES, "test_a_flooded_bus_makes_the_pcs_silent"),
         ("tests/unit/comms/test_pcs_codec.py", "test_the_crc_covers_the_identifier",
          "test_refused_and_foreign_frames_are_counted_for_200_ms"), EVERY_DANGER),
    ),
    Hazard(
        "The mains is not measured",
        "A sense wire, a fuse of a phase, or the mains itself fails.",
        ("grid_lost", "phase_lost"),
        "Without a mains signal the response holds for `[response] hold_ms` and then falls to 0. With some phases lost "
        "the others replace them.",
        CLOSED,
        "",
        (("tests/unit/control/response/test_response.py", "test_a_loss_of_mains_holds_the_response_then_ramps_it_down"),
         ("tests/unit/control/response/test_phases.py", "test_a_lost_phase_is_reported_within_three_periods",
          "test_the_phase_alarm_comes_after_its_time_and_clears"),
         ("tests/unix/test_unix_board.py", "test_the_other_phases_replace_a_lost_phase"),
         ("tests/emulated/test_fast_path.py", "test_a_lost_phase_is_alarmed_and_rocof_stays_right")),
    ),
    Hazard(
        "The controller is too hot",
        "The enclosure is hot, or the cooling of the controller fails.",
        ("board_warn", "board_trip"),
        "The sensor in the microcontroller opens the rack at the limit of its data sheet.",
        CLOSED,
        "",
        (EVERY_DANGER, EVERY_TIME, ("tests/emulated/test_wires.py",
         "test_gas_and_core_temperature_come_through_the_adc")),
    ),
)  # fmt: skip
