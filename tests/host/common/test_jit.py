"""Kernels have the same bits as machine code and as Python, and the set of kernels does not shrink unseen."""

import ast
import os
import subprocess
import sys
from random import Random

import pytest
from halite.common.jit import Kernel
from halite.common.paths import FIRMWARE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import kernels

_RUN = """
import hashlib
from halite.common.jit import Kernel
from halite.scenarios import cpython_run, scenario
for name, config in (("demo", "sodium_rack"), ("weld", "bench_rack")):
    made = cpython_run.run(scenario.load(name), config)
    print(name, hashlib.sha256(b"".join(made.columns[key].tobytes() for key in sorted(made.columns))).hexdigest())
    print(name, [str(seen) for seen in made.observations])
print("compiled", any(kernel.is_compiled for kernel in Kernel.every.values()))
"""


def _run(code: str, **environment: str) -> list[str]:
    own = {key: value for key, value in os.environ.items() if key not in ("HALITE_JIT", "HALITE_MUTANT")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**own, **environment}, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", kernels.NAMES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_machine_code_and_python_have_the_same_bits(name, seed):
    """Results, exceptions and all words of all buffers are equal, unless the Python form leaves the integers of R1."""
    kernel = Kernel.every[name]
    args = kernels.arguments(name, Random(seed))
    assert kernel.compile_for(args), kernel.problem
    in_python = kernels.outcome(kernel.function, args)
    if in_python[0] is not OverflowError:
        assert repr(kernels.outcome(kernel.form(), args)) == repr(in_python)


def test_every_viper_function_of_the_core_is_a_kernel():
    """No function of the control core stays in Python: each is in the list that is compared above."""
    found = []
    for path in sorted((FIRMWARE / "rack" / "control").rglob("*.py")):
        module = ".".join(path.relative_to(FIRMWARE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and "micropython.viper" in map(ast.unparse, node.decorator_list):
                found.append(f"{module}.{node.name}")
    assert len(found) > 30 and found == [name for name in found if name in kernels.NAMES]


def test_a_run_is_the_same_with_and_without_machine_code():
    """Every signal of every scan, and every observation, of two scenarios."""
    in_python, compiled = _run(_RUN, HALITE_JIT="0"), _run(_RUN, HALITE_JIT="1")
    assert in_python[:-1] == compiled[:-1]
    assert (in_python[-1], compiled[-1]) == ("compiled False", "compiled True")


def test_a_float_after_an_integer_is_not_cut():
    """Machine code for an integer is not used for a float: numba alone would cut the float to an integer."""
    code = (
        "from halite.plant.grid import Grid\n"
        "grid = Grid(50.0)\n"
        "print(grid.cycles_at(0), grid.cycles_at(20_000), *(grid.cycles_at(us) for us in (0.5, 12_345.5, 0.5)))"
    )
    assert _run(code, HALITE_JIT="1") == _run(code, HALITE_JIT="0") != []


def test_a_changed_constant_gives_another_fingerprint():
    """Machine code of an earlier constant is not used: the fingerprint follows the values in other modules."""
    code = (
        "from halite.common.jit import Kernel; import rack.generated.ids as I; I.ACTIONS += {}; "
        "import rack.control.protect.alarm_engine as m; print(m._evaluate.kernel.fingerprint())"
    )
    code = "from halite.common.paths import use_firmware; use_firmware(); " + code
    assert _run(code.format(0)) == _run(code.format(0))
    assert _run(code.format(0)) != _run(code.format(1))


def test_a_cache_that_cannot_be_written_does_not_stop_a_run(tmp_path):
    """A kernel is compiled for the process alone when its folder cannot be made."""
    (tmp_path / "file").write_text("")
    code = (
        "from array import array\nfrom halite.common.paths import use_firmware\nuse_firmware()\n"
        "from rack.control.interpolate import interpolate\n"
        "print(interpolate(array('i', (0, 5, 10, 25)), 4, 5), interpolate.kernel.is_compiled)"
    )
    assert _run(code, HALITE_JIT="1", HALITE_CACHE=str(tmp_path / "file")) == ["15 True"]


def test_a_mutant_runs_as_python():
    """Machine code in the cache must not hide a mutant."""
    code = (
        "from halite.common.paths import use_firmware\nuse_firmware()\n"
        "from rack.control.interpolate import interpolate\nprint(interpolate is interpolate.kernel.function)"
    )
    assert _run(code, HALITE_JIT="1", HALITE_MUTANT="1") == ["True"]
