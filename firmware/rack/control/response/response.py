"""The frequency response: owns the arrays of the kernels and does the work of the scan.

The hazard is power that moves too late, too early, too fast or past a limit. The kernels (measure_kernel.py,
request_kernel.py) run in the interrupt of each mains period. The scan sets their parameters, runs the slow grid
services, and calls the request kernel itself when the mains is lost.
"""

from array import array

import micropython
from micropython import const

from rack.base.viper import ptr32
from rack.control.response import frequency, grid_services, mains
from rack.control.response.grid_services import grid_services_kernel
from rack.control.response.mains import mains_age_kernel, recheck_edges
from rack.control.response.measure_kernel import measure_kernel
from rack.control.response.pair import LINK_LOST_MS, Balance, pair_kernel
from rack.control.response.request_kernel import request_kernel
from rack.generated import grid_services_state as G
from rack.generated import ids as I
from rack.generated import response_state as K

PERIOD_TICK_NS = const(16)      # two cycles of the PIO at 125 MHz

# Words that a loss of mains clears
_MEASURED = (
    K.PENDING, K.PIECES, K.FILLED, K.HELD, K.WEIGHT, K.SUM, K.SUM_BY_AGE, K.SUM_BY_WEIGHT,
    K.SLOPE_SUM, K.SLOPE_SUM_BY_AGE, K.SLOPE, K.PHASE_BEHIND, K.PHASE_REST,
)  # fmt: skip


@micropython.viper
def _set_limits(k: ptr32, charge_W: int, discharge_W: int, permitted: int):
    if permitted == 0:              # first, as an interrupt may come between any two lines
        k[K.PERMITTED] = 0
        k[K.REQUEST] = 0
    k[K.CHARGE_LIMIT] = charge_W
    k[K.DISCHARGE_LIMIT] = discharge_W
    if permitted != 0:
        k[K.PERMITTED] = 1
    request = k[K.REQUEST]
    if request > discharge_W:
        k[K.REQUEST] = discharge_W
    elif request < 0 - charge_W:
        k[K.REQUEST] = 0 - charge_W


@micropython.viper
def _publish(k: ptr32, s: ptr32, permitted: int):
    request = 0
    if permitted != 0:
        request = k[K.REQUEST]
        if request > s[I.LIMIT_DISCHARGE_W]:
            request = s[I.LIMIT_DISCHARGE_W]
        if request < 0 - s[I.LIMIT_CHARGE_W]:
            request = 0 - s[I.LIMIT_CHARGE_W]
    s[I.REQUEST_W] = request
    s[I.FREQ_mHz] = k[K.FACTOR] * 10_000 + (k[K.DEVIATION] + 5) // 10
    slope = k[K.SLOPE]              # read once, as an interrupt may come between any two lines
    quotient = slope // k[K.SLOPE_DIV]      # in two steps, as in the request kernel
    rest = slope - quotient * k[K.SLOPE_DIV]
    s[I.ROCOF_mHzps] = quotient * k[K.SLOPE_MUL] + rest * k[K.SLOPE_MUL] // k[K.SLOPE_DIV]
    s[I.RESPONSE_W] = k[K.RESPONSE]
    s[I.GRID_AGE_ms] = k[K.AGE_ms]
    s[I.PHASES_LOST] = k[K.PHASES_LOST]


class Response:
    """Measures the grid, computes the response and limits it. Parameters: sections grid, response, pair."""

    def __init__(self, params, s):
        self._s = s
        self._k = array("i", [0] * K.STATES)
        self._rings = array("i", [0] * (3 * K.RING))
        self._curve = frequency.knots(params.response_curve)
        self.services = grid_services.make(params)          # see rack.generated.grid_services_state
        self.contracted_W = grid_services.contracted_W(params)
        self._balance = Balance(params)
        self._role = params.pair_role
        self._enabled = params.response_enabled
        mains.set_up(self._k, params)
        self._set_parameters(params)
        self.kernel = self._kernel_of(params.grid_phases)
        self.test = self._make_test(params, s) if params.response_test_enabled else None

    def _set_parameters(self, params):
        k = self._k
        for index, value in (
            (K.MIN_PERIOD, frequency.ticks(params.grid_nominal_mHz + params.grid_plausible_mHz)),
            (K.MAX_PERIOD, frequency.ticks(params.grid_nominal_mHz - params.grid_plausible_mHz)),
            (K.FACTOR, params.grid_nominal_mHz // 10_000),
            (K.WINDOW, frequency.window(params)),
            (K.SLOPE_WINDOW, frequency.slope_window(params)),
            (K.SLOPE_MUL, frequency.slope_mul(params)),
            (K.SLOPE_DIV, frequency.slope_div(params)),
            (K.JUMP, params.grid_jump_mHz * 10),
            (K.INERTIA, params.response_inertia_permille_per_Hzps),
            (K.INERTIA_BAND, params.response_inertia_band_mHzps),
            (K.AUTHORITY, 1000 * params.response_enabled),
            (K.DELAY, params.response_delay_ms * 100),
            (K.RAMP_UP, params.response_up_permille_ps),
            (K.RAMP_DOWN, params.response_down_permille_ps),
            (K.RAMP_RELEASE, params.response_release_permille_ps),
            (K.POWER_kW, self.contracted_W // 1000),
            (K.POWER_REST_W, self.contracted_W % 1000),
            (K.PAIR_ROLE, params.pair_role),
            (K.LOW_PASS_TAU, frequency.samples(params, params.pair_tau_ms)),
            (K.PAIR_SHARE, params.pair_share_permille),
            (K.PHASES, params.grid_phases),
        ):
            k[index] = value

    def _kernel_of(self, phases):
        """Return the measurement kernel for a count whose phase is in the state."""
        if phases == 1:
            return measure_kernel
        from rack.control.response.phases import phase_kernel    # imported here to save RAM on other racks

        return phase_kernel

    def _make_test(self, params, s):
        from rack.control.response.response_test import ResponseTest     # imported here to save RAM on other racks

        return ResponseTest(params, self, s)

    def fixed(self):
        """Words that never change: (array, first, end)."""
        return (
            (self._k, K.MIN_PERIOD, K.POWER_kW + 1),
            (self._k, K.RAMP_DOWN, K.SCAN_ms + 1),
            (self._curve, 0, len(self._curve)),
            (self.services, G.POWER_W, G.BAND_cpct + 1),
        )

    def on_period(self, count, phase=0):
        """Take a period of `count` ticks of PERIOD_TICK_NS of a phase; return the request in W. Interrupt context."""
        k = self._k
        k[K.PHASE] = phase
        if self.kernel(k, self._rings, count):
            request_kernel(k, self._rings, self._curve)
        return k[K.REQUEST]

    def update_mains_age(self, now_ms):
        """Update age and loss of the mains, as the first step of a scan; now_ms wraps at 2**30. Scan context.

        `scan` checks for edges once more, so that a loss is seen in three periods even if that half of a scan is late.
        """
        if mains_age_kernel(self._k, now_ms):
            self._clear_measurement()

    def scan(self, now_ms):
        """Run the slow services, and the response without mains. Scan context, does not allocate.

        now_ms: as for `update_mains_age`, which this calls if the scan has not done so at now_ms.
        """
        k = self._k
        v = self.services
        if now_ms != k[K.LAST_ms]:
            self.update_mains_age(now_ms)
        elapsed_ms = k[K.ELAPSED_ms]
        known = recheck_edges(k)
        grid_services_kernel(v, k, self._s, elapsed_ms, known)
        k[K.ELAPSED_ms] = 0
        k[K.STEP] = v[G.STEP_ppm]
        if self._enabled:
            k[K.AUTHORITY] = v[G.AUTHORITY]
            k[K.SPENT_DIRECTION] = v[G.SPENT_DIRECTION]
        # one store, so that the interrupt cannot see one part of the sum without the other
        k[K.BASE] = v[G.BASE_W] + self._pair(elapsed_ms, known) if self._role else v[G.BASE_W]
        if self.test:
            self.test.scan(elapsed_ms)
        if k[K.LOST]:
            self._without_mains(elapsed_ms)

    def _pair(self, elapsed_ms, known):
        """Balance with the other rack of the pair; return the stand-in for it, W. known: the frequency is known."""
        k = self._k
        s = self._s
        self._balance.scan(elapsed_ms, s)
        linked = s[I.PAIR_AGE_ms] < LINK_LOST_MS
        alone = linked and s[I.PAIR_OUT]
        k[K.PAIR_ROLE] = K.ROLE_WHOLE if alone else self._role
        if alone or not k[K.PERMITTED]:
            self._balance.bias_W = 0    # both racks start again at zero: a restarted rack has lost its bias
        pair_kernel(k, s, self._balance.bias_W, s[I.PAIR_SHORT_W] if linked else 0, elapsed_ms, known or k[K.HOLD])
        return k[K.STAND_IN]

    def _clear_measurement(self):
        """Start the measurement again: a window must not span a loss of mains."""
        k = self._k
        k[K.LOCKED] = 1
        for index in _MEASURED:
            k[index] = 0
        for phase in range(K.MAX_PHASES):
            k[K.PHASE_CLOCKS + phase] = -1
        k[K.DUE] = k[K.NEWEST]
        k[K.CLOCK_NOW] = (k[K.CLOCK_NOW] + k[K.AGE_ms] * 100) & K.CLOCK_MASK    # from here the scan moves it
        k[K.LOCKED] = 0

    def _without_mains(self, elapsed_ms):
        """Hold the response, then ramp it to zero: the request kernel runs on the scan's time."""
        k = self._k
        k[K.LOCKED] = 1              # an edge now is ignored; the next one counts again
        k[K.ELAPSED] = elapsed_ms * 100
        k[K.SAMPLES] = 0
        request_kernel(k, self._rings, self._curve)
        self._rings[K.TARGETS + k[K.NEWEST]] = k[K.RESPONSE_PPM] if k[K.HOLD] else 0    # due until the next target is
        k[K.LOCKED] = 0

    def set_limits(self, charge_W, discharge_W, permitted):
        """Set the limits of the protection core, W, 0 or more; permitted 0: no request, at once and without a ramp."""
        _set_limits(self._k, charge_W, discharge_W, permitted)

    def publish(self, permitted):
        """Write frequency, RoCoF, response and the request within the limits into the process image; after `scan`."""
        _publish(self._k, self._s, permitted)

    @property
    def arrays(self):
        """State, rings and curve: the arguments of the kernels, for a port that calls them itself."""
        return self._k, self._rings, self._curve

    @property
    def state(self):
        """The state of the kernels, see rack.generated.response_state: for the recorder and the response test."""
        return self._k

    @property
    def grid_valid(self):
        """True while mains is present and a whole window has been measured."""
        k = self._k
        return not k[K.LOST] and k[K.FILLED] >= k[K.WINDOW]

    @property
    def doubtful(self):
        """True in the two scans before a loss of mains would be found; False with an edge since the last scan."""
        k = self._k
        return max(1, k[K.LOSS_ms] - 2 * k[K.SCAN_ms]) <= k[K.AGE_ms] < k[K.LOSS_ms]

    @property
    def response_W(self):
        """The response after delay and ramps, before pair and limits."""
        return self._k[K.RESPONSE]

    @property
    def request_W(self):
        """The newest request to the PCS, within the limits."""
        return self._k[K.REQUEST]
