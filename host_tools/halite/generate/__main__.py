"""`python -m halite.generate [--check]`: write or check the generated files."""

import sys

from halite.generate.outputs import main

sys.exit(main(sys.argv[1:]))
