"""Response tests for commissioning: a virtual frequency is added to the measured one and takes the whole real path.

The hazards are a test that hides a real disturbance, one that does not end, and one that continues in a rack that
opens and closes again. So a test runs only when the config allows it, on a quiet grid and for a bounded time; a real
deviation or the end of the permission ends it at once.
"""

from micropython import const

from rack.control.response.grid_services import STEP_ACTIVE, STEP_READY, STEP_RELEASE
from rack.generated import grid_services_state as G
from rack.generated import ids as I
from rack.generated import response_state as K

STEP = const(0)             # deviation in mHz, at once
RAMP = const(1)             # mHz/s, until _MAX_mHz

KINDS = b"step|ramp"        # texts of STEP and RAMP

IDLE = const(0)
RUNNING = const(1)
DONE = const(2)
ENDED_BY_GRID = const(3)    # the real grid moved
STOPPED = const(4)          # by a command, or because the rack lost its permission

RESULTS = b"idle|running|done|ended_by_grid|stopped"    # texts of IDLE to STOPPED

REFUSED_OFF = const(1)      # not enabled in the config
REFUSED_GRID = const(2)     # no mains, or the grid is not quiet
REFUSED_VALUE = const(3)    # zero or beyond _MAX_mHz
REFUSED_LIMITS = const(4)   # the limits do not allow the expected power
REFUSED_BUSY = const(5)     # a test is running
REFUSED_STEP = const(6)     # the step service has fired and waits for the grid to recover

# texts of REFUSED_*, in their order
REFUSAL_TEXTS = (
    b"|tests are not enabled|there is no mains, or the grid is not quiet"
    b"|step takes 1..1000 mHz, ramp 1..4000 mHz/s or 1..4 Hz/s, whole numbers of either sign"
    b"|the rack may not deliver this now: closed, and limits above the expected power?"
    b"|a test is running; response test stop ends it"
    b"|the step service has fired: wait until the grid has recovered"
)

NEVER = const(-1)
_MAX_mHz = const(1_000)
_JITTER_mHz = const(60)     # three sigma of one period at 5 us rms edge jitter
_LOUD_ms = const(50)        # more than two periods: a single noisy edge does not end a test
_STAY_ms = const(10_000)    # after the virtual frequency has arrived


def _end_of(kind, value):
    """Return the deviation at which a test ends, mHz."""
    return value if kind == STEP else (_MAX_mHz if value > 0 else -_MAX_mHz)


def on_curve(curve, deviation):
    """Return the power of the curve of `knots` at a deviation in 0.1 mHz, permille rounded down. Not for the kernel."""
    if deviation <= curve[1]:
        return curve[2]
    for at in range(1, curve[0], 2):
        if deviation <= curve[at + 2]:
            rise = curve[at + 3] - curve[at + 1]
            return curve[at + 1] + (deviation - curve[at]) * rise // (curve[at + 2] - curve[at])
    return curve[curve[0] + 1]


class ResponseTest:
    """Runs a test and measures the power of the PCS.

    Times are in ms since the first scan of the test, with the resolution of a scan; `NEVER`: not reached yet.

    - delay_ms: first change of the request
    - rise_ms: 90 % of the expected power from the PCS
    - settle_ms: within 1 % of the contracted power from then on
    - peak_W, final_W: PCS power minus its value at the start
    - expected_W: power by the curve
    """

    def __init__(self, params, response, s):
        self._p = params
        self._response = response
        self._k = response.state
        self._s = s
        self.result = IDLE
        self.kind = STEP
        self.value = 0
        self._clear()

    def _clear(self):
        self.elapsed_ms = 0
        self.delay_ms = NEVER
        self.rise_ms = NEVER
        self.settle_ms = NEVER
        self.peak_W = 0
        self.final_W = 0
        self.expected_W = 0
        self.injected_mHz = 0
        self._arrived_ms = NEVER
        self._end_mHz = 0
        self._loud_ms = 0
        self._begun = False
        self._start_response_W = 0
        self._start_W = 0

    def start(self, kind, value):
        """Start a test; kind STEP (value mHz) or RAMP (mHz/s). Returns 0, or REFUSED_*. Idle or scan context."""
        refused = self.refusal(kind, value)
        if refused:
            return refused
        self._clear()
        self.kind = kind
        self.value = value
        self._end_mHz = _end_of(kind, value)
        self.expected_W = self.expects(kind, value)
        self._start_response_W = self._k[K.RESPONSE]
        self._start_W = self._s[I.PCS_POWER_W]
        self.result = RUNNING
        return 0

    def refusal(self, kind, value):
        """Return why such a test may not start now: REFUSED_*, or 0."""
        if not self._p.response_test_enabled:
            return REFUSED_OFF
        if self.result == RUNNING:
            return REFUSED_BUSY
        if value == 0 or abs(value) > (_MAX_mHz if kind == STEP else 4 * _MAX_mHz):
            return REFUSED_VALUE
        if not self._quiet():
            return REFUSED_GRID
        if self._response.services[G.STEP_STATE] != STEP_READY:
            return REFUSED_STEP
        expected_W = self.expects(kind, value)
        limit = self._s[I.LIMIT_DISCHARGE_W] if expected_W > 0 else self._s[I.LIMIT_CHARGE_W]
        if abs(expected_W) > limit or not self._k[K.PERMITTED]:
            return REFUSED_LIMITS
        return 0

    def expects(self, kind, value):
        """Return the power at the end of such a test by curve and step service, W, before split and limits."""
        end_mHz = _end_of(kind, value)
        permille = on_curve(self._response.arrays[2], end_mHz * 10)
        p = self._p
        if p.response_step_permille and end_mHz <= -p.response_step_below_mHz:
            permille += p.response_step_permille
        return max(-1000, min(1000, permille)) * (self._response.contracted_W // 100) // 10

    @property
    def error_permille(self):
        """final_W minus expected_W, permille of the contracted power."""
        whole_W = max(1, self._response.contracted_W)
        error_W = self.final_W - self.expected_W
        tenths = error_W % whole_W * 100    # in two steps: at 2 MW a product with 1000 does not fit 31 bits
        return error_W // whole_W * 1000 + tenths // whole_W * 10 + tenths % whole_W * 10 // whole_W

    def stop(self):
        """End a running test."""
        if self.result == RUNNING:
            self._end(STOPPED)

    def scan(self, elapsed_ms):
        """Move the virtual frequency and measure. Scan context, does not allocate."""
        if self.result != RUNNING:
            return
        if not self._k[K.PERMITTED]:
            self._end(STOPPED)
            return
        self._loud_ms = 0 if self._quiet() else self._loud_ms + elapsed_ms
        if self._loud_ms >= _LOUD_ms:
            self._end(ENDED_BY_GRID)
            return
        if self._begun:
            self.elapsed_ms += elapsed_ms
            self._measure()
        self._begun = True
        if self.kind == STEP:
            self.injected_mHz = self.value
        else:
            ramped_mHz = self.value * self.elapsed_ms // 1000
            self.injected_mHz = max(-_MAX_mHz, min(_MAX_mHz, ramped_mHz))
        if self.injected_mHz == self._end_mHz and self._arrived_ms == NEVER:
            self._arrived_ms = self.elapsed_ms
        self._k[K.INJECTED] = self.injected_mHz * 10
        stayed = self._arrived_ms != NEVER and self.elapsed_ms - self._arrived_ms >= _STAY_ms
        # a step service that ramps down has delivered its contract
        if stayed or self._response.services[G.STEP_STATE] >= STEP_RELEASE:
            self._end(DONE)

    def _quiet(self):
        """Return whether the newest real period is near nominal, with a margin for its own jitter."""
        limit_dmHz = (self._p.response_rest_mHz + _JITTER_mHz) * 10
        return self._response.grid_valid and abs(self._k[K.REAL_DEVIATION]) <= limit_dmHz

    def _end(self, result):
        v = self._response.services
        if v[G.STEP_STATE] == STEP_ACTIVE and not self._loud_ms:   # the grid is quiet: the test has fired the step
            v[G.STEP_STATE] = STEP_RELEASE
            if not self._k[K.PERMITTED]:
                v[G.STEP_ppm] = 0
        self._k[K.INJECTED] = 0
        self.injected_mHz = 0
        self.result = result

    def _measure(self):
        power_W = self._s[I.PCS_POWER_W] - self._start_W
        if self.delay_ms == NEVER and self._k[K.RESPONSE] != self._start_response_W:
            self.delay_ms = self.elapsed_ms
        toward = power_W if self.expected_W >= 0 else -power_W
        expected = abs(self.expected_W)
        if self.rise_ms == NEVER and expected and toward * 10 >= expected * 9:
            self.rise_ms = self.elapsed_ms
        if abs(toward - expected) > self._response.contracted_W // 100:     # a PCS may report any 24-bit power
            self.settle_ms = NEVER
        elif self.settle_ms == NEVER:
            self.settle_ms = self.elapsed_ms
        if abs(power_W) > abs(self.peak_W):
            self.peak_W = power_W
        self.final_W = power_W
