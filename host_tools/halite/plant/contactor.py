"""A contactor: it pulls in and releases after its data-sheet times, and may weld or stick."""


class Contactor:
    """One main contact with its auxiliary contact.

    Times are in µs since the start of the simulation. `closed` and `aux` accept any time from the last command on.
    welded, stuck_open: faults of the main contact. aux_stuck: level of a stuck auxiliary contact, else None.
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
        """True if the main contact conducts at `us`."""
        self._settle(us)
        return self.welded or (self._closed and not self.stuck_open)

    def aux(self, us: float) -> bool:
        """True if the auxiliary contact is closed at `us`: it mirrors the main contact unless it is stuck."""
        return self.closed(us) if self.aux_stuck is None else self.aux_stuck

    def next_change_us(self) -> float | None:
        """Time in µs at which the contact will move; None when it rests."""
        return self._change_us
