"""Break the control core in every way of `mutants.py` and show that its tests notice: `make mutants`.

Each mutant is a copy of the firmware in a folder of its own; the tests of its module run first, the
whole-controller tests only when those pass. A mutant that survives is printed and fails the run. So does
a test that fails on the firmware as it is, or that does not end: neither has noticed anything.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mutation.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
WHOLE = ("test_controller.py", "test_contactors.py", "test_integers.py", "test_machine.py")
_RESPONSE = ("test_mains_return.py", "test_delivery.py", "test_response.py", "test_frequency.py", "test_pair.py",
             "test_response_range.py", "test_phases.py", "test_grid_services.py")
_TESTS = {
    "protect/alarm_engine.py": ("test_alarm_engine.py",),
    "response/response_test.py": ("test_response_test.py",),
    "controller.py": ("test_controller.py", "test_two_halves.py"),
    "sense/core_temperature.py": ("test_core_temperature.py",),
    "response/mains.py": ("test_mains_return.py", "test_phases.py", "test_two_halves.py"),
    "response/phases.py": ("test_phases.py", "test_response_range.py"),
    "response/recorder.py": ("test_recorder.py", "test_mains_return.py"),
    "response/response.py": _RESPONSE,
    "response/measure_kernel.py": _RESPONSE,
    "response/request_kernel.py": _RESPONSE,
    "response/grid_services.py": _RESPONSE,
}
_TIME_MOST_s = 240

_PYTEST = """
import sys
from pathlib import Path
import halite.common.paths
halite.common.paths.FIRMWARE = Path(sys.argv[1])
import pytest
sys.exit(pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


def tests_of(module: str) -> list[str]:
    """The module's own tests, then those of the whole controller; paths from the root."""
    own = _TESTS.get(module, (f"test_{Path(module).name}",))
    names = [*own, *(name for name in WHOLE if name not in own)]
    return [str(path.relative_to(ROOT)) for name in names for path in sorted((ROOT / "tests" / "unit").rglob(name))]


def mutate(folder: Path, module: str, old: str, new: str) -> None:
    """Copy the firmware into `folder` and break it; ValueError when the place is not unique."""
    shutil.copytree(ROOT / "firmware", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "rack" / "control" / module
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{module}: occurs {text.count(old)} times: {old!r}")
    path.write_text(text.replace(old, new))


def noticed(folder: Path, tests: list[str]) -> str:
    """The first test file that fails on this firmware, "" when all pass."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "host_tools"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HALITE_MUTANT": "1",
    }
    for test in tests:
        command = [sys.executable, "-c", _PYTEST, str(folder), test]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, timeout=_TIME_MOST_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{test} does not end within {_TIME_MOST_s} s") from error
        if done.returncode == 1:
            return test
        if done.returncode:
            raise RuntimeError(f"{test}: pytest ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}")
    return ""


def try_one(number: int) -> tuple[int, str, str]:
    """(number, noticed by, problem)"""
    module, old, new, _ = MUTANTS[number]
    with tempfile.TemporaryDirectory() as folder:
        try:
            mutate(Path(folder), module, old, new)
            return number, noticed(Path(folder), tests_of(module)), ""
        except (ValueError, RuntimeError) as error:
            return number, "", str(error)


def fails_unbroken(test: str) -> str:
    """The test file, when it fails on the firmware as it is; else ""."""
    return noticed(ROOT / "firmware", [test])


def main(arguments: list[str]) -> int:
    """Run all mutants, or those whose numbers are given; 0 when every one is noticed."""
    numbers = [int(word) for word in arguments] or list(range(len(MUTANTS)))
    survived = []
    tests = sorted({test for number in numbers for test in tests_of(MUTANTS[number][0])})
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        failing = [test for test in pool.map(fails_unbroken, tests) if test]
        if failing:
            print(f"error: fails without any mutant: {', '.join(failing)} (mend it, then run again)", file=sys.stderr)
            return 1
        for number, test, problem in pool.map(try_one, numbers):
            module, _, _, breaks = MUTANTS[number]
            print(f"{number:3} {module:16} {breaks:40} {problem or test or 'SURVIVED'}", flush=True)
            if not test:
                survived.append(number)
    print(f"{len(numbers) - len(survived)} of {len(numbers)} mutants noticed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
