"""Write the files that are generated from the one lists (rule R8); `--check` only compares.

`rack/ids.py` gives firmware modules an index per signal without the names in the board's heap.
"""

import sys
from pathlib import Path

from halite.paths import FIRMWARE, use_firmware

_IDS_HEAD = '''"""Index of each signal in the process image. Generated from rack/signals.py by `make generate`."""

from micropython import const

'''


def constant_name(signal: str) -> str:
    """`cell_max_mV` → `CELL_MAX_mV`: capitals, the unit suffix as it is."""
    stem, _, unit = signal.rpartition("_")
    if (stem and any(letter.isupper() for letter in unit)) or unit in ("ms", "ddegC", "cpct", "pct", "bits", "mm"):
        return f"{stem.upper()}_{unit}"
    return signal.upper()


def ids_text() -> str:
    use_firmware()
    from rack.signals import SIGNALS

    rows = [f"{constant_name(row[0])} = const({index})" for index, row in enumerate(SIGNALS)]
    return _IDS_HEAD + "\n".join(rows) + f"\nCOUNT = const({len(SIGNALS)})\n"


def outputs() -> dict[Path, str]:
    """Every generated file with the text it must have."""
    return {FIRMWARE / "rack" / "ids.py": ids_text()}


def main(arguments: list[str]) -> int:
    """Write stale files, or with `--check` name them and return 1."""
    stale = [path for path, text in outputs().items() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.name} is stale: run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(outputs()[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
