"""The NTC table against the Steinhart-Hart equation it stands for."""

import math

from hypothesis import given
from hypothesis import strategies as st
from rack.definitions.codes import NO_OPEN, NO_SHORT
from rack.drivers import ntc

# B 3435 K, 10 kohm at 25 degC; and a published Steinhart-Hart set of a 10 kohm sensor (Vishay NTCLE100E3103 form).
SENSORS = {
    "beta 3435": (1 / 298.15 - math.log(10_000) / 3435, 1 / 3435, 0.0),
    "steinhart-hart": (1.129241e-3, 2.341077e-4, 8.775468e-8),
}
PULLUP_OHM = 10_000


def ohm_at(celsius, coefficients):
    """Resistance by bisection of the equation, so that the test shares no algebra with the table."""
    a, b, c = coefficients
    low, high = math.log(1.0), math.log(1e8)
    for _ in range(80):
        middle = (low + high) / 2
        if 1 / (a + b * middle + c * middle**3) - 273.15 > celsius:
            low = middle
        else:
            high = middle
    return math.exp(low)


def table_of(coefficients):
    a, b, c = coefficients
    return ntc.make_table(round(a * 1e10), round(b * 1e10), round(c * 1e13), PULLUP_OHM)


TABLES = {name: table_of(coefficients) for name, coefficients in SENSORS.items()}


@given(st.sampled_from(sorted(SENSORS)), st.floats(-40, 125))
def test_the_error_is_at_most_0_2_degC_from_minus_40_to_125(name, celsius):
    ohm = ohm_at(celsius, SENSORS[name])
    ratio = round(32768 * ohm / (ohm + PULLUP_OHM))
    assert abs(ntc.look_up(TABLES[name], ratio) / 10 - celsius) <= 0.2


@given(st.sampled_from(sorted(SENSORS)), st.integers(0, 32766))
def test_a_higher_ratio_is_never_warmer(name, ratio):
    here, above = ntc.look_up(TABLES[name], ratio), ntc.look_up(TABLES[name], ratio + 1)
    if min(here, above) > NO_SHORT:
        assert above <= here


@given(st.integers(0, 32767))
def test_every_ratio_is_a_temperature_an_open_or_a_short(ratio):
    value = ntc.look_up(TABLES["beta 3435"], ratio)
    if value == NO_OPEN:
        assert ratio > 32000
    elif value == NO_SHORT:
        assert ratio < 1000
    else:
        assert -600 <= value <= 2500
