"""What the host runs on the board's raw REPL while flashing; MicroPython, kept short: each is one exchange."""

from collections.abc import Iterable

SURVEY = """
import os, sys, hashlib, machine
from binascii import hexlify
b = bytearray(1024)
def sha(p):
    h = hashlib.sha256()
    m = memoryview(b)
    with open(p, "rb") as f:
        while True:
            n = f.readinto(b)
            if not n:
                return str(hexlify(h.digest()), "ascii")
            h.update(m[:n])
def walk(d):
    for e in os.ilistdir(d or "/"):
        p = d + "/" + e[0]
        if e[1] & 0x4000:
            walk(p)
        else:
            print(repr((p[1:], sha(p))))
i = sys.implementation
v = os.statvfs("/")
print(repr((i.name, i.version[:3], i._machine, i._mpy, str(hexlify(machine.unique_id()), "ascii"), v[0] * v[3])))
walk("")
"""

# Base64, so that Ctrl-C still works when the host goes away in the middle and the next run can interrupt it.
# Marks: "." a block was taken, "+" a file is complete and reads back right, "-" it does not.
_UPLOAD = """
import os, sys, hashlib
from binascii import a2b_base64, hexlify
take = sys.stdin.buffer.readinto
b = bytearray({line})
m = memoryview(b)
def folder(p):
    at = p.find("/", 1)
    while at > 0:
        try:
            os.mkdir(p[:at])
        except OSError:
            pass
        at = p.find("/", at + 1)
def one(p, size, want):
    folder(p)
    with open(p, "wb") as f:
        while size:
            n = min(size, {block})
            take(m[: (n + 2) // 3 * 4])
            f.write(a2b_base64(m[: (n + 2) // 3 * 4]))
            size -= n
            sys.stdout.write(".")
    h = hashlib.sha256()
    with open(p, "rb") as f:
        while True:
            n = f.readinto(b)
            if not n:
                break
            h.update(m[:n])
    sys.stdout.write("+" if str(hexlify(h.digest()), "ascii") == want else "-")
for row in {files}:
    one(*row)
"""

_COMMIT = """
import os
for p in {remove}:
    os.remove(p)
for p in {rename}:
    os.rename(p + ".new", p)
for p in {folders}:
    try:
        os.rmdir(p)
    except OSError:
        pass
"""

RESET = "import machine\nmachine.reset()"

BLOCK = 3072  # bytes of a file in one block


def upload(files: Iterable[tuple[str, int, str]]) -> str:
    """Receive files: (path on the board, size, sha256 in hex)."""
    return _UPLOAD.format(line=BLOCK // 3 * 4, block=BLOCK, files=repr([("/" + path, *rest) for path, *rest in files]))


def commit(remove: Iterable[str], rename: Iterable[str], folders: Iterable[str]) -> str:
    """Delete files, give `path.new` its name, delete folders that are empty, in this order."""
    rows = {"remove": remove, "rename": rename, "folders": folders}
    return _COMMIT.format(**{name: repr(["/" + path for path in paths]) for name, paths in rows.items()})
