"""`python -m halite`: the same as the command `halite`."""

import sys

from halite.cli.app import main

sys.exit(main())
