"""Rules R2 and R3: the control core decides the same on CPython and MicroPython, and does not allocate."""

from collections.abc import Callable
from pathlib import Path

import pytest
from halite.build.firmware import make
from halite.config import compile_config, load
from halite.scenarios import scenario
from support.recorded import SCENARIOS, config_of, has_decided, record_of, second
from support.recording import INPUT_SIGNALS, replayed
from support.replay import CELLS


def replay_code(config: Path, record: Path, locked: bool) -> str:
    return f"import replay\nreplay.run({str(config)!r}, {str(record)!r}, {INPUT_SIGNALS}, {locked})"


def test_every_module_imports_on_the_unix_port(on_unix: Callable[[str], str]) -> None:
    """All modules except those that need the chip; an import that is missing in the build fails here."""
    chip = ("boot.py", "main.py", "rack/hal/")
    built = make(load("sodium_rack"), plain=True).files
    names = [name for name in built if name.endswith(".py") and not name.startswith(chip)]
    modules = [name.removesuffix(".py").replace("/", ".") for name in names]
    assert "rack.control.controller" in modules
    code = "\n".join(f"import {module}" for module in modules) + "\nprint('imported')"
    assert on_unix(code).strip() == "imported"


@pytest.mark.parametrize("config", ["sodium_rack", "lfp_rack", "bench_rack"])
def test_one_second_of_scan_has_the_same_bits(
    config: str, on_unix: Callable[[str], str], tmp_path: Path
) -> None:
    """CPython and the unix port decide the same in each scan; the heap is locked on the unix port."""
    record = second(config)
    (tmp_path / "second.bin").write_bytes(record)
    (tmp_path / "config.bin").write_bytes(compile_config(load(config)))
    decided = on_unix(replay_code(tmp_path / "config.bin", tmp_path / "second.bin", locked=True)).split()
    assert len(decided) == 100
    assert len(set(decided)) == 100  # every scan changes the image
    assert decided == replayed(record, load(config).path)[0]


def test_a_changed_input_changes_the_digests() -> None:
    """Proof that the digests detect a difference: one cell 1 mV higher in the record changes them."""
    record = second("bench_rack")
    changed = bytearray(record)
    changed[record.index(bytes((CELLS,))) + 1] ^= 1
    bench = load("bench_rack").path
    assert replayed(record, bench)[0] != replayed(bytes(changed), bench)[0]


def test_an_allocation_in_the_scan_is_detected(on_unix: Callable[[str], str]) -> None:
    """The heap lock of the replay raises MemoryError."""
    code = "import replay\ntry:\n replay._decide(lambda: [1] * 9, replay.lock)\nexcept MemoryError:\n print('seen')"
    assert on_unix(code).strip() == "seen"


def test_every_shipped_scenario_is_recorded() -> None:
    """The list of records is the list of shipped scenarios."""
    assert sorted(SCENARIOS) == sorted(path.stem for path in scenario.FOLDER.glob("*.toml"))
    assert len(SCENARIOS) == 10


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_recorded_scenario_has_the_same_bits_on_unix(
    name: str, on_unix: Callable[[str], str], tmp_path: Path
) -> None:
    """With the millisecond clock wrapping at 2**30; tests/emulated replays the same records on the chip."""
    stream = record_of(name)
    (tmp_path / "record.bin").write_bytes(stream)
    (tmp_path / "config.bin").write_bytes(compile_config(config_of(name)))
    decided = on_unix(replay_code(tmp_path / "config.bin", tmp_path / "record.bin", locked=True)).split()
    expected, controller = replayed(stream, config_of(name).path)
    assert decided == expected
    assert has_decided(controller, name), "the record ends before what it is recorded for"


CAN_UNDER_LOCK = """
import micropython
from array import array
from rack.comms import pcs_codec
from rack.comms.pcs_link import PcsLink
from rack.drivers.mcp2515 import Mcp2515

class Chip:
    # Registers and a reset; a random generator draws flags, lengths and frames.
    def __init__(self):
        self.registers = bytearray(128)
        self.good = bytearray(8)
        self.noise = 1
        self.left = self.bus_off = 0

    def draw(self):
        self.noise = (self.noise * 1103 + 12345) & 0xFFFFF
        return self.noise >> 8

    def transfer(self, tx, rx, count):
        r = self.registers
        if tx[0] == 0xC0:
            for i in range(128):
                r[i] = 0
            r[0x0E] = 0x80
        elif tx[0] == 2:
            for i in range(count - 2):
                r[tx[1] + i] = tx[2 + i]
            if tx[1] == 0x0F:
                r[0x0E] = tx[2] & 0xE0
        elif tx[0] == 3:
            if tx[1] <= 0x2D < tx[1] + count - 2:       # the error flags are read
                r[0x2D] = (0, 0, 0, 0, 0, 0, 0, 0x40, 0xC0, 0x20)[self.draw() % 10]
            if r[0x0E] == 0:        # normal mode: a request may wait
                r[0x30] = r[0x30] & 0xF7 | self.draw() & 8
            for i in range(count - 2):
                rx[2 + i] = r[tx[1] + i]
        elif tx[0] == 0xA0:
            rx[1] = self.draw() & 3
        elif tx[0] in (0x90, 0x94):
            good = self.draw() & 1
            for i in range(13):
                rx[1 + i] = self.draw() & 255
            if good:
                rx[1], rx[2], rx[5] = {identifier} >> 3, ({identifier} & 7) << 5, 8
                for i in range(8):
                    self.good[i] = rx[6 + i]
                rx[13] = pcs_codec.crc8(self.good, {crc})

s = array("i", [0] * 256)
can = Mcp2515(Chip(), 16, PcsLink.ACCEPT)
link = PcsLink(can, s)
now, states, accepted = 0, bytearray(8), 0
micropython.heap_lock()
for _ in range(4000):
    now = (now + 10_000) & 0x3FFFFFFF
    before = s[{sequence}]
    link.poll(now)
    accepted += s[{sequence}] != before
    link.send_limits()
    states[can.state] += states[can.state] < 200
micropython.heap_unlock()
print(accepted, can.aborted, can.bus_offs, can.rx_overflows, min(states[:5]))
"""


def test_the_can_link_does_not_allocate(on_unix: Callable[[str], str]) -> None:
    """The loop polls it with the heap locked: bring-up, bus-off, a stuck buffer, random frames."""
    from rack.definitions.pcs_codes import STATUS_CRC, STATUS_ID
    from rack.generated import ids as I

    code = CAN_UNDER_LOCK.replace("{sequence}", str(I.PCS_SEQUENCE)).replace("{identifier}", str(STATUS_ID))
    code = code.replace("{crc}", str(STATUS_CRC))
    assert all(int(seen) >= 5 for seen in on_unix(code).split())
