"""This process: its memory, its cycle collector, and how it runs itself again."""

import ctypes
import gc
import os
import sys
import threading
from typing import NoReturn

EVERY_SECONDS = 10.0
"""Returning memory takes about ten milliseconds; meanwhile the merger piles up some 300 bytes an event."""


def collect_seldom(young: int, middle: int, old: int) -> None:
    """Exclude what lives now, the modules' objects among it, from collections, and collect the rest seldom.

    The numbers are those of `gc.set_threshold`.  For processes of a service: it is never undone.

    By default each 700 new objects start a collection of the young ones, and so in turn of everything that
    lives: near a tenth of all time.  Requests and batches leave next to no cycles, since reference counts
    end them.  Few objects may hold much, though, and it is objects that count here: see `give_back`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, middle, old)


def give_back_now() -> None:
    """Find dead cycles, and return free memory to the system, the latter where the C library is glibc."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back(every: float = EVERY_SECONDS) -> None:
    """Return free memory every `every` seconds, in a thread that ends with the process.

    Clients of Kafka and Faust leave cycles of a few dead objects that hold whole batches: too few objects
    for Python to look for them.  And glibc keeps what was freed between blocks that live on.
    """
    threading.Thread(target=_give_back, args=(every,), name="memory", daemon=True).start()


def _give_back(every: float) -> None:
    pause = threading.Event()
    while not pause.wait(every):
        give_back_now()


def begin_again() -> NoReturn:
    """Restart this program in the same process, with the same arguments and environment.

    For a service that has stopped in order and has to restart: nothing of it remains, without a supervisor.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (itself, as it was called)
