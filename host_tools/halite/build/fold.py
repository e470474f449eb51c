"""Replace the names of shared constants by their values in the code for a board.

mpy-cross folds `const` only inside one module. A constant of another module takes a dictionary entry, a name in the
heap and two look-ups at each use. The build therefore folds the modules that contain only constants, and leaves them
out. The lines keep their numbers, for tracebacks.
"""

import ast
import contextlib
import io
import itertools
import tokenize
from collections.abc import Iterator

from halite.common.paths import FIRMWARE, use_firmware
from halite.config.reader import chips

use_firmware()

from rack.definitions.layouts import LAYOUTS  # noqa: E402 - only after use_firmware

CHIPS = {chip: f"rack.hal.chip_{chip}" for chip in chips()}
CONSTANT_MODULES = (
    "rack.base.clock", "rack.base.period_count",
    "rack.definitions.codes", "rack.definitions.pcs_codes", "rack.generated.ids",
    "rack.drivers.bq79616_registers", "rack.drivers.ltc681x_commands",
    *(f"rack.generated.{name}" for name in LAYOUTS), *CHIPS.values(), "rack.hal.unix_ops",
)  # fmt: skip


def path_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


def constants() -> dict[str, dict[str, int]]:
    """Return {module: {name: value}} of the constant modules. ValueError if a module contains any other statement."""
    return {module: _values((FIRMWARE / path_of(module)).read_text()) for module in CONSTANT_MODULES}


def of_chip(chip: str) -> dict[str, dict[str, int]]:
    """Return the constants for `chip`. The sources name the RP2040 module, which gets the numbers of `chip`."""
    known = constants()
    return {**known, CHIPS["rp2040"]: known[CHIPS[chip]]}


def _values(source: str) -> dict[str, int]:
    values: dict[str, int] = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="const"), args=[value])):
                values[name] = int(eval(compile(ast.Expression(value), "const", "eval"), {}, dict(values)))
            case ast.Expr() | ast.ImportFrom(module="micropython"):
                pass
            case _:
                raise ValueError(f"line {node.lineno} is not a constant: {ast.unparse(node)}")
    return values


def shared() -> dict[str, dict[str, int]]:
    """Return {module: {name: value}} of the public constants in modules that also contain code."""
    found = {}
    for path in FIRMWARE.rglob("*.py"):
        module = path.relative_to(FIRMWARE).with_suffix("").as_posix().replace("/", ".")
        if module not in CONSTANT_MODULES:
            values = _public(path.read_text(encoding="utf-8"))
            if values:
                found[module] = values
    return found


def _public(source: str) -> dict[str, int]:
    """Return the public constants of a module, without those that depend on another module."""
    known: dict[str, int] = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="const"), args=[value])):
                with contextlib.suppress(NameError):
                    known[name] = int(eval(compile(ast.Expression(value), "const", "eval"), {}, dict(known)))
    return {name: value for name, value in known.items() if not name.startswith("_")}


def fold(source: str, module: str, public: dict[str, dict[str, int]]) -> str:
    """Replace the public constants of other modules by their values, and make the module's own constants private.

    mpy-cross removes a private constant from the code; a public one takes a name and a dictionary entry.
    """
    aliases: dict[str, dict[str, int]] = {}
    names: dict[str, int] = {}
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            left = _without_constants(node, public, aliases, names)
            if left is not None:
                lines[node.lineno - 1 : node.end_lineno] = [left] + ["\n"] * ((node.end_lineno or 0) - node.lineno)
    text = _replace("".join(lines), aliases, names, partly=True)
    own = public.get(module, {})
    return _rename(text, {name: f"_{name}" for name in own if f"_{name}" not in text})


def _without_constants(
    node: ast.ImportFrom,
    public: dict[str, dict[str, int]],
    aliases: dict[str, dict[str, int]],
    names: dict[str, int],
) -> str | None:
    """Add the constants of an import to `aliases` and `names`; return the import without them, None if unchanged."""
    for item in node.names:
        if f"{node.module}.{item.name}" in public:
            aliases[item.asname or item.name] = public[f"{node.module}.{item.name}"]
    constants_there = public.get(node.module or "", {})
    gone = [item for item in node.names if item.name in constants_there]
    names.update({item.asname or item.name: constants_there[item.name] for item in gone})
    if not gone:
        return None
    left = ast.ImportFrom(node.module, [item for item in node.names if item not in gone], node.level)
    return ast.unparse(left) + "\n" if left.names else "\n"


def _rename(source: str, names: dict[str, str]) -> str:
    if not names:
        return source
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for before, token in reversed(list(itertools.pairwise(tokens))):
        if token.type == tokenize.NAME and token.string in names and before.string != ".":
            row, begin = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:begin] + names[token.string] + line[token.end[1] :]
    return "".join(lines)


def inline(source: str, known: dict[str, dict[str, int]]) -> str:
    """Replace every imported constant by its value, and remove the imports of the constant modules."""
    aliases: dict[str, dict[str, int]] = {}
    names: dict[str, int] = {}
    gone: list[tuple[int, int]] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and _take(node, known, aliases, names):
            gone.append((node.lineno, node.end_lineno or node.lineno))
    if not gone:
        return source
    lines = source.splitlines(keepends=True)
    for first, last in gone:
        lines[first - 1 : last] = ["\n"] * (last - first + 1)
    return _replace("".join(lines), aliases, names)


def _take(
    node: ast.ImportFrom,
    known: dict[str, dict[str, int]],
    aliases: dict[str, dict[str, int]],
    names: dict[str, int],
) -> bool:
    """Add the constants of an import to `aliases` and `names`; return True if it imports only constants.

    ValueError if it imports constant modules together with others.
    """
    if node.module in known:
        for item in node.names:
            names[item.asname or item.name] = known[node.module][item.name]
        return True
    modules = [f"{node.module}.{item.name}" for item in node.names]
    if not any(module in known for module in modules):
        return False
    if not all(module in known for module in modules):
        raise ValueError(f"line {node.lineno}: import constants on a line of their own")
    for module, item in zip(modules, node.names, strict=True):
        aliases[item.asname or item.name] = known[module]
    return True


def _replace(source: str, aliases: dict[str, dict[str, int]], names: dict[str, int], partly: bool = False) -> str:
    """Replace each use of a constant by its value. partly: the aliased modules also contain other names."""
    if not aliases and not names:
        return source
    lines = source.splitlines(keepends=True)
    for (row, begin), end, value in reversed(list(_uses(source, aliases, names, partly))):
        line = lines[row - 1]
        lines[row - 1] = line[:begin] + (str(value) if value >= 0 else f"({value})") + line[end:]
    return "".join(lines)


def _uses(
    source: str, aliases: dict[str, dict[str, int]], names: dict[str, int], partly: bool
) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Return (start, end column, value) of every use of a constant; no use spans two lines."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for at, token in enumerate(tokens):
        if token.type != tokenize.NAME or (at and tokens[at - 1].string == "."):
            continue
        if token.string in names:
            yield token.start, token.end[1], names[token.string]
        elif token.string in aliases and tokens[at + 1].string == ".":
            name = tokens[at + 2]
            if partly and name.string not in aliases[token.string]:
                continue
            yield token.start, name.end[1], aliases[token.string][name.string]
