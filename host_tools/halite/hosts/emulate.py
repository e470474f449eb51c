"""`halite emulate`: an emulated rack controller on a serial port, until Ctrl-C."""

import argparse
import contextlib
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

from halite.cli.arguments import Parser, parsed, seconds, seed
from halite.common.errors import HaliteError
from halite.common.image import write_whole
from halite.config import load
from halite.emulator.filesystem import FLASH_BYTES
from halite.emulator.runner import BoardRunner
from halite.hosts.emulated import emulated_rack
from halite.scenarios import scenario as scenarios
from halite.scenarios.emulated_player import ScenarioPlayer

_LOOK_S = 0.2


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="halite emulate",
        description="Start an emulated Raspberry Pi Pico W with the real MicroPython image, wired to a simulated "
        "rack, and print its serial port, then that of its RS-485 line. Runs until Ctrl-C.",
        epilog="Example: halite emulate --config sodium_rack --flash rack.flash --scenario demo --after 4",
    )
    parser.add_argument("--config", default="sodium_rack", help="board config: file, or the name of a shipped one")
    parser.add_argument("--scenario", metavar="S", help="scenario to play: file, or the name of a shipped one")
    parser.add_argument("--after", type=seconds, default=0.0, metavar="S",
                        help="emulated seconds before the scenario: a rack takes 4 to start")
    parser.add_argument("--seed", type=seed, default=1, help="seed of spread and noise (default 1)")
    parser.add_argument("--flash", type=Path, metavar="FILE",
                        help="keep the flash in this file between runs; a board without one is bare")
    parser.add_argument("--image", type=Path, metavar="UF2", help="MicroPython image instead of the cached one")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; 0 after SIGTERM, 130 after Ctrl-C."""
    options = parsed(_parser(), arguments)
    if options is None:
        return 0
    config = load(options.config)
    scenario = scenarios.load(options.scenario) if options.scenario else None
    flash = _kept_flash(options.flash) if options.flash else None
    start = scenario.start_values() if scenario else None
    emulated = emulated_rack(config, seed=options.seed, start=start, flash=flash, image=options.image)
    with _stop_signals() as stopped, BoardRunner(emulated.board, rs485=emulated.rs485) as runner:
        print(runner.port.path, flush=True)
        if runner.rs485_port:
            print(f"RS-485 {runner.rs485_port.path}", flush=True)
        if scenario:
            begin = partial(ScenarioPlayer, emulated.wires, scenario)
            runner.call(lambda: emulated.board.after(options.after * 1000.0, begin))
        while runner.running and not stopped.wait(_LOOK_S):
            pass
        if options.flash:
            write_whole(options.flash, runner.call(emulated.board.flash_snapshot))
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


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except HaliteError as error:
        raise SystemExit(f"error: {error}") from None
