"""Layout of the response's state and rings: one integer array, shared by kernel, scan and recorder.

Constants only: the build puts their values in place of their names, also inside the kernels.
"""

from micropython import const

PPM = const(1_000_000)
WITHOUT_MAINS = const(-536_870_912)    # no count: the kernel runs on the scan's time
WHOLE = const(3)               # role of a rack whose partner is out
FAR = const(50_000)            # 0.1 mHz: nothing further away is measured, injected tests included
RING = const(128)              # samples in each ring, a power of two
NEXT = const(127)              # its mask
TARGETS = const(128)           # where the ring of delayed targets begins
STAMPS = const(256)            # where the ring of their times begins
CLOCK = const(0xFFF_FFFF)      # the kernel's clock wraps at 2**28 x 10 us = 44 minutes
BACKWARDS = const(0x800_0000)  # half of that: more is a negative difference
MOST_PHASES = const(3)
NOW_WRAP = const(0x3FFF_FFFF)  # the scan's clock wraps at 2**30 ms

# The state. Entries below 32 are the ones that the kernel works with most: there a viper access is one instruction.
LEAST = const(0)       # shortest plausible period, ticks
MOST = const(1)        # longest
FACTOR = const(2)      # 5 at 50 Hz, 6 at 60 Hz: see frequency.py
WINDOW = const(3)      # samples in the frequency window
HELD = const(4)        # samples it holds: all of them, or those since a step
SLOPE_N = const(5)     # samples in the RoCoF window
JUMP = const(34)        # two samples further away than this are believed at once, 0.1 mHz
INERTIA = const(7)     # ppm per mHz/s
STEP = const(8)        # power of the step service, ppm
AUTHORITY = const(9)   # permille of the response that may be delivered
DELAY = const(37)      # 10 us
UP = const(55)         # ramp caps, permille/s
DOWN = const(32)
POWER_HI = const(13)   # contracted power, thousands of W, and the rest
POWER_LO = const(33)
BASE = const(15)       # W beside the response: setpoint, recovery
CHARGE = const(16)     # limits, W
DISCHARGE = const(17)
PERMIT = const(18)
OWNED = const(19)      # the scan is inside the kernel
# What the kernel keeps
SEEN = const(20)       # samples taken, wraps
PENDING = const(21)    # ticks of pieces too short to be a period
AT = const(22)         # newest sample in the rings
OUT = const(23)        # sample whose target is due
FILLED = const(24)     # samples since the measurement began, up to RING
CLOCK_NOW = const(25)
SUM = const(26)        # running sums of the frequency window: plain, by age, by weight
SUM_AGE = const(27)
SUM_WEIGHT = const(28)
DEVIATION = const(29)  # 0.1 mHz
NOW_PPM = const(30)    # the response after delay and ramps
REQUEST = const(31)    # W
SLOPE_SUM = const(12)  # running sums of the RoCoF window
SLOPE_AGE = const(14)
SLOPE = const(6)      # their least-squares sum; RoCoF after SLOPE_MUL and SLOPE_DIV
RESPONSE = const(35)   # W, before split and limits
PIECES = const(36)
REJECTED = const(10)
LOW = const(38)        # low-pass state of the split, W, and its carried remainder
LOW_REST = const(39)
REAL = const(40)       # the newest period without what is injected, 0.1 mHz
# What the scan sets and few configurations use
ROLE = const(41)       # 0 alone, 1 takes the high-pass of the pair's request, 2 the low-pass, 3 all of it
TAU = const(42)        # samples
SHARE = const(43)      # permille of the low-pass that the low-pass rack takes
BIAS = const(44)       # W handed from the high-pass rack to the low-pass rack
SLOPE_MUL = const(45)  # RoCoF scale, see frequency.py
SLOPE_DIV = const(46)
STAND_IN = const(47)   # W in BASE for the other rack of the pair
BAND = const(48)       # RoCoF below this counts as none, mHz/s
INJECT = const(49)     # virtual deviation of a commissioning test, 0.1 mHz
RELEASE = const(50)    # ramp cap without mains, permille/s
HOLD = const(51)       # keep the response as it is (loss of mains)
SCAN_TIME = const(52)  # time of a call without a period, 10 us
PHASES = const(53)
WANTED = const(54)     # W, the share and the base before limits
WEIGHT = const(11)     # sum of the weights of the samples held
# More than one phase
PHASE_LAST = const(56)    # phase of the newest period
PHASE_NOW = const(57)     # ticks: when it ended, on a clock that wraps at 2**28
PHASE_REST = const(58)    # ticks that the kernel's clock has not counted yet
PHASE_BEHIND = const(59)  # time without samples yet, ticks times phases
PHASE_CLOCKS = const(60)  # and the next two: when each phase's last period ended; -1 not known
PHASE_SEEN = const(63)    # and the next two: periods taken from each phase, wraps
# What the scan knows of the mains, see mains.py
LOSS_ms = const(66)       # older than this the newest period means a loss
LATE_ms = const(67)       # most that an edge since a late scan may be old
SCAN_ms = const(68)
LAST_ms = const(69)       # time of the last scan; -1 before the first
ELAPSED_ms = const(70)    # since the response's last second half, up to 100
SEEN_BEFORE = const(71)   # SEEN at the last scan
AGE_ms = const(72)        # of the newest period
LOST = const(73)          # 1: no mains
PHASE_BEFORE = const(74)  # and the next two: PHASE_SEEN at the last scan
PHASE_AGES = const(77)    # and the next two
PHASES_LOST = const(80)   # bits of the phases that are silent while another is not
HOLD_ms = const(81)       # how long a response is kept without a known frequency
WINDOW_ms = const(82)
UNKNOWN_ms = const(83)    # since the frequency was last known
# From phases.py to the kernel
PHASE = const(84)         # whose count it is
PHASE_PERIOD = const(85)
PHASE_ELAPSED = const(86)  # 10 us
SAMPLES = const(87)       # that the count stands for
SPENT = const(88)         # AUTHORITY is meant for discharging 1, for charging -1, for both 0
STATES = const(89)
