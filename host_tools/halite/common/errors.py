"""The one kind of error a user sees: one line that says what is wrong, and one that says what to do."""


class HaliteError(Exception):
    """A refusal for a reason the user can act on.

    text: what is wrong, one line (a config may give several, one per line); hint: what to do next, or "".
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


class MisuseError(HaliteError):
    """A command line that cannot be meant: exit status 2."""


def from_system(error: OSError) -> HaliteError:
    """What the system refused, in one line: a full disk, a folder without the right to write."""
    where = f"{error.filename}: " if error.filename else ""
    return HaliteError(f"{where}{error.strerror or error}", "put that right, then run this again")
