"""No deadline per example: the machine's load is no property of the code."""

from hypothesis import settings

settings.register_profile("control", deadline=None)
settings.load_profile("control")
