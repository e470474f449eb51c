"""Errors for users: one line with the cause and a hint for the next action."""


class HaliteError(Exception):
    """An error that the user can correct.

    text: the cause in one line (a config may have several, one per line); hint: the next action, or "".
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


class MisuseError(HaliteError):
    """A wrong command line: exit status 2."""


def from_system(error: OSError) -> HaliteError:
    """An error of the operating system in one line, such as a full disk or a missing permission."""
    where = f"{error.filename}: " if error.filename else ""
    return HaliteError(f"{where}{error.strerror or error}", "correct that, then run this again")
