"""Rule R1 for the kernels: no intermediate result leaves the small-integer range, for any grid and any limits.

The kernels run on integers that raise when a result does not fit MicroPython's 31 bits, when it becomes a float, and
when a division is by zero.
"""

import pytest
from halite.hosts.response_rig import DC_LOW, Rig, parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response.recorder import Recorder, record_kernel
from rack.control.response.request_kernel import request_kernel
from rack.generated import recorder_state as R
from rack.generated import response_state as K

_OPERATIONS = ("add", "sub", "mul", "floordiv", "mod", "and", "or", "xor", "lshift", "rshift")


class Small(int):
    """An integer that must fit 31 bits."""

    def __neg__(self):
        return checked(int(self).__neg__())

    def __truediv__(self, _other):
        raise AssertionError("a float in the control core")

    __rtruediv__ = __truediv__


def checked(value):
    assert isinstance(value, int), f"{value!r} is not an integer"
    assert -(2**30) <= value < 2**30, f"{value} does not fit 31 bits"
    return Small(value)


def _wrap(name):
    plain = getattr(int, name)
    return lambda self, other: checked(plain(int(self), int(other)))


for _operation in _OPERATIONS:
    for _name in (f"__{_operation}__", f"__r{_operation}__"):
        setattr(Small, _name, _wrap(_name))


def small(values):
    return [Small(value) for value in values]


COUNTS = st.lists(
    st.one_of(
        st.integers(1_136_364, 1_388_888),
        st.sampled_from([1_136_364, 1_388_888, 1_250_000, 961_539, 1_041_667, 2_700_000, 5_000_000, 2**29, 7]),
        st.integers(0, 2**30 - 1),
    ),
    min_size=1,
    max_size=80,
)

WIDEST = [-5_000, 1_000, 5_000, -1_000]

EXTREMES = {
    "grid_nominal_mHz": st.sampled_from([50_000, 60_000]),
    "grid_phases": st.sampled_from([1, 3]),
    "grid_window_ms": st.sampled_from([20, 200, 800]),
    "grid_rocof_ms": st.sampled_from([60, 500, 2_000]),
    "grid_plausible_mHz": st.sampled_from([1_000, 5_000]),
    "response_delay_ms": st.sampled_from([0, 600]),
    "response_up_permille_ps": st.sampled_from([10, 100_000]),
    "response_down_permille_ps": st.sampled_from([10, 100_000]),
    "response_inertia_permille_per_Hzps": st.sampled_from([0, 1_000]),
    "pair_role": st.sampled_from([0, 1, 2]),
    "pair_power_W": st.sampled_from([100, 2_000_000]),
    "pair_share_permille": st.sampled_from([0, 1_000]),
    "pair_tau_ms": st.sampled_from([100, 600_000]),
    "rack_power_max_W": st.sampled_from([100, 2_000_000]),
}


@settings(max_examples=80, deadline=None)
@given(st.fixed_dictionaries(EXTREMES), COUNTS, st.sampled_from([DC_LOW, WIDEST]), st.booleans())
def test_no_intermediate_of_the_kernel_leaves_31_bits(values, counts, curve, permitted):
    rig = Rig(parameters(curve, **values), charge_W=2_000_000, discharge_W=2_000_000)
    rig.response.set_limits(2_000_000, 2_000_000, permitted)
    k, rings, knots = map(small, rig.response.arrays)
    k[K.BASE] = Small(2_000_000)
    k[K.PAIR_BIAS] = Small(-100_000)
    k[K.STEP] = Small(1_000_000)
    for i, count in enumerate(counts):
        k[K.AUTHORITY] = Small(500 + i % 501)
        k[K.SPENT_DIRECTION] = Small(i % 3 - 1)
        k[K.PHASE] = Small(i * i % 5 % 3)       # in and out of order; not used with one phase
        if rig.response.kernel(k, rings, Small(count)):
            request_kernel(k, rings, knots)
        k[K.HOLD] = Small(i & 1)
        k[K.ELAPSED], k[K.SAMPLES] = Small(10_000), Small(0)
        request_kernel(k, rings, knots)
    assert all(-(2**30) <= value < 2**30 for value in (*k, *rings))


@settings(max_examples=20, deadline=None)
@given(COUNTS)
def test_no_intermediate_of_the_recorder_leaves_31_bits(counts):
    rig = Rig(recorder_trigger_mHz=200, recorder_after=10)
    recorder = Recorder(rig.params, rig.response, rig.s)
    m, ring = (small(values) for values in recorder.arrays)
    last = periods = 0
    for count in counts:
        rig.response.on_period(count)
        record_kernel(m, ring, small(rig.response.state))
        if rig.response.state[K.CLOCK_NOW] - last >= 1_500:     # a whole period, also in several pieces
            last, periods = rig.response.state[K.CLOCK_NOW], periods + 1
    assert m[R.COUNT] <= periods and bool(m[R.COUNT]) == bool(periods)


def test_the_instrumented_integer_itself_refuses_what_it_should():
    wrong = (lambda: Small(2**29) * 2, lambda: 3 - Small(-(2**30)), lambda: Small(1) / 2, lambda: Small(5) // 0)
    for operation in wrong:
        with pytest.raises((AssertionError, ZeroDivisionError)):
            operation()
