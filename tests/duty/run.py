"""Play 24 seeded hours of normal duty: `make duty`, or run.py [HOURS] [SECONDS] with tests in the path.

Every regime of a day with both chemistries, twice. Prints each hour with the alarms that its duty does not justify.
Status 1 with at least one.
"""

import sys
from functools import partial
from multiprocessing import Pool

from halite.common.paths import use_firmware

use_firmware()

from support.duty import hour  # noqa: E402 - only after use_firmware

HOURS, SECONDS = 24, 3600


def main() -> int:
    """Play the hours in two processes."""
    given = [int(each) for each in sys.argv[1:]]
    hours, seconds = given + [HOURS, SECONDS][len(given) :]
    found = 0
    with Pool(2) as pool:
        for played in pool.imap(partial(hour, seconds=seconds), range(hours)):
            said = ", ".join(f"{key} at {ms / 1000:.1f} s" for key, ms in played.came.items()) or "no alarm"
            found += bool(played.came or played.trip)
            tripped = f" TRIPPED: {played.trip}" if played.trip else ""
            print(f"{played.name}: up to {played.highest_A:.0f} A, {said}{tripped}", flush=True)
    print(f"{hours} hours of {seconds} s, {found} with an alarm")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
