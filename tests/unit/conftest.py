"""No deadline per example: the machine's load is no property of the code."""

import os
from array import array

import pytest
from hypothesis import Phase, settings

settings.register_profile("control", deadline=None)
# A mutant only has to be noticed, in each run alike: nothing is shrunk, remembered or left to the luck of a draw.
settings.register_profile(
    "mutant", deadline=None, phases=[Phase.explicit, Phase.generate], database=None, derandomize=True
)
settings.load_profile("mutant" if "HALITE_MUTANT" in os.environ else "control")


@pytest.fixture
def checked_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control core makes arrays of Checked integers."""
    from support.checked_int import CheckedArray
    from support.checked_rig import MODULES

    for module in MODULES:
        if getattr(module, "array", None) is array:
            monkeypatch.setattr(module, "array", CheckedArray)
