"""The one list of parameters: what a board config sets, with the range each may have.

A rack protected by another rack's limits is the hazard here. The host validates a TOML file
against these rows and compiles it to `config.bin`; the board checks the same rows again and
refuses, never repairs (rule R9). The TOML key of `precharge_tau_ms` is `tau_ms` in section
`[precharge]`; the unit is the suffix (see rack.signals; also _Hz, _us, _A, _mohm, _mF, _s, _K).

Row: (name, least, most). Ranges are engineering judgement unless the section says otherwise.
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
    # [afe]
    ("afe_devices", 1, 26),
    ("afe_cells_per_device", 4, 16),
    ("afe_temps_per_device", 1, 8),
    ("afe_period_ms", 50, 1_000),
    # [grid]
    ("grid_nominal_mHz", 50_000, 60_000),
    # [response]
    ("response_enabled", 0, 1),
    # [precharge]
    ("precharge_tau_ms", 10, 5_000),
    # [deadman]
    ("deadman_window_ms", 20, 200),
    ("deadman_wdt_ms", 200, 8_388),      # RP2040 watchdog maximum: machine_wdt.c of MicroPython
    # [pins], merged from board_configs/boards; -1: not connected. RP2040 GP23..25 and 29 serve the radio and power.
    ("pins_afe_tx", -1, 28),
    ("pins_afe_rx", -1, 28),
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
    ("pins_gas_adc", -1, 28),
    ("pins_aux_main_neg", -1, 28),
)

# Tables of integers; each row: (name, ints per entry, most entries).
TABLES = (
    ("cell_ocv", 2, 32),                 # SoC 0.01 %, mV
)
