"""How often Python looks for cycles of dead objects.

By default each 700 new objects have the young ones looked at, and so in turn everything that lives: near a
tenth of all time.  Requests and batches leave next to no cycles behind, since reference counts end them.
Few objects may hold much, though, and it is objects that count here: see `memory`.
"""

import gc


def collect_seldom(young: int, middle: int, old: int) -> None:
    """Leave alone for good what lives now, the modules' objects among it, and look at the rest seldom.

    The numbers are those of `gc.set_threshold`.  For processes of a service: it is never undone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, middle, old)
