"""`halite emulate`: an emulated rack controller on a serial port, until Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from halite.common.errors import HaliteError
from halite.common.image import write_whole
from halite.config import load
from halite.emulator.filesystem import FLASH_BYTES
from halite.emulator.runner import BoardRunner
from halite.hosts.emulated import emulated_rack
from halite.scenarios import scenario as scenarios
from halite.scenarios.emulated_player import play_after

_LOOK_S = 0.2


def emulate(
    config_name: str, scenario_name: str | None, after_s: float, seed: int, kept_flash: Path | None, image: Path | None
) -> int:
    """Run an emulated rack until Ctrl-C or SIGTERM; 0 after SIGTERM, 130 after Ctrl-C.

    after_s: emulated seconds before the scenario. kept_flash: file of the flash between runs; the FRAM is in a file of
    this name with .fram. image: another MicroPython image.
    """
    config = load(config_name)
    scenario = scenarios.load(scenario_name) if scenario_name else None
    flash = _kept_flash(kept_flash) if kept_flash else None
    kept_fram = kept_flash.with_name(kept_flash.name + ".fram") if kept_flash else None
    fram = kept_fram.read_bytes() if flash and kept_fram and kept_fram.is_file() else None
    start = scenario.start_state() if scenario else None
    emulated = emulated_rack(config, seed=seed, start=start, flash=flash, fram=fram, image=image)
    with _stop_signals() as stopped, BoardRunner(emulated.board, rs485=emulated.rs485) as runner:
        print(runner.port.path, flush=True)
        if runner.rs485_port:
            print(f"RS-485 {runner.rs485_port.path}", flush=True)
        if scenario:
            runner.call(lambda: play_after(emulated, after_s * 1000.0, scenario))
        while runner.running and not stopped.wait(_LOOK_S):
            pass
        if kept_flash and kept_fram:
            write_whole(kept_flash, runner.call(emulated.board.flash_snapshot))
            write_whole(kept_fram, runner.call(lambda: bytes(emulated.chips.fram.content)))
    return 130 if stopped.interrupted else 0


def _kept_flash(path: Path) -> bytes | None:
    """The flash of an earlier run; None for the first. HaliteError before a run whose flash could not be kept."""
    if not path.exists():
        if not path.absolute().parent.is_dir():
            raise HaliteError(f"{path}: no such folder", "make it first: the flash is written there at the end")
        return None
    if not path.is_file() or path.stat().st_size != FLASH_BYTES:
        raise HaliteError(f"{path}: not a flash of {FLASH_BYTES} bytes", "give a file that halite emulate has written")
    return path.read_bytes()


class _Stopped(threading.Event):
    interrupted = False


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stopped]:
    """Ctrl-C and SIGTERM end the run in an orderly way."""
    stopped = _Stopped()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.interrupted = number == signal.SIGINT
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
