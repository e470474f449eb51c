"""Draw lies on racks in random operation: `make lies`, or run.py [STORIES] [SEED] with tests in the path.

Half of the stories have one lie, half have two. Prints each story in which a danger lasted too long, with its seed.
Status 1 with at least one.
"""

import sys
from multiprocessing import Pool

from halite.common.paths import use_firmware

use_firmware()

from support.lying_plant import Story, told  # noqa: E402 - only after use_firmware

STORIES, SEED = 1_000, 100
RACKS = ("sodium", "lfp")


def story(number: int) -> str:
    """The report of one story, "" when no danger lasted too long."""
    lies = 1 + number % 2
    played = Story(RACKS[number // 2 % 2], number // 4, lies)
    found = played.play()
    return f"seed {number // 4}, {lies} lies: {'; '.join(found)}: {told(played)}" if found else ""


def main() -> int:
    """Run the campaign in two processes."""
    given = [int(each) for each in sys.argv[1:]]
    stories, seed = given + [STORIES, SEED][len(given) :]
    found = 0
    with Pool(2) as pool:
        for done, report in enumerate(pool.imap(story, range(4 * seed, 4 * seed + stories)), 1):
            if report:
                found += 1
                print(report, flush=True)
            if done % 100 == 0:
                print(f"{done} stories, {found} with a danger that lasted", flush=True)
    print(f"{stories} stories, {found} with a danger that lasted")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
