"""No deadline per example: the machine's load is no property of the code."""

import os
from array import array

import pytest
from hypothesis import Phase, settings

settings.register_profile("control", deadline=None)
# A mutant only has to be noticed: nothing is shrunk, and nothing of it is remembered for the next run.
settings.register_profile("mutant", deadline=None, phases=[Phase.explicit, Phase.generate], database=None)
settings.load_profile("mutant" if "HALITE_MUTANT" in os.environ else "control")


@pytest.fixture
def checked_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control core makes arrays of Checked integers."""
    from checked import CheckedArray
    from checked_rig import MODULES

    for module in MODULES:
        if getattr(module, "array", None) is array:
            monkeypatch.setattr(module, "array", CheckedArray)
