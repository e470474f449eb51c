"""Put the modules of a board into folders one deep: the board has only the last folder of each path.

The sources have a folder for each kind of code. On a board each folder is a package, the heap keeps the full name and
the path of each module, and an import searches each folder of the path. The board's `sense.cells` is
`rack.control.sense.cells` of the sources. A traceback names the file and the line, which stay the same.
"""

import re
from collections.abc import Iterable, Mapping

_DOTTED = re.compile(r"\brack(?:\.\w+)+")


def module_of(path: str) -> str:
    """Return the full name of the module at a path: rack/app.py is rack.app."""
    return path.removesuffix(".py").replace("/", ".")


def board_names(paths: Iterable[str]) -> dict[str, str]:
    """Return {path in the sources: path on the board}. ValueError if two modules get the same path."""
    names = {path: "/".join(path.split("/")[-2:]) for path in paths}
    seen: dict[str, str] = {}
    for path, name in names.items():
        if name in seen:
            raise ValueError(f"{seen[name]} and {path} have the same name on the board: rename one of them")
        seen[name] = path
    return names


def _flat_names(paths: Iterable[str]) -> dict[str, str]:
    """Return {full name of a module or package in the sources: full name on the board}."""
    names = board_names(paths)
    modules = {module_of(path): module_of(name) for path, name in names.items()}
    parts = [module.split(".") for module in modules]
    packages = {".".join(words[:depth]): words[depth - 1] for words in parts for depth in range(1, len(words))}
    return packages | modules


def flatten(modules: Mapping[str, str]) -> dict[str, str]:
    """Return the modules of a board with their paths on the board. modules: {path in the sources: source}.

    Only the names of modules and packages change, so the lines keep their numbers. The start files outside the folder
    stay as they are.
    """
    flat = _flat_names(modules)

    def renamed(match: re.Match[str]) -> str:
        words = match[0].split(".")
        for depth in range(len(words), 1, -1):
            known = flat.get(".".join(words[:depth]))
            if known:
                return ".".join([known, *words[depth:]])
        return match[0]

    names = board_names(modules)
    return {
        names[path]: _DOTTED.sub(renamed, source) if "/" in path else source
        for path, source in modules.items()
    }
