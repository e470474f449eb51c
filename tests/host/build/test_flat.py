"""A board has its modules in folders one deep, with unique names and the same lines."""

import re

import pytest
from halite.build import firmware as build
from halite.build.flat import board_names, flatten

SOURCES = {
    "main.py": "import rack.start\n",
    "rack/start.py": "from rack.control.response.response import Response\nfrom rack.control import interpolate\n",
    "rack/control/interpolate.py": "",
    "rack/control/response/response.py": '"""See rack.control.interpolate.interpolate and rack.other.part."""\n',
}
OF_ONE_CHIP = {"drivers/ltc681x.py", "drivers/bq79616.py", "hal/rp2_afe_spi.py"}


def test_imports_name_the_last_folder_of_a_module():
    """A module may have the name of its package. Unknown names, and files outside the folders, stay."""
    assert flatten(SOURCES) == {
        "main.py": "import rack.start\n",
        "rack/start.py": "from response.response import Response\nfrom control import interpolate\n",
        "control/interpolate.py": "",
        "response/response.py": '"""See control.interpolate.interpolate and rack.other.part."""\n',
    }


def test_two_modules_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"rack/a/in/same\.py and rack/b/in/same\.py"):
        board_names(["rack/a/in/same.py", "rack/b/same.py", "rack/b/in/same.py"])


@pytest.mark.parametrize("afe_chip", [0, 1])
def test_each_import_names_a_module_of_the_board(afe_chip):
    """Each import of the firmware names a module of the board, and lines keep their numbers."""
    nested = build.board_sources(afe_chip=afe_chip)
    modules = flatten(nested)
    assert all(name.count("/") <= 1 for name in modules)
    assert sorted(text.count("\n") for text in modules.values()) == sorted(text.count("\n") for text in nested.values())
    folders = {name.partition("/")[0] for name in modules if "/" in name}
    found = 0
    for source in modules.values():
        for package, names in re.findall(r"^ *from ([\w.]+) import ([\w, ]+)", source, re.MULTILINE):
            if package.partition(".")[0] in folders:
                parts = package.split(".")
                wanted = (
                    {f"{package}/{name.split()[0]}.py" for name in names.split(",")}
                    if len(parts) == 1
                    else {"/".join(parts) + ".py"}
                )
                found += len(wanted)
                assert wanted <= set(modules) | OF_ONE_CHIP
    assert found > 100


def test_folders_do_not_hide_modules_of_the_interpreter():
    """A folder with the name of a module of the image would be imported in its place."""
    folders = {name.partition("/")[0] for name in flatten(build.board_sources()) if "/" in name}
    assert not folders & {
        "array",
        "binascii",
        "gc",
        "hashlib",
        "machine",
        "micropython",
        "os",
        "rp2",
        "select",
        "struct",
        "sys",
        "time",
        "json",
        "re",
        "io",
        "collections",
        "math",
        "random",
        "errno",
        "deflate",
    }
