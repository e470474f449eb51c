"""A pair and its EMS over the real Modbus slaves: each rack delivers the shortfall of the other."""

from array import array
from typing import Any

import pytest
from rack.generated import ids as I
from support.modbus_rig import Slave

_MS = 10
_POWER_W = 1_000
_LIMIT_W = 300


class Pair:
    """Two closed racks on the same mains; the EMS talks to both each second, as docs/response.md says."""

    def __init__(self, limited: tuple[int, ...], **changed: Any) -> None:
        table = array("i", [0, _LIMIT_W * 1000 // _POWER_W])
        self.racks = [
            Slave(pair_role=1 + at, pair_tau_ms=1_000, response_priority=0, grid_window_ms=100,
                  **({"limit_discharge_soc": table} if at in limited else {}), **changed)
            for at in range(2)
        ]  # fmt: skip
        for slave in self.racks:
            slave.rig.close()
        self.silent: set[int] = set()

    def second(self, Hz: float) -> list[int]:
        """One second of mains, and the EMS's round behind it; the requests before it."""
        for slave in self.racks:
            for ms in range(0, 1_000, _MS):
                if ms % 20 == 0:
                    slave.c.response.on_period(round(62.5e6 / Hz))
                slave.rig.scan(_MS)
        requests = [slave.c.response.request_W for slave in self.racks]
        heard = [None if at in self.silent else (slave.value("Soc"), slave.value("Short"))
                 for at, slave in enumerate(self.racks)]  # fmt: skip
        for at, slave in enumerate(self.racks):
            own, other = heard[at], heard[1 - at]
            if own:
                socs = [(told or own)[0] for told in heard]
                assert slave.write("PairHigh", *socs, int(other is None), other[1] if other else 0) == 0
        return requests


@pytest.mark.parametrize("limited", [0, 1])
def test_the_shortfall_reaches_the_other_rack(limited: int) -> None:
    """The shortfall of a limited rack reaches the other rack through the EMS."""
    pair = Pair((limited,))
    assert pair.second(50.0) == [0, 0]
    requests = [pair.second(49.4) for _ in range(5)]
    assert requests[-1][limited] <= _LIMIT_W
    assert sum(requests[-1]) == pytest.approx(_POWER_W, abs=20)
    after = [pair.second(50.0) for _ in range(4)]
    assert all(abs(sum(request)) <= 20 for request in after[-2:])


def test_two_limited_racks_deliver_their_limits() -> None:
    """Two limited racks deliver their limits, and zero when the grid is back."""
    pair = Pair((0, 1))
    requests = [pair.second(49.4) for _ in range(8)]
    assert requests[-1] == [_LIMIT_W, _LIMIT_W]
    assert max(abs(slave.s[I.SHORT_W]) for slave in pair.racks) < _POWER_W
    after = [pair.second(50.0) for _ in range(4)]
    assert all(abs(sum(request)) <= 20 for request in after[-2:])


@pytest.mark.parametrize("gone", [0, 1])
def test_a_rack_takes_all_while_its_partner_is_silent(gone: int) -> None:
    """A rack takes the whole request while its partner is silent, until the EMS is silent too."""
    pair = Pair(())
    for _ in range(8):
        pair.second(49.4)
    pair.silent = {gone}
    alone = [pair.second(49.4)[1 - gone] for _ in range(2)]
    assert alone[-1] == _POWER_W
    pair.silent = {0, 1}
    shares = [pair.second(49.4)[1 - gone] for _ in range(7)]
    assert shares[4] == _POWER_W
    assert shares[-1] == pytest.approx(0 if gone else _POWER_W, abs=20)
