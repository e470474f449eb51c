"""Every test imports the firmware's own modules: the tests hold no second copy of any logic."""

from halite.common.paths import use_firmware

use_firmware()
