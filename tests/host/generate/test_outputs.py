"""The generated modules of the firmware are written before the other generators import them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from halite.common.paths import FIRMWARE

# a word that only the response reads, when the plots are drawn
OLD, NEW = "SLOPE_SUM_BY_AGE", "SLOPE_SUM_OF_AGES"

_GENERATE = """
import sys
from pathlib import Path
import halite.common.paths as paths
paths.ROOT = Path(sys.argv[1])
paths.FIRMWARE = paths.ROOT / "firmware"
from halite.generate.outputs import write
sys.exit(write(check="check" in sys.argv))
"""


def generate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Write or compare the generated files of a copy of the project, in a process of its own."""
    command = [sys.executable, "-c", _GENERATE, str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_renamed_layout_word_needs_one_run(tmp_path: Path) -> None:
    """One run writes the layout module with the new name, and then the plots, which use the new name."""
    shutil.copytree(FIRMWARE, tmp_path / "firmware", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs" / "protocols").mkdir(parents=True)
    for path in (tmp_path / "firmware").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.parent.name != "generated" and OLD in text:
            path.write_text(re.sub(rf"\b{OLD}\b", NEW, text), encoding="utf-8")
    stale = generate(tmp_path, "check")
    assert stale.returncode == 1 and stale.stderr == "response_state.py is stale: run `make generate`\n"
    written = generate(tmp_path)
    assert written.returncode == 0, written.stderr
    assert f"{NEW} = const(" in (tmp_path / "firmware/rack/generated/response_state.py").read_text(encoding="utf-8")
    assert (tmp_path / "docs" / "response_gb.svg").is_file()
