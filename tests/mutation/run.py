"""Make every mutant of `mutants.py` and show that a test fails with it: `make mutants`.

    python tests/mutation/run.py            all mutants
    python tests/mutation/run.py 3 17       these numbers
    python tests/mutation/run.py --list     show each change, and each row whose place does not exist

Each mutant is a copy of the firmware in a folder of its own. The tests of its module run first, then those of the same
folder, those of the whole controller, and all others of the control core. The run prints each mutant that survives,
and fails. It also fails if a test fails on the unchanged firmware or does not end, because such a test cannot detect a
mutant.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import MUTANTS, Mutant
from syntax_operators import mutated

ROOT = Path(__file__).resolve().parents[2]
CONTROL = Path("rack/control")  # below the folder of a firmware
_TESTS = ROOT / "tests" / "unit" / "control"
_TIMEOUT_s = 240

_PYTEST = """
import sys
from pathlib import Path
import halite.common.paths
halite.common.paths.FIRMWARE = Path(sys.argv[1])
import pytest
sys.exit(pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


def tests_of(module: str) -> list[str]:
    """The module's own test files, the others of its folder, those of the controller, the rest; paths from the root.

    protect/contactors.py has test_contactors.py, and test_contactors_NAME.py for a topic of its own.
    """
    folder = (_TESTS / module).parent
    stem = Path(module).stem
    found = [*folder.glob(f"test_{stem}.py"), *sorted(folder.glob(f"test_{stem}_*.py"))]
    found += sorted(folder.glob("test_*.py")) + sorted(_TESTS.glob("test_*.py")) + sorted(_TESTS.rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in dict.fromkeys(found)]


def mutate(folder: Path, mutant: Mutant) -> None:
    """Copy the firmware into `folder` with one change. LookupError if the place of the row does not exist."""
    shutil.copytree(ROOT / "firmware", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / CONTROL / mutant.module
    tree, _ = mutated(path.read_text(encoding="utf-8"), *mutant[1:4])
    path.write_text(ast.unparse(tree), encoding="utf-8")


def noticed(folder: Path, tests: list[str]) -> str:
    """Return the first test file that fails on this firmware, "" if all pass. RuntimeError if a test does not end."""
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
                command, cwd=ROOT, env=environment, capture_output=True, timeout=_TIMEOUT_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{test} does not end within {_TIMEOUT_s} s") from error
        if done.returncode == 1:
            return test
        if done.returncode:
            raise RuntimeError(f"{test}: pytest ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}")
    return ""


def try_one(number: int) -> tuple[int, str, str]:
    """Return the number, the test file that detects the mutant, and a problem; "" for no test file or no problem."""
    mutant = MUTANTS[number]
    with tempfile.TemporaryDirectory() as folder:
        try:
            mutate(Path(folder), mutant)
            return number, noticed(Path(folder), tests_of(mutant.module)), ""
        except (LookupError, ValueError, RuntimeError) as error:
            return number, "", str(error)


def fails_unbroken(test: str) -> str:
    """Return the test file if it fails on the unchanged firmware, otherwise ""."""
    return noticed(ROOT / "firmware", [test])


def listing(number: int) -> tuple[str, bool]:
    """Return the text of a row and True if its place exists. The text has the changed lines, or the problem."""
    mutant = MUTANTS[number]
    source = (ROOT / "firmware" / CONTROL / mutant.module).read_text(encoding="utf-8")
    row = f"{number:3} {mutant.module} {mutant.function} [{mutant.operator}] {mutant.occurrence}: {mutant.fault}"
    try:
        tree, line = mutated(source, *mutant[1:4])
    except (LookupError, ValueError) as error:
        return f"{row}\n    NOT FOUND: {error}", False
    before, after = (ast.unparse(each).splitlines() for each in (ast.parse(source), tree))
    gone, made = ([each for each in one if one.count(each) > other.count(each)]
                  for one, other in ((before, after), (after, before)))
    shown = [f"    - {each.strip()}" for each in gone] + [f"    + {each.strip()}" for each in made]
    return "\n".join([row, f"    line {line}:", *shown]), True


def show(numbers: list[int]) -> int:
    """Print the rows; return 1 if the place of any row does not exist."""
    rows = [listing(number) for number in numbers]
    print(*(text for text, _ in rows), sep="\n")
    lost = sum(not found for _, found in rows)
    print(f"the place of {lost} of {len(rows)} rows does not exist")
    return 1 if lost else 0


def main(arguments: list[str]) -> int:
    """Run all mutants, or those with the given numbers; return 0 if a test detects each mutant."""
    numbers = [int(word) for word in arguments if word != "--list"] or list(range(len(MUTANTS)))
    if "--list" in arguments:
        return show(numbers)
    survived = []
    tests = sorted({test for number in numbers for test in tests_of(MUTANTS[number].module)})
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        failing = [test for test in pool.map(fails_unbroken, tests) if test]
        if failing:
            names = ", ".join(failing)
            print(f"error: tests fail on the unchanged firmware: {names} (fix them, then run again)", file=sys.stderr)
            return 1
        for number, test, problem in pool.map(try_one, numbers):
            mutant = MUTANTS[number]
            result = problem or test or "SURVIVED"
            print(f"{number:3} {mutant.module:28} {mutant.fault:60} {result}", flush=True)
            if not test:
                survived.append(number)
    print(f"tests detect {len(numbers) - len(survived)} of {len(numbers)} mutants")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
