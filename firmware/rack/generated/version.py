"""Version of the firmware; the host tools carry the same."""

VERSION = "0.1.0"
