"""Check the language of comments, docstrings and documents: `make lint`, or `python tests/style/plain_english.py PATH`.

Readers of many countries check these sentences against the code. Limits, over the whole project: 0.5 clauses with
"what" or "who" as a noun and 1.5 of "none, nobody, nothing, never" per 1 000 words. A sentence has at most 40 words,
a table cell at most 160 characters. Some words are not used at all.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MAX_CLAUSES_PER_1000 = 0.5
MAX_NEGATIONS_PER_1000 = 1.5
MAX_SENTENCE_WORDS = 40
MAX_CELL_CHARACTERS = 160
GENERATED = {"docs/protocols/model_64370.json"}

_LEADERS = "for|of|by|to|in|on|at|from|with|than|that|and|but|or|say|has"
CLAUSE = re.compile(rf"\b(?:what|whatever|whoever|whom)\b|(?:^|[.:;,(] |\b(?:{_LEADERS}) )who\b", re.IGNORECASE)
NEGATION = re.compile(r"\b(?:none|nobody|nothing|never)\b", re.IGNORECASE)
BANNED = re.compile(
    r"\b(?:anew|seldom|beside|but for|in place of|(?:is|are|was|were) told|tells of|so (?:many|much|late|early)|"
    r"(?:is|are|was) no(?! longer\b)|meanwhile|of its own accord|behind it comes|has the word)\b",
    re.IGNORECASE,
)
CODE = re.compile(r"`[^`]*`|\"[^\"]*\"|https?://\S+|\([^()]*https?://[^()]*\)")
_STARTS = re.compile(r"([*-]|\d+\.|#+|>) |[a-z_]\w*(, \w+)*: ")  # a list item, or a described name
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")
END = re.compile(r"(?<=[.?!])\s+(?=[A-Z`\"(*\d])|(?<=[.?!]\))\s+")


class Paragraph(NamedTuple):
    """A run of prose. line: where it starts in its file, from 1."""

    path: str
    line: int
    text: str
    is_table: bool = False


class Finding(NamedTuple):
    """One place that a rule names."""

    path: str
    line: int
    rule: str
    text: str


def _blocks(path: str, first: int, lines: list[str]) -> Iterator[Paragraph]:
    """Split lines of prose at blank lines, list items and headings; code blocks are left out."""
    start, held, fenced = first, list[str](), False
    for number, raw in enumerate([*lines, ""], first):
        line = raw.strip()
        if line.startswith("```"):
            fenced = not fenced
            line = ""
        elif fenced:
            continue
        table = line.startswith("|")
        if not line or table or _STARTS.match(line):
            if held:
                yield Paragraph(path, start, " ".join(held))
            start, held = number, []
        if table:
            yield Paragraph(path, number, line, True)
        elif line:
            start = start if held else number
            held.append(re.sub(r"^([*-]|\d+\.|#+|>) ", "", line))


def _docstrings(path: str, tree: ast.AST) -> Iterator[Paragraph]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False):
            text = node.body[0]
            assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            yield from _blocks(path, text.lineno, str(text.value.value).split("\n"))


def _comments(path: str, source: str) -> Iterator[Paragraph]:
    """Full-line comments that follow each other are one text; a comment behind code is one of its own."""
    start, held, last = 0, list[str](), -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or re.match(r"#\s*(noqa|type:|fmt:|ruff:|!)", token.string):
            continue
        text = re.sub(r"\s*#?\s*(noqa|fmt:|type:).*$", "", token.string.lstrip("# "))
        whole = not token.line[: token.start[1]].strip()
        if held and whole and token.start[0] == last + 1:
            held.append(text)
        else:
            yield from _blocks(path, start, held)
            start, held = token.start[0], [text]
        last = token.start[0] if whole else -2
    yield from _blocks(path, start, held)


def _hash_comments(path: str, source: str) -> Iterator[Paragraph]:
    """Comments of TOML files and the Makefile."""
    for number, line in enumerate(source.splitlines(), 1):
        found = re.search(r"(?:^|\s)#+ ?(.*)$", line)
        if found and found[1]:
            yield Paragraph(path, number, found[1])


def paragraphs(path: str) -> Iterator[Paragraph]:
    """All prose of one file, which is named from the root of the project."""
    source = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        yield from _docstrings(path, ast.parse(source))
        yield from _comments(path, source)
    elif path.endswith(".md"):
        yield from _blocks(path, 1, source.splitlines())
    else:
        yield from _hash_comments(path, source)


def _of_table(row: Paragraph) -> Iterator[Finding]:
    for cell in re.split(r"(?<!\\)\|", row.text.strip("|")):
        if len(cell.strip()) > MAX_CELL_CHARACTERS:
            yield Finding(row.path, row.line, f"cell of {len(cell.strip())} characters", cell.strip()[:60])


def findings(paragraph: Paragraph) -> Iterator[Finding]:
    """Everything that the rules name in one run of prose; quotations and code do not count."""
    text = CODE.sub("X", paragraph.text)
    if paragraph.is_table:
        yield from _of_table(paragraph)
    for sentence in END.split(text):
        words = len(WORD.findall(sentence))
        if not paragraph.is_table and words > MAX_SENTENCE_WORDS:
            yield Finding(paragraph.path, paragraph.line, f"sentence of {words} words", sentence[:60])
        if not sentence.rstrip().endswith("?"):
            for found in CLAUSE.finditer(sentence):
                yield Finding(paragraph.path, paragraph.line, "clause", sentence[max(0, found.start() - 20) :][:60])
        for found in NEGATION.finditer(sentence):
            if found[0] != "None":
                yield Finding(paragraph.path, paragraph.line, "negation", sentence[max(0, found.start() - 20) :][:60])
        for found in BANNED.finditer(sentence):
            near = sentence[max(0, found.start() - 20) :][:60]
            yield Finding(paragraph.path, paragraph.line, f"not used: {found[0]}", near)


def files(places: list[str]) -> list[str]:
    """The files with prose below these places, as git knows them."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "--", *places]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    kinds = (".py", ".md", ".toml")
    return [n for n in names if (n.endswith(kinds) or n == "Makefile") and n not in GENERATED and (ROOT / n).is_file()]


def main(places: list[str]) -> int:
    """Print every finding below `places` (default: the project) and the rates; 1 when a limit is passed."""
    prose = [paragraph for name in files(places) for paragraph in paragraphs(name)]
    words = sum(len(WORD.findall(CODE.sub("X", paragraph.text))) for paragraph in prose)
    found = [finding for paragraph in prose for finding in findings(paragraph)]
    rates = {rule: 1000 * sum(f.rule == rule for f in found) / max(words, 1) for rule in ("clause", "negation")}
    hard = [f for f in found if f.rule not in rates]
    bad = bool(hard) or rates["clause"] > MAX_CLAUSES_PER_1000 or rates["negation"] > MAX_NEGATIONS_PER_1000
    for finding in found if places or bad else ():
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}")
    if places or bad:
        print(
            f"{words} words; clauses {rates['clause']:.2f}, negations {rates['negation']:.2f} per 1 000 words "
            f"(limits {MAX_CLAUSES_PER_1000}, {MAX_NEGATIONS_PER_1000}); other findings: {len(hard)} (limit 0)"
        )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
