"""How many devices of a BQ79616 stack answer from the base on: the place of a broken link, in few questions.

The last device is asked first, because noise and a break look alike: one lost answer must not look like a break.
"""

from rack.drivers.bq79616_frames import HEARD_GOOD, HEARD_PENDING


class Search:
    """Binary search over one side of the ring. link: a StackLink. found: devices that answer, at the end."""

    def __init__(self, link):
        self.found = 0                 # lower bound: this many are known to answer
        self.top = 0                   # devices that should answer
        self._high = 0                 # upper bound
        self._asked_twice = False      # the first device without an answer was asked a second time
        self._link = link

    def begin(self, low, top):
        """`low` devices are known to answer, `top` should."""
        self.found = low
        self._high = self.top = top
        self._asked_twice = False

    def bisect(self, now_us, register, value):
        """Row of a program: ask until lower and upper bound meet."""
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
        """The device to ask now, counted from 1 at the base."""
        high = self._high
        return high if high == self.top and not self._asked_twice else (self.found + high + 1) // 2

    def _narrow(self, answered):
        asked = self._asked()
        if answered:
            self.found = asked
            if self._asked_twice and asked == self._high:
                self._high = self.top            # the first silence was noise: search further
        else:
            self._high = asked - 1
        if self.found == self._high < self.top and not self._asked_twice:
            self._asked_twice = True
            self._high += 1
