"""Commissioning tests of the response: a virtual frequency on top of the real one, through the real path.

The hazards are a test that hides a real event, one that nobody ends, and one that lives on in a rack that opens and
closes again: it runs only when the config allows it, on a quiet grid, for a bounded time, and a real deviation or
the end of the permission ends it at once.
"""

from micropython import const

from rack.generated import ids as I
from rack.generated import response_state as K
from rack.control.response.grid_services import STEP_ACTIVE, STEP_READY, STEP_RELEASE, STEP_STATE, STEP_ppm

STEP = const(0)             # deviation in mHz, at once
RAMP = const(1)             # mHz/s, until the end of the curve or _MOST_mHz

KINDS = b"step|ramp"        # texts of STEP and RAMP

IDLE = const(0)
RUNNING = const(1)
DONE = const(2)
ENDED_BY_GRID = const(3)    # the real grid moved
STOPPED = const(4)          # by somebody, or as the rack may deliver no more

RESULTS = b"idle|running|done|ended_by_grid|stopped"    # texts of IDLE to STOPPED

REFUSED_OFF = const(1)      # not enabled in the config
REFUSED_GRID = const(2)     # no mains, or the grid is not quiet
REFUSED_VALUE = const(3)    # zero or beyond _MOST_mHz
REFUSED_LIMITS = const(4)   # the rack may not deliver at this moment
REFUSED_BUSY = const(5)
REFUSED_STEP = const(6)     # the step service has fired and waits for its grid

# texts of REFUSED_*, in their order
REFUSAL_TEXTS = (
    b"|tests are not enabled|there is no mains, or the grid is not quiet"
    b"|step takes 1..1000 mHz, ramp 1..4000 mHz/s or 1..4 Hz/s, whole numbers of either sign"
    b"|the rack may not deliver this now: closed, and limits above the expected power?"
    b"|a test is running; response test stop ends it"
    b"|the step service has fired: wait until the grid has recovered"
)

NEVER = const(-1)
_MOST_mHz = const(1_000)
_JITTER_mHz = const(60)     # three sigma of one period at 5 us rms edge jitter
_LOUD_ms = const(50)        # two periods and more: a single noisy edge ends nothing
_STAY_ms = const(10_000)    # after the virtual frequency has arrived


def _aim(kind, value):
    """Deviation at which a test ends, mHz."""
    return value if kind == STEP else (_MOST_mHz if value > 0 else -_MOST_mHz)


def on_curve(curve, deviation):
    """The curve of `knots` at a deviation in 0.1 mHz, permille rounded down; for people, the kernel has its own."""
    if deviation <= curve[1]:
        return curve[2]
    for at in range(1, curve[0], 2):
        if deviation <= curve[at + 2]:
            rise = curve[at + 3] - curve[at + 1]
            return curve[at + 1] + (deviation - curve[at]) * rise // (curve[at + 2] - curve[at])
    return curve[curve[0] + 1]


class ResponseTest:
    """Figures in ms since the first scan of the test, NEVER until they are reached; resolution is one scan.

    delay_ms: first change of the request; rise_ms: 90 % of the expected power from the PCS; settle_ms: within
    1 % of the contracted power since then; peak_W, final_W: PCS power less its start; expected_W: the curve.
    services: the array of rack.control.response.grid_services.
    """

    def __init__(self, params, response, s, services):
        self._p = params
        self._services = services
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
        self._aim_mHz = 0
        self._loud_ms = 0
        self._begun = False
        self._start_request_W = 0
        self._start_W = 0

    def start(self, kind, value):
        """Begin; kind STEP (value mHz) or RAMP (mHz/s). Returns 0, or REFUSED_*. Idle or scan context."""
        refused = self.refusal(kind, value)
        if refused:
            return refused
        self._clear()
        self.kind = kind
        self.value = value
        self._aim_mHz = _aim(kind, value)
        self.expected_W = self.expects(kind, value)
        self._start_request_W = self._k[K.RESPONSE]
        self._start_W = self._s[I.PCS_POWER_W]
        self.result = RUNNING
        return 0

    def refusal(self, kind, value):
        """Why such a test may not begin now: REFUSED_*, or 0."""
        if not self._p.response_test_enabled:
            return REFUSED_OFF
        if self.result == RUNNING:
            return REFUSED_BUSY
        if value == 0 or abs(value) > (_MOST_mHz if kind == STEP else 4 * _MOST_mHz):
            return REFUSED_VALUE
        if not self._quiet():
            return REFUSED_GRID
        if self._services[STEP_STATE] != STEP_READY:
            return REFUSED_STEP
        expected_W = self.expects(kind, value)
        limit = self._s[I.LIMIT_DISCHARGE_W] if expected_W > 0 else self._s[I.LIMIT_CHARGE_W]
        if abs(expected_W) > limit or not self._k[K.PERMIT]:
            return REFUSED_LIMITS
        return 0

    def expects(self, kind, value):
        """Power at the end of such a test by the curve and the step service, W, before split and limits."""
        aim_mHz = _aim(kind, value)
        permille = on_curve(self._response.arrays[2], aim_mHz * 10)
        p = self._p
        if p.response_step_permille and aim_mHz <= -p.response_step_below_mHz:
            permille += p.response_step_permille
        return max(-1000, min(1000, permille)) * (self._response.contracted_W // 100) // 10

    @property
    def error_permille(self):
        """Power against the curve at the end or up to now, permille of the contracted power."""
        whole_W = max(1, self._response.contracted_W)
        error_W = self.final_W - self.expected_W
        tenths = error_W % whole_W * 100    # a product with 1000 would not fit: up to 2 MW
        return error_W // whole_W * 1000 + tenths // whole_W * 10 + tenths % whole_W * 10 // whole_W

    def stop(self):
        """End a running test."""
        if self.result == RUNNING:
            self._end(STOPPED)

    def scan(self, elapsed_ms):
        """Move the virtual frequency and measure. Scan context, does not allocate."""
        if self.result != RUNNING:
            return
        if not self._k[K.PERMIT]:
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
            way = self.value * self.elapsed_ms // 1000
            self.injected_mHz = max(-_MOST_mHz, min(_MOST_mHz, way))
        if self.injected_mHz == self._aim_mHz and self._arrived_ms == NEVER:
            self._arrived_ms = self.elapsed_ms
        self._k[K.INJECT] = self.injected_mHz * 10
        stayed = self._arrived_ms != NEVER and self.elapsed_ms - self._arrived_ms >= _STAY_ms
        if stayed or self._services[STEP_STATE] >= STEP_RELEASE:    # a step service has delivered what it owes
            self._end(DONE)

    def _quiet(self):
        """Whether the newest real period is near nominal: its own jitter is allowed for."""
        most_dmHz = (self._p.response_rest_mHz + _JITTER_mHz) * 10
        return self._response.grid_valid and abs(self._k[K.REAL]) <= most_dmHz

    def _end(self, result):
        v = self._services
        if v[STEP_STATE] == STEP_ACTIVE and not self._loud_ms:     # the grid is quiet: the test has fired it
            v[STEP_STATE] = STEP_RELEASE
            if not self._k[K.PERMIT]:
                v[STEP_ppm] = 0
        self._k[K.INJECT] = 0
        self.injected_mHz = 0
        self.result = result

    def _measure(self):
        power_W = self._s[I.PCS_POWER_W] - self._start_W
        if self.delay_ms == NEVER and self._k[K.RESPONSE] != self._start_request_W:
            self.delay_ms = self.elapsed_ms
        toward = power_W if self.expected_W >= 0 else -power_W
        expected = abs(self.expected_W)
        if self.rise_ms == NEVER and expected and toward * 10 >= expected * 9:
            self.rise_ms = self.elapsed_ms
        if abs(toward - expected) > self._response.contracted_W // 100:     # the PCS may tell 24 bits
            self.settle_ms = NEVER
        elif self.settle_ms == NEVER:
            self.settle_ms = self.elapsed_ms
        if abs(power_W) > abs(self.peak_W):
            self.peak_W = power_W
        self.final_W = power_W
