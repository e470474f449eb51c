"""The one list of parameters: every value of a board config with its permitted range.

The hazard is a rack that is protected by another rack's limits. The host validates a TOML file against these rows and
compiles it to `config.bin`; the board checks the same rows again and refuses a bad value, it does not repair one (rule
R9). The TOML key of `precharge_tau_ms` is `tau_ms` in section `[precharge]`; the unit is the suffix (see
rack.definitions.signals; also _Hz, _us, _A, _mohm, _mF, _s, _K).

Row: (name, min, max). Ranges are engineering judgement unless the section names a source.
"""

VERSION = 1

SCALARS = (
    # [rack]
    ("rack_chemistry", 0, 1),            # 0 sodium-ion layered oxide, 1 LFP
    ("rack_power_max_W", 100, 2_000_000),
    ("rack_scan_ms", 5, 20),
    ("rack_auto_close", 0, 1),           # 1: close after start without an operator's command
    # [cell]
    ("cell_series", 4, 416),
    ("cell_capacity_dAh", 10, 10_000),
    ("cell_voltage_min_mV", 1_000, 3_000),
    ("cell_voltage_max_mV", 2_500, 4_300),
    # [overcurrent] continuous current ratings and the I2t budget above them
    ("overcurrent_charge_dA", 10, 10_000),
    ("overcurrent_discharge_dA", 10, 10_000),
    ("overcurrent_sensor_dA", 10, 20_000),     # range of the current sensor: a value at its ends is not valid
    ("overcurrent_charge_A2s", 10, 20_000_000),
    ("overcurrent_discharge_A2s", 10, 20_000_000),
    # [limit] available power, see the tables below
    ("limit_rise_permilleps", 1, 10_000),   # how fast a limit may come back, permille of the rack's power per second
    ("limit_derate_permille", 0, 1_000),    # available power with a derate-level alarm
    ("limit_current_permille", 500, 1_000), # of the level of the current derate alarm: power limit at the rack voltage
    ("limit_hold_permille", 10, 500),       # step from a limit at which a derate alarm came down to its ceiling
    ("limit_hold_ms", 1_000, 3_600_000),    # time with less than half of the ceiling requested that ends it
    # [plausible] temperature sensors and cell wires
    ("plausible_jump_dK", 10, 1_000),       # largest change of a cell between two scans, 0.1 K
    ("plausible_disagree_dK", 20, 1_000),   # a sensor that is colder than its module by more is lost
    ("plausible_frozen_dK", 10, 1_000),     # a sensor that stands still while its module moves by more is lost
    ("plausible_module_dK", 10, 1_000),     # a module that stands still while its neighbours move by more is lost
    ("plausible_return_ms", 0, 600_000),    # a lost sensor returns after being good for this long
    ("plausible_wire_mV", 200, 3_000),      # two neighbours this far from the mean in opposite directions: open wire
    # [runaway] GB 38031-2025 C.5.3.7 and a slow tier: mean rates, weighted over the last slow_ms
    ("runaway_temp_ddegC", 450, 1_000),
    ("runaway_drop_pct", 5, 50),
    ("runaway_rise_mKps", 200, 10_000),
    ("runaway_rise_ms", 500, 10_000),
    ("runaway_slow_mKpmin", 100, 1_000),    # of a sensor against its module
    ("runaway_slow_rack_mKpmin", 100, 1_000),   # of a sensor against the other modules
    ("runaway_slow_warming_pct", 0, 100),   # part of the rack's own rise that both levels add
    ("runaway_slow_ms", 60_000, 1_800_000),
    ("runaway_gas_mV", 50, 3_300),
    # [core] two nodes: sensor at the surface, core of the cell
    ("core_rth_mKpW", 10, 10_000),
    ("core_heat_JpK", 10, 20_000),
    # [cooling] cooling and preheating
    ("cooling_cool_on_ddegC", 0, 600),
    ("cooling_cool_off_ddegC", 0, 600),
    ("cooling_cool_full_ddegC", 0, 600),
    ("cooling_heat_on_ddegC", -500, 300),
    ("cooling_heat_off_ddegC", -500, 300),
    ("cooling_preheat_ddegC", -500, 300),   # heating ends here while the EMS asks for charge
    ("cooling_heater_max_ddegC", 0, 600),   # interlock: no heating with any sensor or the coolant above
    ("cooling_run_ms", 0, 600_000),         # minimum run and minimum pause of fan, pump and heater
    ("cooling_flow_ms", 500, 60_000),       # maximum time from pump on to flow
    # [contactor]
    ("contactor_aux_ms", 20, 1_000),        # a contact that has not followed its coil by then is stuck or welded
    ("contactor_settle_ms", 0, 60_000),     # minimum time open
    ("contactor_close_ms", 1_000, 60_000),  # a request to close that has not begun by then expires
    ("contactor_low_dA", 1, 500),           # an opening without a trip waits for less current,
    ("contactor_open_ms", 10, 10_000),      # at most for this time
    ("contactor_bus_permille", 10, 900),    # no start with the bus above this share of the rack's voltage
    ("contactor_trips", 1, 100),            # the lock-out comes at this number of counted trips;
    ("contactor_trips_s", 60, 86_400),      # one counted trip is forgiven after each such time
    ("contactor_hold_pct", 15, 100),        # coil duty after pull-in; 100: steady, for a coil with an economiser
    # [soc]
    ("soc_rest_dA", 0, 1_000),
    ("soc_rest_s", 1, 86_400),
    ("soc_slope_uV", 1, 10_000),         # minimum OCV slope per 0.01 % SoC for an OCV correction
    # [afe]
    ("afe_chip", 0, 1),                  # AFE_* of rack.definitions.codes
    ("afe_devices", 1, 26),
    ("afe_cells_per_device", 4, 18),     # each chip has its own range: halite.config.checks
    ("afe_temps_per_device", 1, 8),
    ("afe_period_ms", 50, 1_000),
    ("afe_still_dA", 1, 5_000),          # a device whose cells stand still while the current moves by this
    ("afe_still_scans", 2, 100),         # in this number of scans is frozen;
    ("afe_still_permille", 1, 500),      # or while this share of the capacity flows
    # [insulation] the EMS reports it: rack.comms.ems
    ("insulation_monitor", 0, 1),        # 0: this rack has no monitor, so no age is judged
    ("insulation_age_ms", 1_000, 300_000),   # an older report blocks closing, and warns while closed
    ("insulation_open_ms", 0, 600_000),  # a closed rack opens this much later
    # [sensor] current sensor, temperature sensors and the CAN controller's crystal
    ("sensor_shunt_uohm", 1, 1_250),
    ("sensor_shunt_A", 1, 20_000),          # nameplate of the shunt: current,
    ("sensor_shunt_mV", 20, 160),           # and its voltage at this current; the host compares them with shunt_uohm
    ("sensor_divider_pct", 100, 2_400),     # rack voltage over the sensor's bus pin, times 100
    ("sensor_alert_charge_A", 1, 10_000),   # hardware over-current alert, as magnitudes; not above the trip levels
    ("sensor_alert_discharge_A", 1, 10_000),
    ("sensor_ntc_a_e10", -20_000_000, 50_000_000),  # Steinhart-Hart coefficients, times 10**10, 10**10, 10**13
    ("sensor_ntc_b_e10", 1_000_000, 5_000_000),
    ("sensor_ntc_c_e13", -10_000_000, 10_000_000),
    ("sensor_ntc_pullup_ohm", 1_000, 100_000),
    ("sensor_can_crystal_MHz", 8, 16),
    # [grid]
    ("grid_nominal_mHz", 50_000, 60_000),       # 50 000 or 60 000
    ("grid_phases", 1, 3),                      # zero crossings measured: 1, or 3
    ("grid_window_ms", 20, 800),                # frequency window; its delay is half of it, longer is quieter
    ("grid_jump_mHz", 20, 2_000),               # two periods this far from the window's mean count at once
    ("grid_rocof_ms", 60, 2_000),               # RoCoF window; at most 100 samples are used
    ("grid_plausible_mHz", 1_000, 5_000),       # a period further from nominal is rejected
    # [response]; a preset of board_configs/grid_services has the same keys
    ("response_enabled", 0, 1),                 # false: frequency is measured, the response stays 0
    ("response_delay_ms", 0, 600),              # delay from the measured frequency to the response
    ("response_up_permille_ps", 10, 100_000),   # ramp cap away from zero; 100 000: no cap
    ("response_down_permille_ps", 10, 100_000),  # ramp cap towards zero; 100 000: no cap
    ("response_hold_ms", 0, 10_000),            # hold after a loss of mains
    ("response_release_permille_ps", 10, 100_000),  # ramp after the hold and at the end of the duration
    ("response_rest_mHz", 1, 1_000),            # closer to nominal the grid counts as recovered
    ("response_inertia_permille_per_Hzps", 0, 1_000),  # power against RoCoF beyond the band; 0: no inertia
    ("response_inertia_band_mHzps", 0, 2_000),  # RoCoF without an answer by inertia
    ("response_step_permille", 0, 1_000),       # step service (FFR) on low frequency; 0: no step
    ("response_step_below_mHz", 50, 3_000),     # its trigger: frequency this far below nominal
    ("response_step_delay_ms", 0, 2_000),       # time below the trigger before the step
    ("response_step_hold_ms", 0, 60_000),       # duration of the step
    ("response_step_release_permille_ps", 10, 10_000),  # ramp at its end
    ("response_step_rearm_mHz", 0, 1_000),      # the step is ready again when the grid is closer to nominal than this
    ("response_step_rearm_ms", 0, 1_000_000),   # for this time
    ("response_duration_s", 0, 7_200),          # energy limit of each direction, in seconds at full power; 0: no limit
    ("response_recovery_permille", 0, 500),     # power towards the target SoC while the grid rests; 0: no recovery
    ("response_recovery_target_cpct", 500, 9_500),  # recovery ends at this SoC
    ("response_recovery_band_cpct", 50, 3_000),  # recovery begins further from the target than this
    ("response_recovery_delay_s", 0, 3_600),    # rest before recovery, and before the energy limit restarts
    ("response_priority", 0, 1),                # true: the setpoint leaves room for the whole response
    ("response_setpoint_permille_ps", 1, 500),  # ramp of the EMS's setpoint and of recovery
    ("response_test_enabled", 0, 1),            # virtual frequencies of commissioning tests
    # [pair]
    ("pair_role", 0, 2),                       # 0 alone, 1 high-pass (sodium), 2 low-pass (lithium)
    ("pair_power_W", 100, 2_000_000),          # power of the pair at 1000 permille
    ("pair_tau_ms", 100, 600_000),             # time constant of the low-pass
    ("pair_share_permille", 0, 1_000),         # part of the low-pass that the low-pass rack takes
    ("pair_bias_W", 0, 100_000),               # maximum power that balancing moves between the racks
    # [recorder]
    ("recorder_trigger_mHz", 20, 3_000),        # a deviation from nominal that freezes the trace
    ("recorder_after", 1, 255),                 # periods recorded after the trigger, of 256
    # [precharge]
    ("precharge_tau_ms", 10, 5_000),
    ("precharge_early_ms", 1, 20_000),      # done sooner: the load is missing or the feedback is wrong
    ("precharge_late_ms", 10, 60_000),      # not done by then: a leak or a short
    ("precharge_done_permille", 800, 995),  # done: the bus at this share of the rack's voltage
    ("precharge_over_permille", 1_000, 1_100),  # a bus above this share contradicts the rack
    ("precharge_charge_pct", 5, 50),        # tolerance of the charge that flows and of the current at the end
    ("precharge_samples", 3, 20),           # status frames in a row that agree
    ("precharge_ohm", 1, 10_000),
    ("precharge_energy_J", 1, 500_000),     # energy budget of the resistor before it has cooled
    ("precharge_cooldown_ms", 100, 600_000),  # pause between tries; the whole energy budget cools off in it
    # [pcs] how the PCS answers a request, for the cross-checks
    ("pcs_reports_power", 0, 1),            # 0: its status has no measured power
    ("pcs_settle_ms", 20, 2_000),           # time constant of its power after a request, with the delay of both frames
    ("pcs_ramp_permille_ps", 10, 100_000),  # its ramp; 100 000: no ramp
    ("pcs_tolerance_permille", 10, 100),    # two powers that differ by less agree:
    ("pcs_tolerance_W", 5, 100_000),        # the larger of both tolerances counts
    ("pcs_step_mV", 2, 100),                # without its power: a smaller step of the mean cell voltage does not count
    # [modbus] the EMS's link
    ("modbus_enabled", 0, 1),
    ("modbus_unit", 1, 247),             # Modbus over Serial Line 2.2
    ("modbus_baud", 9_600, 115_200),
    ("modbus_parity", 0, 2),             # 0 no parity, 1 odd, 2 even
    ("modbus_control", 0, 1),            # 0: writing is refused
    # [deadman]
    ("deadman_window_ms", 20, 200),
    ("deadman_wdt_ms", 200, 8_388),      # RP2040 watchdog maximum: machine_wdt.c of MicroPython
    # [pins], merged from board_configs/boards; -1: not connected. RP2040 GP23..25 and 29 serve the radio and power.
    ("pins_afe_tx", -1, 28),
    ("pins_afe_rx", -1, 28),
    ("pins_afe_miso", -1, 28),
    ("pins_afe_cs", -1, 28),
    ("pins_afe_sck", -1, 28),
    ("pins_afe_mosi", -1, 28),
    ("pins_i2c_sda", -1, 28),
    ("pins_i2c_scl", -1, 28),
    ("pins_rs485_tx", -1, 28),
    ("pins_rs485_rx", -1, 28),
    ("pins_rs485_de", -1, 28),
    ("pins_zero_crossing_a", -1, 28),
    ("pins_zero_crossing_b", -1, 28),
    ("pins_zero_crossing_c", -1, 28),
    ("pins_coil_enable", -1, 28),
    ("pins_coil_precharge", -1, 28),
    ("pins_coil_main_pos", -1, 28),
    ("pins_coil_main_neg", -1, 28),
    ("pins_aux_main_pos", -1, 28),
    ("pins_hvil", -1, 28),
    ("pins_estop", -1, 28),
    ("pins_oc_alert", -1, 28),
    ("pins_can_miso", -1, 28),
    ("pins_can_cs", -1, 28),
    ("pins_can_sck", -1, 28),
    ("pins_can_mosi", -1, 28),
    ("pins_fan_pwm", -1, 28),
    ("pins_pump_pwm", -1, 28),
    ("pins_heater", -1, 28),
    ("pins_coolant_adc", -1, 28),
    ("pins_coolant_flow", -1, 28),
    ("pins_gas_adc", -1, 28),
    ("pins_aux_main_neg", -1, 28),
)

# Tables of integers; each row: (name, ints per entry, maximum number of entries).
TABLES = (
    ("cell_ocv", 2, 32),                 # SoC 0.01 %, mV
    ("response_curve", 2, 12),           # droop: [deviation from nominal mHz, permille]; power falls with frequency
    ("cell_resistance", 2, 12),          # 0.1 degC, uohm of one cell, direct current
    # available power, permille of rack_power_max_W; linear between the knots, constant beyond them
    ("limit_charge_temp", 2, 16),        # over 0.1 degC
    ("limit_discharge_temp", 2, 16),
    ("limit_charge_cell", 2, 16),        # over the highest cell voltage, mV
    ("limit_discharge_cell", 2, 16),     # over the lowest cell voltage, mV
    ("limit_charge_soc", 2, 16),         # over 0.01 %
    ("limit_discharge_soc", 2, 16),
    ("alarms_levels", 4, 128),           # set, clear, set ms, clear ms, in the order of rack.definitions.alarms.ROWS
)
