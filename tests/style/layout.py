"""Check the layout of the project: import circles, sizes, test names, private access.

    python tests/style/layout.py            findings with file and line
    python tests/style/layout.py --count    the number of findings of each rule

Import rules count lazy imports and imports for type checks too. A kernel is a function with a viper or native
decorator.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"rack": "firmware/", "halite": "host_tools/"}
MAX_FUNCTION_LINES = 40
MAX_KERNEL_LINES = 130
MAX_FILE_LINES = 400
MAX_TEST_NAME = 60
GENERATED = "firmware/rack/generated/"
FROM_THE_TOP = {"halite"}  # halite.__version__ is the only name in halite/__init__.py

_KERNEL = re.compile(r"micropython\.(viper|native)$")
_PRIVATE = re.compile(r"_[A-Za-z]\w*$")
_BY_NAME = {"getattr", "setattr", "hasattr", "delattr"}


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    text: str


class Import(NamedTuple):
    source: str
    target: str
    line: int


@cache
def sources() -> tuple[str, ...]:
    """Every Python file of the project, named from its root."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "--", "*.py"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(name for name in sorted(set(names)) if (ROOT / name).is_file())


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, str]:
    """Path of each module of the packages."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sources():
            if path.startswith(f"{folder}{package}/"):
                name = path.removeprefix(folder).removesuffix(".py").replace("/", ".")
                found[name.removesuffix(".__init__")] = path
    return found


def _targets(node: ast.AST) -> Iterator[str]:
    """The modules of the packages that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (item.name for item in node.names if item.name in modules())
    elif isinstance(node, ast.ImportFrom) and node.module:
        for item in node.names:
            full = f"{node.module}.{item.name}"
            if full in modules():
                yield full
            elif node.module in modules():
                yield node.module


@cache
def imports() -> tuple[Import, ...]:
    """Every import between modules of one package, at any depth of the code."""
    return tuple(
        Import(source, target, node.lineno)
        for source, path in modules().items()
        for node in ast.walk(tree_of(path))
        for target in dict.fromkeys(_targets(node))
        if target != source and target.partition(".")[0] == source.partition(".")[0]
    )


def _circles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """The groups of nodes that reach each other."""
    reached = {}
    for start in edges:
        seen, left = set(), [start]
        while left:
            for target in edges.get(left.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    left.append(target)
        reached[start] = seen
    done: set[str] = set()
    for node in sorted(edges):
        group = sorted(other for other in reached[node] if node in reached.get(other, ()))
        if node in reached[node] and node not in done:
            done.update(group)
            yield group


def circles() -> Iterator[Finding]:
    """Circles between modules, and between packages at each depth of the folders."""
    shown = set()
    for depth in (99, 2, 3, 4):
        edges: dict[str, set[str]] = {}
        places: dict[tuple[str, str], Import] = {}
        for edge in imports():
            source, target = (".".join(name.split(".")[:depth]) for name in (edge.source, edge.target))
            if source != target and not target.startswith(f"{source}.") and not source.startswith(f"{target}."):
                edges.setdefault(source, set()).add(target)
                places.setdefault((source, target), edge)
        for group in _circles(edges):
            if tuple(group) in shown:
                continue
            shown.add(tuple(group))
            for (source, target), edge in places.items():
                if source in group and target in group:
                    text = f"{edge.source} -> {edge.target} (circle of {', '.join(group)})"
                    yield Finding(modules()[edge.source], edge.line, "circle", text)


def from_the_top() -> Iterator[Finding]:
    """Modules directly in rack/ or halite/ that a package below imports."""
    for edge in imports():
        if edge.source.count(".") > 1 and edge.target.count(".") < 2 and edge.target not in FROM_THE_TOP:
            path = modules()[edge.target]
            if edge.target.count(".") == 1 and path.endswith("/__init__.py"):
                continue    # a package
            yield Finding(modules()[edge.source], edge.line, "top module", f"{edge.source} -> {edge.target}")


def _functions(path: str) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef))


def sizes(path: str) -> Iterator[Finding]:
    """Long functions and long files. A file without functions holds data and may have any length."""
    if path.startswith(GENERATED):
        return
    has_functions = False
    for node in _functions(path):
        has_functions = True
        lines = (node.end_lineno or 0) - node.lineno + 1
        kernel = any(_KERNEL.match(ast.unparse(decorator)) for decorator in node.decorator_list)
        limit = MAX_KERNEL_LINES if kernel else MAX_FUNCTION_LINES
        if lines > limit:
            yield Finding(path, node.lineno, "long function", f"{node.name}: {lines} lines, limit {limit}")
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    if has_functions and lines > MAX_FILE_LINES:
        yield Finding(path, 1, "long file", f"{lines} lines, limit {MAX_FILE_LINES}")


def test_names(path: str) -> Iterator[Finding]:
    for node in _functions(path):
        if node.name.startswith("test_") and len(node.name) > MAX_TEST_NAME:
            yield Finding(path, node.lineno, "test name", f"{node.name}: {len(node.name)} characters")


def search_path(path: str) -> Iterator[Finding]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.path.insert", "sys.path.append"):
            yield Finding(path, node.lineno, "sys.path", ast.unparse(node))


def _private_names(node: ast.AST) -> Iterator[str]:
    """The private names of other objects or modules that one node uses."""
    if isinstance(node, ast.Attribute) and _PRIVATE.match(node.attr):
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            yield ast.unparse(node)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{item.name}" for item in node.names if _PRIVATE.match(item.name))
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _BY_NAME:
        for word in node.args:
            if isinstance(word, ast.Constant) and isinstance(word.value, str) and _PRIVATE.match(word.value):
                yield ast.unparse(node)


def private(path: str) -> Iterator[Finding]:
    """Use of private names; a class of the tests may use its own."""
    for node in ast.walk(tree_of(path)):
        for name in _private_names(node):
            yield Finding(path, getattr(node, "lineno", 0), "private", name[:80])


def findings() -> Iterator[Finding]:
    """Every finding in the project."""
    yield from chain(circles(), from_the_top())
    for path in sources():
        yield from sizes(path)
        if path.startswith("tests/"):
            yield from chain(test_names(path), search_path(path))
        if path.startswith("tests/unit/"):
            yield from private(path)


def main(arguments: list[str]) -> int:
    """Print the findings; 1 if there is one."""
    found = sorted(findings())
    if "--count" not in arguments:
        for finding in found:
            print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}")
    for rule, count in sorted(Counter(finding.rule for finding in found).items()):
        print(f"{rule}: {count}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
