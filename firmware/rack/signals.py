"""The one list of signals (rule R8): what the rack knows, each with its unit in its name.

Every scalar the controller reads, decides or reports is one element of a single integer
array, the process image; console, telemetry, log, Modbus map and host decoding all walk this
list. Two lists that disagree about a scale are how a 10x error reaches a contactor.
The index constants in `rack/ids.py` are generated from this list (`make generate`).

Row: (name, access, meaning). access: "i" input, written by the app from drivers; "c" computed
by the control core; "o" output, acted on by the app. Unit suffixes: _mV, _dV 0.1 V, _dA 0.1 A,
_W, _Wh, _mHz, _mHzps mHz/s, _ddegC 0.1 degC, _ms, _cpct 0.01 %, _pct, _bits, none: a number or state.
Positive current and power discharge the rack.
"""

SIGNALS = (
    # inputs
    ("current_dA", "i", "rack current"),
    ("rack_dV", "i", "voltage of the cell string at the rack side of the contactors"),
    ("bus_dV", "i", "voltage of the PCS DC bus, from the PCS status"),
    ("in_bits", "i", "digital inputs, bits IN_* of rack.control.bits"),
    ("coolant_ddegC", "i", "coolant temperature"),
    ("board_ddegC", "i", "board temperature"),
    ("gas_mV", "i", "gas sensor voltage"),
    ("cells_age_ms", "i", "time since every cell voltage was last read with a good CRC"),
    ("temps_age_ms", "i", "time since every temperature was last read with a good CRC"),
    ("current_age_ms", "i", "time since the current sensor last answered"),
    ("pcs_age_ms", "i", "time since the last valid PCS status"),
    ("grid_age_ms", "i", "time since the last plausible mains period"),
    ("afe_seen", "i", "AFE devices that answered the last scan"),
    ("pcs_power_W", "i", "power the PCS reports"),
    ("pcs_state", "i", "state the PCS reports"),
    # grid
    ("freq_mHz", "c", "grid frequency"),
    ("rocof_mHzps", "c", "rate of change of frequency"),
    # cells
    ("cell_max_mV", "c", "highest cell voltage"),
    ("cell_max_at", "c", "its cell, 0-based"),
    ("cell_min_mV", "c", "lowest cell voltage"),
    ("cell_min_at", "c", "its cell, 0-based"),
    ("cell_spread_mV", "c", "highest minus lowest cell voltage"),
    ("cell_sum_dV", "c", "sum of all cell voltages"),
    ("temp_max_ddegC", "c", "highest plausible cell temperature"),
    ("temp_max_at", "c", "its sensor, 0-based"),
    ("temp_min_ddegC", "c", "lowest plausible cell temperature"),
    ("temp_min_at", "c", "its sensor, 0-based"),
    ("temp_spread_ddegC", "c", "highest minus lowest temperature"),
    ("temps_lost", "c", "temperature sensors replaced by a neighbour"),
    # charge
    ("soc_cpct", "c", "state of charge"),
    # decisions
    ("state", "c", "contactor state, STATE_* of rack.control.bits"),
    ("actions", "c", "actions demanded by active alarms, ACT_* of rack.control.bits"),
    ("alarm_level", "c", "highest active level: 0 none, 1 warn, 2 derate, 3 trip"),
    ("trip_code", "c", "code of the first latched trip, 0 none"),
    ("limit_charge_W", "c", "available charge power, 0 or more"),
    ("limit_discharge_W", "c", "available discharge power, 0 or more"),
    ("limit_charge_by", "c", "what limits charging, LIM_* of rack.control.bits"),
    ("limit_discharge_by", "c", "what limits discharging"),
    ("setpoint_W", "i", "power asked for by the station"),
    ("response_W", "c", "power asked for by the frequency response before limits"),
    # outputs
    ("request_W", "o", "power requested from the PCS"),
    ("coils", "o", "coil commands, bits COIL_* of rack.control.bits"),
    ("fan_pct", "o", "fan duty"),
    ("pump_pct", "o", "pump duty"),
    ("heater", "o", "heater, 0 or 1"),
)
