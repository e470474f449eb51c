"""Bits and small codes that the control core, drivers, links and host share.

Constants only: the build replaces their names by their values, so an import costs the board no memory.
rack.definitions.texts has the names of the states and levels.
"""

from micropython import const

# in_bits: digital inputs; a set bit is the healthy or active state that its name states
IN_HVIL = const(1)          # interlock loop closed
IN_ESTOP = const(2)         # emergency stop released
IN_OC_OK = const(4)         # hardware over-current alert quiet
IN_AUX_POS = const(8)       # main + auxiliary contact closed
IN_AUX_NEG = const(16)      # main - auxiliary contact closed
IN_COOLANT_FLOW = const(32)

# coils
COIL_NEG = const(1)
COIL_PRE = const(2)
COIL_POS = const(4)

# state: contactor state
STATE_OPEN = const(0)
STATE_PRECHARGE = const(1)
STATE_CLOSED = const(2)
STATE_OPENING = const(3)
STATE_FAULT = const(4)
STATE_LOCKED_OUT = const(5)

# level of an alarm
LEVEL_NONE = const(0)
LEVEL_WARN = const(1)
LEVEL_DERATE = const(2)
LEVEL_TRIP = const(3)

# sources of commands; their rights are in rack.control.protect.authority.RIGHTS
BY_EMS = const(0)           # the EMS's link
BY_CONSOLE = const(1)       # a person at the rack
BY_KEY = const(2)           # a person at the rack who has proved the rack's maintenance key
BY_AUTO = const(3)          # [rack] auto_close, without a person or a message

RIGHT_RESET = const(2)      # release an ordinary latched trip
RIGHT_LOCAL = const(4)      # release an emergency stop
RIGHT_KEY = const(8)        # release a deep discharge, end the lock-out
RIGHT_REPEAT = const(16)    # release an over-current. The EMS has this right once, see Contactors.retried
RIGHT_CLOSE = const(32)     # ask for closing
RIGHT_HELD = const(64)      # end a person's opening, acknowledge lost retained data

# latching of an alarm: bit 0, or the right that releases it
LATCH_NEVER = const(0)
LATCH_ALWAYS = const(2)     # until a reset: RIGHT_RESET
LATCH_ENERGISED = const(3)  # the same, if a contactor was on or about to close when the alarm came
LATCH_LOCAL = const(4)      # until a reset on the console: RIGHT_LOCAL
LATCH_KEY = const(8)        # until an unlock with the rack's key: RIGHT_KEY
LATCH_REPEAT = const(16)    # as LATCH_ALWAYS, but the EMS may release it once: RIGHT_REPEAT

# actions that alarms demand
ACT_INFORM = const(1)
ACT_LIMIT_CHARGE = const(2)
ACT_LIMIT_DISCHARGE = const(4)
ACT_OPEN = const(8)         # open the contactors
ACT_ZERO = const(16)        # request zero power

# operator commands to Controller.command()
CMD_OPEN = const(1)
CMD_CLOSE = const(2)
CMD_RESET = const(3)        # acknowledge: unlatch every trip whose cause is gone
CMD_UNLOCK = const(4)       # leave the lock-out, release a deep discharge; needs the rack's key

# why a command is refused; 0: accepted
REFUSED_UNKNOWN = const(1)
REFUSED_TRIPPED = const(2)  # a trip is latched: reset first
REFUSED_LOCKED = const(3)   # locked out: unlock first
REFUSED_ALARM = const(4)    # the cause of a trip is still there
REFUSED_STATE = const(5)    # not possible in this state
REFUSED_LOCAL = const(6)    # the config forbids writing over this link
REFUSED_VALUE = const(7)    # out of range
REFUSED_PART = const(8)     # values that belong together were not written together
REFUSED_ALONE = const(9)    # this rack does not belong to a pair
REFUSED_ADDRESS = const(10)  # not a register that can be written
REFUSED_HELD = const(11)    # a person has opened the rack on the console, or an emergency stop has
REFUSED_NOTHING = const(12)  # a reset without a latched trip
REFUSED_PERSON = const(13)  # only a person at the rack may release this
REFUSED_KEY = const(14)     # only a person with the rack's key may release this
REFUSED_BROADCAST = const(15)  # a broadcast neither closes nor resets

# limit_charge_by, limit_discharge_by
LIM_NONE = const(0)         # the rack's rated power
LIM_TEMP_LOW = const(1)
LIM_TEMP_HIGH = const(2)
LIM_CORE = const(3)         # estimated core temperature
LIM_CELL = const(4)         # cell voltage
LIM_SOC = const(5)
LIM_ALARM = const(6)        # a derate-level alarm
LIM_STATE = const(7)        # an alarm that demands opening or zero power
LIM_RISING = const(8)       # rises slowly after a lower limit

# temps_ddegC: code for a sensor without a value
NO_VALUE = const(-32768)    # not read
NO_OPEN = const(-32767)     # open circuit
NO_SHORT = const(-32766)

# [afe] chip
AFE_BQ79616 = const(0)
AFE_LTC6813 = const(1)

# state of an AFE driver
AFE_WAKE = const(0)
AFE_SEARCH = const(1)       # find out how far the chain reaches
AFE_REVERSE = const(2)      # address the devices that are left from the other end of the ring
AFE_CONFIG = const(3)
AFE_RUN = const(4)
AFE_LOOK = const(5)         # check whether a broken link is whole again

# temps_lost_why: why a temperature sensor is not used
LOST_OPEN = const(1)
LOST_SHORT = const(2)
LOST_UNREAD = const(3)
LOST_JUMP = const(4)        # faster than a cell can
LOST_COLD = const(5)        # far colder than its module
LOST_FROZEN = const(6)      # its module moved, the sensor did not

# runaway
RUN_NONE = const(0)
RUN_SUSPECT = const(1)      # one sensor indicates it, without other evidence
RUN_SLOW = const(2)         # confirmed by the slow tier
RUN_FAST = const(3)         # confirmed by the criterion of GB 38031

# runaway_bits: evidence
EV_RISE = const(1)          # rise at the fast rate for its time
EV_SLOW = const(2)          # rise above the rack's mean for its time
EV_HOT = const(4)           # above the maker's maximum
EV_DROP = const(8)          # cell voltage fell
EV_NEIGHBOUR = const(16)    # another sensor of the module rises too
EV_GAS = const(32)

AGE_NEVER = const(1_000_000)    # age of a message before the first one, ms, and the maximum
MAINS_SILENT_ms = const(40)     # at a higher age of the mains the scan sends the requests, because no period does

# reasons besides the alarms' own codes, see rack.control.protect.reasons
REASONS = const(12)         # how many the console's `why` and the Modbus map list
WHY_TRIPPED = const(1001)       # latched: reset
WHY_LOCKED = const(1002)        # locked out: unlock
WHY_NOT_ASKED = const(1003)     # no command to close was given
WHY_SETTLING = const(1004)      # minimum time open
WHY_COOLING = const(1005)       # precharge resistor
WHY_BUS = const(1006)           # DC bus still charged
WHY_NO_RACK = const(1007)       # no rack voltage
WHY_CLOSING = const(1008)
WHY_OPENING = const(1009)
WHY_ALARM = const(1010)         # an alarm holds it open: its code comes with it
WHY_HELD = const(1011)          # a person has opened it: only a person at the rack closes
WHY_CHARGE = const(1100)        # + LIM_* of limit_charge_by
WHY_DISCHARGE = const(1200)     # + LIM_* of limit_discharge_by

# why the board started: rack.hal.scratch
REASON_POWER = const(0)         # power-on or reset pin
REASON_HANG = const(1)          # the watchdog; the scratch register holds the task that ran
REASON_MAINTENANCE = const(2)   # a command asked for maintenance mode
REASON_COMMAND = const(3)       # any other deliberate reset

# tasks of the schedule, by falling priority, see rack.app; the scratch register and the log hold these numbers
TASK_SCAN = const(0)
TASK_COLLECT = const(1)
TASK_PLAN = const(2)
TASK_AFE = const(3)
TASK_PCS = const(4)
TASK_SLOW = const(5)
TASK_STORAGE = const(6)
TASK_MODBUS = const(7)
TASK_CONSOLE = const(8)

# kinds of a log record, with the meaning of its code and its first value
KIND_START = const(0)           # code: REASON_*; value: TASK_* that hung, -1 unknown
KIND_CAME = const(1)            # code: alarm of rack.definitions.alarms; value: the signal that the alarm watches
KIND_WENT = const(2)            # as KIND_CAME
KIND_STATE = const(3)           # code: new STATE_*; value: STATE_* before + 16 x code of the first reason
