"""The emulator's core as built here and the wheel's core behave as the same chip (decision 11)."""

import os
import subprocess
import sys
from pathlib import Path

from halite.common.image import image_path
from halite.emulator.rp2040py_fixes import native

_RUN = """
import hashlib, sys
from pathlib import Path
from halite.emulator.board import EmulatedBoard
from halite.emulator.rp2040py_fixes import native
from rp2040py.native import _rp2040
board = EmulatedBoard(Path(sys.argv[1]))
board.run_for(150)
chip = board.rp2040
print(_rp2040.__file__.startswith(str(native.folder())))
print(board.clock.nanos, chip.core.cycles, chip.core.pc, hashlib.sha256(bytes(chip.sram)).hexdigest())
"""


def _run(**environment: str) -> list[str]:
    command = [sys.executable, "-c", _RUN, str(image_path())]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env=os.environ | environment
    )
    return done.stdout.splitlines()


def test_the_built_core_and_the_wheels_give_the_same_run(tmp_path: Path) -> None:
    """The core that was built here and the wheel's core give the same run."""
    taken, built = _run()
    taken_from_wheel, wheel = _run(HALITE_CACHE=str(tmp_path))
    assert taken == str(native.folder().is_dir())
    assert taken_from_wheel == "False"
    assert built == wheel
