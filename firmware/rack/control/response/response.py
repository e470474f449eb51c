"""The fast response: what the kernel works with, and what may take a scan's time.

The hazard here is power that moves too late, too early, too fast or past a limit. The kernel
(response_kernel.py) runs in the interrupt of each mains period; the scan sets its parameters,
runs the slow services and takes over when the mains is lost.
"""

from array import array

import micropython
from micropython import const

from rack.generated import ids as I
from rack.control.response import frequency, mains, grid_services as services
from rack.generated import response_state as K
from rack.base.viper import ptr32
from rack.control.response.mains import look_kernel, second_look
from rack.control.response.request_kernel import period_kernel
from rack.control.response.grid_services import AUTHORITY, BASE_W, SPENT, STEP_ppm, grid_services_kernel
from rack.control.response.pair import LINK_LOST_MS, Balance, pair_kernel

PERIOD_TICK_NS = const(16)      # two cycles of the PIO at 125 MHz

# What a loss of mains makes void.
_MEASURED = (
    K.PENDING, K.PIECES, K.FILLED, K.HELD, K.WEIGHT, K.SUM, K.SUM_AGE, K.SUM_WEIGHT, K.SLOPE_SUM, K.SLOPE_AGE, K.SLOPE,
    K.PHASE_BEHIND, K.PHASE_REST,
)  # fmt: skip


@micropython.viper
def _set_limits(k: ptr32, charge_W: int, discharge_W: int, permitted: int):
    if permitted == 0:              # first, as an interrupt may come between any two lines
        k[K.PERMIT] = 0
        k[K.REQUEST] = 0
    k[K.CHARGE] = charge_W
    k[K.DISCHARGE] = discharge_W
    if permitted != 0:
        k[K.PERMIT] = 1
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
    slope = k[K.SLOPE]              # once, as an interrupt may come between any two lines
    steep = slope // k[K.SLOPE_DIV]         # in two steps, as in the kernel
    flat = slope - steep * k[K.SLOPE_DIV]
    s[I.ROCOF_mHzps] = steep * k[K.SLOPE_MUL] + flat * k[K.SLOPE_MUL] // k[K.SLOPE_DIV]
    s[I.RESPONSE_W] = k[K.RESPONSE]
    s[I.GRID_AGE_ms] = k[K.AGE_ms]
    s[I.PHASES_LOST] = k[K.PHASES_LOST]


class Response:
    """Measures the grid, decides the response, bounds it. Parameters: sections grid, response, split."""

    def __init__(self, params, s):
        self._s = s
        self._k = k = array("i", [0] * K.STATES)
        self._rings = array("i", [0] * (3 * K.RING))
        self._curve = frequency.knots(params.response_curve)
        self._params = params
        self._services = services.make(params)
        self.contracted_W = services.contracted_W(params)   # the power that 1000 permille of the curve mean
        self._balance = Balance(params)
        self._role = params.pair_role
        self._enabled = params.response_enabled
        mains.set_up(k, params)
        self.kernel = self._kernel_of(params.grid_phases)
        self.test = self._make_test(params, s) if params.response_test_enabled else None
        for index, value in (
            (K.LEAST, frequency.ticks(params.grid_nominal_mHz + params.grid_plausible_mHz)),
            (K.MOST, frequency.ticks(params.grid_nominal_mHz - params.grid_plausible_mHz)),
            (K.FACTOR, params.grid_nominal_mHz // 10_000),
            (K.WINDOW, frequency.window(params)),
            (K.SLOPE_N, frequency.slope_window(params)),
            (K.SLOPE_MUL, frequency.slope_mul(params)),
            (K.SLOPE_DIV, frequency.slope_div(params)),
            (K.JUMP, params.grid_jump_mHz * 10),
            (K.INERTIA, params.response_inertia_permille_per_Hzps),
            (K.BAND, params.response_inertia_band_mHzps),
            (K.AUTHORITY, 1000 * params.response_enabled),
            (K.DELAY, params.response_delay_ms * 100),
            (K.UP, params.response_up_permille_ps),
            (K.DOWN, params.response_down_permille_ps),
            (K.RELEASE, params.response_release_permille_ps),
            (K.POWER_HI, self.contracted_W // 1000),
            (K.POWER_LO, self.contracted_W % 1000),
            (K.ROLE, params.pair_role),
            (K.TAU, frequency.samples(params, params.pair_tau_ms)),
            (K.SHARE, params.pair_share_permille),
            (K.PHASES, params.grid_phases),
        ):
            k[index] = value

    def _kernel_of(self, phases):
        """What answers a count whose phase is in the state."""
        if phases == 1:
            return period_kernel
        from rack.control.response.phases import phase_kernel    # costs memory only where it is wanted

        return phase_kernel

    def _make_test(self, params, s):
        from rack.control.response.response_test import ResponseTest     # costs memory only where it is wanted

        return ResponseTest(params, self, s, self._services)

    def on_period(self, count, phase=0):
        """A period of `count` ticks of PERIOD_TICK_NS of a phase; returns the request in W. Interrupt context."""
        self._k[K.PHASE] = phase
        return self.kernel(self._k, self._rings, self._curve, count)

    def look(self, now_ms):
        """Age of the mains and its loss, at the very beginning of a scan; now_ms wraps at 2**30. Scan context.

        With a second look for edges in `scan` a loss is seen in three periods also when that half is late.
        """
        if look_kernel(self._k, now_ms):
            self._forget()

    def scan(self, now_ms):
        """Slow services and what there is without mains; now_ms as for `look`. Scan context, does not allocate."""
        k = self._k
        v = self._services
        if now_ms != k[K.LAST_ms]:
            self.look(now_ms)
        elapsed_ms = k[K.ELAPSED_ms]
        known = second_look(k)
        grid_services_kernel(v, k, self._s, elapsed_ms, known)
        k[K.ELAPSED_ms] = 0
        k[K.STEP] = v[STEP_ppm]
        if self._enabled:
            k[K.AUTHORITY] = v[AUTHORITY]
            k[K.SPENT] = v[SPENT]
        # one store: the interrupt never sees half of it
        k[K.BASE] = v[BASE_W] + self._pair(elapsed_ms, known) if self._role else v[BASE_W]
        if self.test:
            self.test.scan(elapsed_ms)
        if k[K.LOST]:
            self._without_mains(elapsed_ms)

    def _pair(self, elapsed_ms, known):
        """Balance with the other rack of the pair; returns what to stand in for, W. known: the frequency is."""
        k = self._k
        s = self._s
        self._balance.scan(elapsed_ms, s)
        linked = s[I.PAIR_AGE_ms] < LINK_LOST_MS
        alone = linked and s[I.PAIR_OUT]
        k[K.ROLE] = K.WHOLE if alone else self._role
        if alone or not k[K.PERMIT]:
            self._balance.bias_W = 0    # both begin anew: a restart has forgotten it
        pair_kernel(k, s, self._balance.bias_W, s[I.PAIR_SHORT_W] if linked else 0, elapsed_ms, known or k[K.HOLD])
        return k[K.STAND_IN]

    def _forget(self):
        """Start the measurement afresh: a window must not span a loss of mains."""
        k = self._k
        k[K.OWNED] = 1
        for index in _MEASURED:
            k[index] = 0
        for phase in range(K.MOST_PHASES):
            k[K.PHASE_CLOCKS + phase] = -1
        k[K.OUT] = k[K.AT]
        k[K.CLOCK_NOW] = (k[K.CLOCK_NOW] + k[K.AGE_ms] * 100) & K.CLOCK     # the scan goes on from here
        k[K.OWNED] = 0

    def _without_mains(self, elapsed_ms):
        """Hold, then ramp to zero: the kernel runs on the scan's time."""
        k = self._k
        k[K.OWNED] = 1               # an edge in this moment waits for the next period
        k[K.SCAN_TIME] = elapsed_ms * 100
        period_kernel(k, self._rings, self._curve, K.WITHOUT_MAINS)
        self._rings[K.TARGETS + k[K.AT]] = k[K.NOW_PPM] if k[K.HOLD] else 0     # due until what comes next is
        k[K.OWNED] = 0

    def set_limits(self, charge_W, discharge_W, permitted):
        """Limits of the protection core, W, 0 or more; permitted 0: no request, at once and without a ramp."""
        _set_limits(self._k, charge_W, discharge_W, permitted)

    def publish(self, permitted):
        """Frequency, RoCoF, response and the request within the limits into the process image; after scan."""
        _publish(self._k, self._s, permitted)

    @property
    def arrays(self):
        """State, rings and curve: what `on_period` gives to `kernel`, for a port that calls it itself."""
        return self._k, self._rings, self._curve

    @property
    def state(self):
        """The kernel's state, see response_state.py: for the recorder and for commissioning tests."""
        return self._k

    @property
    def grid_valid(self):
        """True while mains is seen and a whole window has been measured."""
        k = self._k
        return not k[K.LOST] and k[K.FILLED] >= k[K.WINDOW]

    @property
    def doubtful(self):
        """True in the two scans before a loss of mains would be found, and never with an edge since the last scan."""
        k = self._k
        return max(1, k[K.LOSS_ms] - 2 * k[K.SCAN_ms]) <= k[K.AGE_ms] < k[K.LOSS_ms]

    @property
    def response_W(self):
        """The response after delay and ramps, before split and limits."""
        return self._k[K.RESPONSE]

    @property
    def request_W(self):
        return self._k[K.REQUEST]
