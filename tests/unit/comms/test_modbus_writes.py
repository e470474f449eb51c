"""Writes to the Modbus slave: each acts and refuses as on the console."""

import struct

import pytest
from halite.generate.modbus import points
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.definitions import codes
from rack.definitions.codes import IN_ESTOP
from rack.generated import ids as I
from support.modbus_rig import (
    ADDRESS,
    BASE,
    FAILURE,
    REGISTERS,
    UNIT,
    VALUE,
    Slave,
    address,
    long,
    sealed,
    single_request,
    write_request,
)


def test_a_value_of_the_ems_is_applied() -> None:
    """A write applies a value of the EMS and restarts the EMS's age."""
    slave = Slave(pair_role=1)
    assert slave.s[I.EMS_AGE_ms] == 0
    assert slave.write("SetW", -800) == 0
    assert (slave.s[I.SETPOINT_W], slave.s[I.EMS_AGE_ms]) == (-800, 1)
    assert slave.value("SetW") == slave.value("setpoint_W") == -800
    slave.s[I.EMS_AGE_ms] = 9_000
    assert slave.write("SetInsulation", 70_000) == 0
    assert (slave.s[I.INSULATION_KOHM], slave.s[I.EMS_AGE_ms]) == (70_000, 1)
    slave.s[I.PAIR_AGE_ms] = slave.s[I.EMS_AGE_ms] = 9_000
    assert slave.write("PairHigh", 4_000, 6_000, 1, -900) == 0
    assert [slave.s[at] for at in (I.PAIR_HIGH_cpct, I.PAIR_LOW_cpct, I.PAIR_OUT, I.PAIR_SHORT_W)] == [
        4_000, 6_000, 1, -900,
    ]  # fmt: skip
    assert (slave.s[I.PAIR_AGE_ms], slave.s[I.EMS_AGE_ms]) == (0, 1)
    assert slave.write("SetW", 5, 6, 7, 8, 0, 9) == 0
    assert [slave.s[at] for at in (I.SETPOINT_W, I.INSULATION_KOHM, I.PAIR_SHORT_W)] == [5, 6, 9]


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_bounds_are_those_of_the_console(setpoint: int, insulation: int) -> None:
    """Modbus and console accept the same range of a value."""
    slave, typed = Slave(), Slave()
    for name, command, value in (("SetW", "setpoint", setpoint), ("SetInsulation", "insulation", insulation)):
        code = slave.write(name, value)
        refused = typed.console_answer(command, str(value)).startswith("refused")
        assert code == (VALUE if refused else 0)
        assert slave.value("Refused") == (codes.REFUSED_VALUE if refused else 0)
    assert list(slave.s) == list(typed.s)


@given(st.lists(st.integers(-1, 10_001), min_size=2, max_size=2), st.integers(0, 2), st.integers(-1_100, 1_100))
@settings(max_examples=60, deadline=None)
def test_the_pair_is_applied_as_a_whole(soc: list[int], out: int, short: int) -> None:
    """The four values of the pair are applied together, with the bounds of the console."""
    slave, typed = (Slave(pair_role=1, pair_power_W=1_000) for _ in range(2))
    slave.s[I.SOC_cpct] = typed.s[I.SOC_cpct] = 4_321
    refused = typed.console_answer("pair", *map(str, (*soc, out, short))).startswith("refused")
    assert slave.write("PairHigh", *soc, out, short) == (VALUE if refused else 0)
    assert list(slave.s) == list(typed.s)
    assert slave.value("Soc") == 4_321


def test_half_a_value_and_half_a_pair_are_refused() -> None:
    """A request with half a value, or a part of the pair, is refused and changes no signal."""
    slave = Slave(pair_role=1)
    before = list(slave.s)
    assert slave.code(slave.ask(single_request(address("SetW"), 0)), 6) == VALUE
    assert slave.value("Refused") == codes.REFUSED_PART
    assert slave.code(slave.ask(single_request(address("SetW") + 1, 5)), 6) == ADDRESS
    assert slave.code(slave.ask(write_request(address("SetW"), [0, 5, 0])), 16) == VALUE
    assert slave.code(slave.ask(write_request(address("PairHigh"), [5_000])), 16) == VALUE
    assert slave.code(slave.ask(write_request(address("PairLow"), [5_000, 0, 0, 0])), 16) == VALUE
    assert slave.value("Refused") == codes.REFUSED_PART
    assert list(slave.s) == before


def test_a_rack_without_a_pair_refuses_its_values() -> None:
    """A rack with `[pair] role` 0 refuses the values of the pair."""
    slave = Slave(pair_role=0)
    assert slave.write("PairHigh", 4_000, 6_000, 0, 0) == FAILURE
    assert slave.value("Refused") == codes.REFUSED_ALONE
    assert slave.s[I.EMS_AGE_ms] == 0


def test_one_bad_value_refuses_the_whole_request() -> None:
    """A request with one value out of range changes no signal."""
    slave = Slave()
    assert slave.write("SetW", 500, -1) == VALUE
    assert slave.s[I.SETPOINT_W] == 0 and slave.s[I.EMS_AGE_ms] == 0


WRITABLE = {p.offset + n for p in points() if p.writable for n in range(p.registers)}


def test_every_other_register_is_read_only() -> None:
    slave = Slave(pair_role=1)
    before = list(slave.s)
    for at in set(range(REGISTERS)) - WRITABLE:
        assert slave.code(slave.ask(single_request(BASE + at, 1)), 6) == ADDRESS, at
        assert slave.value("Refused") == codes.REFUSED_ADDRESS
    for at in (-1, REGISTERS):
        assert slave.code(slave.ask(single_request(BASE + at, 1)), 6) == ADDRESS
    assert list(slave.s) == before
    assert slave.write("SetW", 0, 0, 0, 0, 0, 0, 0) == ADDRESS  # the last one is a signal
    assert slave.code(slave.ask(write_request(address("SetOp", 802), [1, 1])), 16) == ADDRESS


@pytest.mark.parametrize("frame", [
    sealed(struct.pack(">BBHHB", UNIT, 16, address("SetW"), 2, 3) + bytes(3)),
    sealed(struct.pack(">BBHHB", UNIT, 16, address("SetW"), 2, 4) + bytes(6)),
    sealed(struct.pack(">BBHHB", UNIT, 16, address("SetW"), 0, 0)),
    sealed(struct.pack(">BBHHB", UNIT, 16, BASE, 124, 246) + bytes(246)),
    sealed(struct.pack(">BBH", UNIT, 16, BASE)),
])  # fmt: skip
def test_a_write_with_wrong_lengths_is_exception_3(frame: bytes) -> None:
    slave = Slave()
    assert slave.code(slave.ask(frame), 16) == VALUE


def test_close_open_and_reset_match_the_console() -> None:
    """Close, open and reset act and refuse as on the console."""
    slave = Slave()
    slave.rig.run(1500)
    assert slave.value("SetOp", 802) == 2
    assert slave.write("SetOp", 1, model=802) == 0
    assert slave.value("SetOp", 802) == 1
    slave.rig.until(lambda: slave.s[I.STATE] == codes.STATE_CLOSED)
    assert (slave.value("State", 802), slave.value("ChaSt", 802)) == (3, 6)
    assert slave.write("AlmRst", 1, model=802) == FAILURE
    assert slave.value("Refused") == codes.REFUSED_STATE
    slave.rig.in_bits &= ~IN_ESTOP
    slave.rig.run(300)
    assert slave.write("SetOp", 1, model=802) == FAILURE
    assert slave.value("Refused") == codes.REFUSED_TRIPPED
    assert slave.console_answer("close").startswith("refused: a trip is latched")
    slave.rig.in_bits |= IN_ESTOP
    slave.rig.run(2_000)
    assert slave.write("AlmRst", 1, model=802) == FAILURE
    assert slave.value("Refused") == codes.REFUSED_PERSON
    slave.rig.run(2_000)
    assert slave.s[I.TRIP_CODE] != 0
    assert slave.console_answer("reset") == ',"ok":true'
    assert slave.unlocked == 2  # acknowledging may allocate
    slave.rig.run(1_000)
    assert slave.s[I.TRIP_CODE] == 0
    assert slave.value("Evt1", 802) == 1 << 26  # a warning: the rig has no mains
    assert slave.write("SetOp", 1, model=802) == FAILURE
    assert slave.value("Refused") == codes.REFUSED_HELD
    assert slave.console_answer("close") == ',"ok":true'
    assert slave.write("SetOp", 2, model=802) == 0
    assert slave.s[I.EMS_AGE_ms] > 0


def test_the_ems_does_not_overrule_open_on_the_console() -> None:
    """After `open` on the console, an EMS cannot close until `close` on the console."""
    slave = Slave()
    slave.rig.run(1_500)
    assert slave.write("SetOp", 1, model=802) == 0
    assert slave.console_answer("open") == ',"ok":true'
    for _ in range(2):
        assert slave.write("SetOp", 1, model=802) == FAILURE
        assert slave.value("Refused") == codes.REFUSED_HELD and slave.value("SetOp", 802) == 2
    assert slave.console_answer("close") == ',"ok":true'
    assert slave.value("SetOp", 802) == 1
    assert slave.write("SetOp", 2, model=802) == 0
    assert slave.write("SetOp", 1, model=802) == 0


def test_the_ems_resets_an_ordinary_trip() -> None:
    """AlmRst releases an over-current once; a reset that releases no trip is refused and says so."""
    slave = Slave()
    assert slave.write("AlmRst", 1, model=802) == FAILURE
    assert slave.value("Refused") == codes.REFUSED_NOTHING
    for refused in (0, codes.REFUSED_PERSON):
        slave.rig.run(1_500)
        assert slave.write("SetOp", 1, model=802) == 0
        slave.rig.until(lambda: slave.s[I.STATE] == codes.STATE_CLOSED)
        slave.s[I.CURRENT_dA] = slave.params.overcurrent_sensor_dA - 1
        slave.rig.run(100)
        assert slave.write("AlmRst", 1, model=802) == FAILURE
        slave.s[I.CURRENT_dA] = 0
        slave.rig.run(2_000)
        assert slave.write("AlmRst", 1, model=802) == (FAILURE if refused else 0)
        assert slave.value("Refused") == refused
        slave.rig.run(100)
        assert (slave.s[I.TRIP_CODE] != 0) == (refused != 0)


@pytest.mark.parametrize(("name", "value"), [("SetOp", 0), ("SetOp", 3), ("AlmRst", 2)])
def test_an_unknown_operation_is_exception_3(name: str, value: int) -> None:
    """Values of SetOp and AlmRst without a meaning are exception 3."""
    slave = Slave()
    assert slave.write(name, value, model=802) == VALUE
    assert slave.value("Refused") == codes.REFUSED_VALUE and slave.s[I.EMS_AGE_ms] == 0


@pytest.mark.parametrize(("frame", "refusal"), [
    (write_request(BASE + REGISTERS, [1]), codes.REFUSED_ADDRESS),
    (single_request(BASE - 1, 1), codes.REFUSED_ADDRESS),
    (sealed(struct.pack(">BBHHB", UNIT, 16, address("SetW"), 2, 3) + bytes(3)), codes.REFUSED_VALUE),
    (sealed(struct.pack(">BBHHB", UNIT, 6, address("SetOp", 802), 1, 0)), codes.REFUSED_VALUE),
    (write_request(BASE + REGISTERS, [1], unit=0), codes.REFUSED_ADDRESS),
])  # fmt: skip
def test_refused_shows_malformed_writes_too(frame: bytes, refusal: int) -> None:
    """`Refused` also shows a write outside the map and a write of a wrong length."""
    slave = Slave()
    assert slave.write("SetW", 1) == 0 and slave.value("Refused") == 0
    slave.ask(frame)
    assert slave.value("Refused") == refusal
    assert slave.write("SetW", 1) == 0 and slave.value("Refused") == 0


def test_both_heartbeats() -> None:
    """The EMS's heartbeat restarts its age; the rack's heartbeat counts seconds of the scan."""
    slave = Slave()
    assert slave.write("CtrlHb", 41, model=802) == 0
    assert slave.s[I.EMS_AGE_ms] == 1
    assert slave.write("CtrlHb", 42, 0, model=802) == 0  # with AlmRst, its neighbour
    assert slave.value("CtrlHb", 802) == 42 and slave.unlocked == 0
    first = slave.value("Hb", 802)
    slave.rig.run(3_000)
    assert slave.value("Hb", 802) == first + 3
    slave.run(2_000_000)
    assert slave.value("Hb", 802) == first + 3  # without a scan the heartbeat stops


def test_without_control_all_registers_are_read_only() -> None:
    """With `[modbus] control` false each write is refused and LocRemCtl reads local."""
    slave = Slave(modbus_control=0, pair_role=1)
    slave.rig.run(1_500)
    before = list(slave.s)
    assert slave.value("LocRemCtl", 802) == 1
    for name, values, model in (
        ("SetOp", [1], 802), ("SetOp", [2], 802), ("AlmRst", [1], 802), ("CtrlHb", [1], 802), ("SetW", [5], 64_370),
        ("PairHigh", [1, 1, 0, 0], 64_370), ("SetInsulation", [5], 64_370),
    ):  # fmt: skip
        assert slave.write(name, *values, model=model) == FAILURE
        assert slave.value("Refused") == codes.REFUSED_LOCAL
    assert list(slave.s) == before and not slave.c.contactors.wanted
    assert Slave().value("LocRemCtl", 802) == 0


def test_a_broadcast_is_executed_and_not_answered() -> None:
    slave = Slave()
    assert slave.ask(write_request(address("SetW"), long(321), unit=0)) == b""
    assert slave.s[I.SETPOINT_W] == 321
    assert slave.ask(write_request(address("SetW"), long(10**7), unit=0)) == b""
    assert slave.value("Refused") == codes.REFUSED_VALUE


@pytest.mark.parametrize("writes", [True, False])
def test_a_broadcast_neither_closes_nor_resets(writes: bool) -> None:
    """A broadcast that closes or resets is refused by each rack; a broadcast may open all racks."""
    slave = Slave()

    def broadcast(name: str, value: int) -> None:
        at = address(name, 802)
        frame = write_request(at, [value], unit=0) if writes else single_request(at, value, unit=0)
        assert slave.ask(frame) == b""

    slave.rig.run(1_500)
    broadcast("SetOp", 1)
    assert not slave.c.contactors.wanted and slave.value("Refused") == codes.REFUSED_BROADCAST
    slave.rig.close()
    broadcast("SetOp", 2)
    slave.rig.until(lambda: slave.s[I.COILS] == 0)
    slave.s[I.GAS_mV] = 3_300
    slave.rig.run(2_000)
    slave.s[I.GAS_mV] = 0
    slave.rig.run(12_000)
    broadcast("AlmRst", 1)
    slave.rig.run(100)
    assert slave.s[I.TRIP_CODE] and slave.value("Refused") == codes.REFUSED_BROADCAST
    assert slave.ask(write_request(address("CtrlHb", 802), [7, 1], unit=0)) == b""
    slave.rig.run(100)
    assert slave.s[I.TRIP_CODE]
    assert slave.write("AlmRst", 1, model=802) == 0


def test_silence_of_the_ems_ends_the_setpoint() -> None:
    """When the EMS falls silent after a write, its setpoint ends."""
    slave = Slave()
    slave.write("SetW", 400)
    for _ in range(2_100):
        slave.rig.scan()
    assert slave.s[I.SETPOINT_W] == 0
