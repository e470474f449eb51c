"""Names of the codes in rack.definitions.codes, for people. The board has them in rack/generated/tables.py."""

STATE_NAMES = ("open", "precharge", "closed", "opening", "fault", "locked_out")     # over STATE_*
LEVEL_NAMES = ("none", "warn", "derate", "trip")                                    # over LEVEL_*
