"""The Modbus slave: every register alone and in every span, any bytes on the line, reasons and events."""

import json
import struct

import pytest
from halite.generate.modbus import points
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.protect import reasons as why
from rack.definitions import sunspec
from rack.definitions.codes import CMD_CLOSE
from rack.definitions.signals import SIGNALS
from rack.generated import ids as I
from support.modbus_rig import (
    ADDRESS,
    BASE,
    PERIOD_US,
    REGISTERS,
    UNIT,
    VALUE,
    Slave,
    address,
    read_request,
    sealed,
    single_request,
    write_request,
)


@pytest.fixture(scope="module")
def slave() -> Slave:
    """One that tests only read from."""
    slave = Slave()
    slave.rig.run(1500)
    for at in range(len(slave.s)):
        slave.s[at] = (at + 1) * 7_000_001 % 2**31 - 2**30  # both signs, every half different
    slave.s[I.STATE] = 2
    slave.s[I.LIMIT_CHARGE_W] = slave.s[I.LIMIT_DISCHARGE_W] = 2_000_000
    return slave


@pytest.fixture(scope="module")
def whole(slave: Slave) -> list[int]:
    """Every register, read in large pieces."""
    return [word for at in range(0, REGISTERS, 125) for word in slave.read(BASE + at, min(125, REGISTERS - at))]


def test_each_register_can_be_read_alone(slave: Slave, whole: list[int]) -> None:
    for at in range(REGISTERS):
        if at not in range(70, 134):  # heartbeat and the like move
            assert slave.read(BASE + at, 1) == whole[at : at + 1], at


@given(st.integers(0, REGISTERS - 1), st.integers(1, 125))
@settings(max_examples=150, deadline=None)
def test_every_span_gives_the_same_registers(slave: Slave, whole: list[int], first: int, count: int) -> None:
    count = min(count, REGISTERS - first)
    assert slave.read(BASE + first, count) == whole[first : first + count]


def test_every_signal_has_its_registers(slave: Slave, whole: list[int]) -> None:
    """The vendor model has every signal with its sign, in the order of the list."""
    first = address(SIGNALS[0][0]) - BASE
    assert [row[0] for row in SIGNALS] == [p.name for p in points()][-len(SIGNALS) :]
    words = whole[first : first + 2 * len(SIGNALS)]
    values = struct.unpack(f">{len(SIGNALS)}i", struct.pack(f">{len(words)}H", *words))
    assert list(values) == list(slave.s)
    assert whole[-2:] == list(sunspec.END)


def test_a_signal_is_clamped_to_16_bits(slave: Slave) -> None:
    """A signal beyond 16 bits is clamped to the value next to "not implemented"."""
    for signal, point in ((I.CURRENT_dA, "A"), (I.RACK_dV, "V"), (I.CELL_MAX_mV, "CellVMax")):
        kept = slave.s[signal]
        low, high = (-0x7FFF, 0x7FFF) if point == "A" else (0, 0xFFFE)
        for value, shown in ((-(2**30) + 1, low), (-1, max(low, -1)), (2**30 - 1, high), (1234, 1234)):
            slave.s[signal] = value
            assert slave.value(point, 802) == shown
        slave.s[signal] = kept


@given(st.integers(0, 65_535), st.integers(0, 65_535))
@settings(deadline=None)
def test_a_read_outside_the_map_is_an_exception(slave: Slave, first: int, count: int) -> None:
    """A read outside the map is exception 2, a read of too many registers exception 3."""
    answer = slave.ask(read_request(first, count))
    inside = first >= BASE and first + count <= BASE + REGISTERS
    expected = VALUE if not 1 <= count <= 125 else 0 if inside else ADDRESS
    assert slave.code(answer, 3) == expected


@pytest.mark.parametrize("function", [0, 1, 2, 4, 5, 7, 8, 15, 17, 22, 23, 43, 100, 127])
def test_an_unknown_function_is_exception_1(function: int) -> None:
    slave = Slave()
    assert slave.code(slave.ask(sealed(bytes((UNIT, function)) + bytes(7))), function) == 1
    assert slave.code(slave.ask(sealed(bytes((UNIT, function)))), function) == 1


BAUDS = (9_600, 19_200, 38_400, 57_600, 115_200)


@pytest.mark.parametrize("baud", BAUDS)
@pytest.mark.parametrize("at", [1, 4, 7, 8])
def test_the_silence_fits_every_baud_rate(baud: int, at: int) -> None:
    """A pause of 1.5 characters is inside a frame. The answer follows a silence of 3.5, above 19 200 baud of 1.75 ms.

    Modbus over Serial Line 2.5.1.1. The worst case is a slice of the slave right after the byte before the pause. For
    the answer it is a slice right after the last byte, number 8.
    """
    character_us = 11e6 / baud
    silence_us = 3.5 * character_us if baud <= 19_200 else 1_750.0
    pause_us = 1.5 * character_us if baud <= 19_200 else 750.0
    slave, frame = Slave(modbus_baud=baud), read_request(BASE, 2)
    paused_us = slave.line.put(frame[:at])
    ended_us = slave.line.put(frame[at:], paused_us + pause_us) if at < len(frame) else paused_us
    slave.due_us = round(paused_us) + 1
    slave.run(ended_us + silence_us + PERIOD_US)
    assert len(slave.line.sent) == 1
    begun_us, _ = slave.line.sent[0]
    assert silence_us <= begun_us - ended_us <= silence_us + (PERIOD_US if at < len(frame) else character_us)


@pytest.mark.parametrize("baud", BAUDS)
def test_a_silence_inside_a_request_ends_it(baud: int) -> None:
    """Two halves of a request with a silence between them get no answer, at every baud rate."""
    slave, frame = Slave(modbus_baud=baud), read_request(BASE, 2)
    paused_us = slave.line.put(frame[:4])
    slave.line.put(frame[4:], paused_us + slave.modbus.silence_us + 2 * PERIOD_US)
    slave.run(300_000)
    assert not slave.line.sent
    assert slave.read(BASE, 2) == list(sunspec.SUNS)


@pytest.mark.parametrize("frame", [
    read_request(BASE, 2, unit=UNIT + 1),
    read_request(BASE, 2, unit=0),
    read_request(BASE, 2)[:-1],
    read_request(BASE, 2)[:-1] + b"\x00",
    b"\x00", b"\xff" * 300, bytes(8), sealed(b""), sealed(bytes((UNIT,))),
])  # fmt: skip
def test_a_frame_for_another_unit_is_not_answered(frame: bytes) -> None:
    """The slave does not answer frames for other units, exceptions, or damaged frames."""
    slave = Slave()
    assert slave.ask(frame) == b""
    assert slave.read(BASE, 2) == list(sunspec.SUNS)


# -- anything on the line


def frames() -> st.SearchStrategy[bytes]:
    """Pieces of traffic: noise, frames of others and to us, whole, cut or flipped."""
    unit = st.sampled_from((0, UNIT, UNIT + 1))
    whole = st.one_of(
        st.builds(read_request, st.integers(39_990, 40_400), st.integers(0, 130), unit),
        st.builds(write_request, st.integers(40_080, 40_170), st.lists(st.integers(0, 65_535), max_size=12), unit),
        st.builds(single_request, st.integers(40_080, 40_170), st.integers(0, 65_535), unit),
        st.builds(lambda u, d: sealed(bytes((u, 3, len(d))) + d), unit, st.binary(max_size=250)),
        st.builds(lambda u, f, d: sealed(bytes((u, f)) + d), unit, st.integers(0, 255), st.binary(max_size=20)),
    )
    cut = st.builds(lambda data, at: data[: at % (len(data) + 1)], whole, st.integers(0, 300))
    return st.one_of(st.binary(max_size=600), whole, cut)


@given(st.lists(st.tuples(frames(), st.integers(0, 30_000)), max_size=8), st.integers(0, 2**30))
@settings(max_examples=300, deadline=None)
def test_any_bytes_leave_the_slave_working(
    traffic: list[tuple[bytes, int]], start_us: int
) -> None:
    """After any bytes on the line, the slave answers the next valid request."""
    slave = Slave(start_us=start_us)
    free_us = 0.0
    for data, pause_us in traffic:
        free_us = slave.line.put(data)
        slave.run(pause_us)
    while slave.now_us < free_us or slave.line.sending():
        slave.run(10_000)
    slave.run(40_000)
    assert slave.modbus.faults == 0
    assert slave.polls < (slave.now_us - start_us) // 1_000 + 10 * (len(slave.line.sent) + 1)  # bounded
    assert slave.read(BASE, 2) == list(sunspec.SUNS)


@given(st.binary(max_size=240), st.integers(0, 4), st.booleans())
@settings(deadline=None)
def test_a_request_is_found_after_frames_of_others(data: bytes, others: int, write: bool) -> None:
    """The slave finds its request at the end of frames that arrived during one scan, without a visible silence."""
    slave = Slave(modbus_baud=115_200)
    for _ in range(others):
        slave.line.put(read_request(BASE, 100, UNIT + 1))
        slave.line.put(sealed(bytes((UNIT + 1, 3, len(data))) + data))
    frame = write_request(address("CtrlHb", 802), [7]) if write else read_request(BASE, 2)
    answer = slave.ask(frame)
    assert answer == (frame[:6] if write else bytes((UNIT, 3, 4)) + struct.pack(">2H", *sunspec.SUNS))


BEAT = address("CtrlHb", 802)
SHORT = st.sampled_from([
    read_request(BASE, 1), read_request(BASE, 2), read_request(BASE, 120), read_request(BASE, 200), read_request(0, 1),
    single_request(BEAT, 5), single_request(BEAT, 6), single_request(BASE, 5), write_request(BEAT, [7]),
])  # fmt: skip


@given(st.lists(st.tuples(SHORT, st.integers(0, 25_000)), min_size=1, max_size=8), st.booleans(), st.booleans())
@settings(deadline=None)
def test_a_request_right_after_an_answer_is_answered_once(
    requests: list[tuple[bytes, int]], echo: bool, late: bool
) -> None:
    """A request right after an answer is answered once: with an echo, with late slices, and when it comes again."""
    slave = Slave(echo=echo, modbus_baud=115_200)
    for n, (request, pause_us) in enumerate(requests, 1):
        begin_us = max(slave.line.ended_us() + slave.modbus.silence_us + pause_us, slave.now_us if n == 1 else 0)
        slave.line.put(request, begin_us)
        while len(slave.line.sent) < n:
            slave.due_us += 15_000 * late
            slave.poll()
            assert slave.now_us < begin_us + 300_000
    slave.run(200_000)
    assert len(slave.line.sent) == len(requests) and slave.modbus.faults == 0
    for (request, _), (_, answer) in zip(requests, slave.line.sent, strict=True):
        assert answer[1] & 0x7F == request[1]


def test_an_endless_transmitter_is_stopped() -> None:
    """A transmitter that does not end is stopped within bounded time, and the slave works on."""
    slave = Slave()
    slave.line.stuck = True
    slave.line.put(read_request(BASE, 125))
    while not slave.line.sent:
        slave.poll()
    begun_us, data = slave.line.sent[0]
    while not slave.line.stops:
        slave.poll()
        assert slave.now_us - begun_us < 200_000
    assert slave.now_us - begun_us <= (len(data) + 2) * slave.modbus.character_us + 20_000 + 2 * PERIOD_US
    assert slave.read(BASE, 2) == list(sunspec.SUNS)


def test_an_exception_in_the_slave_is_only_counted() -> None:
    """An exception inside the slave is counted; the next request is answered."""
    slave = Slave()
    kept = slave.c.alarms
    slave.c.alarms = None
    slave.line.put(read_request(address("V", 802), 1))
    slave.run(100_000)
    assert slave.modbus.faults == 1 and not slave.line.sent
    slave.c.alarms = kept
    slave.modbus.faults = 0
    assert slave.value("V", 802) == slave.s[I.RACK_dV]


# -- reasons and events


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_the_reasons_are_those_of_the_console(data: st.DataObject) -> None:
    slave = Slave()
    slave.rig.run(data.draw(st.integers(0, 1_500)))
    if data.draw(st.booleans()):
        slave.c.command(CMD_CLOSE)
    for at in data.draw(st.lists(st.integers(0, 80), max_size=20)):
        slave.c.alarms.active[at] = data.draw(st.sampled_from((1, 3)))
        slave.c.alarms.out[4] = sum(state == 3 for state in slave.c.alarms.active)
    s = slave.s
    s[I.STATE] = data.draw(st.integers(0, 5))
    s[I.ACTIONS] = data.draw(st.integers(0, 31))
    latched = [at + 1 for at, state in enumerate(slave.c.alarms.active) if state == 3]
    s[I.TRIP_CODE] = data.draw(st.sampled_from(latched)) if latched else 0
    s[I.LIMIT_CHARGE_BY], s[I.LIMIT_DISCHARGE_BY] = (data.draw(st.integers(0, 8)) for _ in range(2))
    count, *listed = slave.read(address("WhyN"), 1 + sunspec.REASONS)
    told = json.loads("{" + slave.console_answer("why")[1:] + "}")["why"]
    assert [why.text(code) for code in listed[:count]] == told
    assert listed[count:] == [0] * (sunspec.REASONS - count)


def test_evt1_holds_the_bits_of_active_alarms() -> None:
    from rack.definitions.alarms import ROWS

    slave = Slave()
    for at, row in enumerate(ROWS):
        slave.c.alarms.active[at] = 1
        assert slave.value("Evt1", 802) == 1 << row[6], row[0]
        slave.c.alarms.active[at] = 0
    assert slave.value("Evt1", 802) == 0
