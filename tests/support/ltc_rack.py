"""Shipped configs with an LTC6813 stack on its own board map."""

from pathlib import Path

from halite.common.paths import BOARD_CONFIGS

_CHANGES = (
    ('board = "pico_w"', 'board = "pico_w_ltc6813"'),
    ('chip = "bq79616"', 'chip = "ltc6813"'),
    ("[modbus]                        # RS-485 to the EMS: docs/protocols/modbus.md\nenabled = true",
     "[modbus]\nenabled = false"),
)  # fmt: skip


def ltc_rack(folder: Path, name: str = "bench_rack", **changes: str) -> Path:
    """Write the config to folder; changes: text of the config, and the text that replaces it."""
    text = (BOARD_CONFIGS / f"{name}.toml").read_text(encoding="utf-8")
    for old, new in (*_CHANGES, *changes.items()):
        assert text.count(old) == 1, f"{name}: {old!r}"
        text = text.replace(old, new)
    config = folder / f"{name}_ltc6813.toml"
    config.write_text(text, encoding="utf-8")
    return config
