"""Builds rp2040py's core again for this Python: the same C sources, half the time for each emulated second.

The wheel's core is built for Python's limited API, where each memory access and each attribute is looked up in a
slow, portable way. The wheel also contains its C sources. With a C compiler and Python's headers they are built into
the cache. Without them, or when the build fails, the wheel's core is used, with the same results.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

from halite.emulator.rp2040py_fixes.native import PACKAGE, folder

_FLAGS = ("-O2", "-DNDEBUG", "-shared", "-fPIC", "-w")
_LIMIT_s = 300  # one file takes about ten seconds
_TRY = f"""
import sys
from pathlib import Path
from halite.emulator.rp2040py_fixes import native
sys.meta_path.insert(0, native.Finder(Path(sys.argv[1])))
from {PACKAGE} import _simulator
sys.exit(not _simulator.__file__.startswith(sys.argv[1]))
"""


def _compiler() -> list[str]:
    """Return the command that compiles one C file for this Python. OSError names a missing part."""
    command = str(sysconfig.get_config_var("CC") or "cc").split()
    headers = sysconfig.get_path("include")
    if not shutil.which(command[0]):
        command = ["cc"]
    if not shutil.which(command[0]):
        raise OSError("no C compiler")
    if not (Path(headers) / "Python.h").is_file():
        raise OSError("no Python headers")
    return [*command, *_FLAGS, f"-I{headers}"]


def _compile(command: list[str], source: Path, built: Path) -> None:
    """Compile one module into `built`. OSError with the compiler's first line."""
    line = [*command, str(source), "-o", str(built / f"{source.stem}.so")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=_LIMIT_s, check=False)
    if done.returncode:
        output = done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"]
        raise OSError(f"{source.name}: {output[0]}")


def _loads(built: Path) -> bool:
    """True when a separate Python process can load the modules in `built`."""
    command = [sys.executable, "-c", _TRY, str(built)]
    return subprocess.run(command, capture_output=True, timeout=_LIMIT_s, check=False).returncode == 0


def build() -> None:
    """Build the whole core into `folder`, unless it is already there. OSError with the reason of a failure."""
    target = folder()
    if target.is_dir():
        return
    command = _compiler()
    sources = sorted(Path(str(distribution("rp2040py").locate_file("rp2040py/native"))).glob("_*.c"))
    if not sources:
        raise OSError("this rp2040py carries no C sources")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        built = Path(name) / "built"
        built.mkdir()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda source: _compile(command, source, built), sources))
        if not _loads(built):
            raise OSError("the core that was built does not load")
        if not target.is_dir():  # another set-up may have been faster
            built.rename(target)


def build_or_note() -> None:
    """Build; after a failure print its reason on stderr in one line. The set-up goes on with the wheel's core."""
    try:
        build()
    except (OSError, subprocess.TimeoutExpired) as reason:
        print(f"note: the emulator runs with its portable core, half as fast: {reason}", file=sys.stderr)
