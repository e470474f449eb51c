"""FRAM, number store and event log: a power cut at any byte loses at most the record that was being written."""

import struct
from array import array

import pytest
from halite.chips.faults import WireFaults
from halite.chips.fram import SIZE
from halite.chips.fram import Fram as Chip
from halite.config import load_params
from halite.hosts.event_log import decoded
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.controller import Controller
from rack.control.protect.contactors import STEP_NEG
from rack.definitions.alarms import code_of
from rack.definitions.codes import (
    CMD_RESET,
    IN_ESTOP,
    IN_HVIL,
    IN_OC_OK,
    KIND_CAME,
    KIND_STATE,
    KIND_WENT,
    REASON_COMMAND,
    REASON_HANG,
    REASON_MAINTENANCE,
    REASON_POWER,
    STATE_OPEN,
    STATE_PRECHARGE,
)
from rack.drivers import fram as driver
from rack.drivers.crc16 import TABLE, crc16
from rack.drivers.fram import Fram
from rack.generated import alarm_output as O
from rack.generated import ids as I
from rack.storage.event_log import RECORD, EventLog
from rack.storage.int_store import IntStore
from rack.storage.retention import RetainedStore
from support.wires import I2c

HEALTHY = IN_HVIL | IN_ESTOP | IN_OC_OK
INTS = st.integers(-(2**30) + 1, 2**30 - 1)


def saved(store, values):
    """Write values to an IntStore in its three steps; True when all of them succeed."""
    store.stage(values)
    return store.write() and store.confirm()


class Rig:
    """A FRAM chip and its driver."""

    def __init__(self, content=None):
        self.chip = Chip(content)
        self.fram = Fram(I2c(self.chip))


def test_driver_and_chip_agree_on_the_size():
    """The driver's size is that of the chip model."""
    assert driver.SIZE == SIZE


@given(st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=64))
def test_bytes_are_kept_where_they_were_written(at, data):
    """Written bytes can be read at once and after a loss of power."""
    at = min(at, SIZE - len(data))
    rig = Rig()
    back = bytearray(len(data))
    assert rig.fram.write(at, data) and rig.fram.read_into(at, back) and back == data
    rig.chip.power_cycle()
    assert rig.fram.read_into(at, back) and back == data


def test_a_missing_chip_is_a_failed_transfer():
    """Transfers to a missing chip return False and are counted."""
    rig = Rig()
    rig.chip.faults.missing = True
    assert not rig.fram.write(0, b"x") and not rig.fram.read_into(0, bytearray(1)) and rig.fram.errors == 2


@given(st.lists(st.lists(INTS, min_size=5, max_size=5), min_size=1, max_size=6), st.integers(0, 40))
@settings(max_examples=60)
def test_a_cut_save_leaves_the_last_whole_numbers(saves, cut_after):
    """A power cut at any byte of a write leaves the numbers before, or the new ones when it was complete."""
    rig = Rig()
    store = IntStore(rig.fram, 64, 5)
    for values in saves[:-1]:
        assert saved(store, array("i", values))
    rig.chip.cut_after = cut_after
    whole = saved(store, array("i", saves[-1]))
    rig.chip.power_cycle()
    expected = saves[-1] if whole else saves[-2] if len(saves) > 1 else None
    found = array("i", [7] * 5)
    assert IntStore(rig.fram, 64, 5).load(found) == (expected is not None)
    assert list(found) == (expected if expected is not None else [7] * 5)


@given(st.lists(INTS, min_size=3, max_size=3), st.lists(INTS, min_size=3, max_size=3), st.data())
def test_a_flipped_bit_falls_back_to_the_older_copy(first, second, data):
    """Any damaged bit in the newer copy makes the older one valid."""
    rig = Rig()
    store = IntStore(rig.fram, 0, 3)
    assert saved(store, array("i", first)) and saved(store, array("i", second))
    newest = 0 if rig.chip.content[0] > rig.chip.content[store.size() // 2] else store.size() // 2
    bit = data.draw(st.integers(0, 8 * (store.size() // 2) - 1))
    rig.chip.content[newest + bit // 8] ^= 1 << bit % 8
    found = array("i", [0] * 3)
    assert IntStore(rig.fram, 0, 3).load(found) and list(found) == first


@pytest.mark.parametrize("disturbed", [{0}, {1}, {2}, {0, 1}, {2, 3}, {0, 2, 4}])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_disturbed_read_is_repeated(disturbed, flipped):
    """A start reads once: after noise it must not return to numbers from before the trip."""
    rig = Rig()
    store = IntStore(rig.fram, 0, 3)
    assert saved(store, array("i", [1, 2, 3])) and saved(store, array("i", [4, 5, 6]))
    read_into, transfers = rig.fram.read_into, []

    def noisy(at, buffer):
        transfers.append(at)
        ok = read_into(at, buffer)
        if len(transfers) - 1 in disturbed:
            buffer[5] ^= 0x40
            return flipped and ok
        return ok

    rig.fram.read_into = noisy
    found = array("i", [7] * 3)
    assert IntStore(rig.fram, 0, 3).load(found) and list(found) == [4, 5, 6]
    assert len(transfers) <= 9


def test_sequence_numbers_may_wrap():
    """Of two copies the one written later counts as newer, also when the sequence wraps at 2**30."""
    rig = Rig()
    copy = struct.pack("<Ii", 2**30 - 3, 0)
    assert rig.fram.write(0, copy + struct.pack("<H", crc16(copy, 0, len(copy), TABLE)))
    store = IntStore(rig.fram, 0, 1)
    assert store.load(array("i", [0]))
    for value in range(6):
        assert saved(store, array("i", [value]))
        found = array("i", [-1])
        assert IntStore(rig.fram, 0, 1).load(found) and found[0] == value


EVENTS = st.tuples(st.integers(0, 2**30 - 1), st.integers(0, 255), st.integers(0, 255), INTS, INTS, INTS, INTS)


@given(st.lists(EVENTS, max_size=20), st.integers(2, 6))
@settings(max_examples=40)
def test_the_ring_keeps_the_newest_records_over_restarts(events, size):
    """Each start finds the end of the ring and continues the sequence."""
    rig = Rig()
    for boot, event in enumerate(events):
        log = EventLog(rig.fram, 128, size)
        log.open(boot)
        assert log.head == boot
        assert log.append(*event)
    log = EventLog(rig.fram, 128, size)
    log.open(len(events))
    assert log.head == len(events)
    for sequence in range(log.oldest(), log.head):
        t, kind, code, *values = events[sequence]
        assert log.read(sequence) == (sequence, sequence, t, kind, code, *values)
    assert log.read(log.head) is None


@given(st.lists(EVENTS, min_size=1, max_size=8), EVENTS, st.integers(0, RECORD))
@settings(max_examples=60)
def test_a_power_cut_leaves_earlier_records_readable(events, last, cut_after):
    """A cut at any byte of a record damages this record only."""
    size = 8
    rig = Rig()
    log = EventLog(rig.fram, 0, size)
    log.open(1)
    for event in events:
        log.append(*event)
    rig.chip.cut_after = cut_after
    log.append(*last)
    rig.chip.power_cycle()
    again = EventLog(rig.fram, 0, size)
    again.open(2)
    assert again.head in (len(events), len(events) + 1)
    assert again.head == len(events) + 1 or cut_after < RECORD
    for sequence in range(max(again.oldest(), len(events) + 1 - size), len(events)):
        record = again.read(sequence)
        assert record is not None and record[2:] == events[sequence]


def test_the_log_goes_on_when_its_sequence_wraps():
    """Behind record 2**30 - 1 comes record 0, which a start finds from the kept sequence or from the whole ring."""
    rig = Rig()
    log = EventLog(rig.fram, 128, 64)
    log.open(1, 2**30 - 3)
    for n in range(3):
        assert log.append(n, 1, 2)
    assert log.head == 0 and log.read(2**30 - 1)[2] == 2
    whole = EventLog(rig.fram, 128, 64)
    whole.open(2)
    assert whole.head == 0
    for n in range(3, 8):
        assert log.append(n, 1, 2)
    again = EventLog(rig.fram, 128, 64)
    again.open(3, 2**30 - 2)
    assert again.head == 5 and again.oldest() == 0
    assert [again.read(sequence)[2] for sequence in range(5)] == [3, 4, 5, 6, 7]


_FAULTS = {"flip": 0.1, "lose": 0.1, "duplicate": 0.1, "truncate": 0.1, "late_us": 1.0, "stuck": 0, "missing": True,
           "reset_after": 9}


@given(st.integers(0, 2**16), st.lists(st.tuples(st.sampled_from(sorted(_FAULTS)), EVENTS), max_size=12))
@settings(max_examples=60)
def test_a_noisy_bus_makes_no_false_record(seed, events):
    """A record written through faults is there whole or not at all; those written before and after are there."""
    rig = Rig()
    log = EventLog(rig.fram, 128, 64)
    log.open(1)
    first = (1, 2, 3, 4, 5, 6, 7)
    assert log.append(*first)
    rig.chip.faults = WireFaults(seed)
    for fault, event in events:
        setattr(rig.chip.faults, fault, _FAULTS[fault])
        log.append(*event)
        rig.chip.faults = WireFaults(seed + 1)
    last = (7, 6, 5, 4, 3, 2, 1)
    assert log.append(*last)
    written = [first, *(event for _, event in events), last]
    read = [log.read(sequence) for sequence in range(log.oldest(), log.head)]
    found = [record[2:] for record in read if record]
    assert found[-1] == last and all(record in written for record in found)
    assert rig.fram.errors >= sum(fault in ("missing", "stuck") for fault, _ in events)


@pytest.mark.parametrize("reason", [REASON_POWER, REASON_HANG, REASON_MAINTENANCE, REASON_COMMAND])
def test_only_a_start_after_a_hang_is_a_trip(reason):
    """A start that the watchdog has caused latches `late_trip`; other starts do not."""
    controller = Controller(load_params("bench_rack"))
    store = RetainedStore(I2c(Chip()), controller)
    store.start(reason, 3)
    controller.s[I.IN_bits] = HEALTHY
    controller.scan(10)
    assert controller.s[I.TRIP_CODE] == (code_of("late_trip") if reason == REASON_HANG else 0)


def test_a_trip_is_kept_and_its_state_is_logged():
    """A trip is retained at once; the log has the new state with its first reason."""
    chip = Chip()
    controller = Controller(load_params("bench_rack"))
    store = RetainedStore(I2c(chip), controller)
    store.start(REASON_POWER, -1)
    controller.s[I.IN_bits] = HEALTHY
    controller.alarms.latch(code_of("estop"))
    for now_ms in range(0, 400, 10):
        controller.scan(now_ms)
        if store.busy():
            store.scan(now_ms)
        store.poll(now_ms * 1000)
    records = [store.log.read(at) for at in range(store.log.oldest(), store.log.head)]
    states = [decoded(list(record)) for record in records if record[3] == KIND_STATE]
    assert [(row["state"], row["value"], row["why"]) for row in states] == [("fault", "open", "emergency stop")]
    again = Controller(load_params("bench_rack"))
    RetainedStore(I2c(Chip(chip.content)), again).start(REASON_POWER, -1)
    again.s[I.IN_bits] = HEALTHY
    again.scan(10)
    assert again.s[I.TRIP_CODE] == code_of("estop")


def test_a_trip_is_kept_before_its_log_records():
    """The cause of a trip may end the controller's supply: a latch must not wait for a dozen records."""
    chip = Chip()
    controller = Controller(load_params("bench_rack"))
    store = RetainedStore(I2c(chip), controller)
    store.start(REASON_POWER, -1)
    controller.s[I.IN_bits] = HEALTHY
    for now_ms in range(0, 400, 20):
        store.poll(now_ms * 1000)
    controller.alarms.latch(code_of("estop"))
    for now_ms in range(0, 90, 10):         # the slot of the retained data comes once in eight scans
        controller.scan(now_ms)
    for change in range(12):
        controller.s[I.STATE] = STATE_OPEN if change % 2 else STATE_PRECHARGE
        store.scan(90)
    for now_ms in range(0, 60, 20):
        store.poll(now_ms * 1000)
    again = Controller(load_params("bench_rack"))
    RetainedStore(I2c(Chip(chip.content)), again).start(REASON_POWER, -1)
    again.s[I.IN_bits] = HEALTHY
    again.scan(10)
    assert again.s[I.TRIP_CODE] == code_of("estop")
    for now_ms in range(0, 20 * 13, 20):    # and no record is lost
        store.poll(now_ms * 1000)
    assert store.lost == 0 and store.log.head == 13


def test_a_precharge_is_kept_as_soon_as_it_begins():
    """The slot of the retained data comes once in eight scans: by then the resistor may be hot and the supply gone."""
    chip = Chip()
    params = load_params("bench_rack")
    controller = Controller(params)
    store = RetainedStore(I2c(chip), controller)
    store.start(REASON_POWER, -1)
    for now_ms in range(0, 400, 20):
        store.poll(now_ms * 1000)
    controller.s[I.STEP] = STEP_NEG
    controller.s[I.STATE] = STATE_PRECHARGE
    store.scan(400)
    for now_ms in (400, 420):               # staged, written
        store.poll(now_ms * 1000)
    again = Controller(params)
    RetainedStore(I2c(Chip(chip.content)), again).start(REASON_POWER, -1)
    assert again.contactors.kept_heat() == 4


@pytest.mark.parametrize("name", ["lfp", "bench"])
def test_lost_retained_data_waits_for_an_operator(name):
    """Unreadable retained data may have held a latched trip or deep discharge, so the rack does not close by itself."""
    chip = Chip()
    params = load_params(f"{name}_rack")
    RetainedStore(I2c(chip), Controller(params)).start(REASON_POWER, -1)
    chip.content[:128] = bytes([0x5A]) * 128
    for _ in range(2):                      # the next start reads intact data, and waits too
        controller = Controller(params)
        store = RetainedStore(I2c(chip), controller)
        store.start(REASON_POWER, -1)
        controller.s[I.IN_bits] = HEALTHY
        for now_ms in range(0, 400, 10):
            controller.scan(now_ms)
            store.poll(now_ms * 1000)
        assert not controller.contactors.wanted
    empty = Controller(params)
    RetainedStore(I2c(Chip()), empty).start(REASON_POWER, -1)
    assert empty.contactors.wanted is (params.rack_auto_close == 1)


def test_alarms_of_one_scan_have_a_record_each():
    """Inputs that open in one scan: each of their alarms comes and goes with its own code."""
    controller = Controller(load_params("bench_rack"))
    store = RetainedStore(I2c(Chip()), controller)
    store.start(REASON_POWER, -1)
    most = 0
    for now_ms in range(0, 3_500, 10):
        controller.s[I.IN_bits] = 0 if 1_000 <= now_ms < 1_500 else HEALTHY
        controller.scan(now_ms)
        if now_ms == 2_700:
            controller.command(CMD_RESET)
        if now_ms >= 1_000:
            most = max(most, controller.alarms.out[O.TRANSITIONS])
        if store.busy():
            store.scan(now_ms)
        store.poll(now_ms * 1000)
    rows = [store.log.read(at) for at in range(store.log.oldest(), store.log.head)]
    three = {code_of(key) for key in ("hvil", "estop", "oc_alert")}
    assert most == 3
    for kind in (KIND_CAME, KIND_WENT):
        codes = [row[4] for row in rows if row[3] == kind and row[2] >= 1_000 and row[4] in three]
        assert sorted(codes) == sorted(three)
