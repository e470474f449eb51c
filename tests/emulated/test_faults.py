"""Failures of a closed rack, in its plant or in its firmware, with the real application on the emulated board.

All tests use one bench rack, which is closed again after a test that has opened it. The last test leaves it in standby.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from halite.build import firmware as build
from halite.common.image import image_path
from halite.common.paths import BOARD_CONFIGS
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.console_client import ask
from halite.emulator.filesystem import with_files
from halite.hosts.application import requests
from halite.hosts.emulated import EmulatedRack, emulated_rack
from rack.definitions.codes import COIL_NEG, COIL_POS, LIM_ALARM, TASK_STORAGE
from rack.generated import ids as I
from rack.generated import response_state as K
from rp2040py.gpio_pin import GPIOPinState

REACTION_TIMES = BOARD_CONFIGS.parent / "docs" / "reaction_times.md"
TASK, HUNG = "storage", TASK_STORAGE
WDT_MS = 200
FLOW_MS = 500
WALL_S = 300.0
PCS_STALE_MS = 100  # docs/protocols/pcs_can.md: after this time without a request the PCS goes to zero
CHANGES = (
    ("wdt_ms = 2_000", f"wdt_ms = {WDT_MS}"),
    ("flow_ms = 5_000", f"flow_ms = {FLOW_MS}"),
    ("cool_on_ddegC = 320", "cool_on_ddegC = 220"),  # the pump runs at 25 degC
    ("cool_off_ddegC = 280", "cool_off_ddegC = 180"),
    ("enabled = true\nunit", "enabled = false\nunit"),  # its pins are the flow switch's and FAILS_PIN
    # other tests cover the delays before a rack closes again
    ("cooldown_ms = 5_000", "cooldown_ms = 100"),
    ("settle_ms = 1_000", "settle_ms = 100"),
    ("bus_permille = 200", "bus_permille = 500"),
    ("oc_alert = [1, 0, 0, 1_000]", "oc_alert = [1, 0, 0, 100]"),
    ("discharge_current_trip = [300, 100, 0, 1_000]", "discharge_current_trip = [300, 100, 0, 100]"),
    ("flow_derate = [1, 0, 0, 5_000]", "flow_derate = [1, 0, 0, 100]"),
    ("late_trip = [100, 50, 0, 1_000]", "late_trip = [100, 50, 0, 100]"),
)
PINS = "\n[pins]\nrs485_tx = -1\nrs485_rx = -1\nrs485_de = -1\ncoolant_flow = 6\n"
# Faults built into the firmware. A setpoint, which a restart clears, or a pin starts them. The heater's pin marks the
# time.
HANG_W, RAISE_W, FAILS_PIN = 7, 8, 4
HANGS = f"""
        if self._s[{I.SETPOINT_W}] == {HANG_W}:
            self._port._heater(1)
            while True:
                pass
"""
RAISES = f"""
        if self._s[{I.SETPOINT_W}] == {RAISE_W}:
            self._port._heater(1)
            raise ValueError
"""
FAILS = f"""
                    if periods & (int(ptr32(0xD0000000)[1]) >> {FAILS_PIN}) & int(ptr32(k)[{K.SEEN}]):
                        raise ValueError
"""
FAULTY = (
    ("rack/tasks/slow.py", "    def poll_storage(self, now_us):\n", HANGS),
    ("rack/tasks/scan.py", "    def run(self, now_us):\n", RAISES),
    ("rack/hal/rp2_fast_path.py", "                    spi[2] = 0\n", FAILS),  # while the bus is in use
)


def faulty_sources(modules: dict[str, str]) -> dict[str, str]:
    for name, before, fault in FAULTY:
        assert modules[name].count(before) == 1, (name, before)
        modules[name] = modules[name].replace(before, before + fault)
    return modules


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedRack]:
    """A rack whose firmware has the faults built in."""
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    for old, new in CHANGES:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path: Path = tmp_path_factory.mktemp("faults") / "faulty.toml"
    path.write_text(text + PINS, encoding="utf-8")
    sources = build.board_sources
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "board_sources", lambda *words, **named: faulty_sources(sources(*words, **named)))
        files = build.make(load(path)).files
    emulated = emulated_rack(load(path), flash=with_files(EmulatedBoard(image_path()).flash_snapshot(), files))
    healthy(emulated.board)
    yield emulated


def healthy(board: EmulatedBoard) -> None:
    assert board.run_until(lambda: b"# healthy" in board.received, 6_000, WALL_S, 10), board.received


@pytest.fixture
def rack(whole: EmulatedRack) -> EmulatedRack:
    """The closed rack, latched trips acknowledged. It refuses until it has readings of cells, temperatures and PCS."""
    board, driver = whole.board, whole.wires.coil_driver
    give_up_us = board.now_us + 3e6
    while driver.coils != COIL_NEG | COIL_POS:
        assert board.now_us < give_up_us, board.received[-300:]
        board.send(b"reset\nclose\n")
        board.run_until(lambda: driver.coils == COIL_NEG | COIL_POS, 100, WALL_S, 5)
    board.run_for(50)
    board.events.clear()
    return whole


def alarms(board: EmulatedBoard) -> dict[str, dict[str, Any]]:
    return {alarm["text"]: alarm for alarm in ask(board, "alarms")["alarms"]}


def opened(board: EmulatedBoard) -> list[object]:
    return [event for event in board.events if event.what in ("contact", "coil", "enable", "reset")]


def begun(rack: EmulatedRack) -> list[float]:
    """Return a list that grows by the time in us at which a built-in fault begins."""
    found: list[float] = []
    pin = rack.board.rp2040.gpio[rack.config["pins_heater"]]
    pin.add_listener(lambda new, old: found.append(rack.board.now_us) if new == GPIOPinState.HIGH else None)
    return found


def dropped_us(board: EmulatedBoard) -> float:
    return next(event.at_us for event in board.events if event.what == "enable" and not event.detail[0])


def test_exceptions_in_the_fast_path_keep_the_coils(
    rack: EmulatedRack,
) -> None:
    """Exceptions in the fast path are counted; the coils stay, and so do the requests between the exceptions."""
    board = rack.board
    before = ask(board, "tasks")["edge_faults"]
    board.events.clear()
    board.rp2040.gpio[FAILS_PIN].set_input_value(True)  # every other period
    board.run_for(400)
    board.rp2040.gpio[FAILS_PIN].set_input_value(False)
    edges = sum(event.what == "mains" for event in board.events)
    sent_us = [request.at_us for request in requests(board.events)]
    counted = ask(board, "tasks")["edge_faults"] - before
    assert edges >= 19 and abs(counted - edges / 2) <= 1
    assert len(sent_us) >= edges - counted - 1 and max(b - a for a, b in pairwise(sent_us)) < 1000 * PCS_STALE_MS
    assert not opened(board)


def test_stopped_coolant_derates_until_it_flows_again(rack: EmulatedRack) -> None:
    """Stopped coolant is an alarm that derates until the coolant flows again."""
    board, plant = rack.board, rack.rack
    assert plant.coolant_flow and "no coolant flow" not in alarms(board)
    plant.start_fault("coolant_stopped", at_us=board.now_us)
    board.run_for(FLOW_MS + 150)
    assert alarms(board)["no coolant flow"]["level"] == "derate"
    signals = ask(board, "status")["signals"]
    most_W = rack.config["rack_power_max_W"] * rack.config["limit_derate_permille"] // 1000
    assert signals["coolant_stopped"] == 1
    for way in ("charge", "discharge"):
        assert signals[f"limit_{way}_W"] <= most_W and signals[f"limit_{way}_by"] == LIM_ALARM
    assert not opened(board)
    plant.stop_fault("coolant_stopped", at_us=board.now_us)
    board.run_for(250)
    assert "no coolant flow" not in alarms(board)


def over_current_ms() -> float:
    """Return the open command's worst case in ms from the table of reaction times."""
    row = re.search(r"^\| over-current, discharge \|[^|]*\| ([\d.]+) ", REACTION_TIMES.read_text("utf-8"), re.M)
    assert row
    return float(row[1])


def test_over_current_cuts_the_supply_in_hardware(
    rack: EmulatedRack,
) -> None:
    """Over-current cuts the supply in its time without software; the supply stays off until a reset.

    The test reads the sensor's pin every 20 us; outside this test the wires do so every 1 ms.
    """
    board, wires = rack.board, rack.wires
    begin_us = board.now_us
    rack.rack.start_fault("current_offset", value=1.5 * rack.config["sensor_alert_discharge_A"], at_us=begin_us)

    def cut() -> bool:
        wires.refresh()
        return not wires.coil_driver.alive

    assert board.run_until(cut, 20, WALL_S, 0.02)
    print(f"over-current to supply off: {dropped_us(board) - begin_us:.0f} us")
    assert 0 < dropped_us(board) - begin_us <= 1000 * over_current_ms()
    still = [board.rp2040.gpio[rack.config[f"pins_coil_main_{side}"]].value for side in ("neg", "pos")]
    assert still == [GPIOPinState.HIGH] * 2  # no scan has opened yet
    board.run_for(50)
    told = alarms(board)["over-current, cut in hardware"]
    assert told["level"] == "trip" and told["latched"]
    rack.rack.stop_fault("current_offset", at_us=board.now_us)
    board.events.clear()
    quiet = ("input", ("oc_alert", 1))  # the sensor's latch is cleared within 2 s, the controller's is not
    assert board.run_until(lambda: quiet in [event[1:] for event in board.events], 2_500, WALL_S, 5)
    board.run_for(200)
    assert "trip is latched" in ask(board, "close")["error"]
    board.run_for(200)
    assert not [event for event in opened(board) if event.what != "contact"] and not wires.coil_driver.coils
    assert ask(board, "reset")["ok"] and ask(board, "close")["ok"]
    assert board.run_until(lambda: wires.coil_driver.coils, 500, WALL_S, 5)


def test_a_hung_task_drops_the_coils_and_is_named(rack: EmulatedRack) -> None:
    """A task that does not return drops the coils and is named after the reset."""
    board, hung_us = rack.board, begun(rack)
    board.send(b"setpoint %d\n" % HANG_W)
    assert board.run_until(lambda: any(event.what == "reset" for event in board.events), 1_000, WALL_S)
    reset_us = next(event.at_us for event in board.events if event.what == "reset")
    assert 0 < dropped_us(board) - hung_us[0] <= 1000 * rack.config["deadman_window_ms"]
    assert dropped_us(board) < reset_us <= hung_us[0] + 1000 * (WDT_MS + 1)
    board.forget_received()
    healthy(board)
    version = ask(board, "version")
    assert (version["reset"], version["hung"]) == ("hang", HUNG)
    assert ask(board, "tasks")["tasks"][HUNG]["name"] == TASK
    assert rack.wires.coil_driver.coils == 0 and ask(board, "status")["state"] == "fault"
    assert ask(board, "why")["why"][0] == "task too late"  # a restart does not reset the trip


def test_an_exception_in_the_scan_ends_in_standby(rack: EmulatedRack) -> None:
    """An exception in the scan drops the coils for good and is reported in standby."""
    board, raised_us = rack.board, begun(rack)
    board.send(b"setpoint %d\n" % RAISE_W)
    assert board.run_until(lambda: b"# standby: ValueError" in board.received, 1_000, WALL_S, 5)
    assert 0 < dropped_us(board) - raised_us[0] <= 1000 * rack.config["deadman_window_ms"]
    board.events.clear()
    assert "error" in ask(board, "close")  # in standby no task can close
    board.run_for(2 * WDT_MS)
    assert not [event for event in opened(board) if event.what != "contact"]
    assert rack.wires.coil_driver.coils == 0 and not rack.rack.contact_bits(board.now_us)
    version = ask(board, "version")
    assert (version["mode"], version["healthy"]) == ("standby", False) and version["reason"].startswith("ValueError")
