"""Arguments of the verbs that read their own: wrong usage is one line, as everywhere else."""

import argparse
import math
from pathlib import Path
from typing import NoReturn

from halite.common.errors import MisuseError


class Parser(argparse.ArgumentParser):
    """argparse without its usage text on a mistake. MisuseError says what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise MisuseError(f"{self.prog.removeprefix('halite ')}: {message}", f"see `{self.prog} --help`")


def parsed(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace | None:
    """The options; None when the help was asked for and has been printed."""
    try:
        return parser.parse_args(arguments)
    except SystemExit:
        return None


def report_file(text: str, endings: tuple[str, ...] = (".html", ".json", ".csv")) -> Path:
    """A report to write, for argparse: refused before the work, not after it."""
    path = Path(text)
    if path.suffix not in endings:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed endings are {', '.join(endings)}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: is a folder")
    return path


def seed(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    value = int(text) if text.isdecimal() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a whole number from 0 on")
    return value


def seconds(text: str) -> float:
    """Seconds from 0 to a day, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is 0 to 86400 s")
    return value
