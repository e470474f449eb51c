"""Mutation operators: small changes to one node of a function's syntax tree.

An operator and the number of the match inside a function identify a change, so new formatting and new comments do not
move it. The operators are:

```
    A -> B          replace the token A by B: a comparison, an arithmetic or bit operator, `and`, `or`
    A -> B          replace the expression A by B, both as `ast.unparse` writes them
    keep left       replace an operation by its left part: `a + b` by `a`, `a and b and c` by `a and b`
    keep right      replace an operation by its right part: `a + b` by `b`, `a and b and c` by `b and c`
    keep outer      remove the middle part: `a and b and c` becomes `a and c`
    swap            exchange both sides of an operation: `a - b` becomes `b - a`
    argument        replace a call by its first argument
    zero            assign 0
    right zero      replace an operation's right part by 0: `a >= b` becomes `a >= 0`
    always, never   run the body of an `if` without its condition, or leave it out; the same for `a if b else c`
    plain           make an augmented assignment plain: `a += b` becomes `a = b`
    first target    assign to the first target only: `a = b = c` becomes `a = c`
    drop (A, B)     remove the element `(A, B)` from a tuple
    drop assignment, drop augmented, drop call, drop if, drop return
                    remove a statement of this kind
    unroll          run the body of a `while` once
```
"""

import ast
import copy
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TOKENS: dict[str, type[ast.AST]] = {
    "==": ast.Eq, "!=": ast.NotEq, "<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE,
    "+": ast.Add, "-": ast.Sub, "*": ast.Mult, "//": ast.FloorDiv, "%": ast.Mod,
    "<<": ast.LShift, ">>": ast.RShift, "|": ast.BitOr, "&": ast.BitAnd, "^": ast.BitXor,
    "and": ast.And, "or": ast.Or,
}  # fmt: skip
_DROPPED: dict[str, tuple[type[ast.stmt], ...]] = {
    "drop assignment": (ast.Assign,),
    "drop augmented": (ast.AugAssign,),
    "drop call": (ast.Expr,),
    "drop if": (ast.If,),
    "drop return": (ast.Return,),
}
_Change = Callable[[ast.AST], ast.AST | list[ast.stmt] | None]


@dataclass(frozen=True)
class Place:
    """A node and its place in the parent. index: place in a list; -1 if the field is not a list."""

    parent: ast.AST
    field: str
    index: int
    node: ast.AST
    line: int

    def put(self, new: ast.AST | list[ast.stmt]) -> None:
        """Replace the node. A list of statements takes the place of one statement."""
        if self.index < 0:
            setattr(self.parent, self.field, new)
            return
        held = getattr(self.parent, self.field)
        held[self.index : self.index + 1] = new if isinstance(new, list) else [new]
        if not held and self.field == "body":
            held.append(ast.Pass())


def places(root: ast.AST, line: int = 0) -> Iterator[Place]:
    """Return every node below `root` in the order of the source. line: line of the root."""
    for field, value in ast.iter_fields(root):
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(node, ast.AST):
                here = getattr(node, "lineno", line)
                yield Place(root, field, index if isinstance(value, list) else -1, node, here)
                yield from places(node, here)


def functions(tree: ast.Module) -> dict[str, ast.AST]:
    """Return every function by its name, a method as `Class.method`, and the module itself as "module"."""
    found: dict[str, ast.AST] = {"module": tree}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found.update({f"{node.name}.{part.name}": part for part in node.body if isinstance(part, ast.FunctionDef)})
    return found


def _parts(node: ast.AST) -> tuple[list[ast.expr], Callable[[list[ast.expr]], ast.AST]] | None:
    """Return the operands of an operation, and a function that makes the operation with some of them."""
    if isinstance(node, ast.BoolOp):
        op = node.op
        return node.values, lambda left: left[0] if len(left) == 1 else ast.BoolOp(op, left)
    if isinstance(node, ast.BinOp):
        kind = node.op
        return [node.left, node.right], lambda left: left[0] if len(left) == 1 else ast.BinOp(left[0], kind, left[1])
    if isinstance(node, ast.Compare) and len(node.ops) == 2:    # a < b < c
        first, second = (
            ast.Compare(left, [op], [right])
            for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)
        )
        return [first, second], lambda left: left[0]
    return None


def _kept(chosen: slice | tuple[int, int]) -> _Change:
    def change(node: ast.AST) -> ast.AST | None:
        found = _parts(node)
        if found is None:
            return None
        operands, make = found
        if isinstance(chosen, slice):
            return make(operands[chosen])
        return make([operands[at] for at in chosen]) if len(operands) > 2 else None

    return change


def _swapped(node: ast.AST) -> ast.AST | None:
    return ast.BinOp(node.right, node.op, node.left) if isinstance(node, ast.BinOp) else None


def _zeroed(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, (ast.Assign, ast.AugAssign)):
        return None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return ast.Assign(targets, ast.Constant(0))


def _right_zeroed(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BinOp):
        return ast.BinOp(node.left, node.op, ast.Constant(0))
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return ast.Compare(node.left, node.ops, [ast.Constant(0)])
    return None


def _argument(node: ast.AST) -> ast.AST | None:
    return node.args[0] if isinstance(node, ast.Call) and node.args else None


def _decided(body: bool) -> _Change:
    def change(node: ast.AST) -> ast.AST | list[ast.stmt] | None:
        if isinstance(node, (ast.If, ast.IfExp)):
            return node.body if body else node.orelse
        return None

    return change


def _plain(node: ast.AST) -> ast.AST | None:
    return ast.Assign([node.target], node.value) if isinstance(node, ast.AugAssign) else None


def _first_target(node: ast.AST) -> ast.AST | None:
    return ast.Assign(node.targets[:1], node.value) if isinstance(node, ast.Assign) and len(node.targets) > 1 else None


def _dropped(kinds: tuple[type[ast.stmt], ...]) -> _Change:
    return lambda node: [] if isinstance(node, kinds) and not _is_docstring(node) else None


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _unrolled(node: ast.AST) -> list[ast.stmt] | None:
    return node.body if isinstance(node, ast.While) else None


def _replaced(old: str, new: str) -> _Change:
    """Replace a token if both are tokens, otherwise an expression. ValueError for tokens of different kinds."""
    if old in _TOKENS and new in _TOKENS:
        if _TOKENS[old].__base__ is not _TOKENS[new].__base__:
            raise ValueError(f"{old} and {new} are different kinds of operators")
        return lambda node: _TOKENS[new]() if isinstance(node, _TOKENS[old]) else None
    wanted, made = ast.parse(old, mode="eval").body, ast.parse(new, mode="eval").body
    assignable = isinstance(made, (ast.Name, ast.Attribute, ast.Subscript))

    def change(node: ast.AST) -> ast.AST | None:
        context = getattr(node, "ctx", None)
        if not _same(node, wanted) or (isinstance(context, ast.Store) and not assignable):
            return None
        result = copy.copy(made)
        if assignable:
            result.ctx = context or ast.Load()      # type: ignore[attr-defined]
        return result

    return change


def _same(node: ast.AST, wanted: ast.expr) -> bool:
    """True for the same expression, read or assigned."""
    return type(node) is type(wanted) and isinstance(node, ast.expr) and ast.unparse(node) == ast.unparse(wanted)


def _without_element(element: str) -> _Change:
    wanted = ast.parse(element, mode="eval").body

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.Tuple):
            return None
        left = [part for part in node.elts if not _same(part, wanted)]
        return ast.Tuple(left, node.ctx) if len(left) < len(node.elts) else None

    return change


def _change(operator: str) -> _Change:
    """Return the change of an operator, which returns None for a node without a match.

    ValueError for an unknown operator.
    """
    if " -> " in operator:
        return _replaced(*operator.split(" -> "))
    if operator.startswith(("drop (", "drop _")):
        return _without_element(operator.removeprefix("drop "))
    if operator not in NAMED:
        raise ValueError(f"unknown operator: {operator}")
    return NAMED[operator]


NAMED: dict[str, _Change] = {
    "keep left": _kept(slice(0, -1)),
    "keep right": _kept(slice(1, None)),
    "keep outer": _kept((0, 2)),
    "swap": _swapped,
    "argument": _argument,
    "zero": _zeroed,
    "right zero": _right_zeroed,
    "always": _decided(True),
    "never": _decided(False),
    "plain": _plain,
    "first target": _first_target,
    "unroll": _unrolled,
    **{name: _dropped(kinds) for name, kinds in _DROPPED.items()},
}


def matches(root: ast.AST, operator: str) -> Iterator[tuple[Place, ast.AST | list[ast.stmt]]]:
    """Return each place below `root` that the operator matches, with the new node."""
    change = _change(operator)
    for place in places(root):
        new = change(place.node)
        if new is not None:
            yield place, new


def mutated(source: str, function: str, operator: str, occurrence: int) -> tuple[ast.Module, int]:
    """Return the tree of a module with one change, and the line of the change. LookupError if no place matches.

    occurrence: number of the match inside the function, from 1.
    """
    tree = ast.parse(source)
    known = functions(tree)
    if function not in known:
        raise LookupError(f"no function {function}{_near(known, function, operator)}")
    found = list(matches(known[function], operator))
    if not 1 <= occurrence <= len(found):
        raise LookupError(f"{function} has {len(found)} places for `{operator}`{_near(known, function, operator)}")
    place, new = found[occurrence - 1]
    place.put(copy.deepcopy(new))
    return ast.fix_missing_locations(tree), place.line


def _near(known: dict[str, ast.AST], function: str, operator: str) -> str:
    """Return the functions with similar names or with matches of the operator, for an error text."""
    counts = {name: len(list(matches(node, operator))) for name, node in known.items() if name != "module"}
    close = difflib.get_close_matches(function, counts, 3, 0.5)
    shown = dict.fromkeys([*close, *(name for name, count in counts.items() if count)])
    return "".join(f"; {name} has {counts[name]}" for name in list(shown)[:6] if name != function)
