"""PCS frames: an independent decoder reads those of the rack; received bytes are checked before use."""

from array import array

import can
import cantools
import pytest
from halite.chips.can_bus import Frame
from halite.chips.pcs_codec import FirmwareTableCodec
from halite.generate.can import dbc_text, outputs
from hypothesis import given
from hypothesis import strategies as st
from rack.comms import pcs_codec as pcs
from rack.definitions import pcs_codes, pcs_frames
from rack.generated import ids as I
from rack.generated import pcs_link_state as L

CODEC = FirmwareTableCodec()
POWERS = st.integers(-(2**23), 2**23 - 1)


def image():
    return array("i", [0] * I.COUNT)


def link_before(sequence):
    """State of a link whose last status had the counter before this one."""
    link = array("i", [0] * L.INTS)
    link[L.RECEIVED], link[L.ORDERED] = sequence - 1 & 15, 3
    return link


def decode(frame, s):
    """Decode a status as the next one in order."""
    return pcs.decode_status(frame, s, link_before(frame[6] & 15 if len(frame) > 6 else 0))


def decisions(counters):
    """True for each counter of a new link whose status is used."""
    s, link = image(), array("i", [0] * L.INTS)
    return [bool(pcs.is_fresh(s, link, counter)) for counter in counters]


def test_the_crc_is_sae_j1850():
    crc = 0xFF
    for byte in b"123456789":
        crc = pcs.CRC_TABLE[crc ^ byte]
    assert crc ^ 0xFF == 0x4B


def status_of(power_W):
    """A status frame, packed by the simulated PCS."""
    values = {"power": power_W, "bus_voltage": 11_520, "state": pcs_codes.PCS_RUN, "echo": 3, "sequence": 7}
    return CODEC.pack(pcs_codes.STATUS_ID, values).data


@given(POWERS, st.integers(0, 15), st.integers(0, 255))
def test_the_simulated_pcs_reads_the_request(power_W, sequence, flags):
    """The simulated PCS reads a request as the firmware has packed it."""
    frame = bytearray(8)
    pcs.encode_request(frame, pcs.CRC_TABLE, power_W, sequence, flags)
    got = CODEC.unpack(Frame(pcs_codes.REQUEST_ID, bytes(frame)))
    assert (got["power"], got["flags"], got["sequence"], got["version"]) == (power_W, flags, sequence, 2)


@given(POWERS, st.integers(1, 2**63 - 1))
def test_any_burst_error_of_a_status_is_refused(power_W, pattern):
    """A burst error of at most 8 bits is refused, counted, and changes no other signal."""
    frame, s = status_of(power_W), image()
    shift = (pattern & -pattern).bit_length() - 1
    burst = (pattern >> shift) & 0xFF | 1  # at most 8 bits long: a CRC-8 sees every such burst
    damage = burst << (pattern % 57)
    torn = bytes(a ^ b for a, b in zip(frame, damage.to_bytes(8, "big"), strict=True))
    before = list(s)
    assert decode(torn, s) == pcs.BAD_CRC
    before[I.PCS_REJECTED] += 1
    assert list(s) == before


@given(st.binary(max_size=12))
def test_any_bytes_leave_the_process_image_intact(frame):
    """Bytes that are not a valid status change no signal of the PCS."""
    s = image()
    before = list(s)
    result = decode(frame, s)
    assert result == pcs.OK or list(s)[: I.PCS_REJECTED] == before[: I.PCS_REJECTED]


def test_a_repeated_status_counter_is_stale():
    """A status with the counter of the one before is refused as stale."""
    frame, s, link = status_of(-5), image(), link_before(7)
    assert pcs.decode_status(frame, s, link) == pcs.OK
    assert (s[I.PCS_POWER_W], s[I.BUS_dV], s[I.PCS_STATE], s[I.PCS_ECHO]) == (-5, 11_520, pcs_codes.PCS_RUN, 3)
    assert pcs.decode_status(frame, s, link) == pcs.STALE


def test_a_counter_that_advances_is_fresh():
    """Steps of 1 to 3 are fresh from the first frame on, also over the wrap."""
    assert all(decisions([2, 3, 5, 8, 11, 14, 15, 2, 3]))


@pytest.mark.parametrize("counters", [[5] * 40, [0, 1] * 20, [0, 15, 14, 13] + [n & 15 for n in range(12, -40, -1)],
                                      [0, 8] * 20, [0, 3, 1, 4, 2, 5, 3, 6] * 5])  # fmt: skip
def test_a_counter_without_order_is_stale(counters):
    """Standing, alternating, backward and jumping counters are refused, except a first frame that fits by chance."""
    assert sum(decisions(counters)[2:]) <= len(counters) // 8


def test_a_backward_counter_is_stale_for_ever():
    """Also where it passes the counter of the last status that was used."""
    assert not any(decisions([1, 2, 3] + [n & 15 for n in range(2, -200, -1)])[3:])


def test_after_a_gap_the_third_status_in_order_counts():
    """A PCS that restarts, or a gap of many frames: two more frames are refused, then each one is used; also twice."""
    for _ in range(2):
        assert decisions([1, 2, 10, 11, 12, 13, 14]) == [True, True, False, False, False, True, True]
    again = decisions([1, 10, 11, 12, 13, 5, 6, 7, 8, 9])
    assert again == [True, False, False, False, True, False, False, False, True, True]


@pytest.mark.parametrize(("identifier", "start"), [
    (pcs_codes.REQUEST_ID, pcs_codes.REQUEST_CRC), (pcs_codes.LIMITS_ID, pcs_codes.LIMITS_CRC),
    (pcs_codes.STATUS_ID, pcs_codes.STATUS_CRC),
])  # fmt: skip
def test_the_crc_covers_the_identifier(identifier, start):
    """The constants are the state of the CRC after the identifier; a frame under another identifier is refused."""
    assert start == crc_by_bits(identifier.to_bytes(2, "little")) ^ 0xFF
    frame = CODEC.pack(identifier, {"sequence": 3, "version": pcs_codes.VERSION})
    assert CODEC.unpack(frame) is not None
    for other in {pcs_codes.REQUEST_ID, pcs_codes.LIMITS_ID, pcs_codes.STATUS_ID} - {identifier}:
        assert CODEC.unpack(Frame(other, frame.data)) is None
        assert identifier == pcs_codes.STATUS_ID or decode(frame.data, image()) == pcs.BAD_CRC


def test_refused_and_foreign_frames_are_counted_for_200_ms():
    """The counts are those of the last 200 ms, also over the wrap of the clock; the next window starts at zero."""
    s, link = image(), array("i", [0] * L.INTS)
    us = 2**30 - 100_000
    link[L.COUNTED_us] = us
    for n in range(1, 61):
        if n <= 20:
            pcs.refuse(s)
            link[L.FOREIGN] += n % 2
        pcs.publish_counts(s, link, (us + n * 10_000) & (2**30 - 1))
        expected = (20, 10) if 20 <= n < 40 else (0, 0)
        assert (s[I.PCS_REFUSED], s[I.FOREIGN_REQUESTS]) == expected, n


@pytest.fixture(scope="module")
def database():
    return cantools.database.load_string(dbc_text(), "dbc", strict=True)


def test_the_database_is_complete_for_can_tools(database):
    """The DBC has units, value texts, cycle times, senders, receivers and comments for a CAN tool."""
    cycles = {message.name: (message.senders, message.cycle_time) for message in database.messages}
    assert cycles == {"request": (["RACK"], 20), "limits": (["RACK"], 100), "status": (["PCS"], 20)}
    for message in database.messages:
        assert message.comment
        for signal in message.signals:
            assert signal.comment and "below" not in signal.comment and signal.receivers, signal.name
            measured = signal.name in ("power", "charge", "discharge", "bus_voltage", "rack_voltage")
            assert (signal.unit in ("W", "V")) == measured
    assert 'CM_ "Halite' in dbc_text() and "100 ms" in dbc_text()


@given(POWERS, st.integers(0, 15), st.integers(0, 255))
def test_an_independent_decoder_reads_the_request(database, power_W, sequence, flags):
    """cantools reads each request as it was packed; its CRC agrees with a bitwise division."""
    frame = bytearray(8)
    pcs.encode_request(frame, pcs.CRC_TABLE, power_W, sequence, flags)
    seen = database.decode_message("request", frame)
    names = ("permitted", "enable", "bus_closed", "responding")
    bits = {name: flags >> at & 1 for at, name in enumerate(names)}
    assert {**seen, "crc": 0} == {
        "power": power_W, "reserved": 0, **bits, "flags_reserved": flags >> 4, "sequence": sequence, "version": 2,
        "crc": 0,
    }  # fmt: skip
    assert seen["crc"] == crc_by_bits(pcs_codes.REQUEST_ID.to_bytes(2, "little") + frame[:7])


@given(
    st.integers(0, 8_000_000), st.integers(0, 8_000_000), st.integers(0, 20_000), st.integers(0, 15), st.integers(0, 3)
)
def test_an_independent_decoder_reads_the_limits(database, charge_W, discharge_W, rack_dV, sequence, level):
    """cantools reads the limits; powers are rounded down and clamped to the field."""
    frame, s = bytearray(8), image()
    s[I.LIMIT_CHARGE_W], s[I.LIMIT_DISCHARGE_W], s[I.RACK_dV], s[I.ALARM_LEVEL] = charge_W, discharge_W, rack_dV, level
    pcs.encode_limits(frame, s, sequence)
    seen = database.decode_message("limits", frame)
    assert seen["level"] == ("none", "warn", "derate", "trip")[level]
    assert (seen["sequence"], seen["level"].value, round(seen["rack_voltage"] * 10)) == (sequence, level, rack_dV)
    for field, watt in (("charge", charge_W), ("discharge", discharge_W)):
        assert seen[field] == min(watt // 100, 0xFFFF) * 100


@given(POWERS, st.integers(0, 65_535), st.integers(0, 5), st.integers(0, 15), st.integers(0, 15), st.integers(0, 15))
def test_the_rack_reads_the_status_of_another_encoder(database, power, bus_dV, state, echo, count, fault):
    """The rack reads each status that cantools has packed and python-can has carried."""
    message = database.get_message_by_name("status")
    values = {"power": power, "bus_voltage": bus_dV / 10, "state": state, "echo": echo, "sequence": count}
    data = bytearray(message.encode({**values, "fault": fault, "crc": 0}))
    data[7] = crc_by_bits(pcs_codes.STATUS_ID.to_bytes(2, "little") + data[:7])
    with can.Bus(interface="virtual", channel="pcs") as sender, can.Bus(interface="virtual", channel="pcs") as receiver:
        sender.send(can.Message(arbitration_id=message.frame_id, data=data, is_extended_id=False))
        heard = receiver.recv(1.0)
    s = image()
    assert heard.arbitration_id == pcs_codes.STATUS_ID
    assert decode(heard.data, s) == pcs.OK
    assert (s[I.PCS_POWER_W], s[I.BUS_dV], s[I.PCS_STATE]) == (power, bus_dV, state)
    assert (s[I.PCS_ECHO], s[I.PCS_SEQUENCE], s[I.PCS_FAULT]) == (echo, count, fault)


def crc_by_bits(data):
    """CRC-8 SAE J1850 as a polynomial division, bit by bit: not the firmware's table."""
    crc = 0xFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = (crc >> 7) ^ (byte >> bit & 1)
            crc = (crc << 1 & 0xFF) ^ (0x1D if top else 0)
    return crc ^ 0xFF


@given(st.integers(0, 15).filter(lambda version: version != pcs_codes.VERSION))
def test_a_request_of_another_version_is_refused(version):
    """The PCS refuses a request with another version and a correct CRC."""
    frame = bytearray(8)
    pcs.encode_request(frame, pcs.CRC_TABLE, 1_000, 1, pcs_codes.FLAG_PERMIT | pcs_codes.FLAG_ENABLE)
    assert CODEC.request(Frame(pcs_codes.REQUEST_ID, bytes(frame))).permitted
    frame[6] = frame[6] & 15 | version << 4
    frame[7] = pcs.crc8(frame, pcs_codes.REQUEST_CRC)
    assert CODEC.request(Frame(pcs_codes.REQUEST_ID, bytes(frame))) is None


def test_every_bit_of_every_frame_belongs_to_one_field():
    for _, name, _, _, _, fields in pcs_frames.FRAMES:
        bits = [bit for _, first, length, *_ in fields for bit in range(first, first + length)]
        assert sorted(bits) == list(range(64)), name


def test_the_committed_database_and_page_are_up_to_date():
    for path, text in outputs().items():
        assert path.read_text() == text, f"{path.name} is stale: run `make generate`"
