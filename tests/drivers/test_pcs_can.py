"""PCS frames: what goes out is read by an independent decoder, what comes in is never trusted."""

from array import array

from hypothesis import given
from hypothesis import strategies as st
from rack import ids as I
from rack.comms import pcs_can as pcs

POWERS = st.integers(-(2**23), 2**23 - 1)


def image():
    s = array("i", [0] * I.COUNT)
    s[I.PCS_SEQUENCE] = -1
    return s


def test_the_crc_is_sae_j1850():
    crc = 0xFF
    for byte in b"123456789":
        crc = pcs.CRC_TABLE[crc ^ byte]
    assert crc ^ 0xFF == 0x4B


@given(POWERS, st.integers(0, 15), st.integers(0, 255))
def test_a_request_is_read_back_as_it_was_packed(power_W, sequence, flags):
    frame, got = bytearray(8), array("i", [0, 0, -1])
    pcs.encode_request(frame, power_W, sequence, flags)
    assert pcs.decode_request(frame, got) == pcs.OK
    assert list(got) == [power_W, flags, sequence]
    assert pcs.decode_request(frame, got) == pcs.STALE


@given(POWERS, st.integers(1, 2**63 - 1))
def test_any_burst_error_of_a_status_is_refused(power_W, pattern):
    frame, s = bytearray(8), image()
    pcs.encode_status(frame, power_W, 11_520, pcs.PCS_RUN, 3, 7)
    shift = (pattern & -pattern).bit_length() - 1
    burst = (pattern >> shift) & 0xFF | 1       # at most 8 bits long: a CRC-8 sees every such burst
    damage = burst << (pattern % 57)
    torn = bytes(a ^ b for a, b in zip(frame, damage.to_bytes(8, "big"), strict=True))
    before = list(s)
    assert pcs.decode_status(torn, s) == pcs.BAD_CRC
    before[I.PCS_REJECTED] += 1
    assert list(s) == before


@given(st.binary(max_size=12))
def test_any_bytes_leave_the_process_image_whole(frame):
    s = image()
    before = list(s)
    result = pcs.decode_status(frame, s)
    assert result == pcs.OK or list(s)[: I.PCS_REJECTED] == before[: I.PCS_REJECTED]


def test_a_status_whose_counter_stands_still_is_stale():
    frame, s = bytearray(8), image()
    pcs.encode_status(frame, -5, 11_520, pcs.PCS_RUN, 3, 7)
    assert pcs.decode_status(frame, s) == pcs.OK
    assert (s[I.PCS_POWER_W], s[I.BUS_dV], s[I.PCS_STATE], s[I.PCS_ECHO]) == (-5, 11_520, pcs.PCS_RUN, 3)
    assert pcs.decode_status(frame, s) == pcs.STALE
