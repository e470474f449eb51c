"""Rename identifiers of the firmware to strings that the MicroPython image already has interned, to save heap.

Every other name takes about 20 bytes of the board's heap permanently. The build renames attributes, arguments and
variables of modules. Functions, classes and modules keep their names for tracebacks. Config parameters, keyword
arguments and names of the interpreter's own objects stay the same. `halite dev names` prints the names.
"""

import ast
import io
import keyword
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from zlib import crc32

_ROM = Path(__file__).with_name("rom_names.txt")
# decorator of PIO assembler; each name in such a function is an instruction or a register
_ASSEMBLER = "asm_pio"


@cache
def rom_names() -> frozenset[str]:
    """Return the names that MicroPython 1.27 for the Pico W has in flash: tests/emulated/test_rom_names.py."""
    return frozenset(_ROM.read_text(encoding="utf-8").split())


class _Found(ast.NodeVisitor):
    """The names of all modules by their use."""

    def __init__(self) -> None:
        self.stored: set[str] = set()  # attributes that the firmware assigns, variables of modules and classes
        self.arguments: set[str] = set()
        self.fixed: set[str] = set()  # functions, classes, modules, keywords, strings, constants
        self.read: set[str] = set()  # attributes of any object that the firmware reads

    def visit_Attribute(self, node: ast.Attribute) -> None:
        (self.stored if isinstance(node.ctx, ast.Store) else self.read).add(node.attr)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self.arguments.add(node.arg)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.fixed.add(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.fixed.add(node.name)
        self.stored |= _variables(node.body)[0]
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.fixed.add(node.name)
        if any(_ASSEMBLER in ast.unparse(decorator) for decorator in node.decorator_list):
            self.fixed.update(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.fixed.add(node.arg or "")
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.fixed.update((node.module or "").split("."))
        self.fixed.update(item.name for item in node.names)

    def visit_Import(self, node: ast.Import) -> None:
        self.fixed.update(part for item in node.names for part in item.name.split("."))


def _variables(body: list[ast.stmt]) -> tuple[set[str], set[str]]:
    """Return the names that a module or class assigns: variables, and constants, which the compiler folds."""
    variables: set[str] = set()
    constants: set[str] = set()
    for node in body:
        if isinstance(node, ast.Assign):
            call = node.value
            is_const = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "const"
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            (constants if is_const else variables).update(names)
    return variables, constants


def _identifiers(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def mapping(sources: Iterable[str], kept: Iterable[str] = ()) -> dict[str, str]:
    """Return {name: name of the image} for the sources of a board. A small change of a source changes few entries.

    kept: sources whose names stay the same.
    """
    found = _Found()
    used: set[str] = set()
    for source in kept:
        found.fixed |= _identifiers(source)
    for source in sources:
        tree = ast.parse(source)
        found.visit(tree)
        variables, constants = _variables(tree.body)
        found.stored |= variables
        found.fixed |= constants
        used |= _identifiers(source)
    foreign = found.read - found.stored  # the interpreter has the attributes that the firmware does not assign
    ours = (found.stored | found.arguments) - found.fixed - foreign - rom_names()
    wanted = {name for name in ours if not name.startswith("__")}
    free = {name for name in rom_names() - used if not keyword.iskeyword(name)}
    taken: dict[str, str] = {}
    for name in sorted(wanted, key=lambda name: crc32(name.encode())):
        if free:
            taken[name] = min(free, key=lambda other: crc32(f"{name} {other}".encode()))
            free.remove(taken[name])
    return taken


def rename(source: str, names: Mapping[str, str]) -> str:
    """Replace the names in a source; the lines keep their numbers."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.NAME and token.string in names:
            row, begin = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:begin] + names[token.string] + line[token.end[1] :]
    return "".join(lines)


def print_names(modules: Mapping[str, str], wanted: Sequence[str]) -> None:
    """Print lines of `name of the image  name in the source`. modules: the sources of a board.

    wanted: print only the lines with these names, of either column; an empty sequence prints all.
    """
    names = mapping(modules.values(), [modules["boot.py"], modules["main.py"]])
    for name, other in sorted(names.items(), key=lambda item: item[1]):
        if not wanted or other in wanted or name in wanted:
            print(f"{other:<28} {name}")
