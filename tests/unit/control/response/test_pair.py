"""The hybrid pair: two racks, the same mains, no link, and the shares add up exactly."""

from array import array

import pytest
from halite.hosts.response_rig import DC_LOW, parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.response.pair import LINK_LOST_MS, Balance
from rack.control.response.response import Response
from rack.generated import ids as I

COUNTS = st.lists(st.integers(1_140_000, 1_380_000), min_size=1, max_size=150)
BIG = 2**24


def pair(**changes):
    racks = []
    for role in (1, 2):
        params = parameters(DC_LOW, pair_role=role, **changes)
        s = array("i", [0] * I.COUNT)
        s[I.SOC_cpct] = 5_000
        rack = Response(params, s)
        rack.set_limits(BIG, BIG, 1)
        racks.append((rack, s))
    return racks


@settings(max_examples=80, deadline=None)
@given(
    COUNTS, st.integers(100, 600_000), st.integers(0, 1_000), st.integers(100, 2_000_000), st.integers(-3_000, 3_000)
)
def test_the_shares_add_up_to_the_request_at_every_scan(counts, tau_ms, share, power_W, soc_difference):
    racks = pair(pair_tau_ms=tau_ms, pair_share_permille=share, pair_power_W=power_W)
    for now, count in enumerate(counts):
        for rack, s in racks:
            s[I.PAIR_LOW_cpct] = 5_000 + soc_difference
            s[I.PAIR_HIGH_cpct] = 5_000
            rack.on_period(count)
            rack.scan(now * 100)
        high, low = racks[0][0], racks[1][0]
        assert high.request_W + low.request_W == high.response_W == low.response_W


def test_sodium_takes_the_edge_and_lithium_takes_over():
    (sodium, _), (lithium, _) = pair(pair_tau_ms=2_000)
    shares = []
    for _ in range(20):
        sodium.on_period(1_250_000), lithium.on_period(1_250_000)
    for _ in range(600):
        shares.append((sodium.on_period(1_265_823), lithium.on_period(1_265_823)))
    early, late = shares[12], shares[-1]
    assert early[0] > 0.85 * sum(early)
    assert abs(late[0]) < 0.01 * sum(late)
    after_tau = shares[112]
    assert abs(after_tau[1] / sum(after_tau) - 0.632) < 0.05


def test_the_low_pass_loses_nothing_to_rounding():
    """A constant request of 1 W arrives in full at any time constant."""
    (sodium, _), (lithium, _) = pair(pair_tau_ms=100_000, pair_power_W=1_000)
    count = 1_265_823
    for _ in range(60_000 // 4):
        sodium.on_period(count), lithium.on_period(count)
    assert sodium.response_W > 900
    assert abs(lithium.request_W - sodium.response_W * 0.95) < 5  # 1 - exp(-3)


def test_a_rack_whose_partner_is_out_takes_the_whole_request():
    (sodium, s), _ = pair(pair_tau_ms=1_000)
    for now in range(200):
        sodium.on_period(1_265_823)
        sodium.scan(now * 20)
    assert sodium.request_W < 0.05 * sodium.response_W
    s[I.PAIR_OUT] = 1
    sodium.scan(4_000)
    assert sodium.on_period(1_265_823) == sodium.response_W
    s[I.PAIR_AGE_ms] = LINK_LOST_MS
    sodium.scan(4_020)
    assert sodium.on_period(1_265_823) < 0.05 * sodium.response_W


def test_a_shortfall_is_published_and_the_partner_stands_in():
    """The shortfall of a rack at its limit is published, and the other rack delivers it."""
    (sodium, s_sodium), (lithium, s_lithium) = pair(pair_tau_ms=10_000)
    sodium.set_limits(50_000, 50_000, 1)
    for now in range(60):
        for rack, _ in ((sodium, 0), (lithium, 0)):
            rack.on_period(1_265_823)
            rack.scan(now * 20)
        s_lithium[I.PAIR_SHORT_W] = s_sodium[I.SHORT_W]
    assert s_sodium[I.SHORT_W] > 100_000
    assert abs(sodium.request_W + lithium.request_W - sodium.response_W) < 2_000


def test_a_silent_ems_ends_the_stand_in():
    """The shortfall that the EMS sent before it fell silent is not delivered."""
    (_, _), (lithium, s_lithium) = pair(pair_tau_ms=10_000)
    s_lithium[I.PAIR_SHORT_W] = 40_000
    s_lithium[I.PAIR_AGE_ms] = LINK_LOST_MS
    for now in range(60):
        lithium.on_period(1_250_000)
        lithium.scan(now * 20)
    assert lithium.request_W == 0
    s_lithium[I.PAIR_AGE_ms] = 0
    for now in range(60, 120):
        lithium.on_period(1_250_000)
        lithium.scan(now * 20)
    assert lithium.request_W == 40_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 8_000)), max_size=60))
def test_balancing_moves_one_watt_at_a_time_up_to_its_maximum(story):
    """Balancing moves the bias by one watt at a time and stays within its maximum."""
    params = parameters(pair_role=1, pair_bias_W=40)
    balance = Balance(params)
    s = array("i", [0] * I.COUNT)
    before = 0
    for s[I.PAIR_HIGH_cpct], s[I.PAIR_LOW_cpct], s[I.PAIR_AGE_ms] in story:
        for _ in range(10):
            balance.scan(10, s)
        assert abs(balance.bias_W - before) <= 1
        assert abs(balance.bias_W) <= 40
        before = balance.bias_W


def test_the_fuller_rack_discharges_more_until_the_ems_is_silent():
    """The rack with more charge discharges more; a silent EMS ends this."""
    balance = Balance(parameters(pair_role=1, pair_bias_W=100))
    s = array("i", [0] * I.COUNT)
    s[I.PAIR_LOW_cpct], s[I.PAIR_HIGH_cpct] = 6_000, 4_000
    for _ in range(2_000):
        balance.scan(10, s)
    assert balance.bias_W == 100
    s[I.PAIR_AGE_ms] = LINK_LOST_MS
    for _ in range(2_000):
        balance.scan(10, s)
    assert balance.bias_W == 0


@given(st.integers(-10_000, 10_000))
def test_the_bias_wanted_is_odd_and_monotone(difference):
    balance = Balance(parameters(pair_role=2, pair_bias_W=10_000))
    assert balance.aim_W(-difference) == -balance.aim_W(difference)
    assert balance.aim_W(difference) <= balance.aim_W(difference + 1)


def steady(racks, periods, count=1_265_823, begin=0):
    """Run periods with a scan each, from number `begin`. Returns the number of the next one."""
    for now in range(begin, begin + periods):
        for rack, _ in racks:
            rack.on_period(count)
            rack.scan(now * 20)
    return begin + periods


def test_a_stand_in_does_not_count_as_own_shortfall():
    """Two racks at their limits report only the shortfall of their own shares."""
    racks = pair(pair_tau_ms=10_000)
    limit_W = 50_000
    for rack, _ in racks:
        rack.set_limits(limit_W, limit_W, 1)
    now = 0
    for _ in range(8):
        now = steady(racks, 50, begin=now)
        (sodium, s_sodium), (lithium, s_lithium) = racks
        shortfalls = [s[I.SHORT_W] for _, s in racks]
        assert sum(shortfalls) <= sodium.response_W - limit_W, "at least one of them delivers its part"
        s_sodium[I.PAIR_SHORT_W], s_lithium[I.PAIR_SHORT_W] = shortfalls[1], shortfalls[0]
    assert min(shortfalls) > 0 and sodium.request_W == lithium.request_W == limit_W


@given(st.sampled_from([0, 1]), st.lists(st.integers(1_230_000, 1_270_000), min_size=12, max_size=40))
@settings(max_examples=30, deadline=None)
def test_a_shortfall_fits_the_message_of_the_ems(of, counts):
    """A shortfall is at most as large as the EMS message accepts."""
    racks = pair(pair_tau_ms=300)
    now = 0
    for rack, _ in racks:
        rack.set_limits(0, 0, 1)
    for count in counts:
        now = steady(racks, 3, count, now)
        assert abs(racks[of][1][I.SHORT_W]) <= 200_000  # rack.comms.ems refuses larger values


def test_a_pair_without_mains_goes_to_zero():
    """Without mains both racks of a pair go to zero, also the bias and the stand-in from before."""
    racks = pair(pair_tau_ms=20_000, response_hold_ms=200, response_release_permille_ps=1_000)
    for _, s in racks:
        s[I.PAIR_LOW_cpct], s[I.PAIR_HIGH_cpct], s[I.PAIR_SHORT_W] = 9_000, 1_000, 30_000
    now = steady(racks, 3_000)
    (sodium, _), (lithium, _) = racks
    before = [rack.request_W for rack, _ in racks]
    assert before[0] > 20_000 and before[1] > 200_000
    for ms in range(10, 1_600, 10):
        for (rack, _), held in zip(racks, before, strict=True):
            rack.scan((now - 1) * 20 + ms)
            assert 0 <= rack.request_W <= held + 200, "the request does not change its sign"
            assert ms > 220 or rack.request_W >= held - 200
    assert (sodium.request_W, lithium.request_W) == (0, 0)


def test_after_a_new_permission_a_rack_of_a_pair_starts_at_zero():
    """After a new permission a rack of a pair starts at zero and follows the grid."""
    racks = pair(pair_tau_ms=20_000, response_up_permille_ps=1_000, response_release_permille_ps=1_000)
    (sodium, s), _ = racks
    s[I.PAIR_SHORT_W] = 50_000
    now = steady(racks, 2_000)
    sodium.set_limits(BIG, BIG, 0)
    now = steady(racks, 5, begin=now)
    sodium.set_limits(BIG, BIG, 1)
    before = 0
    for _ in range(60):
        now = steady(racks, 1, begin=now)
        assert before - 300 <= sodium.request_W <= before + 2 * 4_100  # low-pass; share and stand-in at 1 pu/s each
        before = sodium.request_W
    assert before > 200_000


@pytest.mark.parametrize("restarted", [True, False])
def test_a_returning_rack_and_its_partner_agree_on_the_bias(restarted):
    """A rack that was out and its partner agree on the bias again."""
    racks = pair()
    for _, s in racks:
        s[I.PAIR_LOW_cpct], s[I.PAIR_HIGH_cpct] = 9_000, 1_000
    now = steady(racks, 2_000, 1_250_000)
    (sodium, _), (lithium, s_lithium) = racks
    assert lithium.request_W == -sodium.request_W > 300
    s_lithium[I.PAIR_OUT] = 1
    sodium.set_limits(BIG, BIG, 0)
    now = steady(racks, 100, 1_250_000, now)
    if restarted:
        racks[0] = pair()[0]
        racks[0][1][I.PAIR_LOW_cpct], racks[0][1][I.PAIR_HIGH_cpct] = 9_000, 1_000
    racks[0][0].set_limits(BIG, BIG, 1)
    now = steady(racks, 50, 1_250_000, now)  # the EMS is a second late
    s_lithium[I.PAIR_OUT] = 0
    steady(racks, 2_000, 1_250_000, now)
    assert abs(lithium.request_W + racks[0][0].request_W) <= 15
