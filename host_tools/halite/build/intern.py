"""Rename identifiers of the firmware to strings that the MicroPython image already has interned, to save heap.

Every other name takes about 20 bytes of the board's heap permanently. The build renames attributes, arguments,
variables of modules and config parameters. Functions, classes and modules keep their names for tracebacks. Keyword
arguments and names of the interpreter's own objects stay the same. Names that are only arguments share a new name
unless a function has both. `halite dev names` prints the names.
"""

import ast
import io
import keyword
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from zlib import crc32

_ROM = Path(__file__).with_name("rom_names.txt")
# decorator of PIO assembler; each name in such a function is an instruction or a register
_ASSEMBLER = "asm_pio"
# the list of parameters: the names are texts there and attributes in all other modules
_PARAMETERS = "definitions/params.py"


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


def _parameters(modules: Mapping[str, str]) -> list[str]:
    """Return the names of the parameters in the order of the list; empty when the modules do not include the list."""
    rows = (
        row.elts[0]
        for path, source in modules.items() if path.endswith(_PARAMETERS)
        for node in ast.parse(source).body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
        for row in node.value.elts if isinstance(row, ast.Tuple)
    )  # fmt: skip
    return [str(name.value) for name in rows if isinstance(name, ast.Constant)]


def _scopes(source: str) -> Iterator[set[str]]:
    """Return the identifiers of each statement of a module, and of each method of a class."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    placed = [(token.start[0], token.string) for token in tokens if token.type == tokenize.NAME]
    for node in ast.parse(source).body:
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            yield {name for row, name in placed if part.lineno <= row <= (part.end_lineno or 0)}


def _crc(text: str) -> int:
    return crc32(text.encode())


def _shares(names: set[str], modules: Mapping[str, str]) -> list[set[str]]:
    """Divide the names of arguments into sets of names that no function has together."""
    together: dict[str, set[str]] = {name: set() for name in names}
    for source in modules.values():
        for function in _scopes(source):
            for name in function & names:
                together[name] |= function
    shares: list[set[str]] = []
    for name in sorted(names, key=_crc):
        for share in shares:
            if not share & together[name]:
                share.add(name)
                break
        else:
            shares.append({name})
    return shares


def mapping(modules: Mapping[str, str], kept: Iterable[str] = ()) -> dict[str, str]:
    """Return {name: name of the image} for the modules of a board, {path: source}.

    A small change of a source changes few entries. kept: sources whose names stay the same.
    """
    found = _Found()
    used: set[str] = set()
    for source in kept:
        found.fixed |= _identifiers(source)
    for path, source in modules.items():
        tree = ast.parse(source)
        variables, constants = _variables(tree.body)
        if path.endswith(_PARAMETERS):
            found.stored |= set(_parameters(modules))
            found.fixed |= variables
        else:
            found.visit(tree)
            found.stored |= variables
        found.fixed |= constants
        used |= _identifiers(source)
    arguments = found.arguments - found.stored - found.read
    foreign = found.read - found.stored  # the interpreter has the attributes that the firmware does not assign
    fixed = found.fixed | foreign | rom_names()
    single = {name for name in found.stored | found.arguments & found.read if not name.startswith("__")}
    groups = [{name} for name in single - fixed] + _shares(arguments - fixed, modules)
    free = {name for name in rom_names() - used if not keyword.iskeyword(name)}
    taken: dict[str, str] = {}
    for first, group in sorted((min(group, key=_crc), group) for group in groups):
        if free:
            new = min(free, key=lambda other: _crc(f"{first} {other}"))
            free.remove(new)
            taken.update(dict.fromkeys(group, new))
    return taken


def rename(path: str, source: str, names: Mapping[str, str]) -> str:
    """Replace the names in the module at a path; the lines keep their numbers. The list of parameters has texts."""
    kind, new = tokenize.NAME, names
    if path.endswith(_PARAMETERS):
        kind, new = tokenize.STRING, {f'"{name}"': f'"{other}"' for name, other in names.items()}
    lines = source.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == kind and token.string in new:
            row, begin = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:begin] + new[token.string] + line[token.end[1] :]
    return "".join(lines)


def print_names(modules: Mapping[str, str], wanted: Sequence[str]) -> None:
    """Print lines of `name of the image  name in the source`. modules: the sources of a board.

    wanted: print only the lines with these names, of either column; an empty sequence prints all. A number is that of a
    parameter in a reason of the board, from 1.
    """
    names = mapping(modules, [modules["boot.py"], modules["main.py"]])
    parameters = _parameters(modules)
    numbers = (int(word) for word in wanted if word.isdigit())
    asked = {*wanted, *(parameters[number - 1] for number in numbers if 0 < number <= len(parameters))}
    for name, other in sorted(names.items(), key=lambda item: item[1]):
        if not asked or other in asked or name in asked:
            print(f"{other:<28} {name}")
