"""Runs a board in its own thread while real clients use its serial port; paced to real time."""

import contextlib
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from halite.emulator.board import EmulatedBoard, EmulatorFailed
from halite.emulator.pseudo_terminal import PseudoTerminal
from halite.emulator.rs485_line import BoardLine

_SLICE_MS = 2.0  # emulated time between two looks at the serial port
_MAX_NAP_S = 0.02
_MAX_CATCH_UP_S = 0.1  # a board that is further behind real time than this does not run faster to catch up

Result = TypeVar("Result")


class BoardRunner:
    """A board that runs in a thread, with a serial port for mpremote and the other tools.

    speed: maximum of emulated seconds per real second. At 1.0 the board's timeouts for the host last as long as on a
    real board; an idle board without a limit would reach them at once. A busy board is slower than real time in any
    case. rs485: the board's line, which then has its own port, `rs485_port`. failure: the error that ended the run.
    """

    def __init__(self, board: EmulatedBoard, speed: float = 1.0, rs485: BoardLine | None = None) -> None:
        self.board = board
        self.port = PseudoTerminal(board.console)
        self._ports = [self.port]
        self._rs485 = rs485
        self.rs485_port: PseudoTerminal | None = None
        if rs485:
            self.rs485_port = port = PseudoTerminal(rs485)
            self._ports.append(port)
            rs485.on_byte = lambda byte: port.from_board(bytes((byte,)))
        board.console_listeners.append(self.port.from_board)
        self._speed = speed
        self._running = False
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="emulated board", daemon=True)
        self.failure: BaseException | None = None

    def __enter__(self) -> "BoardRunner":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the thread."""
        self._running = True
        self._thread.start()

    def stop(self) -> None:
        """Stop the board and close its ports. EmulatorFailed when the board had failed."""
        self._running = False
        if self._thread.is_alive():
            self._thread.join()
        self.board.console_listeners.remove(self.port.from_board)
        if self._rs485:
            self._rs485.on_byte = lambda byte: None
        for port in self._ports:
            port.close()
        if self.failure:
            raise EmulatorFailed(f"the emulated board failed: {self.failure}") from self.failure

    @property
    def running(self) -> bool:
        """True between start and stop, unless the emulation has failed."""
        return self._running and self.failure is None

    def call(self, job: Callable[[], Result], timeout_s: float = 60.0) -> Result:
        """Run job in the board's thread, between two slices of emulated time, and return its result.

        Raises the exception of the job. EmulatorFailed when no result comes within timeout_s of real time.
        """
        answer: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            try:
                answer.put((job(), None))
            except Exception as failure:
                answer.put((None, failure))

        self._jobs.put(run)
        try:
            result, failure = answer.get(timeout=timeout_s)
        except queue.Empty:
            raise EmulatorFailed(f"the emulated board did not answer within {timeout_s:g} s") from self.failure
        if failure:
            raise failure
        return result  # type: ignore[return-value]

    def wait_until(self, predicate: Callable[[], object], wall_s_limit: float) -> bool:
        """Wait in real time until predicate() holds, which the board's thread calls. False at the limit."""
        end = time.monotonic() + wall_s_limit
        while time.monotonic() < end and self.running:
            if self.call(predicate, wall_s_limit):
                return True
            time.sleep(0.02)
        return False

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as failure:
            self.failure = failure

    def _loop(self) -> None:
        origin_s, origin_us = time.monotonic(), self.board.now_us
        while self._running:
            self._do_jobs()
            if not any([port.pump() for port in self._ports]):
                self._pace(origin_s, origin_us)
            self.board.run_slice(_SLICE_MS)
            behind = self._ahead_s(origin_s, origin_us) < -_MAX_CATCH_UP_S
            if behind:
                origin_s, origin_us = time.monotonic(), self.board.now_us

    def _ahead_s(self, origin_s: float, origin_us: float) -> float:
        return (self.board.now_us - origin_us) / 1e6 / self._speed - (time.monotonic() - origin_s)

    def _pace(self, origin_s: float, origin_us: float) -> None:
        ahead_s = self._ahead_s(origin_s, origin_us)
        if ahead_s > 0.001:
            select.select(self._ports, [], [], min(ahead_s, _MAX_NAP_S))

    def _do_jobs(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()()
