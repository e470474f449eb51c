"""MicroPython code that the host runs on the board's raw REPL while flashing; short, because each is one exchange."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping

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

# One deflate stream of all files, read from the terminal. Per file: one byte and the name, u32 size, sha256, contents.
# An empty name ends the stream. Marks: "*" ready, "+" a file is complete and reads back correctly, "-" it does not.
# The stream may hold any byte, so Ctrl-C is off. It is on again after 4 s without a new file, so that the board stays
# accessible when the host has gone.
UPLOAD = """
import os, sys, hashlib, micropython, select
from deflate import DeflateIO, RAW
from machine import Timer
z = DeflateIO(sys.stdin.buffer, RAW, 13)
b = bytearray(2048)
m = memoryview(b)
t = Timer(-1)
made = set()
def folder(p):
    at = p.find("/", 1)
    while at > 0:
        if p[:at] not in made:
            made.add(p[:at])
            try:
                os.mkdir(p[:at])
            except OSError:
                pass
        at = p.find("/", at + 1)
def copy(read, size, use):
    while size:
        n = read(m[:min(size, 2048)])
        if not n:
            raise OSError("stream cut short")
        use(m[:n])
        size -= n
def one(p):
    size, want = int.from_bytes(z.read(4), "little"), z.read(32)
    folder(p)
    with open(p, "wb") as f:
        copy(z.readinto, size, f.write)
    h = hashlib.sha256()
    with open(p, "rb") as f:
        copy(f.readinto, size, h.update)
    same = h.digest() == want
    sys.stdout.write("+" if same else "-")
    return same
micropython.kbd_intr(-1)
sys.stdout.write("*")
try:
    more = True
    while more:
        t.init(mode=Timer.ONE_SHOT, period=4000, callback=lambda _: micropython.kbd_intr(3))
        n = z.read(1)[0]
        more = n and one(str(z.read(n), "utf-8"))
    z.read(1)
finally:
    t.deinit()
    waiting = select.poll()
    waiting.register(sys.stdin, select.POLLIN)
    while waiting.poll(100):
        sys.stdin.buffer.read(1)
    micropython.kbd_intr(3)
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


def stream(files: Mapping[str, bytes]) -> bytes:
    """The stream that UPLOAD reads. files: contents by the name on the board, with a leading slash."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -13)
    packed = b""
    for path, data in files.items():
        name = path.encode()
        head = bytes([len(name)]) + name + len(data).to_bytes(4, "little") + hashlib.sha256(data).digest()
        packed += packer.compress(head + data)
    return packed + packer.compress(b"\0") + packer.flush()


def commit(remove: Iterable[str], rename: Iterable[str], folders: Iterable[str]) -> str:
    """Code that deletes files, renames `path.new` to `path`, and deletes empty folders, in this order."""
    rows = {"remove": remove, "rename": rename, "folders": folders}
    return _COMMIT.format(**{name: repr(["/" + path for path in paths]) for name, paths in rows.items()})
