"""The fast response: from one mains period to one power request, without leaving the interrupt.

The hazard here is power that moves too late, too early, too fast or past a limit. All of it is one
kernel over integer arrays, so that nothing can be half-done between measuring and asking, and the
limits of the protection core are applied in the same call as the droop curve.

Units inside the kernel: deviation from nominal frequency in 0.1 mHz, power in ppm of the contracted
power, time in 10 us. Positive power discharges; low frequency asks for positive power.
"""

from array import array

import micropython
from micropython import const

from rack import ids as I
from rack.control import frequency
from rack.control.fast import ptr32
from rack.control.services import Services
from rack.control.split import LINK_LOST_MS, Balance

PERIOD_TICK_NS = const(16)      # two cycles of the PIO at 125 MHz

_PPM = const(1_000_000)
_WITHOUT_MAINS = const(-536_870_912)    # no count: the kernel runs on the scan's time
_WHOLE = const(3)               # role of a rack whose partner is out
_FAR = const(50_000)            # 0.1 mHz: nothing further away is measured, injected tests included
_RING = const(128)              # samples in each ring, a power of two
_NEXT = const(127)              # its mask
_TARGETS = const(128)           # where the ring of delayed targets begins
_STAMPS = const(256)            # where the ring of their times begins
_CLOCK = const(0xFFF_FFFF)      # the kernel's clock wraps at 2**28 x 10 us = 44 minutes
_NOW_WRAP = const(0x3FFF_FFFF)  # the scan's clock wraps at 2**30 ms

# The state. Entries below 32 are the ones of every period: there a viper access is one instruction.
_LEAST = const(0)       # shortest plausible period, ticks
_MOST = const(1)        # longest
_FACTOR = const(2)      # 5 at 50 Hz, 6 at 60 Hz: see frequency.py
_WINDOW = const(3)      # samples in the frequency window
_HELD = const(4)        # samples it holds: all of them, or those since a step
_SLOPE_N = const(5)     # samples in the RoCoF window
_JUMP = const(6)        # two samples further away than this are believed at once, 0.1 mHz
_INERTIA = const(7)     # ppm per mHz/s
_STEP = const(8)        # power of the step service, ppm
_AUTHORITY = const(9)   # permille of the response that may be delivered
_DELAY = const(10)      # 10 us
_UP = const(11)         # ramp caps, permille/s
_DOWN = const(12)
_POWER_HI = const(13)   # contracted power, thousands of W, and the rest
_POWER_LO = const(14)
_BASE = const(15)       # W beside the response: setpoint, recovery
_CHARGE = const(16)     # limits, W
_DISCHARGE = const(17)
_PERMIT = const(18)
_OWNED = const(19)      # the scan is inside the kernel
# What the kernel keeps
_SEEN = const(20)       # samples taken, wraps
_PENDING = const(21)    # ticks of pieces too short to be a period
_AT = const(22)         # newest sample in the rings
_OUT = const(23)        # sample whose target is due
_FILLED = const(24)     # samples since the measurement began, up to _RING
_CLOCK_NOW = const(25)
_SUM = const(26)        # running sums of the frequency window: plain, by age, by weight
_SUM_AGE = const(27)
_SUM_WEIGHT = const(28)
_DEVIATION = const(29)  # 0.1 mHz
_NOW_PPM = const(30)    # the response after delay and ramps
_REQUEST = const(31)    # W
_SLOPE_SUM = const(32)  # running sums of the RoCoF window
_SLOPE_AGE = const(33)
_SLOPE = const(34)      # their least-squares sum; RoCoF after _SLOPE_MUL and _SLOPE_DIV
_RESPONSE = const(35)   # W, before split and limits
_PIECES = const(36)
_REJECTED = const(37)
_LOW = const(38)        # low-pass state of the split, W, and its carried remainder
_LOW_REST = const(39)
_PARTNER = const(40)    # W, the other rack's share
# What the scan sets and few configurations use
_ROLE = const(41)       # 0 alone, 1 takes the high-pass of the pair's request, 2 the low-pass, 3 all of it
_TAU = const(42)        # samples
_SHARE = const(43)      # permille of the low-pass that the low-pass rack takes
_BIAS = const(44)       # W handed from the high-pass rack to the low-pass rack
_SLOPE_MUL = const(45)  # RoCoF scale, see frequency.py
_SLOPE_DIV = const(46)
_SLOPE_MAX = const(47)
_BAND = const(48)       # RoCoF below this counts as none, mHz/s
_INJECT = const(49)     # virtual deviation of a commissioning test, 0.1 mHz
_RELEASE = const(50)    # ramp cap without mains, permille/s
_HOLD = const(51)       # keep the response as it is (loss of mains)
_SCAN_TIME = const(52)  # time of a call without a period, 10 us
_PHASES = const(53)
_WANTED = const(54)     # W, the share and the base before limits
_WEIGHT = const(55)     # sum of the weights of the samples held
_REAL = const(56)       # the newest period without what is injected, 0.1 mHz
_STATES = const(57)

# What a loss of mains makes void.
_MEASURED = (_PENDING, _PIECES, _FILLED, _HELD, _WEIGHT, _SUM, _SUM_AGE, _SUM_WEIGHT, _SLOPE_SUM, _SLOPE_AGE, _SLOPE)


@micropython.viper
def period_kernel(k: ptr32, ring: ptr32, knots: ptr32, count: int) -> int:  # noqa: C901 - one kernel: see above
    """One mains period into one power request in W; count _WITHOUT_MAINS: a scan without mains.

    k, ring, knots: array('i') made by `Response`. count: ticks, any value. Rejects what is no
    period; never divides by zero as `Response` keeps every divisor above zero. Interrupt context.
    """
    elapsed = k[_SCAN_TIME]
    target = k[_NOW_PPM]
    valid = 0
    if count != _WITHOUT_MAINS:
        if k[_OWNED] != 0:
            return k[_REQUEST]
        # Edges: a piece too short is added to the next; one missing edge is forgiven.
        if count <= 0 or count > k[_MOST] + k[_MOST]:
            k[_REJECTED] += 1
            k[_PENDING] = 0
            k[_PIECES] = 0
            return k[_REQUEST]
        period = count + k[_PENDING]
        if period < k[_LEAST]:
            if k[_PHASES] == 1:
                k[_PENDING] = period
                k[_PIECES] += 1
            k[_REJECTED] += 1
            return k[_REQUEST]
        pieces = k[_PIECES]
        elapsed = period // 625
        k[_PENDING] = 0
        k[_PIECES] = 0
        if period > k[_MOST]:
            period >>= 1
            k[_REJECTED] += 1
        if pieces > 2 or period < k[_LEAST] or period > k[_MOST]:
            k[_REJECTED] += 1
            return k[_REQUEST]
        k[_SEEN] = (k[_SEEN] + 1) & _CLOCK
        if k[_PHASES] != 1:
            elapsed = elapsed // k[_PHASES]

        # Deviation of this period, rounded to 0.1 mHz: exact, see frequency.py.
        off = 6_250_000 - k[_FACTOR] * period
        scaled = off * 1000
        quotient = scaled // period
        sample = quotient * 100 + ((scaled - quotient * period) * 100 + (period >> 1)) // period
        k[_REAL] = sample
        sample += k[_INJECT]
        if sample > _FAR:
            sample = _FAR
        elif sample < 0 - _FAR:
            sample = 0 - _FAR

        # Least-squares frequency over the window, by running sums.
        at = (k[_AT] + 1) & _NEXT
        before = ring[k[_AT]]
        n = k[_WINDOW]
        held = k[_HELD]
        leaving = 0
        if held == n:
            leaving = ring[(at - n) & _NEXT]
        k[_SUM_WEIGHT] += n * (k[_SUM] + sample) - 2 * k[_SUM_AGE]
        k[_SUM_AGE] += k[_SUM] - (n + 1) * leaving + sample
        k[_SUM] += sample - leaving
        if held < n:
            held += 1
            k[_HELD] = held
            k[_WEIGHT] += held * (n + 1 - held)
        deviation = (k[_SUM_WEIGHT] + (k[_WEIGHT] >> 1)) // k[_WEIGHT]
        # Two samples far off on the same side are no noise: the window begins anew with them, or
        # with the newest alone if the step fell inside the older one.
        jump = k[_JUMP]
        above = sample > deviation + jump and before > deviation + jump
        if above or (sample < deviation - jump and before < deviation - jump):
            held = 1
            k[_SUM] = sample
            k[_SUM_AGE] = sample
            k[_SUM_WEIGHT] = n * sample
            k[_WEIGHT] = n
            deviation = sample
            spread = sample - before
            if spread + spread < jump and spread + spread > 0 - jump:
                held = 2
                k[_SUM] += before
                k[_SUM_AGE] += 2 * before
                k[_SUM_WEIGHT] += 2 * (n - 1) * before
                k[_WEIGHT] += 2 * (n - 1)
                deviation = (sample + before) >> 1
            k[_HELD] = held
        filled = k[_FILLED]
        slope_n = k[_SLOPE_N]
        leaving = 0
        if filled >= slope_n:
            leaving = ring[(at - slope_n) & _NEXT]
        k[_SLOPE_AGE] += k[_SLOPE_SUM] - (slope_n + 1) * leaving + sample
        k[_SLOPE_SUM] += sample - leaving
        ring[at] = sample
        k[_AT] = at
        if filled < _RING:
            filled += 1
            k[_FILLED] = filled
        target = 0
        if filled >= n:
            valid = 1
            # Droop between the knots, saturated at the ends. knots[0]: index of the last knot.
            last = knots[0]
            j = 1
            while j < last and deviation > knots[j + 2]:
                j += 2
            if deviation <= knots[1]:
                target = knots[2] * 1000
            elif j >= last:
                target = knots[last + 1] * 1000
            else:
                span = knots[j + 2] - knots[j]
                scaled = (deviation - knots[j]) * (knots[j + 3] - knots[j + 1])
                quotient = scaled // span
                target = (knots[j + 1] + quotient) * 1000 + (scaled - quotient * span) * 1000 // span
        k[_DEVIATION] = deviation
        slope = 0
        if filled >= slope_n:
            slope = (slope_n + 1) * k[_SLOPE_SUM] - 2 * k[_SLOPE_AGE]
            if slope > k[_SLOPE_MAX]:
                slope = k[_SLOPE_MAX]
            elif slope < 0 - k[_SLOPE_MAX]:
                slope = 0 - k[_SLOPE_MAX]
        k[_SLOPE] = slope
        if valid != 0:
            if k[_INERTIA] != 0:
                slope = slope * k[_SLOPE_MUL] // k[_SLOPE_DIV]
                band = k[_BAND]
                if slope > band:
                    target -= (slope - band) * k[_INERTIA]
                elif slope < 0 - band:
                    target -= (slope + band) * k[_INERTIA]
            target += k[_STEP]
            if target > _PPM:
                target = _PPM
            elif target < 0 - _PPM:
                target = 0 - _PPM
            if k[_AUTHORITY] != 1000:
                target = target * k[_AUTHORITY] // 1000

        # The target waits for its time.
        clock = (k[_CLOCK_NOW] + elapsed) & _CLOCK
        k[_CLOCK_NOW] = clock
        ring[_TARGETS + at] = target
        ring[_STAMPS + at] = clock
        out = k[_OUT]
        if out == at:
            out = (out + 1) & _NEXT
        while out != at and ((clock - ring[_STAMPS + ((out + 1) & _NEXT)]) & _CLOCK) >= k[_DELAY]:
            out = (out + 1) & _NEXT
        k[_OUT] = out
        target = ring[_TARGETS + out]
    elif k[_HOLD] == 0:
        target = 0

    # Ramps: away from zero at most _UP, back at most _DOWN, through zero only in two steps.
    power = k[_NOW_PPM]
    if k[_PERMIT] == 0:
        power = 0
    elif target != power:
        step = k[_DOWN]
        if valid == 0:
            step = k[_RELEASE]
        if power == 0 or (power > 0 and target > power) or (power < 0 and target < power):
            step = k[_UP]
        step = step * elapsed // 100
        if target > power:
            step += power
            if power < 0 and step > 0:
                step = 0
            if step > target:
                step = target
        else:
            step = power - step
            if power > 0 and step < 0:
                step = 0
            if step < target:
                step = target
        power = step
    k[_NOW_PPM] = power

    # ppm to W, exact at 0 and at full power and monotone between.
    watt = 0
    if power != 0:
        quotient = power // 1000
        watt = quotient * k[_POWER_HI] + (quotient * k[_POWER_LO] + (power - quotient * 1000) * k[_POWER_HI]) // 1000
    k[_RESPONSE] = watt
    if k[_ROLE] != 0:
        rest = watt - k[_LOW] + k[_LOW_REST]
        quotient = rest // k[_TAU]
        low = k[_LOW] + quotient
        k[_LOW] = low
        k[_LOW_REST] = rest - quotient * k[_TAU]
        quotient = low // 1000
        share = quotient * k[_SHARE] + (low - quotient * 1000) * k[_SHARE] // 1000 + k[_BIAS]
        rest = watt - share
        if k[_ROLE] == 1:
            watt = rest
            rest = share
        elif k[_ROLE] == 2:
            watt = share
        else:
            rest = 0
        k[_PARTNER] = rest
    watt += k[_BASE]
    k[_WANTED] = watt
    if watt > k[_DISCHARGE]:
        watt = k[_DISCHARGE]
    elif watt < 0 - k[_CHARGE]:
        watt = 0 - k[_CHARGE]
    if k[_PERMIT] == 0:
        watt = 0
    k[_REQUEST] = watt
    return watt


class Response:
    """Measures the grid, decides the response, bounds it. Parameters: sections grid, response, split."""

    def __init__(self, params, s):
        self._s = s
        self._k = k = array("i", [0] * _STATES)
        self._rings = array("i", [0] * (3 * _RING))
        self._curve = frequency.knots(params.response_curve)
        self._params = params
        self._services = Services(params)
        self._balance = Balance(params)
        self._role = params.split_role
        self._loss_ms = 3 * frequency.period_ms(params) - params.rack_scan_ms
        self._hold_ms = params.response_hold_ms
        self._enabled = params.response_enabled
        self._last_ms = -1
        self._seen = 0
        self._was_lost = True
        self.grid_age_ms = 0
        self.test = self._make_test(params, s) if params.response_test_enabled else None
        for index, value in (
            (_LEAST, frequency.ticks(params.grid_nominal_mHz + params.grid_plausible_mHz)),
            (_MOST, frequency.ticks(params.grid_nominal_mHz - params.grid_plausible_mHz)),
            (_FACTOR, params.grid_nominal_mHz // 10_000),
            (_WINDOW, frequency.window(params)),
            (_SLOPE_N, frequency.slope_window(params)),
            (_SLOPE_MUL, frequency.slope_mul(params)),
            (_SLOPE_DIV, frequency.slope_div(params)),
            (_SLOPE_MAX, frequency.slope_max(params)),
            (_JUMP, params.grid_jump_mHz * 10),
            (_INERTIA, params.response_inertia_permille_per_Hzps),
            (_BAND, params.response_inertia_band_mHzps),
            (_AUTHORITY, 1000 * params.response_enabled),
            (_DELAY, params.response_delay_ms * 100),
            (_UP, params.response_up_permille_ps),
            (_DOWN, params.response_down_permille_ps),
            (_RELEASE, params.response_release_permille_ps),
            (_POWER_HI, self._services.power_W // 1000),
            (_POWER_LO, self._services.power_W % 1000),
            (_ROLE, params.split_role),
            (_TAU, frequency.samples(params, params.split_tau_ms)),
            (_SHARE, params.split_share_permille),
            (_PHASES, params.grid_phases),
        ):
            k[index] = value

    def _make_test(self, params, s):
        from rack.control.commissioning import ResponseTest     # costs memory only where it is wanted

        return ResponseTest(params, self, s)

    def on_period(self, count):
        """A mains period of `count` ticks of PERIOD_TICK_NS; returns the request in W. Interrupt context."""
        return period_kernel(self._k, self._rings, self._curve, count)

    def scan(self, now_ms):
        """Slow services and loss of mains; now_ms wraps at 2**30. Scan context, does not allocate."""
        k = self._k
        elapsed_ms = 0 if self._last_ms < 0 else (now_ms - self._last_ms) & _NOW_WRAP
        self._last_ms = now_ms
        if elapsed_ms > 100:
            elapsed_ms = 100        # a late scan moves no further than ten punctual ones
        seen = k[_SEEN]
        if seen != self._seen:
            self._seen = seen
            self.grid_age_ms = 0
        elif self.grid_age_ms < 60_000:
            self.grid_age_ms += elapsed_ms
        lost = self.grid_age_ms >= self._loss_ms
        if lost and not self._was_lost:
            self._forget()
        self._was_lost = lost
        services = self._services
        services.scan(elapsed_ms, k[_DEVIATION], k[_RESPONSE], self.grid_valid, self._s, k[_CHARGE], k[_DISCHARGE])
        k[_STEP] = services.step_ppm
        k[_AUTHORITY] = services.authority if self._enabled else 0
        k[_BASE] = services.base_W
        if k[_ROLE]:
            self._pair(elapsed_ms)
        if self.test:
            self.test.scan(elapsed_ms)
        if lost:
            self._without_mains(elapsed_ms)

    def _pair(self, elapsed_ms):
        """Balance with the other rack of the pair and stand in for what it cannot deliver."""
        k = self._k
        s = self._s
        self._balance.scan(elapsed_ms, s)
        k[_BIAS] = self._balance.bias_W
        linked = s[I.PAIR_AGE_ms] < LINK_LOST_MS
        k[_ROLE] = _WHOLE if linked and s[I.PAIR_OUT] else self._role
        if linked:
            k[_BASE] += s[I.PAIR_SHORT_W]
        s[I.SHORT_W] = k[_WANTED] - k[_REQUEST] if k[_PERMIT] else 0

    def _forget(self):
        """Start the measurement afresh: a window must not span a loss of mains."""
        k = self._k
        k[_OWNED] = 1
        for index in _MEASURED:
            k[index] = 0
        k[_OUT] = k[_AT]
        self._rings[_TARGETS + k[_AT]] = 0
        k[_OWNED] = 0

    def _without_mains(self, elapsed_ms):
        """Hold, then ramp to zero: the kernel runs on the scan's time."""
        k = self._k
        k[_OWNED] = 1               # an edge in this moment waits for the next period
        k[_HOLD] = 1 if self.grid_age_ms - self._loss_ms < self._hold_ms else 0
        k[_SCAN_TIME] = elapsed_ms * 100
        period_kernel(k, self._rings, self._curve, _WITHOUT_MAINS)
        k[_OWNED] = 0

    def set_limits(self, charge_W, discharge_W, permitted):
        """Limits of the protection core, W, 0 or more; permitted 0: no request, at once and without a ramp."""
        k = self._k
        k[_CHARGE] = charge_W
        k[_DISCHARGE] = discharge_W
        k[_PERMIT] = 1 if permitted else 0
        request = k[_REQUEST]
        if not permitted:
            k[_REQUEST] = 0
        elif request > discharge_W:
            k[_REQUEST] = discharge_W
        elif request < -charge_W:
            k[_REQUEST] = -charge_W

    def inject(self, deviation_mHz):
        """Add a virtual deviation to every measured period: commissioning tests only, see commissioning.py."""
        self._k[_INJECT] = deviation_mHz * 10

    def steady_W(self, deviation_mHz):
        """What the curve and the step service ask at a lasting deviation, W, before split and limits."""
        permille = frequency.on_curve(self._curve, deviation_mHz * 10)
        p = self._params
        if p.response_step_permille and deviation_mHz <= -p.response_step_below_mHz:
            permille += p.response_step_permille
        return max(-1000, min(1000, permille)) * (self.contracted_W // 100) // 10

    @property
    def contracted_W(self):
        """The power that 1000 permille of the curve mean."""
        return self._services.power_W

    @property
    def permitted(self):
        return self._k[_PERMIT] != 0

    @property
    def real_dmHz(self):
        """The newest period's deviation without the virtual one, 0.1 mHz."""
        return self._k[_REAL]

    @property
    def state(self):
        """The kernel's state, for the recorder."""
        return self._k

    @property
    def grid_valid(self):
        """True while mains is seen and a whole window has been measured."""
        k = self._k
        return not self._was_lost and k[_FILLED] >= k[_WINDOW]

    @property
    def freq_mHz(self):
        k = self._k
        return k[_FACTOR] * 10_000 + (k[_DEVIATION] + 5) // 10

    @property
    def rocof_mHzps(self):
        k = self._k
        return k[_SLOPE] * k[_SLOPE_MUL] // k[_SLOPE_DIV]

    @property
    def response_W(self):
        """The response after delay and ramps, before split and limits."""
        return self._k[_RESPONSE]

    @property
    def request_W(self):
        return self._k[_REQUEST]

    @property
    def partner_W(self):
        """What the other rack of the pair asks for at this moment, W."""
        return self._k[_PARTNER]

    @property
    def rejected(self):
        """Edges that were no period, since the start."""
        return self._k[_REJECTED]
