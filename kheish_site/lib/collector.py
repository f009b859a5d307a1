"""Python's garbage collector in a process that serves: what was loaded stays, so it is not looked at again.

A full collection stops every thread for as long as it takes to look at all that lives. With some hundred
thousand objects of libraries that was a quarter of a second, several times in the first minute of a web
process and of a worker: the longest a webhook waited for its answer. And while a process loads, nothing is
garbage.
"""

import gc
import threading
from typing import Final

OBJECTS: Final = 10_000
"""New objects between two looks at the young ones; Python's own 700 are few for a request."""
LATER_SECONDS: Final = (10.0, 60.0)
"""When what the first requests have loaded is set aside too."""


def hold_off() -> None:
    """Collect nothing while the process loads; ``settle`` ends it."""
    gc.disable()


def settle() -> None:
    """Set aside what lives now, collect from here on, and set aside twice more what was loaded meanwhile."""
    gc.set_threshold(OBJECTS, 10, 10)
    gc.freeze()
    gc.enable()
    for seconds in LATER_SECONDS:
        later = threading.Timer(seconds, gc.freeze)
        later.daemon = True
        later.start()


def rarely() -> None:
    """Look seldom: for a command that loads much, makes little, and ends."""
    gc.set_threshold(50 * OBJECTS, 10, 10)
