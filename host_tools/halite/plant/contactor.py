"""A contactor: pulls in and releases with its data-sheet time, may weld or stick."""


class Contactor:
    """One main contact with its auxiliary contact.

    Command and contact changes carry exact times in µs; `closed(us)` may be asked for any time from the
    last command on.
    """

    def __init__(self, pull_in_us: int, release_us: int) -> None:
        self._delay_us = (release_us, pull_in_us)
        self.coil = False
        self.welded = False
        self.stuck_open = False
        self.aux_stuck: bool | None = None
        self._closed = False
        self._change_us: float | None = None

    def command(self, on: bool, at_us: float) -> None:
        """Energise or release the coil at `at_us`."""
        if on == self.coil:
            return
        self._settle(at_us)
        self.coil = on
        self._change_us = None if on == self._closed else at_us + self._delay_us[on]

    def _settle(self, us: float) -> None:
        if self._change_us is not None and us >= self._change_us:
            self._closed, self._change_us = self.coil, None

    def closed(self, us: float) -> bool:
        """Whether the main contact conducts at `us`."""
        self._settle(us)
        return self.welded or (self._closed and not self.stuck_open)

    def aux(self, us: float) -> bool:
        """The auxiliary contact: mirrors the main contact unless it is itself stuck."""
        return self.closed(us) if self.aux_stuck is None else self.aux_stuck

    def next_change_us(self) -> float | None:
        """When the contact will move, if it is moving."""
        return self._change_us
