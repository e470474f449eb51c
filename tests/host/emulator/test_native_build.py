"""The build of the emulator's core where it is not possible: one line of output, no files, and the set-up goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_COMPILERS = ("cc", "gcc", "clang")


def _build(tmp_path: Path, compiler: str | None) -> subprocess.CompletedProcess[str]:
    """Run the set-up step with `compiler` as the script of the only compiler, and with an empty cache."""
    tools, cache = tmp_path / "tools", tmp_path / "cache"
    tools.mkdir()
    for name in _COMPILERS if compiler else ():
        (tools / name).write_text(f"#!/bin/sh\n{compiler}\n")
        (tools / name).chmod(0o755)
    environment = os.environ | {"PATH": str(tools), "HALITE_CACHE": str(cache)}
    command = [sys.executable, "-m", "halite.cli.app", "dev", "native-core"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        (None, "no C compiler"),
        ("echo 'no such header' >&2; exit 1", ".c: no such header"),
        ("exit 0", "does not load"),
    ],
)
def test_a_failed_build_is_one_line_and_keeps_the_wheels_core(
    tmp_path: Path, compiler: str | None, reason: str
) -> None:
    """A machine that cannot build the core gets one line with the reason and keeps the wheel's core."""
    done = _build(tmp_path, compiler)
    assert done.returncode == 0
    assert done.stderr.startswith("note: the emulator runs with its portable core, half as fast: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "cache").glob("*")), "a partial build stays"
