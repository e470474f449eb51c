"""The files of a board are complete, compiled and reproducible. A build is written completely or not at all."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from halite import __version__
from halite.bench import heap
from halite.build import firmware as build
from halite.build.flat import module_of
from halite.build.fold import CHIPS, constants
from halite.common.errors import HaliteError
from halite.common.paths import BOARD_CONFIGS, FIRMWARE
from halite.config import load
from rack.definitions.codes import AFE_BQ79616, AFE_LTC6813
from support.ltc_rack import ltc_rack


@pytest.fixture(scope="module")
def built():
    return build.make(load("bench_rack"))


def test_a_board_gets_modules_start_files_and_config(built):
    """A board gets compiled modules, two start files as source, and its config."""
    sources = {name for name in built.files if name.endswith(".py")}
    assert sources == {"boot.py", "main.py"}
    assert {"rack/app.mpy", "control/controller.mpy", "config.bin"} <= set(built.files)
    assert all(data[:2] == b"M\x06" for name, data in built.files.items() if name.endswith(".mpy"))


def test_the_start_file_holds_the_outputs_of_this_board_off(built, tmp_path):
    """boot.py is unchanged for the reference hardware; for another board its pin map replaces the pins."""
    assert built.files["boot.py"] == (FIRMWARE / "boot.py").read_bytes()
    pins = (BOARD_CONFIGS / "boards" / "pico_w.toml").read_text(encoding="utf-8")
    for old, new in (("coil_main_pos = 10", "coil_main_pos = 22"), ("heater = 22", "heater = 10")):
        assert pins.count(old) == 1
        pins = pins.replace(old, new)
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "mine.toml").write_text(pins.replace('name = "pico_w"', 'name = "mine"'), encoding="utf-8")
    rack = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(rack.replace('board = "pico_w"', 'board = "mine"'), encoding="utf-8")
    mine = build.make(load(tmp_path / "mine.toml")).files["boot.py"]
    assert mine == built.files["boot.py"].replace(b"(8, 9, 10, 11, 22)", b"(8, 9, 22, 11, 10)")


def test_no_module_is_there_twice(built):
    """No module is in the build both compiled and as source."""
    stems = [name.rsplit(".", 1)[0] for name in built.files]
    assert len(stems) == len(set(stems))


def test_the_manifest_has_size_and_hash_of_each_file(built):
    manifest = json.loads(built.manifest)
    assert manifest["version"] == __version__
    assert {row["path"]: (row["size"], row["sha256"]) for row in manifest["files"]} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in built.files.items()
    }


_HASHES = """
import hashlib
from halite.build import firmware as build
from halite.build.flat import module_of
from halite.config import load
built = build.make(load("bench_rack"))
for name, data in [*built.files.items(), ("manifest", built.manifest)]:
    print(name, hashlib.sha256(data).hexdigest())
"""


def test_the_same_sources_give_the_same_bytes(built):
    """A second process, with an empty cache and another order of its sets, makes the same bytes.

    No file contains a path of this machine.
    """
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    other = subprocess.run([sys.executable, "-c", _HASHES], env=environment, capture_output=True, text=True, check=True)
    files = [*built.files.items(), ("manifest", built.manifest)]
    assert other.stdout.splitlines() == [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in files]
    assert not any(str(build.FIRMWARE).encode() in data for data in built.files.values())


def test_the_plain_build_has_no_native_code():
    """The plain build has no native code, and its sources keep their lines."""
    source = b"import micropython\n\n@micropython.viper\ndef f():\n    @micropython.native\n    def g(): pass\n"
    plain = build.strip_native(source)
    assert b"@micropython" not in plain
    assert plain.count(b"\n") == source.count(b"\n")
    files = build.make(load("bench_rack"), plain=True).files
    assert not any(b"\n@micropython.viper" in data for data in files.values())
    assert {name for name in files if name.endswith(".mpy")} == set()


def _pointers(node, viper=False):
    """Return (name, True inside a viper function) for every use of a viper pointer."""
    if isinstance(node, ast.FunctionDef):
        viper = any(ast.unparse(decorator) == "micropython.viper" for decorator in node.decorator_list)
    if isinstance(node, ast.Name) and node.id in ("ptr8", "ptr16", "ptr32"):
        yield node.id, viper
    for inner in ast.iter_child_nodes(node):
        yield from _pointers(inner, viper)


def test_only_viper_functions_use_pointers(built):
    """A board therefore needs no functions with the names of the pointers."""
    used = [use for source in build.board_sources().values() for use in _pointers(ast.parse(source))]
    assert len(used) > 100 and all(viper for _, viper in used)
    assert "base/viper.mpy" not in built.files
    assert not any("base.viper import" in source for source in build.board_sources().values())


@pytest.mark.parametrize("plain", [False, True])
def test_a_build_holds_the_driver_of_one_afe_chip(tmp_path, plain):
    """A rack with one of the two AFE chips has no module of the driver of the other."""
    names = {}
    for config in (load("bench_rack"), load(ltc_rack(tmp_path))):
        files = build.make(config, plain=plain).files
        names[config["afe_chip"]] = {name.partition(".")[0].rpartition("/")[2] for name in files}
    bq79616, ltc6813 = names[AFE_BQ79616] - names[AFE_LTC6813], names[AFE_LTC6813] - names[AFE_BQ79616]
    parts = ("", "_bringup", "_convert", "_frames", "_search")
    assert bq79616 == {f"bq79616{part}" for part in parts}
    assert ltc6813 == {"ltc681x", "ltc681x_convert", "pec15", "rp2_afe_spi"}


def test_a_module_that_does_not_compile_is_named():
    with pytest.raises(HaliteError, match=r"rack/bad\.py does not compile"):
        build._compile("rack/bad.py", b"def f(:\n")


def test_a_build_replaces_an_earlier_one_completely(built, tmp_path):
    out = tmp_path / "board"
    build.write(built, out)
    (out / "rack" / "stale.py").write_text("")
    build.write(built, out)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {*built.files, build.MANIFEST}
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


@pytest.mark.parametrize("kind", ["file", "fifo", "link"])
def test_a_path_that_is_not_a_folder_is_refused(built, tmp_path, kind):
    """The build does not replace a file, a device file or a link."""
    out = tmp_path / "out"
    make = {"file": out.touch, "fifo": lambda: os.mkfifo(out), "link": lambda: out.symlink_to(tmp_path)}
    make[kind]()
    before = out.lstat().st_ino
    with pytest.raises(HaliteError, match="not a folder"):
        build.write(built, out)
    assert out.lstat().st_ino == before


def test_a_folder_that_is_no_build_stays_unchanged(built, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HaliteError, match="not a build"):
        build.write(built, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_heap_is_measured_in_the_order_of_imports():
    """The heap measurement imports each module after the modules that it imports."""
    known = {module_of(path) for path in build.board_sources()}
    order = heap.import_order(("rack.app", "rack.hal.rp2_board", "rack.drivers.bq79616"), known)
    assert {"rack.app", "rack.hal.rp2_board", "rack.control.controller", "rack.drivers.bq79616"} <= set(order) <= known
    assert len(order) == len(set(order))
    for at, name in enumerate(order):
        source = (build.FIRMWARE / (name.replace(".", "/") + ".py")).read_text(encoding="utf-8")
        imported = set(re.findall(r"^(?:from|import) ([\w.]+)", source, re.MULTILINE))
        assert imported & known <= set(order[:at])


def test_modules_that_boards_do_not_need_compile_too():
    """The modules that the build leaves out compile, so that their heap can be measured."""
    more = build.make(load("bench_rack"), lean=False, short=False).files
    known = build.make(load("bench_rack"), short=False).files
    assert set(more) - set(known) == {name.removesuffix(".py") + ".mpy" for name in build.HOST_ONLY}


@pytest.fixture(scope="module")
def pico_2(tmp_path_factory):
    path = tmp_path_factory.mktemp("pico_2") / "rack.toml"
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    path.write_text(text.replace('board = "pico_w"', 'board = "pico_2"'), encoding="utf-8")
    return load(path)


def test_a_pico_2_gets_code_for_its_core(pico_2, built):
    """A Pico 2 gets code for its core and the same config as a Pico W."""
    ours = build.make(pico_2)
    files = ours.files
    assert (built.chip, ours.chip) == ("rp2040", "rp2350")
    assert files.keys() == built.files.keys() and files["config.bin"] == built.files["config.bin"]
    armv6m, armv7emsp = 4, 7  # MP_NATIVE_ARCH of MicroPython's py/persistentcode.h, in bits 2 to 5 of the third byte
    for made, arch in ((built.files, armv6m), (files, armv7emsp)):
        native = {data[2] >> 2 & 15 for name, data in made.items() if name.endswith(".mpy")}
        assert native == {0, arch}  # 0: bytecode alone


def test_a_pico_2_build_has_no_register_of_the_rp2040():
    """Every address that differs between the chips is replaced."""
    here, there = (constants()[CHIPS[chip]] for chip in ("rp2040", "rp2350"))
    assert here.keys() == there.keys()
    places = {value for name, value in here.items() if value >= 0x10000000 and value != there[name]}
    assert len(places) >= 10
    modules = build.board_sources(chip="rp2350")
    written = {int(number, 0) for text in modules.values() for number in re.findall(r"\b(?:0x[0-9A-Fa-f]+|\d+)\b", text)
               if not number.startswith("0") or number.startswith("0x")}  # fmt: skip
    assert not places & written
    assert {there["SPI0"], there["SCRATCH_MODE"], there["IO_BANK0_SET"]} <= written
    assert "0x400D800C" in modules["boot.py"] and "0x4005800C" in build.board_sources()["boot.py"]


def test_a_board_with_an_unknown_chip_is_refused(tmp_path):
    """The config refuses a board whose chip has no firmware port."""
    (tmp_path / "boards").mkdir()
    pins = (BOARD_CONFIGS / "boards" / "pico_2.toml").read_text(encoding="utf-8")
    (tmp_path / "boards" / "other.toml").write_text(pins.replace("rp2350", "esp32"), encoding="utf-8")
    text = (BOARD_CONFIGS / "bench_rack.toml").read_text(encoding="utf-8")
    (tmp_path / "rack.toml").write_text(text.replace('board = "pico_w"', 'board = "other"'), encoding="utf-8")
    with pytest.raises(HaliteError, match="chip = 'esp32' is not known: allowed is one of rp2040, rp2350"):
        load(tmp_path / "rack.toml")
