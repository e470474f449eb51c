"""The firmware on the MicroPython unix port, from a plain build."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from halite.build import firmware as build
from halite.config import load

SUPPORT = Path(__file__).parents[1] / "support"
UNIX_PORT = Path(sys.executable).parent / "micropython"
_LIMIT_S = 240


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain build of the sodium rack's firmware, without viper."""
    out = tmp_path_factory.mktemp("plain") / "firmware"
    build.write(build.make(load("sodium_rack"), plain=True), out)
    return out


@pytest.fixture(scope="session")
def on_unix(plain: Path) -> Callable[[str], str]:
    """Run MicroPython code on the unix port with the build on its path; returns its output."""

    def run(code: str) -> str:
        done = subprocess.run(
            [UNIX_PORT, "-X", "heapsize=4M", "-c", code],
            cwd=plain,
            env={**os.environ, "MICROPYPATH": f"{plain}:{SUPPORT}"},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return run
