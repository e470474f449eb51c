"""The whole controller on the smallest rack."""

import pytest
from rack import ids as I
from rack.alarms import code_of
from rack.control.bits import CMD_CLOSE, CMD_RESET, STATE_CLOSED, STATE_FAULT, STATE_OPEN
from rig import Rig


@pytest.mark.parametrize("name", ["sodium", "lfp", "bench"])
def test_a_healthy_rack_precharges_and_closes(name: str) -> None:
    rig = Rig(name).close()
    assert rig.s[I.COILS] == 5
    assert rig.s[I.TRIP_CODE] == 0


def test_an_overheated_rack_is_derated_before_it_trips_and_closes_again_only_after_a_reset() -> None:
    rig = Rig().close()
    full = rig.s[I.LIMIT_DISCHARGE_W]
    rig.warm(570)
    assert 0 < rig.s[I.LIMIT_DISCHARGE_W] < full
    assert rig.s[I.STATE] == STATE_CLOSED
    rig.warm(605)
    assert rig.s[I.COILS] == 0
    assert rig.s[I.TRIP_CODE] == code_of("hot_trip")
    rig.run(200)
    assert rig.s[I.STATE] == STATE_FAULT
    assert rig.c.command(CMD_CLOSE) != 0
    rig.warm(250)
    rig.run(6000)
    assert rig.s[I.STATE] == STATE_FAULT
    assert rig.c.command(CMD_RESET) == 0
    rig.run(50)
    assert rig.s[I.STATE] == STATE_OPEN
    rig.close()
