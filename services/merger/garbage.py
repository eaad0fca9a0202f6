"""How often Python looks for cycles of dead objects.

A batch makes many thousands of objects and leaves no cycle behind, but by default each 700 of them have the
young ones looked at, and so in turn everything that lives: near a tenth of all time.  Cycles are left
by clients of Kafka and by Faust; they are still found, only later.
"""

import gc

_NEW_OBJECTS = 200_000
"""So many more objects made than freed, and the young ones are looked at."""


def collect_rarely() -> None:
    """Leave alone what lives now, and look at new objects once there are many of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
