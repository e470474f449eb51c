"""A board has all modules in one folder, with unique names and the same lines."""

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


def test_imports_name_the_modules_of_the_one_folder():
    """A module may have the name of its package. Unknown names, and files outside `rack`, stay."""
    assert flatten(SOURCES) == {
        "main.py": "import rack.start\n",
        "rack/start.py": "from rack.response import Response\nfrom rack import interpolate\n",
        "rack/interpolate.py": "",
        "rack/response.py": '"""See rack.interpolate.interpolate and rack.other.part."""\n',
    }


def test_two_modules_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"rack/a/same\.py and rack/b/same\.py"):
        board_names(["rack/a/same.py", "rack/b/same.py"])


@pytest.mark.parametrize("afe_chip", [0, 1])
def test_the_whole_firmware_fits_into_one_folder(afe_chip):
    """Each import of the firmware names a module of the board, and lines keep their numbers."""
    nested = build.board_sources(afe_chip=afe_chip)
    modules = flatten(nested)
    assert all(name.count("/") <= 1 for name in modules)
    assert sorted(text.count("\n") for text in modules.values()) == sorted(text.count("\n") for text in nested.values())
    for source in modules.values():
        for package, names in re.findall(r"^ *from (rack[\w.]*) import ([\w, ]+)", source, re.MULTILINE):
            paths = (
                [f"rack/{name.split()[0]}.py" for name in names.split(",")]
                if package == "rack"
                else [package.replace(".", "/") + ".py"]
            )
            assert set(paths) <= set(modules) | {"rack/ltc681x.py", "rack/bq79616.py", "rack/rp2_afe_spi.py"}
