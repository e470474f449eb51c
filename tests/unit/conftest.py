"""No deadline per example: the load of the machine is not a property of the code."""

import os
from array import array

import pytest
from hypothesis import Phase, settings

settings.register_profile("control", deadline=None)
# A mutant must be noticed in every run: examples are not shrunk or remembered, and their choice is fixed.
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
