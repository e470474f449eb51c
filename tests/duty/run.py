"""Play 24 seeded hours of normal duty: `make duty`, or run.py [HOURS] [SECONDS] with tests in the path.

Every regime of a day with both chemistries, twice. Prints each hour with the alarms that its duty does not justify.
Status 1 with at least one.
"""

import sys
from functools import partial
from multiprocessing import Pool

from support.duty import hour

HOURS, SECONDS = 24, 3600


def main() -> int:
    """Play the hours in two processes."""
    given = [int(each) for each in sys.argv[1:]]
    hours, seconds = given + [HOURS, SECONDS][len(given) :]
    found = 0
    with Pool(2) as pool:
        for name, came, trip in pool.imap(partial(hour, seconds=seconds), range(hours)):
            said = ", ".join(f"{key} at {ms / 1000:.1f} s" for key, ms in came.items()) or "no alarm"
            found += bool(came or trip)
            print(f"{name}: {said}{' TRIPPED: ' + trip if trip else ''}", flush=True)
    print(f"{hours} hours of {seconds} s, {found} with an alarm")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
