"""Search for a broken link: find the number of devices of a BQ79616 stack that answer, with few questions.

The search asks the last device first, because one answer lost to noise must not look like a broken link.
"""

from rack.drivers.bq79616_frames import HEARD_GOOD, HEARD_PENDING


class Search:
    """Binary search over one side of the ring. link: a StackLink. found: after the search, the devices that answer."""

    def __init__(self, link):
        self.found = 0                 # lower bound: devices that are known to answer
        self.top = 0                   # devices that should answer
        self._high = 0                 # upper bound
        self._asked_twice = False      # the search has asked the first silent device again
        self._link = link

    def begin(self, low, top):
        """Start a search: `low` devices are known to answer, and `top` devices should answer."""
        self.found = low
        self._high = self.top = top
        self._asked_twice = False

    def bisect(self, now_us, register, value):
        """Action of a program: ask devices until the lower and the upper bound are equal."""
        link = self._link
        if link.phase:
            heard = link.heard(now_us, self._asked() - 1 + link.side, register)
            if heard == HEARD_PENDING:
                return False
            self._narrow(heard == HEARD_GOOD)
        if self.found == self._high:
            return True
        link.ask(now_us, self._asked() - 1 + link.side, register)
        return False

    def _asked(self):
        """Return the device to ask now, counted from 1 at the base."""
        high = self._high
        return high if high == self.top and not self._asked_twice else (self.found + high + 1) // 2

    def _narrow(self, answered):
        asked = self._asked()
        if answered:
            self.found = asked
            if self._asked_twice and asked == self._high:
                self._high = self.top            # noise caused the first silence: search further
        else:
            self._high = asked - 1
        if self.found == self._high < self.top and not self._asked_twice:
            self._asked_twice = True
            self._high += 1
