"""Layout of the PCS link's state: one integer array, shared by the fast path, the scan and the console.

Constants only: the build puts their values in place of their names, also inside the fast path.
"""

from micropython import const

FLAGS = const(0)       # FLAG_* of the next request, set by the scan
SENT = const(1)        # requests handed to the controller, wraps at 2**16; its low bits are the frame's counter
UNSENT = const(2)      # requests that found the controller busy or down, wraps at 2**16
FAULTS = const(3)      # exceptions in the fast path
ASKED = const(4)       # the scan wants a request without waiting for a period
INTS = const(5)
