"""Gives memory that is no longer used back to the system, which happens too seldom by itself.

Clients of Kafka and Faust leave cycles of a few dead objects that hold whole batches.  Python looks for
cycles when there are many new objects, and these are few, however large.  And glibc keeps what was freed
between blocks that live on, in several heaps, while others of its heaps grow.
"""

import ctypes
import gc
import threading

EVERY_SECONDS = 10.0
"""The work of some ten milliseconds, for what piles up meanwhile: some 300 bytes an event in the merger."""


def give_back_now() -> None:
    """Find dead cycles, and return free memory to the system, the latter where the C library is glibc."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back(every: float = EVERY_SECONDS) -> None:
    """Do so again and again, in a thread that ends with the process."""
    threading.Thread(target=_give_back, args=(every,), name="memory", daemon=True).start()


def _give_back(every: float) -> None:
    pause = threading.Event()
    while not pause.wait(every):
        give_back_now()
