"""Rule R1: for any inputs and config, no result of the control core leaves 31 bits, and no float appears."""

from typing import Any

import pytest
from halite.hosts.controller_rig import params
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rack.definitions.codes import CMD_CLOSE, CMD_RESET, NO_VALUE, WHY_COOLING
from rack.definitions.params import SCALARS
from rack.definitions.signals import SIGNALS
from rack.generated import controller_times as T
from rack.generated import ids as I
from rack.generated import retained_words as W
from support.checked_int import Checked, CheckedArray, Overflow, checked
from support.checked_rig import checked_controller

_OWN = ("cell_capacity", "overload", "limit", "plausible", "runaway", "core", "thermal", "contactor", "charge",
        "precharge", "rack_power", "grid", "response", "split", "recorder")  # fmt: skip
_RANGES = {name: (least, most) for name, least, most in SCALARS if name.startswith(_OWN)}
_INPUTS = [at for at, row in enumerate(SIGNALS) if row[1] == "i" and row[0] not in ("config_bad",)]
_AGES = [at for at, row in enumerate(SIGNALS) if row[0].endswith("age_ms")]
_WORDS = st.sampled_from([0, 1, -1, 9, 250, -250, 3000, -3000, 11_520, 20_000, -20_000, 32_767, -32_768])

_ELAPSED = st.sampled_from([0, 10, 10, 100, 1000, 2**29])


pytestmark = pytest.mark.usefixtures("checked_arrays")


@pytest.mark.parametrize("bad", [
    lambda x: x * x, lambda x: x + x, lambda x: -x - x, lambda x: x << 1, lambda x: x / 2, lambda x: 2 / x,
    lambda x: x**2, lambda x: float(x), lambda x: x * 0.5, lambda x: CheckedArray("i", [0]).__setitem__(0, int(x) * 2),
])  # fmt: skip
def test_the_instrument_raises_where_the_board_would_allocate(bad: Any) -> None:
    with pytest.raises(Overflow):
        bad(Checked(2**30 - 1))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["bench", "bench", "bench", "sodium"]),
       st.dictionaries(st.sampled_from(sorted(_RANGES)), st.sampled_from([0, 1]), max_size=6),
       st.lists(st.tuples(st.lists(st.tuples(st.sampled_from(_INPUTS), _WORDS), max_size=4), st.integers(0, 7000),
                          st.integers(-32768, 32767), _ELAPSED), max_size=25))  # fmt: skip
def test_no_result_leaves_31_bits(
    name: str, bounds: dict[str, int], steps: list[tuple[list[tuple[int, int]], int, int, int]]
) -> None:
    """No result needs more than 31 bits, for any input and any permitted config."""
    c = checked_controller(params(name, **{key: _RANGES[key][end] for key, end in bounds.items()}))
    c.s[I.IN_bits] = checked(63)
    c.s[I.RACK_dV] = checked(11_520)
    for at in range(len(c.cells_mV)):
        c.cells_mV[at] = 3250
    for at in range(len(c.temps_ddegC)):
        c.temps_ddegC[at] = 250
    now = 2**30 - 100
    for signals, mV, ddegC, dt in steps:
        for at, value in signals:
            c.s[at] = value
        for at in _AGES:
            c.s[at] = 0
        c.cells_mV[mV % len(c.cells_mV)] = mV
        c.temps_ddegC[mV % len(c.temps_ddegC)] = ddegC if ddegC % 3 else NO_VALUE
        c.cells_arrived()
        c.temps_arrived()
        c.command(CMD_RESET)
        c.command(CMD_CLOSE)
        for _ in range(3):
            now = (now + dt) & (2**30 - 1)
            c.response.on_period(checked(1_250_000 - ddegC))
            c.scan(checked(now))
        c.s[I.CURRENT_AGE_ms] = checked(dt)
        c.soc.metered(checked(ddegC * 16_000), True)
    assert all(isinstance(value, Checked) for value in c.s)


def test_unread_temperatures_stay_within_31_bits() -> None:
    """The time since the last temperatures stays within 31 bits after weeks."""
    c = checked_controller(params("bench"))
    c.protect(checked(0))
    c.times[T.TEMPS_ms] = 2**28 - 1_500     # after three days
    for n in range(1, 10):
        c.scan(checked(n * 1_000))
    assert c.times[T.TEMPS_ms] < 2**28 + 1_000, "and it goes on to grow"
    c.temps_arrived()
    assert c.times[T.TEMPS_ms] == 0


@pytest.mark.parametrize("name", ["sodium", "lfp", "bench"])
def test_a_long_run_at_the_ends_of_the_ranges_stays_inside(name: str) -> None:
    extremes = {key: most for key, (_, most) in _RANGES.items() if not key.startswith("contactor")}
    for changed in ({}, extremes):
        c = checked_controller(params(name, **changed))
        c.s[I.IN_bits] = checked(63)
        for current in (20_000, -20_000, 0):
            c.s[I.CURRENT_dA] = current
            for at in range(len(c.temps_ddegC)):
                c.temps_ddegC[at] = 2000 if current > 0 else -600
            for n in range(60):
                for at in _AGES:
                    c.s[at] = 0
                if n % 10 == 0:
                    c.cells_arrived()
                    c.temps_arrived()
                c.response.on_period(checked(1_260_000 if current > 0 else 1_240_000))
                c.scan(checked(n * 1000))
        assert c.retained[W.IN_Ah] and c.retained[W.OUT_Ah], "the current was not believed"


@pytest.mark.parametrize("quarters", [5, 8])
def test_a_resistor_of_the_largest_budget_fits_31_bits(quarters: int) -> None:
    """A precharge resistor of the largest budget that is too hot at the start stays within 31 bits."""
    most = {key: most for key, (_, most) in _RANGES.items() if key.startswith("precharge_energy")}
    c = checked_controller(params("bench", contactor_settle_ms=0, **most))
    c.contactors.wanted = True
    c.contactors.restore(checked(0), checked(quarters))
    assert c.contactors.blocked() == WHY_COOLING
    assert c.contactors.kept_heat() == quarters
