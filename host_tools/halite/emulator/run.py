"""`halite emulate`: an emulated rack controller on a serial port, until Ctrl-C."""

import argparse
import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from halite.config import load
from halite.emulator.rig import emulated_rack
from halite.emulator.runner import BoardRunner
from halite.errors import HaliteError
from halite.simulator import scenario as scenarios

_LOOK_S = 0.2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="halite emulate",
        description="Start an emulated Raspberry Pi Pico W with the real MicroPython image, wired to a simulated "
        "rack, and print its serial port. Runs until Ctrl-C.",
        epilog="Example: halite emulate --config sodium_rack --scenario demo",
    )
    parser.add_argument("--config", default="sodium_rack", help="board config: file, or the name of a shipped one")
    parser.add_argument("--scenario", metavar="S", help="scenario to play: file, or the name of a shipped one")
    parser.add_argument("--after", type=float, default=0.0, metavar="S", help="emulated seconds before the scenario")
    parser.add_argument("--seed", type=int, default=1, help="seed of spread and noise (default 1)")
    parser.add_argument("--flash", type=Path, metavar="FILE", help="keep the flash in this file between runs")
    parser.add_argument("--image", type=Path, metavar="UF2", help="MicroPython image instead of the cached one")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; 0 after SIGTERM, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    config = load(options.config)
    scenario = scenarios.load(options.scenario) if options.scenario else None
    flash = options.flash.read_bytes() if options.flash and options.flash.exists() else None
    emulated = emulated_rack(config, seed=options.seed, start=scenario, flash=flash, image=options.image)
    with _stop_signals() as stopped, BoardRunner(emulated.board) as runner:
        print(runner.port.path, flush=True)
        if scenario:
            runner.call(lambda: emulated.play_after(options.after * 1000.0, scenario))
        while runner.running and not stopped.wait(_LOOK_S):
            pass
        if options.flash:
            options.flash.write_bytes(runner.call(emulated.board.flash_snapshot))
    return 130 if stopped.interrupted else 0


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
