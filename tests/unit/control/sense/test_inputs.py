"""Digital inputs: each has its own fault."""

from array import array

from hypothesis import given
from hypothesis import strategies as st
from rack.control.sense.inputs import judge_inputs
from rack.definitions.codes import IN_ESTOP, IN_HVIL, IN_OC_OK
from rack.generated import ids as I


@given(st.integers(0, 63))
def test_each_digital_input_has_its_own_fault(bits: int) -> None:
    s = array("i", [0] * I.COUNT)
    s[I.IN_bits] = bits
    judge_inputs(s)
    assert s[I.HVIL_OPEN] == (not bits & IN_HVIL)
    assert s[I.ESTOP_PRESSED] == (not bits & IN_ESTOP)
    assert s[I.OC_ALERT] == (not bits & IN_OC_OK)
